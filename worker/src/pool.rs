//! Threads round the kernels: a bounded queue in, finished tasks out.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use fractally_fractal::kernel::Watch;
use fractally_proto::{AttemptId, BandProgress, Lease, Priority};
use tokio::sync::mpsc;

use crate::task::{Bench, Outcome, Product, watch_for};

/// Threads that work on leases, interactive before batch, first come first served.
///
/// How many leases wait is bounded by the credit that the worker gave; [`Pool::push`] refuses what is beyond it.
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Default)]
struct Queue {
    /// Waiting leases, in the order in which they are taken.
    waiting: BTreeMap<(Priority, u64), Lease>,
    running: BTreeMap<AttemptId, Arc<Watch>>,
    arrivals: u64,
    /// Counts sessions, so that an outcome of an old one is known as such.
    session: u64,
    closed: bool,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // A panic inside a task is caught; the queue itself is never left half changed.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    /// Starts `threads` threads. Their outcomes arrive at the receiver in the order in which they finish.
    pub(crate) fn start(threads: u32) -> (Self, mpsc::UnboundedReceiver<Outcome>) {
        let shared = Arc::new(Shared { queue: Mutex::default(), wake: Condvar::new() });
        let (done, outcomes) = mpsc::unbounded_channel();
        for index in 0..threads {
            let (shared, done) = (Arc::clone(&shared), done.clone());
            thread::Builder::new()
                .name(format!("kernel-{index}"))
                .spawn(move || work(&shared, &done))
                .expect("the system gives a worker the threads that it was asked to run");
        }
        (Self { shared }, outcomes)
    }

    /// Queues a lease.
    pub(crate) fn push(&self, lease: Lease) {
        let mut queue = self.shared.queue();
        queue.arrivals += 1;
        let order = (lease.priority, queue.arrivals);
        queue.waiting.insert(order, lease);
        self.shared.wake.notify_one();
    }

    /// Leases held, waiting or running.
    pub(crate) fn len(&self) -> usize {
        let queue = self.shared.queue();
        queue.waiting.len() + queue.running.len()
    }

    /// Takes a lease back. Returns whether it waited; a running one is told to stop and its outcome says so.
    pub(crate) fn withdraw(&self, attempt: AttemptId) -> bool {
        let mut queue = self.shared.queue();
        if let Some(watch) = queue.running.get(&attempt) {
            watch.cancel();
            return false;
        }
        let before = queue.waiting.len();
        queue.waiting.retain(|_, lease| lease.attempt != attempt);
        queue.waiting.len() < before
    }

    /// Drops everything, so that a new session finds no leases of an old one. Outcomes from before are not
    /// [current](Self::is_current) any more.
    pub(crate) fn clear(&self) {
        let mut queue = self.shared.queue();
        queue.session += 1;
        queue.waiting.clear();
        queue.running.values().for_each(|watch| watch.cancel());
    }

    /// Whether an outcome belongs to what was pushed since the last [`Self::clear`].
    pub(crate) fn is_current(&self, outcome: &Outcome) -> bool {
        self.shared.queue().session == outcome.session
    }

    /// How far each held lease is: 0 while it waits.
    pub(crate) fn progress(&self) -> Vec<BandProgress> {
        let queue = self.shared.queue();
        let running = queue.running.iter().map(|(&attempt, watch)| BandProgress(attempt, watch.iterations() + 1));
        running.chain(queue.waiting.values().map(|lease| BandProgress(lease.attempt, 0))).collect()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        queue.closed = true;
        queue.waiting.clear();
        queue.running.values().for_each(|watch| watch.cancel());
        self.shared.wake.notify_all();
    }
}

fn work(shared: &Shared, done: &mpsc::UnboundedSender<Outcome>) {
    let mut bench = Bench::default();
    while let Some(Taken { lease, watch, session }) = take(shared) {
        let started = read_clock();
        let product = catch_unwind(AssertUnwindSafe(|| bench.make(&lease, &watch)));
        let product = product.unwrap_or_else(|panic| {
            // What a panic left in the scratch memory is not trusted.
            bench = Bench::default();
            Product::Crashed(describe(panic.as_ref()))
        });
        shared.queue().running.remove(&lease.attempt);
        let outcome = Outcome { attempt: lease.attempt, session, elapsed: read_clock() - started, product };
        if done.send(outcome).is_err() {
            return;
        }
    }
}

struct Taken {
    lease: Lease,
    watch: Arc<Watch>,
    session: u64,
}

/// Waits for the next lease; nothing when the pool has closed.
fn take(shared: &Shared) -> Option<Taken> {
    let mut queue = shared.queue();
    loop {
        if queue.closed {
            return None;
        }
        if let Some((_, lease)) = queue.waiting.pop_first() {
            let watch = Arc::new(watch_for(&lease));
            queue.running.insert(lease.attempt, Arc::clone(&watch));
            return Some(Taken { lease, watch, session: queue.session });
        }
        queue = shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
    }
}

fn describe(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "the kernel panicked".to_owned())
}

#[expect(clippy::disallowed_methods, reason = "the threads measure themselves, for the broker's cost model")]
pub(crate) fn read_clock() -> Instant {
    Instant::now()
}

/// Nanoseconds, as the wire carries them.
pub(crate) fn as_nanos(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}
