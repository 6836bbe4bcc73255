//! Who gets which band: the next job as `shares` has them, its lowest band, the least loaded worker that may take it.
//!
//! Cost: nothing while no worker has credit or no job wants one. A lease costs a few look-ups in ordered maps, whatever the number of
//! workers and jobs. Only jobs that want workers and find none (their engine is not connected, or all are at the bound of held bytes)
//! are passed over one by one, `jobs_max` at the most.

use std::{collections::BTreeSet, time::Duration};

use fractally_proto::{AttemptId, Band, Encoding, Grid, JobId, Lease, LeaseKind, Message, MirrorBand, Priority};

use crate::{
    Core, Effect, Note, WorkerId,
    cost::probe_of,
    fleet::Crew,
    job::{Holder, Job, Living, Probe, Work},
    shares::{Next, price},
    timers::Timer,
    workers::{Held, What},
};

/// Bands of a thread that are leased or wait for their turn, where room is short.
const BANDS_IN_HAND: u64 = 4;
/// Bands in the rest of a job, per thread.
const BANDS_OF_THE_REST: f64 = 4.0;
/// Bands in a whole job, per thread.
const BANDS_OF_THE_WHOLE: f64 = 16.0;
/// No band is smaller, nanoseconds.
const BAND_NS_MIN: f64 = 1e6;
/// The same for every thread: with more threads the broker answers more often.
const BAND_NS_MIN_PER_THREAD: f64 = 50e3;
/// No band is larger, nanoseconds.
const BAND_NS_MAX: f64 = 1e9;

/// Who gets a lease, and before which others its worker takes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct To {
    pub(crate) worker: WorkerId,
    pub(crate) class: Priority,
}

/// The next thing to lease.
enum Pick {
    Probe(Grid),
    /// One that was given back.
    Again(Work),
    /// One that nobody had yet, with its mirror.
    Cut(Band, Option<Band>),
}

impl Core {
    /// Leases until nobody has credit or no job can use it.
    pub(crate) fn assign(&mut self, now: Duration, out: &mut Vec<Effect>) {
        // Each is looked at once: what is leased meanwhile does not make them able.
        let mut unable = BTreeSet::new();
        while !self.fleet.nobody_is_ready() {
            let Some((next, worker, pick)) = self.next_pick(now, &mut unable) else {
                self.help(now, out);
                break;
            };
            if let Some(job) = self.jobs.get(&next.job) {
                self.shares.serve(now, next, &job.claim);
            }
            // In its worker's queue it would otherwise be passed for as long as there are better ones.
            let class = if next.by_right { Priority::Interactive } else { next.class };
            let to = To { worker, class };
            match pick {
                Pick::Probe(grid) => self.lease_probe(now, next.job, to, grid, out),
                Pick::Again(work) => self.lease_again(now, next.job, to, work, out),
                Pick::Cut(band, mirror) => self.lease_cut(now, next.job, to, (band, mirror), out),
            }
        }
        self.make_way(out);
    }

    fn next_pick(&self, now: Duration, unable: &mut BTreeSet<JobId>) -> Option<(Next, WorkerId, Pick)> {
        for next in self.shares.order(now) {
            if unable.contains(&next.job) {
                continue;
            }
            match self.pick(next.job) {
                Some((worker, pick)) => return Some((next, worker, pick)),
                None => unable.insert(next.job),
            };
        }
        None
    }

    fn pick(&self, id: JobId) -> Option<(WorkerId, Pick)> {
        let job = self.jobs.get(&id)?;
        let encoding = job.request.encoding;
        let engine = job.engine.as_deref().or_else(|| self.preferred_engine(encoding))?;
        if let Probe::Due(grid) = job.probe {
            return Some((self.fleet.idlest(engine, encoding, |_| true)?, Pick::Probe(grid)));
        }
        let room = job.room().min(self.config.held_bytes_max.saturating_sub(self.reserved));
        // In row order: what does not fit is not overtaken, because it is needed first.
        let fits = |first: u32, bytes: u64| bytes <= room || job.is_head(first);
        for work in job.waiting.values() {
            if !fits(work.band.first, job.layout.tile_len_max(work.band)) {
                return None;
            }
            if let Some(worker) = self.taker(job, engine, work) {
                return Some((worker, Pick::Again(work.clone())));
            }
        }
        if job.uncut.is_empty() || !fits(job.uncut.start, job.cut_bytes_min()) {
            return None;
        }
        let worker = self.fleet.idlest(engine, encoding, |_| true)?;
        let crew = self.fleet.crew(engine, encoding);
        let units = band_units(job, crew, self.workers.get(&worker)?.speed);
        // So that many threads share what may be reserved, and one does not take it all before the others come.
        let share = (job.room_max() / (BANDS_IN_HAND * crew.threads.max(1))).max(job.cut_bytes_min());
        let (band, mirror) = job.cut(units, room.min(share));
        Some((worker, Pick::Cut(band, mirror)))
    }

    /// The engine that a job takes of which nothing exists yet.
    pub(crate) fn preferred_engine(&self, encoding: Encoding) -> Option<&str> {
        self.fleet.preferred_engine(encoding, self.config.engine.as_deref())
    }

    /// Who takes a band that was given back: nobody on whom it failed, unless there is nobody else.
    fn taker(&self, job: &Job, engine: &str, work: &Work) -> Option<WorkerId> {
        let encoding = job.request.encoding;
        let fresh = self.fleet.idlest(engine, encoding, |worker| !work.failed_on.contains(&worker));
        if fresh.is_some() || work.failed_on.is_empty() {
            return fresh;
        }
        // The search ends at the first other one, so it is long only where there is none.
        let mut others = self.workers.iter().filter(|(id, _)| !work.failed_on.contains(id));
        let others = others.any(|(_, worker)| self.fleet.is_able(worker.kind, engine, encoding) && !worker.is_stuck());
        if others { None } else { self.fleet.idlest(engine, encoding, |_| true) }
    }

    fn lease_again(&mut self, now: Duration, id: JobId, to: To, work: Work, out: &mut Vec<Effect>) {
        let band = work.band;
        let attempt = self.next_attempt();
        self.tally.retries += 1;
        self.change(id, |job| job.lease(work, Holder { worker: to.worker, attempt }));
        self.hold(now, to, id, (attempt, band.into()), None, out);
    }

    /// Each of the two is a lease of its own in all that follows; only their work and their credit are shared.
    fn lease_cut(&mut self, now: Duration, id: JobId, to: To, (band, mirror): (Band, Option<Band>), out: &mut Vec<Effect>) {
        let attempt = self.next_attempt();
        let mirror_band = mirror.map(|mirror| {
            let attempt = self.next_attempt();
            MirrorBand { attempt, first: mirror.first, strips: mirror.strips }
        });
        self.change(id, |job| {
            let worker = to.worker;
            job.take_cut(band, mirror);
            job.lease(Work::new(band), Holder { worker, attempt });
            if let Some(mirror) = mirror_band.filter(|_| !sabotage!(MirrorNotLeased)) {
                job.lease(Work::new(mirror.band()), Holder { worker, attempt: mirror.attempt });
            }
        });
        self.hold(now, to, id, (attempt, band.into()), mirror_band, out);
    }

    fn lease_probe(&mut self, now: Duration, id: JobId, to: To, grid: Grid, out: &mut Vec<Effect>) {
        let attempt = self.next_attempt();
        self.change(id, |job| job.probe = Probe::Leased(to.worker, attempt));
        self.hold(now, to, id, (attempt, LeaseKind::Probe(grid)), None, out);
    }

    /// A worker holds something from now on.
    pub(crate) fn hold(
        &mut self,
        now: Duration,
        To { worker: to, class }: To,
        id: JobId,
        (attempt, kind): (AttemptId, LeaseKind),
        mirror: Option<MirrorBand>,
        out: &mut Vec<Effect>,
    ) {
        let worker = self.workers.get_mut(&to).expect("a worker with credit is connected");
        let job = self.jobs.get_mut(&id).expect("a job that wants workers lives");
        if job.engine.is_none() {
            job.engine = Some(self.fleet.engine(worker.kind).to_owned());
        }
        let held = Held::new(id, kind.into(), class, now);
        let bands = [(attempt, held.what)].into_iter().chain(mirror.map(|mirror| (mirror.attempt, What::Band(mirror.band()))));
        let mut charges = 0;
        for (leased_as, what) in bands {
            if let What::Band(band) = what {
                let is_backup = job.leased.get(&band.first).is_some_and(|leased| leased.holders.len() > 1);
                let charge = price(&self.fleet, job, worker, (band, leased_as != attempt));
                charges += charge;
                self.tally.leased += 1;
                self.tally.backups += u64::from(is_backup);
                let name = worker.about.name.clone();
                job.living.insert(leased_as, Living { leased: now, worker: to, name, charge });
                out.push(Effect::Note(Note::BandLeased {
                    job: id,
                    band,
                    worker: to,
                    attempt: leased_as,
                    is_backup,
                    request_id: job.request_id.clone(),
                }));
            }
        }
        self.shares.charge(&mut job.claim, charges);
        worker.leases.insert(attempt, held);
        if let Some(mirror) = mirror {
            worker.leases.insert(mirror.attempt, Held { what: What::Band(mirror.band()), mirror_of: Some(attempt), ..held });
        }
        let lease_ms = u32::try_from(self.config.lease.as_millis()).unwrap_or(u32::MAX);
        let lease = Lease {
            job: id,
            attempt,
            priority: class,
            lease_ms,
            kind,
            mirror,
            request_id: job.request_id.clone(),
            request: job.request,
        };
        out.push(Effect::ToWorker(to, Message::Lease(lease)));
        worker.mark_begun(now);
        self.way.note(to, worker, attempt);
        worker.rank(to, &mut self.fleet);
        self.timers.arm(Timer::Worker(to), now.saturating_add(self.config.lease));
        self.touch(now, id);
    }

    /// Never used twice in this life; another life has another epoch.
    pub(crate) fn next_attempt(&mut self) -> AttemptId {
        self.attempts_ever += 1;
        AttemptId(self.config.id_base().wrapping_add(self.attempts_ever))
    }
}

/// How much work the next band of a job shall be for one worker, in units.
///
/// clamp(rest / (4 x threads), floor max(1 ms, 50 µs x threads), ceiling min(whole / (16 x threads), 1 s)) x the worker's speed, the floor
/// over the ceiling. While neither the probe nor the rest is known, the floor; and while nothing at all is measured, one strip: a guess
/// may be wrong by orders of magnitude.
fn band_units(job: &Job, crew: Crew, speed: Option<u64>) -> f64 {
    if !job.cost.basis_is_measured() {
        return 0.0;
    }
    let threads = crew.threads.max(1) as f64;
    let per_ns = |speed: u64| speed as f64 / 1000.0;
    let ns = |units: f64| units / per_ns(crew.speed_mean.max(1));
    let floor = BAND_NS_MIN.max(BAND_NS_MIN_PER_THREAD * threads);
    let band_ns = if job.cost_is_known() {
        let ceiling = (ns(job.cost_total()) / (BANDS_OF_THE_WHOLE * threads)).min(BAND_NS_MAX);
        (ns(job.cost_left(false)) / (BANDS_OF_THE_REST * threads)).min(ceiling).max(floor)
    } else {
        floor
    };
    band_ns * per_ns(speed.unwrap_or(crew.speed_mean))
}

/// The probe that a new job starts with.
pub(crate) fn first_probe(request: &fractally_proto::Request, rows_left: Band) -> Probe {
    match probe_of(request) {
        Some(grid) if rows_left.strips > 1 => Probe::Due(grid),
        Some(_) | None => Probe::Over,
    }
}
