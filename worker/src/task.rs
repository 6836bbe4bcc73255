//! What a lease becomes: encoded strips, or samples.

use std::{ops::Range, time::Duration};

use bytes::Bytes;
use fractally_fractal::{
    colour::{self, Palette},
    kernel::{Cancelled, Kernel, Watch},
    probe::{ProbeGrid, ProbeRow, probe},
    scene::{Scene, Window},
    strip::{Output, Picture, Scratch},
    symmetry::{Kept, Mirror},
};
use fractally_proto::{
    AttemptId, Band, BandFailed, BandFailure, Colour, Encoding, Grid, Layout, Lease, LeaseKind, Limits, Message, Request,
    RequestId, RowSample, Samples, StripMeta, Tile, limits,
};
use num_complex::Complex;
use tracing::field::{DisplayValue, display};

use crate::pool::{as_nanos, read_clock};

/// A finished task.
pub(crate) struct Outcome {
    pub(crate) attempt: AttemptId,
    /// What the job is called in logs.
    pub(crate) request_id: Option<RequestId>,
    pub(crate) elapsed: Duration,
    pub(crate) product: Product,
}

/// What came of it.
pub(crate) enum Product {
    /// The encoded strips of a band.
    Strips { payload: Bytes, strips: Vec<StripMeta>, iterations: u64, executed: u64 },
    /// The rows that a probe sampled.
    Samples(Vec<RowSample>),
    /// It was withdrawn while it ran.
    Withdrawn,
    /// The lease asks for what cannot be done.
    Declined(String),
    /// The kernel panicked.
    Crashed(String),
}

impl Outcome {
    /// A lease that was given back before a thread took it.
    pub(crate) fn unstarted(attempt: AttemptId, product: Product) -> Self {
        Self { attempt, request_id: None, elapsed: Duration::ZERO, product }
    }

    /// The message that tells the broker.
    pub(crate) fn into_message(self) -> Message {
        let Self { attempt, request_id: _, elapsed, product } = self;
        let failed = |failure, mut reason: String| {
            reason.truncate(reason.floor_char_boundary(limits::TEXT_BYTES_MAX));
            Message::BandFailed(BandFailed { attempt, failure, reason })
        };
        match product {
            Product::Strips { payload, strips, iterations, executed } => {
                let (crc32, compute_ns) = (crc32fast::hash(&payload), as_nanos(elapsed));
                let executed = (executed != iterations).then_some(executed);
                Message::Tile(Tile { attempt, iterations, executed, compute_ns, crc32, strips }, payload)
            }
            Product::Samples(rows) => {
                Message::Samples(Samples { attempt, compute_ns: as_nanos(elapsed) }, RowSample::encode(&rows))
            }
            Product::Withdrawn => failed(BandFailure::Withdrawn, String::new()),
            Product::Declined(reason) => failed(BandFailure::Declined, reason),
            Product::Crashed(reason) => failed(BandFailure::Crashed, reason),
        }
    }
}

/// What a job is called, as a field of log lines: none where it is called nothing.
pub(crate) fn shown(request_id: Option<&RequestId>) -> Option<DisplayValue<&RequestId>> {
    request_id.map(display)
}

/// The tries that a lease stands for: its own, and that at the mirror band.
pub(crate) fn attempts(lease: &Lease) -> impl Iterator<Item = AttemptId> + use<> {
    [Some(lease.attempt), lease.mirror.map(|mirror| mirror.attempt)].into_iter().flatten()
}

/// What each of the [`attempts`] asks for.
pub(crate) fn parts(lease: &Lease) -> impl Iterator<Item = (AttemptId, LeaseKind)> + use<> {
    let mirror = lease.mirror.map(|mirror| (mirror.attempt, LeaseKind::Band { first: mirror.first, strips: mirror.strips }));
    [Some((lease.attempt, lease.kind)), mirror].into_iter().flatten()
}

/// A watch for the work on a lease: a probe's runs out by itself.
pub(crate) fn watch_for(lease: &Lease) -> Watch {
    match lease.kind {
        LeaseKind::Band { .. } => Watch::new(),
        LeaseKind::Probe(grid) => {
            let (started, budget) = (read_clock(), Duration::from_millis(grid.budget_ms.into()));
            Watch::until(move || read_clock() - started >= budget)
        }
    }
}

/// What a thread computes with.
#[derive(Clone, Copy)]
pub(crate) struct Engine {
    pub(crate) kernel: &'static dyn Kernel,
    /// Whether rows are spared whose mirror images are rendered under the same lease.
    pub(crate) mirror: bool,
    /// Each part of a lease takes so many times as long.
    pub(crate) slow_down: u32,
    /// Whether nothing is computed.
    pub(crate) no_op: bool,
}

/// One thread's tools: the engine, its scratch memory, and the palette of the last request.
pub(crate) struct Bench {
    engine: Engine,
    scratch: Scratch,
    palette: Option<((Colour, u32), Palette)>,
}

impl Bench {
    /// Tools round an engine.
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine, scratch: Scratch::new(), palette: None }
    }

    /// Does one of the [`parts`] of a lease. The broker's word is checked as any peer's. `kept` is what the parts share: nothing before
    /// the first.
    pub(crate) fn make(&mut self, lease: &Lease, part: LeaseKind, kept: &mut Option<Kept>, watch: &Watch) -> Product {
        if let Err(refusal) = lease.request.validate(&Limits::default()) {
            return Product::Declined(refusal.to_string());
        }
        let scene = scene_of(&lease.request);
        let layout = Layout::of(&lease.request);
        let made = match part {
            LeaseKind::Band { .. } => {
                let band = match band_of(&layout, part) {
                    Ok(band) => band,
                    Err(reason) => return Product::Declined(reason),
                };
                if self.engine.no_op {
                    return nothing(band);
                }
                if self.engine.mirror && kept.is_none() {
                    *kept = kept_for(lease, &scene, &layout);
                }
                self.make_strips(&lease.request, &scene, band.range().map(|strip| layout.rows_of(strip)), kept.as_mut(), watch)
            }
            LeaseKind::Probe(grid) => Ok(self.make_samples(&scene, grid, watch)),
        };
        made.unwrap_or(Product::Withdrawn)
    }

    fn make_strips(
        &mut self,
        request: &Request,
        scene: &Scene,
        rows: impl ExactSizeIterator<Item = Range<u32>>,
        mut kept: Option<&mut Kept>,
        watch: &Watch,
    ) -> Result<Product, Cancelled> {
        let output = match request.encoding {
            Encoding::Counts => Output::Counts,
            Encoding::Png => Output::Png(palette_of(&mut self.palette, request)),
        };
        let picture = Picture { kernel: self.engine.kernel, scene, output, watch };
        let before = watch.executed();
        let (mut payload, mut strips, mut iterations) = (Vec::new(), Vec::with_capacity(rows.len()), 0);
        for rows in rows {
            let made = picture.strip_into(rows, kept.as_deref_mut(), &mut self.scratch, &mut payload)?;
            let len = u32::try_from(made.len).expect("a strip fits a frame");
            strips.push(StripMeta(len, made.adler32));
            iterations += made.iterations;
        }
        Ok(Product::Strips { payload: payload.into(), strips, iterations, executed: watch.executed() - before })
    }

    fn make_samples(&self, scene: &Scene, grid: Grid, watch: &Watch) -> Product {
        let grid = ProbeGrid { row_step: grid.rows.max(1), column_step: grid.cols.max(1) };
        let window = scene.window;
        let sampled = u64::from(window.w.div_ceil(grid.column_step)) * u64::from(window.h.div_ceil(grid.row_step));
        if sampled > u64::from(limits::PROBE_PIXELS_MAX) {
            return Product::Declined(format!("a probe of {sampled} pixels; the limit is {}", limits::PROBE_PIXELS_MAX));
        }
        let row = |ProbeRow { row, iterations, samples }| RowSample { row, pixels: samples, iterations };
        Product::Samples(probe(self.engine.kernel, scene, grid, watch).into_iter().map(row).collect())
    }
}

/// A tile of one byte a strip, which is no picture.
fn nothing(band: Band) -> Product {
    let strips = vec![StripMeta(1, 1); band.strips as usize];
    Product::Strips { payload: vec![0; band.strips as usize].into(), strips, iterations: 1, executed: 1 }
}

/// The band that is asked for, if the picture has it.
fn band_of(layout: &Layout, kind: LeaseKind) -> Result<Band, String> {
    match kind {
        LeaseKind::Band { first, strips } => {
            let fits = first < layout.strips() && strips > 0 && strips <= layout.band_strips_max(first);
            let no_band = || format!("strips {first}+{strips} are no band of {} strips", layout.strips());
            fits.then_some(Band { first, strips }).ok_or_else(no_band)
        }
        LeaseKind::Probe(_) => Err("a probe is no band".to_owned()),
    }
}

/// Room for the rows of a lease whose mirror images belong to it as well, where the picture has a mirror.
fn kept_for(lease: &Lease, scene: &Scene, layout: &Layout) -> Option<Kept> {
    let mirror = Mirror::of(scene)?;
    let bands = parts(lease).filter_map(|(_, kind)| band_of(layout, kind).ok());
    Some(Kept::new(mirror, bands.map(|band| layout.rows_of_band(band)).collect()))
}

/// The palette of a request. Bands of one request follow one another, so it is kept.
fn palette_of<'a>(kept: &'a mut Option<((Colour, u32), Palette)>, request: &Request) -> &'a Palette {
    let key = (request.colour, request.iterations);
    let fresh = || {
        let map = colour::by_name(request.colour.map.name()).expect("every name of the protocol has a table");
        (key, Palette::new(map, request.colour.interior, request.iterations))
    };
    let entry = match kept.take() {
        Some(entry) if entry.0 == key => entry,
        _ => fresh(),
    };
    &kept.insert(entry).1
}

fn scene_of(request: &Request) -> Scene {
    Scene {
        c: Complex::new(request.c[0], request.c[1]),
        center: Complex::new(request.center[0], request.center[1]),
        width: request.width,
        size: (request.size.w, request.size.h),
        window: Window { x: request.window.x, y: request.window.y, w: request.window.w, h: request.window.h },
        iterations: request.iterations,
        bailout: request.bailout,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fractally_proto::ColourMap;

    #[test]
    fn every_colour_map_of_the_protocol_has_a_table() {
        for map in ColourMap::ALL {
            assert!(colour::by_name(map.name()).is_some(), "{map}");
        }
    }
}
