//! The disk: it does what the core orders, one thing after another and late, and outlives the broker.
//!
//! What was reported to be on disk stays there. When the broker dies, some of what was ordered last is done and never reported, and the
//! rest is not done.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use fractally_proto::{ContentId, JobId, JobKey, JobList, JobState, Layout, ListQuery, ListedJob, Message, StripMeta};

use super::{
    client::End,
    world::{Content, Event, World},
};
use crate::{ClientId, Effect, FromJournal, KeptEnd, KeptEnding, KeptJob, PayloadId, ReadFault, ReadStrips, Restored, ToJournal};

#[derive(Debug, Default)]
pub(super) struct Journal {
    jobs: BTreeMap<JobId, OnDisk>,
    /// What was ordered and is not done, the earliest first, with what its payload was then.
    orders: VecDeque<(ToJournal, Option<Content>)>,
    /// The broker that ordered it.
    pub(super) life: u64,
    /// Nothing is done before.
    clear: Duration,
    pub(super) refuses: bool,
}

#[derive(Debug)]
struct OnDisk {
    record: KeptJob,
    engine: Option<String>,
    strips: Vec<Strip>,
    end: Option<KeptEnd>,
}

#[derive(Clone, Copy, Debug)]
struct Strip {
    meta: StripMeta,
    picture: u64,
    engine: &'static str,
    is_damaged: bool,
}

impl OnDisk {
    fn bytes(&self) -> u64 {
        4096 + self.strip_bytes()
    }

    fn strip_bytes(&self) -> u64 {
        self.strips.iter().map(|strip| u64::from(strip.meta.encoded_len())).sum()
    }
}

impl Journal {
    /// Whether a job ended without a picture, or is forgotten.
    pub(super) fn has_lost(&self, job: JobId) -> bool {
        let end = self.jobs.get(&job).map(|on_disk| &on_disk.end);
        end.is_none_or(|end| end.as_ref().is_some_and(|end| end.ending != KeptEnding::Done))
    }

    pub(super) fn was_cancelled(&self, job: JobId) -> bool {
        let end = self.jobs.get(&job).and_then(|on_disk| on_disk.end.as_ref());
        end.is_some_and(|end| matches!(end.ending, KeptEnding::Cancelled(_)))
    }

    /// Whether a job is the one that was asked for under this key.
    pub(super) fn is_kept_as(&self, job: JobId, key: JobKey) -> bool {
        self.jobs.get(&job).is_some_and(|on_disk| on_disk.record.key == key)
    }

    pub(super) fn is_held_for_good(&self, job: JobId) -> bool {
        self.jobs.get(&job).is_some_and(|on_disk| on_disk.record.holder.is_none())
    }

    pub(super) fn is_idle(&self) -> bool {
        self.orders.is_empty()
    }
}

impl World {
    pub(super) fn order_journal(&mut self, order: ToJournal) {
        let content = match &order {
            ToJournal::Store { payload, .. } => Some(self.payloads.get(payload).expect("what is stored is held").clone()),
            _ => None,
        };
        self.journal.orders.push_back((order, content));
        let latency = Duration::from_micros(self.rng.within(100..40_000));
        let at = self.journal.clear.max(self.now + latency);
        self.journal.clear = at;
        self.at(at, Event::JournalDue(self.journal.life));
    }

    pub(super) fn journal_does(&mut self, life: u64) {
        if life != self.journal.life {
            return;
        }
        let Some((order, content)) = self.journal.orders.pop_front() else { return };
        let says = self.carry_out_order(order, content);
        self.effect(|core, now, out| core.on_journal(now, says, out));
    }

    fn carry_out_order(&mut self, order: ToJournal, content: Option<Content>) -> FromJournal {
        let jobs = &mut self.journal.jobs;
        match order {
            ToJournal::Keep(record) => {
                let job = record.job;
                if std::mem::take(&mut self.journal.refuses) {
                    return FromJournal::Kept { job, bytes: Err("no room".to_owned()) };
                }
                let on_disk = OnDisk { record: *record, engine: None, strips: Vec::new(), end: None };
                let bytes = on_disk.bytes();
                assert!(jobs.insert(job, on_disk).is_none(), "job {job} is kept twice");
                FromJournal::Kept { job, bytes: Ok(bytes) }
            }
            ToJournal::Store { job, engine, first, strips, .. } => {
                let on_disk = jobs.get_mut(&job).expect("strips of a job that is on disk");
                let content = content.expect("strips have a payload");
                // A job that was cut since takes nothing of before.
                assert_eq!(first as usize, on_disk.strips.len(), "job {job}: strips are stored in order");
                assert!(on_disk.end.is_none(), "job {job}: strips after the end");
                assert!(on_disk.engine.as_ref().is_none_or(|pinned| *pinned == engine), "job {job}: two engines");
                on_disk.engine = Some(engine);
                let of = |meta| Strip { meta, picture: content.picture, engine: content.engine, is_damaged: false };
                on_disk.strips.extend(strips.into_iter().map(of));
                let have = u32::try_from(on_disk.strips.len()).expect("few strips");
                FromJournal::Stored { job, have, bytes: on_disk.bytes(), strip_bytes: on_disk.strip_bytes() }
            }
            ToJournal::End { job, end } => {
                let on_disk = jobs.get_mut(&job).expect("the end of a job that is on disk");
                on_disk.end = Some(end);
                FromJournal::Ended { job, bytes: on_disk.bytes() }
            }
            ToJournal::Read { ticket, job, first, strips_max, bytes_max } => {
                let read = self.read(job, first, strips_max, bytes_max);
                FromJournal::Read { ticket, read }
            }
            ToJournal::Cut { job, have } => {
                let on_disk = jobs.get_mut(&job).expect("a job that is on disk");
                on_disk.strips.truncate(have as usize);
                on_disk.end = None;
                on_disk.engine.take_if(|_| have == 0);
                self.tally.mended += 1;
                // It begins again, and so does what is told of it.
                self.told.retain(|(_, told), _| *told != job);
                FromJournal::Cut { job, have, bytes: on_disk.bytes(), strip_bytes: on_disk.strip_bytes() }
            }
            ToJournal::Forget(job) => {
                let on_disk = jobs.remove(&job).expect("a job that is on disk");
                assert!(on_disk.end.is_some(), "job {job} is forgotten and lives");
                FromJournal::Forgotten(job)
            }
        }
    }

    fn read(&mut self, job: JobId, first: u32, strips_max: u32, bytes_max: u64) -> Result<ReadStrips, ReadFault> {
        let Some(on_disk) = self.journal.jobs.get(&job) else { return Err(ReadFault::Failed("it is gone".to_owned())) };
        let (mut strips, mut bytes) = (Vec::new(), 0);
        for strip in on_disk.strips.iter().skip(first as usize).take(strips_max as usize) {
            let len = u64::from(strip.meta.encoded_len());
            if strips.is_empty() || bytes + len <= bytes_max {
                strips.push(*strip);
                bytes += len;
            }
        }
        let Some(some) = strips.first().copied() else {
            return Err(ReadFault::Damaged { strip: first, what: "it is not there".to_owned() });
        };
        if let Some(at) = strips.iter().position(|strip| strip.is_damaged) {
            let strip = first + u32::try_from(at).expect("few strips");
            return Err(ReadFault::Damaged { strip, what: "a wrong checksum".to_owned() });
        }
        let strips: Vec<_> = strips.into_iter().map(|strip| strip.meta).collect();
        self.payloads_ever += 1;
        let payload = PayloadId(self.payloads_ever);
        self.payloads.insert(payload, Content { picture: some.picture, engine: some.engine, first, strips: strips.clone() });
        Ok(ReadStrips { first, strips, payload, bytes })
    }

    pub(super) fn stall_journal(&mut self, lasts: Duration) -> bool {
        self.journal.clear = self.journal.clear.max(self.now + lasts);
        true
    }

    /// One strip of one job, done or not.
    pub(super) fn damage_journal(&mut self) -> bool {
        let jobs = self.journal.jobs.values_mut();
        let mut full: Vec<_> = jobs.filter(|on_disk| on_disk.strips.iter().any(|strip| !strip.is_damaged)).collect();
        if full.is_empty() {
            return false;
        }
        let which = self.rng.index(full.len());
        let strip = self.rng.index(full[which].strips.len());
        full[which].strips[strip].is_damaged = true;
        true
    }

    /// The broker has died, and another finds what is on disk.
    pub(super) fn restore_journal(&mut self) {
        let done = self.rng.index(self.journal.orders.len() + 1);
        let orders = std::mem::take(&mut self.journal.orders);
        for (order, content) in orders.into_iter().take(done) {
            self.carry_out_order(order, content);
        }
        // What it read for the dead one is nobody's.
        self.payloads.clear();
        self.journal.life += 1;
        self.journal.clear = self.now;
        let restored: Vec<_> = self
            .journal
            .jobs
            .values_mut()
            .map(|on_disk| {
                let have = u32::try_from(on_disk.strips.len()).expect("few strips");
                let is_short = have < Layout::of(&on_disk.record.request).strips();
                if is_short && on_disk.end.as_ref().is_some_and(|end| end.ending == KeptEnding::Done) {
                    on_disk.end = None;
                }
                Restored {
                    job: on_disk.record.clone(),
                    engine: on_disk.engine.clone(),
                    have,
                    bytes: on_disk.bytes(),
                    strip_bytes: on_disk.strip_bytes(),
                    end: on_disk.end.clone(),
                }
            })
            .collect();
        for restored in restored {
            self.tally.restored += u64::from(restored.end.is_none());
            self.effect(|core, now, out| core.restore(now, restored, out));
        }
    }

    /// Whether a client may be told that its detached job is not there: only where jobs are forgotten soon.
    pub(super) fn core_may_forget(&self, reason: &str) -> bool {
        let keep_for = self.core.config.journal.as_ref().expect("there is one").keep_for;
        let is_forgotten = reason.starts_with("the broker has no detached job");
        assert!(!is_forgotten || keep_for < Duration::from_secs(60), "a promise is lost: {reason}");
        is_forgotten
    }

    fn list(&self, contents: Option<Vec<ContentId>>) -> Vec<ListedJob> {
        let mut out = Vec::new();
        self.core.on_list_query(self.now, ClientId(u64::MAX), &ListQuery { contents }, &mut out);
        let [Effect::ToClient(_, Message::ListReport(report))] = &out[..] else { panic!("no list: {out:?}") };
        JobList::decode(report).expect("a list").jobs
    }

    /// LIST tells of no end and of no row that may still be lost.
    pub(super) fn check_list(&self) {
        let list = self.list(None);
        for client in &self.clients {
            let contents: BTreeSet<_> = client.jobs.iter().map(|job| job.plan.request.content()).collect();
            let mut seen = BTreeSet::new();
            // The latest come first.
            let of_client = list.iter().filter(|listed| {
                let content = listed.request.content();
                let is_first = match listed.state {
                    JobState::Waiting | JobState::Running | JobState::Paused => true,
                    JobState::Done => seen.insert((content, true)),
                    JobState::Failed | JobState::Cancelled => seen.insert((content, false)),
                };
                is_first && contents.contains(&content)
            });
            let told = self.list(Some(contents.iter().copied().collect()));
            assert_eq!(told, of_client.cloned().collect::<Vec<_>>(), "a list of contents");
        }
        for listed in list {
            let JobId(id) = listed.job;
            let on_disk = self.journal.jobs.get(&listed.job).unwrap_or_else(|| panic!("job {id:x} is listed and not on disk"));
            match listed.state {
                JobState::Waiting | JobState::Running | JobState::Paused => {}
                over => assert!(on_disk.end.is_some(), "job {id:x} is listed as {over:?}, which is not on disk"),
            }
            if listed.state == JobState::Done {
                assert_eq!(listed.strip_bytes, on_disk.strip_bytes(), "job {id:x}: bytes of its picture");
            }
            let layout = Layout::of(&on_disk.record.request);
            let have = u32::try_from(on_disk.strips.len()).expect("few strips");
            assert!(listed.rows_done <= layout.rows_before(have), "job {id:x}: rows are listed that are not on disk");
        }
    }

    /// What clients were told is what is on disk.
    pub(super) fn check_journal(&self) {
        let keep_for = self.core.config.journal.as_ref().expect("there is one").keep_for;
        for job in self.clients.iter().flat_map(|client| &client.jobs) {
            let Some(id) = job.kept else { continue };
            let Some(on_disk) = self.journal.jobs.get(&id) else {
                assert!(keep_for < Duration::from_secs(60), "job {id} was promised and is not on disk");
                continue;
            };
            let end = on_disk.end.as_ref().unwrap_or_else(|| panic!("job {id} has not ended"));
            match (&job.end, &end.ending) {
                // It was damaged since, and those who wanted it had gone or were forgotten with an earlier broker.
                (Some(End::Done), KeptEnding::Cancelled(_)) if !self.journal.is_held_for_good(id) => {}
                (Some(End::Done), ending) => assert_eq!(*ending, KeptEnding::Done, "job {id} was done"),
                (Some(End::Failed(reason)), KeptEnding::Cancelled(told) | KeptEnding::Failed(told)) => assert_eq!(reason, told),
                (Some(End::Failed(reason)), KeptEnding::Done) => panic!("job {id} had failed: {reason}"),
                // Its client left, or did not hear.
                (None, _) => {}
            }
            if end.ending == KeptEnding::Done {
                assert_eq!(on_disk.strips.len(), job.layout.strips() as usize, "job {id}: strips on disk");
                let picture = job.plan.request.c[0].to_bits();
                assert!(on_disk.strips.iter().all(|strip| strip.picture == picture), "job {id}: strips of another picture");
            }
        }
        for on_disk in self.journal.jobs.values() {
            assert!(on_disk.end.is_some(), "job {} has not ended", on_disk.record.job);
        }
        assert!(self.core.kept.jobs.keys().eq(self.journal.jobs.keys()), "the core and the disk know other jobs");
    }
}
