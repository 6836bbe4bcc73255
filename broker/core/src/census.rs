//! What a monitor is told: how much of everything there is now, and what has been done since the start.
//!
//! Read next: `status`, which tells of everybody by name, and `faults`, which tells what went wrong.

use fractally_proto::{JournalStatus, TryEnd};

use crate::{
    Core,
    job::{Job, Owner},
};

/// How much of everything there is at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Census {
    /// Living jobs that need a client.
    pub attached: JobsNow,
    /// Living jobs that are kept in the journal.
    pub detached: JobsNow,
    /// Connected workers.
    pub workers: u64,
    /// Their threads.
    pub worker_threads: u64,
    /// Connected clients.
    pub clients: u64,
    /// Bytes of tiles held for clients and for the journal.
    pub held_bytes: u64,
    /// The journal, where the broker keeps one.
    pub journal: Option<JournalStatus>,
}

/// Living jobs of one kind, by what becomes of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobsNow {
    /// Nothing of them is leased or waits to be delivered.
    pub waiting: u64,
    /// The others.
    pub running: u64,
    /// Their client is gone and may come back, or the journal has no room for them.
    pub paused: u64,
}

/// What has been done since the start. Nothing of it ever decreases. Bands with tries that ended in any way, and those under way, are
/// together those that were leased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Bands that were leased, each try counted.
    pub leased: u64,
    /// Of these, tries at bands that an earlier try had given back or failed at.
    pub retries: u64,
    /// Of these, tries at bands that somebody else was late with.
    pub backups: u64,
    /// Tries that ended with the tile.
    pub delivered: u64,
    /// Tries that ended because another was sooner, or the job was over.
    pub withdrawn: u64,
    /// Tries that ended without blame.
    pub given_back: u64,
    /// Tries that failed.
    pub failed: u64,
    /// Iterations of delivered bands.
    pub iterations: u64,
    /// Thread time of delivered bands, as their workers measured it, nanoseconds.
    pub compute_ns: u64,
    /// Encoded bytes of delivered bands.
    pub tile_bytes: u64,
    /// Workers that went without BYE.
    pub workers_lost: u64,
    /// Jobs that failed.
    pub jobs_failed: u64,
    /// SUBMIT and KEEP that were REFUSED.
    pub refused: u64,
}

impl Tally {
    /// A try has ended.
    pub(crate) fn end(&mut self, end: TryEnd) {
        match end {
            TryEnd::Running => debug_assert!(false, "a try that runs has not ended"),
            TryEnd::Delivered => self.delivered += 1,
            TryEnd::Withdrawn => self.withdrawn += 1,
            TryEnd::GivenBack => self.given_back += 1,
            TryEnd::Failed => self.failed += 1,
        }
    }

    /// Tries that have ended.
    pub fn ended(&self) -> u64 {
        self.delivered + self.withdrawn + self.given_back + self.failed
    }
}

impl Core {
    /// What has been done since the start. Costs a copy.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// How much of everything there is now. Costs a look at each worker and each living job.
    pub fn census(&self) -> Census {
        let mut census = Census {
            workers: self.workers.len() as u64,
            worker_threads: self.workers.values().map(|worker| u64::from(worker.about.threads)).sum(),
            clients: self.clients.len() as u64,
            held_bytes: self.jobs.values().map(Job::held).sum(),
            journal: self.journal_status(),
            ..Census::default()
        };
        for (&id, job) in &self.jobs {
            let jobs = if job.is_kept() { &mut census.detached } else { &mut census.attached };
            let is_paused = match job.owner {
                Owner::Adrift(_) => true,
                Owner::Attached(..) => false,
                Owner::Kept(_) => self.kept.is_paused(id),
            };
            let is_waiting = job.leased.is_empty() && job.arrived.is_empty();
            *match (is_paused, is_waiting) {
                (true, _) => &mut jobs.paused,
                (false, true) => &mut jobs.waiting,
                (false, false) => &mut jobs.running,
            } += 1;
        }
        census
    }
}
