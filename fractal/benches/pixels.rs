//! What a pixel costs after its escape time is known: smooth value and colour, then filter and deflate.
//!
//! `paint` counts pixels. `strip` counts raw bytes of a strip in the middle of the default picture, the kernel's work
//! included; the difference to `escapes` and `paint` is what the encoder takes.

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fractally_fractal::colour::{ColourMap, Palette};
use fractally_fractal::kernel::{self, Escapes, Lattice, Watch};
use fractally_fractal::scene::Scene;
use fractally_fractal::strip::{Output, Scratch, render_strip};
use num_complex::Complex;

/// A strip of 256 KiB.
const ROWS: std::ops::Range<u32> = 900..921;

fn pixels(criterion: &mut Criterion) {
    let scene = Scene::whole(Complex::new(-0.8, 0.156), Complex::new(0.0, 0.0), 4.0, (4000, 2000), 256);
    let palette = Palette::new(ColourMap::Inferno, [0, 0, 0], scene.iterations);
    let (mut columns, mut rows, mut escapes, mut rgb) = (vec![], vec![], Escapes::default(), vec![]);
    scene.columns_into(&mut columns);
    scene.rows_into(ROWS, &mut rows);
    let lattice = Lattice { rule: scene.rule(), columns: &columns, rows: &rows };
    let watch = Watch::new();

    let mut group = criterion.benchmark_group("pixels");
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    group.throughput(Throughput::Elements(lattice.len() as u64));
    group.bench_function("escapes", |bencher| bencher.iter(|| kernel::best().escapes(&lattice, &watch, &mut escapes)));
    group.bench_function("paint", |bencher| bencher.iter(|| palette.paint_into(&escapes, &mut rgb)));
    for (name, output) in [("strip of colours", Output::Png(&palette)), ("strip of counts", Output::Counts)] {
        let mut scratch = Scratch::new();
        group.throughput(Throughput::Bytes(output.raw_len(scene.size.0, ROWS.end - ROWS.start)));
        group.bench_function(name, |bencher| {
            bencher.iter(|| render_strip(kernel::best(), &scene, ROWS, &output, &mut scratch, &watch))
        });
    }
    group.finish();
}

criterion_group!(benches, pixels);
criterion_main!(benches);
