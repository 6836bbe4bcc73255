//! A coarse look at a scene: how much work lies in which rows.
//!
//! The points of a probe are real pixels of the scene on a regular grid, so their iterations are the ones that those pixels will
//! cost. Rows are taken in an order that spreads them over the window from the start, so that a probe which is stopped early
//! still tells of the whole.

use crate::kernel::{Kernel, Lattice, Watch};
use crate::scene::{Scene, Window};

/// The most pixels that [`ProbeGrid::within`] samples.
pub const SAMPLES_MAX: u32 = 65_536;

/// Pixels per call of the kernel: enough to fill its lanes, few enough that little is lost when time is up.
const BATCH: usize = 1024;

/// Which pixels are sampled: every `row_step`-th row, and of it every `column_step`-th column, from half a step in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeGrid {
    /// Distance of sampled rows, at least 1.
    pub row_step: u32,
    /// Distance of sampled columns, at least 1.
    pub column_step: u32,
}

/// What a row costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeRow {
    /// The row, counted from the window's top edge.
    pub row: u32,
    /// Sum of the iterations executed for the row's sampled pixels.
    pub iterations: u64,
    /// Number of the row's sampled pixels.
    pub samples: u32,
}

impl ProbeGrid {
    /// The finest grid of about square cells with at most `samples` pixels of the window; `samples` is at least 1.
    #[must_use]
    pub fn within(window: Window, samples: u32) -> Self {
        let fits = |step: u64| {
            let (rows, columns) = (u64::from(window.h).div_ceil(step), u64::from(window.w).div_ceil(step));
            rows * columns <= u64::from(samples)
        };
        // The product falls as the step grows, and a step of 2^32 leaves one pixel.
        let (mut low, mut high) = (0u64, 1u64 << 32);
        while high - low > 1 {
            let middle = u64::midpoint(low, high);
            if fits(middle) { high = middle } else { low = middle }
        }
        let step = u32::try_from(high).unwrap_or(u32::MAX);
        Self { row_step: step, column_step: step }
    }
}

/// The sampled places among `len`.
fn places(len: u32, step: u32) -> Vec<u32> {
    let step = step.clamp(1, len.max(1));
    (0..len.div_ceil(step)).map(|k| (k * step).saturating_add(step / 2).min(len - 1)).collect()
}

/// `0..len` in bit-reversed order: every prefix is spread over the whole.
fn spread(len: usize) -> impl Iterator<Item = usize> {
    let bits = len.next_power_of_two().trailing_zeros();
    (0..1usize << bits)
        .map(move |k| if bits == 0 { k } else { k.reverse_bits() >> (usize::BITS - bits) })
        .filter(move |&k| k < len)
}

/// Samples the scene on `grid` until all is seen or `watch` says stop, and returns the rows that were seen, from the top down.
///
/// Where time is short, give a [`Watch::until`]: rows found by then are returned. `scene` passes [`Scene::validate`].
pub fn probe(kernel: &dyn Kernel, scene: &Scene, grid: ProbeGrid, watch: &Watch) -> Vec<ProbeRow> {
    let columns: Vec<f64> = places(scene.window.w, grid.column_step).into_iter().map(|column| scene.x(column)).collect();
    let rows = places(scene.window.h, grid.row_step);
    let samples = u32::try_from(columns.len()).expect("a window has fewer than 2^32 columns");
    let order: Vec<u32> = spread(rows.len()).map(|k| rows[k]).collect();
    let mut counts = Vec::new();
    let mut seen = Vec::with_capacity(rows.len());
    for batch in order.chunks((BATCH / columns.len()).max(1)) {
        let ys: Vec<f64> = batch.iter().map(|&row| scene.y(row)).collect();
        let lattice = Lattice { rule: scene.rule(), columns: &columns, rows: &ys };
        counts.resize(lattice.len(), 0);
        if kernel.counts(&lattice, watch, &mut counts).is_err() {
            break;
        }
        for (&row, counts) in batch.iter().zip(counts.chunks(columns.len())) {
            seen.push(ProbeRow { row, iterations: counts.iter().map(|&n| u64::from(n)).sum(), samples });
        }
    }
    seen.sort_by_key(|seen| seen.row);
    seen
}

#[cfg(test)]
mod tests {
    use num_complex::Complex;

    use super::*;
    use crate::kernel;

    fn window(w: u32, h: u32) -> Window {
        Window { x: 0, y: 0, w, h }
    }

    #[test]
    fn grids_keep_to_their_samples() {
        for (w, h) in [(1, 1), (4000, 2000), (1, u32::MAX), (u32::MAX, 1), (u32::MAX, u32::MAX), (256, 256), (257, 256)] {
            for samples in [1, 2, 1000, SAMPLES_MAX] {
                let grid = ProbeGrid::within(window(w, h), samples);
                let count = u64::from(h).div_ceil(grid.row_step.into()) * u64::from(w).div_ceil(grid.column_step.into());
                assert!(count <= u64::from(samples) && count > 0, "{w} x {h}, {samples}: {count}");
            }
        }
        assert_eq!(ProbeGrid::within(window(256, 256), SAMPLES_MAX), ProbeGrid { row_step: 1, column_step: 1 });
    }

    #[test]
    fn places_lie_inside() {
        assert_eq!(places(10, 4), [2, 6, 9]);
        assert_eq!(places(3, 1), [0, 1, 2]);
        assert_eq!(places(3, 100), [1]);
    }

    #[test]
    fn the_order_is_a_spread_permutation() {
        for len in 0..70 {
            let mut order: Vec<usize> = spread(len).collect();
            order.sort_unstable();
            assert!(order.into_iter().eq(0..len));
        }
        assert_eq!(spread(8).take(4).collect::<Vec<_>>(), [0, 4, 2, 6]);
    }

    #[test]
    fn a_full_probe_at_step_one_counts_every_pixel() {
        let scene = Scene::whole(Complex::new(-0.8, 0.156), Complex::new(0.0, 0.0), 4.0, (60, 31), 300);
        let rows = probe(kernel::best(), &scene, ProbeGrid { row_step: 1, column_step: 1 }, &Watch::new());
        assert_eq!(rows.len(), 31);
        for row in rows {
            let escapes = (0..60).map(|i| scene.rule().escape(Complex::new(scene.x(i), scene.y(row.row))));
            assert_eq!((row.samples, row.iterations), (60, escapes.map(|e| u64::from(e.count)).sum()));
        }
    }

    #[test]
    fn a_probe_that_runs_out_of_time_returns_what_it_saw() {
        use std::sync::atomic::{AtomicU32, Ordering};
        let scene = Scene::whole(Complex::new(-0.123, 0.745), Complex::new(0.0, 0.0), 3.0, (1024, 64), 20_000);
        let looks = AtomicU32::new(0);
        let watch = Watch::until(move || looks.fetch_add(1, Ordering::Relaxed) > 400);
        let rows = probe(kernel::best(), &scene, ProbeGrid { row_step: 1, column_step: 1 }, &watch);
        assert!(!rows.is_empty() && rows.len() < 64, "{} rows", rows.len());
    }
}
