//! What one seed stands for: the bounds, the pictures, the peers, and the faults with their times.

use std::{collections::BTreeMap, time::Duration};

use fractally_proto::{Encoding, Epoch, Holder, JobKey, Layout, Limits, Priority, Request, Size, Window};

use super::rng::Rng;
use crate::{Config, JournalBounds};

/// When the last fault may happen.
pub(super) const FAULTS_UNTIL_MS: u64 = 20_000;
/// When the first few have been tried.
const FIRST_FAULTS_UNTIL_MS: u64 = 2_500;
/// Longer than any schedule.
pub(super) const FOR_EVER: Duration = Duration::from_secs(1 << 20);

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) config: Config,
    pub(super) clients: Vec<ClientPlan>,
    pub(super) workers: Vec<WorkerPlan>,
    pub(super) faults: Vec<(Duration, Fault)>,
}

#[derive(Debug)]
pub(super) struct ClientPlan {
    pub(super) connects: Duration,
    pub(super) account: Option<&'static str>,
    pub(super) jobs: Vec<JobPlan>,
    /// It acknowledges after so long, several messages at once.
    pub(super) ack_after: Duration,
}

#[derive(Clone, Debug)]
pub(super) struct JobPlan {
    pub(super) key: JobKey,
    pub(super) request: Request,
    pub(super) priority: Priority,
    pub(super) window_bytes: u64,
    pub(super) submits: Duration,
    /// Iterations a pixel, which is how long its strips take.
    pub(super) iterations: u64,
    /// A strip that fails wherever it is tried.
    pub(super) poison: Option<u32>,
    /// Whether it is a detached job.
    pub(super) is_kept: bool,
    /// Who wants it, if it may be withdrawn.
    pub(super) holder: Option<Holder>,
    /// How long after it is accepted its client begins to follow it.
    pub(super) follows_after: Duration,
}

#[derive(Debug)]
pub(super) struct WorkerPlan {
    pub(super) connects: Duration,
    pub(super) engine: &'static str,
    pub(super) encodings: Vec<Encoding>,
    pub(super) threads: u32,
    pub(super) credit: u32,
    /// Nanoseconds a thousand units.
    pub(super) ns_per_1000: u64,
}

/// Peers are indices into the plan.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// The process is gone, and another of its kind comes.
    WorkerDies {
        worker: usize,
        told: Told,
        back_after: Option<Duration>,
    },
    /// Nothing passes for so long.
    WorkerStalls {
        worker: usize,
        lasts: Duration,
    },
    /// Its heart beats but its threads stand still, perhaps until the process ends.
    WorkerWedges {
        worker: usize,
        lasts: Duration,
    },
    /// It hands back its bands, goes, and comes again.
    WorkerDrains {
        worker: usize,
        back_after: Duration,
    },
    /// The next tile is not that of its band.
    WorkerCheats {
        worker: usize,
    },
    /// The next band is declined.
    WorkerDeclines {
        worker: usize,
    },
    /// The next band crashes.
    WorkerCrashes {
        worker: usize,
    },
    ClientBreaks {
        client: usize,
        told: Told,
        back_after: Option<Duration>,
    },
    ClientStalls {
        client: usize,
        lasts: Duration,
    },
    ClientCancels {
        client: usize,
        job: usize,
    },
    /// SUBMIT again on the same connection.
    ClientRepeats {
        client: usize,
        job: usize,
    },
    ClientLeaves {
        client: usize,
    },
    /// Another life of the broker, which knows what is on disk.
    BrokerRestarts,
    /// The disk does not answer for so long.
    JournalStalls {
        lasts: Duration,
    },
    /// A strip on disk is not what was written.
    JournalDamages,
    /// The next job cannot be put on disk.
    JournalRefuses,
}

/// When the broker hears of a break.
#[derive(Clone, Copy, Debug)]
pub(super) enum Told {
    After(Duration),
    Never,
}

impl Plan {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let mixed = rng.chance(1, 4);
        let mut clients: Vec<_> = (0..rng.small(2..4)).map(|client| client_plan(rng, client)).collect();
        share_pictures(rng, &mut clients);
        let workers: Vec<_> = (0..rng.small(3..6)).map(|worker| worker_plan(rng, worker, mixed)).collect();
        let mut faults: Vec<_> = (0..rng.small(10..14)).map(|n| fault(rng, n < 8, &clients, workers.len())).collect();
        faults.sort_by_key(|(at, _)| *at);
        Self { config: config(rng), clients, workers, faults }
    }

    pub(super) fn jobs(&self) -> usize {
        self.clients.iter().map(|client| client.jobs.len()).sum()
    }
}

fn config(rng: &mut Rng) -> Config {
    let strip = 263_000;
    Config {
        limits: Limits::default(),
        dead_after: rng.millis(2_500..4_000),
        lease: rng.millis(3_000..6_000),
        progress_every: rng.millis(500..2_000),
        client_grace: rng.millis(3_000..8_000),
        weights: BTreeMap::from([("emmy".to_owned(), rng.small(1..8))]),
        jobs_max: rng.pick(&[4, 256]),
        jobs_per_account_max: rng.pick(&[2, 64]),
        work_per_account_max: u128::from(rng.pick(&[8_u64, 1_000])) * 1_000_000_000_000,
        reorder_bytes_max: rng.pick(&[0, 3 * strip, 12 * strip, 64 << 20]),
        reorder_bytes_per_thread: rng.pick(&[0, 2 * strip]),
        held_bytes_max: rng.pick(&[0, 6 * strip, 512 << 20]),
        journal: Some(JournalBounds {
            keep_for: rng.pick(&[FOR_EVER, FOR_EVER, Duration::from_secs(5)]),
            ..JournalBounds::default()
        }),
        started_unix_ms: 1_700_000_000_000,
        ..Config::new("sim", Epoch(rng.next()))
    }
}

/// The first client stays whatever happens, and has no poison: so every schedule has its bands.
fn client_plan(rng: &mut Rng, client: u32) -> ClientPlan {
    let jobs = if client == 0 { 3 } else { rng.small(1..3) };
    let jobs = (0..jobs).map(|job| job_plan(rng, client * 16 + job, client > 0)).collect();
    ClientPlan {
        connects: rng.millis(0..500),
        account: rng.pick(&[None, Some("ada"), Some("emmy")]),
        jobs,
        ack_after: rng.pick(&[Duration::ZERO, Duration::from_millis(3), Duration::from_millis(700)]),
    }
}

/// Some want what an earlier client wants too: where it is a detached job, they join it.
fn share_pictures(rng: &mut Rng, clients: &mut [ClientPlan]) {
    for client in 1..clients.len() {
        let (before, after) = clients.split_at_mut(client);
        let mut shared: Vec<_> = before.iter().flat_map(|client| &client.jobs).cloned().collect();
        shared.retain(|job| job.is_kept && job.poison.is_none());
        // Of a picture that several want already, once.
        shared.sort_by_key(|job| job.request.c[0].to_bits());
        shared.dedup_by_key(|job| job.request.c[0].to_bits());
        for job in &mut after[0].jobs {
            if shared.is_empty() || rng.chance(1, 3) {
                continue;
            }
            let theirs = shared.swap_remove(rng.index(shared.len()));
            let submits = if rng.chance(1, 2) { theirs.submits + rng.millis(0..40) } else { job.submits };
            let (key, priority, holder) = (job.key, job.priority, Some(holder_of(&job.key)));
            let follows_after = job.follows_after;
            *job = JobPlan { key, priority, holder, submits, follows_after, ..theirs };
        }
    }
}

fn holder_of(key: &JobKey) -> Holder {
    format!("holder of {key}").parse().expect("it is short enough")
}

fn job_plan(rng: &mut Rng, number: u32, may_be_poisoned: bool) -> JobPlan {
    let encoding = rng.pick(&[Encoding::Png, Encoding::Counts]);
    let w = rng.pick(&[65_536, 30_000, 20_000]);
    let cheap = number > 0 && rng.chance(1, 4);
    let strips = if cheap { rng.small(30..50) } else { rng.small(12..19) };
    let size = |h| Size { w, h };
    let of = |h| Request { size: size(h), window: Window::whole(size(h)), encoding, iterations: 20_000, ..Request::default() };
    let rows_per_strip = Layout::of(&of(1000)).rows_per_strip();
    // The first and the last strip are shorter, where strips have several rows. Half of the pictures are their own mirror images.
    let center = [rng.pick(&[0.0, 0.5]), 0.0];
    let request = Request { c: [f64::from(number), 0.0], center, ..of(rows_per_strip * strips - rows_per_strip / 2) };
    let largest = Layout::of(&request).strip_len_max();
    let mut key = [0; 16];
    key[..4].copy_from_slice(&number.to_le_bytes());
    let key = JobKey(key);
    JobPlan {
        key,
        request,
        priority: rng.pick(&[Priority::Interactive, Priority::Normal, Priority::Batch]),
        window_bytes: largest * rng.pick(&[1, 3, 100]),
        submits: rng.millis(0..3_000),
        iterations: if cheap { rng.within(1..10) } else { rng.within(2_000..16_000) },
        poison: (may_be_poisoned && rng.chance(1, 6)).then(|| rng.small(0..strips)),
        is_kept: rng.chance(2, 5),
        holder: rng.chance(2, 3).then(|| holder_of(&key)),
        follows_after: rng.pick(&[Duration::ZERO, Duration::ZERO, Duration::from_secs(2), Duration::from_secs(5)]),
    }
}

/// The first two workers can do everything that the others can, and always come back.
fn worker_plan(rng: &mut Rng, worker: u32, mixed: bool) -> WorkerPlan {
    let both = vec![Encoding::Png, Encoding::Counts];
    let threads = rng.small(1..4);
    WorkerPlan {
        connects: if worker < 2 { rng.millis(0..500) } else { rng.millis(0..8_000) },
        engine: if mixed && worker % 2 == 1 { "engine-b" } else { "engine-a" },
        encodings: if worker < 2 || rng.chance(2, 3) { both } else { vec![Encoding::Png] },
        threads,
        credit: rng.small(1..2 * threads + 2),
        ns_per_1000: rng.pick(&[250, 1_000, 1_000, 4_000]),
    }
}

/// The early ones strike while jobs begin, the others whenever there is still something to do.
fn fault(rng: &mut Rng, early: bool, clients: &[ClientPlan], workers: usize) -> (Duration, Fault) {
    let until = if early { FIRST_FAULTS_UNTIL_MS } else { FAULTS_UNTIL_MS * rng.within(1..5) / 4 };
    let at = rng.millis(300..until);
    let (worker, client) = (rng.index(workers), rng.index(clients.len()));
    let job = rng.index(clients[client].jobs.len());
    let lasts = rng.millis(500..12_000);
    let back_after = rng.millis(1..9_000);
    let for_good = |rng: &mut Rng, stays: bool| if !stays && rng.chance(1, 3) { None } else { Some(back_after) };
    let told = if rng.chance(1, 3) { Told::Never } else { Told::After(rng.millis(0..1_500)) };
    let fault = match rng.within(0..36) {
        0..6 => Fault::WorkerDies { worker, told, back_after: for_good(rng, worker < 2) },
        6..9 => Fault::WorkerStalls { worker, lasts },
        9..13 => Fault::WorkerWedges { worker, lasts: for_good(rng, worker < 2).map_or(FOR_EVER, |_| lasts) },
        13 => Fault::WorkerDrains { worker, back_after },
        14..16 => Fault::WorkerCheats { worker },
        16 => Fault::WorkerDeclines { worker },
        17 => Fault::WorkerCrashes { worker },
        18..22 => Fault::ClientBreaks { client, told, back_after: for_good(rng, client == 0) },
        22..24 => Fault::ClientStalls { client, lasts },
        24..26 | 28 | 29 if client > 0 => Fault::ClientCancels { client, job },
        26 if client > 0 => Fault::ClientLeaves { client },
        27 | 30 => Fault::BrokerRestarts,
        31..33 => Fault::JournalStalls { lasts },
        33..35 => Fault::JournalDamages,
        35 => Fault::JournalRefuses,
        _ => Fault::ClientRepeats { client, job },
    };
    (at, fault)
}
