//! The grid against one process: the same kernel, colours, encoding and file, once over a broker and worker processes, once on
//! threads. Whatever the grid adds is the difference. Then the cold `fractally render`, from nothing to a file; and what the
//! grid costs when there is nothing to compute, and what the guard adds to its connections.
//!
//! `cargo bench --bench grid` prints medians with their spread. Figures of one run may be compared with one another; those of
//! different runs may not, since machines are noisy. A name measures one thing alone: `cargo bench --bench grid NAME` with `guard`,
//! or, measured when named only, `sessions`, `web`, and of detached jobs, which take longer, `shares`, `beside`, `journal` or `turnover`.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

mod beside;
mod grid;
mod guard;
mod journal;
mod overhead;
mod sessions;
mod shares;
mod slow;
mod threads;
mod turnover;
mod web;

use std::{
    fs,
    path::Path,
    thread::available_parallelism,
    time::{Duration, Instant},
};

use fractally_client::{Broker, OutputFile, RenderOptions, WINDOW_BYTES, render};
use fractally_proto::{Epoch, JobKey, Priority, Request, Size, Window};
use fractally_testkit::{Broker as BrokerProcess, Lab, Worker};

/// Runs of each thing, in turn, so that a slow moment of the machine strikes all alike. `FRACTALLY_BENCH_RUNS` changes it.
const RUNS: usize = 15;

fn main() {
    // `cargo test --benches` asks whether it runs at all.
    let is_test = std::env::args().any(|arg| arg == "--test");
    let asked = std::env::var("FRACTALLY_BENCH_RUNS").ok().and_then(|runs| runs.parse().ok());
    let runs = if is_test { 1 } else { asked.unwrap_or(RUNS) };
    let name = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    match (name, is_test) {
        (Some(name), _) => alone(&name, asked, is_test),
        (None, false) => everything(runs, false),
        (None, true) => {
            everything(1, true);
            ALONE.iter().for_each(|name| alone(name, asked, true));
        }
    }
}

/// What is measured when it is named.
const ALONE: [&str; 6] = ["shares", "beside", "journal", "turnover", "sessions", "web"];

fn alone(name: &str, runs: Option<usize>, is_test: bool) {
    let lab = Lab::new(env!("CARGO_BIN_EXE_fractally"));
    let runtime = runtime();
    println!("{} | load {}", machine(), load());
    match name {
        "guard" => guard::compare(runs.unwrap_or(RUNS), 5000),
        "shares" => {
            let seconds = std::env::var("FRACTALLY_BENCH_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(30.0);
            let window = Duration::from_secs_f64(if is_test { 1.0 } else { seconds });
            shares::compare(&lab, window, runs.unwrap_or(1), &runtime);
        }
        "beside" => beside::compare(&lab, if is_test { 1 } else { runs.unwrap_or(60) }, &runtime),
        "journal" => {
            journal::compare(&lab, if is_test { 512 } else { 16_384 }, if is_test { 1 } else { runs.unwrap_or(5) }, &runtime)
        }
        "turnover" => turnover::compare(&lab, if is_test { 20 } else { 1000 }, 4, &runtime),
        "sessions" => sessions::compare(&lab, if is_test { 10 } else { 1000 }, &runtime),
        "web" => {
            let seconds = if is_test { 0.2 } else { 5.0 };
            web::compare(&lab, if is_test { 10 } else { 1000 }, Duration::from_secs_f64(seconds));
        }
        unknown => eprintln!("{unknown}: there are guard, {}", ALONE.join(", ")),
    }
    println!("load {}", load());
}

fn everything(runs: usize, is_test: bool) {
    let cores = available_parallelism().map_or(1, usize::from);
    println!("{} | median of {runs} (least, most)", machine());
    let lab = Lab::new(env!("CARGO_BIN_EXE_fractally"));
    let scenes = [("the talk's scene", Request::default()), ("a second of work", second_of_work())];
    for (name, request) in scenes.into_iter().take(if is_test { 1 } else { 2 }) {
        compare(&lab, name, &request, cores, Mirror::Off, runs);
        if request.is_its_own_half_turn() {
            compare(&lab, name, &request, cores, Mirror::On, runs);
        }
    }
    cold(&lab, runs);
    let runtime = runtime();
    slow::compare(&lab, if is_test { 300 } else { 4000 }, runs, &runtime);
    overhead::round_trip(&lab, if is_test { 10 } else { 2000 }, &runtime);
    overhead::no_op_bands(&lab, if is_test { 400 } else { 400_000 }, &runtime);
    guard::compare(runs, if is_test { 100 } else { 5000 });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// In the Siegel disk of the golden mean, where no kernel can spare an iteration: iterations outweigh pixels.
fn second_of_work() -> Request {
    let size = Size { w: 1000, h: 1000 };
    let (c, center) = ([-0.390_540_870_218_399, -0.586_787_907_346_969], [-0.368_684_439, -0.337_745_147]);
    Request { c, center, width: 0.2, size, window: Window::whole(size), iterations: 16_000, ..Request::default() }
}

/// Whether rows are spared that are mirror images of others, on the grid and on threads alike.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mirror {
    On,
    Off,
}

fn compare(lab: &Lab, name: &str, request: &Request, cores: usize, mirror: Mirror, runs: usize) {
    let (options, title): (&[&str], _) = match mirror {
        Mirror::On => (&[], format!("{name}, half of it mirrored")),
        Mirror::Off => (&["--no-mirror"], name.to_owned()),
    };
    let broker = BrokerProcess::start_with(lab, &[&["--private"], options].concat());
    let workers: Vec<_> = (0..cores).map(|i| Worker::start_with(lab, &broker, &format!("w{i}"), 1, options)).collect();
    broker.await_status(lab, "all workers are there", |status| status["workers"].as_array().map(Vec::len) == Some(cores));
    let runtime = runtime();
    let (grid_file, threads_file) = (lab.path("grid.png"), lab.path("threads.png"));
    let on_grid = |run: usize| runtime.block_on(warm(&broker.clients, request, &grid_file, run));
    let on_threads = |_| threads::render(request, &threads_file, cores, mirror);
    // The first of each warms caches and the broker's idea of speeds.
    on_grid(0);
    on_threads(0);
    assert_eq!(fs::read(&grid_file).ok(), fs::read(&threads_file).ok(), "both make the same file");
    let (grid, threads): (Vec<_>, Vec<_>) = (1..=runs).map(|run| (on_grid(run), on_threads(run))).unzip();
    let (grid, threads) = (Spread::of(grid), Spread::of(threads));
    println!("{title}, warm: grid {grid}, threads {threads}, efficiency {:.1} %", 100.0 * threads.median / grid.median);
    drop(workers);
}

async fn warm(endpoint: &str, request: &Request, path: &Path, run: usize) -> Duration {
    let broker = Broker {
        endpoint: endpoint.parse().expect("the broker says where it listens"),
        agent: "bench".to_owned(),
        account: None,
        epoch: Epoch(run as u64),
        connect_timeout: Duration::from_secs(5),
        sessions: None,
    };
    let options = RenderOptions {
        broker,
        key: JobKey((run as u128 + 1).to_le_bytes()),
        request: *request,
        priority: Priority::Interactive,
        request_id: None,
        reconnect_for: Duration::ZERO,
        window_bytes: WINDOW_BYTES,
    };
    let started = Instant::now();
    let out = OutputFile::create(path).expect("the lab can be written");
    let rendered = render(&options, out, |_| {}, std::future::pending()).await.expect("the grid renders");
    rendered.out.commit().expect("the file takes its name");
    started.elapsed()
}

fn cold(lab: &Lab, runs: usize) {
    let run = |_| {
        let started = Instant::now();
        let run = lab.run(["render", "--quiet", "-o", "cold.png"]);
        assert!(run.status.success(), "{run:?}");
        started.elapsed()
    };
    run(0);
    println!("the talk's scene, cold `fractally render`: {}", Spread::of((0..runs).map(run).collect()));
}

/// Seconds: the median, the least and the most.
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(times: Vec<Duration>) -> Self {
        let mut seconds: Vec<_> = times.iter().map(Duration::as_secs_f64).collect();
        seconds.sort_by(f64::total_cmp);
        Self { median: seconds[seconds.len() / 2], least: seconds[0], most: seconds[seconds.len() - 1] }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3} s ({:.3}, {:.3})", self.median, self.least, self.most)
    }
}

fn machine() -> String {
    let cores = available_parallelism().map_or(1, usize::from);
    format!("{} | {cores} cores | {}", processor(), fractally_fractal::kernel::best().name())
}

/// Of the last minute, five and fifteen, as others may be at work on the machine.
fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split(": ").nth(1));
    line.unwrap_or("unknown processor").to_owned()
}
