//! Workers: how they come, show life, and go, and what happens to the bands of one that is gone.
//!
//! Invariants, checked by `invariants`: a worker never holds more leases than its credit; each living lease stands in its job under
//! the same attempt, and the other way round. A *fenced* lease is one whose attempt is over (expired, or its job ended): it takes
//! credit until the worker answers, and nothing else.

use std::{collections::BTreeMap, time::Duration};

use fractally_proto::{
    AttemptId, Band, BandProgress, ByeOk, Credit, ErrorCode, ErrorReport, FaultKind, Hello, JobId, LeaseKind, Message, Priority,
    Withdraw, WorkerHello, limits,
};

use crate::{
    Core, Effect, Note, Why, WorkerId, WorkerSays,
    answers::Try,
    conduct::Conduct,
    fleet::{Fleet, KindId, Load, Skill, Speed, Standing},
    job::Probe,
    timers::Timer,
};

/// One connected worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) about: WorkerHello,
    pub(crate) kind: KindId,
    pub(crate) joined: Duration,
    pub(crate) heard: Duration,
    /// When any of its bands last got on; bands that wait in its queue live by this.
    pub(crate) moved: Duration,
    /// What it holds. Attempts are numbered as they are leased, so this is also the order of its queue.
    pub(crate) leases: BTreeMap<AttemptId, Held>,
    /// Bands that it takes at once now, at most what it said in HELLO.
    pub(crate) credit: u32,
    pub(crate) conduct: Conduct,
    /// As the fleet counts it.
    pub(crate) load: Option<Load>,
    pub(crate) speed: Option<Speed>,
    pub(crate) iterations_per_s: Option<f64>,
    pub(crate) bands_done: u64,
    pub(crate) bands_failed: u64,
    pub(crate) iterations: u64,
    pub(crate) busy: Busy,
}

/// Thread time in which a worker had bands to compute.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Busy {
    time: Duration,
    since: Duration,
    threads: u32,
}

impl Busy {
    /// From now on so many of its threads have.
    fn set(&mut self, now: Duration, threads: usize) {
        self.time = self.until(now);
        self.since = now;
        self.threads = u32::try_from(threads).unwrap_or(u32::MAX);
    }

    /// Threads that have bands now.
    pub(crate) fn threads(&self) -> u32 {
        self.threads
    }

    /// All until now.
    pub(crate) fn until(&self, now: Duration) -> Duration {
        self.time.saturating_add(now.saturating_sub(self.since).saturating_mul(self.threads))
    }
}

/// One lease, as its worker holds it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) job: JobId,
    pub(crate) what: What,
    pub(crate) priority: Priority,
    /// When a thread of the worker must have come free for it.
    pub(crate) begun: Option<Duration>,
    /// Whether it was asked back, should it still wait.
    pub(crate) recalled: bool,
    /// When it was leased, or its progress last grew.
    pub(crate) renewed: Duration,
    pub(crate) progress: u64,
    pub(crate) fenced: bool,
    /// The band whose mirror it is: while that is held too, both take one unit of credit.
    pub(crate) mirror_of: Option<AttemptId>,
}

impl Held {
    /// Just leased.
    pub(crate) fn new(job: JobId, what: What, priority: Priority, now: Duration) -> Self {
        let (begun, recalled, fenced, mirror_of) = (None, false, false, None);
        Self { job, what, priority, begun, recalled, renewed: now, progress: 0, fenced, mirror_of }
    }

    /// Whether it was leased as the mirror of another.
    pub(crate) fn is_mirror(&self) -> bool {
        self.mirror_of.is_some()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Band(Band),
    Probe,
}

impl From<LeaseKind> for What {
    fn from(kind: LeaseKind) -> Self {
        match kind {
            LeaseKind::Band { first, strips } => Self::Band(Band { first, strips }),
            LeaseKind::Probe(_) => Self::Probe,
        }
    }
}

impl Worker {
    /// Tells the fleet how loaded it is, or that it has no credit.
    pub(crate) fn rank(&mut self, id: WorkerId, fleet: &mut Fleet) {
        let held = self.credit_used();
        let takes_more = self.conduct.benched_until.is_none() && held < u64::from(self.credit);
        let load = takes_more.then(|| (held << 20) / u64::from(self.about.threads));
        if load != self.load {
            fleet.set_load(self.kind, id, self.load, load);
            self.load = load;
        }
    }

    /// A worker takes the better class first, and otherwise the earlier lease: so many of them as it has threads have begun.
    pub(crate) fn mark_begun(&mut self, now: Duration) {
        let threads = self.about.threads as usize;
        let mut begun = self.leases.values().filter(|held| !held.is_mirror() && held.begun.is_some()).count();
        while begun < threads {
            let waiting = self.leases.iter_mut().filter(|(_, held)| !held.is_mirror() && held.begun.is_none());
            let Some((_, next)) = waiting.min_by_key(|(attempt, held)| (held.priority, **attempt)) else { break };
            next.begun = Some(now);
            begun += 1;
        }
        self.busy.set(now, begun.min(threads));
    }

    /// Whether a thread of it has nothing to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.load.is_some() && self.credit_used() < u64::from(self.about.threads)
    }

    /// Bands that it holds; a band and its mirror are one, whichever of them is left.
    pub(crate) fn credit_used(&self) -> u64 {
        let is_second = |held: &&Held| held.mirror_of.is_some_and(|band| self.leases.contains_key(&band));
        (self.leases.len() - self.leases.values().filter(is_second).count()) as u64
    }

    /// Whether it is leased nothing before something happens that may never happen: answers, or the end of a bench.
    pub(crate) fn is_stuck(&self) -> bool {
        self.load.is_none() && (self.conduct.benched_until.is_some() || self.leases.values().all(|held| held.fenced))
    }

    /// It counts as heard, and as getting on with everything.
    pub(crate) fn excuse(&mut self, now: Duration) {
        (self.heard, self.moved) = (now, now);
        for held in self.leases.values_mut() {
            (held.renewed, held.begun) = (now, held.begun.map(|_| now));
        }
    }

    /// When it is given up, if it stays silent.
    pub(crate) fn dies_at(&self, dead_after: Duration) -> Duration {
        if sabotage!(LivenessSkipped) { Duration::MAX } else { self.heard.saturating_add(dead_after) }
    }

    /// When a lease runs out, if nothing moves.
    pub(crate) fn expiry(&self, held: &Held, lease: Duration) -> Duration {
        if sabotage!(ExpirySkipped) {
            return Duration::MAX;
        }
        // A mirror is listed once its band is done, and until then is as far as that.
        let band = held.mirror_of.filter(|_| held.progress == 0).and_then(|band| self.leases.get(&band));
        let held = band.unwrap_or(held);
        let renewed = if held.progress == 0 { held.renewed.max(self.moved) } else { held.renewed };
        renewed.saturating_add(lease)
    }

    /// When to look at it.
    pub(crate) fn deadline(&self, dead_after: Duration, lease: Duration) -> Duration {
        let living = self.leases.values().filter(|held| !held.fenced).map(|held| self.expiry(held, lease));
        living.chain(self.conduct.benched_until).fold(self.dies_at(dead_after), Duration::min)
    }

    pub(crate) fn standing(&self, id: WorkerId) -> Standing {
        Standing { worker: id, kind: self.kind, threads: self.about.threads, load: self.load, speed: self.speed }
    }
}

impl Core {
    /// A worker's first word, or that of a stranger.
    pub(crate) fn on_unknown_worker(&mut self, now: Duration, id: WorkerId, says: WorkerSays, out: &mut Vec<Effect>) {
        if self.workers_dropped.contains(id) {
            return;
        }
        let welcome = match says {
            WorkerSays::Hello(hello) => self.admit(hello),
            WorkerSays::Heartbeat(_)
            | WorkerSays::Tile { .. }
            | WorkerSays::Samples { .. }
            | WorkerSays::BandFailed(_)
            | WorkerSays::Credit(_)
            | WorkerSays::Bye => Err((ErrorCode::Unexpected, "say HELLO first".to_owned())),
        };
        match welcome {
            Ok(about) => self.join(now, id, about, out),
            Err((code, message)) => {
                out.push(Effect::ToWorker(id, Message::Error(ErrorReport { code, message })));
                self.drop_worker(id, out);
            }
        }
    }

    fn admit(&self, hello: Hello) -> Result<WorkerHello, (ErrorCode, String)> {
        let Some(about) = hello.worker else {
            return Err((ErrorCode::Unexpected, "this HELLO is a client's; workers say what they compute".to_owned()));
        };
        let wrong = |message: String| Err((ErrorCode::Malformed, message));
        let texts = [("agent", &hello.agent), ("name", &about.name), ("engine", &about.engine), ("kernel", &about.kernel)];
        if let Some((field, text)) = texts.into_iter().find(|(_, text)| text.len() > limits::TEXT_BYTES_MAX) {
            return wrong(format!("{field} has {} bytes; the limit is {}", text.len(), limits::TEXT_BYTES_MAX));
        }
        if about.engine.is_empty() {
            return wrong("engine is empty; name the version of the mathematics".to_owned());
        }
        for (field, value, max) in
            [("credit", about.credit, limits::WORKER_CREDIT_MAX), ("threads", about.threads, limits::WORKER_THREADS_MAX)]
        {
            if value == 0 || value > max {
                return wrong(format!("{field} is {value}; give a number from 1 to {max}"));
            }
        }
        if about.encodings.is_empty() {
            return wrong("encodings is empty; name at least one".to_owned());
        }
        if self.workers.len() >= self.config.workers_max {
            let message = format!("{} workers are connected, as many as may be; try again later", self.workers.len());
            return Err((ErrorCode::Full, message));
        }
        Ok(about)
    }

    fn join(&mut self, now: Duration, id: WorkerId, about: WorkerHello, out: &mut Vec<Effect>) {
        let (name, engine, threads) = (about.name.clone(), about.engine.clone(), about.threads);
        let kind = self.fleet.join(Skill::of(engine.clone(), &about.encodings), threads);
        let mut conduct = self.absent.return_as(&name);
        conduct.pass(now);
        let mut worker = Worker {
            credit: about.credit,
            about,
            kind,
            conduct,
            joined: now,
            heard: now,
            moved: now,
            leases: BTreeMap::new(),
            load: None,
            speed: None,
            iterations_per_s: None,
            bands_done: 0,
            bands_failed: 0,
            iterations: 0,
            busy: Busy { time: Duration::ZERO, since: now, threads: 0 },
        };
        worker.rank(id, &mut self.fleet);
        let deadline = worker.deadline(self.config.dead_after, self.config.lease);
        self.workers.insert(id, worker);
        self.timers.arm(Timer::Worker(id), deadline);
        out.push(Effect::ToWorker(id, self.config.welcome()));
        out.push(Effect::Note(Note::WorkerJoined { worker: id, name, engine, threads }));
        self.grow_bounds();
        self.touch_all(now);
    }

    /// More threads have more in hand.
    fn grow_bounds(&mut self) {
        let grown = self.config.reorder_bytes(self.fleet.threads());
        let smaller = self.jobs.iter().filter(|(_, job)| job.reorder_bytes < grown).map(|(&id, _)| id);
        for id in smaller.collect::<Vec<_>>() {
            self.change(id, |job| job.reorder_bytes = grown);
        }
    }

    /// Leases whose progress grew are renewed; bands that wait live as long as anything gets on.
    pub(crate) fn on_worker_heartbeat(&mut self, now: Duration, id: WorkerId, bands: &[BandProgress]) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        for &BandProgress(attempt, progress) in bands {
            // What it lists beside what it holds was answered or ended while this was under way.
            let Some(held) = worker.leases.get_mut(&attempt) else { continue };
            if progress > held.progress {
                (held.progress, held.renewed) = (progress, now);
                worker.moved = now;
            }
        }
    }

    /// Looks at a worker whose timer fired.
    pub(crate) fn on_worker_timer(&mut self, now: Duration, id: WorkerId, out: &mut Vec<Effect>) {
        let (dead_after, lease) = (self.config.dead_after, self.config.lease);
        let Some(worker) = self.workers.get(&id) else { return };
        if now >= worker.dies_at(dead_after) {
            self.worker_gone(now, id, Why::Silent, out);
            self.drop_worker(id, out);
            return;
        }
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.conduct.pass(now);
            worker.rank(id, &mut self.fleet);
        }
        let Some(worker) = self.workers.get(&id) else { return };
        let over = |held: &&Held| !held.fenced && now >= worker.expiry(held, lease);
        let expired: Vec<AttemptId> = worker.leases.iter().filter(|(_, held)| over(held)).map(|(&attempt, _)| attempt).collect();
        for attempt in expired {
            self.expire(now, id, attempt, out);
        }
        if let Some(worker) = self.workers.get(&id) {
            self.timers.arm(Timer::Worker(id), worker.deadline(dead_after, lease));
        }
    }

    fn expire(&mut self, now: Duration, id: WorkerId, attempt: AttemptId, out: &mut Vec<Effect>) {
        let Some(held) = self.workers.get_mut(&id).and_then(|worker| worker.leases.get_mut(&attempt)) else { return };
        // An earlier one of this round may have failed the job, which fenced all of its leases.
        if std::mem::replace(&mut held.fenced, true) {
            return;
        }
        let (job, what) = (held.job, held.what);
        out.push(Effect::ToWorker(id, Message::Withdraw(Withdraw { attempt, if_waiting: false })));
        match what {
            What::Band(band) => self.give_back(now, Try { job, band, worker: id, attempt }, Why::Expired, true, out),
            What::Probe => self.probe_over(job),
        }
    }

    /// The attempt is over: whatever its worker still says of it changes nothing but the worker's credit.
    pub(crate) fn withdraw(&mut self, id: WorkerId, attempt: AttemptId, out: &mut Vec<Effect>) {
        if let Some(held) = self.workers.get_mut(&id).and_then(|worker| worker.leases.get_mut(&attempt)) {
            held.fenced = true;
            out.push(Effect::ToWorker(id, Message::Withdraw(Withdraw { attempt, if_waiting: false })));
        }
    }

    /// Takes back one unit of credit, with what it was for.
    pub(crate) fn relieve(&mut self, id: WorkerId, attempt: AttemptId) -> Option<Held> {
        let worker = self.workers.get_mut(&id)?;
        let held = *worker.leases.get(&attempt)?;
        if !(held.fenced && sabotage!(CreditLeakedAtLateAnswer)) {
            worker.leases.remove(&attempt);
        }
        worker.rank(id, &mut self.fleet);
        self.way.answered(attempt);
        Some(held)
    }

    /// A worker that takes fewer keeps those that it holds.
    pub(crate) fn on_credit(&mut self, now: Duration, id: WorkerId, Credit { credit }: Credit, out: &mut Vec<Effect>) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if credit > worker.about.credit {
            let what = format!("a CREDIT of {credit} where HELLO said {}", worker.about.credit);
            return self.expel_worker(now, id, &what, out);
        }
        worker.credit = credit;
        worker.rank(id, &mut self.fleet);
    }

    /// A worker failed at a band.
    pub(crate) fn count_failure(&mut self, now: Duration, id: WorkerId, job: JobId, band: Band, out: &mut Vec<Effect>) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.bands_failed += 1;
        if let Some(lasts) = worker.conduct.fail(now, job, band.first) {
            worker.rank(id, &mut self.fleet);
            let why = format!("one band after another failed; it is leased nothing for {} s", lasts.as_secs());
            self.faults.remember(now, FaultKind::WorkerBenched, &worker.about.name, Some(job), &why);
            self.timers.arm(Timer::Worker(id), now.saturating_add(lasts));
            out.push(Effect::Note(Note::WorkerBenched { worker: id, lasts }));
        }
    }

    /// What failed for a job that is lost was nobody's failure.
    pub(crate) fn forgive(&mut self, job: JobId) {
        self.absent.forgive(job);
        for (&id, worker) in &mut self.workers {
            worker.conduct.forgive(job);
            worker.rank(id, &mut self.fleet);
        }
    }

    pub(crate) fn on_worker_bye(&mut self, now: Duration, id: WorkerId, out: &mut Vec<Effect>) {
        self.worker_gone(now, id, Why::Bye, out);
        out.push(Effect::ToWorker(id, Message::ByeOk(ByeOk {})));
        self.drop_worker(id, out);
    }

    /// A bad message costs its sender the connection, and nobody else anything.
    pub(crate) fn expel_worker(&mut self, now: Duration, id: WorkerId, what: &str, out: &mut Vec<Effect>) {
        self.on_worker_fault(now, id, ErrorCode::Unexpected, what, out);
    }

    pub(crate) fn drop_worker(&mut self, id: WorkerId, out: &mut Vec<Effect>) {
        self.workers_dropped.bury(id);
        out.push(Effect::DropWorker(id));
    }

    /// Forgets a worker and offers its bands again. Of one that vanished while the broker was awake, those that can have been running are
    /// blamed: as many as it has threads, see [`Worker::mark_begun`].
    pub(crate) fn worker_gone(&mut self, now: Duration, id: WorkerId, why: Why, out: &mut Vec<Effect>) {
        let Some(mut worker) = self.workers.remove(&id) else { return };
        let vanished = matches!(why, Why::Lost | Why::Silent) && now >= self.blameless_until;
        if why != Why::Bye {
            self.tally.workers_lost += 1;
            self.faults.remember(now, FaultKind::WorkerLost, &worker.about.name, None, &why.to_string());
        }
        self.timers.disarm(Timer::Worker(id));
        self.way.lose(id, &worker);
        self.fleet.set_load(worker.kind, id, worker.load.take(), None);
        self.fleet.leave(worker.kind, worker.about.threads, worker.speed);
        let living: Vec<_> =
            worker.leases.iter().filter(|(_, held)| !held.fenced).map(|(&attempt, &held)| (attempt, held)).collect();
        out.push(Effect::Note(Note::WorkerGone { worker: id, why: why.clone(), bands: living.len() }));
        for (attempt, held) in living {
            let blamed = vanished && held.begun.is_some();
            match held.what {
                What::Band(_) if sabotage!(DeadWorkersBandsForgotten) => {}
                What::Band(band) => {
                    if blamed {
                        worker.conduct.fail(now, held.job, band.first);
                    }
                    self.give_back(now, Try { job: held.job, band, worker: id, attempt }, why.clone(), blamed, out);
                }
                What::Probe => self.probe_over(held.job),
            }
            if blamed && !self.jobs.contains_key(&held.job) {
                worker.conduct.forgive(held.job);
            }
        }
        self.absent.leave(&worker.about.name, worker.conduct);
        self.touch_all(now);
    }

    /// The probe came back, or never will.
    pub(crate) fn probe_over(&mut self, id: JobId) {
        self.change(id, |job| {
            job.probe = Probe::Over;
            job.unpin_if_untouched();
        });
    }
}
