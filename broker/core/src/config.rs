//! What the shell may choose: times and bounds.

use std::{collections::BTreeMap, num::NonZero, time::Duration};

use fractally_proto::{Epoch, Limits, Message, Welcome};

/// The largest weight of an account.
pub const WEIGHT_MAX: u32 = 1000;
/// Pixels times iteration limit of the largest request that may be. An account may have four, so that another account's jobs are let in beside.
const WORK_OF_THE_LARGEST: u128 = 1_000_000_000_000_000_000;

/// Times and bounds of one broker.
#[derive(Clone, Debug)]
pub struct Config {
    /// Program and version, for people.
    pub agent: String,
    /// This life of the broker.
    pub epoch: Epoch,
    /// What a request may ask for.
    pub limits: Limits,
    /// The engine of new jobs where a worker of it is connected; else it is the one with the most threads.
    pub engine: Option<String>,
    /// Whether a band and its mirror image are leased together.
    pub mirrors: bool,
    /// Cut every job into so many bands of as many strips each, one by one and without a probe: to be compared with schedulers that do.
    pub equal_bands: Option<NonZero<u32>>,
    /// How often both sides send a heartbeat; told in WELCOME, sent by the shell.
    pub heartbeat: Duration,
    /// A peer that was silent for so long is gone.
    pub dead_after: Duration,
    /// A lease ends when the worker has shown no progress for so long.
    pub lease: Duration,
    /// A job whose client is gone is cancelled after so long.
    pub client_grace: Duration,
    /// The least time between two PROGRESS messages of one job.
    pub progress_every: Duration,
    /// Accounts whose share is not 1, and what it is, from 1 to [`WEIGHT_MAX`].
    pub weights: BTreeMap<String, u32>,
    /// Jobs at once; one more is refused as busy.
    pub jobs_max: usize,
    /// The same for each account.
    pub jobs_per_account_max: usize,
    /// Pixels times iteration limit of all jobs at once; a job with which it would be more is refused as busy.
    pub work_max: u128,
    /// The same for each account.
    pub work_per_account_max: u128,
    /// Clients at once of each account that is named; one more is sent away.
    pub connections_per_account_max: usize,
    /// Clients at once; one more is sent away.
    pub clients_max: usize,
    /// Workers at once; one more is sent away.
    pub workers_max: usize,
    /// Bytes of one job that are leased or held for its client, on a small grid; at the bound only its head band is leased.
    pub reorder_bytes_max: u64,
    /// The same for each thread of a large grid, where that is more: every thread has work in hand that may be done before it is due.
    pub reorder_bytes_per_thread: u64,
    /// Bytes leased or held over all jobs, and of one job on however large a grid.
    pub held_bytes_max: u64,
    /// What is kept of detached jobs; without it there are none.
    pub journal: Option<JournalBounds>,
    /// When the shell started, which is the core's zero: milliseconds since 1970, by the host's clock.
    pub started_unix_ms: u64,
}

/// Bounds of the journal.
#[derive(Clone, Debug)]
pub struct JournalBounds {
    /// Bytes on disk, of all jobs. At the bound jobs that are over are forgotten, the earliest first; where there are none, jobs wait.
    pub bytes_max: u64,
    /// The same for the jobs of one account, when it asks for one more: those that live may grow past it.
    pub bytes_per_account_max: u64,
    /// A job that is over is forgotten after so long.
    pub keep_for: Duration,
    /// Detached jobs, those included that are over.
    pub jobs_max: usize,
}

impl Default for JournalBounds {
    fn default() -> Self {
        let bytes_max = 16 << 30;
        Self { bytes_max, bytes_per_account_max: bytes_max / 2, keep_for: Duration::from_secs(7 * 86_400), jobs_max: 4096 }
    }
}

impl Config {
    /// The defaults for a LAN.
    pub fn new(agent: impl Into<String>, epoch: Epoch) -> Self {
        Self {
            agent: agent.into(),
            epoch,
            limits: Limits::default(),
            engine: None,
            mirrors: true,
            equal_bands: None,
            heartbeat: Duration::from_secs(1),
            dead_after: Duration::from_secs(4),
            lease: Duration::from_secs(10),
            client_grace: Duration::from_secs(30),
            progress_every: Duration::from_millis(250),
            weights: BTreeMap::new(),
            jobs_max: 256,
            jobs_per_account_max: 64,
            work_max: 16 * WORK_OF_THE_LARGEST,
            work_per_account_max: 4 * WORK_OF_THE_LARGEST,
            connections_per_account_max: 256,
            clients_max: 1024,
            workers_max: 4096,
            reorder_bytes_max: 64 << 20,
            reorder_bytes_per_thread: 3 << 20,
            held_bytes_max: 1 << 30,
            journal: None,
            started_unix_ms: 0,
        }
    }

    /// The bound of one job on a grid of so many threads.
    pub(crate) fn reorder_bytes(&self, threads: u64) -> u64 {
        let grown = self.reorder_bytes_per_thread.saturating_mul(threads).min(self.held_bytes_max);
        self.reorder_bytes_max.max(grown)
    }

    /// What an account gets where others get 1.
    pub(crate) fn weight(&self, account: &str) -> u32 {
        self.weights.get(account).map_or(1, |&weight| weight.clamp(1, WEIGHT_MAX))
    }

    /// Where the numbers of this life's jobs and attempts start.
    pub(crate) fn id_base(&self) -> u64 {
        (self.epoch.0 & u64::from(u32::MAX)) << 32
    }

    pub(crate) fn welcome(&self) -> Message {
        let millis = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        Message::Welcome(Welcome {
            agent: self.agent.clone(),
            epoch: self.epoch,
            heartbeat_ms: millis(self.heartbeat),
            dead_after_ms: millis(self.dead_after),
            limits: self.limits,
        })
    }
}
