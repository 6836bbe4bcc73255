//! What must hold of every simulation, and how well the core's scheduling does.

use fractally_proto::Size;

use crate::{Change, Error, Event, Report, Scenario, Scene, failures, run, slow_worker_of_eight};

/// Two seconds of work.
fn short() -> Scenario {
    Scenario { seconds: Some(2.0), ..Scenario::default() }
}

/// A run ends well only when the client has every strip once and in order, and the core's invariants hold.
fn played(scenario: &Scenario) -> Report {
    run(scenario).unwrap_or_else(|error| panic!("{} ({}): {error}", scenario.name, scenario.scene))
}

fn happens(worker: u32, at: f64, change: Change) -> Event {
    Event { worker, at: Some(at), change }
}

#[test]
fn every_row_is_rendered_whatever_befalls_the_workers() {
    for seed in 0..20 {
        let at = 0.1 * seed as f64;
        let events = vec![
            happens(0, at, Change::Dies),
            happens(0, at + 0.5, Change::Returns),
            happens(1, 0.3, Change::Freezes),
            happens(1, at + 6.0, Change::Thaws),
            happens(2, at, Change::Speed(0.1)),
            happens(2, at + 1.0, Change::Speed(2.0)),
        ];
        let scene = Scene::ALL[usize::try_from(seed % 4).unwrap()];
        let scenario = Scenario { scene, seed, events, workers: 4, threads: 2, spread: 0.5, noise: 0.2, ..short() };
        let report = played(&scenario);
        assert!(report.attempts >= report.bands && report.efficiency > 0.0 && report.efficiency <= 1.0, "{report:?}");
    }
}

#[test]
fn a_seed_gives_one_run() {
    let scenario = Scenario { spread: 0.5, noise: 0.2, ..short() };
    assert_eq!(played(&scenario), played(&scenario));
    assert_ne!(played(&scenario).makespan_s, played(&Scenario { seed: 2, ..scenario }).makespan_s);
}

#[test]
fn a_grid_of_one_worker_loses_nothing() {
    for scene in Scene::ALL {
        let report = played(&Scenario { scene, workers: 1, ..short() });
        assert!(report.efficiency > 0.995, "{report:?}");
        assert!((report.makespan_s - 2.0).abs() < 0.05, "{report:?}");
        assert_eq!(report.attempts, report.bands);
    }
}

#[test]
fn mirrors_halve_the_iterations() {
    let talk = Scenario { scene: Scene::Talk, seconds: None, workers: 1, ..Scenario::default() };
    let (with, without) = (played(&talk), played(&Scenario { mirror: false, ..talk }));
    assert!(with.makespan_s < 0.8 * without.makespan_s, "{} s and {} s", with.makespan_s, without.makespan_s);
}

#[test]
fn a_slow_line_to_the_client_sets_the_pace() {
    let report = played(&Scenario { client_bytes_per_s: Some(1e6), scene: Scene::Even, ..short() });
    let size = f64::from(report.width) * f64::from(report.height) * 3.0 * Scene::Even.profile().encoded;
    assert!(report.makespan_s > size / 1e6, "{report:?}");
}

#[test]
fn no_failure_of_one_of_eight_is_answered_by_rendering_much_again() {
    for row in failures(&Scenario::default()) {
        let report = row.report.unwrap();
        assert!(report.extra_work < 0.1, "{report:?}");
    }
}

/// Strips of hardly any bytes come so quickly that 64 STRIPS messages, as many as the broker sends without an ACK, are neither 1 MiB
/// nor spread over 50 ms. A client that counts only bytes and time then waits for a broker that waits for it.
#[test]
fn a_client_that_does_not_count_messages_can_wait_for_ever() {
    let counts = Scenario { scene: Scene::Interior, seconds: Some(0.2), ..Scenario::default() };
    assert!(played(&counts).efficiency > 0.9);
    assert!(matches!(run(&Scenario { ack_messages: None, ..counts }), Err(Error::Stalled { .. })));
}

#[test]
fn one_slow_worker_of_eight_costs_little_where_the_broker_has_time_to_learn_it() {
    let [known, unknown, from_the_middle, _] = slow_worker_of_eight(&Scenario::default());
    for scenario in [known, unknown, from_the_middle] {
        let report = played(&scenario);
        println!("{report}");
        assert!(report.efficiency > 0.93, "{report:?}");
    }
}

/// The worst moments lie a few seconds before the end: the slow worker holds two bands of nearly a second, which become four.
#[test]
fn one_worker_of_eight_that_becomes_slow_at_any_moment_leaves_93_percent() {
    let mut worst: Option<Report> = None;
    for scene in [Scene::Boundary, Scene::Talk, Scene::Interior, Scene::Even] {
        for quarter in 0..120 {
            let at = f64::from(quarter) / 4.0;
            let name = format!("1 of 8 slow from {at} s");
            let events = vec![happens(3, at, Change::Speed(0.25))];
            let report = played(&Scenario { name, scene, events, warm_up: Some(3.0), ..Scenario::default() });
            if worst.as_ref().is_none_or(|worst| report.efficiency < worst.efficiency) {
                worst = Some(report);
            }
        }
    }
    let worst = worst.unwrap();
    println!("{worst}");
    assert!(worst.efficiency >= 0.93 && worst.extra_work <= 0.1, "{worst:?}");
}

/// The default bound of 64 MiB takes the worst case of 192 strips beside the client's window.
#[test]
fn the_reorder_bound_costs_a_grid_of_64_nothing() {
    let bound = Scenario { workers: 64, ..Scenario::default() };
    let roomy = played(&Scenario { reorder_bytes_max: Some(1 << 30), ..bound.clone() });
    let bound = played(&bound);
    assert!(bound.efficiency > roomy.efficiency - 0.01, "{:.3} and {:.3}", bound.efficiency, roomy.efficiency);
}

#[test]
fn a_picture_of_one_pixel_is_rendered() {
    let size = Some(Size { w: 1, h: 1 });
    assert_eq!(played(&Scenario { size, seconds: None, ..Scenario::default() }).bands, 1);
}
