//! Room on disk: what is forgotten when, and who waits where nothing may be.
//!
//! Jobs that are over go after [`JournalBounds::keep_for`](crate::JournalBounds), and earlier where room is short: those that failed or
//! were cancelled first, then the earliest that are done, never one that somebody reads; and those of the account that needs the room before
//! those of others. A job that lives loses nothing: where nothing more can be forgotten it waits, and so do its workers.

use std::time::Duration;

use fractally_proto::{JobId, Refusal, RefusalCode};

use super::{Keeping, Kept, KeptEnding, Phase, holders::WORDS_MAX};
use crate::{Core, Effect, Note, ToJournal, job::Job, timers::Timer};

/// Bytes that a job may take on disk beside its strips, while it lives: whole blocks of its files, and what stands there of each strip.
const JOB_BYTES: u64 = 64 << 10;
/// A job that is over and read is looked at again after so long.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Bytes that a living job will soon have on disk.
fn promised_of(job: &Job) -> u64 {
    JOB_BYTES + job.delivery().map_or(0, |delivery| delivery.in_flight)
}

impl Keeping {
    /// The job that goes first when `account` needs room.
    fn next_to_go_for(&self, account: &str) -> Option<JobId> {
        self.next_to_go(Some(account)).or_else(|| self.next_to_go(None))
    }

    /// The job that goes first when room is short, but for those that are read; of one account, or of all.
    fn next_to_go(&self, of: Option<&str>) -> Option<JobId> {
        let mut candidates = self.over.iter().map(|(_, id)| *id).filter(|&id| {
            let is_of = of.is_none_or(|account| self.jobs.get(&id).is_some_and(|kept| kept.account == account));
            is_of && !self.has_reader(id)
        });
        let is_done = |id: &JobId| {
            let phase = self.jobs.get(id).map(|kept| &kept.phase);
            matches!(phase, Some(Phase::Over(end)) if end.ending == KeptEnding::Done)
        };
        candidates.clone().find(|id| !is_done(id)).or_else(|| candidates.next())
    }

    /// Bytes on disk that stay.
    fn staying(&self) -> u64 {
        self.bytes - self.leaving.values().sum::<u64>()
    }

    pub(super) fn forget_content(&mut self, id: JobId) {
        let Some(kept) = self.jobs.get(&id) else { return };
        let content = (kept.request.canonical(), kept.engine.clone().unwrap_or_default());
        if self.contents.get(&content) == Some(&id) {
            self.contents.remove(&content);
        }
    }
}

impl Core {
    /// Bytes that may still be written.
    pub(super) fn room_on_disk(&self) -> u64 {
        let max = self.config.journal.as_ref().map_or(0, |bounds| bounds.bytes_max);
        max.saturating_sub(self.kept.bytes).saturating_sub(self.promised_on_disk())
    }

    /// Bytes that will be there soon.
    fn promised_on_disk(&self) -> u64 {
        self.jobs.values().filter(|job| job.is_kept()).map(promised_of).sum::<u64>() + self.kept.arriving() as u64 * JOB_BYTES
    }

    /// Bytes that one job may still write. Those that were accepted before it come first, so that of many jobs which have no room together
    /// some end, and make room; else all would wait, each with a part of its picture on disk.
    pub(super) fn room_for(&self, id: JobId) -> u64 {
        let of_account = self.kept.jobs.get(&id).map_or(0, |kept| self.room_of(&kept.account));
        self.room_on_disk().saturating_sub(self.needed_before(id)).min(of_account)
    }

    /// Bytes that the jobs of one account may still write.
    fn room_of(&self, account: &str) -> u64 {
        let Some(bounds) = self.config.journal.as_ref().filter(|bounds| bounds.bytes_per_account_max < bounds.bytes_max) else {
            return u64::MAX;
        };
        let of = |kept: &Kept, id: &JobId| kept.bytes + self.jobs.get(id).map_or(0, promised_of);
        let held = self.kept.jobs.iter().filter(|(_, kept)| kept.account == account).map(|(id, kept)| of(kept, id)).sum();
        bounds.bytes_per_account_max.saturating_sub(held)
    }

    /// Forgets as much of each account as those of its jobs need that wait for room of their account.
    fn make_room_of_accounts(&mut self, out: &mut Vec<Effect>) {
        let cramped: Vec<_> = self.kept.cramped.iter().copied().collect();
        for id in cramped {
            let Some(account) = self.kept.jobs.get(&id).map(|kept| kept.account.clone()) else { continue };
            let next = self.jobs.get(&id).and_then(Job::next_takes).unwrap_or(0);
            while self.room_of(&account) < next {
                let Some(victim) = self.kept.next_to_go(Some(&account)) else { break };
                self.forget(victim, "for want of room of its account", out);
            }
        }
    }

    /// Bytes that the rest of the living jobs will take, more or less, that were accepted before this one.
    fn needed_before(&self, id: JobId) -> u64 {
        let Some(own) = self.kept.jobs.get(&id) else { return 0 };
        let max = self.config.journal.as_ref().map_or(0, |bounds| bounds.bytes_max);
        let needed = |(&other, job): (&JobId, &Job)| {
            let kept = self.kept.jobs.get(&other)?;
            if (kept.accepted_unix_ms, other) >= (own.accepted_unix_ms, id) {
                return None;
            }
            let (layout, strip) = (&job.layout, Job::strip_bytes_max(&job.layout));
            let (rows, strips_left) = (layout.rows_before(kept.have), layout.strips() - kept.have);
            let at_most = strip.saturating_mul(strips_left.into());
            // As the rows before, and one strip more because rows differ; the first strips may have fewer rows than others.
            let rows_left = u64::from(layout.rows() - rows);
            let as_before = kept.bytes.saturating_mul(rows_left).checked_div(rows.into());
            let left = as_before.map_or(at_most, |left| left.saturating_add(strip).min(at_most));
            // Of one that will not have room whatever others do, nobody is kept waiting.
            let has_room = kept.bytes.saturating_add(left) <= max;
            has_room.then(|| left.saturating_sub(job.delivery().map_or(0, |delivery| delivery.in_flight)))
        };
        self.jobs.iter().filter(|(_, job)| job.is_kept()).filter_map(needed).fold(0, u64::saturating_add)
    }

    /// Forgets as much as those need whose strips wait for room.
    pub(super) fn make_room(&mut self, out: &mut Vec<Effect>) {
        self.make_room_of_accounts(out);
        let next: u64 = self.kept.cramped.iter().filter_map(|id| self.jobs.get(id)?.next_takes()).sum();
        let before = self.kept.cramped.iter().map(|&id| self.needed_before(id)).max().unwrap_or_default();
        let needed = if next > 0 { next.saturating_add(before) } else { 0 };
        let max = self.config.journal.as_ref().map_or(0, |bounds| bounds.bytes_max);
        while (self.kept.staying() + self.promised_on_disk()).saturating_add(needed) > max && needed > 0 {
            let needs = self.kept.cramped.iter().find_map(|id| self.kept.jobs.get(id)).map_or("", |kept| &kept.account);
            let Some(id) = self.kept.next_to_go_for(needs) else { return };
            self.forget(id, "for want of room", out);
        }
    }

    /// One more job is asked for: forgets what may be forgotten for it, or says why there is no room.
    pub(super) fn make_room_for_one_more(&mut self, account: &str, out: &mut Vec<Effect>) -> Result<(), Refusal> {
        let Some(bounds) = self.config.journal.clone() else { return Ok(()) };
        let busy = |message: String| Err(Refusal::new(RefusalCode::Busy, "journal", message));
        if let Some(trouble) = &self.kept.trouble {
            return busy(format!("the broker's journal cannot be written: {trouble}; try again later"));
        }
        while self.kept.jobs.len() >= bounds.jobs_max {
            let Some(id) = self.kept.next_to_go_for(account) else {
                return busy(format!("{} detached jobs are not over, as many as there may be; try again later", bounds.jobs_max));
            };
            self.forget(id, "for want of room", out);
        }
        while self.room_of(account) < JOB_BYTES {
            let Some(id) = self.kept.next_to_go(Some(account)) else {
                let max = bounds.bytes_per_account_max >> 20;
                let message = format!(
                    "bytes: the jobs of {account:?} that are not over take the {max} MiB that one account may have in the journal; wait for one to \
                     end, or cancel one; the broker's --state-size-per-account sets the limit"
                );
                return busy(message);
            };
            self.forget(id, "for want of room of its account", out);
        }
        while self.kept.staying() + self.promised_on_disk() + JOB_BYTES > bounds.bytes_max {
            let Some(id) = self.kept.next_to_go_for(account) else {
                let (bytes, max) = (self.kept.staying() >> 20, bounds.bytes_max >> 20);
                let message = format!(
                    "the journal is full: {bytes} of {max} MiB, of jobs that are not over; wait for one to end, or cancel one"
                );
                return busy(message);
            };
            self.forget(id, "for want of room", out);
        }
        Ok(())
    }

    /// Jobs that have been over for long.
    pub(crate) fn expire_kept(&mut self, now: Duration, out: &mut Vec<Effect>) {
        let Some(keep_for) = self.config.journal.as_ref().map(|bounds| crate::millis(bounds.keep_for)) else { return };
        self.serve_cramped(out);
        let unix_ms = self.unix_ms(now);
        let due: Vec<JobId> =
            self.kept.over.iter().take_while(|(ended, _)| ended.saturating_add(keep_for) <= unix_ms).map(|(_, id)| *id).collect();
        let mut is_read = false;
        for id in due {
            if self.kept.has_reader(id) {
                is_read = true;
            } else {
                self.forget(id, "its time is over", out);
            }
        }
        if is_read {
            self.timers.arm(Timer::Expiry, now.saturating_add(LOOK_AGAIN));
        } else {
            self.arm_expiry();
        }
    }

    /// What was read may be forgotten now, or less is promised than was.
    pub(crate) fn look_for_room_soon(&mut self) {
        if !self.kept.cramped.is_empty() {
            self.timers.arm(Timer::Expiry, Duration::ZERO);
        }
    }

    pub(super) fn arm_expiry(&mut self) {
        let Some(keep_for) = self.config.journal.as_ref().map(|bounds| crate::millis(bounds.keep_for)) else { return };
        if let Some((ended, _)) = self.kept.over.first() {
            // One millisecond later than due, since times are cut to whole ones.
            let at = ended.saturating_add(keep_for).saturating_sub(self.config.started_unix_ms).saturating_add(1);
            self.timers.arm(Timer::Expiry, Duration::from_millis(at));
        }
    }

    fn forget(&mut self, id: JobId, why: &'static str, out: &mut Vec<Effect>) {
        self.kept.forget_content(id);
        let Some(kept) = self.kept.remove(id) else { return };
        if let Phase::Over(end) = &kept.phase {
            self.kept.over.remove(&(end.ended_unix_ms, id));
        }
        if self.keys.get(&kept.key) == Some(&id) {
            self.keys.remove(&kept.key);
        }
        self.kept.leaving.insert(id, kept.bytes);
        out.push(Effect::Note(Note::JobForgotten { job: id, why }));
        out.push(Effect::ToJournal(ToJournal::Forget(id)));
    }

    pub(super) fn on_forgotten(&mut self, id: JobId, out: &mut Vec<Effect>) {
        self.kept.bytes -= self.kept.leaving.remove(&id).unwrap_or(0);
        self.serve_cramped(out);
    }

    /// Hands the journal what there is room for now.
    pub(super) fn serve_cramped(&mut self, out: &mut Vec<Effect>) {
        let cramped: Vec<_> = self.kept.cramped.iter().copied().collect();
        cramped.into_iter().for_each(|id| self.store(id, out));
    }

    pub(crate) fn check_kept(&self) {
        self.check_readers();
        self.check_holders();
        let bytes: u64 = self.kept.jobs.values().map(|kept| kept.bytes).chain(self.kept.leaving.values().copied()).sum();
        assert_eq!(self.kept.bytes, bytes, "bytes on disk");
        let max = self.config.journal.as_ref().map_or(0, |bounds| bounds.jobs_max);
        for (&id, kept) in &self.kept.jobs {
            let is_over = matches!(&kept.phase, Phase::Over(end) if self.kept.over.contains(&(end.ended_unix_ms, id)));
            assert_eq!(is_over, matches!(kept.phase, Phase::Over(_)), "job {id}: among those that are over");
            let is_arriving = matches!(kept.phase, Phase::Arriving(_));
            assert_eq!(self.kept.arriving.contains(&id), is_arriving, "job {id}: among those that arrive");
            if let Phase::Arriving(waiting) = &kept.phase {
                assert!(waiting.len() <= WORDS_MAX, "job {id}: {} wait for word of it", waiting.len());
            }
            if let Phase::Ending(_, waiting) | Phase::Mending(waiting) = &kept.phase {
                assert!(waiting.len() <= self.config.clients_max, "job {id}: {} wait for word of it", waiting.len());
            }
            let job = self.jobs.get(&id);
            assert_eq!(job.is_some(), matches!(kept.phase, Phase::Living), "job {id}: on the grid");
            if let Some(job) = job {
                assert!(job.is_kept() && job.acked == kept.have, "job {id}: what is on disk");
            }
        }
        assert!(self.kept.jobs.len() <= max.max(self.kept.over.len() + self.config.jobs_max), "detached jobs");
        let kept = self.jobs.iter().filter(|(_, job)| job.is_kept());
        kept.for_each(|(id, _)| assert!(self.kept.jobs.contains_key(id), "job {id}: kept by nobody"));
        let is_cramped = |id: &JobId| self.jobs.get(id).is_some_and(Job::is_kept);
        assert!(self.kept.cramped.iter().all(is_cramped), "who waits for room lives");
        assert!(self.kept.contents.values().all(|id| self.kept.jobs.contains_key(id)), "pictures that nobody has");
    }
}
