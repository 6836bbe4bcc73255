//! The three stages of the fast kernels, written once over the words of an [`Isa`].
//!
//! Points live for very different times, and a vector is as slow as its longest-lived lane. So points pass through stages:
//!
//! 1. *Front*: `G` vectors of neighbours walk together and every step is tested. Most points of most pictures end here; those
//!    still inside after [`FRONT`] steps are pressed together into a queue.
//! 2. *Main*: `N` vectors, as many as the units need to stay busy, run [`STRIDE`] steps between tests. A lane whose point is done takes
//!    the next one from the queue. Looking that rarely is allowed because escape is monotone ([`Rule::is_monotone`]); where it is
//!    not, these stages are not used.
//! 3. *Finish*: a point found outside goes back to where it was before the stride and walks it again in the company of others,
//!    tested at every step. So does the last stretch before the limit.
//!
//! A point that the main stage finds in a certified disk ([`super::trap`]) never escapes; its count is the limit there and then.
//!
//! The main stage has a file of its own, [`middle`]. All of it is inlined into the entry points of [`super::vectors`]. Every operation on a point is one of [`crate::escape`], in
//! the same order, so the bits are the same.

mod middle;

use super::isa::Isa;
use super::sink::{Sink, Tally};
use super::trap::{Disk, Hunt};
use super::{Cancelled, Lattice, Watch};
use crate::escape::Rule;

/// Steps of the front stage.
const FRONT: u32 = 32;
/// Steps between two tests of the main stage.
const STRIDE: u32 = 32;
/// Steps between two looks whether any lane still moves; it divides [`FRONT`] and [`STRIDE`].
const GLANCE: u32 = 2;
/// Room for survivors of the front: what the lanes can take at once, and more to make a trip to the front worth it.
const PENDING: usize = 512;
/// Room for points on their way to the finish: a batch, and what one round of the lanes can add.
const LAST: usize = 192;
/// The most points that walk together in the front.
const GROUP_MAX: usize = 64;
/// Queues are read and written by whole vectors, so they have room for one more.
const SLOP: usize = 8;
/// Groups of the front between two looks at the watch: some 2^18 steps.
const GROUPS: u32 = 256;

/// What a run is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mode {
    /// Whether to look for disks that no orbit leaves.
    pub(super) trap: bool,
    /// Whether the steps executed are written in place of the counts.
    pub(super) costs: bool,
}

/// Points that wait: positions, counts, indices. The stages keep it from overflowing.
struct Queue<const Q: usize> {
    x: [f64; Q],
    y: [f64; Q],
    n: [f64; Q],
    index: [f64; Q],
    len: usize,
}

impl<const Q: usize> Queue<Q> {
    const fn new() -> Self {
        Self { x: [0.0; Q], y: [0.0; Q], n: [0.0; Q], index: [0.0; Q], len: 0 }
    }

    /// Adds the lanes of `bits`.
    #[inline(always)]
    fn push<I: Isa>(&mut self, isa: I, bits: u32, [x, y, n, index]: [I::Vector; 4]) {
        let at = self.len..self.len + I::LANES;
        isa.store(isa.compress(x, bits), &mut self.x[at.clone()]);
        isa.store(isa.compress(y, bits), &mut self.y[at.clone()]);
        isa.store(isa.compress(n, bits), &mut self.n[at.clone()]);
        isa.store(isa.compress(index, bits), &mut self.index[at]);
        self.len += bits.count_ones() as usize;
    }
}

/// The numbers of a [`Rule`] in every lane.
struct Law<I: Isa> {
    isa: I,
    re: I::Vector,
    im: I::Vector,
    radius_squared: I::Vector,
    limit: I::Vector,
}

impl<I: Isa> Law<I> {
    #[inline(always)]
    fn new(isa: I, rule: &Rule) -> Self {
        let splat = |value| isa.splat(value);
        let radius_squared = splat(rule.bailout * rule.bailout);
        Self { isa, re: splat(rule.c.re), im: splat(rule.c.im), radius_squared, limit: splat(f64::from(rule.limit)) }
    }

    #[inline(always)]
    fn step(&self, x: I::Vector, y: I::Vector) -> (I::Vector, I::Vector) {
        let s = self.isa;
        (s.add(s.mul(s.add(x, y), s.sub(x, y)), self.re), s.twice_plus(s.mul(x, y), self.im))
    }

    /// Where `mask` holds and the point is not outside. NaN counts as outside: only a point that was outside before becomes NaN.
    #[inline(always)]
    fn and_inside(&self, mask: I::Mask, x: I::Vector, y: I::Vector) -> I::Mask {
        let s = self.isa;
        s.and_le(mask, s.add(s.mul(x, x), s.mul(y, y)), self.radius_squared)
    }

    /// At most `steps` steps, a multiple of [`GLANCE`], each tested. A lane that is found outside, or at the limit if `LIMITED`, is
    /// counted no further, and stands still if `Z`. Returns the lanes that took every step.
    #[inline(always)]
    fn walk<const G: usize, const LIMITED: bool, const Z: bool>(
        &self,
        x: &mut [I::Vector; G],
        y: &mut [I::Vector; G],
        n: &mut [I::Vector; G],
        steps: u32,
    ) -> [I::Mask; G] {
        let s = self.isa;
        let mut goes = [s.everywhere(); G];
        for _ in 0..steps / GLANCE {
            for _ in 0..GLANCE {
                for g in 0..G {
                    goes[g] = self.and_inside(goes[g], x[g], y[g]);
                    if LIMITED {
                        goes[g] = s.and_lt(goes[g], n[g], self.limit);
                    }
                    n[g] = s.count(n[g], goes[g]);
                    let next = self.step(x[g], y[g]);
                    x[g] = if Z { s.select(goes[g], next.0, x[g]) } else { next.0 };
                    y[g] = if Z { s.select(goes[g], next.1, y[g]) } else { next.1 };
                }
            }
            let mut any = 0;
            for goes in goes {
                any |= s.bits(goes);
            }
            if any == 0 {
                break;
            }
        }
        goes
    }
}

/// One call of a kernel: `N` vectors in the main stage, `G` in the others, `Z` where z is wanted.
pub(super) struct Run<'a, I: Isa, const N: usize, const G: usize, const Z: bool> {
    isa: I,
    law: Law<I>,
    lattice: &'a Lattice<'a>,
    watch: &'a Watch,
    sink: Sink<'a>,
    mode: Mode,
    /// Column, row and index of the front's next point.
    column: usize,
    row: usize,
    next: usize,
    /// The imaginary part of a row in every place, and which row that is.
    splat_row: [f64; GROUP_MAX],
    row_of_splat: usize,
    /// Coordinates of a group that a row ends in.
    gathered: ([f64; GROUP_MAX], [f64; GROUP_MAX]),
    /// Steps that the front takes: [`FRONT`], or less under a low limit.
    front_steps: u32,
    /// Survivors on their way to the main stage.
    pending: Queue<{ PENDING + SLOP }>,
    /// Points on their way to the finish.
    last: Queue<{ LAST + SLOP }>,
    hunt: Hunt,
    disks: Vec<Disk>,
    /// The disk to look into next.
    disk: usize,
    tally: Tally,
}

impl<'a, I: Isa, const N: usize, const G: usize, const Z: bool> Run<'a, I, N, G, Z> {
    /// Runs the call; the rule's escape is monotone.
    #[inline(always)]
    pub(super) fn run(isa: I, lattice: &'a Lattice<'a>, watch: &'a Watch, sink: Sink<'a>, mode: Mode) -> Result<u64, Cancelled> {
        let mut run = Self::new(isa, lattice, watch, sink, mode);
        if lattice.rule.limit - run.front_steps >= STRIDE {
            run.main()?;
        } else {
            run.short()?;
        }
        run.sink.settle::<Z>(&lattice.rule, watch, run.tally)
    }

    #[inline(always)]
    fn new(isa: I, lattice: &'a Lattice<'a>, watch: &'a Watch, sink: Sink<'a>, mode: Mode) -> Self {
        Self {
            isa,
            law: Law::new(isa, &lattice.rule),
            lattice,
            watch,
            sink,
            mode,
            column: 0,
            row: 0,
            next: 0,
            splat_row: [0.0; GROUP_MAX],
            row_of_splat: usize::MAX,
            gathered: ([0.0; GROUP_MAX], [0.0; GROUP_MAX]),
            front_steps: FRONT.min(lattice.rule.limit / GLANCE * GLANCE),
            pending: Queue::new(),
            last: Queue::new(),
            hunt: Hunt::new(lattice.rule, mode.trap),
            disks: Vec::new(),
            disk: 0,
            tally: Tally::default(),
        }
    }

    /// The front and the finish alone, where the limit leaves no room for a stride.
    #[inline(always)]
    fn short(&mut self) -> Result<(), Cancelled> {
        loop {
            self.front()?;
            if self.pending.len == 0 {
                return Ok(());
            }
            Self::finish(&self.law, &mut self.pending, &mut self.sink, 1);
        }
    }

    /// Walks neighbours together until a good number of survivors waits or no points are left.
    #[inline(always)]
    fn front(&mut self) -> Result<(), Cancelled> {
        let mut groups = 0;
        while self.next < self.sink.counts.len() && self.pending.len + G * I::LANES <= PENDING {
            self.front_group();
            groups += 1;
            if groups % GROUPS == 0 {
                self.watch.tick(0)?;
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn front_group(&mut self) {
        let s = self.isa;
        let first = self.next;
        let (mut x, mut y) = self.load();
        let mut n = [s.splat(0.0); G];
        let goes = self.law.walk::<G, false, Z>(&mut x, &mut y, &mut n, self.front_steps);
        let whole = first + G * I::LANES == self.next;
        for g in 0..G {
            let at = first + g * I::LANES;
            let mut bits = s.bits(goes[g]);
            if whole || at + I::LANES <= self.next {
                self.put_vector(at, x[g], y[g], n[g]);
            } else if at < self.next {
                self.put_lanes(at, x[g], y[g], n[g]);
                bits &= (1 << (self.next - at)) - 1;
            } else {
                bits = 0;
            }
            if bits != 0 {
                let index = s.add(s.splat(at as f64), s.load(&LANE_NUMBERS));
                self.pending.push(s, bits, [x[g], y[g], n[g], index]);
            }
        }
    }

    #[inline(always)]
    fn put_vector(&mut self, at: usize, x: I::Vector, y: I::Vector, n: I::Vector) {
        self.isa.store_u32(n, &mut self.sink.counts[at..at + I::LANES]);
        if Z {
            self.isa.store(x, &mut self.sink.re[at..at + I::LANES]);
            self.isa.store(y, &mut self.sink.im[at..at + I::LANES]);
        }
    }

    /// The same where fewer points are left than there are lanes.
    #[inline(always)]
    fn put_lanes(&mut self, at: usize, x: I::Vector, y: I::Vector, n: I::Vector) {
        let [x, y, n] = [x, y, n].map(|vector| lanes_of(self.isa, vector));
        for index in at..self.next {
            self.sink.put::<Z>(index, x[index - at], y[index - at], n[index - at]);
        }
    }

    /// The next points, as many as a group has; lanes beyond the last point are outside from the start.
    #[inline(always)]
    fn load(&mut self) -> ([I::Vector; G], [I::Vector; G]) {
        let (s, group) = (self.isa, G * I::LANES);
        // Both ways end in memory, so that there is one set of loads.
        let left = self.lattice.columns.len() - self.column;
        let (columns, rows): (&[f64], &[f64]) = if left >= group {
            let columns = &self.lattice.columns[self.column..self.column + group];
            if self.row_of_splat != self.row {
                self.splat_row = [self.lattice.rows[self.row]; GROUP_MAX];
                self.row_of_splat = self.row;
            }
            self.next += group;
            (self.column, self.row) = if left == group { (0, self.row + 1) } else { (self.column + group, self.row) };
            (columns, &self.splat_row)
        } else {
            self.gather(group);
            (&self.gathered.0, &self.gathered.1)
        };
        (std::array::from_fn(|g| s.load(&columns[g * I::LANES..])), std::array::from_fn(|g| s.load(&rows[g * I::LANES..])))
    }

    /// The next points where a row ends among them.
    #[inline(never)]
    fn gather(&mut self, group: usize) {
        let (xs, ys) = &mut self.gathered;
        xs.fill(f64::INFINITY);
        let points = group.min(self.sink.counts.len() - self.next);
        for (x, y) in xs.iter_mut().zip(ys).take(points) {
            (*x, *y) = (self.lattice.columns[self.column], self.lattice.rows[self.row]);
            self.column += 1;
            if self.column == self.lattice.columns.len() {
                (self.column, self.row) = (0, self.row + 1);
            }
        }
        self.next += points;
    }

    /// Walks waiting points to their end, while at least `enough` of them wait.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index is a whole number below 2^32")]
    fn finish<const Q: usize>(law: &Law<I>, queue: &mut Queue<Q>, sink: &mut Sink<'_>, enough: usize) {
        let s = law.isa;
        while queue.len >= enough {
            let points = queue.len.min(G * I::LANES);
            queue.len -= points;
            let first = queue.len;
            let (mut x, mut y, mut n) = ([s.splat(f64::INFINITY); G], [s.splat(0.0); G], [s.splat(0.0); G]);
            for g in 0..points.div_ceil(I::LANES) {
                let at = first + g * I::LANES;
                (x[g], y[g], n[g]) = (s.load(&queue.x[at..]), s.load(&queue.y[at..]), s.load(&queue.n[at..]));
            }
            law.walk::<G, true, Z>(&mut x, &mut y, &mut n, STRIDE);
            for g in 0..points.div_ceil(I::LANES) {
                let [x, y, n] = [x[g], y[g], n[g]].map(|vector| lanes_of(s, vector));
                let at = first + g * I::LANES;
                for lane in 0..I::LANES.min(first + points - at) {
                    sink.put::<Z>(queue.index[at + lane] as usize, x[lane], y[lane], n[lane]);
                }
            }
        }
    }
}

/// The numbers of the lanes.
const LANE_NUMBERS: [f64; 8] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];

#[inline(always)]
fn lanes_of<I: Isa>(isa: I, vector: I::Vector) -> [f64; 8] {
    let mut lanes = [0.0; 8];
    isa.store(vector, &mut lanes);
    lanes
}

#[cfg(test)]
mod tests;
