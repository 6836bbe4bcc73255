//! The mirror z -> -z: where a picture is its own half-turn, half of it is enough.
//!
//! z and -z have the same square, so all that follows their first step is the same, down to the bits: x + y and x - y change their
//! signs together, which leaves their product, and x*y keeps its value. |z_0| is the same too. So are count and z past escape.
//!
//! Only zeros need a look. x + y = 0 is +0 on both sides, so the product with x - y is +0 here and -0 there; and where y = +0 on both
//! sides, as in the middle row of an odd image, so is x*y. Adding c makes the two alike, except where the part of c is -0: such a c
//! has no mirror here.
//!
//! Pixels are mirror images where the centre is exactly 0: i + 1/2 - w/2 is exact, changes its sign with i -> w - 1 - i, and so
//! does every later operation. This is a matter of whole rows: a row read backwards is its mirror's.

use std::collections::BTreeMap;
use std::ops::Range;

use num_complex::Complex;

use crate::kernel::{Cancelled, Kernel, Lattice, Watch};
use crate::scene::Scene;

/// Says which rows of a window are one another's mirror images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mirror {
    /// Sum of a row and its mirror, counted from the window's top edge.
    sum: i64,
    /// Rows of the window.
    rows: u32,
}

impl Mirror {
    /// The mirror of the scene, where it has one: the centre is 0, no part of c is -0, and the window's columns are their own mirror
    /// image.
    #[must_use]
    pub fn of(scene: &Scene) -> Option<Self> {
        let window = scene.window;
        let negative_zero = |v: f64| v == 0.0 && v.is_sign_negative();
        let exact = scene.center == Complex::new(0.0, 0.0) && !negative_zero(scene.c.re) && !negative_zero(scene.c.im);
        let columns = u64::from(window.x) * 2 + u64::from(window.w) == u64::from(scene.size.0);
        let sum = i64::from(scene.size.1) - 1 - 2 * i64::from(window.y);
        (exact && columns).then_some(Self { sum, rows: window.h })
    }

    /// The row that holds this row's values backwards, if it lies in the window. A row in the middle is its own.
    #[must_use]
    pub fn row(&self, row: u32) -> Option<u32> {
        u32::try_from(self.sum - i64::from(row)).ok().filter(|&mirror| mirror < self.rows)
    }

    /// The rows of `rows` whose mirror is another row of `rows`, above them: an empty range where there are none.
    #[must_use]
    pub fn below(&self, rows: &Range<u32>) -> Range<u32> {
        let clamp = |row: i64| u32::try_from(row.clamp(i64::from(rows.start), i64::from(rows.end))).unwrap_or(rows.end);
        // Row r has the mirror sum - r; that is above r from here on, and in the range up to there.
        let start = clamp(self.sum.div_euclid(2) + 1);
        start..clamp(self.sum - i64::from(rows.start) + 1).max(start)
    }
}

/// Rows that were rendered, for as long as their mirror images are still to come.
///
/// It belongs to one picture and to the rows that are asked for together, from top to bottom. It holds at most half of them, raw.
#[derive(Debug)]
pub struct Kept {
    mirror: Mirror,
    wanted: Vec<Range<u32>>,
    /// Where each kept row begins in `bytes`, and the sum of its counts.
    rows: BTreeMap<u32, (usize, u64)>,
    bytes: Vec<u8>,
}

impl Kept {
    /// Nothing yet, of the rows in `wanted`.
    #[must_use]
    pub fn new(mirror: Mirror, wanted: Vec<Range<u32>>) -> Self {
        Self { mirror, wanted, rows: BTreeMap::new(), bytes: Vec::new() }
    }

    /// Whether `row` need not be computed: its mirror is kept, or will be, as it lies before it in `strip`.
    pub(crate) fn spares(&self, row: u32, strip: &Range<u32>) -> bool {
        let earlier = self.mirror.row(row).filter(|&mirror| mirror < row && self.wants(row));
        earlier.is_some_and(|mirror| strip.contains(&mirror) || self.rows.contains_key(&mirror))
    }

    fn wants(&self, row: u32) -> bool {
        self.wanted.iter().any(|rows| rows.contains(&row))
    }

    /// Takes a computed row of pixels, if its mirror is still to come.
    pub(crate) fn keep(&mut self, row: u32, pixels: &[u8], counts: &[u32]) {
        if self.mirror.row(row).is_some_and(|mirror| mirror > row && self.wants(mirror)) {
            let sum = counts.iter().copied().map(u64::from).sum();
            self.rows.insert(row, (self.bytes.len(), sum));
            self.bytes.extend_from_slice(pixels);
        }
    }

    /// Writes the pixels, `N` bytes each, of a row that is spared. Returns the sum of its counts.
    pub(crate) fn mirrored<const N: usize>(&self, row: u32, pixels: &mut [u8]) -> u64 {
        let kept = self.mirror.row(row).and_then(|mirror| self.rows.get(&mirror));
        let &(at, sum) = kept.expect("a row is spared only where its mirror is kept");
        let (from, _) = self.bytes[at..at + pixels.len()].as_chunks::<N>();
        let (to, _) = pixels.as_chunks_mut::<N>();
        to.iter_mut().zip(from.iter().rev()).for_each(|(to, from)| *to = *from);
        sum
    }
}

/// Writes the escape times of the rows' pixels, computing only one of each two rows that are mirror images, and returns their sum.
///
/// `counts` has an entry for every pixel of the window's rows `rows`. The watch hears of mirrored iterations too, but not as
/// executed ones. The bits are those of [`Kernel::counts`].
///
/// # Errors
/// [`Cancelled`] within 5 ms of [`Watch::cancel`].
pub fn counts(kernel: &dyn Kernel, scene: &Scene, rows: Range<u32>, watch: &Watch, counts: &mut [u32]) -> Result<u64, Cancelled> {
    let width = scene.window.w as usize;
    let at = |row: u32| (row - rows.start) as usize * width;
    let below = Mirror::of(scene).map_or(rows.end..rows.end, |mirror| mirror.below(&rows));
    let (mut xs, mut ys) = (Vec::new(), Vec::new());
    scene.columns_into(&mut xs);
    let mut total = 0;
    for part in [rows.start..below.start, below.end..rows.end] {
        let counts = &mut counts[at(part.start)..at(part.end)];
        scene.rows_into(part, &mut ys);
        total += kernel.counts(&Lattice { rule: scene.rule(), columns: &xs, rows: &ys }, watch, counts)?;
    }
    // The mirrored rows, taken together, are the rows before their start, read backwards: less the row that is its own mirror.
    let source_rows = below.end - below.start;
    let Some(mirror) = Mirror::of(scene).filter(|_| source_rows > 0) else { return Ok(total) };
    let first = mirror.row(below.end - 1).expect("the range was made of rows whose mirror lies in it");
    let (above, mirrored) = counts[..at(below.end)].split_at_mut(at(below.start));
    let source = &above[at(first)..at(first + source_rows)];
    let mut copied = 0;
    for (to, &count) in mirrored.iter_mut().zip(source.iter().rev()) {
        *to = count;
        copied += u64::from(count);
    }
    watch.settle(copied, copied)?;
    Ok(total + copied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{self, Escapes};
    use crate::scene::Window;

    fn scene(re: f64, im: f64, size: (u32, u32), window: Window) -> Scene {
        Scene { window, ..Scene::whole(Complex::new(re, im), Complex::new(0.0, 0.0), 3.1, size, 300) }
    }

    fn whole(size: (u32, u32)) -> Window {
        Window { x: 0, y: 0, w: size.0, h: size.1 }
    }

    #[test]
    fn rows_and_their_mirrors_have_the_same_bits_backwards() {
        for size in [(8, 6), (7, 5), (1, 1), (31, 2), (2, 31), (64, 33)] {
            for (re, im) in [(-0.8, 0.156), (0.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.25, 0.0), (-0.123, 0.745)] {
                let scene = scene(re, im, size, whole(size));
                let mirror = Mirror::of(&scene).expect("centre 0");
                let (mut xs, mut ys, mut escapes) = (vec![], vec![], Escapes::default());
                scene.columns_into(&mut xs);
                scene.rows_into(0..size.1, &mut ys);
                let lattice = Lattice { rule: scene.rule(), columns: &xs, rows: &ys };
                kernel::all()[0].escapes(&lattice, &Watch::new(), &mut escapes).expect("nobody cancels");
                for row in 0..size.1 {
                    let other = mirror.row(row).expect("the whole image is its own mirror");
                    for column in 0..size.0 {
                        let index = |i: u32, j: u32| (j * size.0 + i) as usize;
                        let (a, b) = (index(column, row), index(size.0 - 1 - column, other));
                        assert_eq!(escapes.counts[a], escapes.counts[b]);
                        assert_eq!(escapes.re[a].to_bits(), escapes.re[b].to_bits(), "{scene:?} {column} {row}");
                        assert_eq!(escapes.im[a].to_bits(), escapes.im[b].to_bits(), "{scene:?} {column} {row}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_not_its_own_half_turn_has_no_mirror() {
        let size = (8, 6);
        let plain = scene(0.1, 0.2, size, whole(size));
        assert!(Mirror::of(&plain).is_some());
        assert_eq!(Mirror::of(&Scene { center: Complex::new(1e-300, 0.0), ..plain }), None);
        assert_eq!(Mirror::of(&scene(-0.0, 0.2, size, whole(size))), None);
        assert_eq!(Mirror::of(&scene(0.1, -0.0, size, whole(size))), None);
        assert_eq!(Mirror::of(&scene(0.1, 0.2, size, Window { x: 1, y: 0, w: 5, h: 6 })), None);
        assert!(Mirror::of(&scene(0.1, 0.2, size, Window { x: 1, y: 5, w: 6, h: 1 })).is_some());
    }

    #[test]
    fn mirrored_counts_are_the_computed_ones_for_every_range_of_rows() {
        for size in [(9, 12), (10, 11)] {
            for (y, h) in [(0, size.1), (1, 9), (3, 8), (0, 3), (7, 4)] {
                let scene = scene(-0.123, 0.745, size, Window { x: 2, y, w: size.0 - 4, h });
                for start in 0..h {
                    for end in start..=h {
                        let pixels = ((end - start) * scene.window.w) as usize;
                        let (mut found, mut sum, watch) = (vec![u32::MAX; pixels], 0, Watch::new());
                        let total = counts(kernel::best(), &scene, start..end, &watch, &mut found).expect("nobody cancels");
                        for (k, &count) in found.iter().enumerate() {
                            let k = u32::try_from(k).expect("a small scene");
                            let (i, j) = (k % scene.window.w, start + k / scene.window.w);
                            assert_eq!(count, scene.rule().escape(Complex::new(scene.x(i), scene.y(j))).count);
                            sum += u64::from(count);
                        }
                        assert_eq!((total, watch.iterations()), (sum, sum), "{start}..{end} of {scene:?}");
                        let mirrored = Mirror::of(&scene).expect("centre 0").below(&(start..end)).len();
                        assert!(watch.executed() < sum || mirrored == 0);
                    }
                }
            }
        }
    }

    #[test]
    fn half_of_a_whole_image_is_computed() {
        for (h, half) in [(12, 6..12), (11, 6..11), (1, 1..1)] {
            let size = (9, h);
            assert_eq!(Mirror::of(&scene(0.1, 0.2, size, whole(size))).map(|m| m.below(&(0..h))), Some(half));
        }
    }
}
