//! Workers with threads and queues in virtual time, for laws about what happens over minutes: every lease takes its time and is answered,
//! every strip is acknowledged at once. Nothing fails here; that is the simulation's part.

use std::collections::{BTreeMap, VecDeque};

use super::*;

/// Units of a strip of [`picture`] in these laws, and how long a thread takes for one: 66 ms.
const ITERATIONS: u64 = 1_000;
const STRIP_TAKES: Duration = Duration::from_micros(65_536 * (ITERATIONS + 8) / 1_000);

/// A job too large to end: 20,000 strips are 22 minutes of a thread.
pub(super) const ENDLESS: u32 = 20_000;

struct Hand {
    threads: usize,
    running: Vec<(Duration, Lease)>,
    waiting: Vec<Lease>,
}

pub(super) struct Hall {
    pub(super) grid: Grid,
    hands: BTreeMap<u64, Hand>,
    /// The effects of what was said last.
    heard: VecDeque<Effect>,
    /// A job's strips take so many times as long as they should.
    pub(super) slow: BTreeMap<JobId, u32>,
    /// What threads spent on each job's bands that are done.
    spent: BTreeMap<JobId, Duration>,
    done: BTreeMap<JobId, Duration>,
    /// Workers that do not give back what waits.
    pub(super) deaf: bool,
    keys: u8,
}

impl Hall {
    /// So many workers of so many threads, each with a credit of two a thread.
    pub(super) fn new(workers: u64, threads: u32, change: impl FnOnce(&mut Config)) -> Self {
        let grid = Grid::with(|config| {
            // Nobody says anything without being asked.
            (config.dead_after, config.lease) = (3600 * SECOND, 3600 * SECOND);
            (config.reorder_bytes_max, config.held_bytes_max) = (1 << 30, 1 << 34);
            change(config);
        });
        let (hands, heard, slow, spent) = (BTreeMap::new(), VecDeque::new(), BTreeMap::new(), BTreeMap::new());
        let mut hall = Self { grid, hands, heard, slow, spent, done: BTreeMap::new(), deaf: false, keys: 0 };
        for id in 1..=workers {
            hall.hands.insert(id, Hand { threads: threads as usize, running: Vec::new(), waiting: Vec::new() });
            let effects = hall.grid.worker(id, |about| (about.threads, about.credit) = (threads, 2 * threads));
            hall.hear(effects);
        }
        hall
    }

    /// A client of an account; its number.
    pub(super) fn client(&mut self, client: u64, account: &str) -> u64 {
        self.grid.client_of(client, account);
        client
    }

    pub(super) fn submit(&mut self, client: u64, priority: Priority, strips: u32) -> JobId {
        self.keys += 1;
        let submit = Submit { priority, ..submit(self.keys, strips) };
        let effects = self.grid.client_says(client, ClientSays::Submit(Box::new(submit)));
        let Some(Message::Accepted(accepted)) = told(&effects).first().copied() else { panic!("{effects:?}") };
        let job = accepted.job;
        self.hear(effects);
        job
    }

    pub(super) fn cancel(&mut self, client: u64, job: JobId) {
        let effects = self.grid.client_says(client, ClientSays::Cancel(fractally_proto::Cancel { job, holder: None }));
        self.hear(effects);
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.grid.now + time;
        while let Some((at, worker)) = self.next().filter(|(at, _)| *at <= until) {
            self.grid.now = at;
            self.finish(worker);
        }
        self.grid.now = until;
    }

    /// Passes time until a job is done; how long that took.
    pub(super) fn await_done(&mut self, job: JobId) -> Duration {
        let start = self.grid.now;
        while !self.done.contains_key(&job) {
            assert!(self.grid.now < start + 600 * SECOND, "job {job} is never done");
            self.pass(MS);
        }
        self.grid.now - start
    }

    /// What the jobs got of a stretch of time, seconds of threads.
    pub(super) fn seconds_of(&mut self, time: Duration, jobs: &[&[JobId]]) -> Vec<f64> {
        let sum = |hall: &Self, jobs: &[JobId]| -> f64 { jobs.iter().map(|job| hall.spent_on(*job).as_secs_f64()).sum() };
        let before: Vec<f64> = jobs.iter().map(|jobs| sum(self, jobs)).collect();
        self.pass(time);
        jobs.iter().zip(before).map(|(jobs, before)| sum(self, jobs) - before).collect()
    }

    /// What threads spent on a job until now.
    pub(super) fn spent_on(&self, job: JobId) -> Duration {
        let running = self.hands.values().flat_map(|hand| &hand.running).filter(|(_, lease)| lease.job == job);
        let ahead: Duration = running.clone().map(|(end, _)| *end - self.grid.now).sum();
        let whole: Duration = running.map(|(_, lease)| self.takes(lease)).sum();
        self.spent.get(&job).copied().unwrap_or_default() + whole - ahead
    }

    fn next(&self) -> Option<(Duration, u64)> {
        let ends = self.hands.iter().flat_map(|(&id, hand)| hand.running.iter().map(move |(end, _)| (*end, id)));
        ends.min()
    }

    fn finish(&mut self, worker: u64) {
        let hand = self.hands.get_mut(&worker).unwrap();
        let first = (0..hand.running.len()).min_by_key(|&at| hand.running[at].0).unwrap();
        let (_, lease) = hand.running.remove(first);
        let takes = self.takes(&lease);
        let (_, mut says) = self.grid.tile(&lease, 10);
        if let WorkerSays::Tile { tile, .. } = &mut says {
            tile.iterations = ITERATIONS * 65_536 * u64::from(band_of(&lease).strips);
            tile.compute_ns = u64::try_from(takes.as_nanos()).unwrap();
        }
        *self.spent.entry(lease.job).or_default() += takes;
        let effects = self.grid.worker_says(worker, says);
        self.begin(worker);
        self.hear(effects);
    }

    fn takes(&self, lease: &Lease) -> Duration {
        STRIP_TAKES * band_of(lease).strips * self.slow.get(&lease.job).copied().unwrap_or(1)
    }

    /// Free threads take the better class first, then the earlier lease.
    fn begin(&mut self, worker: u64) {
        loop {
            let hand = &self.hands[&worker];
            let next = (0..hand.waiting.len()).min_by_key(|&at| (hand.waiting[at].priority, hand.waiting[at].attempt));
            let Some(next) = next.filter(|_| hand.running.len() < hand.threads) else { return };
            let hand = self.hands.get_mut(&worker).unwrap();
            let lease = hand.waiting.remove(next);
            let end = self.grid.now + self.takes(&lease);
            self.hands.get_mut(&worker).unwrap().running.push((end, lease));
        }
    }

    fn hear(&mut self, effects: Vec<Effect>) {
        self.heard.extend(effects);
        while let Some(effect) = self.heard.pop_front() {
            self.grid.leased.clear();
            match effect {
                Effect::ToWorker(worker, Message::Lease(lease)) => self.take(worker.0, lease),
                Effect::ToWorker(worker, Message::Withdraw(withdraw)) => {
                    let hand = self.hands.get_mut(&worker.0).unwrap();
                    let waits = hand.waiting.iter().position(|lease| lease.attempt == withdraw.attempt);
                    if withdraw.if_waiting && self.deaf {
                        continue;
                    }
                    match waits {
                        Some(at) => drop(hand.waiting.remove(at)),
                        None if withdraw.if_waiting => continue,
                        None => hand.running.retain(|(_, lease)| lease.attempt != withdraw.attempt),
                    }
                    let effects = self.grid.band_failed(worker.0, withdraw.attempt, BandFailure::Withdrawn);
                    self.begin(worker.0);
                    self.heard.extend(effects);
                }
                Effect::Deliver { client, job, first, strips, .. } => {
                    let have = first + u32::try_from(strips.len()).unwrap();
                    let effects = self.grid.ack(client.0, job, have);
                    self.heard.extend(effects);
                }
                Effect::ToClient(_, Message::Done(done)) => {
                    self.done.insert(done.job, self.grid.now);
                }
                _ => {}
            }
        }
    }

    fn take(&mut self, worker: u64, lease: Lease) {
        match lease.kind {
            LeaseKind::Probe(_) => {
                let effects = self.grid.band_failed(worker, lease.attempt, BandFailure::Declined);
                self.heard.extend(effects);
            }
            LeaseKind::Band { .. } => {
                self.hands.get_mut(&worker).unwrap().waiting.push(lease);
                self.begin(worker);
            }
        }
    }
}
