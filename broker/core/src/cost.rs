//! How much work rows are: a model that starts as a guess, learns from tiles, and is replaced by what a probe found.
//!
//! Work is counted in units: one iteration of one pixel, plus a constant a pixel for colour, filter and deflate. Numbers that peers
//! sent are clamped before they enter, so every cost here is finite, positive and at most about 1e21. Not here: how work becomes
//! time (`fleet` knows speeds) and how large a band shall be (`schedule`).

use std::ops::Range;

use fractally_proto::{Encoding, Grid, Request, RowSample, limits};

/// Pixels, and pixels times iteration limit, above which a job is worth a probe. What cannot take a second of one core is over
/// before a probe has paid for itself: the talk's scene lost 2 % by it.
const PROBE_ABOVE_PIXELS: u64 = 524_288;
const PROBE_ABOVE_WORK: u64 = 4_000_000_000;
/// One pixel in so many is sampled: 0.4 % of the work.
const PROBE_ONE_IN: u64 = 256;
/// Milliseconds that a probe may take.
pub(crate) const PROBE_BUDGET_MS: u32 = 50;
/// Iterations a pixel as long as nothing is known.
const GUESS_ITERATIONS: f64 = 32.0;

/// The cost of the rows of one request, in units.
#[derive(Debug)]
pub(crate) struct CostModel {
    width: u32,
    rows: u32,
    iterations_max: u32,
    encoding: Encoding,
    basis: Basis,
}

#[derive(Debug)]
enum Basis {
    /// Nothing is known.
    Guess,
    /// Iterations a pixel in the tiles so far, the latest with the most weight.
    Tiles(f64),
    /// What the probe found.
    Probe(Curve),
}

/// Cost along the rows: linear between sampled rows, constant beyond the first and the last.
#[derive(Debug)]
struct Curve {
    points: Vec<Point>,
}

#[derive(Clone, Copy, Debug)]
struct Point {
    row: u32,
    /// Units that this row costs.
    cost: f64,
    /// Units of all rows before it.
    before: f64,
}

/// Units a pixel of a PNG costs beside its iterations: colour, filter and deflate take as long as so many of them.
const PNG: f64 = 24.0;
/// The same for raw counts, which are only written.
const COUNTS: f64 = 8.0;

fn per_pixel(encoding: Encoding) -> f64 {
    match encoding {
        Encoding::Png => PNG,
        Encoding::Counts => COUNTS,
    }
}

impl CostModel {
    pub(crate) fn new(request: &Request) -> Self {
        let (width, rows) = (request.window.w, request.window.h);
        Self { width, rows, iterations_max: request.iterations, encoding: request.encoding, basis: Basis::Guess }
    }

    /// Units that `rows` cost, at least one.
    pub(crate) fn cost(&self, rows: Range<u32>) -> f64 {
        let cost = match &self.basis {
            Basis::Guess => self.uniform(GUESS_ITERATIONS.min(f64::from(self.iterations_max)), &rows),
            Basis::Tiles(iterations) => self.uniform(*iterations, &rows),
            Basis::Probe(curve) => curve.before(rows.end) - curve.before(rows.start),
        };
        cost.max(1.0)
    }

    /// Units of `rows` whose pixels need no iterations.
    pub(crate) fn cost_of_pixels(&self, rows: Range<u32>) -> f64 {
        self.uniform(0.0, &rows)
    }

    /// Units that a rendered tile took.
    pub(crate) fn cost_of_tile(&self, pixels: u64, iterations: u64) -> f64 {
        self.credible(pixels, iterations) as f64 + pixels as f64 * per_pixel(self.encoding)
    }

    /// Whether [`Self::cost`] rests on anything measured.
    pub(crate) fn basis_is_measured(&self) -> bool {
        !matches!(self.basis, Basis::Guess)
    }

    /// Whether [`Self::cost`] rests on a probe.
    pub(crate) fn basis_is_probe(&self) -> bool {
        matches!(self.basis, Basis::Probe(_))
    }

    pub(crate) fn learn_from_tile(&mut self, pixels: u64, iterations: u64) {
        let seen = self.credible(pixels, iterations) as f64 / pixels.max(1) as f64;
        self.basis = match std::mem::replace(&mut self.basis, Basis::Guess) {
            Basis::Guess => Basis::Tiles(seen),
            Basis::Tiles(so_far) => Basis::Tiles(so_far + (seen - so_far) / 4.0),
            Basis::Probe(curve) => Basis::Probe(curve),
        };
    }

    /// Takes what is credible in `samples`: rows of the picture with at least one pixel. Nothing credible changes nothing.
    pub(crate) fn learn_from_probe(&mut self, mut samples: Vec<RowSample>) {
        samples.truncate(limits::PROBE_PIXELS_MAX as usize);
        samples.retain(|sample| sample.row < self.rows && sample.pixels > 0);
        samples.sort_unstable_by_key(|sample| (sample.row, sample.pixels, sample.iterations));
        samples.dedup_by_key(|sample| sample.row);
        if samples.is_empty() {
            return;
        }
        let mut points: Vec<Point> = Vec::with_capacity(samples.len());
        for sample in samples {
            let pixels = u64::from(sample.pixels);
            let iterations = self.credible(pixels, sample.iterations) as f64 / pixels as f64;
            let cost = (iterations + per_pixel(self.encoding)) * f64::from(self.width);
            let before = match points.last() {
                None => f64::from(sample.row) * cost,
                Some(last) => last.before + f64::from(sample.row - last.row) * (last.cost + cost) / 2.0,
            };
            points.push(Point { row: sample.row, cost, before });
        }
        self.basis = Basis::Probe(Curve { points });
    }

    /// No more iterations than the pixels can have taken.
    pub(crate) fn credible(&self, pixels: u64, iterations: u64) -> u64 {
        iterations.min(pixels.saturating_mul(u64::from(self.iterations_max)))
    }

    fn uniform(&self, iterations: f64, rows: &Range<u32>) -> f64 {
        f64::from(rows.end.saturating_sub(rows.start)) * f64::from(self.width) * (iterations + per_pixel(self.encoding))
    }
}

impl Curve {
    /// Units of all rows before `row`.
    fn before(&self, row: u32) -> f64 {
        let after = self.points.partition_point(|point| point.row <= row);
        match (after.checked_sub(1).map(|last| self.points[last]), self.points.get(after)) {
            (None, None) => 0.0,
            (None, Some(next)) => next.before - f64::from(next.row - row) * next.cost,
            (Some(last), None) => last.before + f64::from(row - last.row) * last.cost,
            (Some(last), Some(next)) => {
                let (run, way) = (f64::from(next.row - last.row), f64::from(row - last.row));
                last.before + way * (last.cost + (next.cost - last.cost) * way / (2.0 * run))
            }
        }
    }
}

/// The probe of a request, where the request is large enough to deserve one: a square grid of pixels, 0.4 % of them, at most
/// [`limits::PROBE_PIXELS_MAX`].
pub(crate) fn probe_of(request: &Request) -> Option<Grid> {
    let work = request.pixels().saturating_mul(request.iterations.into());
    if request.pixels() <= PROBE_ABOVE_PIXELS || work <= PROBE_ABOVE_WORK {
        return None;
    }
    let (w, h) = (u64::from(request.window.w), u64::from(request.window.h));
    let samples_max = (request.pixels() / PROBE_ONE_IN).min(u64::from(limits::PROBE_PIXELS_MAX));
    let distance = (request.pixels() / samples_max).isqrt().max(1);
    let cols = distance.min(w).max(w.div_ceil(samples_max));
    let rows = h.div_ceil((samples_max / w.div_ceil(cols)).max(1));
    let narrow = |distance: u64| u32::try_from(distance).unwrap_or(u32::MAX).max(1);
    Some(Grid { rows: narrow(rows), cols: narrow(cols), budget_ms: PROBE_BUDGET_MS })
}

#[cfg(test)]
mod tests {
    use fractally_proto::{Size, Window};

    use super::*;

    fn request(w: u32, h: u32, iterations: u32) -> Request {
        let size = Size { w, h };
        Request { size, window: Window::whole(size), iterations, ..Request::default() }
    }

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() <= 1e-9 * a.abs().max(b.abs()), "{a} is not {b}");
    }

    #[test]
    fn a_probe_never_samples_more_than_it_may() {
        assert_eq!(probe_of(&request(1024, 512, 1_000_000)), None, "it is small");
        assert_eq!(probe_of(&request(4000, 2000, 256)), None, "it cannot take long");
        let talk = probe_of(&request(4000, 2000, 1000)).unwrap();
        assert_eq!((talk.rows, talk.cols), (16, 16));
        for (w, h) in
            [(1025, 512), (1, 1_000_000), (1_000_000, 1), (1_000_000, 1_000_000), (3, 300_000), (87_382, 7), (65_537, 9)]
        {
            let Some(grid) = probe_of(&request(w, h, 1_000_000)) else { panic!("{w}x{h} deserves a probe") };
            let sampled = u64::from(w.div_ceil(grid.cols)) * u64::from(h.div_ceil(grid.rows));
            assert!(sampled <= u64::from(limits::PROBE_PIXELS_MAX), "{w}x{h}: {sampled}");
            assert!(sampled * PROBE_ONE_IN <= 2 * u64::from(w) * u64::from(h), "{w}x{h}: {sampled}");
        }
    }

    #[test]
    fn costs_of_neighbours_add_up() {
        let mut model = CostModel::new(&request(1000, 1000, 256));
        let rows = |model: &CostModel| {
            close(model.cost(0..1000), model.cost(0..137) + model.cost(137..701) + model.cost(701..1000));
        };
        rows(&model);
        model.learn_from_tile(10_000, 1_000_000);
        rows(&model);
        let sample = |row, iterations| RowSample { row, pixels: 10, iterations };
        model.learn_from_probe(vec![sample(600, 1500), sample(100, 30), sample(900, 0), sample(300, 2000)]);
        rows(&model);
        close(model.cost(0..100), 100.0 * 1000.0 * (3.0 + PNG));
        close(model.cost(900..1000), 100.0 * 1000.0 * PNG);
        close(model.cost(100..300), 200.0 * 1000.0 * ((3.0 + 200.0) / 2.0 + PNG));
    }

    #[test]
    fn a_hostile_number_is_harmless() {
        let mut model = CostModel::new(&request(1000, 1000, 256));
        model.learn_from_tile(0, u64::MAX);
        model.learn_from_tile(u64::MAX, u64::MAX);
        model.learn_from_probe(vec![
            RowSample { row: u32::MAX, pixels: 1, iterations: 1 },
            RowSample { row: 1, pixels: 0, iterations: 9 },
        ]);
        assert!(!model.basis_is_probe());
        model.learn_from_probe(vec![RowSample { row: 7, pixels: u32::MAX, iterations: u64::MAX }; 100_000]);
        let cost = model.cost(0..1000);
        close(cost, 1e6 * (256.0 + PNG));
    }
}
