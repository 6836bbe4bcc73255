//! The three stages of the fast kernel, in plain Rust: arrays of lanes that the compiler turns into vector instructions.
//!
//! Points pass through three stages, so that the lanes of a vector stay busy although points live for different times:
//!
//! 1. *Front*: neighbouring points walk together and every step is tested. Most points of most pictures end here.
//! 2. *Main*: survivors sit in lanes that run [`STRIDE`] steps between tests. A lane whose point is done takes the next survivor.
//!    Looking that rarely is allowed where escape is monotone ([`Rule::is_monotone`]); elsewhere every step is tested here too.
//! 3. *Finish*: a point found outside goes back to where it was before the stride and walks it again, tested at every step,
//!    in the company of others.
//!
//! A lane that is done *stands still* rather than being masked: its point and count stop changing, which costs a blend and
//! leaves the escaped point in place for the smooth value.
//!
//! Everything here is generic and always inlined into one function per instruction set ([`super::portable`]), which fixes the
//! number of lanes by the number of vector registers. The same operations run in the same order on every lane, and none may
//! be fused, so all instruction sets give the same bits.

// Lanes are indexed side by side in several arrays: that is the shape which the compiler vectorises.
#![expect(clippy::needless_range_loop, reason = "several arrays are walked by one index")]

use super::{Cancelled, Lattice, Watch};
use crate::escape::{Rule, STEPS_PAST_ESCAPE};

/// Steps of the front stage.
const FRONT: u32 = 32;
/// Steps between two tests of the main stage.
const STRIDE: u32 = 32;
/// Steps between two looks whether any lane still moves; it divides [`FRONT`] and [`STRIDE`].
const GLANCE: u32 = 4;
/// Room for survivors that wait for a lane.
const PENDING: usize = 1024;
/// Room for points that wait for the finish: a batch, and what one round of lanes can add.
const LAST: usize = 256;
/// Lane rounds between two looks at the watch, some 2^17 steps at most: far below a millisecond.
const ROUNDS: u32 = 64;
/// Points between two looks at the watch when all counts are known.
const SETTLE: usize = 1 << 16;
/// The index of a lane without a point.
const NOBODY: u32 = u32::MAX;

/// Where results go, one entry a point. `re` and `im` are empty where only counts are wanted.
pub(super) struct Sink<'a> {
    pub(super) counts: &'a mut [u32],
    pub(super) re: &'a mut [f64],
    pub(super) im: &'a mut [f64],
}

impl Sink<'_> {
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count is a whole number up to the limit, a u32"
    )]
    fn put<const Z: bool>(&mut self, index: usize, x: f64, y: f64, n: f64) {
        self.counts[index] = n as u32;
        if Z {
            self.re[index] = x;
            self.im[index] = y;
        }
    }
}

/// Points side by side: positions, counts (whole numbers), indices. A lane of [`NOBODY`] starts at 0 with a count of -inf and is
/// put back there whenever it gets outside.
struct Lanes<const W: usize> {
    x: [f64; W],
    y: [f64; W],
    n: [f64; W],
    index: [u32; W],
    /// Lanes that hold a point.
    live: u64,
}

/// Points that wait. The stages keep it from overflowing.
struct Queue<const Q: usize> {
    x: [f64; Q],
    y: [f64; Q],
    n: [f64; Q],
    index: [u32; Q],
    len: usize,
}

impl<const Q: usize> Queue<Q> {
    const fn new() -> Self {
        Self { x: [0.0; Q], y: [0.0; Q], n: [0.0; Q], index: [0; Q], len: 0 }
    }

    #[inline(always)]
    fn push(&mut self, x: f64, y: f64, n: f64, index: u32) {
        self.x[self.len] = x;
        self.y[self.len] = y;
        self.n[self.len] = n;
        self.index[self.len] = index;
        self.len += 1;
    }
}

/// The numbers of a [`Rule`] as the lanes use them.
#[derive(Clone, Copy)]
struct Law {
    re: f64,
    im: f64,
    radius_squared: f64,
    limit: f64,
}

impl Law {
    fn new(rule: &Rule) -> Self {
        Self { re: rule.c.re, im: rule.c.im, radius_squared: rule.bailout * rule.bailout, limit: f64::from(rule.limit) }
    }

    #[inline(always)]
    fn step(self, x: f64, y: f64) -> (f64, f64) {
        let xy = x * y;
        ((x + y) * (x - y) + self.re, (xy + xy) + self.im)
    }

    /// Whether the point is not outside. NaN counts as outside: only a point that was outside before becomes NaN.
    #[inline(always)]
    fn holds(self, x: f64, y: f64) -> bool {
        x * x + y * y <= self.radius_squared
    }

    /// [`STRIDE`] steps of every lane, untested.
    #[inline(always)]
    fn stride<const W: usize>(self, x: &mut [f64; W], y: &mut [f64; W], n: &mut [f64; W]) {
        for _ in 0..STRIDE {
            for l in 0..W {
                (x[l], y[l]) = self.step(x[l], y[l]);
            }
        }
        for l in 0..W {
            n[l] += f64::from(STRIDE);
        }
    }

    /// At most `steps` steps of every lane, a multiple of [`GLANCE`]; a lane that is outside stands still, and so does one at
    /// the limit if `LIMITED`.
    #[inline(always)]
    fn walk<const W: usize, const LIMITED: bool>(self, x: &mut [f64; W], y: &mut [f64; W], n: &mut [f64; W], steps: u32) {
        for _ in 0..steps / GLANCE {
            for _ in 0..GLANCE {
                for l in 0..W {
                    let goes = self.holds(x[l], y[l]) & (!LIMITED | (n[l] < self.limit));
                    let next = self.step(x[l], y[l]);
                    n[l] += if goes { 1.0 } else { 0.0 };
                    x[l] = if goes { next.0 } else { x[l] };
                    y[l] = if goes { next.1 } else { y[l] };
                }
            }
            let mut inside = false;
            for l in 0..W {
                inside |= self.holds(x[l], y[l]);
            }
            if !inside {
                break;
            }
        }
    }
}

/// One call of a kernel: `W` lanes in the main stage (a multiple of 8), `G` points at a time in the others, `Z` where z is wanted.
pub(super) struct Run<'a, const W: usize, const G: usize, const Z: bool> {
    law: Law,
    lattice: &'a Lattice<'a>,
    watch: &'a Watch,
    sink: Sink<'a>,
    /// Column, row and index of the front's next point.
    column: usize,
    row: usize,
    next: usize,
    /// Steps that the front takes: [`FRONT`], or less under a low limit.
    front_steps: u32,
    /// Survivors on their way to the main stage.
    pending: Queue<PENDING>,
    /// Points on their way to the finish.
    last: Queue<LAST>,
    /// Iterations told to the watch.
    told: u64,
}

impl<'a, const W: usize, const G: usize, const Z: bool> Run<'a, W, G, Z> {
    #[inline(always)]
    pub(super) fn run(lattice: &'a Lattice<'a>, watch: &'a Watch, sink: Sink<'a>) -> Result<u64, Cancelled> {
        let mut run = Self {
            law: Law::new(&lattice.rule),
            lattice,
            watch,
            sink,
            column: 0,
            row: 0,
            next: 0,
            front_steps: FRONT.min(lattice.rule.limit / GLANCE * GLANCE),
            pending: Queue::new(),
            last: Queue::new(),
            told: 0,
        };
        if lattice.rule.is_monotone() {
            run.main::<true>()?
        } else {
            run.main::<false>()?
        }
        run.finish(1);
        run.settle()
    }

    /// Walks neighbours together until a good number of survivors waits or no points are left.
    #[inline(always)]
    fn front(&mut self) -> Result<(), Cancelled> {
        let mut groups = 0;
        while self.next < self.sink.counts.len() && self.pending.len + G <= PENDING {
            groups += 1;
            if groups % ROUNDS == 0 {
                self.watch.tick(0)?;
            }
            self.front_group();
        }
        Ok(())
    }

    #[inline(always)]
    fn front_group(&mut self) {
        let (mut x, mut y, mut n) = ([f64::INFINITY; G], [0.0; G], [0.0; G]);
        let first = self.next;
        self.load(&mut x, &mut y);
        self.law.walk::<G, false>(&mut x, &mut y, &mut n, self.front_steps);
        let points = self.next - first;
        for l in 0..points {
            self.sink.put::<Z>(first + l, x[l], y[l], n[l]);
        }
        let mut inside = false;
        for l in 0..G {
            inside |= self.law.holds(x[l], y[l]);
        }
        if inside {
            for l in 0..points {
                if self.law.holds(x[l], y[l]) {
                    self.survive(x[l], y[l], n[l], first + l);
                }
            }
            self.finish(G);
        }
    }

    /// Sends a point of the front to the main stage, or to the finish if it is too near the limit for a stride.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "a lattice has fewer than 2^32 points")]
    fn survive(&mut self, x: f64, y: f64, n: f64, index: usize) {
        if self.law.limit - n >= f64::from(STRIDE) {
            self.pending.push(x, y, n, index as u32);
        } else {
            self.last.push(x, y, n, index as u32);
        }
    }

    /// The next `G` points, or as many as are left.
    #[inline(always)]
    fn load(&mut self, x: &mut [f64; G], y: &mut [f64; G]) {
        let columns = self.lattice.columns;
        if self.column + G < columns.len() {
            x.copy_from_slice(&columns[self.column..self.column + G]);
            *y = [self.lattice.rows[self.row]; G];
            self.column += G;
            self.next += G;
            return;
        }
        let points = G.min(self.sink.counts.len() - self.next);
        for l in 0..points {
            x[l] = columns[self.column];
            y[l] = self.lattice.rows[self.row];
            self.column += 1;
            if self.column == columns.len() {
                self.column = 0;
                self.row += 1;
            }
        }
        self.next += points;
    }

    /// Keeps `W` lanes busy with survivors until all have left for the finish.
    #[inline(always)]
    fn main<const MONOTONE: bool>(&mut self) -> Result<(), Cancelled> {
        let mut lanes = Lanes { x: [0.0; W], y: [0.0; W], n: [f64::NEG_INFINITY; W], index: [NOBODY; W], live: 0 };
        for l in 0..W {
            self.refill(&mut lanes, l)?;
        }
        let (mut rounds, mut survived) = (0, 0);
        while lanes.live > 0 {
            let before = (lanes.x, lanes.y);
            if MONOTONE {
                self.law.stride(&mut lanes.x, &mut lanes.y, &mut lanes.n);
            } else {
                self.law.walk::<W, true>(&mut lanes.x, &mut lanes.y, &mut lanes.n, STRIDE);
            }
            survived += self.retire::<MONOTONE>(&mut lanes, &before)?;
            rounds += 1;
            if rounds == ROUNDS {
                let steps = survived * u64::from(STRIDE);
                self.told += steps;
                self.watch.tick(steps)?;
                (rounds, survived) = (0, 0);
            }
        }
        Ok(())
    }

    /// Replaces the points that are done, and says how many are not.
    #[inline(always)]
    fn retire<const MONOTONE: bool>(&mut self, lanes: &mut Lanes<W>, before: &([f64; W], [f64; W])) -> Result<u64, Cancelled> {
        // A lane leaves before a stride could take it past the limit.
        let last_n = self.law.limit - if MONOTONE { f64::from(STRIDE) } else { 1.0 };
        let (mut any, mut done) = (false, [0u8; W]);
        for l in 0..W {
            let d = !self.law.holds(lanes.x[l], lanes.y[l]) | (lanes.n[l] > last_n);
            done[l] = u8::from(d);
            any |= d;
        }
        let mut survived = lanes.live;
        if any {
            let (chunks, _) = done.as_chunks::<8>();
            for (chunk, bytes) in chunks.iter().enumerate() {
                let mut bits = u64::from_le_bytes(*bytes);
                while bits != 0 {
                    let l = chunk * 8 + bits.trailing_zeros() as usize / 8;
                    bits &= bits - 1;
                    survived -= u64::from(lanes.index[l] != NOBODY);
                    self.leave::<MONOTONE>(lanes, before, l);
                    self.refill(lanes, l)?;
                }
            }
            self.finish(G);
        }
        Ok(survived)
    }

    /// Sends the lane's point to the finish, or to its place where its count is known already.
    #[inline(always)]
    fn leave<const MONOTONE: bool>(&mut self, lanes: &mut Lanes<W>, before: &([f64; W], [f64; W]), l: usize) {
        let (x, y, n, index) = (lanes.x[l], lanes.y[l], lanes.n[l], lanes.index[l]);
        if index == NOBODY {
            return;
        }
        lanes.live -= 1;
        if !MONOTONE {
            self.sink.put::<Z>(index as usize, x, y, n);
        } else if self.law.holds(x, y) {
            self.last.push(x, y, n, index);
        } else {
            self.last.push(before.0[l], before.1[l], n - f64::from(STRIDE), index);
        }
    }

    /// Puts a survivor into the lane, or nobody where none are left.
    #[inline(always)]
    fn refill(&mut self, lanes: &mut Lanes<W>, l: usize) -> Result<(), Cancelled> {
        if self.pending.len == 0 {
            self.front()?;
        }
        if let Some(p) = self.pending.len.checked_sub(1) {
            self.pending.len = p;
            lanes.x[l] = self.pending.x[p];
            lanes.y[l] = self.pending.y[p];
            lanes.n[l] = self.pending.n[p];
            lanes.index[l] = self.pending.index[p];
            lanes.live += 1;
        } else {
            lanes.x[l] = 0.0;
            lanes.y[l] = 0.0;
            lanes.n[l] = f64::NEG_INFINITY;
            lanes.index[l] = NOBODY;
        }
        Ok(())
    }

    /// Walks waiting points to their end, while at least `enough` of them wait.
    #[inline(always)]
    fn finish(&mut self, enough: usize) {
        while self.last.len >= enough {
            let points = G.min(self.last.len);
            let first = self.last.len - points;
            let (mut x, mut y, mut n) = ([f64::INFINITY; G], [0.0; G], [0.0; G]);
            x[..points].copy_from_slice(&self.last.x[first..first + points]);
            y[..points].copy_from_slice(&self.last.y[first..first + points]);
            n[..points].copy_from_slice(&self.last.n[first..first + points]);
            self.law.walk::<G, true>(&mut x, &mut y, &mut n, STRIDE);
            for l in 0..points {
                self.sink.put::<Z>(self.last.index[first + l] as usize, x[l], y[l], n[l]);
            }
            self.last.len = first;
        }
    }

    /// Adds up the counts, and takes escaped points the steps past their escape.
    #[inline(always)]
    fn settle(mut self) -> Result<u64, Cancelled> {
        let (mut total, mut first) = (0, 0);
        while first < self.sink.counts.len() {
            let end = self.sink.counts.len().min(first + SETTLE);
            for &count in &self.sink.counts[first..end] {
                total += u64::from(count);
            }
            if Z {
                self.pass_escape(first, end);
            }
            self.watch.tick(0)?;
            first = end;
        }
        self.watch.tick(total - self.told)?;
        Ok(total)
    }

    #[inline(always)]
    fn pass_escape(&mut self, first: usize, end: usize) {
        let limit = self.lattice.rule.limit;
        let counts = &self.sink.counts[first..end];
        let (re, im) = (&mut self.sink.re[first..end], &mut self.sink.im[first..end]);
        for i in 0..counts.len() {
            let mut z = (re[i], im[i]);
            for _ in 0..STEPS_PAST_ESCAPE {
                z = self.law.step(z.0, z.1);
            }
            let escaped = counts[i] < limit;
            re[i] = if escaped { z.0 } else { 0.0 };
            im[i] = if escaped { z.1 } else { 0.0 };
        }
    }
}
