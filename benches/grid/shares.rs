//! Whether accounts get equal parts of a grid's threads, or parts by their weights, whatever they draw.
//!
//! Each account has some detached jobs of about a second waiting at all times. What an account got is the thread time that its jobs'
//! delivered bands took between two looks at the broker's list, both while everybody wants more.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use fractally_broker::{Broker, Config, Guards, JournalBounds, State};
use fractally_proto::{Epoch, ListedJob, Priority, Request, Size, Window};
use fractally_testkit::{Lab, Worker};
use fractally_transport::Endpoint;
use tokio::{runtime::Runtime, sync::oneshot};

use crate::{
    grid::{Asker, Grid, is_done},
    second_of_work,
};

/// Jobs of each account that are not over: one is served, the others wait.
const JOBS_WAITING: usize = 3;
/// How often the broker is asked who needs another job.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Threads of the grid, each a worker of its own.
const WORKERS: usize = 2;

/// What an account draws, over and over: pictures that all differ a little.
type Scene = (&'static str, fn(u32) -> Request);

const SCENES: [Scene; 4] = [("interior", interior), ("boundary", boundary), ("cheap pixels", cheap), ("large", large)];

/// Prints the parts of four accounts alike, and of two with the weights 1 and 2.
pub(crate) fn compare(lab: &Lab, window: Duration, runs: usize, runtime: &Runtime) {
    for _ in 0..runs {
        alike(lab, window, runtime);
        for scenes in [[SCENES[0], SCENES[3]], [SCENES[3], SCENES[0]]] {
            weighted(lab, window, &scenes, runtime);
        }
    }
}

fn alike(lab: &Lab, window: Duration, runtime: &Runtime) {
    let grid = Grid::start(lab, WORKERS, &[]);
    let got = saturate(&grid.broker.clients, &SCENES, window, runtime);
    println!(
        "four accounts alike, {WORKERS} threads, {:.0} s: Jain index {:.4}; {}",
        window.as_secs_f64(),
        jain(&got),
        told(&SCENES, &got, window)
    );
}

/// The broker has no option for weights yet, so it stands in this process.
fn weighted(lab: &Lab, window: Duration, scenes: &[Scene; 2], runtime: &Runtime) {
    let weights = BTreeMap::from([(scenes[0].0.to_owned(), 1), (scenes[1].0.to_owned(), 2)]);
    let folder = tempfile::tempdir_in(lab.path("")).expect("the lab can be written");
    let path = folder.path().to_owned();
    let endpoints = ["c", "w"].map(|name| path.join(name));
    let (listens, listening) = mpsc::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let broker = {
        let endpoints = endpoints.clone().map(Endpoint::Ipc);
        thread::spawn(move || crate::runtime().block_on(serve(&path, &endpoints, weights, listens, stopped)))
    };
    listening.recv().expect("the broker listens");
    let [clients, for_workers] = endpoints.map(|path| format!("ipc://{}", path.display()));
    let start = |i| lab.start(Worker::command(lab, &for_workers, &format!("w{i}"), 1));
    let workers: Vec<_> = (0..WORKERS).map(start).collect();
    let got = saturate(&clients, scenes, window, runtime);
    println!("weights 1 and 2: ratio {:.3}; {}", got[1] / got[0], told(scenes, &got, window));
    drop(workers);
    let _ = stop.send(());
    broker.join().expect("the broker does not panic");
}

async fn serve(
    folder: &Path,
    [clients, workers]: &[Endpoint; 2],
    weights: BTreeMap<String, u32>,
    listens: mpsc::Sender<()>,
    stopped: oneshot::Receiver<()>,
) {
    let config = Config { weights, journal: Some(JournalBounds::default()), ..Config::new("bench", Epoch(7)) };
    let mut broker = Broker::bind(clients, workers, config, Guards::default()).await.expect("the lab can be written");
    let state = State::open(&folder.join("state")).expect("it is new");
    broker.keep_jobs_in(state, Duration::ZERO).expect("there is a thread");
    listens.send(()).expect("somebody waits");
    broker.run(std::future::pending(), async { drop(stopped.await) }).await;
}

/// Thread seconds that each account got in a window, in the order of `scenes`.
fn saturate(endpoint: &str, scenes: &[Scene], window: Duration, runtime: &Runtime) -> Vec<f64> {
    let askers: Vec<_> = scenes.iter().map(|(name, _)| Asker { endpoint, account: (*name).to_owned() }).collect();
    let mut submitted = vec![0_u32; scenes.len()];
    let mut began: Option<(Instant, Vec<f64>)> = None;
    loop {
        let jobs = askers[0].list(runtime);
        let now = Instant::now();
        let got: Vec<_> = askers.iter().map(|asker| seconds_of(&jobs, &asker.account)).collect();
        match &began {
            // Everybody has been served, so speeds are known and all are on a level.
            None if got.iter().all(|seconds| *seconds > 0.0) => began = Some((now, got)),
            None => {}
            Some((then, before)) if now - *then >= window => {
                return got.iter().zip(before).map(|(after, before)| after - before).collect();
            }
            Some(_) => {}
        }
        for (index, asker) in askers.iter().enumerate() {
            let living = jobs.iter().filter(|job| job.account == asker.account && !is_done(job)).count();
            for _ in living..JOBS_WAITING {
                submitted[index] += 1;
                let key = (index as u128 + 1) << 64 | u128::from(submitted[index]);
                asker.keep(runtime, key, scenes[index].1(submitted[index]), Priority::Normal);
            }
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn seconds_of(jobs: &[ListedJob], account: &str) -> f64 {
    jobs.iter().filter(|job| job.account == account).map(|job| job.compute_ns as f64 / 1e9).sum()
}

/// Jain, Chiu, Hawe 1984: 1 where all have the same, 1/n where one has everything.
fn jain(got: &[f64]) -> f64 {
    let (sum, squares) = got.iter().fold((0.0, 0.0), |(sum, squares), x| (sum + x, squares + x * x));
    sum * sum / (got.len() as f64 * squares)
}

fn told(scenes: &[Scene], got: &[f64], window: Duration) -> String {
    let each: Vec<_> = scenes.iter().zip(got).map(|((name, _), seconds)| format!("{name} {seconds:.2} s")).collect();
    let busy = got.iter().sum::<f64>() / (WORKERS as f64 * window.as_secs_f64());
    format!("{} of threads ({:.0} % of all)", each.join(", "), 100.0 * busy)
}

fn sized(side: u32, request: Request, nth: u32) -> Request {
    let size = Size { w: side, h: side };
    let c = [request.c[0] + f64::from(nth) * 1e-12, request.c[1]];
    Request { c, size, window: Window::whole(size), ..request }
}

fn interior(nth: u32) -> Request {
    sized(1000, second_of_work(), nth)
}

fn boundary(nth: u32) -> Request {
    let request = Request { center: [-0.02, 0.6], width: 0.5, iterations: 4000, ..Request::default() };
    sized(5000, request, nth)
}

fn cheap(nth: u32) -> Request {
    sized(12_000, Request { c: [1.0, 1.0], center: [0.1, 0.0], iterations: 20, ..Request::default() }, nth)
}

fn large(nth: u32) -> Request {
    sized(12_000, Request { center: [0.3, 0.2], width: 3.0, ..Request::default() }, nth)
}
