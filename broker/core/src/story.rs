//! What happened to each band of a job, for whoever asks: tries, workers, durations, and why.
//!
//! Bounded: of each job the latest [`TRIES_MAX`] tries that have ended and the first [`FAILURES_MAX`] that failed, and the stories of the
//! latest [`ENDED_MAX`] jobs that are over.

use std::{collections::VecDeque, time::Duration};

use fractally_proto::{AttemptId, Band, FaultKind, JobId, JobStory, TryEnd, TryStory};

use crate::{
    Core,
    job::{Job, Living},
    millis,
    shares::Spent,
};

const TRIES_MAX: usize = 256;
const FAILURES_MAX: usize = 128;
const ENDED_MAX: usize = 32;
/// Tries under way that one report names.
const RUNNING_MAX: usize = 1024;

/// Tries of one job that have ended.
#[derive(Debug, Default)]
pub(crate) struct Story {
    latest: VecDeque<TryStory>,
    failures: Vec<TryStory>,
    /// Tries that fell out of `latest`.
    forgotten: u64,
}

/// Stories of jobs that are over.
#[derive(Debug, Default)]
pub(crate) struct Archive(VecDeque<JobStory>);

impl Story {
    pub(crate) fn tell(&mut self, tried: TryStory) {
        if tried.end == TryEnd::Failed && self.failures.len() < FAILURES_MAX {
            return self.failures.push(tried);
        }
        if self.latest.len() == TRIES_MAX {
            self.latest.pop_front();
            self.forgotten += 1;
        }
        self.latest.push_back(tried);
    }

    fn tries(&self) -> impl Iterator<Item = &TryStory> {
        self.failures.iter().chain(&self.latest)
    }
}

impl Core {
    /// A try has ended. Gives how long it took.
    pub(crate) fn tell_try(
        &mut self,
        now: Duration,
        id: JobId,
        attempt: AttemptId,
        Band { first, strips }: Band,
        end: TryEnd,
        why: String,
    ) -> Duration {
        let told = self.jobs.get_mut(&id).and_then(|job| Some((job.living.remove(&attempt)?, job)));
        let Some((Living { leased, name: worker, .. }, job)) = told else { return Duration::ZERO };
        self.tally.end(end);
        if end == TryEnd::Failed {
            self.faults.remember(now, FaultKind::BandFailed, &worker, Some(id), &why);
        }
        let (leased_ms, lasted_us) = told_times(job.accepted_at, leased, now);
        job.story.tell(TryStory { attempt, first, strips, worker, leased_ms, lasted_us, end, why });
        now.saturating_sub(leased)
    }

    /// The job is about to end: what is under way for it will not be wanted.
    pub(crate) fn tell_tries_withdrawn(&mut self, now: Duration, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let tries = job.leased.values().flat_map(|leased| leased.holders.iter().map(|holder| (*holder, leased.work.band)));
        for (holder, band) in tries.collect::<Vec<_>>() {
            self.settle(now, id, holder.attempt, Spent::InVain);
            self.tell_try(now, id, holder.attempt, band, TryEnd::Withdrawn, "the job ended".to_owned());
        }
    }

    /// The story of a job that lives, or ended lately.
    pub(crate) fn story(&self, now: Duration, id: JobId) -> Option<JobStory> {
        match self.jobs.get(&id) {
            Some(job) => Some(story_of(now, id, job, String::new())),
            None => self.archive.0.iter().find(|story| story.job == id).cloned(),
        }
    }

    /// Keeps the story of a job that is over.
    pub(crate) fn archive(&mut self, now: Duration, id: JobId, job: &Job, ended: String) {
        let story = story_of(now, id, job, ended);
        if self.archive.0.len() == ENDED_MAX {
            self.archive.0.pop_front();
        }
        self.archive.0.push_back(story);
    }
}

fn story_of(now: Duration, id: JobId, job: &Job, ended: String) -> JobStory {
    let running = job.leased.values().flat_map(|leased| leased.holders.iter().map(|holder| (leased.work.band, holder.attempt)));
    let running = running.filter_map(|(Band { first, strips }, attempt)| {
        let Living { leased, name: worker, .. } = job.living.get(&attempt)?.clone();
        let (leased_ms, lasted_us) = told_times(job.accepted_at, leased, now);
        Some(TryStory { attempt, first, strips, worker, leased_ms, lasted_us, end: TryEnd::Running, why: String::new() })
    });
    let running: Vec<_> = running.take(RUNNING_MAX).collect();
    let untold = job.living.len().saturating_sub(running.len()) as u64;
    let mut tries: Vec<_> = job.story.tries().cloned().chain(running).collect();
    tries.sort_by_key(|tried| (tried.first, tried.attempt));
    JobStory {
        job: id,
        ended,
        engine: job.engine.clone().unwrap_or_default(),
        strips: job.layout.strips(),
        acked: job.acked,
        age_ms: millis(now.saturating_sub(job.accepted_at)),
        attempts: job.totals.attempts,
        bands: job.totals.bands,
        backups: job.totals.backups,
        forgotten: job.story.forgotten + untold,
        tries,
    }
}

/// Milliseconds from the job's acceptance to the lease, and microseconds from there to the end.
fn told_times(accepted: Duration, leased: Duration, ended: Duration) -> (u64, u64) {
    let lasted = ended.saturating_sub(leased).as_micros();
    (millis(leased.saturating_sub(accepted)), u64::try_from(lasted).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(attempt: u64, end: TryEnd) -> TryStory {
        let (attempt, worker, why) = (AttemptId(attempt), String::new(), String::new());
        TryStory { attempt, first: 0, strips: 1, worker, leased_ms: 0, lasted_us: 0, end, why }
    }

    #[test]
    fn what_is_kept_is_bounded_and_failures_are_kept_first() {
        let mut story = Story::default();
        (0..200).for_each(|attempt| story.tell(tried(attempt, TryEnd::Failed)));
        (200..1000).for_each(|attempt| story.tell(tried(attempt, TryEnd::Delivered)));
        let told: Vec<_> = story.tries().map(|tried| tried.attempt.0).collect();
        assert_eq!(told.len(), TRIES_MAX + FAILURES_MAX);
        assert!(told.iter().copied().eq((0..FAILURES_MAX as u64).chain(1000 - TRIES_MAX as u64..1000)));
        assert_eq!(told.len() as u64 + story.forgotten, 1000);
    }

    /// Bands that idle workers took out of others' queues filled the places of those that failed.
    #[test]
    fn what_was_given_back_did_not_fail() {
        let mut story = Story::default();
        (0..200).for_each(|attempt| story.tell(tried(attempt, TryEnd::GivenBack)));
        story.tell(tried(200, TryEnd::Failed));
        (201..1000).for_each(|attempt| story.tell(tried(attempt, TryEnd::Delivered)));
        assert!(story.tries().any(|tried| tried.end == TryEnd::Failed));
    }
}
