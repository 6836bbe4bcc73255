//! What a pixel costs after its escape time is known, stage by stage and as a whole, in one run.
//!
//! The strips are every eighth of the default picture. All throughputs are in pixels a second, of one core: 100 Melem/s are 10 ns
//! a pixel. `strip` is [`render_strip_into`] with a kernel that leaves the escape times where an earlier call put them: what the
//! stages cost together. `escapes` is the fastest kernel, for comparison.

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fractally_fractal::colour::{ColourMap, Palette};
use fractally_fractal::deflate::Deflater;
use fractally_fractal::filter::{sub, up};
use fractally_fractal::kernel::{self, Cancelled, Escapes, Kernel, Lattice, Watch};
use fractally_fractal::scene::Scene;
use fractally_fractal::strip::{Output, Scratch, render_strip_into};
use num_complex::Complex;

/// Rows of a strip of 256 KiB.
const ROWS: u32 = 21;

/// Has nothing to do: the escape times are there.
struct Done;

impl Kernel for Done {
    fn name(&self) -> &'static str {
        "done"
    }

    fn counts(&self, _: &Lattice<'_>, _: &Watch, _: &mut [u32]) -> Result<u64, Cancelled> {
        Ok(0)
    }

    fn escapes(&self, lattice: &Lattice<'_>, _: &Watch, escapes: &mut Escapes) -> Result<u64, Cancelled> {
        assert_eq!(escapes.counts.len(), lattice.len(), "an earlier call found the escape times");
        Ok(0)
    }
}

/// A strip on its way through the stages.
#[derive(Default)]
struct Stages {
    columns: Vec<f64>,
    rows: Vec<f64>,
    escapes: Escapes,
    rgb: Vec<u8>,
    filtered: Vec<u8>,
}

impl Stages {
    fn find_escapes(&mut self, scene: &Scene, watch: &Watch) {
        let lattice = Lattice { rule: scene.rule(), columns: &self.columns, rows: &self.rows };
        kernel::best().escapes(&lattice, watch, &mut self.escapes).expect("nobody cancels");
    }

    fn filter(&mut self) {
        self.filtered.clear();
        let mut above: Option<&[u8]> = None;
        for row in self.rgb.chunks(self.columns.len() * 3) {
            match above {
                None => sub(row, &mut self.filtered),
                Some(above) => up(row, above, &mut self.filtered),
            }
            above = Some(row);
        }
    }
}

fn pixels(criterion: &mut Criterion) {
    let scene = Scene::whole(Complex::new(-0.8, 0.156), Complex::new(0.0, 0.0), 4.0, (4000, 2000), 256);
    let palette = Palette::new(ColourMap::Inferno, [0, 0, 0], scene.iterations);
    let watch = Watch::new();
    let strips: Vec<_> = (0..scene.size.1 / ROWS).step_by(8).map(|strip| strip * ROWS..(strip + 1) * ROWS).collect();
    let mut stages = vec![];
    for rows in &strips {
        let mut stage = Stages::default();
        scene.columns_into(&mut stage.columns);
        scene.rows_into(rows.clone(), &mut stage.rows);
        stages.push(stage);
    }

    let mut group = criterion.benchmark_group("pixels");
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2)).sample_size(20);
    group.throughput(Throughput::Elements(strips.len() as u64 * u64::from(ROWS * scene.size.0)));
    // A stage's input is what the one before left, also where a filter of the command line skips that one.
    stages.iter_mut().for_each(|stage| stage.find_escapes(&scene, &watch));
    group.bench_function("escapes", |bencher| {
        bencher.iter(|| stages.iter_mut().for_each(|stage| stage.find_escapes(&scene, &watch)));
    });
    let paint = |stage: &mut Stages| palette.paint_into(&stage.escapes, &mut stage.rgb);
    stages.iter_mut().for_each(paint);
    group.bench_function("smooth value and colour", |bencher| bencher.iter(|| stages.iter_mut().for_each(paint)));
    stages.iter_mut().for_each(Stages::filter);
    group.bench_function("filter", |bencher| bencher.iter(|| stages.iter_mut().for_each(Stages::filter)));
    group.bench_function("adler32", |bencher| {
        bencher.iter(|| stages.iter().map(|stage| simd_adler32::adler32(&stage.filtered.as_slice())).fold(0, u32::wrapping_add));
    });
    let (mut deflater, mut bytes) = (Deflater::default(), vec![]);
    group.bench_function("deflate", |bencher| {
        bencher.iter(|| {
            for stage in &stages {
                bytes.clear();
                deflater.deflate(&stage.filtered, &mut bytes, &watch).expect("nobody cancels");
            }
        });
    });
    let output = Output::Png(&palette);
    let mut strip = |kernel: &dyn Kernel, scratches: &mut [Scratch]| {
        for (rows, scratch) in strips.iter().zip(scratches) {
            bytes.clear();
            render_strip_into(kernel, &scene, rows.clone(), &output, scratch, &watch, &mut bytes).expect("nobody cancels");
        }
    };
    let mut scratches: Vec<_> = strips.iter().map(|_| Scratch::new()).collect();
    strip(kernel::best(), &mut scratches);
    group.bench_function("strip", |bencher| bencher.iter(|| strip(&Done, &mut scratches)));
    group.bench_function("strip with escapes", |bencher| bencher.iter(|| strip(kernel::best(), &mut scratches)));
    group.finish();
}

criterion_group!(benches, pixels);
criterion_main!(benches);
