//! Detached jobs: those that live without a client, because the journal takes their strips.
//!
//! ```text
//!   KEEP ──▶ arriving ──on disk──▶ living ──▶ ending ──on disk──▶ over ──▶ forgotten
//!                                    ▲                             │
//!                                    └── mending ◀──── damaged ────┘
//! ```
//!
//! While it lives, a detached job is a [`Job`] as any other, whose strips go to the journal in row order and count as acknowledged once
//! they are on disk. Whatever is promised is on disk before it is said: ACCEPTED, DONE, and the answer to CANCEL.
//!
//! Read next: `holders` (who wants a job), `readers` (clients that follow a job), `room` (what is forgotten when), `list` (what is told of all).

mod holders;
mod list;
mod readers;
mod room;

#[cfg(test)]
pub(crate) use holders::UNWANTED;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use fractally_proto::{
    Accepted, ContentId, Failed, JobId, JobKey, Keep, Layout, Message, Priority, Refusal, RefusalCode, Request, RequestId,
};

use self::{
    holders::{Holders, Word},
    readers::{Reader, Reads},
};
use crate::{
    ClientId, Core, Effect, Ending, FromJournal, KeptEnd, KeptEnding, KeptJob, KeptTotals, Note, Restored, ToJournal,
    clients::Client,
    job::{Delivery, Job, Owner},
    millis,
    submit::{NewJob, Start},
};

/// What a client is told whose strips cannot be continued from.
const DAMAGED: &str = "the picture on the broker's disk was damaged and is rendered again from its first row; attach to it again";

/// All detached jobs.
#[derive(Debug, Default)]
pub(crate) struct Keeping {
    pub(crate) jobs: BTreeMap<JobId, Kept>,
    /// Those of them that are being put on disk.
    arriving: BTreeSet<JobId>,
    /// Jobs whose record on disk cannot be read, and why.
    damaged: BTreeMap<JobId, String>,
    readers: BTreeMap<(JobId, ClientId), Reader>,
    reads: Reads,
    /// Pictures that are done, by what they are.
    contents: BTreeMap<(Vec<u8>, String), JobId>,
    /// All jobs, by what they draw.
    drawn: BTreeMap<ContentId, BTreeSet<JobId>>,
    /// Jobs that are over, the first to be forgotten first.
    over: BTreeSet<(u64, JobId)>,
    /// Bytes of jobs that are being removed.
    leaving: BTreeMap<JobId, u64>,
    /// Jobs whose strips wait for room on disk.
    cramped: BTreeSet<JobId>,
    /// Bytes on disk, those of `leaving` included.
    bytes: u64,
    /// Why nothing can be written.
    trouble: Option<String>,
}

/// One detached job.
#[derive(Debug)]
pub(crate) struct Kept {
    key: JobKey,
    account: String,
    /// The class that was asked for, and the better one that somebody who joined asked for.
    priority: Priority,
    class: Priority,
    accepted_unix_ms: u64,
    request: Request,
    content: ContentId,
    pub(crate) holders: Holders,
    request_id: Option<RequestId>,
    phase: Phase,
    /// What rendered the strips on disk.
    engine: Option<String>,
    /// Strips on disk, from the top.
    have: u32,
    /// Bytes on disk.
    bytes: u64,
    /// Those of the strips alone.
    strip_bytes: u64,
}

/// Where a detached job is in its life.
#[derive(Debug)]
enum Phase {
    /// It is being put on disk, and these wait for word of it.
    Arriving(BTreeSet<Word>),
    /// It is a [`Job`].
    Living,
    /// Its end is being put on disk, and these asked for it.
    Ending(KeptEnd, BTreeSet<ClientId>),
    Over(KeptEnd),
    /// Damaged strips are being cut off, and these asked for its end meanwhile.
    Mending(BTreeSet<ClientId>),
}

impl Keeping {
    /// Whether an id is taken.
    pub(crate) fn knows(&self, id: JobId) -> bool {
        self.jobs.contains_key(&id) || self.damaged.contains_key(&id) || self.leaving.contains_key(&id)
    }

    /// Jobs on their way to being jobs.
    pub(crate) fn arriving(&self) -> usize {
        self.arriving.len()
    }

    /// Whom those are counted for, and what they draw.
    pub(crate) fn arriving_jobs(&self) -> impl Iterator<Item = (&str, &Request)> {
        let arriving = self.arriving.iter().filter_map(|id| self.jobs.get(id));
        arriving.map(|kept| (&kept.account[..], &kept.request))
    }

    /// Promises that are being put on disk.
    pub(crate) fn being_put(&self) -> usize {
        self.jobs.values().filter(|kept| matches!(kept.phase, Phase::Arriving(_) | Phase::Ending(..))).count()
    }

    /// The keys that detached jobs hold: those of jobs that were cancelled or failed are free again.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (JobKey, JobId)> {
        self.jobs.iter().filter(|(_, kept)| kept.holds_key()).map(|(&id, kept)| (kept.key, id))
    }
}

impl Kept {
    /// One of which nothing is known but what its record says.
    fn new(record: &KeptJob, phase: Phase) -> Self {
        let KeptJob { job: _, key, ref account, priority, accepted_unix_ms, ref holder, request } = *record;
        Self {
            key,
            account: account.clone(),
            priority,
            class: priority,
            accepted_unix_ms,
            request,
            content: request.content(),
            holders: Holders::first(holder.clone()),
            request_id: None,
            phase,
            engine: None,
            have: 0,
            bytes: 0,
            strip_bytes: 0,
        }
    }

    fn layout(&self) -> Layout {
        Layout::of(&self.request)
    }

    /// Whether strips may be read now: while an end is on its way to disk, or damage is mended, readers wait.
    fn is_readable(&self) -> bool {
        matches!(self.phase, Phase::Living | Phase::Over(_))
    }

    fn holds_key(&self) -> bool {
        !matches!(&self.phase, Phase::Over(end) if end.ending != KeptEnding::Done)
    }

    fn accepted(&self, id: JobId) -> Message {
        let layout = self.layout();
        let cached = matches!(self.phase, Phase::Over(_));
        let (strips, rows_per_strip) = (layout.strips(), layout.rows_per_strip());
        Message::Accepted(Accepted { key: self.key, job: id, strips, rows_per_strip, cached })
    }
}

impl KeptEnding {
    /// What clients are told that wait for the picture, or that cancel it.
    fn reason(&self) -> &str {
        match self {
            Self::Done => "the job is done; there is nothing to cancel",
            Self::Failed(reason) | Self::Cancelled(reason) => reason,
        }
    }
}

impl Core {
    /// KEEP: a job that outlives its client and this broker.
    pub(crate) fn on_keep(&mut self, now: Duration, from: ClientId, keep: &Keep, out: &mut Vec<Effect>) {
        let known = self.keys.get(&keep.key).copied();
        let answered = match known {
            Some(id) => self.keep_known(from, id, keep, out),
            None => self.keep_new(now, from, keep, out),
        };
        if let Err(refusal) = answered {
            self.refuse(now, from, keep.key, refusal, out);
        }
    }

    fn keep_known(&mut self, from: ClientId, id: JobId, keep: &Keep, out: &mut Vec<Effect>) -> Result<(), Refusal> {
        let conflict = |field: &str, what: String| Err(Refusal::new(RefusalCode::KeyConflict, field, what));
        let Some(kept) = self.kept.jobs.get_mut(&id) else {
            return conflict("key", format!("this key is the job {id}, which is attached to its client; take a new key"));
        };
        for (field, is_same) in [("request", keep.request == kept.request), ("priority", keep.priority == kept.priority)] {
            if !is_same {
                return conflict(field, format!("this key is the job {id} with another {field}; take a new key"));
            }
        }
        self.join_kept(from, id, keep, out)
    }

    fn keep_new(&mut self, now: Duration, from: ClientId, keep: &Keep, out: &mut Vec<Effect>) -> Result<(), Refusal> {
        if self.config.journal.is_none() {
            let message =
                "this broker keeps no journal, so a job needs its client; render it attached, or start the broker with --state";
            return Err(Refusal::new(RefusalCode::Invalid, "journal", message));
        }
        keep.request.validate(&self.config.limits)?;
        let living = || keep.holder.as_ref().and_then(|_| self.kept.joinable(&keep.request));
        if let Some(id) = self.find_done(&keep.request, None).or_else(living) {
            return self.join_kept(from, id, keep, out);
        }
        self.check_capacity(from, &keep.request)?;
        let account = self.clients.get(&from).map(|client| client.account.clone()).unwrap_or_default();
        self.make_room_for_one_more(&account, out)?;
        let id = self.next_job();
        let (key, priority, request) = (keep.key, keep.priority, keep.request);
        let accepted_unix_ms = self.unix_ms(now);
        let holder = keep.holder.clone();
        let record = KeptJob { job: id, key, account, priority, accepted_unix_ms, holder, request };
        let phase = Phase::Arriving(BTreeSet::from([(from, key)]));
        let kept = Kept { request_id: keep.request_id.clone(), ..Kept::new(&record, phase) };
        if sabotage!(PromisedBeforeDisk) {
            out.push(Effect::ToClient(from, kept.accepted(id)));
        }
        self.kept.insert(id, kept);
        self.kept.arriving.insert(id);
        self.keys.insert(key, id);
        out.push(Effect::ToJournal(ToJournal::Keep(Box::new(record))));
        Ok(())
    }

    /// A job that was found on disk when the broker started. To be told before anything else.
    pub fn restore(&mut self, now: Duration, restored: Restored, out: &mut Vec<Effect>) {
        let Restored { job, engine, have, bytes, strip_bytes, mut end } = restored;
        let (id, key) = (job.job, job.key);
        // A clock that was set back makes nobody young.
        if let Some(end) = &mut end {
            end.ended_unix_ms = end.ended_unix_ms.min(self.unix_ms(now));
        }
        let phase = end.clone().map_or(Phase::Living, Phase::Over);
        let kept = Kept { engine, have, bytes, strip_bytes, ..Kept::new(&job, phase) };
        self.kept.bytes += bytes;
        if kept.holds_key() {
            self.keys.insert(key, id);
        }
        self.kept.insert(id, kept);
        match end {
            Some(_) => self.put_among_the_over(id),
            None => self.begin_kept(now, id, out),
        }
    }

    /// A job whose record on disk cannot be read.
    pub fn restore_damaged(&mut self, id: JobId, why: String) {
        self.kept.damaged.insert(id, why);
    }

    /// The journal said something.
    pub fn on_journal(&mut self, now: Duration, says: FromJournal, out: &mut Vec<Effect>) {
        match says {
            FromJournal::Kept { job, bytes } => self.on_kept(now, job, bytes, out),
            FromJournal::Stored { job, have, bytes, strip_bytes } => self.on_stored(now, job, have, (bytes, strip_bytes), out),
            FromJournal::Ended { job, bytes } => self.on_ended(job, bytes, out),
            FromJournal::Read { ticket, read } => self.on_read(now, ticket, read, out),
            FromJournal::Cut { job, have, bytes, strip_bytes } => self.on_cut(now, job, have, (bytes, strip_bytes), out),
            FromJournal::Forgotten(job) => self.on_forgotten(job, out),
            FromJournal::Trouble(trouble) => {
                if self.kept.trouble != trouble {
                    out.push(Effect::Note(Note::JournalTrouble(trouble.clone())));
                }
                self.kept.trouble = trouble;
            }
        }
        self.assign(now, out);
    }

    fn on_kept(&mut self, now: Duration, id: JobId, bytes: Result<u64, String>, out: &mut Vec<Effect>) {
        let Some(kept) = self.kept.jobs.get_mut(&id) else { return };
        let Phase::Arriving(waiting) = std::mem::replace(&mut kept.phase, Phase::Living) else {
            unreachable!("a job arrives once")
        };
        self.kept.arriving.remove(&id);
        let waiting = waiting.into_iter().filter(|(client, _)| self.clients.contains_key(client));
        match bytes {
            Ok(bytes) => {
                kept.bytes = bytes;
                self.kept.bytes += bytes;
                let Message::Accepted(accepted) = kept.accepted(id) else { unreachable!("it is ACCEPTED") };
                out.extend(
                    waiting
                        .map(|(client, key)| Effect::ToClient(client, Message::Accepted(Accepted { key, ..accepted.clone() }))),
                );
                let (account, strips) = (kept.account.clone(), kept.layout().strips());
                out.push(Effect::Note(Note::JobKept { job: id, account, strips, request_id: kept.request_id.clone() }));
                self.begin_kept(now, id, out);
            }
            Err(why) => {
                let key = kept.key;
                let message = format!("the job cannot be put on the broker's disk: {why}; try again later");
                let refusal = Refusal::new(RefusalCode::Busy, "journal", message);
                for (client, key) in waiting.collect::<Vec<_>>() {
                    self.refuse(now, client, key, refusal.clone(), out);
                }
                self.kept.remove(id);
                self.keys.remove(&key);
                self.look_for_room_soon();
            }
        }
    }

    /// Puts a living job on the grid, from the strips on that are not on disk.
    fn begin_kept(&mut self, now: Duration, id: JobId, out: &mut Vec<Effect>) {
        let Some(kept) = self.kept.jobs.get(&id) else { return };
        let (have, engine) = (kept.have, kept.engine.clone().filter(|_| kept.have > 0));
        let (key, account, priority, request) = (kept.key, kept.account.clone(), kept.class, kept.request);
        let new = NewJob { key, account, priority, request, request_id: kept.request_id.clone() };
        let strips = kept.layout().strips();
        if have > 0 {
            out.push(Effect::Note(Note::JobResumed { job: id, have, strips }));
        }
        self.create(now, id, new, Start { have, engine });
        self.change(id, |job| {
            let window = Job::window_max(&job.layout, job.reorder_bytes);
            job.owner = Owner::Kept(Delivery::new(window, have));
        });
        if have == strips {
            self.end_job(now, id, Ending::Done, out);
        }
    }

    /// Hands the journal what its window and the disk take, in row order.
    pub(crate) fn store(&mut self, id: JobId, out: &mut Vec<Effect>) {
        let room = self.room_for(id);
        let (is_cramped, stores) = self
            .change(id, |job| {
                let mut left = room;
                let mut stores = Vec::new();
                while let Some(slice) = job.next_slice(left) {
                    left -= slice.bytes.len() as u64;
                    stores.push(ToJournal::Store {
                        job: id,
                        engine: job.engine.clone().unwrap_or_default(),
                        first: slice.first,
                        strips: slice.strips,
                        payload: slice.payload,
                        bytes: slice.bytes,
                    });
                }
                (job.next_takes().is_some_and(|next| next > left), stores)
            })
            .unwrap_or_default();
        out.extend(stores.into_iter().map(Effect::ToJournal));
        if is_cramped {
            self.kept.cramped.insert(id);
            self.make_room(out);
        } else {
            self.kept.cramped.remove(&id);
        }
    }

    fn on_stored(&mut self, now: Duration, id: JobId, have: u32, (bytes, strip_bytes): (u64, u64), out: &mut Vec<Effect>) {
        let Some(kept) = self.kept.jobs.get_mut(&id) else { return };
        self.kept.bytes = self.kept.bytes - kept.bytes + bytes;
        kept.bytes = bytes;
        // A job that was cancelled or is mended takes no more.
        let Some(job) = self.jobs.get(&id).filter(|_| matches!(kept.phase, Phase::Living)) else { return };
        if have <= job.acked {
            return;
        }
        (kept.have, kept.strip_bytes) = (have, strip_bytes);
        kept.engine.clone_from(&job.engine);
        self.relay(id, have, out);
        self.acknowledge(now, id, have, out);
        self.serve_readers(id, out);
        self.look_for_room_soon();
    }

    /// A detached job has left the grid: how it ended goes to disk.
    pub(crate) fn put_end(&mut self, now: Duration, id: JobId, job: &Job, ending: &Ending, out: &mut Vec<Effect>) {
        let ending = match ending {
            Ending::Done => KeptEnding::Done,
            Ending::Cancelled(reason) => KeptEnding::Cancelled((*reason).to_owned()),
            Ending::Failed(reason) => KeptEnding::Failed(reason.clone()),
        };
        let totals = KeptTotals {
            iterations: job.totals.iterations,
            compute_ns: job.totals.compute_ns,
            elapsed_ms: millis(now.saturating_sub(job.accepted_at)),
            bands: job.totals.bands,
            attempts: job.totals.attempts,
            workers: u32::try_from(job.totals.workers.len()).unwrap_or(u32::MAX),
        };
        let end = KeptEnd { ended_unix_ms: self.unix_ms(now), ending, totals };
        self.kept.cramped.remove(&id);
        self.look_for_room_soon();
        if let Some(kept) = self.kept.jobs.get_mut(&id) {
            kept.phase = Phase::Ending(end.clone(), BTreeSet::new());
            if sabotage!(EndsAreNotPutOnDisk) && end.ending != KeptEnding::Done {
                return self.on_ended(id, 4096, out);
            }
            out.push(Effect::ToJournal(ToJournal::End { job: id, end }));
        }
    }

    fn on_ended(&mut self, id: JobId, bytes: u64, out: &mut Vec<Effect>) {
        let Some(kept) = self.kept.jobs.get_mut(&id) else { return };
        self.kept.bytes = self.kept.bytes - kept.bytes + bytes;
        kept.bytes = bytes;
        let Phase::Ending(end, asked) = std::mem::replace(&mut kept.phase, Phase::Living) else {
            unreachable!("a job ends once")
        };
        let reason = end.ending.reason().to_owned();
        let is_done = end.ending == KeptEnding::Done;
        kept.phase = Phase::Over(end);
        if !is_done {
            // The journal drops what nobody can have.
            (kept.have, kept.strip_bytes) = (0, 0);
        }
        if !kept.holds_key() && self.keys.get(&kept.key) == Some(&id) {
            self.keys.remove(&kept.key);
        }
        self.put_among_the_over(id);
        let mut told: BTreeSet<ClientId> = asked.into_iter().filter(|client| self.clients.contains_key(client)).collect();
        if is_done {
            self.serve_readers(id, out);
        } else {
            told.extend(self.dismiss_readers(id));
        }
        out.extend(told.into_iter().map(|client| Effect::ToClient(client, failed(id, &reason))));
        self.make_room(out);
        self.serve_cramped(out);
    }

    /// CANCEL of a detached job, by whichever client.
    pub(crate) fn cancel_kept(&mut self, now: Duration, from: ClientId, id: JobId, out: &mut Vec<Effect>) {
        let Some(kept) = self.kept.jobs.get(&id) else { return };
        match &kept.phase {
            Phase::Living => self.end_job(now, id, Ending::Cancelled("cancelled"), out),
            Phase::Over(end) => {
                let reason = end.ending.reason().to_owned();
                self.unfollow(id, from);
                return out.push(Effect::ToClient(from, failed(id, &reason)));
            }
            Phase::Mending(_) | Phase::Ending(..) => {}
            // Nobody can name it before it is accepted.
            Phase::Arriving(_) => return,
        }
        if let Some(Phase::Ending(_, asked) | Phase::Mending(asked)) = self.kept.jobs.get_mut(&id).map(|kept| &mut kept.phase) {
            wait(asked, from, &self.clients);
        }
    }

    /// What is on disk is not what was written: the job goes on from there.
    fn on_damage(&mut self, now: Duration, id: JobId, strip: u32, what: String, out: &mut Vec<Effect>) {
        let Some(kept) = self.kept.jobs.get_mut(&id) else { return };
        match &kept.phase {
            Phase::Living | Phase::Over(_) if strip < kept.have && !sabotage!(DamageNotMended) => {}
            // It is looked at again when its end is on disk; and what was cut off is not missed.
            Phase::Living | Phase::Over(_) | Phase::Arriving(_) | Phase::Ending(..) | Phase::Mending(_) => return,
        }
        if let Phase::Over(end) = std::mem::replace(&mut kept.phase, Phase::Mending(BTreeSet::new())) {
            self.kept.over.remove(&(end.ended_unix_ms, id));
        }
        kept.have = strip;
        self.kept.forget_content(id);
        if strip == 0 {
            self.forget_engine(id, out);
        }
        self.kept.cramped.remove(&id);
        out.push(Effect::Note(Note::JobDamaged { job: id, strip, what }));
        out.push(Effect::ToJournal(ToJournal::Cut { job: id, have: strip }));
        self.take_down(now, id, out);
        self.look_for_room_soon();
    }

    /// Nothing of a job is left, so any engine may render it: but not for clients that hold strips of the former.
    fn forget_engine(&mut self, id: JobId, out: &mut Vec<Effect>) {
        if let Some(kept) = self.kept.jobs.get_mut(&id) {
            kept.engine = None;
        }
        for client in self.kept.readers_ahead(id) {
            self.unfollow(id, client);
            out.push(Effect::ToClient(client, failed(id, DAMAGED)));
        }
    }

    fn on_cut(&mut self, now: Duration, id: JobId, have: u32, (bytes, strip_bytes): (u64, u64), out: &mut Vec<Effect>) {
        let Some(kept) = self.kept.jobs.get_mut(&id) else { return };
        self.kept.bytes = self.kept.bytes - kept.bytes + bytes;
        (kept.bytes, kept.have, kept.strip_bytes) = (bytes, have, strip_bytes);
        let mended = std::mem::replace(&mut kept.phase, Phase::Living);
        if have == 0 {
            self.forget_engine(id, out);
        }
        self.begin_kept(now, id, out);
        if let Phase::Mending(asked) = mended {
            asked.into_iter().for_each(|client| self.cancel_kept(now, client, id, out));
        }
        self.end_if_unwanted(now, id, out);
        self.serve_readers(id, out);
        self.look_for_room_soon();
    }

    /// A picture that is done, of this request; of this engine, or else of the one that would be chosen now.
    pub(crate) fn find_done(&self, request: &Request, engine: Option<&str>) -> Option<JobId> {
        if self.kept.contents.is_empty() {
            return None;
        }
        let chosen = || self.preferred_engine(request.encoding).or(self.config.engine.as_deref());
        let engine = engine.or_else(chosen)?;
        self.kept.contents.get(&(request.canonical(), engine.to_owned())).copied()
    }

    fn put_among_the_over(&mut self, id: JobId) {
        let Some(kept) = self.kept.jobs.get(&id) else { return };
        let Phase::Over(end) = &kept.phase else { return };
        self.kept.over.insert((end.ended_unix_ms, id));
        if end.ending == KeptEnding::Done
            && let Some(engine) = &kept.engine
        {
            self.kept.contents.insert((kept.request.canonical(), engine.clone()), id);
        }
        self.arm_expiry();
    }

    /// The host's clock, as far as the core knows it.
    pub(crate) fn unix_ms(&self, now: Duration) -> u64 {
        self.config.started_unix_ms.saturating_add(millis(now))
    }
}

/// One more waits for word of a job. While a disk stands still many may come and go, and those that went are not remembered.
fn wait(waiting: &mut BTreeSet<ClientId>, from: ClientId, clients: &BTreeMap<ClientId, Client>) {
    waiting.insert(from);
    if waiting.len() > clients.len() {
        waiting.retain(|client| clients.contains_key(client));
    }
}

fn failed(job: JobId, reason: &str) -> Message {
    Message::Failed(Failed { job, reason: reason.to_owned() })
}
