//! The main stage: lanes that are never idle while points wait.
//!
//! Positions before and after a stride stand in two buffers that change places: what was *after* is the next *before*, and a point that
//! got outside is found in *before* as it was when it was last inside.

use super::super::Cancelled;
use super::super::isa::Isa;
use super::{Run, STRIDE, lanes_of};

/// Rounds between two looks at the watch: some 2^17 steps, far below a millisecond.
const ROUNDS: u32 = 64;
/// Steps of the hunt for a trap before the first round and at every look at the watch: little beside the work done in between.
const HUNT: u32 = 256;

/// Where the lanes of the main stage are.
#[derive(Clone, Copy)]
struct Positions<I: Isa, const N: usize> {
    x: [I::Vector; N],
    y: [I::Vector; N],
}

/// What the lanes of the main stage hold. A lane without a point walks on from where it is, and is not looked at.
struct Lanes<I: Isa, const N: usize> {
    n: [I::Vector; N],
    index: [I::Vector; N],
    /// Lanes that hold a point, and how many those are.
    live: [u32; N],
    points: u32,
}

/// Which lanes of each vector are done after a stride, and why.
struct Verdict<const N: usize> {
    escaped: [u32; N],
    caught: [u32; N],
    done: [u32; N],
    any: bool,
}

impl<I: Isa, const N: usize, const G: usize, const Z: bool> Run<'_, I, N, G, Z> {
    /// Keeps the lanes busy with survivors until all points have left for the finish.
    #[inline(always)]
    pub(super) fn main(&mut self) -> Result<(), Cancelled> {
        let zero = self.isa.splat(0.0);
        let mut buffers = [Positions { x: [zero; N], y: [zero; N] }; 2];
        let [before, after] = &mut buffers;
        let (mut before, mut after) = (before, after);
        let mut lanes = Lanes { n: [zero; N], index: [zero; N], live: [0; N], points: 0 };
        let mut verdict = Verdict { escaped: [0; N], caught: [0; N], done: [I::ALL; N], any: true };
        let (mut rounds, mut steps) = (0, 0);
        loop {
            if verdict.any {
                if self.pending.len < N * I::LANES {
                    self.front()?;
                }
                for v in 0..N {
                    if verdict.done[v] != 0 {
                        self.leave(&mut lanes, &verdict, before, after, v);
                        self.refill(&mut lanes, after, verdict.done[v], v);
                    }
                }
                let enough = if lanes.points == 0 { 1 } else { G * I::LANES };
                Self::finish(&self.law, &mut self.last, &mut self.sink, enough);
                if lanes.points == 0 {
                    return Ok(());
                }
            }
            if rounds % ROUNDS == 0 {
                self.tally.told += steps;
                self.watch.tick(steps)?;
                steps = 0;
                if let Some(disks) = self.hunt.advance(HUNT) {
                    self.disks = disks;
                }
            }
            rounds += 1;
            std::mem::swap(&mut before, &mut after);
            verdict = self.round(&mut lanes, before, after);
            let done: u32 = verdict.done.iter().map(|bits| bits.count_ones()).sum();
            steps += u64::from(lanes.points - done) * u64::from(STRIDE);
        }
    }

    /// A stride of every lane, and what became of it.
    #[inline(always)]
    fn round(&mut self, lanes: &mut Lanes<I, N>, before: &Positions<I, N>, after: &mut Positions<I, N>) -> Verdict<N> {
        let (s, law) = (self.isa, &self.law);
        let (mut x, mut y) = (before.x, before.y);
        for _ in 0..STRIDE {
            for v in 0..N {
                (x[v], y[v]) = law.step(x[v], y[v]);
            }
        }
        (after.x, after.y) = (x, y);
        let stride = s.splat(f64::from(STRIDE));
        // Beyond this count, a stride could take a point past the limit.
        let last_n = s.sub(law.limit, stride);
        let mut verdict = Verdict { escaped: [0; N], caught: [0; N], done: [0; N], any: false };
        let mut any = 0;
        for v in 0..N {
            let inside = s.bits(law.and_inside(s.everywhere(), x[v], y[v]));
            lanes.n[v] = s.add(lanes.n[v], stride);
            let spent = s.bits(s.and_lt(s.everywhere(), last_n, lanes.n[v]));
            verdict.escaped[v] = !inside & lanes.live[v];
            verdict.done[v] = (!inside | spent) & lanes.live[v];
            any |= verdict.done[v];
        }
        if !self.disks.is_empty() {
            any |= self.catch(lanes, after, &mut verdict);
        }
        verdict.any = any != 0;
        verdict
    }

    /// Looks into one of the disks, another one each time. In the time of k rounds an orbit that follows the cycle of k points then
    /// meets each of them, whatever k has in common with [`STRIDE`]: from round to round it is one place farther than the disk.
    #[inline(always)]
    fn catch(&mut self, lanes: &Lanes<I, N>, after: &Positions<I, N>, verdict: &mut Verdict<N>) -> u32 {
        let s = self.isa;
        let disk = self.disks[self.disk];
        self.disk = (self.disk + STRIDE as usize - 1) % self.disks.len();
        let (re, im, threshold) = (s.splat(disk.center.re), s.splat(disk.center.im), s.splat(disk.threshold()));
        let mut any = 0;
        for v in 0..N {
            let (dx, dy) = (s.sub(after.x[v], re), s.sub(after.y[v], im));
            let within = s.and_lt(s.everywhere(), s.add(s.mul(dx, dx), s.mul(dy, dy)), threshold);
            verdict.caught[v] = s.bits(within) & lanes.live[v];
            verdict.done[v] |= verdict.caught[v];
            any |= verdict.caught[v];
        }
        any
    }

    /// Sends the points of the vector's done lanes to the finish, or to their place where the count is known.
    #[inline(always)]
    fn leave(
        &mut self,
        lanes: &mut Lanes<I, N>,
        verdict: &Verdict<N>,
        before: &Positions<I, N>,
        after: &Positions<I, N>,
        v: usize,
    ) {
        let s = self.isa;
        let (escaped, caught) = (verdict.escaped[v], verdict.caught[v]);
        let done = verdict.done[v] & lanes.live[v];
        let spent = done & !escaped & !caught;
        let (n, index) = (lanes.n[v], lanes.index[v]);
        if escaped != 0 {
            let n = s.sub(n, s.splat(f64::from(STRIDE)));
            self.last.push(s, escaped, [before.x[v], before.y[v], n, index]);
        }
        if spent != 0 {
            self.last.push(s, spent, [after.x[v], after.y[v], n, index]);
        }
        if caught != 0 {
            self.bury(caught, lanes_of(s, n), lanes_of(s, index));
        }
        lanes.live[v] &= !done;
        lanes.points -= done.count_ones();
    }

    /// Records points that never escape. Their z is 0, which the sink's last pass sees to.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts and indices are whole numbers below 2^32"
    )]
    fn bury(&mut self, caught: u32, n: [f64; 8], index: [f64; 8]) {
        let limit = self.lattice.rule.limit;
        let mut bits = caught;
        while bits != 0 {
            let lane = bits.trailing_zeros() as usize;
            bits &= bits - 1;
            let executed = n[lane] as u32;
            let count = if self.mode.costs { executed } else { limit };
            self.sink.counts[index[lane] as usize] = count;
            self.tally.skipped += u64::from(count - executed);
        }
    }

    /// Gives the vector's done lanes new points, as many as wait.
    #[inline(always)]
    fn refill(&mut self, lanes: &mut Lanes<I, N>, after: &mut Positions<I, N>, done: u32, v: usize) {
        let s = self.isa;
        let taken = self.pending.len.min(done.count_ones() as usize);
        let mut filled = done;
        for _ in taken..done.count_ones() as usize {
            filled &= filled - 1;
        }
        self.pending.len -= taken;
        let first = self.pending.len;
        after.x[v] = s.expand(after.x[v], filled, s.load(&self.pending.x[first..]));
        after.y[v] = s.expand(after.y[v], filled, s.load(&self.pending.y[first..]));
        lanes.n[v] = s.expand(lanes.n[v], filled, s.load(&self.pending.n[first..]));
        lanes.index[v] = s.expand(lanes.index[v], filled, s.load(&self.pending.index[first..]));
        lanes.live[v] |= filled;
        lanes.points += filled.count_ones();
    }
}
