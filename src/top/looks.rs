//! Looks at a broker, and what was done between them. Pure: the broker's own clock tells how much time lies between two looks.

use std::collections::{BTreeMap, VecDeque};

use fractally_proto::{JobId, Status, Totals, WorkerStatus};

/// A figure is the mean over so many milliseconds, or since the look before where that was longer ago.
const WINDOW_MS: u64 = 5000;
/// Looks that the window keeps, however little time lies between them; a window of the shortest pauses has fewer.
const LOOKS_MAX: usize = 64;
/// Looks whose differences the trend keeps.
const TREND_MAX: usize = 512;

/// The latest looks at one broker, and figures made of them.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    /// The earliest first; the last is what is shown.
    window: VecDeque<Status>,
    trend: VecDeque<Rates>,
    figures: Figures,
}

/// What is done a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rates {
    /// Iterations of delivered bands.
    pub(crate) iterations: f64,
    /// Delivered bands.
    pub(crate) bands: f64,
    /// Encoded bytes of delivered bands; absent where the broker does not tell.
    pub(crate) bytes: Option<f64>,
}

/// What the latest looks tell together.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// Absent until there were two looks at one life of the broker.
    pub(crate) rates: Option<Rates>,
    /// The share of all threads' time in which they had bands, 0 to 1.
    pub(crate) busy: Option<f64>,
    workers: BTreeMap<u64, WorkerFigures>,
    jobs: BTreeMap<JobId, f64>,
}

/// What the latest looks tell of one worker.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct WorkerFigures {
    /// Iterations a second, over all its threads.
    pub(crate) iterations: Option<f64>,
    /// The share of its threads' time in which they had bands, 0 to 1.
    pub(crate) busy: Option<f64>,
}

impl Looks {
    /// Takes one more look.
    pub(crate) fn take(&mut self, status: Status) {
        if self.latest().is_some_and(|before| !is_same_life(before, &status)) {
            *self = Self::default();
        }
        if let Some(rates) = self.latest().and_then(|before| rates_between(before, &status)) {
            if self.trend.len() == TREND_MAX {
                self.trend.pop_front();
            }
            self.trend.push_back(rates);
        }
        let since = status.broker.uptime_ms.saturating_sub(WINDOW_MS);
        // One look is kept that lies as far back as the window goes, or farther.
        while self.window.len() == LOOKS_MAX || self.window.get(1).is_some_and(|look| look.broker.uptime_ms <= since) {
            self.window.pop_front();
        }
        self.window.push_back(status);
        self.figures = self.figure();
    }

    /// What is shown.
    pub(crate) fn latest(&self) -> Option<&Status> {
        self.window.back()
    }

    pub(crate) fn figures(&self) -> &Figures {
        &self.figures
    }

    /// What was done between each two looks, the earliest first.
    pub(crate) fn trend(&self) -> impl DoubleEndedIterator<Item = &Rates> {
        self.trend.iter()
    }

    fn figure(&self) -> Figures {
        let (Some(first), Some(last)) = (self.window.front(), self.window.back()) else { return Figures::default() };
        let lasted_ms = last.broker.uptime_ms - first.broker.uptime_ms;
        if lasted_ms == 0 {
            return Figures::default();
        }
        let before: BTreeMap<u64, &WorkerStatus> = first.workers.iter().map(|worker| (worker.worker, worker)).collect();
        let mut figures = Figures { rates: rates_between(first, last), ..Figures::default() };
        let (mut busy_ms, mut thread_ms) = (0.0, 0.0);
        for worker in &last.workers {
            let before = before.get(&worker.worker).copied();
            let lasted_ms = lasted(before.is_some(), worker.connected_ms, lasted_ms);
            let iterations = since(worker.iterations, before.map(|before| before.iterations));
            let busy = worker.busy_ms.map(|busy| since(busy, before.and_then(|before| before.busy_ms)));
            let threads_ms = f64::from(worker.threads) * lasted_ms;
            let told = WorkerFigures {
                iterations: Some(iterations * 1000.0 / lasted_ms),
                busy: busy.map(|busy| (busy / threads_ms.max(1.0)).clamp(0.0, 1.0)),
            };
            if let Some(busy) = busy {
                (busy_ms, thread_ms) = (busy_ms + busy, thread_ms + threads_ms);
            }
            figures.workers.insert(worker.worker, told);
        }
        figures.busy = (thread_ms > 0.0).then(|| (busy_ms / thread_ms).clamp(0.0, 1.0));
        let before: BTreeMap<JobId, u64> = first.jobs.iter().map(|job| (job.job, job.iterations)).collect();
        figures.jobs.extend(last.jobs.iter().map(|job| {
            let before = before.get(&job.job).copied();
            let lasted_ms = lasted(before.is_some(), job.age_ms, lasted_ms);
            (job.job, since(job.iterations, before) * 1000.0 / lasted_ms)
        }));
        figures
    }
}

impl Figures {
    pub(crate) fn worker(&self, worker: u64) -> WorkerFigures {
        self.workers.get(&worker).copied().unwrap_or_default()
    }

    /// Iterations a second for one job.
    pub(crate) fn job(&self, job: JobId) -> Option<f64> {
        self.jobs.get(&job).copied()
    }
}

/// Milliseconds that a difference spans: who was not there at the first look has begun with nothing since.
fn lasted(was_there: bool, age_ms: u64, window_ms: u64) -> f64 {
    (if was_there { window_ms } else { age_ms.min(window_ms) }).max(1) as f64
}

fn since(now: u64, before: Option<u64>) -> f64 {
    now.saturating_sub(before.unwrap_or(0)) as f64
}

/// Whether a broker's sums go on from one look to the next.
fn is_same_life(before: &Status, after: &Status) -> bool {
    before.broker.epoch == after.broker.epoch && before.broker.uptime_ms <= after.broker.uptime_ms
}

/// Nothing where no time lies between.
fn rates_between(before: &Status, after: &Status) -> Option<Rates> {
    let lasted_ms = after.broker.uptime_ms.checked_sub(before.broker.uptime_ms).filter(|&ms| ms > 0)?;
    let a_second = |done: fn(&Totals) -> u64| {
        let (before, after) = (totals(before), totals(after));
        done(&after).saturating_sub(done(&before)) as f64 * 1000.0 / lasted_ms as f64
    };
    let bytes = after.broker.totals.map(|_| a_second(|totals| totals.tile_bytes));
    Some(Rates { iterations: a_second(|totals| totals.iterations), bands: a_second(|totals| totals.delivered), bytes })
}

/// What the broker has done; of one that does not tell, what its workers have that are still there.
fn totals(status: &Status) -> Totals {
    status.broker.totals.unwrap_or_else(|| {
        let sum = |of: fn(&WorkerStatus) -> u64| status.workers.iter().map(of).fold(0, u64::saturating_add);
        Totals { iterations: sum(|worker| worker.iterations), delivered: sum(|worker| worker.bands_done), ..Totals::default() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::crafted::{job, status, worker};

    /// A look at `uptime_ms` where so many bands of 1000 iterations and 10 bytes are done.
    fn look(uptime_ms: u64, bands: u64) -> Status {
        let mut look = status(uptime_ms);
        look.broker.totals =
            Some(Totals { delivered: bands, iterations: 1000 * bands, tile_bytes: 10 * bands, ..Totals::default() });
        look
    }

    fn rates(looks: &Looks) -> Option<[f64; 3]> {
        looks.figures().rates.map(|rates| [rates.iterations, rates.bands, rates.bytes.unwrap_or(-1.0)])
    }

    #[test]
    fn rates_are_what_was_done_between_looks_over_the_brokers_own_time() {
        let mut looks = Looks::default();
        looks.take(look(1000, 100));
        assert_eq!(rates(&looks), None, "one look tells of no time");
        looks.take(look(1000, 100));
        assert_eq!(rates(&looks), None, "no time lies between");
        looks.take(look(3000, 140));
        assert_eq!(rates(&looks), Some([20_000.0, 20.0, 200.0]));
        assert_eq!(looks.trend().count(), 1);
    }

    #[test]
    fn figures_are_means_over_the_window_and_the_trend_has_each_step() {
        let mut looks = Looks::default();
        for (uptime, bands) in
            [(0, 0), (1000, 900), (2000, 900), (3000, 900), (4000, 900), (5000, 900), (6000, 1000), (7000, 1100)]
        {
            looks.take(look(uptime, bands));
        }
        assert_eq!(rates(&looks), Some([40_000.0, 40.0, 400.0]), "200 bands in 5 s");
        let steps: Vec<_> = looks.trend().map(|rates| rates.bands).collect();
        assert_eq!(steps, [900.0, 0.0, 0.0, 0.0, 0.0, 100.0, 100.0]);
        looks.take(look(67_000, 1160));
        assert_eq!(rates(&looks), Some([1000.0, 1.0, 10.0]), "after a long pause, since the look before");
    }

    #[test]
    fn another_life_of_the_broker_begins_anew() {
        let mut looks = Looks::default();
        looks.take(look(1000, 100));
        looks.take(look(2000, 200));
        let mut reborn = look(3000, 5);
        reborn.broker.epoch = Some(fractally_proto::Epoch(99));
        looks.take(reborn);
        assert_eq!((rates(&looks), looks.trend().count()), (None, 0));
        looks.take(look(500, 1));
        assert_eq!(rates(&looks), None, "its clock went back");
    }

    #[test]
    fn workers_and_jobs_have_rates_of_their_own_also_who_has_just_come() {
        let look = |uptime_ms: u64, iterations: u64, busy_ms: u64| {
            let mut look = status(uptime_ms);
            let mut old = worker(1, "old");
            (old.iterations, old.threads, old.busy_ms) = (iterations, 2, Some(busy_ms));
            look.workers.push(old);
            let mut drawn = job(7);
            drawn.iterations = iterations;
            look.jobs.push(drawn);
            look
        };
        let mut looks = Looks::default();
        looks.take(look(10_000, 1000, 500));
        let mut second = look(12_000, 5000, 2500);
        let mut new = worker(2, "new");
        (new.iterations, new.threads, new.connected_ms, new.busy_ms) = (300, 1, 100, Some(100));
        second.workers.push(new);
        let mut silent = worker(3, "older program");
        silent.busy_ms = None;
        second.workers.push(silent);
        looks.take(second);
        let figures = looks.figures();
        assert_eq!(figures.worker(1), WorkerFigures { iterations: Some(2000.0), busy: Some(0.5) });
        assert_eq!(figures.worker(2), WorkerFigures { iterations: Some(3000.0), busy: Some(1.0) });
        assert_eq!(figures.worker(3).busy, None);
        assert_eq!(figures.worker(4), WorkerFigures::default());
        assert_eq!((figures.job(JobId(7)), figures.job(JobId(8))), (Some(2000.0), None));
        let busy = figures.busy.expect("two of them tell");
        assert!((busy - 2100.0 / 4100.0).abs() < 1e-9, "{busy}");
    }

    #[test]
    fn an_older_broker_tells_through_its_workers() {
        let look = |uptime_ms: u64, iterations: u64, bands: u64| {
            let mut look = status(uptime_ms);
            (look.broker.totals, look.broker.epoch) = (None, None);
            let mut only = worker(1, "w");
            (only.iterations, only.bands_done) = (iterations, bands);
            look.workers.push(only);
            look
        };
        let mut looks = Looks::default();
        looks.take(look(0, 0, 0));
        looks.take(look(1000, 50, 5));
        assert_eq!(rates(&looks), Some([50.0, 5.0, -1.0]));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut looks = Looks::default();
        (0..3000).for_each(|n| looks.take(look(100 * n, n)));
        assert_eq!(looks.trend().count(), TREND_MAX);
        assert!(looks.window.len() <= 52, "{}", looks.window.len());
        (0..3000).for_each(|n| looks.take(look(300_000, n)));
        assert_eq!(looks.window.len(), LOOKS_MAX, "also where a broker's clock stands still");
    }
}
