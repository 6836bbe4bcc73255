//! The journal's thread: it does what the core orders, waits for disks in place of the loop, and says what is on disk.
//!
//! Strips are written as they come and synced together: [`SYNC_BYTES`] or [`SYNC_EVERY`] after the first of them, whichever is sooner.
//! What cannot be written stays here and is tried again every [`RETRY_EVERY`]; the core is told that there is trouble. All else goes on
//! meanwhile, other jobs' strips as well, and room that comes free is used; only new jobs are refused.
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
use tracing::debug;

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
    is_gone: bool,
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
        Ok(Self { orders: Some(orders), says: said, thread: Some(thread), is_gone: false })
    }

    pub(crate) fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // A thread that is gone is told of by `next`.
            let _ = orders.send(order);
        }
    }

    /// The next word. May be dropped while it waits.
    pub(crate) async fn next(&mut self) -> Said {
        match self.says.recv().await {
            Some(said) => said,
            None if self.is_gone => std::future::pending().await,
            // Its panic stands in the log. What is on disk stays, and nothing more is promised.
            None => {
                self.is_gone = true;
                let trouble = "the broker's journal has failed; the broker must be started again".to_owned();
                Said::Core(FromJournal::Trouble(Some(trouble)))
            }
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
    /// What failed first since the last retry, and what the core believes.
    trouble: Option<String>,
    told: Option<String>,
    retry_at: Instant,
    stall: Duration,
}

impl Worker {
    fn new(journal: Journal, says: UnboundedSender<Said>, stall: Duration) -> Self {
        let (writing, undone) = (BTreeMap::new(), VecDeque::new());
        let (trouble, told) = (None, None);
        Self { journal, says, writing, undone, unsynced: 0, sync_at: None, trouble, told, retry_at: read_clock(), stall }
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
            self.tell_trouble();
        }
        self.retry();
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Store(store) => {
                let job = store.job;
                let Writing { stores, written } = self.writing.entry(job).or_default();
                stores.push_back(store);
                // What could not be written before it is tried again first.
                if *written + 1 == stores.len() {
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
                self.journal.cut(*job, *have).map(|left| FromJournal::Cut {
                    job: *job,
                    have: left.have,
                    bytes: left.bytes,
                    strip_bytes: left.strip_bytes,
                })
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

    /// A job that did not end well gives up its strips first where its end needs the room: who cancels jobs because the disk is full is to
    /// succeed.
    fn end(&mut self, job: JobId, end: &KeptEnd) -> Result<(), Error> {
        match self.journal.end(job, &end_record(end)) {
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
                    self.say(FromJournal::Stored {
                        job,
                        have: stored.have,
                        bytes: stored.bytes,
                        strip_bytes: stored.strip_bytes,
                    });
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
        if self.trouble.is_none() {
            self.retry_at = read_clock() + RETRY_EVERY;
            self.trouble = Some(error.to_string());
        }
    }

    fn tell_trouble(&mut self) {
        if self.told != self.trouble {
            self.told.clone_from(&self.trouble);
            self.say(FromJournal::Trouble(self.trouble.clone()));
        }
    }

    /// Tries everything again that could not be done. One job that fails for ever holds up no other.
    fn retry(&mut self) {
        self.trouble = None;
        for _ in 0..self.undone.len() {
            if let Some(order) = self.undone.pop_front() {
                self.carry_out(order);
            }
        }
        let jobs: Vec<_> = self.writing.keys().copied().collect();
        jobs.into_iter().for_each(|job| self.write(job));
        self.sync();
    }
}

fn record(job: &KeptJob) -> JobRecord {
    JobRecord {
        job: job.job,
        key: job.key,
        account: job.account.clone(),
        priority: job.priority,
        accepted_unix_ms: job.accepted_unix_ms,
        holder: job.holder.clone(),
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
    let JobRecord { job, key, account, priority, accepted_unix_ms, holder, request } = found.record;
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
    let job = KeptJob { job, key, account, priority, accepted_unix_ms, holder, request };
    let Recovered { engine, have, bytes, strip_bytes, .. } = found;
    Restored { job, engine, have, bytes, strip_bytes, end }
}

#[expect(clippy::disallowed_methods, reason = "when to sync and to try again is no decision of the core's")]
fn read_clock() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use fractally_proto::{JobKey, Layout, Priority, Request, Size, Window};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn request() -> Request {
        Request { size: Size { w: 64, h: 64 }, window: Window { x: 0, y: 0, w: 64, h: 64 }, ..Request::default() }
    }

    fn start(dir: &Path) -> Keeper {
        Keeper::start(Journal::open(dir).unwrap().0, Duration::ZERO).unwrap()
    }

    async fn next(keeper: &mut Keeper) -> FromJournal {
        match tokio::time::timeout(PATIENCE, keeper.next()).await.expect("the journal says something") {
            Said::Core(says) => says,
            Said::Read { .. } => panic!("nothing was to be read"),
        }
    }

    async fn keep(keeper: &mut Keeper, job: JobId) -> Result<u64, String> {
        let (key, account) = (JobKey([7; 16]), "ada".to_owned());
        let record =
            KeptJob { job, key, account, priority: Priority::Normal, accepted_unix_ms: 1, holder: None, request: request() };
        keeper.order(Order::Do(ToJournal::Keep(Box::new(record))));
        loop {
            match next(keeper).await {
                FromJournal::Kept { job: kept, bytes } if kept == job => return bytes,
                FromJournal::Trouble(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn store(keeper: &Keeper, job: JobId) {
        let payload = Bytes::from_static(b"encoded");
        let strips = vec![StripMeta(7, 1)];
        assert!(Layout::of(&request()).encoded_len_max(0) >= 7);
        keeper.order(Order::Store(Store { job, engine: "e".to_owned(), first: 0, strips, payload }));
    }

    /// The files of one job could not be written, and no other job's strips were: not even what came before, nor after it.
    #[tokio::test]
    async fn a_job_that_cannot_be_written_holds_up_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let mut keeper = start(dir.path());
        let [broken, whole] = [JobId(1), JobId(2)];
        keep(&mut keeper, broken).await.unwrap();
        keep(&mut keeper, whole).await.unwrap();
        let home = dir.path().join("jobs").join(broken.to_string());
        let aside = dir.path().join("aside");
        fs::rename(&home, &aside).unwrap();
        store(&keeper, broken);
        assert!(matches!(next(&mut keeper).await, FromJournal::Trouble(Some(_))));
        store(&keeper, whole);
        assert!(matches!(next(&mut keeper).await, FromJournal::Stored { job, have: 1, .. } if job == whole));
        assert!(keep(&mut keeper, JobId(3)).await.is_err(), "no new ones");
        // Whatever was in the way is gone: nothing was forgotten.
        fs::rename(&aside, &home).unwrap();
        assert!(matches!(next(&mut keeper).await, FromJournal::Stored { job, have: 1, .. } if job == broken));
        assert_eq!(next(&mut keeper).await, FromJournal::Trouble(None));
        keep(&mut keeper, JobId(3)).await.unwrap();
    }

    /// Each of several that failed was told again every second, in turns.
    #[tokio::test]
    async fn trouble_that_lasts_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut keeper = start(dir.path());
        let jobs = [JobId(1), JobId(2)];
        for job in jobs {
            keep(&mut keeper, job).await.unwrap();
        }
        for job in jobs {
            fs::remove_dir_all(dir.path().join("jobs").join(job.to_string())).unwrap();
            store(&keeper, job);
        }
        assert!(matches!(next(&mut keeper).await, FromJournal::Trouble(Some(_))));
        let more = tokio::time::timeout(3 * RETRY_EVERY, keeper.next()).await;
        assert!(more.is_err(), "it is told again");
    }
}
