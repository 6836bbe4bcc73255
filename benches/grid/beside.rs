//! How long somebody waits for a small picture on a grid that has nothing else to do, and on one whose threads are all in second-long
//! bands of a batch job: in blocks by turns, so that a slow moment of the machine strikes both.

use std::{
    thread,
    time::{Duration, Instant},
};

use fractally_proto::{JobId, Priority, Request, Size, TryEnd, Window};
use fractally_testkit::{Dice, Lab};
use tokio::runtime::Runtime;

use crate::{
    grid::{Asker, Grid},
    second_of_work,
};

const WORKERS: usize = 2;
/// Renders of one block.
const BLOCK: usize = 10;
/// The longest pause before a render: it may fall at any time of a band.
const PAUSE_MAX_MS: u64 = 1000;

/// One interactive render.
struct Waited {
    all: Duration,
    /// From acceptance to its first lease, ms.
    leased_ms: u64,
    /// From that lease to its end.
    first_band: Duration,
}

/// Prints both latencies over at least `renders` renders each, and the length of the batch job's bands.
pub(crate) fn compare(lab: &Lab, renders: usize, runtime: &Runtime) {
    let grid = Grid::start(lab, WORKERS, &[]);
    let (user, batch) = (grid.seen_by("user"), grid.seen_by("batch"));
    let mut dice = Dice::new(1);
    let mut key = 0;
    let mut block = |count: usize, into: &mut Vec<Waited>| {
        for _ in 0..count {
            thread::sleep(dice.millis(0..PAUSE_MAX_MS));
            key += 1;
            into.push(wait(&user, key, runtime));
        }
    };
    block(BLOCK, &mut Vec::new());
    let (mut idle, mut beside, mut bands) = (Vec::new(), Vec::new(), Vec::new());
    // What the batch bands took of threads, and how many they were: their time in queues is not counted.
    let (mut thread_ns, mut delivered) = (0, 0);
    while beside.len() < renders {
        block(BLOCK, &mut idle);
        let job = batch.keep(runtime, 1 << 64 | beside.len() as u128, long_batch(beside.len()), Priority::Batch);
        // Until the first bands have taught the broker how long others take.
        await_bands(&batch, job, runtime);
        block(BLOCK, &mut beside);
        thread_ns += batch.list(runtime).iter().find(|listed| listed.job == job).map_or(0, |listed| listed.compute_ns);
        let story = batch.story(runtime, job);
        delivered += story.bands;
        let tries = story.tries;
        bands.extend(tries.iter().filter(|tried| tried.end == TryEnd::Delivered).map(|tried| tried.lasted_us as f64 / 1e6));
        batch.cancel(runtime, job);
        let is_free = |status: &serde_json::Value| {
            status["workers"].as_array().is_some_and(|workers| workers.iter().all(|worker| worker["leases"] == 0))
        };
        grid.broker.await_status(lab, "the workers have nothing to do", is_free);
    }
    bands.sort_by(f64::total_cmp);
    for (name, waited) in [("idle", &idle), ("beside a batch job", &beside)] {
        let ms = |of: fn(&Waited) -> f64| quantiles(waited.iter().map(of).collect());
        println!(
            "512x512, {name}: {} renders, {} ms; first lease after {} ms, which ended after {} ms",
            waited.len(),
            ms(|waited| waited.all.as_secs_f64() * 1e3),
            ms(|waited| waited.leased_ms as f64),
            ms(|waited| waited.first_band.as_secs_f64() * 1e3),
        );
    }
    println!("a batch band took {:.3} s of a thread on average", thread_ns as f64 / 1e9 / delivered as f64);
    let p90 = bands[bands.len() * 9 / 10];
    println!(
        "{} bands of the batch job lasted from lease to end: median {:.3} s, p90 {p90:.3} s, most {:.3} s",
        bands.len(),
        bands[bands.len() / 2],
        bands[bands.len() - 1]
    );
}

fn wait(user: &Asker<'_>, key: u128, runtime: &Runtime) -> Waited {
    let size = Size { w: 512, h: 512 };
    let request = Request { size, window: Window::whole(size), ..Request::default() };
    let began = Instant::now();
    let job = user.render(runtime, key, request);
    let all = began.elapsed();
    let tries = user.story(runtime, job).tries;
    let first = tries.iter().min_by_key(|tried| tried.leased_ms).expect("it was rendered");
    Waited { all, leased_ms: first.leased_ms, first_band: Duration::from_micros(first.lasted_us) }
}

/// Bands of it come to their longest.
fn long_batch(nth: usize) -> Request {
    let size = Size { w: 20_000, h: 20_000 };
    Request { size, window: Window::whole(size), iterations: 40_000 + u32::try_from(nth).unwrap_or(0), ..second_of_work() }
}

fn await_bands(batch: &Asker<'_>, job: JobId, runtime: &Runtime) {
    while batch.story(runtime, job).bands < 2 * WORKERS as u64 {
        thread::sleep(Duration::from_millis(50));
    }
}

fn quantiles(mut of: Vec<f64>) -> String {
    of.sort_by(f64::total_cmp);
    let at = |percent: usize| of[((of.len() * percent) / 100).min(of.len() - 1)];
    format!("p50 {:.1}, p99 {:.1}, most {:.1}", at(50), at(99), at(100))
}
