//! How a worker does: one that fails at one band after another sits on the bench for a while, and is tried again.
//!
//! Three different bands in a row, without a tile between them, are three failures of the worker; one band that fails three times is
//! a bad band. What failed for a job that then failed itself, or was cancelled, is nobody's failure and is forgiven. A worker that
//! comes back under its old name is the same worker: [`Absent`] remembers it.

use std::{collections::VecDeque, time::Duration};

use fractally_proto::JobId;

/// Bands in a row that put a worker on the bench.
const FAILURES_MAX: usize = 3;
/// Failures that are kept at the most.
const KEPT_MAX: usize = 8;
/// How long it sits there first; each further time without a tile in between is twice as long.
const BENCH_FIRST: Duration = Duration::from_secs(10);
const BENCH_MAX: Duration = Duration::from_secs(300);
/// Names that are remembered; the earliest is forgotten first.
const ABSENT_MAX: usize = 256;

/// What is known of one worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conduct {
    /// Job and first strip of the bands that failed since the last tile.
    failed: VecDeque<(JobId, u32)>,
    benches: u32,
    /// It is leased nothing before then.
    pub(crate) benched_until: Option<Duration>,
}

impl Conduct {
    /// A band failed. Gives how long the worker is benched from now on, if that is why.
    pub(crate) fn fail(&mut self, now: Duration, job: JobId, first: u32) -> Option<Duration> {
        if self.failed.contains(&(job, first)) {
            return None;
        }
        if self.failed.len() == KEPT_MAX {
            self.failed.pop_front();
        }
        self.failed.push_back((job, first));
        if self.failed.len() < FAILURES_MAX || self.benched_until.is_some() {
            return None;
        }
        let lasts = BENCH_FIRST.saturating_mul(1 << self.benches.min(16)).min(BENCH_MAX);
        self.benches = self.benches.saturating_add(1);
        self.benched_until = Some(now.saturating_add(lasts));
        Some(lasts)
    }

    /// It delivered a band: all is well.
    pub(crate) fn deliver(&mut self) {
        *self = Self::default();
    }

    /// What it failed at was the job's fault, or nobody's.
    pub(crate) fn forgive(&mut self, job: JobId) {
        let before = self.failed.len();
        self.failed.retain(|(failed, _)| *failed != job);
        if self.failed.len() < FAILURES_MAX && self.failed.len() < before && self.benched_until.take().is_some() {
            self.benches -= 1;
        }
    }

    /// Ends a bench that is over.
    pub(crate) fn pass(&mut self, now: Duration) {
        self.benched_until = self.benched_until.filter(|&until| now < until);
    }

    fn is_blank(&self) -> bool {
        *self == Self::default()
    }
}

/// Workers that are gone and had failures.
#[derive(Debug, Default)]
pub(crate) struct Absent(VecDeque<(String, Conduct)>);

impl Absent {
    pub(crate) fn leave(&mut self, name: &str, conduct: Conduct) {
        if conduct.is_blank() {
            return;
        }
        if self.0.len() == ABSENT_MAX {
            self.0.pop_front();
        }
        self.0.push_back((name.to_owned(), conduct));
    }

    /// What was known of a worker of that name.
    pub(crate) fn return_as(&mut self, name: &str) -> Conduct {
        let at = self.0.iter().rposition(|(known, _)| known == name);
        at.and_then(|at| self.0.remove(at)).map(|(_, conduct)| conduct).unwrap_or_default()
    }

    pub(crate) fn forgive(&mut self, job: JobId) {
        self.0.iter_mut().for_each(|(_, conduct)| conduct.forgive(job));
        self.0.retain(|(_, conduct)| !conduct.is_blank());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: JobId = JobId(1);

    #[test]
    fn each_further_bench_is_twice_as_long_up_to_five_minutes_and_a_tile_ends_it() {
        let (mut conduct, mut now) = (Conduct::default(), Duration::ZERO);
        assert_eq!([0, 1].map(|band| conduct.fail(now, JOB, band)), [None, None]);
        let mut seconds = Vec::new();
        for band in 2..9 {
            let lasts = conduct.fail(now, JOB, band).expect("one more band failed");
            assert_eq!(conduct.fail(now, JOB, band + 100), None, "it sits there already");
            seconds.push(lasts.as_secs());
            conduct.pass(now + lasts - Duration::from_nanos(1));
            assert!(conduct.benched_until.is_some());
            now += lasts;
            conduct.pass(now);
            assert!(conduct.benched_until.is_none());
        }
        assert_eq!(seconds, [10, 20, 40, 80, 160, 300, 300]);
        conduct.deliver();
        assert!(conduct.is_blank());
    }

    #[test]
    fn the_same_band_counts_once() {
        let mut conduct = Conduct::default();
        assert!((0..9).all(|_| conduct.fail(Duration::ZERO, JOB, 4).is_none()));
    }

    #[test]
    fn what_is_forgiven_ends_the_bench() {
        let mut conduct = Conduct::default();
        conduct.fail(Duration::ZERO, JobId(2), 0);
        assert_eq!([0, 1].map(|band| conduct.fail(Duration::ZERO, JOB, band)), [None, Some(BENCH_FIRST)]);
        assert!(conduct.benched_until.is_some());
        conduct.forgive(JobId(3));
        assert!(conduct.benched_until.is_some());
        conduct.forgive(JOB);
        assert!(conduct.benched_until.is_none() && !conduct.is_blank());
        conduct.forgive(JobId(2));
        assert!(conduct.is_blank());
    }

    #[test]
    fn only_so_many_names_are_remembered() {
        let mut absent = Absent::default();
        let mut conduct = Conduct::default();
        absent.leave("blank", conduct.clone());
        assert!(absent.0.is_empty());
        conduct.fail(Duration::ZERO, JOB, 0);
        (0..2 * ABSENT_MAX).for_each(|n| absent.leave(&n.to_string(), conduct.clone()));
        assert_eq!(absent.0.len(), ABSENT_MAX);
        assert_eq!((absent.return_as("0").is_blank(), absent.return_as("300").is_blank()), (true, false));
        absent.forgive(JOB);
        assert!(absent.0.is_empty());
    }
}
