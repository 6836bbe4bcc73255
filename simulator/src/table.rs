//! Tables of scenarios: grids of all sizes, what can go wrong, and one slow worker of eight.

use crate::{Change, Error, Event, Report, Scenario, Scene, run};

/// A scenario, and what came of it.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was simulated.
    pub scenario: Scenario,
    /// What it showed.
    pub report: Result<Report, Error>,
}

impl Row {
    fn of(scenario: Scenario) -> Self {
        let report = run(&scenario);
        Self { scenario, report }
    }
}

/// Bytes of a job that may wait where nothing shall hinder it.
const ROOMY: u64 = 1 << 40;
/// Speed of the slow worker.
const SLOW: f64 = 0.25;
/// Length of its job on a grid that loses nothing, and of the one before it, seconds.
const JOB: f64 = 30.0;
const WARM_UP: f64 = 3.0;

/// One slow worker of eight, a quarter as fast as the others, in a job of 30 s: slow all along, as the broker knows from an earlier job;
/// slow all along, which the broker finds out; slow from the middle on; slow from the worst moment on.
pub fn slow_worker_of_eight(base: &Scenario) -> [Scenario; 4] {
    let with = |name: &str, at: Option<f64>, warm_up: Option<f64>| Scenario {
        name: name.to_owned(),
        workers: 8,
        threads: 1,
        seconds: Some(JOB),
        warm_up,
        events: vec![Event { worker: 3, at, change: Change::Speed(SLOW) }],
        ..base.clone()
    };
    [
        with("1 of 8 slow, known", None, Some(WARM_UP)),
        with("1 of 8 slow", None, None),
        with("1 of 8 slow from 15 s", Some(JOB / 2.0), Some(WARM_UP)),
        with("1 of 8 slow from 24.75 s", Some(24.75), Some(WARM_UP)),
    ]
}

/// Grids of 1 to 1,000 workers at the broker's own bounds, of 8 to 10,000 with room for all that they can hold; then latencies, scenes
/// and unequal speeds.
pub fn grids(base: &Scenario) -> impl Iterator<Item = Row> + use<> {
    let with = |name: &str, workers: u32| Scenario { name: name.to_owned(), workers, ..base.clone() };
    let plain = [1, 2, 8, 64, 1000].map(|workers| with("default bounds", workers));
    let roomy = |scenario: Scenario| Scenario { reorder_bytes_max: Some(ROOMY), ..scenario };
    let rooms = [8, 64, 1000, 10_000].map(|workers| roomy(with("room for all", workers)));
    let mut others = Vec::new();
    for workers in [8, 64] {
        for latency_us in [1000.0, 5000.0] {
            others.push(Scenario { latency_us, ..with(&format!("latency {} ms", latency_us / 1000.0), workers) });
        }
        for scene in [Scene::Talk, Scene::Interior, Scene::Even] {
            others.push(Scenario { scene, ..with("scene", workers) });
        }
        others.push(Scenario { spread: 0.5, ..with("speeds 0.5 to 1.5", workers) });
    }
    let others = others.into_iter().map(roomy);
    plain.into_iter().chain(rooms).chain(others).map(Row::of)
}

/// What can befall a grid of eight.
pub fn failures(base: &Scenario) -> impl Iterator<Item = Row> + use<> {
    let event = |at: f64, change: Change| Event { worker: 3, at: Some(at), change };
    let with = |name: &str, events: Vec<Event>| Scenario { name: name.to_owned(), workers: 8, events, ..base.clone() };
    let others = [
        with("1 of 8 dies, back after 5 s", vec![event(10.0, Change::Dies), event(15.0, Change::Returns)]),
        with("1 of 8 dies for good", vec![event(10.0, Change::Dies)]),
        with("1 of 8 freezes for 2 s", vec![event(10.0, Change::Freezes), event(12.0, Change::Thaws)]),
        with("1 of 8 freezes for 8 s", vec![event(10.0, Change::Freezes), event(18.0, Change::Thaws)]),
        with("1 of 8 stops computing", vec![event(10.0, Change::Speed(0.0))]),
    ];
    let slow_line = Scenario { client_bytes_per_s: Some(12.5e6), ..with("client on 100 Mbit/s", Vec::new()) };
    slow_worker_of_eight(base).into_iter().chain(others).chain([slow_line]).map(Row::of)
}
