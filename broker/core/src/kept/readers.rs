//! Clients that follow a detached job: they are sent what is on disk, and what comes there, each at its own pace.
//!
//! What has just come to disk is relayed from memory; the rest is read. Invariants, checked by `check_kept`: a reader is a connected client's; it has at most one read under way, and of what it was sent at
//! most a window, in at most [`MESSAGES_MAX`] messages, is not acknowledged. At most [`READS_MAX`] reads are under way for all readers,
//! those included whose reader has left; the others take turns.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    time::Duration,
};

use fractally_proto::{Ack, Attach, Attached, Done, JobId, Message, Submit};

use super::{DAMAGED, Keeping, KeptEnding, Phase, failed};
use crate::{
    ClientId, Core, Effect, ReadFault, ReadStrips, ToJournal,
    job::{Job, MESSAGES_MAX},
};

/// The window of a reader, unless one strip is larger. It takes what is synced at once, so that it need not be read back.
const READER_WINDOW: Range<u64> = 1 << 20..16 << 20;
/// What the windows of all readers may come to before the next ones get the smallest.
const WINDOWS_MAX: u64 = 512 << 20;
/// A reader gets such a part of what is left of it, at the most.
const WINDOWS_PARTS: u64 = 16;
/// Bytes of one read, unless one strip is larger.
const READ_BYTES_MAX: u64 = 1 << 20;
/// Strips of one read: a STRIPS message has no more.
const READ_STRIPS_MAX: u32 = fractally_proto::limits::BAND_STRIPS_MAX;
/// Reads under way at once. What else the journal has to do waits behind them, and their bytes in memory. So few in tests that they run
/// out.
const READS_MAX: usize = if cfg!(test) { 2 } else { 32 };
/// Jobs that one client follows at once: with so many windows a slow one stays under the 64 MiB that may wait for it in the shell.
const FOLLOWED_MAX: usize = 16;
/// Jobs that all clients together follow at once: the smallest windows come to 1 GiB then.
const READERS_MAX: usize = 1024;

/// One client that follows one job.
#[derive(Debug)]
pub(crate) struct Reader {
    window: u64,
    /// The strip to read next.
    next: u32,
    /// Strips acknowledged, from the top.
    acked: u32,
    /// Bytes sent and not acknowledged.
    in_flight: u64,
    /// The strip after each message that is not acknowledged, and its bytes.
    messages: VecDeque<(u32, u64)>,
    /// The read that is under way.
    ticket: Option<u64>,
    /// Its place among those that wait for a read to come back.
    turn: Option<u64>,
}

impl Reader {
    /// It is sent the strips before `end`, so many bytes.
    fn take(&mut self, end: u32, bytes: u64) {
        self.next = end;
        self.in_flight += bytes;
        self.messages.push_back((end, bytes));
    }
}

/// Reads of the disk.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// Whose each is, where its reader still waits for it.
    tickets: BTreeMap<u64, (JobId, ClientId)>,
    /// How many are under way.
    under_way: usize,
    /// Readers that wait for one of them to come back, the first that came first.
    turns: BTreeMap<u64, (JobId, ClientId)>,
    /// Numbers of tickets and turns.
    ever: u64,
    /// The windows of all readers.
    windows: u64,
}

impl Reads {
    /// The window of one more reader, which wants one of so many bytes, of a picture with such strips.
    fn window(&mut self, wanted: u64, strip_bytes_max: u64) -> u64 {
        let share = (WINDOWS_MAX.saturating_sub(self.windows) / WINDOWS_PARTS).clamp(READER_WINDOW.start, READER_WINDOW.end);
        let window = wanted.min(share.max(strip_bytes_max));
        self.windows += window;
        window
    }

    /// A ticket, or a turn where too many are under way.
    fn ask(&mut self, of: (JobId, ClientId), reader: &mut Reader) -> Option<u64> {
        self.ever += 1;
        if self.under_way >= READS_MAX {
            reader.turn = Some(self.ever);
            self.turns.insert(self.ever, of);
            return None;
        }
        self.under_way += 1;
        reader.ticket = Some(self.ever);
        self.tickets.insert(self.ever, of);
        Some(self.ever)
    }

    /// The reader is gone.
    fn forget(&mut self, reader: &Reader) {
        self.windows -= reader.window;
        reader.ticket.map(|ticket| self.tickets.remove(&ticket));
        reader.turn.map(|turn| self.turns.remove(&turn));
    }
}

impl Keeping {
    pub(crate) fn is_read_by(&self, job: JobId, client: ClientId) -> bool {
        self.readers.contains_key(&(job, client))
    }

    pub(crate) fn readers_of(&self, job: JobId) -> impl Iterator<Item = ClientId> {
        self.readers.range((job, ClientId(0))..=(job, ClientId(u64::MAX))).map(|((_, client), _)| *client)
    }

    pub(crate) fn has_reader(&self, job: JobId) -> bool {
        self.readers_of(job).next().is_some()
    }

    /// Those that hold strips.
    pub(super) fn readers_ahead(&self, job: JobId) -> Vec<ClientId> {
        self.readers_of(job).filter(|&client| self.readers.get(&(job, client)).is_some_and(|reader| reader.next > 0)).collect()
    }

    /// A client does not follow a job any more. What is being read for it is passed over when it comes.
    pub(crate) fn unfollow(&mut self, job: JobId, client: ClientId) {
        if let Some(reader) = self.readers.remove(&(job, client)) {
            self.reads.forget(&reader);
        }
    }
}

impl Core {
    /// ATTACH: somebody wants the strips of a detached job.
    pub(crate) fn on_attach(&mut self, now: Duration, from: ClientId, attach: &Attach, out: &mut Vec<Effect>) {
        let id = attach.job;
        let attached = match self.check_attach(from, attach) {
            Ok(attached) => attached,
            Err(reason) => return out.push(Effect::ToClient(from, failed(id, &reason))),
        };
        out.push(Effect::ToClient(from, Message::Attached(attached)));
        self.follow(now, id, from, attach.have, attach.window_bytes, out);
    }

    fn check_attach(&self, from: ClientId, attach: &Attach) -> Result<Attached, String> {
        let id = attach.job;
        let kept = self.kept.jobs.get(&id).filter(|kept| !matches!(kept.phase, Phase::Arriving(_)));
        let Some(kept) = kept else {
            if let Some(why) = self.kept.damaged.get(&id) {
                return Err(format!("the broker's record of job {id} is damaged: {why}; submit it again"));
            }
            return Err(format!("the broker has no detached job {id}: it never had it, or it was over and is forgotten"));
        };
        // Whose end is not on disk yet is told when it is.
        if let Phase::Over(end) = &kept.phase
            && end.ending != KeptEnding::Done
        {
            return Err(end.ending.reason().to_owned());
        }
        let layout = kept.layout();
        let largest = Job::strip_bytes_max(&layout);
        if attach.window_bytes < largest {
            let window = attach.window_bytes;
            return Err(format!(
                "window_bytes: {window}; one strip of this picture can take {largest} bytes, so give at least that"
            ));
        }
        if attach.have > layout.strips() {
            return Err(format!("have: {} strips; the picture has {}", attach.have, layout.strips()));
        }
        if attach.have > 0 && attach.engine != kept.engine {
            // Where there is none, whatever the client holds was lost to damage, and any engine may render it.
            return Err(kept.engine.as_ref().map_or_else(
                || DAMAGED.to_owned(),
                |engine| format!("engine: the strips held are not of {engine}, which renders this job; begin anew"),
            ));
        }
        let follows = self.clients.get(&from).map_or(0, |client| client.follows.len());
        if follows >= FOLLOWED_MAX && !self.kept.is_read_by(id, from) {
            return Err(format!("this client follows {follows} jobs, as many as one connection may; connect once more"));
        }
        if self.kept.readers.len() >= READERS_MAX && !self.kept.is_read_by(id, from) {
            return Err(format!("{READERS_MAX} jobs are followed, as many as may be; try again later"));
        }
        Ok(Attached {
            job: id,
            strips: layout.strips(),
            rows_per_strip: layout.rows_per_strip(),
            rows: layout.rows_before(kept.have),
            request: kept.request,
        })
    }

    /// SUBMIT of a picture that is there.
    pub(crate) fn serve_done(&mut self, now: Duration, from: ClientId, id: JobId, submit: &Submit, out: &mut Vec<Effect>) {
        let Some(Message::Accepted(accepted)) = self.kept.jobs.get(&id).map(|kept| kept.accepted(id)) else { return };
        out.push(Effect::ToClient(from, Message::Accepted(fractally_proto::Accepted { key: submit.key, ..accepted })));
        self.follow(now, id, from, submit.have, submit.window_bytes, out);
    }

    fn follow(&mut self, now: Duration, id: JobId, from: ClientId, have: u32, window_bytes: u64, out: &mut Vec<Effect>) {
        let Some(kept) = self.kept.jobs.get(&id) else { return };
        let largest = Job::strip_bytes_max(&kept.layout());
        // One ATTACH takes the place of another.
        self.kept.unfollow(id, from);
        let window = self.kept.reads.window(window_bytes, largest);
        let messages = VecDeque::new();
        let reader = Reader { window, next: have, acked: have, in_flight: 0, messages, ticket: None, turn: None };
        self.kept.readers.insert((id, from), reader);
        if let Some(client) = self.clients.get_mut(&from) {
            client.follows.insert(id);
        }
        if let Some(job) = self.jobs.get_mut(&id) {
            job.pace.is_followed_anew = true;
        }
        self.touch(now, id);
        self.serve_reader(id, from, out);
    }

    pub(crate) fn unfollow(&mut self, id: JobId, client: ClientId) {
        self.kept.unfollow(id, client);
        self.look_for_room_soon();
        if let Some(client) = self.clients.get_mut(&client) {
            client.follows.remove(&id);
        }
    }

    /// The job did not end well: nobody follows it any more. Gives those who did.
    pub(crate) fn dismiss_readers(&mut self, id: JobId) -> Vec<ClientId> {
        let readers: Vec<_> = self.kept.readers_of(id).collect();
        readers.iter().for_each(|&client| self.unfollow(id, client));
        readers
    }

    /// There may be more on disk, or the job may be over.
    pub(crate) fn serve_readers(&mut self, id: JobId, out: &mut Vec<Effect>) {
        let readers: Vec<_> = self.kept.readers_of(id).collect();
        readers.into_iter().for_each(|client| self.serve_reader(id, client, out));
    }

    /// Reads what a reader's window takes, or tells it that it has everything.
    fn serve_reader(&mut self, id: JobId, client: ClientId, out: &mut Vec<Effect>) {
        let Some(kept) = self.kept.jobs.get(&id) else { return };
        let Some(reader) = self.kept.readers.get_mut(&(id, client)) else { return };
        let layout = kept.layout();
        if let Phase::Over(end) = &kept.phase
            && reader.acked == layout.strips()
        {
            let totals = end.totals;
            let done = Message::Done(Done {
                job: id,
                engine: kept.engine.clone().unwrap_or_default(),
                iterations: totals.iterations,
                compute_ns: totals.compute_ns,
                elapsed_ms: totals.elapsed_ms,
                bands: totals.bands,
                attempts: totals.attempts,
                workers: totals.workers,
            });
            self.unfollow(id, client);
            return out.push(Effect::ToClient(client, done));
        }
        let largest = Job::strip_bytes_max(&layout);
        let room = reader.window - reader.in_flight;
        if !kept.is_readable()
            || reader.ticket.is_some()
            || reader.turn.is_some()
            || reader.next >= kept.have
            || room < largest
            || reader.messages.len() >= MESSAGES_MAX
        {
            return;
        }
        let Some(ticket) = self.kept.reads.ask((id, client), reader) else { return };
        let (first, strips_max) = (reader.next, READ_STRIPS_MAX.min(kept.have - reader.next));
        let bytes_max = room.min(READ_BYTES_MAX.max(largest));
        out.push(Effect::ToJournal(ToJournal::Read { ticket, job: id, first, strips_max, bytes_max }));
    }

    /// Strips have just come to disk, and are still in memory: readers that wait for them need not wait for the disk.
    pub(crate) fn relay(&mut self, id: JobId, have: u32, out: &mut Vec<Effect>) {
        let readers: Vec<_> = self.kept.readers_of(id).collect();
        let Some(job) = self.jobs.get(&id) else { return };
        for client in readers {
            let Some(reader) = self.kept.readers.get_mut(&(id, client)) else { continue };
            while reader.ticket.is_none() && reader.turn.is_none() && reader.messages.len() < MESSAGES_MAX && reader.next < have {
                let Some(slice) = job.slice(reader.next..have, reader.window - reader.in_flight) else { break };
                reader.take(slice.end(), slice.bytes.len() as u64);
                out.push(slice.deliver(client, id, job.engine.clone()));
            }
        }
    }

    pub(crate) fn on_read(&mut self, now: Duration, ticket: u64, read: Result<ReadStrips, ReadFault>, out: &mut Vec<Effect>) {
        self.kept.reads.under_way = self.kept.reads.under_way.saturating_sub(1);
        self.take_read(now, ticket, read, out);
        while self.kept.reads.under_way < READS_MAX
            && let Some((_, (id, client))) = self.kept.reads.turns.pop_first()
        {
            if let Some(reader) = self.kept.readers.get_mut(&(id, client)) {
                reader.turn = None;
            }
            self.serve_reader(id, client, out);
        }
    }

    fn take_read(&mut self, now: Duration, ticket: u64, read: Result<ReadStrips, ReadFault>, out: &mut Vec<Effect>) {
        let reader = self.kept.reads.tickets.remove(&ticket);
        let of = reader.and_then(|of| Some((of, self.kept.readers.get_mut(&of)?)));
        let Some(((id, client), reader)) = of else {
            if let Ok(read) = read {
                out.push(Effect::Release(read.payload));
            }
            return;
        };
        reader.ticket = None;
        match read {
            Ok(ReadStrips { first, strips, payload, bytes }) => {
                // Another read has found damage since, and any engine may render the job: what is held of this one does not count.
                let Some(engine) = self.kept.jobs.get(&id).and_then(|kept| kept.engine.clone()) else {
                    return out.push(Effect::Release(payload));
                };
                let count = u32::try_from(strips.len()).unwrap_or(u32::MAX);
                reader.take(first + count, bytes);
                let bytes = 0..usize::try_from(bytes).unwrap_or(usize::MAX);
                out.push(Effect::Deliver { client, job: id, engine, first, strips, payload, bytes });
                out.push(Effect::Release(payload));
                self.serve_reader(id, client, out);
            }
            Err(ReadFault::Damaged { strip, what }) => {
                self.on_damage(now, id, strip, what, out);
                self.serve_reader(id, client, out);
            }
            Err(ReadFault::Failed(why)) => {
                self.unfollow(id, client);
                out.push(Effect::ToClient(client, failed(id, &format!("the broker cannot read its journal: {why}"))));
                self.end_if_unwanted(now, id, out);
            }
        }
    }

    pub(crate) fn on_reader_ack(&mut self, now: Duration, from: ClientId, ack: Ack, out: &mut Vec<Effect>) {
        let Some(reader) = self.kept.readers.get_mut(&(ack.job, from)) else { return };
        if ack.have > reader.next {
            let what = format!("an ACK of {} strips where {} were delivered", ack.have, reader.next);
            return self.expel_client(now, from, &what, out);
        }
        while let Some(&(end, bytes)) = reader.messages.front().filter(|(end, _)| *end <= ack.have) {
            debug_assert!(end <= ack.have);
            reader.messages.pop_front();
            reader.in_flight -= bytes;
        }
        reader.acked = reader.acked.max(ack.have);
        self.serve_reader(ack.job, from, out);
    }

    pub(crate) fn check_readers(&self) {
        for (&(id, client), reader) in &self.kept.readers {
            let follows = self.clients.get(&client).is_some_and(|client| client.follows.contains(&id));
            assert!(follows, "job {id}: client {client} does not know that it follows it");
            let kept = self.kept.jobs.get(&id).expect("what is followed is kept");
            assert!(reader.in_flight <= reader.window, "job {id}: {} bytes under way to {client}", reader.in_flight);
            assert!(reader.messages.len() <= MESSAGES_MAX, "job {id}: too many messages under way to {client}");
            assert_eq!(
                reader.in_flight,
                reader.messages.iter().map(|(_, bytes)| bytes).sum::<u64>(),
                "job {id}: under way to {client}"
            );
            assert!(reader.acked <= reader.next, "job {id}: {client} acknowledged more than it was sent");
            if let Some(ticket) = reader.ticket {
                assert_eq!(self.kept.reads.tickets.get(&ticket), Some(&(id, client)), "job {id}: the read of {client}");
            } else if let Some(turn) = reader.turn {
                assert_eq!(self.kept.reads.turns.get(&turn), Some(&(id, client)), "job {id}: the turn of {client}");
            } else {
                // A reader that waits waits for the disk, or for its own acknowledgement.
                let largest = Job::strip_bytes_max(&kept.layout());
                let is_full = reader.window - reader.in_flight < largest || reader.messages.len() >= MESSAGES_MAX;
                assert!(!kept.is_readable() || reader.next >= kept.have || is_full, "job {id}: {client} is left waiting");
            }
        }
        let Reads { tickets, under_way, turns, windows, .. } = &self.kept.reads;
        assert_eq!(*windows, self.kept.readers.values().map(|reader| reader.window).sum::<u64>(), "windows of all readers");
        let count = |has: fn(&&Reader) -> bool| self.kept.readers.values().filter(has).count();
        assert_eq!(count(|reader| reader.ticket.is_some()), tickets.len(), "reads of nobody");
        assert_eq!(count(|reader| reader.turn.is_some()), turns.len(), "turns of nobody");
        assert!(tickets.len() <= *under_way && *under_way <= READS_MAX, "{under_way} reads are under way");
        assert!(turns.is_empty() || *under_way == READS_MAX, "readers wait for others, and there are none");
        let follows: usize = self.clients.values().map(|client| client.follows.len()).sum();
        assert_eq!(follows, self.kept.readers.len(), "clients follow what they are not sent");
    }
}
