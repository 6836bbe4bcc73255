//! Detached jobs: they outlive their clients and their broker, and anybody may follow, fetch and cancel them.

use std::fs;

use fractally_testkit::{Broker, Lab, Run, Worker, lasting_ports};
use serde_json::Value;

use crate::{ENDLESS, LONG, lab};

/// A picture of one strip that costs nothing.
const SMALL: [&str; 4] = ["-c", "i", "--size", "300x200"];
/// Raw counts in six strips that cost next to nothing.
const COUNTS: [&str; 6] = ["-c", "-0.4+0.6i", "--size", "600x600", "--format", "npy"];

/// The bytes of a picture as a local grid renders it.
fn rendered(lab: &Lab, picture: &[&str], file: &str) -> Vec<u8> {
    lab.render(picture.iter().chain(&["-o", file]));
    fs::read(lab.path(file)).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_owned()).unwrap()
}

fn says(run: &Run, words: &[&str]) {
    for word in words {
        assert!(run.stderr.contains(word), "{word:?} is not said: {run:?}");
    }
}

#[test]
fn a_submitted_job_gives_whoever_attaches_the_picture_that_a_render_gives() {
    let lab = lab();
    let broker = Broker::keeping(&lab, "state", &[]);
    let submitted = broker.ask(&lab, "submit", &SMALL);
    let said = text(&submitted.stdout);
    let id = said.trim_end();
    assert!(id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "the id stands alone on stdout: {said:?}");
    assert_eq!(said, format!("{id}\n"));
    let counts = broker.submit(&lab, &COUNTS);
    let early = broker.client(&lab, "attach", &[id, "-o", "early.png"]);
    broker.await_job(&lab, id, "somebody follows it", |job| job["followers"] == 1);
    let _worker = Worker::start(&lab, &broker, "w", 2);
    assert_eq!(early.wait().code(), 0);
    let late = broker.ask(&lab, "attach", &[&id[12..], "--json", "-o", "late.png"]).report();
    assert_eq!(late["job"], id);
    // Where nothing is said the file is named after the job.
    assert_eq!(broker.ask(&lab, "attach", &[&counts]).code(), 0);
    let picture = rendered(&lab, &SMALL, "alone.png");
    for file in ["early.png", "late.png"] {
        assert!(fs::read(lab.path(file)).unwrap() == picture, "{file}");
    }
    assert!(fs::read(lab.path(&format!("{counts}.npy"))).unwrap() == rendered(&lab, &COUNTS, "alone.npy"));
}

#[test]
fn fetch_of_an_unfinished_job_tells_how_far_it_is_and_writes_nothing() {
    let lab = lab();
    let broker = Broker::keeping(&lab, "state", &[]);
    let id = broker.submit(&lab, &SMALL);
    let run = broker.ask(&lab, "fetch", &[&id, "-o", "a.png"]);
    assert_eq!(run.code(), 5, "{run:?}");
    says(&run, &[&id, "waiting", "no worker", "0 of 200 rows", "fractally attach"]);
    assert_eq!(lab.files(), ["state"]);
    let _worker = Worker::start(&lab, &broker, "w", 1);
    broker.await_done(&lab, &id);
    assert_eq!(broker.ask(&lab, "fetch", &[&id, "-o", "a.png"]).code(), 0);
    assert!(fs::read(lab.path("a.png")).unwrap() == rendered(&lab, &SMALL, "alone.png"));
    for verb in ["fetch", "attach", "cancel"] {
        let run = broker.ask(&lab, verb, &["0123456789abcdef"]);
        assert_eq!(run.code(), 6, "{run:?}");
        says(&run, &["no detached job 0123456789abcdef", "fractally list"]);
    }
}

#[test]
fn a_job_that_somebody_else_cancelled_frees_its_workers_and_stays_cancelled() {
    let lab = lab();
    let ports = lasting_ports();
    let broker = Broker::keeping_on(&lab, &ports, "state", &[]);
    let workers = ["a", "b"].map(|name| Worker::start(&lab, &broker, name, 1));
    let id = broker.submit(&lab, &[&ENDLESS[..], &["--iter", "900000000"]].concat());
    let follower = broker.client(&lab, "attach", &[&id, "-o", "a.png"]);
    broker.await_status(&lab, "both work and somebody follows", |status| {
        workers.iter().all(|worker| worker.holds_a_band(status)) && status["jobs"][0]["attached"] == true
    });
    let run = broker.ask(&lab, "cancel", &[&id]);
    assert_eq!((run.code(), text(&run.stdout)), (0, format!("job {id} is cancelled\n")));
    let followed = follower.wait();
    assert_eq!(followed.code(), 4, "{followed:?}");
    says(&followed, &[&id, "cancelled"]);
    broker.await_status(&lab, "nothing is left of it on the grid", |status| {
        let is_idle = |worker: &Worker| worker.row(status).is_some_and(|row| row["leases"] == 0);
        workers.iter().all(is_idle) && status["jobs"].as_array().is_some_and(Vec::is_empty)
    });
    broker.die();
    let again = Broker::keeping_on(&lab, &ports, "state", &[]);
    assert_eq!(again.job(&lab, &id).unwrap()["state"], "cancelled");
    again.await_status(&lab, "the workers are back and idle", |status| {
        workers.iter().all(|worker| worker.row(status).is_some_and(|row| row["leases"] == 0))
    });
    let late = again.ask(&lab, "attach", &[&id]);
    assert_eq!(late.code(), 4, "{late:?}");
    says(&late, &["cancelled"]);
    let twice = again.ask(&lab, "cancel", &[&id]);
    assert_eq!(twice.code(), 0, "{twice:?}");
    assert!(text(&twice.stdout).contains("over already: cancelled"), "{twice:?}");
    assert_eq!(lab.files(), ["state"]);
}

#[test]
fn a_follower_survives_the_broker_and_no_strip_on_disk_is_rendered_again() {
    let lab = lab();
    let picture = [&LONG[..8], &["--iter", "10000"]].concat();
    let undisturbed = lab.render(picture.iter().chain(&["--workers", "2", "-o", "undisturbed.png"]));
    let ports = lasting_ports();
    let broker = Broker::keeping_on(&lab, &ports, "state", &[]);
    let _worker = Worker::start(&lab, &broker, "w", 2);
    let id = broker.submit(&lab, &picture);
    let follower = broker.client(&lab, "attach", &[&id, "--json", "-o", "followed.png"]);
    broker.await_job(&lab, &id, "rows are on disk and somebody follows", |job| {
        job["rows_done"].as_u64() > Some(0) && job["followers"] == 1
    });
    let before = broker.job(&lab, &id).unwrap();
    broker.die();
    let again = Broker::keeping_on(&lab, &ports, "state", &[]);
    let after = again.job(&lab, &id).unwrap();
    assert!(after["rows_done"].as_u64() >= before["rows_done"].as_u64(), "{before} and then {after}");
    let report = follower.wait().report();
    assert_eq!(report["sha256"], undisturbed["sha256"]);
    assert!(report["reconnects"].as_u64() >= Some(1), "{report}");
    assert!(report["iterations"].as_u64() < undisturbed["iterations"].as_u64(), "rows on disk are not rendered again: {report}");
    assert_eq!(fs::read(lab.path("followed.png")).unwrap(), fs::read(lab.path("undisturbed.png")).unwrap());
}

#[test]
fn a_job_goes_on_after_its_clients_were_killed() {
    let lab = lab();
    let broker = Broker::keeping(&lab, "state", &[]);
    // At any moment of its life: the job is there, or it is not, and under its key it is there once.
    for step in 0..10 {
        let submit = broker.client(&lab, "submit", &[&SMALL[..], &["--key", "killed"]].concat());
        std::thread::sleep(std::time::Duration::from_millis(4 * step));
        submit.kill();
    }
    let id = broker.submit(&lab, &[&SMALL[..], &["--key", "killed"]].concat());
    assert_eq!(broker.jobs(&lab).len(), 1);
    let follower = broker.client(&lab, "attach", &[&id, "-o", "a.png"]);
    broker.await_job(&lab, &id, "somebody follows it", |job| job["followers"] == 1);
    drop(follower);
    broker.await_job(&lab, &id, "nobody follows it any more", |job| job["followers"] == 0);
    let _worker = Worker::start(&lab, &broker, "w", 1);
    broker.await_done(&lab, &id);
    assert_eq!(broker.ask(&lab, "fetch", &[&id, "-o", "b.png"]).code(), 0);
    assert!(fs::read(lab.path("b.png")).unwrap() == rendered(&lab, &SMALL, "alone.png"));
}

#[test]
fn the_same_key_is_the_same_job_and_never_another() {
    let lab = lab();
    let ports = lasting_ports();
    let broker = Broker::keeping_on(&lab, &ports, "state", &[]);
    fn keyed<'a>(more: &[&'a str]) -> Vec<&'a str> {
        [&SMALL[..], &["--key", "poster, second try"], more].concat()
    }
    let id = broker.submit(&lab, &keyed(&[]));
    assert_eq!(broker.submit(&lab, &keyed(&[])), id);
    for (more, field) in [(["--iter", "7"], "request"), (["--priority", "batch"], "priority")] {
        let run = broker.ask(&lab, "submit", &keyed(&more));
        assert_eq!(run.code(), 2, "{run:?}");
        says(&run, &["--key", &id, &format!("another {field}")]);
    }
    broker.die();
    let again = Broker::keeping_on(&lab, &ports, "state", &[]);
    assert_eq!(again.submit(&lab, &keyed(&[])), id, "also after a restart");
    let _worker = Worker::start(&lab, &again, "w", 1);
    again.await_done(&lab, &id);
    assert_eq!(again.submit(&lab, &keyed(&[])), id, "also when it is done");
    assert_eq!(again.jobs(&lab).len(), 1);
    // Without a key each is a job of its own.
    assert_ne!(again.submit(&lab, &["-c", "i", "--iter", "8"]), again.submit(&lab, &["-c", "i", "--iter", "9"]));
}

#[test]
fn a_picture_that_is_there_is_answered_at_once_and_no_band_is_leased_for_it() {
    let lab = lab();
    let ports = lasting_ports();
    let broker = Broker::keeping_on(&lab, &ports, "state", &[]);
    let worker = Worker::start(&lab, &broker, "w", 1);
    let id = broker.submit(&lab, &COUNTS);
    broker.await_done(&lab, &id);
    let ask_again = |broker: &Broker, file: &str| {
        let submitted = broker.ask(&lab, "submit", &[&COUNTS[..], &["--json"]].concat()).report();
        assert_eq!((&submitted["job"], &submitted["cached"]), (&Value::from(id.as_str()), &Value::from(true)));
        let report = broker.ask(&lab, "render", &[&COUNTS[..], &["--json", "-o", file]].concat()).report();
        assert_eq!((&report["job"], &report["cached"]), (&Value::from(id.as_str()), &Value::from(true)), "{report}");
        fs::read(lab.path(file)).unwrap()
    };
    let bands = |status: &Value| worker.row(status).map(|row| row["bands_done"].clone());
    let before = broker.status(&lab);
    let picture = ask_again(&broker, "again.npy");
    assert_eq!(bands(&broker.status(&lab)), bands(&before), "nothing was rendered");
    // Without any worker, and by the next broker.
    worker.process.kill();
    broker.die();
    let again = Broker::keeping_on(&lab, &ports, "state", &[]);
    assert!(ask_again(&again, "restarted.npy") == picture);
    assert!(rendered(&lab, &COUNTS, "alone.npy") == picture);
    assert_eq!(again.jobs(&lab).len(), 1);
    // Another picture waits for a worker as ever.
    let other = again.submit(&lab, &SMALL);
    assert_eq!(again.ask(&lab, "fetch", &[&other]).code(), 5);
}

#[test]
fn a_broker_without_a_journal_refuses_detached_jobs_and_says_why() {
    let lab = lab();
    let broker = Broker::start(&lab);
    let _worker = Worker::start(&lab, &broker, "w", 1);
    let run = broker.ask(&lab, "submit", &SMALL);
    assert_eq!((run.code(), text(&run.stdout)), (4, String::new()), "{run:?}");
    says(&run, &["keeps no journal", "--state"]);
    assert!(broker.jobs(&lab).is_empty());
    assert_eq!(broker.ask(&lab, "attach", &["0123456789abcdef"]).code(), 6);
    broker.ask(&lab, "render", &[&SMALL[..], &["--json"]].concat()).report();
}

/// Second-long bands of a batch job fill every thread and every queue; whoever waits in front of a screen passes them.
#[test]
fn an_interactive_render_passes_a_detached_batch_job() {
    let lab = lab();
    let broker = Broker::keeping(&lab, "state", &[]);
    let worker = Worker::start(&lab, &broker, "w", 1);
    // A strip of it takes about a second, and there are some hundred.
    let args = [&ENDLESS[..6], &["--size", "2000x6000", "--iter", "30000", "--priority", "batch"]].concat();
    let batch = broker.submit(&lab, &args);
    broker.await_status(&lab, "the worker and its queue are full", |status| {
        worker.row(status).is_some_and(|row| row["leases"] == 2)
    });
    let attempts = || broker.ask(&lab, "status", &["--job", &batch, "--json"]).report()["attempts"].as_u64().unwrap();
    let before = attempts();
    let report = broker.ask(&lab, "render", &[&SMALL[..], &["--json", "-o", "quick.png"]].concat()).report();
    let after = attempts();
    let job = broker.job(&lab, &batch).unwrap();
    assert!(job["rows_done"].as_u64() < Some(3000) && job["state"] == "running", "{job}");
    assert!(after - before <= 4, "{before} attempts before, {after} after: {report}");
    assert_eq!(broker.ask(&lab, "cancel", &[&batch]).code(), 0);
}
