//! Workers: a queue in the order of the leases, interactive work first, and threads of a speed that may change under way.

use std::collections::{BTreeMap, VecDeque};

use fractally_broker_core::{PayloadId, WorkerId, WorkerSays};
use fractally_proto::{
    AttemptId, Band, BandFailed, BandFailure, BandProgress, Encoding, Epoch, Grid, Hello, Lease, LeaseKind, Message, Priority,
    RowSample, Samples, Tile, Withdraw, WorkerHello,
};

use crate::{
    Change, ns,
    world::{Happening, ToBroker, ToWorker, World},
};

const HEARTBEAT: u64 = 1_000_000_000;
/// A worker whose connection was ended looks for the broker again after so long, nanoseconds.
const BACK_AFTER: u64 = 100_000_000;
/// Pixels that a probe looks at before it asks whether its time is up.
const PROBE_BATCH: u32 = 1024;

#[derive(Debug)]
pub(crate) struct Worker {
    /// Its own speed, and by what it is multiplied now.
    speed: f64,
    factor: f64,
    threads: usize,
    is_alive: bool,
    is_frozen: bool,
    /// Its connection.
    link: Option<WorkerId>,
    /// What came while it was frozen.
    mailbox: Vec<(WorkerId, ToWorker)>,
    waiting: BTreeMap<(Priority, AttemptId), Task>,
    running: Vec<Running>,
    tokens: u64,
    /// Since when not all of its threads have had work.
    idle_since: Option<u64>,
}

/// A lease.
#[derive(Debug)]
struct Task {
    lease: Lease,
    /// What is left of it to answer.
    parts: VecDeque<Part>,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    attempt: AttemptId,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Band { band: Band, is_mirror: bool },
    Probe(Grid),
}

/// A task on a thread.
#[derive(Debug)]
struct Running {
    task: Task,
    /// Of its first part: seconds at speed 1 in all and as of `since`, and when it began.
    seconds: f64,
    left: f64,
    since: u64,
    began: u64,
    /// Seconds at speed 1 of the parts before.
    before: f64,
    /// What a probe will tell.
    rows: Vec<RowSample>,
    /// Which of the events that end it counts.
    token: u64,
}

impl Running {
    fn settle(&mut self, now: u64, rate: f64) {
        self.left = (self.left - (now - self.since) as f64 / 1e9 * rate).max(0.0);
        self.since = now;
    }

    /// Something that grows as the work goes on, and is more than the 0 of those that wait.
    fn progress(&self) -> u64 {
        1 + ns(self.before + self.seconds - self.left)
    }
}

impl Worker {
    pub(crate) fn new(speed: f64, threads: u32) -> Self {
        Self {
            speed,
            factor: 1.0,
            threads: threads as usize,
            is_alive: true,
            is_frozen: false,
            link: None,
            mailbox: Vec::new(),
            waiting: BTreeMap::new(),
            running: Vec::new(),
            tokens: 0,
            idle_since: Some(0),
        }
    }

    /// What befell it before it came.
    pub(crate) fn begin_with(&mut self, change: Change) {
        match change {
            Change::Speed(factor) => self.factor = factor,
            Change::Dies => self.is_alive = false,
            Change::Returns => self.is_alive = true,
            Change::Freezes => self.is_frozen = true,
            Change::Thaws => self.is_frozen = false,
        }
    }

    /// Speed of one of its threads now.
    pub(crate) fn rate(&self) -> f64 {
        if self.is_alive && !self.is_frozen { self.speed * self.factor } else { 0.0 }
    }

    /// Since when it waits for work, if it could do any.
    pub(crate) fn idle_since(&self) -> Option<u64> {
        self.idle_since.filter(|_| self.rate() > 0.0)
    }

    /// Forgets all leases; the seconds at speed 1 that they had taken.
    pub(crate) fn abandon(&mut self, now: u64) -> f64 {
        let rate = self.rate();
        self.waiting.clear();
        let half_done = |mut running: Running| {
            running.settle(now, rate);
            running.seconds - running.left
        };
        let spent = self.running.drain(..).map(half_done).sum();
        self.idle_since.get_or_insert(now);
        spent
    }

    fn holds(&self) -> usize {
        self.waiting.len() + self.running.len()
    }
}

impl World<'_> {
    fn worker(&mut self, worker: u32) -> &mut Worker {
        &mut self.workers[worker as usize]
    }

    /// Says something if it is connected.
    fn worker_says(&mut self, worker: u32, says: WorkerSays, spent: f64) {
        if let Some(link) = self.worker(worker).link {
            self.send_to_broker(ToBroker::Worker(link, says, spent));
        }
    }

    pub(crate) fn worker_joins(&mut self, index: u32) {
        let link = WorkerId(self.links.len() as u64);
        if !self.worker(index).is_alive || self.worker(index).link.is_some() {
            return;
        }
        self.links.push(index);
        self.worker(index).link = Some(link);
        let threads = self.scenario.threads;
        let about = WorkerHello {
            name: format!("worker-{index}"),
            engine: "simulated".to_owned(),
            kernel: "none".to_owned(),
            threads,
            credit: self.scenario.credit * threads,
            encodings: vec![Encoding::Png, Encoding::Counts],
        };
        let hello = Hello { agent: "simulator".to_owned(), epoch: Epoch(link.0 + 1), account: None, worker: Some(about) };
        self.worker_says(index, WorkerSays::Hello(hello), 0.0);
        let first = self.rng.below(HEARTBEAT);
        self.after(first, Happening::WorkerBeat(index, link));
    }

    pub(crate) fn worker_beats(&mut self, index: u32, link: WorkerId) {
        let now = self.now;
        let worker = self.worker(index);
        if worker.link != Some(link) {
            return;
        }
        if !worker.is_frozen {
            let rate = worker.rate();
            let mut bands = Vec::with_capacity(worker.holds());
            for running in &mut worker.running {
                running.settle(now, rate);
                bands.extend(running.task.parts.iter().map(|part| BandProgress(part.attempt, running.progress())));
            }
            let waiting = worker.waiting.values().flat_map(|task| &task.parts);
            bands.extend(waiting.map(|part| BandProgress(part.attempt, 0)));
            self.worker_says(index, WorkerSays::Heartbeat(bands), 0.0);
        }
        self.after(HEARTBEAT, Happening::WorkerBeat(index, link));
    }

    pub(crate) fn worker_hears(&mut self, link: WorkerId, message: ToWorker) {
        let Some(&index) = usize::try_from(link.0).ok().and_then(|link| self.links.get(link)) else { return };
        let worker = self.worker(index);
        if worker.link != Some(link) {
            return;
        }
        if worker.is_frozen {
            return worker.mailbox.push((link, message));
        }
        match message {
            ToWorker::Says(Message::Lease(lease)) => self.worker_is_leased(index, lease),
            ToWorker::Says(Message::Withdraw(withdraw)) => self.worker_gives_back(index, withdraw),
            ToWorker::Says(_) => {}
            ToWorker::Dropped => {
                self.worker_abandons(index);
                self.worker(index).link = None;
                self.after(BACK_AFTER, Happening::Join(index));
            }
        }
    }

    fn worker_abandons(&mut self, index: u32) {
        let now = self.now;
        self.tally.spent += self.worker(index).abandon(now);
    }

    fn worker_is_leased(&mut self, index: u32, lease: Lease) {
        let what = match lease.kind {
            LeaseKind::Band { first, strips } => What::Band { band: Band { first, strips }, is_mirror: false },
            LeaseKind::Probe(grid) => What::Probe(grid),
        };
        let first = Part { attempt: lease.attempt, what };
        let mirror = lease
            .mirror
            .map(|mirror| Part { attempt: mirror.attempt, what: What::Band { band: mirror.band(), is_mirror: true } });
        let parts = [Some(first), mirror].into_iter().flatten().collect();
        self.worker(index).waiting.insert((lease.priority, lease.attempt), Task { lease, parts });
        self.worker_goes_on(index);
    }

    /// Takes back a band, and its mirror with it.
    fn worker_gives_back(&mut self, index: u32, withdraw: Withdraw) {
        let now = self.now;
        let worker = self.worker(index);
        let names = |task: &Task| task.parts.iter().any(|part| part.attempt == withdraw.attempt);
        let waits = worker.waiting.iter().find(|(_, task)| names(task)).map(|(&order, _)| order);
        let runs = worker.running.iter().position(|running| names(&running.task));
        let task = match (waits, runs) {
            (Some(order), _) => worker.waiting.remove(&order),
            (None, Some(_)) if withdraw.if_waiting => None,
            (None, Some(running)) => {
                let rate = worker.rate();
                let mut running = worker.running.remove(running);
                running.settle(now, rate);
                self.tally.spent += running.seconds - running.left;
                Some(running.task)
            }
            // Answered already.
            (None, None) => None,
        };
        for part in task.into_iter().flat_map(|task| task.parts) {
            let failed = BandFailed { attempt: part.attempt, failure: BandFailure::Withdrawn, reason: String::new() };
            self.worker_says(index, WorkerSays::BandFailed(failed), 0.0);
        }
        self.worker_goes_on(index);
    }

    /// Free threads take what waits.
    fn worker_goes_on(&mut self, index: u32) {
        let now = self.now;
        loop {
            let worker = self.worker(index);
            if worker.running.len() == worker.threads {
                worker.idle_since = None;
                return;
            }
            let Some((_, task)) = worker.waiting.pop_first() else {
                worker.idle_since.get_or_insert(now);
                return;
            };
            let fresh =
                Running { task, seconds: 0.0, left: 0.0, since: now, began: now, before: 0.0, rows: Vec::new(), token: 0 };
            worker.running.push(fresh);
            let thread = worker.running.len() - 1;
            self.begin_part(index, thread);
        }
    }

    fn begin_part(&mut self, index: u32, thread: usize) {
        let noise = self.rng.about_one(self.scenario.noise);
        let worker = &self.workers[index as usize];
        let running = &worker.running[thread];
        let (seconds, rows) = match running.task.parts.front().map(|part| part.what) {
            Some(What::Band { band, is_mirror }) => {
                let work = self.works.iter().find(|work| work.request == running.task.lease.request);
                let seconds = work.map_or(0.0, |work| work.seconds(band, is_mirror && self.scenario.mirror));
                (seconds * noise, Vec::new())
            }
            Some(What::Probe(grid)) => self.probe(&running.task.lease, grid, worker.rate()),
            None => (0.0, Vec::new()),
        };
        let now = self.now;
        let running = &mut self.worker(index).running[thread];
        running.before += running.seconds;
        (running.seconds, running.left, running.since, running.began, running.rows) = (seconds, seconds, now, now, rows);
        self.plan_end(index, thread);
    }

    /// Says when the part on a thread will be done, at the speed of now.
    fn plan_end(&mut self, index: u32, thread: usize) {
        let worker = self.worker(index);
        worker.tokens += 1;
        let (token, rate) = (worker.tokens, worker.rate());
        let running = &mut worker.running[thread];
        running.token = token;
        if rate > 0.0 {
            let takes = ns(running.left / rate);
            self.after(takes, Happening::PartDone(index, token));
        }
    }

    pub(crate) fn part_is_done(&mut self, index: u32, token: u64) {
        let now = self.now;
        let worker = self.worker(index);
        let Some(thread) = worker.running.iter().position(|running| running.token == token) else { return };
        let running = &mut worker.running[thread];
        let Some(part) = running.task.parts.pop_front() else { return };
        let (spent, compute_ns) = (running.seconds, now - running.began);
        let (request, rows) = (running.task.lease.request, std::mem::take(&mut running.rows));
        let goes_on = !running.task.parts.is_empty();
        if !goes_on {
            worker.running.remove(thread);
        }
        self.tally.spent += spent;
        let says = match part.what {
            What::Probe(_) => WorkerSays::Samples { samples: Samples { attempt: part.attempt, compute_ns }, rows },
            What::Band { band, is_mirror } => {
                let Some(work) = self.works.iter().find(|work| work.request == request) else { return };
                let iterations = crate::whole(work.iterations(work.layout.rows_of_band(band)));
                let executed = (is_mirror && self.scenario.mirror).then_some(0);
                let strips = work.strips(band);
                let bytes = strips.iter().map(|strip| u64::from(strip.encoded_len())).sum();
                let tile = Tile { attempt: part.attempt, iterations, executed, compute_ns, crc32: 0, strips };
                // An attempt is answered by one tile at the most.
                WorkerSays::Tile { tile, payload: PayloadId(part.attempt.0), bytes }
            }
        };
        self.worker_says(index, says, spent);
        if goes_on {
            self.begin_part(index, thread);
        }
        self.worker_goes_on(index);
    }

    /// What a probe takes and finds. It stops at a batch of rows once its time is up; what that batch has found is lost.
    fn probe(&self, lease: &Lease, grid: Grid, rate: f64) -> (f64, Vec<RowSample>) {
        let Some(work) = self.works.iter().find(|work| work.request == lease.request) else { return (0.0, Vec::new()) };
        let (w, h) = (lease.request.window.w, lease.request.window.h);
        let (row_step, column_step) = (grid.rows.max(1), grid.cols.max(1));
        let (rows, pixels) = (h.div_ceil(row_step), w.div_ceil(column_step));
        let batch = (PROBE_BATCH / pixels.max(1)).max(1) as usize;
        let budget = f64::from(grid.budget_ms) / 1e3 * rate;
        let (mut seconds, mut seen) = (0.0, Vec::new());
        let order: Vec<u32> = spread(rows).map(|k| (k * row_step).saturating_add(row_step / 2).min(h - 1)).collect();
        for batch in order.chunks(batch) {
            let sample = |&row: &u32| {
                let iterations = work.iterations(row..row + 1) / f64::from(w) * f64::from(pixels);
                RowSample { row, pixels, iterations: crate::whole(iterations) }
            };
            let found: Vec<RowSample> = batch.iter().map(sample).collect();
            seconds += found.iter().map(|row| work.iteration_seconds(row.iterations as f64)).sum::<f64>();
            if seconds > budget {
                return (budget, seen);
            }
            seen.extend(found);
        }
        (seconds, seen)
    }

    pub(crate) fn worker_changes(&mut self, index: u32, change: Change) {
        self.count_offers();
        let now = self.now;
        let worker = self.worker(index);
        let rate = worker.rate();
        worker.running.iter_mut().for_each(|running| running.settle(now, rate));
        match change {
            Change::Speed(factor) => worker.factor = factor,
            Change::Freezes => worker.is_frozen = true,
            Change::Thaws => worker.is_frozen = false,
            Change::Dies => return self.worker_dies(index),
            Change::Returns => {
                if !std::mem::replace(&mut worker.is_alive, true) {
                    self.worker_joins(index);
                }
            }
        }
        for thread in 0..self.worker(index).running.len() {
            self.plan_end(index, thread);
        }
        if !self.worker(index).is_frozen {
            for (link, message) in std::mem::take(&mut self.worker(index).mailbox) {
                self.worker_hears(link, message);
            }
        }
    }

    fn worker_dies(&mut self, index: u32) {
        self.worker_abandons(index);
        let worker = self.worker(index);
        (worker.is_alive, worker.is_frozen) = (false, false);
        worker.mailbox.clear();
        if let Some(link) = worker.link.take() {
            self.send_to_broker(ToBroker::Gone(link));
        }
    }
}

/// `0..len` in bit-reversed order, as a probe takes its rows: every prefix is spread over the whole.
fn spread(len: u32) -> impl Iterator<Item = u32> {
    let bits = len.next_power_of_two().trailing_zeros();
    let reversed = move |k: u32| k.reverse_bits().checked_shr(u32::BITS - bits).unwrap_or(0);
    (0..1u32 << bits).map(reversed).filter(move |&k| k < len)
}
