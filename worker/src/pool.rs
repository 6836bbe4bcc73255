//! Threads round the kernels: a bounded queue in, finished tasks out.

use std::{
    collections::BTreeMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use fractally_fractal::kernel::{Kernel, Watch};
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
    /// With the session in which it was leased.
    running: BTreeMap<AttemptId, (Arc<Watch>, u64)>,
    arrivals: u64,
    /// Counts sessions, so that an outcome of an old one is known as such.
    session: u64,
    closed: bool,
}

impl Queue {
    /// What runs for this session; what was cancelled with an old one may take a moment to stop.
    fn current(&self) -> impl Iterator<Item = (&AttemptId, &Watch)> {
        let of_session = self.running.iter().filter(|(_, (_, session))| *session == self.session);
        of_session.map(|(attempt, (watch, _))| (attempt, &**watch))
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // A panic inside a task is caught; the queue itself is never left half changed.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    /// Starts `threads` threads. Their outcomes arrive at the receiver in the order in which they finish.
    ///
    /// # Errors
    /// The system's, when it gives no more threads.
    pub(crate) fn start(threads: u32, kernel: &'static dyn Kernel) -> io::Result<(Self, mpsc::UnboundedReceiver<Outcome>)> {
        let shared = Arc::new(Shared { queue: Mutex::default(), wake: Condvar::new() });
        // Dropped on an error, it closes the threads that have started.
        let pool = Self { shared };
        let (done, outcomes) = mpsc::unbounded_channel();
        for index in 0..threads {
            let (shared, done) = (Arc::clone(&pool.shared), done.clone());
            thread::Builder::new().name(format!("kernel-{index}")).spawn(move || work(&shared, &done, kernel))?;
        }
        Ok((pool, outcomes))
    }

    /// Queues a lease.
    pub(crate) fn push(&self, lease: Lease) {
        let mut queue = self.shared.queue();
        queue.arrivals += 1;
        let order = (lease.priority, queue.arrivals);
        queue.waiting.insert(order, lease);
        self.shared.wake.notify_one();
    }

    /// Leases held in this session, waiting or running.
    pub(crate) fn len(&self) -> usize {
        let queue = self.shared.queue();
        queue.waiting.len() + queue.current().count()
    }

    /// Takes a lease back. Returns whether it waited; a running one is told to stop and its outcome says so.
    pub(crate) fn withdraw(&self, attempt: AttemptId) -> bool {
        let mut queue = self.shared.queue();
        if let Some((watch, _)) = queue.running.get(&attempt) {
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
        queue.running.values().for_each(|(watch, _)| watch.cancel());
    }

    /// Whether an outcome belongs to what was pushed since the last [`Self::clear`].
    pub(crate) fn is_current(&self, outcome: &Outcome) -> bool {
        self.shared.queue().session == outcome.session
    }

    /// How far each held lease is: 0 while it waits.
    pub(crate) fn progress(&self) -> Vec<BandProgress> {
        let queue = self.shared.queue();
        let running = queue.current().map(|(&attempt, watch)| BandProgress(attempt, watch.iterations() + 1));
        running.chain(queue.waiting.values().map(|lease| BandProgress(lease.attempt, 0))).collect()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        queue.closed = true;
        queue.waiting.clear();
        queue.running.values().for_each(|(watch, _)| watch.cancel());
        self.shared.wake.notify_all();
    }
}

fn work(shared: &Shared, done: &mpsc::UnboundedSender<Outcome>, kernel: &'static dyn Kernel) {
    let mut bench = Bench::new(kernel);
    while let Some(Taken { lease, watch, session }) = take(shared) {
        let started = read_clock();
        let product = catch_unwind(AssertUnwindSafe(|| bench.make(&lease, &watch)));
        let product = product.unwrap_or_else(|panic| {
            // What a panic left in the scratch memory is not trusted.
            bench = Bench::new(kernel);
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
            let session = queue.session;
            queue.running.insert(lease.attempt, (Arc::clone(&watch), session));
            return Some(Taken { lease, watch, session });
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

#[cfg(test)]
mod tests {
    use fractally_fractal::kernel;
    use fractally_proto::{JobId, LeaseKind, Request, Size, Window};

    use super::*;

    /// A band of one small strip, or of one that takes for ever.
    fn lease(attempt: u64, priority: Priority, iterations: u32) -> Lease {
        let size = Size { w: 16, h: 16 };
        // In the Siegel disk of the golden mean: no point escapes, and no kernel can know it beforehand.
        let (c, center) = ([-0.390_540_870_218_399, -0.586_787_907_346_969], [-0.368_684_439, -0.337_745_147]);
        let request = Request { c, center, width: 0.2, size, window: Window::whole(size), iterations, ..Request::default() };
        let kind = LeaseKind::Band { first: 0, strips: 1 };
        Lease { job: JobId(1), attempt: AttemptId(attempt), priority, lease_ms: 1000, kind, request }
    }

    const SHORT: u32 = 10;
    const ENDLESS: u32 = 1_000_000_000;

    fn next(outcomes: &mut mpsc::UnboundedReceiver<Outcome>) -> Outcome {
        outcomes.blocking_recv().expect("the pool lives")
    }

    fn await_running(pool: &Pool, attempt: u64) {
        while !pool.progress().iter().any(|band| band.0 == AttemptId(attempt) && band.1 > 0) {
            thread::yield_now();
        }
    }

    #[test]
    fn interactive_leases_pass_waiting_batch_ones_and_a_withdrawn_one_stops() {
        let (pool, mut outcomes) = Pool::start(1, kernel::best()).unwrap();
        pool.push(lease(1, Priority::Batch, ENDLESS));
        await_running(&pool, 1);
        pool.push(lease(2, Priority::Batch, SHORT));
        pool.push(lease(3, Priority::Interactive, SHORT));
        pool.push(lease(4, Priority::Interactive, SHORT));
        assert_eq!(pool.len(), 4);
        assert!(!pool.withdraw(AttemptId(1)), "it runs");
        let order: Vec<_> = (0..4).map(|_| next(&mut outcomes)).collect();
        assert_eq!(order.iter().map(|outcome| outcome.attempt.0).collect::<Vec<_>>(), [1, 3, 4, 2]);
        assert!(matches!(order[0].product, Product::Withdrawn));
        assert!(order[1..].iter().all(|outcome| matches!(outcome.product, Product::Strips { .. })));
        assert_eq!(pool.len(), 0);
    }

    #[test]
    fn a_waiting_lease_is_taken_back_at_once() {
        let (pool, mut outcomes) = Pool::start(1, kernel::best()).unwrap();
        pool.push(lease(1, Priority::Batch, ENDLESS));
        await_running(&pool, 1);
        pool.push(lease(2, Priority::Batch, SHORT));
        assert!(pool.progress().contains(&BandProgress(AttemptId(2), 0)), "it waits");
        assert!(pool.withdraw(AttemptId(2)));
        assert!(!pool.withdraw(AttemptId(2)) && !pool.withdraw(AttemptId(99)), "it is not there any more");
        pool.withdraw(AttemptId(1));
        assert_eq!(next(&mut outcomes).attempt, AttemptId(1));
    }

    #[test]
    fn what_an_old_session_leased_is_not_current() {
        let (pool, mut outcomes) = Pool::start(2, kernel::best()).unwrap();
        pool.push(lease(1, Priority::Batch, ENDLESS));
        await_running(&pool, 1);
        pool.clear();
        let old = next(&mut outcomes);
        assert!(!pool.is_current(&old));
        pool.push(lease(1, Priority::Batch, SHORT));
        let new = next(&mut outcomes);
        assert!(pool.is_current(&new) && matches!(new.product, Product::Strips { .. }));
    }

    #[test]
    fn a_lease_that_makes_no_sense_is_declined() {
        let (pool, mut outcomes) = Pool::start(1, kernel::best()).unwrap();
        let good = lease(1, Priority::Batch, SHORT);
        let wild = [
            Lease { kind: LeaseKind::Band { first: 5, strips: 1 }, ..good.clone() },
            Lease { kind: LeaseKind::Band { first: 0, strips: 0 }, ..good.clone() },
            Lease { kind: LeaseKind::Band { first: 0, strips: u32::MAX }, ..good.clone() },
            Lease { request: Request { bailout: f64::NAN, ..good.request }, ..good },
        ];
        for lease in wild {
            pool.push(lease);
            assert!(matches!(next(&mut outcomes).product, Product::Declined(_)));
        }
    }
}
