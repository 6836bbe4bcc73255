//! What is told of detached jobs: LIST_REPORT, and the journal's line in the status.

use std::{collections::BTreeSet, time::Duration};

use fractally_proto::{DamagedJob, JobId, JobList, JobState, JournalStatus, ListQuery, ListedJob, Message, limits};

use super::{Keeping, Kept, KeptEnding, Phase};
use crate::{ClientId, Core, Effect, KeptTotals, job::Job, millis};

impl Core {
    pub(crate) fn on_list_query(&self, now: Duration, from: ClientId, query: &ListQuery, out: &mut Vec<Effect>) {
        let mut jobs: Vec<_> = match &query.contents {
            None => self.kept.jobs.iter().map(|(&id, kept)| (id, kept)).collect(),
            Some(contents) => {
                let contents: BTreeSet<_> = contents.iter().copied().collect();
                contents.into_iter().flat_map(|content| worth_telling(self.kept.drawing(content))).collect()
            }
        };
        jobs.retain(|(_, kept)| !matches!(kept.phase, Phase::Arriving(_)));
        jobs.sort_by_key(|(id, kept)| std::cmp::Reverse((kept.accepted_unix_ms, *id)));
        let jobs = jobs.into_iter().take(limits::LIST_JOBS_MAX).map(|(id, kept)| self.listed(now, id, kept)).collect();
        let damaged = self.kept.damaged.iter().map(|(&job, why)| DamagedJob { job, why: shortened(why) });
        let damaged = damaged.take(if query.contents.is_none() { limits::LIST_JOBS_MAX } else { 0 }).collect();
        out.push(Effect::ToClient(from, Message::ListReport(JobList { jobs, damaged }.encode())));
    }

    fn listed(&self, now: Duration, id: JobId, kept: &Kept) -> ListedJob {
        let job = self.jobs.get(&id);
        let unix_ms = self.unix_ms(now);
        // Whose end is not on disk yet may live again in the next broker.
        let (end, totals) = match &kept.phase {
            Phase::Over(end) => (Some(end), Some(end.totals)),
            Phase::Ending(end, _) => (None, Some(end.totals)),
            Phase::Arriving(_) | Phase::Living | Phase::Mending(_) => (None, None),
        };
        let (state, why) = match (end.map(|end| &end.ending), job) {
            (Some(KeptEnding::Done), _) => (JobState::Done, String::new()),
            (Some(KeptEnding::Failed(reason)), _) => (JobState::Failed, reason.clone()),
            (Some(KeptEnding::Cancelled(reason)), _) => (JobState::Cancelled, reason.clone()),
            (None, _) if self.kept.trouble.is_some() => (JobState::Paused, self.kept.trouble.clone().unwrap_or_default()),
            (None, Some(_)) if self.kept.cramped.contains(&id) => (JobState::Paused, "the journal is full".to_owned()),
            (None, Some(job)) if job.leased.is_empty() && job.arrived.is_empty() => (JobState::Waiting, self.why_waiting(job)),
            (None, None) if totals.is_some() => (JobState::Running, "its end is being put on disk".to_owned()),
            (None, _) => (JobState::Running, String::new()),
        };
        let totals = match (totals, job) {
            (Some(totals), _) => totals,
            (None, Some(job)) => KeptTotals {
                iterations: job.totals.iterations,
                compute_ns: job.totals.compute_ns,
                elapsed_ms: millis(now.saturating_sub(job.accepted_at)),
                ..KeptTotals::default()
            },
            (None, None) => KeptTotals::default(),
        };
        ListedJob {
            job: id,
            state,
            why: shortened(&why),
            account: kept.account.clone(),
            priority: kept.class,
            request: kept.request,
            engine: kept.engine.clone().unwrap_or_default(),
            rows_done: kept.layout().rows_before(kept.have),
            bytes: kept.bytes,
            age_ms: unix_ms.saturating_sub(kept.accepted_unix_ms),
            ended_ms: end.map(|end| unix_ms.saturating_sub(end.ended_unix_ms)),
            elapsed_ms: totals.elapsed_ms,
            iterations: totals.iterations,
            compute_ns: totals.compute_ns,
            eta_ms: job.and_then(|job| self.eta_ms(job)),
            followers: u32::try_from(self.kept.readers_of(id).count()).unwrap_or(u32::MAX),
            workers: job.map_or(totals.workers, Job::workers),
            strip_bytes: kept.strip_bytes,
            holders: kept.holders.count(),
        }
    }

    /// Why no worker has anything of a job.
    fn why_waiting(&self, job: &Job) -> String {
        match &job.engine {
            Some(engine) if self.crew_of(job).workers == 0 => format!("no worker computes {engine}"),
            None if self.crew_of(job).workers == 0 => "no worker is connected that can do it".to_owned(),
            _ => String::new(),
        }
    }

    pub(crate) fn journal_status(&self) -> Option<JournalStatus> {
        let bounds = self.config.journal.as_ref()?;
        Some(JournalStatus {
            jobs: u32::try_from(self.kept.jobs.len()).unwrap_or(u32::MAX),
            bytes: self.kept.bytes,
            bytes_max: bounds.bytes_max,
            trouble: self.kept.trouble.clone(),
        })
    }
}

impl Keeping {
    /// Whether the strips of a living job have no room on disk at present.
    pub(crate) fn is_paused(&self, id: JobId) -> bool {
        self.trouble.is_some() || self.cramped.contains(&id)
    }
}

/// Of the jobs that draw one content, those that are not over, the latest picture and the latest that came to none: who asks for a content
/// wants to know what there is, not how often it was asked for.
fn worth_telling<'a>(jobs: impl Iterator<Item = (JobId, &'a Kept)>) -> Vec<(JobId, &'a Kept)> {
    let (mut told, mut done, mut lost) = (Vec::new(), None, None);
    for (id, kept) in jobs {
        let later = |latest: &mut Option<(JobId, &'a Kept)>| {
            if latest.is_none_or(|(other, latest)| (latest.accepted_unix_ms, other) < (kept.accepted_unix_ms, id)) {
                *latest = Some((id, kept));
            }
        };
        match &kept.phase {
            Phase::Over(end) if end.ending == KeptEnding::Done => later(&mut done),
            Phase::Over(_) => later(&mut lost),
            Phase::Arriving(_) | Phase::Living | Phase::Ending(..) | Phase::Mending(_) => told.push((id, kept)),
        }
    }
    told.extend(done);
    told.extend(lost);
    told
}

/// A text as lists have it: 4,096 jobs with the longest of everything fit a payload.
fn shortened(text: &str) -> String {
    text[..text.floor_char_boundary(limits::TEXT_BYTES_MAX)].to_owned()
}
