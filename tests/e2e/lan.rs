//! A broker, workers and clients that live on their own.

use std::{fs, thread, time::Duration};

use fractally_testkit::{Broker, Worker, eventually, lasting_ports};

use crate::{ENDLESS, LONG, lab};

#[test]
fn several_clients_render_at_once() {
    let lab = lab();
    let broker = Broker::start(&lab);
    let _workers = [Worker::start(&lab, &broker, "a", 1), Worker::start(&lab, &broker, "b", 2)];
    let start = |index: u32| {
        let file = format!("{index}.png");
        let size = format!("{}x300", 300 + index);
        lab.start(lab.command(["render", "--json", "--broker", &broker.clients, "--size", &size, "-o", &file]))
    };
    let renders: Vec<_> = (0..6).map(start).collect();
    for (index, render) in renders.into_iter().enumerate() {
        assert_eq!(render.wait().report()["width"], 300 + index, "each client gets its own picture");
    }
    let status = broker.await_status(&lab, "every job is over", |status| status["broker"]["jobs_done"] == 6);
    assert_eq!(status["jobs"].as_array().map(Vec::len), Some(0));
    assert_eq!(status["broker"]["held_bytes"], 0);
}

#[test]
fn a_render_that_comes_before_any_worker_waits_for_one() {
    let lab = lab();
    let broker = Broker::start(&lab);
    let render = lab.start(lab.command(["render", "--json", "--broker", &broker.clients, "--size", "200x100"]));
    broker.await_status(&lab, "the job is there", |status| status["jobs"].as_array().is_some_and(|jobs| jobs.len() == 1));
    let _worker = Worker::start(&lab, &broker, "w", 1);
    render.wait().report();
    assert_eq!(lab.files(), ["julia.png"]);
}

#[test]
fn a_worker_that_comes_before_its_broker_waits_for_it() {
    let lab = lab();
    let ports = lasting_ports();
    let broker = Broker::start_on(&lab, &ports);
    let worker = Worker::start(&lab, &broker, "w", 1);
    broker.await_status(&lab, "the worker is there", |status| worker.row(status).is_some());
    broker.process.kill();
    drop(broker);
    let again = Broker::start_on(&lab, &ports);
    again.await_status(&lab, "the worker is back", |status| worker.row(status).is_some());
    lab.render(["--broker", &again.clients, "--size", "50x50"]);
}

#[test]
fn a_render_goes_on_after_its_broker_was_started_again() {
    let lab = lab();
    let undisturbed = lab.render(LONG.iter().chain(&["--workers", "1", "-o", "undisturbed.png"]));
    let ports = lasting_ports();
    let broker = Broker::start_on(&lab, &ports);
    let _worker = Worker::start(&lab, &broker, "w", 2);
    let args = ["render", "--json", "--broker", &broker.clients, "-o", "resumed.png"];
    let render = lab.start(lab.command(args.iter().chain(&LONG)));
    broker.await_status(&lab, "some rows are done", |status| status["jobs"][0]["rows_done"].as_u64() > Some(0));
    broker.process.kill();
    drop(broker);
    let _again = Broker::start_on(&lab, &ports);
    let report = render.wait().report();
    assert_eq!(report["sha256"], undisturbed["sha256"]);
    assert!(report["reconnects"].as_u64() >= Some(1), "{report}");
    assert!(report["iterations"].as_u64() < undisturbed["iterations"].as_u64(), "finished rows are not rendered again: {report}");
}

#[test]
fn a_cancelled_job_frees_its_workers() {
    let lab = lab();
    let broker = Broker::start(&lab);
    let worker = Worker::start(&lab, &broker, "w", 1);
    let args = ["render", "--broker", &broker.clients, "--iter", "900000000"];
    let render = lab.start(lab.command(args.iter().chain(&ENDLESS)));
    broker.await_status(&lab, "the worker works", |status| worker.holds_a_band(status));
    render.interrupt();
    assert_eq!(render.wait().code(), 130);
    broker.await_status(&lab, "nothing is left of the job", |status| {
        status["jobs"].as_array().is_some_and(Vec::is_empty) && !worker.holds_a_band(status)
    });
    // One row of that job would have taken longer than this whole test.
    lab.render(["--broker", &broker.clients, "--size", "50x50"]);
}

#[test]
fn interactive_renders_pass_a_batch_render() {
    let lab = lab();
    let broker = Broker::start(&lab);
    let worker = Worker::start(&lab, &broker, "w", 1);
    let args = ["render", "--broker", &broker.clients, "--priority", "batch", "-o", "batch.png"];
    let batch = lab.start(lab.command(args.iter().chain(&ENDLESS[..6]).chain(&["--size", "3000x3000", "--iter", "60000"])));
    broker.await_status(&lab, "the worker works", |status| worker.holds_a_band(status));
    lab.render(["--broker", &broker.clients, "--size", "50x50", "-o", "quick.png"]);
    let status = broker.status(&lab);
    assert_eq!(status["jobs"][0]["priority"], "batch", "the batch job is still there: {status}");
    batch.interrupt();
    batch.wait();
}

#[test]
fn status_shows_people_the_workers_and_jobs() {
    let lab = lab();
    let broker = Broker::start(&lab);
    let worker = Worker::start(&lab, &broker, "render-box", 1);
    broker.await_status(&lab, "the worker is there", |status| worker.row(status).is_some());
    lab.render(["--broker", &broker.clients, "--size", "50x50"]);
    let text = String::from_utf8(lab.run(["status", "--broker", &broker.clients]).stdout).unwrap();
    assert!(text.contains("render-box") && text.contains("WORKER") && text.contains("JOB"), "{text}");
    assert!(text.lines().all(|line| line.len() < 160), "{text}");
}

#[test]
fn a_worker_that_is_asked_to_stop_hands_its_bands_back() {
    let lab = lab();
    let broker = Broker::start(&lab);
    let leaver = Worker::start(&lab, &broker, "leaver", 1);
    let args = ["render", "--json", "--broker", &broker.clients, "-o", "a.png"];
    let render = lab.start(lab.command(args.iter().chain(&LONG)));
    broker.await_status(&lab, "it works", |status| leaver.holds_a_band(status));
    leaver.process.terminate();
    let run = leaver.process.wait();
    assert_eq!(run.code(), 0, "{run:?}");
    let _heir = Worker::start(&lab, &broker, "heir", 2);
    render.wait().report();
}

#[test]
fn flags_come_before_variables_and_variables_before_defaults() {
    let lab = lab();
    let broker = Broker::start(&lab);
    let _worker = Worker::start(&lab, &broker, "w", 1);
    let mut command = lab.command(["render", "--json", "--size", "20x20", "-o", "env.png"]);
    command.env("FRACTALLY_BROKER", &broker.clients);
    lab.start(command).wait().report();
    broker.await_status(&lab, "the variable named the broker", |status| status["broker"]["jobs_done"] == 1);
    let mut command = lab.command(["render", "--size", "20x20", "--broker", &broker.clients]);
    command.env("FRACTALLY_BROKER", "tcp://127.0.0.1:1");
    assert_eq!(lab.start(command).wait().code(), 0);
    // An option for a local grid passes over a variable for a running one.
    let mut command = lab.command(["render", "--size", "20x20", "--workers", "1"]);
    command.env("FRACTALLY_BROKER", "tcp://127.0.0.1:1");
    assert_eq!(lab.start(command).wait().code(), 0);
    eventually("the file is there", || fs::metadata(lab.path("julia.png")).ok());
}

#[test]
fn a_band_that_outlives_three_workers_fails_its_job_and_no_other() {
    let lab = lab();
    let broker = Broker::start(&lab);
    let args = ["render", "--broker", &broker.clients, "--iter", "900000000", "-o", "poison.png"];
    let poison = lab.start(lab.command(args.iter().chain(&ENDLESS)));
    for name in ["first", "second", "third"] {
        let victim = Worker::start(&lab, &broker, name, 1);
        broker.await_status(&lab, "the victim works", |status| victim.holds_a_band(status));
        victim.process.kill();
        drop(victim);
        broker.await_status(&lab, "the broker knows that it is gone", |status| {
            status["workers"].as_array().is_some_and(Vec::is_empty)
        });
    }
    let run = poison.wait();
    assert_eq!(run.code(), 4, "{run:?}");
    assert!(run.stderr.contains("rows") && run.stderr.contains("3 times"), "{run:?}");
    assert!(lab.files().is_empty());
    let _honest = Worker::start(&lab, &broker, "honest", 1);
    lab.render(["--broker", &broker.clients, "--size", "50x50"]);
}

#[test]
fn a_worker_that_stands_still_loses_its_bands_and_may_come_back() {
    let lab = lab();
    let alone = lab.render(LONG.iter().chain(&["--workers", "1", "-o", "alone.png"]));
    let broker = Broker::start(&lab);
    let sleeper = Worker::start(&lab, &broker, "sleeper", 1);
    let args = ["render", "--json", "--broker", &broker.clients, "-o", "a.png"];
    let render = lab.start(lab.command(args.iter().chain(&LONG)));
    broker.await_status(&lab, "it works", |status| sleeper.holds_a_band(status));
    sleeper.process.stand_still();
    let _heir = Worker::start(&lab, &broker, "heir", 1);
    assert_eq!(render.wait().report()["sha256"], alone["sha256"]);
    sleeper.process.go_on();
    broker.await_status(&lab, "the sleeper is back", |status| sleeper.row(status).is_some());
}

/// Once, a client that woke up to more small strips than the broker sends unacknowledged put off its ACK until the next strip, and the
/// broker put off the next strip until its ACK.
#[test]
fn a_client_that_stood_still_gets_the_rest() {
    let lab = lab();
    let scene: Vec<_> = LONG[..6].iter().chain(&["--size", "1800x14400", "--iter", "500"]).copied().collect();
    let alone = lab.render(scene.iter().chain(&["--workers", "1", "-o", "alone.png"]));
    let broker = Broker::start(&lab);
    let _worker = Worker::start(&lab, &broker, "w", 4);
    let args = ["render", "--json", "--broker", &broker.clients, "-o", "a.png"];
    let render = lab.start(lab.command(args.iter().chain(&scene)));
    broker.await_status(&lab, "some rows are done", |status| status["jobs"][0]["rows_done"].as_u64() > Some(0));
    render.stand_still();
    broker.await_status(&lab, "the rest waits for the client", |status| status["jobs"][0]["leases"] == 0);
    render.go_on();
    assert_eq!(render.wait().report()["sha256"], alone["sha256"]);
}

/// Once, everybody counted as silent when a stopped broker woke up, and the bands that they held were laid to the workers.
#[test]
fn a_broker_that_stood_still_lays_it_to_nobody() {
    let lab = lab();
    let alone = lab.render(LONG.iter().chain(&["--workers", "1", "-o", "alone.png"]));
    let broker = Broker::start(&lab);
    let worker = Worker::start(&lab, &broker, "w", 1);
    let args = ["render", "--json", "--broker", &broker.clients, "-o", "a.png"];
    let render = lab.start(lab.command(args.iter().chain(&LONG)));
    broker.await_status(&lab, "it works", |status| worker.holds_a_band(status));
    broker.process.stand_still();
    // Longer than the 4 s of silence after which a peer is given up: what is tested is that time itself.
    thread::sleep(Duration::from_secs(5));
    broker.process.go_on();
    assert_eq!(render.wait().report()["sha256"], alone["sha256"]);
    let status = broker.await_status(&lab, "the worker is there or back", |status| worker.row(status).is_some());
    assert_eq!(worker.row(&status).unwrap()["bands_failed"], 0);
    broker.process.terminate();
    let log = broker.process.wait().stderr;
    assert!(!log.contains("blamed=true"), "{log}");
}

/// Once the client acknowledged by bytes and by time only, and looked at both when strips came: the broker sends 64 messages without an
/// acknowledgement, and quick small strips left each waiting for the other.
#[test]
fn a_picture_of_many_quick_small_strips_is_finished() {
    let lab = lab();
    for workers in ["4", "8"] {
        let report = lab.render(["--workers", workers, "--center", "1000+0i", "--size", "4000x4000", "-o", "far.png"]);
        assert_eq!(report["bytes"].as_u64(), Some(fs::metadata(lab.path("far.png")).unwrap().len()));
    }
}
