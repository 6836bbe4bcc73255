//! Threads round the kernels: a bounded queue in, finished tasks out.

use std::{
    collections::BTreeMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use fractally_fractal::kernel::Watch;
use fractally_proto::{AttemptId, BandProgress, Lease, Priority, Withdraw};
use tokio::sync::Notify;
use tracing::debug;

use crate::task::{Bench, Engine, Outcome, Product, attempts, parts, shown, watch_for};

/// What a band is said to have taken of which nothing was computed: so long that the broker makes the next one no larger.
const NO_OP_TIME: Duration = Duration::from_secs(1000);

/// Threads that work on leases, interactive before normal before batch, first come first served.
///
/// How many leases wait is bounded by the credit that the worker gave; [`Pool::push`] refuses what is beyond it.
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    /// For threads: something waits.
    work: Condvar,
    /// For the session: something is finished.
    news: Notify,
}

#[derive(Default)]
struct Queue {
    /// Waiting leases, in the order in which they are taken.
    waiting: BTreeMap<(Priority, u64), Lease>,
    running: BTreeMap<AttemptId, Running>,
    /// What nobody has taken yet, in the order in which it was finished.
    finished: Vec<Outcome>,
    arrivals: u64,
    /// Counts sessions, so that an outcome of an old one is known as such.
    session: u64,
    /// Threads that sleep.
    asleep: u32,
    closed: bool,
}

struct Running {
    watch: Arc<Watch>,
    /// The session in which it was leased.
    session: u64,
    /// The attempt that names its lease: its own, unless it is a mirror band.
    lease: AttemptId,
}

impl Queue {
    /// What runs for this session; what was cancelled with an old one may take a moment to stop.
    fn current(&self) -> impl Iterator<Item = (&AttemptId, &Running)> {
        self.running.iter().filter(|(_, running)| running.session == self.session)
    }

    /// Leases that run, each under the first of its attempts that is not over.
    fn leading(&self) -> impl Iterator<Item = (&AttemptId, &Running)> {
        self.current().filter(|(attempt, running)| running.lease == **attempt || !self.running.contains_key(&running.lease))
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // A panic inside a task is caught; the queue itself is never left half changed.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands an outcome over, at once for whoever looks: an attempt that was neither here nor there would be left behind by a worker that
    /// leaves. What was begun for an old session nobody hears of.
    fn finish(&self, session: u64, outcome: Outcome) {
        let mut queue = self.queue();
        if queue.running.get(&outcome.attempt).is_some_and(|running| running.session == session) {
            queue.running.remove(&outcome.attempt);
        }
        if queue.session != session {
            return;
        }
        queue.finished.push(outcome);
        let is_first = queue.finished.len() == 1;
        // Whoever is woken up wants the lock.
        drop(queue);
        if is_first {
            self.news.notify_one();
        }
    }
}

impl Pool {
    /// Starts `threads` threads.
    ///
    /// # Errors
    /// The system's, when it gives no more threads.
    pub(crate) fn start(threads: u32, engine: Engine) -> io::Result<Self> {
        let shared = Arc::new(Shared { queue: Mutex::default(), work: Condvar::new(), news: Notify::new() });
        // Dropped on an error, it closes the threads that have started.
        let pool = Self { shared };
        for index in 0..threads {
            let shared = Arc::clone(&pool.shared);
            thread::Builder::new().name(format!("kernel-{index}")).spawn(move || work(&shared, engine))?;
        }
        Ok(pool)
    }

    /// Queues a lease.
    pub(crate) fn push(&self, lease: Lease) {
        let mut queue = self.shared.queue();
        queue.arrivals += 1;
        let order = (lease.priority, queue.arrivals);
        queue.waiting.insert(order, lease);
        let somebody_sleeps = queue.asleep > 0;
        // Whoever is woken up wants the lock.
        drop(queue);
        if somebody_sleeps {
            self.shared.work.notify_one();
        }
    }

    /// All that was finished since the last call, at least one outcome, in the order in which they were finished. May be dropped while it
    /// waits without losing anything.
    pub(crate) async fn finished(&self) -> Vec<Outcome> {
        loop {
            let finished = std::mem::take(&mut self.shared.queue().finished);
            if !finished.is_empty() {
                return finished;
            }
            self.shared.news.notified().await;
        }
    }

    /// Whether nothing waits, runs, or is finished and not taken.
    pub(crate) fn is_empty(&self) -> bool {
        let queue = self.shared.queue();
        queue.waiting.is_empty() && queue.current().next().is_none() && queue.finished.is_empty()
    }

    /// Leases held in this session, waiting or running.
    pub(crate) fn leases(&self) -> usize {
        let queue = self.shared.queue();
        queue.waiting.len() + queue.leading().count()
    }

    /// Takes a lease back, by any of its attempts. Returns the lease if it waited; a running one is told to stop and its outcomes say so,
    /// unless only a waiting one was meant.
    pub(crate) fn withdraw(&self, Withdraw { attempt, if_waiting }: Withdraw) -> Option<Lease> {
        let mut queue = self.shared.queue();
        if let Some(running) = queue.running.get(&attempt) {
            if !if_waiting {
                running.watch.cancel();
            }
            return None;
        }
        let order = *queue.waiting.iter().find(|(_, lease)| attempts(lease).any(|named| named == attempt))?.0;
        queue.waiting.remove(&order)
    }

    /// Takes back every lease that waits.
    pub(crate) fn give_back_waiting(&self) -> Vec<Lease> {
        std::mem::take(&mut self.shared.queue().waiting).into_values().collect()
    }

    /// Drops everything, so that a new session finds no leases of an old one, nor outcomes.
    pub(crate) fn clear(&self) {
        let mut queue = self.shared.queue();
        queue.session += 1;
        queue.waiting.clear();
        queue.finished.clear();
        queue.running.values().for_each(|running| running.watch.cancel());
    }

    /// How far each held lease is, under the first of its attempts that is not answered: 0 while it waits.
    pub(crate) fn progress(&self) -> Vec<BandProgress> {
        let queue = self.shared.queue();
        let running = queue.leading().map(|(&attempt, running)| BandProgress(attempt, running.watch.iterations() + 1));
        running.chain(queue.waiting.values().map(|lease| BandProgress(lease.attempt, 0))).collect()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        queue.closed = true;
        queue.waiting.clear();
        queue.running.values().for_each(|running| running.watch.cancel());
        self.shared.work.notify_all();
    }
}

fn work(shared: &Shared, engine: Engine) {
    let mut bench = Bench::new(engine);
    while let Some(Taken { lease, watch, session }) = take(shared) {
        let (mut kept, mut goes_on) = (None, true);
        for (attempt, part) in parts(&lease) {
            debug!(
                job = %lease.job,
                %attempt,
                kernel = engine.kernel.name(),
                request_id = shown(lease.request_id.as_ref()),
                "computing"
            );
            // It costs a system call.
            let processor_time = (engine.slow_down > 1).then(own_processor_time);
            let started = read_clock();
            // What a first part has failed at, or was stopped at, says nothing of its mirror: that is given back without blame.
            let make = || if goes_on { bench.make(&lease, part, &mut kept, &watch) } else { Product::Withdrawn };
            let product = catch_unwind(AssertUnwindSafe(make)).unwrap_or_else(|panic| {
                // What a panic left in the scratch memory is not trusted.
                bench = Bench::new(engine);
                Product::Crashed(describe(panic.as_ref()))
            });
            goes_on = matches!(product, Product::Strips { .. });
            if let Some(before) = processor_time {
                idle_away(started, own_processor_time().saturating_sub(before), engine.slow_down, &watch);
            }
            let request_id = lease.request_id.clone();
            let elapsed = if engine.no_op { NO_OP_TIME } else { read_clock() - started };
            shared.finish(session, Outcome { attempt, request_id, elapsed, product });
        }
    }
}

/// Sleeps until `factor` times the processor's time for the work has passed since it began, unless the work is withdrawn.
fn idle_away(started: Instant, worked: Duration, factor: u32, watch: &Watch) {
    let until = started + worked * factor;
    while read_clock() < until && !watch.is_cancelled() {
        thread::sleep((until - read_clock()).min(Duration::from_millis(5)));
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
            for attempt in attempts(&lease) {
                let running = Running { watch: Arc::clone(&watch), session, lease: lease.attempt };
                queue.running.insert(attempt, running);
            }
            return Some(Taken { lease, watch, session });
        }
        queue.asleep += 1;
        queue = shared.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
        queue.asleep -= 1;
    }
}

/// What a panic said.
pub(crate) fn describe(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "the kernel panicked".to_owned())
}

#[expect(clippy::disallowed_methods, reason = "the threads measure themselves, for the broker's cost model")]
pub(crate) fn read_clock() -> Instant {
    Instant::now()
}

/// What this thread has had of a processor, ever.
fn own_processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Nanoseconds, as the wire carries them.
pub(crate) fn as_nanos(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use fractally_fractal::kernel;
    use fractally_proto::{Encoding, Heartbeat, JobId, LeaseKind, Message, MirrorBand, Request, Size, Window, limits};

    use std::{collections::VecDeque, ops::Deref};

    use tokio::runtime::{Builder, Runtime};

    use super::*;

    /// A band of one small strip, or of one that takes for ever.
    fn lease(attempt: u64, priority: Priority, iterations: u32) -> Lease {
        let size = Size { w: 16, h: 16 };
        // In the Siegel disk of the golden mean: no point escapes, and no kernel can know it beforehand.
        let (c, center) = ([-0.390_540_870_218_399, -0.586_787_907_346_969], [-0.368_684_439, -0.337_745_147]);
        let request = Request { c, center, width: 0.2, size, window: Window::whole(size), iterations, ..Request::default() };
        let kind = LeaseKind::Band { first: 0, strips: 1 };
        Lease {
            job: JobId(1),
            attempt: AttemptId(attempt),
            priority,
            lease_ms: 1000,
            kind,
            mirror: None,
            request_id: None,
            request,
        }
    }

    /// A pool, and what was taken of what it has finished.
    struct Driven {
        runtime: Runtime,
        pool: Pool,
        taken: VecDeque<Outcome>,
    }

    impl Driven {
        fn start(threads: u32, mirror: bool) -> Self {
            let engine = Engine { kernel: kernel::best(), mirror, slow_down: 1, no_op: false };
            let runtime = Builder::new_current_thread().build().unwrap();
            Self { runtime, pool: Pool::start(threads, engine).unwrap(), taken: VecDeque::new() }
        }

        fn next(&mut self) -> Outcome {
            if self.taken.is_empty() {
                self.taken = self.runtime.block_on(self.pool.finished()).into();
            }
            self.taken.pop_front().expect("an outcome at least")
        }
    }

    impl Deref for Driven {
        type Target = Pool;

        fn deref(&self) -> &Pool {
            &self.pool
        }
    }

    fn pool(threads: u32) -> Driven {
        Driven::start(threads, true)
    }

    fn now(attempt: u64) -> Withdraw {
        Withdraw { attempt: AttemptId(attempt), if_waiting: false }
    }

    const SHORT: u32 = 10;
    const ENDLESS: u32 = 1_000_000_000;

    fn await_running(pool: &Pool, attempt: u64) {
        while !pool.progress().iter().any(|band| band.0 == AttemptId(attempt) && band.1 > 0) {
            thread::yield_now();
        }
    }

    #[test]
    fn interactive_leases_pass_waiting_batch_ones_and_a_withdrawn_one_stops() {
        let mut pool = pool(1);
        pool.push(lease(1, Priority::Batch, ENDLESS));
        await_running(&pool, 1);
        pool.push(lease(2, Priority::Batch, SHORT));
        pool.push(lease(3, Priority::Interactive, SHORT));
        pool.push(lease(4, Priority::Interactive, SHORT));
        assert_eq!(pool.leases(), 4);
        assert!(pool.withdraw(now(1)).is_none(), "it runs");
        let order: Vec<_> = (0..4).map(|_| pool.next()).collect();
        assert_eq!(order.iter().map(|outcome| outcome.attempt.0).collect::<Vec<_>>(), [1, 3, 4, 2]);
        assert!(matches!(order[0].product, Product::Withdrawn));
        assert!(order[1..].iter().all(|outcome| matches!(outcome.product, Product::Strips { .. })));
        assert_eq!(pool.leases(), 0);
    }

    #[test]
    fn three_classes_are_taken_the_better_first_and_within_one_the_earlier() {
        let mut pool = pool(1);
        pool.push(lease(1, Priority::Interactive, ENDLESS));
        await_running(&pool, 1);
        let classes = [Priority::Batch, Priority::Normal, Priority::Interactive, Priority::Normal, Priority::Interactive];
        (2..).zip(classes).for_each(|(attempt, class)| pool.push(lease(attempt, class, SHORT)));
        pool.withdraw(now(1));
        let order: Vec<_> = (0..6).map(|_| pool.next().attempt.0).collect();
        assert_eq!(order, [1, 4, 6, 3, 5, 2]);
    }

    #[test]
    fn a_waiting_lease_is_taken_back_at_once() {
        let mut pool = pool(1);
        pool.push(lease(1, Priority::Batch, ENDLESS));
        await_running(&pool, 1);
        pool.push(lease(2, Priority::Batch, SHORT));
        assert!(pool.progress().contains(&BandProgress(AttemptId(2), 0)), "it waits");
        pool.push(lease(3, Priority::Batch, SHORT));
        let idle = |attempt| Withdraw { attempt: AttemptId(attempt), if_waiting: true };
        assert_eq!(pool.withdraw(idle(3)).map(|lease| lease.attempt), Some(AttemptId(3)));
        assert!(pool.withdraw(idle(1)).is_none(), "it runs, and runs on");
        assert_eq!(pool.withdraw(now(2)).map(|lease| lease.attempt), Some(AttemptId(2)));
        assert!(pool.withdraw(now(2)).is_none() && pool.withdraw(now(99)).is_none(), "it is not there any more");
        pool.withdraw(now(1));
        assert_eq!(pool.next().attempt, AttemptId(1));
    }

    /// Two opposite strips of a picture that is its own half-turn.
    fn mirrored(attempt: u64, iterations: u32) -> Lease {
        let lease = lease(attempt, Priority::Batch, iterations);
        let size = Size { w: 65_536, h: 4 };
        let request =
            Request { center: [0.0, 0.0], size, window: Window::whole(size), encoding: Encoding::Counts, ..lease.request };
        let mirror = Some(MirrorBand { attempt: AttemptId(attempt + 1), first: 3, strips: 1 });
        Lease { mirror, request, ..lease }
    }

    fn strips_of(outcome: Outcome) -> (u64, Vec<u8>, u64) {
        let attempt = outcome.attempt.0;
        match outcome.product {
            Product::Strips { payload, executed, .. } => (attempt, payload.to_vec(), executed),
            _ => panic!("attempt {attempt} made no strips"),
        }
    }

    #[test]
    fn a_mirror_band_has_an_answer_of_its_own_and_takes_no_iterations() {
        let mut pool = pool(1);
        pool.push(mirrored(1, 50));
        let [first, mirror] = [0, 1].map(|_| strips_of(pool.next()));
        assert_eq!((first.0, mirror.0, mirror.2), (1, 2, 0));
        assert!(first.2 > 0);
        assert!(first.1.chunks(4).eq(mirror.1.rchunks(4)), "one is the other read backwards");
        assert_eq!(pool.leases(), 0);
    }

    #[test]
    fn without_mirrors_the_same_bytes_are_computed() {
        let rendered = [true, false].map(|mirror| {
            let mut pool = Driven::start(1, mirror);
            pool.push(mirrored(1, 50));
            [0, 1].map(|_| strips_of(pool.next()))
        });
        assert_eq!(rendered[0].each_ref().map(|made| &made.1), rendered[1].each_ref().map(|made| &made.1));
        assert_eq!(rendered[1][0].2, rendered[1][1].2);
    }

    #[test]
    fn whoever_of_the_two_is_withdrawn_both_are_given_back() {
        for withdrawn in [1, 2] {
            let mut pool = pool(1);
            pool.push(mirrored(1, ENDLESS));
            await_running(&pool, 1);
            assert_eq!((pool.leases(), pool.progress().len()), (1, 1), "one lease");
            assert!(pool.withdraw(now(withdrawn)).is_none());
            let given_back = [0, 1].map(|_| pool.next());
            assert!(given_back.iter().all(|outcome| matches!(outcome.product, Product::Withdrawn)));
            assert_eq!(given_back.map(|outcome| outcome.attempt.0), [1, 2]);
        }
    }

    /// A worker that drains leaves once the pool is empty. A thread took its band off the pool a moment before it handed the tile over,
    /// and a worker that looked just then left without the tile.
    #[test]
    fn a_pool_is_empty_only_when_all_outcomes_are_handed_over() {
        let mut pool = pool(1);
        for attempt in 0..20_000 {
            pool.push(lease(attempt, Priority::Batch, 1));
            while pool.leases() > 0 {
                std::hint::spin_loop();
            }
            assert!(!pool.is_empty(), "nothing of band {attempt} is there");
            assert_eq!(pool.next().attempt.0, attempt);
            assert!(pool.is_empty());
        }
    }

    /// A band and its mirror were listed as two: a worker of 75 threads and more said HEARTBEATs whose header was too long, for which the
    /// broker expelled it.
    #[test]
    fn a_heartbeat_that_lists_all_that_a_worker_may_hold_fits_a_header() {
        let pool = pool(1);
        let leases = u64::from(limits::WORKER_CREDIT_MAX);
        (0..leases).for_each(|lease| pool.push(mirrored(u64::MAX - 2 * lease - 1, ENDLESS)));
        await_running(&pool, u64::MAX - 1);
        // As if all of them had run for long.
        let bands: Vec<_> = pool.progress().into_iter().map(|BandProgress(attempt, _)| BandProgress(attempt, u64::MAX)).collect();
        assert_eq!(bands.len() as u64, leases);
        let frames = Message::Heartbeat(Heartbeat { seen: u64::MAX, bands }).encode();
        assert!(frames[2].len() <= limits::HEADER_BYTES_MAX, "{} bytes", frames[2].len());
    }

    #[test]
    fn a_mirror_is_listed_when_its_band_is_done() {
        let mut queue = Queue::default();
        let running = |lease| Running { watch: Arc::new(Watch::new()), session: 0, lease: AttemptId(lease) };
        queue.running.insert(AttemptId(1), running(1));
        queue.running.insert(AttemptId(2), running(1));
        let listed = |queue: &Queue| queue.leading().map(|(attempt, _)| attempt.0).collect::<Vec<_>>();
        assert_eq!(listed(&queue), [1]);
        queue.running.remove(&AttemptId(1));
        assert_eq!(listed(&queue), [2]);
    }

    #[test]
    fn what_an_old_session_leased_the_next_one_never_hears_of() {
        let mut pool = pool(2);
        pool.push(lease(1, Priority::Batch, ENDLESS));
        await_running(&pool, 1);
        pool.push(lease(2, Priority::Batch, SHORT));
        while pool.leases() > 1 {
            thread::yield_now();
        }
        pool.clear();
        assert!(pool.is_empty(), "neither what ran, nor what was finished and not taken");
        // Numbers begin anew with every broker.
        pool.push(lease(1, Priority::Batch, SHORT));
        let new = pool.next();
        assert!(new.attempt == AttemptId(1) && matches!(new.product, Product::Strips { .. }));
        assert!(pool.is_empty());
    }

    #[test]
    fn a_lease_that_makes_no_sense_is_declined() {
        let mut pool = pool(1);
        let good = lease(1, Priority::Batch, SHORT);
        let wild = [
            Lease { kind: LeaseKind::Band { first: 5, strips: 1 }, ..good.clone() },
            Lease { kind: LeaseKind::Band { first: 0, strips: 0 }, ..good.clone() },
            Lease { kind: LeaseKind::Band { first: 0, strips: u32::MAX }, ..good.clone() },
            Lease { request: Request { bailout: f64::NAN, ..good.request }, ..good },
        ];
        for lease in wild {
            pool.push(lease);
            assert!(matches!(pool.next().product, Product::Declined(_)));
        }
    }
}
