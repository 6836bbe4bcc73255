//! Every kernel that the processor runs gives the bits of the definition, for scenes of all kinds.
//!
//! Scenes are drawn from a seed, which a failure prints; `FRACTALLY_SEED` replays one.

use fractally_fractal::kernel::{self, Cancelled, Escapes, Kernel, Lattice, Watch};
use fractally_fractal::scene::{Scene, Window};
use num_complex::Complex;

/// Scenes of a run: some 1e6 points, each given to every kernel.
const SCENES: u64 = 2000;
/// Scenes of a run at the edge of what can be certified: some 1e5 points of long lives.
const SCENES_AT_THE_EDGE: u64 = 300;

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u32) -> u32 {
        u32::try_from(self.next() % u64::from(end)).expect("a remainder of a u32")
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * f64::from(self.below(u32::MAX)) / f64::from(u32::MAX)
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(u32::try_from(of.len()).expect("a short list")) as usize]
    }
}

fn any_scene(random: &mut Random) -> Scene {
    let modulus = match random.below(4) {
        0 => random.pick(&[0.0, 2.0 - 1e-8, 2.0 - 1e-9, 2.0, 2.0 + 1e-9, 1e3, 1e150]),
        1 => random.between(1.9, 2.6),
        _ => random.between(0.0, 1.6),
    };
    let (sin, cos) = random.between(0.0, std::f64::consts::TAU).sin_cos();
    let c = random.pick(&[
        Complex::new(modulus * cos, modulus * sin),
        Complex::new(modulus * cos, modulus * sin),
        Complex::new(-0.8, 0.156),
        Complex::new(-0.123, 0.745),
        Complex::new(0.0, 1.0),
        Complex::new(-0.75, 0.01),
    ]);
    let width = random.pick(&[4.0, 3.2, 0.1, 1e-3, 1e-6, 50.0, 1e10, 1e160, 1e300]);
    let spread = f64::min(width, 1.5);
    let center = Complex::new(random.between(-spread, spread), random.between(-spread, spread));
    let center = if random.below(8) == 0 { Complex::new(2.0, 1e-3) } else { center };
    let size = match random.below(8) {
        0 => (1, 1),
        1 => (7, 3),
        2 => (1, 1 + random.below(3000)),
        3 => (1 + random.below(3000), 1),
        4 => (2 + random.below(3), 500),
        5 => random.pick(&[(8, 8), (24, 7), (48, 5), (64, 3), (65, 65), (129, 17)]),
        _ => (1 + random.below(60), 1 + random.below(60)),
    };
    let window = Window { x: random.below(size.0), y: random.below(size.1), w: 1, h: 1 };
    let window = Window { w: 1 + random.below(size.0 - window.x), h: 1 + random.below(size.1 - window.y), ..window };
    let whole = Window { x: 0, y: 0, w: size.0, h: size.1 };
    let window = if random.below(3) == 0 { window } else { whole };
    let edges = [1, 2, 3, 4, 5, 31, 32, 33, 35, 36, 63, 64, 65, 66, 68, 95, 96, 97, 127, 128, 129, 1000, 3001];
    let iterations = if random.below(2) == 0 { random.pick(&edges) } else { 1 + random.below(300) };
    let bailout = random.pick(&[2.0, 2.0, 2.0, 2.000_001, 2.5, 3.0, 100.0, 12_345.678, 1e9]);
    Scene { window, bailout, ..Scene::whole(c, center, width, size, iterations) }
}

/// A scene whose c lies near the edge of what a trap can be certified for: multipliers near 1 of cycles of period 1 and 2, |c|
/// near 1/4, and small islands with long cycles.
fn scene_at_the_edge(random: &mut Random) -> Scene {
    let modulus = random.pick(&[0.5, 0.9, 0.99, 0.999, 1.0 - 1e-4, 1.0 - 1e-6, 1.0, 1.0 + 1e-9, 1.0 + 1e-3]);
    let angle = random.pick(&[0.0, 0.5, 1.0 / 3.0, 0.4, 0.381_966_011_250_105]);
    let angle = if random.below(2) == 0 { angle } else { random.between(0.0, 1.0) };
    let (sin, cos) = (angle * std::f64::consts::TAU).sin_cos();
    let multiplier = Complex::new(modulus * cos, modulus * sin);
    let c = match random.below(4) {
        0 => multiplier / 2.0 - multiplier * multiplier / 4.0,
        1 => multiplier / 4.0 - 1.0,
        2 => multiplier / 4.0,
        _ => {
            let island = random.pick(&[(-1.754_877_67, 0.0), (-0.122_561, 0.744_862), (-1.310_702_6, 0.0), (-1.625_413_7, 0.0)]);
            Complex::new(island.0, island.1) + multiplier * random.pick(&[0.1, 0.01, 1e-3])
        }
    };
    let center = Complex::new(random.between(-0.5, 0.5), random.between(-0.5, 0.5));
    let size = (1 + random.below(50), 1 + random.below(50));
    let iterations = random.pick(&[70, 129, 1000, 3001]);
    let bailout = random.pick(&[2.0, 2.0, 3.0, 1e6]);
    Scene { bailout, ..Scene::whole(c, center, random.pick(&[3.2, 1.0, 0.1]), size, iterations) }
}

fn escapes(kernel: &dyn Kernel, scene: &Scene) -> Escapes {
    let (mut columns, mut rows, mut escapes) = (vec![], vec![], Escapes::default());
    scene.columns_into(&mut columns);
    scene.rows_into(0..scene.window.h, &mut rows);
    let lattice = Lattice { rule: scene.rule(), columns: &columns, rows: &rows };
    let watch = Watch::new();
    let total = kernel.escapes(&lattice, &watch, &mut escapes).expect("nobody cancels");
    assert_eq!(total, escapes.counts.iter().map(|&n| u64::from(n)).sum::<u64>());
    assert_eq!(total, watch.iterations());
    let mut counts = vec![u32::MAX; lattice.len()];
    assert_eq!(kernel.counts(&lattice, &watch, &mut counts), Ok(total));
    assert!(counts == escapes.counts, "counts and escapes differ in {}: {scene:?}", kernel.name());
    let before = watch.executed();
    let executed = kernel.costs(&lattice, &watch, &mut counts).expect("nobody cancels");
    assert_eq!(executed, watch.executed() - before);
    assert_eq!(executed, counts.iter().map(|&n| u64::from(n)).sum::<u64>());
    let cheap = |(&cost, &count): (&u32, &u32)| cost == count || (cost < count && count == scene.iterations);
    assert!(counts.iter().zip(&escapes.counts).all(cheap), "costs of {}: {scene:?}", kernel.name());
    escapes
}

/// Bits, with all NaNs alike.
fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|v| if v.is_nan() { f64::NAN.to_bits() } else { v.to_bits() }).collect()
}

/// Holds every kernel to the scalar one on scenes made from seeds, and the scalar one to the definition.
fn hold_to_the_definition(scenes: u64, any_scene: impl Fn(&mut Random) -> Scene) {
    let seed = std::env::var("FRACTALLY_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = seed.map_or(1..scenes + 1, |seed| seed..seed + 1);
    let mut points = 0;
    for seed in seeds {
        let random = &mut Random(seed);
        let scene = any_scene(random);
        let rule = scene.rule();
        let scalar = escapes(kernel::all()[0], &scene);
        for (index, &count) in scalar.counts.iter().enumerate() {
            let index = u32::try_from(index).expect("a small scene");
            let (i, j) = (index % scene.window.w, index / scene.window.w);
            assert_eq!(rule.escape(Complex::new(scene.x(i), scene.y(j))).count, count);
        }
        let cut = random.below(scene.window.h + 1);
        for kernel in &kernel::all()[1..] {
            let found = escapes(*kernel, &scene);
            let story = format!("{} with FRACTALLY_SEED={seed}: {scene:?}", kernel.name());
            assert!(found.counts == scalar.counts, "counts of {story}");
            assert!(bits(&found.re) == bits(&scalar.re) && bits(&found.im) == bits(&scalar.im), "z of {story}");
            assert!(counts_in_two_bands(*kernel, &scene, cut) == scalar.counts, "counts cut at row {cut} of {story}");
        }
        points += scalar.counts.len() * (kernel::all().len() - 1);
    }
    println!("{points} points");
}

fn counts_in_two_bands(kernel: &dyn Kernel, scene: &Scene, cut: u32) -> Vec<u32> {
    let (mut columns, mut rows, mut counts) = (vec![], vec![], vec![]);
    scene.columns_into(&mut columns);
    for band in [0..cut, cut..scene.window.h] {
        scene.rows_into(band, &mut rows);
        let lattice = Lattice { rule: scene.rule(), columns: &columns, rows: &rows };
        let first = counts.len();
        counts.resize(first + lattice.len(), u32::MAX);
        kernel.counts(&lattice, &Watch::new(), &mut counts[first..]).expect("nobody cancels");
    }
    counts
}

#[test]
fn every_kernel_gives_the_bits_of_the_definition() {
    hold_to_the_definition(SCENES, any_scene);
}

#[test]
fn traps_change_no_bit_where_they_are_hardest_to_certify() {
    hold_to_the_definition(SCENES_AT_THE_EDGE, scene_at_the_edge);
}

#[test]
fn points_that_a_trap_holds_cost_little() {
    for name in ["avx512", "avx2"] {
        let Some(kernel) = kernel::by_name(name) else { continue };
        // Centres of the discs of period 1 to 5, and the parabolic 1/4.
        for (re, im) in [(0.0, 0.0), (-1.0, 0.0), (-0.1226, 0.7449), (0.2823, 0.5301), (-0.5044, 0.5628), (0.25, 0.0)] {
            let scene = Scene::whole(Complex::new(re, im), Complex::new(0.0, 0.0), 3.2, (64, 64), 1_000_000);
            let (mut columns, mut rows) = (vec![], vec![]);
            scene.columns_into(&mut columns);
            scene.rows_into(0..64, &mut rows);
            let lattice = Lattice { rule: scene.rule(), columns: &columns, rows: &rows };
            let (watch, mut counts) = (Watch::new(), vec![0; lattice.len()]);
            kernel.counts(&lattice, &watch, &mut counts).expect("nobody cancels");
            assert!(counts.contains(&1_000_000));
            assert!(watch.executed() < 2_000_000 && watch.iterations() > 100_000_000, "{re} {im}: {}", watch.executed());
        }
    }
}

#[test]
fn a_point_that_gets_outside_and_comes_back_has_escaped_the_first_time() {
    // Points of the real line under c < -2: 2 + d goes to 2 + 4d - 0.001, which is inside again for the smallest d.
    let scene = Scene::whole(Complex::new(-2.001, 0.0), Complex::new(0.0, 0.0), 4.0, (3001, 1), 1000);
    let rule = scene.rule();
    assert!(!rule.is_monotone());
    let scalar = escapes(kernel::all()[0], &scene);
    let comes_back = |&i: &u32| {
        let mut z = Complex::new(scene.x(i), 0.0);
        let count = scalar.counts[i as usize];
        (0..count).for_each(|_| z = fractally_fractal::escape::step(z, rule.c));
        count > 40 && count < 1000 && !rule.is_outside(fractally_fractal::escape::step(z, rule.c))
    };
    assert!((0..3001).filter(comes_back).count() > 100, "the scene has such points");
    for iterations in (64..=130).chain([1000]) {
        let scene = Scene { iterations, ..scene };
        let scalar = escapes(kernel::all()[0], &scene);
        for kernel in &kernel::all()[1..] {
            assert!(escapes(*kernel, &scene).counts == scalar.counts, "{} at limit {iterations}", kernel.name());
        }
    }
}

#[test]
fn a_window_is_a_crop_of_the_whole() {
    let whole = Scene::whole(Complex::new(-0.8, 0.156), Complex::new(0.1, 0.0), 3.0, (97, 61), 200);
    let crop = Scene { window: Window { x: 13, y: 7, w: 50, h: 40 }, ..whole };
    let (all, part) = (escapes(kernel::best(), &whole), escapes(kernel::best(), &crop));
    for j in 0..40 {
        let start = (j + 7) * 97 + 13;
        assert_eq!(part.counts[j * 50..(j + 1) * 50], all.counts[start..start + 50]);
    }
}

#[test]
fn every_kernel_stops_soon_inside_a_single_long_point() {
    // The orbit of 0 creeps round a fixed point where two discs of the Mandelbrot set touch: nothing certifies it.
    let rule = Scene::whole(Complex::new(-0.75, 0.0), Complex::new(0.0, 0.0), 1.0, (1, 1), 4_000_000_000).rule();
    let lattice = Lattice { rule, columns: &[0.0], rows: &[0.0] };
    for kernel in kernel::all() {
        let watch = Watch::new();
        std::thread::scope(|scope| {
            let run = scope.spawn(|| kernel.counts(&lattice, &watch, &mut [0]));
            while watch.iterations() < 1_000_000 {
                std::thread::yield_now();
            }
            watch.cancel();
            assert_eq!(run.join().expect("no panic"), Err(Cancelled), "{}", kernel.name());
        });
        assert!(watch.iterations() < 4_000_000_000, "{}", kernel.name());
    }
}

#[test]
fn progress_is_told_while_the_work_goes_on() {
    let scene = Scene::whole(Complex::new(-0.123, 0.745), Complex::new(0.0, 0.0), 0.5, (64, 64), 5_000);
    let (mut columns, mut rows) = (vec![], vec![]);
    scene.columns_into(&mut columns);
    scene.rows_into(0..64, &mut rows);
    let lattice = Lattice { rule: scene.rule(), columns: &columns, rows: &rows };
    for kernel in kernel::all() {
        let looks = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
        let counter = looks.clone();
        let watch = Watch::until(move || counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == u32::MAX);
        let total = kernel.counts(&lattice, &watch, &mut vec![0; lattice.len()]).expect("nobody cancels");
        assert_eq!(total, watch.iterations(), "{}", kernel.name());
        let (looks, executed) = (u64::from(looks.load(std::sync::atomic::Ordering::Relaxed)), watch.executed());
        assert!(executed / looks < 200_000, "{}: {looks} looks in {executed} iterations", kernel.name());
    }
}
