//! The journal's thread: it does what the core orders, waits for disks in place of the loop, and says what is on disk.
//!
//! Strips are written as they come and synced together: [`SYNC_BYTES`] or [`SYNC_EVERY`] after the first of them, whichever is sooner.
//! What cannot be written stays here and is tried again every [`RETRY_EVERY`]; the core is told that there is trouble. Reads and
//! removals go on meanwhile, and room that comes free is used.
//!
//! The queue has no bound of its own: what the core lets out is bounded, as `fractally_broker_core`'s `journal` says.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::Bytes;
use fractally_broker_core::{FromJournal, KeptEnd, KeptEnding, KeptJob, KeptTotals, ReadFault, Restored, ToJournal};
use fractally_journal::{EndRecord, Error, JobRecord, Journal, ReadError, Recovered, Strips, Totals};
use fractally_proto::{JobId, StripMeta};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tracing::{debug, error};

/// Bytes that are written before they are synced.
const SYNC_BYTES: u64 = 8 << 20;
/// How long strips wait for others to be synced with.
const SYNC_EVERY: Duration = Duration::from_millis(10);
/// How often is tried again what could not be written.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// What the thread is given.
pub(crate) enum Order {
    /// Anything but [`ToJournal::Store`].
    Do(ToJournal),
    /// Strips with their bytes.
    Store(Store),
}

/// Strips that are to be on disk.
pub(crate) struct Store {
    pub(crate) job: JobId,
    pub(crate) engine: String,
    pub(crate) first: u32,
    pub(crate) strips: Vec<StripMeta>,
    pub(crate) payload: Bytes,
}

/// What the thread says.
pub(crate) enum Said {
    /// As the core wants it.
    Core(FromJournal),
    /// Strips with their bytes, which the shell holds first.
    Read { ticket: u64, strips: Strips },
}

/// The loop's end of it. Dropped, it waits until all that was ordered is done, if it can be.
pub(crate) struct Keeper {
    orders: Option<Sender<Order>>,
    says: UnboundedReceiver<Said>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the thread. `stall` makes every sync take so much longer, to see what a slow disk does.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(crate) fn start(journal: Journal, stall: Duration) -> io::Result<Self> {
        let (orders, taken) = channel();
        let (says, said) = unbounded_channel();
        let worker = Worker::new(journal, says, stall);
        let thread = thread::Builder::new().name("journal".to_owned()).spawn(move || worker.run(&taken))?;
        Ok(Self { orders: Some(orders), says: said, thread: Some(thread) })
    }

    pub(crate) fn order(&self, order: Order) {
        if let Some(orders) = &self.orders
            && orders.send(order).is_err()
        {
            // Its panic stands in the log. What is on disk stays, and nothing more is promised.
            error!("the journal's thread is gone");
        }
    }

    /// The next word. May be dropped while it waits.
    pub(crate) async fn next(&mut self) -> Said {
        match self.says.recv().await {
            Some(said) => said,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A panic of its own was reported there.
            let _ = thread.join();
        }
    }
}

/// Strips of one job that are not on disk yet, in order.
#[derive(Default)]
struct Writing {
    stores: VecDeque<Store>,
    /// So many of them are written and wait to be synced.
    written: usize,
}

struct Worker {
    journal: Journal,
    says: UnboundedSender<Said>,
    writing: BTreeMap<JobId, Writing>,
    /// What could not be done and is tried again, in order.
    undone: VecDeque<ToJournal>,
    unsynced: u64,
    sync_at: Option<Instant>,
    trouble: Option<String>,
    retry_at: Instant,
    stall: Duration,
}

impl Worker {
    fn new(journal: Journal, says: UnboundedSender<Said>, stall: Duration) -> Self {
        let (writing, undone) = (BTreeMap::new(), VecDeque::new());
        Self { journal, says, writing, undone, unsynced: 0, sync_at: None, trouble: None, retry_at: read_clock(), stall }
    }

    fn run(mut self, orders: &Receiver<Order>) {
        loop {
            let due = [self.sync_at, self.trouble.is_some().then_some(self.retry_at)].into_iter().flatten().min();
            let order = match due {
                None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => orders.recv_timeout(at.saturating_duration_since(read_clock())),
            };
            match order {
                Ok(order) => self.take(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let now = read_clock();
            if self.unsynced >= SYNC_BYTES || self.sync_at.is_some_and(|at| at <= now) {
                self.sync();
            }
            if self.trouble.is_some() && self.retry_at <= now {
                self.retry();
            }
        }
        self.sync();
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Store(store) => {
                let job = store.job;
                self.writing.entry(job).or_default().stores.push_back(store);
                if self.trouble.is_none() {
                    self.write(job);
                }
            }
            Order::Do(order) => self.carry_out(order),
        }
    }

    fn say(&self, says: FromJournal) {
        // The loop that does not listen any more has ended.
        let _ = self.says.send(Said::Core(says));
    }

    fn carry_out(&mut self, order: ToJournal) {
        let done = match &order {
            ToJournal::Keep(job) => {
                let bytes = match &self.trouble {
                    Some(trouble) => Err(trouble.clone()),
                    None => self.journal.keep(&record(job)).map(|()| self.bytes(job.job)).map_err(|error| error.to_string()),
                };
                return self.say(FromJournal::Kept { job: job.job, bytes });
            }
            ToJournal::Read { ticket, job, first, strips_max, bytes_max } => {
                return self.read(*ticket, *job, *first, *strips_max, *bytes_max);
            }
            ToJournal::End { job, end } => {
                // What a job that is over still had to write is not wanted.
                self.writing.remove(job);
                self.end(*job, end).map(|()| FromJournal::Ended { job: *job, bytes: self.bytes(*job) })
            }
            ToJournal::Cut { job, have } => {
                self.writing.remove(job);
                self.journal.cut(*job, *have).map(|left| FromJournal::Cut { job: *job, have: left.have, bytes: left.bytes })
            }
            ToJournal::Forget(job) => {
                self.writing.remove(job);
                match self.journal.remove(*job) {
                    // An earlier try got so far.
                    Ok(()) | Err(Error::Unknown(_)) => Ok(FromJournal::Forgotten(*job)),
                    Err(error) => Err(error),
                }
            }
            ToJournal::Store { .. } => unreachable!("strips come with their bytes"),
        };
        match done {
            Ok(says) => self.say(says),
            Err(error) => {
                self.undone.push_back(order);
                self.trouble(&error);
            }
        }
    }

    /// A job that did not end well gives up its strips where its end needs the room: who cancels jobs because the disk is full is to succeed.
    fn end(&mut self, job: JobId, end: &KeptEnd) -> Result<(), Error> {
        let ended = self.journal.end(job, &end_record(end));
        match ended {
            Err(error) if error.is_full() && end.ending != KeptEnding::Done => {
                self.journal.cut(job, 0)?;
                self.journal.end(job, &end_record(end))
            }
            ended => ended,
        }
    }

    fn bytes(&self, job: JobId) -> u64 {
        self.journal.stored(job).map_or(0, |stored| stored.bytes)
    }

    fn read(&mut self, ticket: u64, job: JobId, first: u32, strips_max: u32, bytes_max: u64) {
        let said = match self.journal.read(job, first, strips_max, bytes_max) {
            Ok(strips) => Said::Read { ticket, strips },
            Err(error) => {
                let fault = match error {
                    ReadError::Damaged { strip, what, .. } => ReadFault::Damaged { strip, what },
                    other @ (ReadError::Unknown(_) | ReadError::NotStored { .. } | ReadError::Io { .. }) => {
                        ReadFault::Failed(other.to_string())
                    }
                };
                Said::Core(FromJournal::Read { ticket, read: Err(fault) })
            }
        };
        let _ = self.says.send(said);
    }

    /// Writes what a job has to write, as far as it can be.
    fn write(&mut self, job: JobId) {
        let Some(Writing { stores, written }) = self.writing.get_mut(&job) else { return };
        let mut failed = None;
        for store in stores.iter().skip(*written) {
            match self.journal.append(job, &store.engine, store.first, &store.strips, &store.payload) {
                Ok(()) => {
                    *written += 1;
                    self.unsynced += store.payload.len() as u64;
                    self.sync_at.get_or_insert_with(|| read_clock() + SYNC_EVERY);
                }
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        if let Some(error) = failed {
            self.trouble(&error);
        }
    }

    fn sync(&mut self) {
        (self.unsynced, self.sync_at) = (0, None);
        thread::sleep(self.stall);
        for (job, synced) in self.journal.sync() {
            match synced {
                Ok(stored) => {
                    debug!(%job, have = stored.have, bytes = stored.bytes, "on disk");
                    self.forget_stored(job, stored.have);
                    self.say(FromJournal::Stored { job, have: stored.have, bytes: stored.bytes });
                }
                Err(error) => {
                    // All of it is to be written once more.
                    if let Some(writing) = self.writing.get_mut(&job) {
                        writing.written = 0;
                    }
                    self.trouble(&error);
                }
            }
        }
    }

    fn forget_stored(&mut self, job: JobId, have: u32) {
        let Some(writing) = self.writing.get_mut(&job) else { return };
        while writing.stores.front().is_some_and(|store| u64::from(store.first) + store.strips.len() as u64 <= u64::from(have)) {
            writing.stores.pop_front();
            writing.written = writing.written.saturating_sub(1);
        }
        if writing.stores.is_empty() {
            self.writing.remove(&job);
        }
    }

    fn trouble(&mut self, error: &Error) {
        let trouble = error.to_string();
        self.retry_at = read_clock() + RETRY_EVERY;
        if self.trouble.as_ref() != Some(&trouble) {
            self.trouble = Some(trouble.clone());
            self.say(FromJournal::Trouble(Some(trouble)));
        }
    }

    /// Tries everything again that could not be done; the first that fails once more leaves the trouble as it is.
    fn retry(&mut self) {
        self.trouble = None;
        for _ in 0..self.undone.len() {
            if let Some(order) = self.undone.pop_front() {
                self.carry_out(order);
            }
        }
        let jobs: Vec<_> = self.writing.keys().copied().collect();
        for job in jobs {
            if self.trouble.is_none() {
                self.write(job);
            }
        }
        self.sync();
        if self.trouble.is_none() {
            self.say(FromJournal::Trouble(None));
        }
    }
}

fn record(job: &KeptJob) -> JobRecord {
    JobRecord {
        job: job.job,
        key: job.key,
        client: job.account.clone(),
        priority: job.priority,
        accepted_unix_ms: job.accepted_unix_ms,
        request: job.request,
    }
}

fn end_record(end: &KeptEnd) -> EndRecord {
    let KeptTotals { iterations, compute_ns, elapsed_ms, bands, attempts, workers } = end.totals;
    EndRecord {
        ended_unix_ms: end.ended_unix_ms,
        ending: match &end.ending {
            KeptEnding::Done => fractally_journal::KeptEnding::Done,
            KeptEnding::Failed(reason) => fractally_journal::KeptEnding::Failed(reason.clone()),
            KeptEnding::Cancelled(reason) => fractally_journal::KeptEnding::Cancelled(reason.clone()),
        },
        totals: Totals { iterations, compute_ns, elapsed_ms, bands, attempts, workers },
    }
}

/// What was found on disk, as the core wants it.
pub(crate) fn restored(found: Recovered) -> Restored {
    let JobRecord { job, key, client, priority, accepted_unix_ms, request } = found.record;
    let end = found.end.map(|EndRecord { ended_unix_ms, ending, totals }| KeptEnd {
        ended_unix_ms,
        ending: match ending {
            fractally_journal::KeptEnding::Done => KeptEnding::Done,
            fractally_journal::KeptEnding::Failed(reason) => KeptEnding::Failed(reason),
            fractally_journal::KeptEnding::Cancelled(reason) => KeptEnding::Cancelled(reason),
        },
        totals: KeptTotals {
            iterations: totals.iterations,
            compute_ns: totals.compute_ns,
            elapsed_ms: totals.elapsed_ms,
            bands: totals.bands,
            attempts: totals.attempts,
            workers: totals.workers,
        },
    });
    let job = KeptJob { job, key, account: client, priority, accepted_unix_ms, request };
    Restored { job, engine: found.engine, have: found.have, bytes: found.bytes, end }
}

#[expect(clippy::disallowed_methods, reason = "when to sync and to try again is no decision of the core's")]
fn read_clock() -> Instant {
    Instant::now()
}
