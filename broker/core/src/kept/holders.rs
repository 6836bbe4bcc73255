//! Who wants a detached job: holders, who may join one that draws what they want and withdraw again, and those who follow it.
//!
//! A job lives for as long as somebody holds it, or it is held for good, as by a KEEP that names no holder. One that nobody holds lives
//! for as long as somebody follows it. Invariants, checked by `check_holders`: a living job is held or followed; what is known of
//! contents is what the jobs draw; a job knows at most [`limits::HOLDERS_MAX`] holders.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use fractally_proto::{
    Accepted, ContentId, Holder, JobId, JobKey, Keep, Message, Priority, Refusal, RefusalCode, Request, limits,
};

use super::{Keeping, Kept, KeptEnding, Phase, failed, wait};
use crate::{ClientId, Core, Effect, Ending, Note};

/// Why a job ends that nobody holds, when the last has left who followed it.
pub(crate) const UNWANTED: &str = "nobody wants it any more";
/// Words of one job that clients may wait for while it is being put on disk: one client may join several times, under several keys.
pub(super) const WORDS_MAX: usize = 4096;

/// Who wants a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holders {
    /// Nobody can withdraw it.
    for_good: bool,
    names: BTreeSet<Holder>,
}

impl Holders {
    /// Those of a job that is new, or was found on disk.
    pub(super) fn first(holder: Option<Holder>) -> Self {
        Self { for_good: holder.is_none(), names: holder.into_iter().collect() }
    }

    fn add(&mut self, holder: Option<&Holder>) {
        match holder {
            Some(holder) if self.names.contains(holder) => {}
            Some(holder) if self.names.len() < limits::HOLDERS_MAX => {
                self.names.insert(holder.clone());
            }
            // One who is not known cannot withdraw.
            Some(_) | None => self.for_good = true,
        }
    }

    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.names.len() + usize::from(self.for_good)).unwrap_or(u32::MAX)
    }

    /// Whether somebody is one of them by name.
    #[cfg(test)]
    pub(crate) fn has(&self, holder: &Holder) -> bool {
        self.names.contains(holder)
    }
}

impl Kept {
    /// Whether it is not over, nor about to be without a picture.
    fn can_be_joined(&self) -> bool {
        match &self.phase {
            Phase::Arriving(_) | Phase::Living => true,
            Phase::Ending(end, _) => end.ending == KeptEnding::Done,
            Phase::Mending(asked) => asked.is_empty(),
            Phase::Over(_) => false,
        }
    }
}

impl Keeping {
    pub(super) fn insert(&mut self, id: JobId, kept: Kept) {
        self.drawn.entry(kept.content).or_default().insert(id);
        self.jobs.insert(id, kept);
    }

    pub(super) fn remove(&mut self, id: JobId) -> Option<Kept> {
        let kept = self.jobs.remove(&id)?;
        if let Some(ids) = self.drawn.get_mut(&kept.content) {
            ids.remove(&id);
            if ids.is_empty() {
                self.drawn.remove(&kept.content);
            }
        }
        Some(kept)
    }

    /// Jobs that draw something.
    pub(super) fn drawing(&self, content: ContentId) -> impl Iterator<Item = (JobId, &Kept)> {
        let ids = self.drawn.get(&content).into_iter().flatten();
        ids.filter_map(|id| Some((*id, self.jobs.get(id)?)))
    }

    /// The job of a picture that whoever wants it can join: the first that was accepted.
    pub(super) fn joinable(&self, request: &Request) -> Option<JobId> {
        let drawing = self.drawing(request.content()).filter(|(_, kept)| kept.can_be_joined() && kept.request == *request);
        drawing.min_by_key(|(id, kept)| (kept.accepted_unix_ms, *id)).map(|(id, _)| id)
    }

    /// Whether a job is to end because nobody wants it.
    fn is_unwanted(&self, id: JobId) -> bool {
        let Some(kept) = self.jobs.get(&id) else { return false };
        let is_held = kept.holders.count() > 0 && !sabotage!(HoldersAreNotAsked);
        !is_held && !self.has_reader(id)
    }
}

impl Core {
    /// KEEP of a picture that a job draws or has drawn: whoever asks holds it as well, and is told once it is on disk.
    pub(super) fn join_kept(&mut self, from: ClientId, id: JobId, keep: &Keep, out: &mut Vec<Effect>) -> Result<(), Refusal> {
        let Some(kept) = self.kept.jobs.get_mut(&id) else { return Ok(()) };
        let Message::Accepted(accepted) = kept.accepted(id) else { unreachable!("it is ACCEPTED") };
        let accepted = Accepted { key: keep.key, ..accepted };
        let is_done = accepted.cached;
        match &mut kept.phase {
            Phase::Arriving(waiting) if !sabotage!(JoinedBeforeDisk) => {
                if waiting.len() >= WORDS_MAX {
                    waiting.retain(|(client, _)| self.clients.contains_key(client));
                }
                if waiting.len() >= WORDS_MAX && !waiting.contains(&(from, keep.key)) {
                    let message = format!("job {id} is being put on disk, and {WORDS_MAX} wait for word of it; try again later");
                    return Err(Refusal::new(RefusalCode::Busy, "journal", message));
                }
                waiting.insert((from, keep.key));
            }
            Phase::Arriving(_) | Phase::Living | Phase::Ending(..) | Phase::Over(_) | Phase::Mending(_) => {
                out.push(Effect::ToClient(from, Message::Accepted(accepted)));
            }
        }
        kept.holders.add(keep.holder.as_ref());
        if let Some(request_id) = &keep.request_id {
            let of_job = self.jobs.get_mut(&id).map(|job| &mut job.request_id);
            for known in [Some(&mut kept.request_id), of_job].into_iter().flatten() {
                known.get_or_insert_with(|| request_id.clone());
            }
        }
        let request_id = keep.request_id.clone();
        out.push(Effect::Note(Note::JobJoined { job: id, client: from, is_done, request_id }));
        self.raise(id, keep.priority);
        Ok(())
    }

    /// A job is wanted sooner than it was asked for. What is leased of it stays as it was leased.
    fn raise(&mut self, id: JobId, class: Priority) {
        let Some(kept) = self.kept.jobs.get_mut(&id).filter(|kept| class < kept.class && kept.can_be_joined()) else { return };
        kept.class = class;
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.priority = class;
        let weight = self.config.weight(&job.account);
        self.shares.promote(&mut job.claim, class, &job.account, weight);
        self.retake_turn(id);
    }

    /// CANCEL with a holder: this one wants the job no longer.
    pub(crate) fn withdraw_holder(
        &mut self,
        now: Duration,
        from: ClientId,
        (id, holder): (JobId, &Holder),
        out: &mut Vec<Effect>,
    ) {
        let Some(kept) = self.kept.jobs.get_mut(&id) else { return };
        // Nobody can name it before it is accepted.
        if matches!(kept.phase, Phase::Arriving(_)) {
            return;
        }
        if !sabotage!(WithdrawnHoldersStay) {
            kept.holders.names.remove(holder);
        }
        let is_unwanted = self.kept.is_unwanted(id);
        let Some(kept) = self.kept.jobs.get_mut(&id) else { return };
        match &mut kept.phase {
            Phase::Ending(end, asked) if end.ending != KeptEnding::Done => wait(asked, from, &self.clients),
            Phase::Mending(asked) if !asked.is_empty() => wait(asked, from, &self.clients),
            Phase::Over(end) if end.ending != KeptEnding::Done => {
                out.push(Effect::ToClient(from, failed(id, end.ending.reason())));
            }
            Phase::Living | Phase::Mending(_) if is_unwanted => self.cancel_kept(now, from, id, out),
            Phase::Arriving(_) | Phase::Living | Phase::Ending(..) | Phase::Over(_) | Phase::Mending(_) => {}
        }
    }

    /// Somebody follows a job no longer, or it begins again: if nobody wants it, it ends.
    pub(crate) fn end_if_unwanted(&mut self, now: Duration, id: JobId, out: &mut Vec<Effect>) {
        let lives = self.kept.jobs.get(&id).is_some_and(|kept| matches!(kept.phase, Phase::Living));
        if lives && self.kept.is_unwanted(id) && !sabotage!(UnwantedJobsStay) {
            self.end_job(now, id, Ending::Cancelled(UNWANTED), out);
        }
    }

    pub(super) fn check_holders(&self) {
        let mut drawn = BTreeMap::<ContentId, BTreeSet<JobId>>::new();
        for (&id, kept) in &self.kept.jobs {
            assert_eq!(kept.content, kept.request.content(), "job {id}: what it draws");
            drawn.entry(kept.content).or_default().insert(id);
            assert!(kept.holders.names.len() <= limits::HOLDERS_MAX, "job {id}: holders");
            let is_wanted = kept.holders.count() > 0 || self.kept.has_reader(id);
            assert!(is_wanted || !matches!(kept.phase, Phase::Living), "job {id} lives, and nobody wants it");
        }
        assert_eq!(self.kept.drawn, drawn, "contents of jobs");
    }
}

/// A client and the key under which it waits for word of a job.
pub(super) type Word = (ClientId, JobKey);
