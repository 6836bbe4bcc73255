//! How near the kernels are to what the processor can do, and how far from plain C: `cargo bench -p fractally-fractal --bench limits`.
//!
//! Prints a table: every scene, every kernel, on one thread and on all cores, in G iterations/s (the sum of the counts over the wall
//! time), beside the bound (see [`bound`]) measured in the same run and a C baseline (`baseline.c`) compiled here. Runs of all
//! contestants take turns, so that a machine that changes its pace changes it for all; compare within one run only. S3 and S5p are
//! sampled, a band of every so many.
//!
//! `-- S1 S4` limits the run to some scenes, `-- S3q avx512` also to some kernels; `-- interior` is the comparison of trap and
//! symmetry on the whole of S3.

mod baseline;
mod bound;
mod scenes;

use std::time::Instant;

use baseline::Baseline;
use fractally_fractal::kernel::{self, Kernel, Watch};
use fractally_fractal::symmetry;
use scenes::{Work, scenes};

/// Turns of every contestant.
const TURNS: usize = 5;
/// A contestant that has used this many seconds on a scene takes no more turns.
const PATIENCE: f64 = 6.0;

/// What `run` returns, and the seconds it took.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
pub(crate) fn timed<T>(run: impl FnOnce() -> T) -> (T, f64) {
    let started = Instant::now();
    let made = run();
    (made, started.elapsed().as_secs_f64())
}

/// Seconds of the turns taken, sorted when they are read.
#[derive(Default)]
struct Times(Vec<f64>);

impl Times {
    fn has_turns_left(&self) -> bool {
        self.0.len() < TURNS && self.0.iter().sum::<f64>() < PATIENCE
    }

    fn sorted(&self) -> Vec<f64> {
        let mut times = self.0.clone();
        times.sort_by(f64::total_cmp);
        times
    }

    fn median(&self) -> f64 {
        let times = self.sorted();
        times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// Median rate with its spread, as text, in G/s.
    fn rate(&self, iterations: u64) -> String {
        let (times, giga) = (self.sorted(), iterations as f64 / 1e9);
        match times[..] {
            [] => "-".to_owned(),
            [least, .., most] => format!("{:.2} ({:.2}-{:.2})", giga / self.median(), giga / most, giga / least),
            [only] => format!("{:.2} (one turn)", giga / only),
        }
    }
}

/// What of the table is wanted.
struct Wanted(Vec<String>);

impl Wanted {
    fn is(&self, name: &str, among: &[&str]) -> bool {
        let named: Vec<&String> = self.0.iter().filter(|word| among.contains(&word.as_str())).collect();
        named.is_empty() || named.iter().any(|word| *word == name)
    }
}

fn main() {
    let wanted = Wanted(std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let bound = bound::measure();
    match bound {
        Some((name, rate)) => println!("bound of one core: {rate:.2} G/s at first ({name}); it takes turns with the kernels"),
        None => println!("NO BOUND: this processor has none of the instructions that it is measured with"),
    }
    let baseline = Baseline::compile().map_err(|why| println!("NO C BASELINE, the ratios are missing: {why}")).ok();
    let interior = wanted.0.iter().any(|word| word == "interior");
    if !interior || wanted.0.len() > 1 {
        println!("{cores} cores; G iterations/s: median of up to {TURNS} turns (least-most)\n");
        println!("scene kernel              one thread            of bound  ns/pixel  all cores             times C");
        let all = scenes();
        let names: Vec<&str> = all.iter().map(|work| work.name).collect();
        for work in all.iter().filter(|work| wanted.is(work.name, &names)) {
            compare(work, &wanted, cores, baseline.as_ref());
        }
    }
    if interior || wanted.0.is_empty() {
        compare_shortcuts();
    }
}

/// One scene's part of the table.
fn compare(work: &Work, wanted: &Wanted, cores: usize, baseline: Option<&Baseline>) {
    let names: Vec<&str> = kernel::all().iter().map(|kernel| kernel.name()).collect();
    let kernels: Vec<&dyn Kernel> = kernel::all().into_iter().filter(|kernel| wanted.is(kernel.name(), &names)).collect();
    let mut counts = vec![0; work.scene.size.0 as usize * work.scene.size.1 as usize];
    let iterations = work.run(kernel::best(), cores, &mut counts);
    let (mut alone, mut together, mut c, mut bound) = (vec![], vec![], Times::default(), Times::default());
    alone.resize_with(kernels.len(), Times::default);
    together.resize_with(kernels.len(), Times::default);
    for _ in 0..TURNS {
        for (k, &kernel) in kernels.iter().enumerate() {
            bound.0.extend(bound::measure().map(|(_, rate)| 1.0 / rate));
            for (threads, times) in [(1, &mut alone[k]), (cores, &mut together[k])] {
                if times.has_turns_left() {
                    let (found, seconds) = timed(|| work.run(kernel, threads, &mut counts));
                    assert_eq!(found, iterations, "{} on {}", kernel.name(), work.name);
                    times.0.push(seconds);
                }
            }
        }
        if let Some(baseline) = baseline.filter(|_| c.has_turns_left()) {
            let (seconds, found) = baseline.run(work);
            let off = (found as f64 / iterations as f64 - 1.0).abs();
            assert!(off < 0.01, "the C baseline draws another picture than {}: {found} iterations, not {iterations}", work.name);
            c.0.push(seconds);
        }
    }
    let sample = if work.every == 1 { String::new() } else { format!(", one band of {}", work.every) };
    let bound = 1.0 / bound.median();
    let (giga, mega) = (iterations as f64 / 1e9, work.pixels() as f64 / 1e6);
    println!("{}: {giga:.3} G iterations, {mega:.2} M pixels{sample}; bound {bound:.2} G/s", work.name);
    for (k, kernel) in kernels.iter().enumerate() {
        println!(
            "      {:18} {:22} {:6.1} % {:9.2}  {:22} {:6.2}",
            kernel.name(),
            alone[k].rate(iterations),
            giga / alone[k].median() / bound * 100.0,
            alone[k].median() * 1e9 / work.pixels() as f64,
            together[k].rate(iterations),
            c.median() / together[k].median(),
        );
    }
    println!("      {:18} {:44}  {}", "C, OpenMP", "", c.rate(iterations));
}

/// The trap and the mirror on and off, on the whole of S3, on one thread.
fn compare_shortcuts() {
    let [_, _, Work { scene, .. }, ..] = scenes();
    let plain = kernel::all().into_iter().rfind(|kernel| kernel.name().ends_with("-plain")).unwrap_or_else(kernel::best);
    let (rows, mut counts) = (scene.size.1, vec![0; scene.size.0 as usize * scene.size.1 as usize]);
    let mut run = |kernel: &dyn Kernel, mirror: bool| {
        let strip = if mirror { rows } else { 8 };
        let (watch, width) = (Watch::new(), scene.size.0 as usize);
        let (iterations, seconds) = timed(|| {
            (0..rows)
                .step_by(strip as usize)
                .zip(counts.chunks_mut(strip as usize * width))
                .map(|(first, counts)| {
                    symmetry::counts(kernel, &scene, first..rows.min(first + strip), &watch, counts).expect("nobody cancels")
                })
                .sum::<u64>()
        });
        (iterations, watch.executed(), seconds)
    };
    println!("\nS3 whole, one thread: {} and {}", plain.name(), kernel::best().name());
    let cases =
        [("both off", plain, false), ("mirror", plain, true), ("trap", kernel::best(), false), ("both", kernel::best(), true)];
    let mut times: [Times; 4] = Default::default();
    let mut executed = [0; 4];
    let mut expected = None;
    for _ in 0..TURNS {
        for (k, (name, kernel, mirror)) in cases.iter().enumerate() {
            let (iterations, done, seconds) = run(*kernel, *mirror);
            assert_eq!(*expected.get_or_insert(iterations), iterations, "{name}");
            executed[k] = done;
            times[k].0.push(seconds);
        }
    }
    for (k, (name, ..)) in cases.iter().enumerate() {
        let seconds = times[k].sorted();
        println!(
            "      {name:10} {:8.4} s ({:.4}-{:.4})  {:7.1} times as fast  {:7.3} G executed",
            times[k].median(),
            seconds[0],
            seconds[seconds.len() - 1],
            times[0].median() / times[k].median(),
            executed[k] as f64 / 1e9,
        );
    }
}
