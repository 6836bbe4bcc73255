//! A picture without a grid: threads of this process make its strips, in order, by the code that makes those of leases. It is what a grid
//! is compared with: whatever that takes longer is the grid's own.

use std::{
    collections::BTreeMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use bytes::Bytes;
use fractally_fractal::kernel::Watch;
use fractally_proto::{AttemptId, JobId, Layout, Lease, LeaseKind, Limits, MirrorBand, Priority, Refusal, Request, StripMeta};
use thiserror::Error;

use crate::{
    Kernel,
    pool::describe,
    task::{Bench, Engine, Product, parts},
};

/// Strips that may wait for each thread until they are taken.
const WAITING_PER_THREAD: usize = 8;

/// Most threads that are started for a picture.
const THREADS_MAX: u32 = 1024;

/// Threads of one process, as many workers of one thread would be.
#[derive(Clone, Copy, Debug)]
pub struct Threads {
    /// How many, from 1 to 1024.
    pub count: u32,
    /// What computes.
    pub kernel: Kernel,
    /// Whether rows are spared that are mirror images of others. The strips of the lower half then wait for their turn in memory: half
    /// of the encoded picture. Without mirrors only those wait that were made while the one before them took long.
    pub mirror: bool,
}

/// Why threads have made no picture.
#[derive(Debug, Error)]
pub enum ThreadsError {
    /// The request cannot be drawn.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No threads, or too many.
    #[error("{0} threads; give 1 to {THREADS_MAX}")]
    Count(u32),
    /// The system does not give so many threads.
    #[error("cannot start a thread: {0}")]
    NoThread(io::Error),
    /// A strip could not be made.
    #[error("cannot make strip {0}: {1}")]
    Strip(u32, String),
    /// Whoever takes the strips has failed.
    #[error("cannot take a strip: {0}")]
    Taker(io::Error),
}

/// One strip of the picture, in any order.
struct Made {
    index: u32,
    product: Product,
}

/// Renders `request` and hands each encoded strip on, from the top, as soon as it and all above it are there: its index, what is told of
/// it, its bytes. They are the ones that any grid's are. Returns the iterations that the picture asks for, as DONE tells them. Waits until
/// all is done.
///
/// # Errors
/// [`ThreadsError`]; strips that were handed on are good.
pub fn render_on_threads(
    request: &Request,
    threads: Threads,
    on_strip: impl FnMut(u32, StripMeta, &[u8]) -> io::Result<()>,
) -> Result<u64, ThreadsError> {
    request.validate(&Limits::default())?;
    if threads.count == 0 || threads.count > THREADS_MAX {
        return Err(ThreadsError::Count(threads.count));
    }
    let layout = Layout::of(request);
    let pieces = if threads.mirror && request.is_its_own_half_turn() { layout.strips().div_ceil(2) } else { layout.strips() };
    let (next, give_up) = (AtomicU32::new(0), AtomicBool::new(false));
    let (hand_over, made) = sync_channel(WAITING_PER_THREAD * threads.count as usize);
    let work = |hand_over: SyncSender<Made>| {
        let mut bench = Bench::new(threads.engine());
        let taken = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&first| first < pieces);
        while let Some(first) = taken().filter(|_| !give_up.load(Ordering::Relaxed))
            && make(&mut bench, lease(request, first, pieces), &hand_over)
        {}
    };
    thread::scope(|scope| {
        for index in 0..threads.count {
            let (work, hand_over) = (&work, hand_over.clone());
            let started = thread::Builder::new().name(format!("kernel-{index}")).spawn_scoped(scope, move || work(hand_over));
            if let Err(error) = started {
                give_up.store(true, Ordering::Relaxed);
                return Err(ThreadsError::NoThread(error));
            }
        }
        drop(hand_over);
        // Dropped at its end, the receiver tells the threads that nobody wants the rest.
        let taken = in_order(made, on_strip);
        give_up.store(true, Ordering::Relaxed);
        taken
    })
}

impl Threads {
    fn engine(self) -> Engine {
        Engine { kernel: self.kernel.0, mirror: self.mirror, slow_down: 1, no_op: false }
    }
}

/// One strip from the top, and the one that lies opposite where the picture has a mirror and they are two.
fn lease(request: &Request, first: u32, pieces: u32) -> Lease {
    let strips = Layout::of(request).strips();
    let opposite = strips - 1 - first;
    let (attempt, mirrored) = (AttemptId(0), pieces < strips && opposite != first);
    Lease {
        job: JobId(0),
        attempt,
        priority: Priority::Normal,
        lease_ms: 0,
        kind: LeaseKind::Band { first, strips: 1 },
        mirror: mirrored.then_some(MirrorBand { attempt, first: opposite, strips: 1 }),
        request_id: None,
        request: *request,
    }
}

/// Makes what a lease asks for and hands it over. Returns whether anybody wants more.
fn make(bench: &mut Bench, lease: Lease, hand_over: &SyncSender<Made>) -> bool {
    let (watch, mut kept) = (Watch::new(), None);
    parts(&lease).all(|(_, part)| {
        let LeaseKind::Band { first: index, .. } = part else { return false };
        let product = catch_unwind(AssertUnwindSafe(|| bench.make(&lease, part, &mut kept, &watch)));
        let product = product.unwrap_or_else(|panic| Product::Crashed(describe(panic.as_ref())));
        let is_good = matches!(product, Product::Strips { .. });
        hand_over.send(Made { index, product }).is_ok() && is_good
    })
}

/// Hands strips on from the top, and adds up their iterations.
fn in_order(
    made: Receiver<Made>,
    mut on_strip: impl FnMut(u32, StripMeta, &[u8]) -> io::Result<()>,
) -> Result<u64, ThreadsError> {
    let (mut waiting, mut next, mut all) = (BTreeMap::<u32, (StripMeta, Bytes)>::new(), 0, 0);
    for Made { index, product } in made {
        match product {
            Product::Strips { payload, strips, iterations, .. } => {
                all += iterations;
                waiting.extend(strips.first().map(|&meta| (index, (meta, payload))));
            }
            Product::Crashed(reason) | Product::Declined(reason) => return Err(ThreadsError::Strip(index, reason)),
            Product::Samples(_) | Product::Withdrawn => return Err(ThreadsError::Strip(index, "it was withdrawn".to_owned())),
        }
        while let Some((meta, bytes)) = waiting.remove(&next) {
            on_strip(next, meta, &bytes).map_err(ThreadsError::Taker)?;
            next += 1;
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use fractally_proto::{Encoding, Size, Window};

    use super::*;

    fn request(w: u32, h: u32, encoding: Encoding) -> Request {
        let size = Size { w, h };
        Request { size, window: Window::whole(size), encoding, ..Request::default() }
    }

    fn render(request: &Request, count: u32, mirror: bool) -> (u64, Vec<u8>) {
        let (kernel, _) = Kernel::choose(None).unwrap();
        let (mut bytes, mut next) = (Vec::new(), 0);
        let all = render_on_threads(request, Threads { count, kernel, mirror }, |index, meta, strip| {
            assert_eq!((index, meta.encoded_len() as usize), (next, strip.len()));
            next += 1;
            bytes.extend_from_slice(strip);
            Ok(())
        });
        assert_eq!(next, Layout::of(request).strips());
        (all.unwrap(), bytes)
    }

    #[test]
    fn neither_threads_nor_mirrors_change_a_byte_or_the_work() {
        // Of many strips, an odd number of them, and one.
        for (w, h) in [(2000, 700), (3000, 145), (50, 30)] {
            for encoding in [Encoding::Png, Encoding::Counts] {
                let request = request(w, h, encoding);
                let alone = render(&request, 1, false);
                assert!(alone.0 > 0);
                for (count, mirror) in [(1, true), (3, false), (4, true)] {
                    assert!(render(&request, count, mirror) == alone, "{w}x{h}, {count} threads, mirror {mirror}");
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_drawn_or_taken_is_told_and_nothing_hangs() {
        let (kernel, _) = Kernel::choose(None).unwrap();
        let threads = Threads { count: 2, kernel, mirror: true };
        let picture = request(2000, 2000, Encoding::Png);
        let full = |_: u32, _: StripMeta, _: &[u8]| Err(io::Error::other("full"));
        assert!(matches!(render_on_threads(&picture, threads, full), Err(ThreadsError::Taker(_))));
        let wrong = Request { iterations: 0, ..picture };
        assert!(matches!(render_on_threads(&wrong, threads, full), Err(ThreadsError::Refused(_))));
        for count in [0, THREADS_MAX + 1] {
            let many = Threads { count, ..threads };
            assert!(matches!(render_on_threads(&picture, many, full), Err(ThreadsError::Count(_))));
        }
    }
}
