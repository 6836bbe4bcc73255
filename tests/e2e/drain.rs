//! SIGTERM: workers and brokers finish what they have. And Ctrl-C at the client: nothing goes on anywhere.

use fractally_testkit::{Broker, Worker, eventually};
use serde_json::Value;

use crate::{ENDLESS, LONG, lab};

fn sha256(report: &Value) -> String {
    report["sha256"].as_str().expect("the report has a hash").to_owned()
}

#[test]
fn a_worker_that_is_asked_to_stop_delivers_what_runs_and_hands_back_the_rest() {
    let lab = lab();
    let undisturbed = sha256(&lab.render(LONG.iter().chain(&["--workers", "1"])));
    let broker = Broker::start(&lab);
    let leaves = Worker::start(&lab, &broker, "leaves", 1);
    let args = ["render", "--json", "--broker", &broker.clients, "-o", "drained.png"];
    let render = lab.start(lab.command(args.iter().chain(&LONG)));
    broker.await_status(&lab, "it holds two bands", |status| leaves.row(status).is_some_and(|row| row["leases"] == 2));
    leaves.process.terminate();
    let ended = leaves.process.wait();
    assert_eq!(ended.code(), 0, "{ended:?}");
    let status = broker.status(&lab);
    assert_eq!(status["workers"].as_array().map(Vec::len), Some(0), "it said goodbye: {status}");
    let _stays = Worker::start(&lab, &broker, "stays", 2);
    let report = render.wait().report();
    assert_eq!(sha256(&report), undisturbed);
    let job = report["job"].as_str().unwrap();
    let story = lab.run(["status", "--broker", &broker.clients, "--job", job, "--json"]).report();
    let tries = story["tries"].as_array().unwrap();
    let by = |end: &str| tries.iter().filter(|tried| tried["worker"] == "leaves" && tried["end"] == end).count();
    assert!(by("delivered") > 0 && by("given_back") > 0 && by("failed") == 0, "{story:#}");
}

#[test]
fn a_second_signal_hands_back_what_runs_too() {
    let lab = lab();
    let broker = Broker::start(&lab);
    let worker = Worker::start_with(&lab, &broker, "w", 1, &["--drain-timeout", "1000"]);
    let args = ["render", "--broker", &broker.clients, "--iter", "1000000000", "-o", "endless.png"];
    let render = lab.start(lab.command(args.iter().chain(&ENDLESS)));
    broker.await_status(&lab, "it works", |status| worker.holds_a_band(status));
    worker.process.terminate();
    // It has said so when nothing waits there any more.
    broker.await_status(&lab, "what waits is given back", |status| worker.row(status).is_some_and(|row| row["leases"] == 1));
    worker.process.terminate();
    assert_eq!(worker.process.wait().code(), 0);
    render.interrupt();
    assert_eq!(render.wait().code(), 130);
}

#[test]
fn a_broker_that_is_asked_to_stop_finishes_the_renders_in_hand_and_takes_no_more() {
    let lab = lab();
    let undisturbed = sha256(&lab.render(LONG.iter().chain(&["--workers", "1"])));
    let broker = Broker::start(&lab);
    let worker = Worker::start(&lab, &broker, "w", 2);
    let args = ["render", "--json", "--broker", &broker.clients, "-o", "last.png"];
    let render = lab.start(lab.command(args.iter().chain(&LONG)));
    broker.await_status(&lab, "it works", |status| worker.holds_a_band(status));
    // It stands still, so that the render cannot end before somebody has been refused.
    worker.process.stand_still();
    broker.process.terminate();
    let late = eventually("new jobs are refused", || {
        let run = lab.run(["render", "--size", "8x8", "--broker", &broker.clients, "-o", "late.png"]);
        Some(run).filter(|run| !run.status.success())
    });
    assert!(late.stderr.contains("about to stop"), "{late:?}");
    assert_eq!(late.code(), 4);
    worker.process.go_on();
    assert_eq!(sha256(&render.wait().report()), undisturbed);
    assert_eq!(broker.process.wait().code(), 0);
}

#[test]
fn a_render_that_is_stopped_frees_the_workers_at_once() {
    let lab = lab();
    let broker = Broker::start(&lab);
    let worker = Worker::start(&lab, &broker, "w", 2);
    let args = ["render", "--broker", &broker.clients, "--iter", "1000000000", "-o", "endless.png"];
    let render = lab.start(lab.command(args.iter().chain(&ENDLESS)));
    broker.await_status(&lab, "it works", |status| worker.holds_a_band(status));
    render.interrupt();
    assert_eq!(render.wait().code(), 130);
    broker.await_status(&lab, "nothing is left", |status| {
        let idle = worker.row(status).is_some_and(|row| row["leases"] == 0);
        idle && status["jobs"].as_array().is_some_and(Vec::is_empty) && status["broker"]["held_bytes"] == 0
    });
    // Two looks at a worker that has nothing to do find the same: its threads have stopped.
    eventually("the kernels have stopped", || {
        let before = worker.process.cpu_time();
        std::thread::sleep(std::time::Duration::from_millis(100));
        (worker.process.cpu_time() == before).then_some(())
    });
}
