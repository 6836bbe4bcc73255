//! Who does what on the grid: the broker as a state machine, without sockets, threads, clock, randomness or payload bytes.
//!
//! A shell feeds [`Core`] with what peers say and with the time, and carries out the [`Effect`]s that come back. Payloads stay in
//! the shell; the core knows them by [`PayloadId`] and length. So one seed replays a whole day of delay, death and return.
//!
//! Every strip of a job is in exactly one place, and this is the whole story of a render:
//!
//! ```text
//!            cut at the lease             TILE              delivered, then ACK
//!   uncut ─────────────────────▶ leased ───────▶ arrived ──────────────────────▶ acknowledged
//!                               ▲     │
//!               offered again   │     │ expired, failed, worker gone
//!                               waiting
//! ```
//!
//! Read next: `job` (the strips of one job and the invariants they keep), `schedule` (who gets which band), `shares` (whose turn it is),
//! `way` (what busy workers give back for better jobs), `helpers` (what idle ones take over), `bounds` (what one account may have), `answers` (what workers send back, and blame), `submit` and `clients` (a job's life as its client sees it),
//! `cost` (how long a band will take), `census` and `faults` (what a monitor is told), `invariants` (what must hold after every event).

#[macro_use]
mod sabotage;

mod answers;
mod bounds;
mod census;
mod clients;
mod conduct;
mod config;
mod cost;
mod effect;
mod event;
mod faults;
mod fleet;
mod helpers;
mod invariants;
mod job;
mod journal;
mod kept;
#[cfg(test)]
mod laws;
mod schedule;
mod shares;
#[cfg(test)]
mod sim;
mod status;
mod story;
mod submit;
mod timers;
mod way;
mod workers;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

pub use census::{Census, JobsNow, Tally};
pub use config::{Config, JournalBounds, WEIGHT_MAX};
pub use effect::{Effect, Ending, Note, Why};
pub use event::{ClientId, ClientSays, PayloadId, WorkerId, WorkerSays};
use fractally_proto::{ErrorCode, ErrorReport, FaultKind, JobId, JobKey, JobReport, Message, RequestId, Status};
pub use journal::{FromJournal, KeptEnd, KeptEnding, KeptJob, KeptTotals, ReadFault, ReadStrips, Restored, ToJournal};

use crate::{
    clients::Client,
    conduct::Absent,
    faults::Faults,
    fleet::Fleet,
    job::{Job, Owner},
    kept::Keeping,
    shares::Shares,
    story::Archive,
    timers::{Timer, Timers},
    way::Way,
    workers::Worker,
};

/// Peers that were dropped and whose words are still ignored; beyond so many, the earliest counts as a stranger again.
const DROPPED_MAX: usize = 1024;

/// The state machine. See the crate's story.
///
/// Time is what has passed since the shell started and never decreases. Every method appends its effects to `out`; they are to be
/// carried out in that order.
#[derive(Debug)]
pub struct Core {
    config: Config,
    clients: BTreeMap<ClientId, Client>,
    workers: BTreeMap<WorkerId, Worker>,
    absent: Absent,
    fleet: Fleet,
    jobs: BTreeMap<JobId, Job>,
    keys: BTreeMap<JobKey, JobId>,
    /// Detached jobs.
    kept: Keeping,
    /// Who is served next.
    shares: Shares,
    /// Bands that better jobs can ask back.
    way: Way,
    /// Bytes reserved over all jobs.
    reserved: u64,
    timers: Timers,
    /// Until then the loss of a worker is laid to nobody: the broker itself stood still.
    blameless_until: Duration,
    clients_dropped: Dropped<ClientId>,
    workers_dropped: Dropped<WorkerId>,
    /// No new jobs are taken.
    closing: bool,
    archive: Archive,
    jobs_ever: u64,
    attempts_ever: u64,
    jobs_done: u64,
    jobs_lost: u64,
    tally: Tally,
    faults: Faults,
}

impl Core {
    /// A broker that knows nobody.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            clients: BTreeMap::new(),
            workers: BTreeMap::new(),
            absent: Absent::default(),
            fleet: Fleet::default(),
            jobs: BTreeMap::new(),
            keys: BTreeMap::new(),
            kept: Keeping::default(),
            shares: Shares::default(),
            way: Way::default(),
            reserved: 0,
            timers: Timers::default(),
            blameless_until: Duration::ZERO,
            clients_dropped: Dropped(VecDeque::new()),
            workers_dropped: Dropped(VecDeque::new()),
            closing: false,
            archive: Archive::default(),
            jobs_ever: 0,
            attempts_ever: 0,
            jobs_done: 0,
            jobs_lost: 0,
            tally: Tally::default(),
            faults: Faults::default(),
        }
    }

    /// A client said something. The first word of one that is not known must be HELLO.
    pub fn on_client(&mut self, now: Duration, client: ClientId, says: ClientSays, out: &mut Vec<Effect>) {
        match self.clients.get_mut(&client) {
            None => return self.on_unknown_client(now, client, says, out),
            Some(known) => known.heard = now,
        }
        match says {
            ClientSays::Hello(_) => self.expel_client(now, client, "a second HELLO", out),
            ClientSays::Heartbeat => {}
            ClientSays::Submit(submit) => self.on_submit(now, client, &submit, out),
            ClientSays::Ack(ack) => self.on_ack(now, client, ack, out),
            ClientSays::Cancel(cancel) => self.on_cancel(now, client, &cancel, out),
            ClientSays::Keep(keep) => self.on_keep(now, client, &keep, out),
            ClientSays::Attach(attach) => self.on_attach(now, client, &attach, out),
            ClientSays::ListQuery(query) => self.on_list_query(now, client, &query, out),
            ClientSays::StatusQuery => {
                let report = Message::StatusReport(self.report(now).encode());
                out.push(Effect::ToClient(client, report));
            }
            ClientSays::JobQuery(query) => {
                let report = JobReport { story: self.story(now, query.job) };
                out.push(Effect::ToClient(client, Message::JobReport(report.encode())));
            }
            ClientSays::Bye => self.on_client_bye(now, client, out),
        }
        self.assign(now, out);
    }

    /// A worker said something. The first word of one that is not known must be HELLO, and say what it computes.
    pub fn on_worker(&mut self, now: Duration, worker: WorkerId, says: WorkerSays, out: &mut Vec<Effect>) {
        match self.workers.get_mut(&worker) {
            None => {
                if let WorkerSays::Tile { payload, .. } = says {
                    out.push(Effect::Release(payload));
                }
                self.on_unknown_worker(now, worker, says, out);
            }
            Some(known) => {
                known.heard = now;
                self.on_known_worker(now, worker, says, out);
            }
        }
        self.assign(now, out);
    }

    fn on_known_worker(&mut self, now: Duration, worker: WorkerId, says: WorkerSays, out: &mut Vec<Effect>) {
        match says {
            WorkerSays::Hello(_) => self.expel_worker(now, worker, "a second HELLO", out),
            WorkerSays::Heartbeat(bands) => self.on_worker_heartbeat(now, worker, &bands),
            WorkerSays::Tile { tile, payload, bytes } => self.on_tile(now, worker, tile, (payload, bytes), out),
            WorkerSays::Samples { samples, rows } => self.on_samples(now, worker, samples, rows, out),
            WorkerSays::BandFailed(failed) => self.on_band_failed(now, worker, failed, out),
            WorkerSays::Credit(credit) => self.on_credit(now, worker, credit, out),
            WorkerSays::Bye => self.on_worker_bye(now, worker, out),
        }
    }

    /// The connection of a client was lost. Its jobs wait for it.
    pub fn on_client_gone(&mut self, now: Duration, client: ClientId, out: &mut Vec<Effect>) {
        self.client_gone(now, client, Why::Lost, out);
    }

    /// The connection of a worker was lost. Its bands are offered again.
    pub fn on_worker_gone(&mut self, now: Duration, worker: WorkerId, out: &mut Vec<Effect>) {
        self.worker_gone(now, worker, Why::Lost, out);
        self.assign(now, out);
    }

    /// A client said what cannot be understood, or may not be said by clients: it is told, and forgotten.
    pub fn on_client_fault(&mut self, now: Duration, client: ClientId, code: ErrorCode, what: &str, out: &mut Vec<Effect>) {
        let account = self.clients.get(&client).map_or("", |client| client.account.as_str());
        self.faults.remember(now, FaultKind::ClientExpelled, account, None, what);
        self.client_gone(now, client, Why::Misbehaved(what.to_owned()), out);
        out.push(Effect::ToClient(client, Message::Error(ErrorReport { code, message: what.to_owned() })));
        self.drop_client(client, out);
    }

    /// A worker said what cannot be understood, or may not be said by workers: it is told, and forgotten.
    pub fn on_worker_fault(&mut self, now: Duration, worker: WorkerId, code: ErrorCode, what: &str, out: &mut Vec<Effect>) {
        self.worker_gone(now, worker, Why::Misbehaved(what.to_owned()), out);
        out.push(Effect::ToWorker(worker, Message::Error(ErrorReport { code, message: what.to_owned() })));
        self.drop_worker(worker, out);
        self.assign(now, out);
    }

    /// Time has passed: silent peers, leases without progress, jobs whose client stays away, progress to tell.
    pub fn on_tick(&mut self, now: Duration, out: &mut Vec<Effect>) {
        while let Some(timer) = self.timers.pop(now) {
            match timer {
                Timer::Client(client) => self.on_client_timer(now, client, out),
                Timer::Worker(worker) => self.on_worker_timer(now, worker, out),
                Timer::Job(job) => self.on_job_timer(now, job, out),
                // Whoever has nothing to do is looked at below.
                Timer::Late => {}
                Timer::Expiry => self.expire_kept(now, out),
            }
        }
        self.assign(now, out);
    }

    /// The broker itself stood still until now: a stopped process, a paused machine. What its peers said meanwhile waits in the
    /// sockets, and some will have given it up. So everybody counts as heard and getting on, and who is lost soon is not blamed.
    pub fn on_pause(&mut self, now: Duration) {
        self.blameless_until = now.saturating_add(self.config.dead_after);
        self.clients.values_mut().for_each(|client| client.heard = now);
        self.workers.values_mut().for_each(|worker| worker.excuse(now));
        for job in self.jobs.values_mut() {
            if let Owner::Adrift(since) = &mut job.owner {
                *since = now;
            }
        }
    }

    /// No more new jobs: SUBMIT of one is refused as `closing`. Those in hand go on.
    pub fn close(&mut self) {
        self.closing = true;
    }

    /// What a broker that closes waits for: jobs that need their clients, those included whose client is looking for its way back, and
    /// promises that are being put on disk. Detached jobs wait for the next broker.
    pub fn jobs_in_hand(&self) -> usize {
        self.jobs.values().filter(|job| !job.is_kept()).count() + self.kept.being_put()
    }

    /// When [`Self::on_tick`] wants to be called next; it may have passed already. Costs one look at a set. A call may turn out to be
    /// early, and then does nothing: signs of life move deadlines without moving their timers.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.timers.next()
    }

    /// What the broker tells about itself. Costs a walk over all that it knows.
    pub fn status(&self, now: Duration) -> Status {
        self.report(now)
    }

    /// Looks at everything, and finds it as the modules promise. For tests and simulations.
    ///
    /// # Panics
    /// When an invariant is broken, with the story of which and where.
    pub fn check_invariants(&self) {
        self.check();
    }

    /// What a job that lives is called in logs.
    fn request_id(&self, id: JobId) -> Option<RequestId> {
        self.jobs.get(&id)?.request_id.clone()
    }

    /// Changes a job, and what the rest of the broker counts of it.
    fn change<T>(&mut self, id: JobId, change: impl FnOnce(&mut Job) -> T) -> Option<T> {
        let job = self.jobs.get_mut(&id)?;
        let before = job.reserved;
        let result = change(job);
        self.reserved = self.reserved - before + job.reserved;
        self.retake_turn(id);
        Some(result)
    }
}

/// Peers that were dropped lately.
#[derive(Debug)]
struct Dropped<T>(VecDeque<T>);

impl<T: Copy + PartialEq> Dropped<T> {
    fn bury(&mut self, peer: T) {
        if self.0.len() == DROPPED_MAX {
            self.0.pop_front();
        }
        self.0.push_back(peer);
    }

    fn contains(&self, peer: T) -> bool {
        self.0.contains(&peer)
    }
}

/// Whole milliseconds.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The whole part, and the nearest end of the range for what lies outside it.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the conversion saturates, which is what is wanted")]
fn whole(x: f64) -> u64 {
    x as u64
}
