//! One slow worker among four: how much of the grid's speed a render gets. Every worker is throttled by sleeping, so that the cores of
//! this machine are not what is measured.

use std::time::Duration;

use fractally_proto::{Request, Size, Window};
use fractally_testkit::{Broker, Lab, Worker};
use tokio::runtime::Runtime;

use crate::{second_of_work, warm};

/// How many times as long as they need the ordinary workers take, and the slow one.
const ORDINARY: u32 = 4;
const SLOW: u32 = 4 * ORDINARY;

/// Renders a picture of `side` x `side` pixels with one ordinary worker, then with three and one at a quarter of their speed. The ideal is that all four are busy until the
/// end.
pub(crate) fn compare(lab: &Lab, side: u32, runs: usize, runtime: &Runtime) {
    let size = Size { w: side, h: side };
    let request = &Request { size, window: Window::whole(size), iterations: 1500, ..second_of_work() };
    let alone = median(lab, request, &[ORDINARY], runs.min(3), runtime);
    let with_slow = median(lab, request, &[ORDINARY, ORDINARY, ORDINARY, SLOW], runs.min(3), runtime);
    let ideal = alone / (3.0 + f64::from(ORDINARY) / f64::from(SLOW));
    println!(
        "throttled workers: one {alone:.3} s, three and one at a quarter of their speed {with_slow:.3} s, efficiency {:.1} %",
        100.0 * ideal / with_slow
    );
}

/// Seconds, by workers that nothing is known of at first: each run has a grid of its own.
fn median(lab: &Lab, request: &Request, slow_downs: &[u32], runs: usize, runtime: &Runtime) -> f64 {
    let mut times: Vec<Duration> = (0..runs).map(|run| once(lab, request, slow_downs, run, runtime)).collect();
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

fn once(lab: &Lab, request: &Request, slow_downs: &[u32], run: usize, runtime: &Runtime) -> Duration {
    let broker = Broker::start_with(lab, &["--private"]);
    let start = |(index, slow_down): (usize, &u32)| {
        let slow_down = slow_down.to_string();
        Worker::start_with(lab, &broker, &format!("w{index}"), 1, &["--debug-slow-down", &slow_down])
    };
    let workers: Vec<_> = slow_downs.iter().enumerate().map(start).collect();
    let all_there = |status: &serde_json::Value| status["workers"].as_array().map(Vec::len) == Some(workers.len());
    broker.await_status(lab, "all workers are there", all_there);
    runtime.block_on(warm(&broker.clients, request, &lab.path("slow.png"), run))
}
