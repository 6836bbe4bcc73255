//! What a picture costs through HTTP: tiles and a 512x512 render on a warm grid, against the same by `fractally render`, and how many
//! tiles there are in a second.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use fractally_testkit::{Gateway, Lab};
use serde_json::json;

use crate::grid::Grid;

const WORKERS: usize = 2;
/// Clients that ask for tiles at once, as a browser with a map does.
const CLIENTS: usize = 6;
/// A zoom with more tiles than are asked for.
const ZOOM: u32 = 8;
/// Pixels of the virtual image at that zoom, each way.
const SIDE: u32 = 256 << ZOOM;

/// Prints medians and tails of `count` pictures of each kind, and tiles a second over `window`.
pub(crate) fn compare(lab: &Lab, count: u32, window: Duration) {
    let grid = Grid::start(lab, WORKERS, &[]);
    let endpoint = grid.broker.clients.clone();
    let fast = ["--rate", "1000000", "--requests-per-client", "10000"];
    let gateway = Gateway::start_with(lab, &[&["gateway", "--broker", &endpoint, "--listen", "127.0.0.1:0"][..], &fast].concat());
    let side = SIDE / 256;
    // From the middle on, row by row: tiles of all kinds.
    let tile = |i: u32| ((side / 3 + i % (side / 3)), (side / 3 + i / (side / 3)));
    let path = |i: u32| {
        let (x, y) = tile(i);
        format!("/tiles/-/{ZOOM}/{x}/{y}.png")
    };
    let get = |path: &str| {
        let answer = gateway.get(path);
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    let command = |args: &[&str]| {
        let run = lab.run([&["render", "--broker", &endpoint, "-q", "-o", "bench.png"], args].concat());
        assert!(run.status.success(), "{run:?}");
    };
    (0..20).for_each(|i| get(&path(60_000 % (side * side / 9) - i)));

    tell("a tile through HTTP, rendered", times(count, |i| get(&path(i))));
    tell("the same tile again, from memory", times(count, |i| get(&path(i))));
    let size = format!("{SIDE}x{SIDE}");
    let by_command = times(count.min(200), |i| {
        let (x, y) = tile(i);
        command(&["--size", &size, "--window", &format!("256x256+{}+{}", 256 * x, 256 * y)]);
    });
    tell("the same tile by `fractally render --broker`", by_command);
    let render = |i: u32| {
        let answer = gateway.post("/api/v1/renders", &json!({"size": "512x512", "c": [-0.8, 0.1 + f64::from(i) / 1e5]}));
        assert!(matches!(answer.status, 200 | 202), "{}", answer.text());
        get(&format!("/api/v1/renders/{}/image", answer.json()["id"].as_str().expect("it has an id")));
    };
    tell("512x512 through HTTP, asked for and taken", times(count.min(400), render));
    let by_command = times(count.min(200), |i| {
        let c = format!("-0.8+{}i", 0.2 + f64::from(i) / 1e5);
        command(&["--size", "512x512", "-c", &c]);
    });
    tell("512x512 by `fractally render --broker`", by_command);

    let next = AtomicU32::new(count);
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while began.elapsed() < window {
                    get(&path(next.fetch_add(1, Ordering::Relaxed)));
                }
            });
        }
    });
    let tiles = next.load(Ordering::Relaxed) - count;
    println!("{CLIENTS} clients, {WORKERS} workers: {:.0} rendered tiles/s", f64::from(tiles) / began.elapsed().as_secs_f64());
}

fn times(count: u32, mut what: impl FnMut(u32)) -> Vec<Duration> {
    let one = |i| {
        let began = Instant::now();
        what(i);
        began.elapsed()
    };
    (0..count).map(one).collect()
}

fn tell(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let ms = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)].as_secs_f64() * 1e3;
    println!("{what}: p50 {:.2} ms, p99 {:.2} ms, most {:.2} ms ({} times)", ms(50), ms(99), ms(100), times.len());
}
