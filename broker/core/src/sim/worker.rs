//! A worker as it should be: a queue, threads, an answer to every lease.

use std::{collections::BTreeSet, time::Duration};

use fractally_proto::{
    AttemptId, Band, BandFailed, BandFailure, BandProgress, ErrorCode, Layout, Lease, LeaseKind, Message, RowSample, Samples,
    StripMeta, Tile,
};

use super::{
    plan::{Told, WorkerPlan},
    world::{Content, Event, Peer, ToBroker, World},
};
use crate::WorkerSays;

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) plan: WorkerPlan,
    pub(super) link: Option<usize>,
    pub(super) left: bool,
    pub(super) tasks: Vec<Task>,
    /// Its threads stand still until then.
    pub(super) wedged_until: Duration,
    pub(super) cheats: bool,
    pub(super) declines: bool,
    pub(super) crashes: bool,
    /// It sent something that costs the connection.
    pub(super) guilty: bool,
}

#[derive(Debug)]
pub(super) struct Task {
    pub(super) lease: Lease,
    pub(super) runs_since: Option<Duration>,
    pub(super) progress: u64,
    pub(super) asked_back: bool,
    /// A worker that knows of no mirrors: it renders such a band as any other.
    pub(super) mirror_of: Option<AttemptId>,
}

impl Worker {
    pub(super) fn new(plan: WorkerPlan) -> Self {
        Self {
            plan,
            link: None,
            left: false,
            tasks: Vec::new(),
            wedged_until: Duration::ZERO,
            cheats: false,
            declines: false,
            crashes: false,
            guilty: false,
        }
    }

    /// Forgets what belonged to its connection.
    pub(super) fn lose_link(&mut self) {
        (self.link, self.guilty) = (None, false);
        self.tasks.clear();
    }

    pub(super) fn position(&self, attempt: AttemptId) -> Option<usize> {
        self.tasks.iter().position(|task| task.lease.attempt == attempt)
    }

    /// The next task for a free thread: the better class first, then the earlier lease.
    pub(super) fn next_to_run(&self) -> Option<usize> {
        let running = self.tasks.iter().filter(|task| task.runs_since.is_some()).count();
        let waiting = self.tasks.iter().enumerate().filter(|(_, task)| task.runs_since.is_none());
        let next = waiting.min_by_key(|(_, task)| (task.lease.priority, task.lease.attempt)).map(|(index, _)| index);
        next.filter(|_| running < self.plan.threads as usize)
    }

    pub(super) fn progress(&mut self, now: Duration) -> Vec<BandProgress> {
        let wedged = now < self.wedged_until;
        for task in &mut self.tasks {
            if task.runs_since.is_some() && !wedged {
                task.progress += 1;
            }
        }
        self.tasks.iter().map(|task| BandProgress(task.lease.attempt, task.progress)).collect()
    }

    /// Units of work in a lease.
    pub(super) fn units(&self, lease: &Lease, iterations: u64) -> u64 {
        match lease.kind {
            LeaseKind::Probe(_) => 30_000_000,
            LeaseKind::Band { first, strips } => {
                let layout = Layout::of(&lease.request);
                let rows = layout.rows_of_band(Band { first, strips });
                u64::from(rows.end - rows.start) * u64::from(lease.request.window.w) * (iterations + 20)
            }
        }
    }
}

impl World {
    pub(super) fn worker_receives(&mut self, link: usize, index: usize, message: Message) {
        match message {
            Message::Welcome(_) | Message::ByeOk(_) => {}
            Message::Lease(lease) => self.worker_is_leased(link, index, lease),
            Message::Withdraw(withdraw) => {
                let worker = &mut self.workers[index];
                // Answered already, or wedged: then the tile comes when it comes.
                let Some(position) = worker.position(withdraw.attempt) else { return };
                let task = &mut worker.tasks[position];
                assert!(!(withdraw.if_waiting && std::mem::replace(&mut task.asked_back, true)), "a worker is asked twice");
                let runs = task.runs_since.is_some();
                if runs && (withdraw.if_waiting || self.now < worker.wedged_until) {
                    return;
                }
                self.tally.recalls += u64::from(withdraw.if_waiting);
                worker.tasks.remove(position);
                self.give_up(index, withdraw.attempt, BandFailure::Withdrawn);
                self.run_tasks(link, index);
            }
            Message::Error(error) => {
                let guilty = self.workers[index].guilty;
                assert!(guilty || error.code == ErrorCode::Full, "a worker is accused: {}", error.message);
            }
            other => panic!("a worker is told {other:?}"),
        }
    }

    pub(super) fn worker_is_leased(&mut self, link: usize, index: usize, lease: Lease) {
        self.tally.leases += u64::from(matches!(lease.kind, LeaseKind::Band { .. })) + u64::from(lease.mirror.is_some());
        self.tally.mirrors += u64::from(lease.mirror.is_some());
        let twin = |task: &Task| (task.lease.job, task.lease.kind) == (lease.job, lease.kind);
        self.tally.backups += u64::from(self.workers.iter().any(|worker| worker.tasks.iter().any(twin)));
        let worker = &mut self.workers[index];
        let leases: BTreeSet<_> = worker.tasks.iter().map(|task| task.mirror_of.unwrap_or(task.lease.attempt)).collect();
        let used = leases.len();
        assert!(used < worker.plan.credit as usize, "a worker is leased more than its credit");
        assert!(worker.plan.encodings.contains(&lease.request.encoding), "a worker is leased what it cannot encode");
        let first = lease.attempt;
        let mirror = lease.mirror.map(|mirror| Lease { attempt: mirror.attempt, kind: mirror.band().into(), ..lease.clone() });
        if std::mem::take(&mut worker.declines) {
            self.give_up(index, lease.attempt, BandFailure::Declined);
        } else {
            worker.tasks.push(Task { lease, runs_since: None, progress: 0, asked_back: false, mirror_of: None });
        }
        if let Some(lease) = mirror {
            self.workers[index].tasks.push(Task {
                lease,
                runs_since: None,
                progress: 0,
                asked_back: false,
                mirror_of: Some(first),
            });
        }
        self.run_tasks(link, index);
    }

    pub(super) fn run_tasks(&mut self, link: usize, index: usize) {
        while let Some(next) = self.workers[index].next_to_run() {
            let jitter = self.rng.within(90..110);
            let plan = self.plan_of(&self.workers[index].tasks[next].lease);
            let worker = &mut self.workers[index];
            let iterations = plan.map_or(100, |(iterations, _)| iterations);
            let units = worker.units(&worker.tasks[next].lease, iterations);
            let lasts = Duration::from_nanos(units * worker.plan.ns_per_1000 / 1000 * jitter / 100);
            worker.tasks[next].runs_since = Some(self.now);
            let attempt = worker.tasks[next].lease.attempt;
            self.after(lasts, Event::TaskDone(link, index, attempt));
        }
    }

    /// Iterations a pixel, and the poisoned strip, of the job with this picture.
    pub(super) fn plan_of(&self, lease: &Lease) -> Option<(u64, Option<u32>)> {
        let jobs = self.clients.iter().flat_map(|client| &client.jobs);
        let job = jobs.into_iter().find(|job| job.plan.request.c == lease.request.c)?;
        Some((job.plan.iterations, job.plan.poison))
    }

    pub(super) fn give_up(&mut self, worker: usize, attempt: AttemptId, failure: BandFailure) {
        self.tally.incidents += u64::from(failure != BandFailure::Withdrawn);
        let failed = BandFailed { attempt, failure, reason: "so it was planned".to_owned() };
        self.say_worker(worker, WorkerSays::BandFailed(failed));
    }

    pub(super) fn task_done(&mut self, link: usize, index: usize, attempt: AttemptId) {
        let worker = &mut self.workers[index];
        let Some(position) = worker.position(attempt).filter(|_| worker.link == Some(link)) else { return };
        if self.now < worker.wedged_until {
            let at = worker.wedged_until;
            return self.at(at, Event::TaskDone(link, index, attempt));
        }
        let task = worker.tasks.remove(position);
        match task.lease.kind {
            LeaseKind::Probe(grid) => {
                let rows = self.samples(&task.lease, grid.rows);
                let samples = Samples { attempt, compute_ns: 1_000_000 };
                self.say_worker(index, WorkerSays::Samples { samples, rows });
            }
            LeaseKind::Band { first, strips } => self.band_done(link, index, &task, Band { first, strips }),
        }
        self.run_tasks(link, index);
    }

    pub(super) fn samples(&mut self, lease: &Lease, distance: u32) -> Vec<RowSample> {
        let iterations = self.plan_of(lease).map_or(100, |(iterations, _)| iterations);
        let rows = lease.request.window.h * self.rng.small(1..5) / 4;
        let mut sample = |row| RowSample { row, pixels: 10, iterations: 10 * iterations * self.rng.within(50..150) / 100 };
        (0..rows).step_by(distance as usize).map(&mut sample).collect()
    }

    pub(super) fn band_done(&mut self, link: usize, index: usize, task: &Task, band: Band) {
        let attempt = task.lease.attempt;
        let (iterations, poison) = self.plan_of(&task.lease).expect("a lease is of a planned job");
        if poison.is_some_and(|strip| band.range().contains(&strip)) {
            return self.die_of_poison(link, index, attempt);
        }
        if std::mem::take(&mut self.workers[index].crashes) {
            return self.give_up(index, attempt, BandFailure::Crashed);
        }
        let layout = Layout::of(&task.lease.request);
        let mut strips: Vec<_> = band
            .range()
            .map(|strip| {
                let max = layout.encoded_len_max(strip);
                let len = if self.rng.chance(1, 3) { max } else { self.rng.within(max / 50..max) + 1 };
                StripMeta(u32::try_from(len).expect("a strip is small"), strip)
            })
            .collect();
        let worker = &mut self.workers[index];
        if std::mem::take(&mut worker.cheats) {
            worker.guilty = true;
            self.tally.incidents += 1;
            strips.pop();
        }
        let spent = self.now.saturating_sub(task.runs_since.unwrap_or_default());
        let compute_ns = u64::try_from(spent.as_nanos()).expect("short");
        let rows = layout.rows_of_band(band);
        let iterations = iterations * u64::from(rows.end - rows.start) * u64::from(task.lease.request.window.w);
        let tile = Tile { attempt, iterations, executed: None, compute_ns, crc32: 0, strips: strips.clone() };
        let picture = task.lease.request.c[0].to_bits();
        let content = Content { picture, engine: worker.plan.engine, first: band.first, strips };
        self.send_to_broker(link, ToBroker::Tile(tile, content));
    }

    /// Half of the poison kills the process, the other half is noticed.
    pub(super) fn die_of_poison(&mut self, link: usize, index: usize, attempt: AttemptId) {
        if self.rng.chance(1, 2) {
            return self.give_up(index, attempt, BandFailure::Crashed);
        }
        let (told, back) = (Told::After(self.rng.millis(0..50)), self.rng.millis(1..1_000));
        self.break_link(link, told);
        self.after(back, Event::Connect(Peer::Worker(index)));
    }
}
