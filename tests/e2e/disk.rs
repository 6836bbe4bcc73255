//! The disk under detached jobs: in use, read-only, of a newer version, full, bounded, slow. What cannot be kept is refused or waits,
//! and says so; nobody else notices.

use std::{fs, io::Write, os::unix::fs::MetadataExt, path::Path};

use fractally_testkit::{Broker, Lab, Mount, Run, Worker, eventually, lasting_ports};
use serde_json::Value;

use crate::lab;

/// Raw counts, of which no byte is spared: 16 MB in 62 strips that cost next to nothing.
const LARGE: [&str; 8] = ["-c", "-0.4+0.6i", "--size", "2000x2000", "--iter", "50", "--format", "npy"];
const SMALL: [&str; 4] = ["-c", "i", "--size", "300x200"];

/// What a broker says that does not start.
fn refused(lab: &Lab, state: &str) -> Run {
    let run = lab.run(["broker", "--client-port", "0", "--worker-port", "0", "--state", state]);
    assert_eq!(run.code(), 1, "{run:?}");
    assert!(run.stdout.is_empty(), "{run:?}");
    assert!(run.stderr.contains("--state") && run.stderr.contains(state) && !run.stderr.contains("panicked"), "{run:?}");
    run
}

/// Bytes that all files below a folder take.
fn disk_usage(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let usage = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_usage(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        // It has just been removed.
        Err(_) => 0,
    };
    entries.flatten().map(usage).sum()
}

fn bytes_of(lab: &Lab, file: &str) -> Vec<u8> {
    fs::read(lab.path(file)).unwrap()
}

#[test]
fn a_state_directory_has_one_broker() {
    let lab = lab();
    let broker = Broker::keeping(&lab, "state", &[]);
    let id = broker.submit(&lab, &SMALL);
    let run = refused(&lab, "state");
    assert!(run.stderr.contains("in use") || run.stderr.contains("another broker"), "{run:?}");
    let _worker = Worker::start(&lab, &broker, "w", 1);
    broker.await_done(&lab, &id);
    broker.die();
    // A lock that outlived its owner would keep everybody out.
    assert_eq!(Broker::keeping(&lab, "state", &[]).job(&lab, &id).unwrap()["state"], "done");
}

#[test]
fn a_state_directory_of_a_newer_version_is_left_as_it_is() {
    let lab = lab();
    Broker::keeping(&lab, "state", &[]).die();
    let path = lab.path("state/format");
    let mut format = fs::read(&path).unwrap();
    format[8..12].copy_from_slice(&2_u32.to_le_bytes());
    let sum = crc32fast::hash(&format[..12]);
    format[12..].copy_from_slice(&sum.to_le_bytes());
    fs::write(&path, &format).unwrap();
    let run = refused(&lab, "state");
    assert!(run.stderr.contains("has format 2"), "{run:?}");
    assert_eq!(fs::read(&path).unwrap(), format);
}

#[test]
fn somebody_elses_folder_is_no_state_directory() {
    let lab = lab();
    fs::create_dir(lab.path("home")).unwrap();
    fs::write(lab.path("home/letter.txt"), "Dear").unwrap();
    assert!(refused(&lab, "home").stderr.contains("letter.txt"));
    assert_eq!(fs::read_dir(lab.path("home")).unwrap().count(), 1, "nothing was put there");
    assert!(refused(&lab, "home/letter.txt").stderr.contains("letter.txt"));
}

#[test]
fn a_read_only_state_directory_is_refused() {
    let lab = lab();
    let Some(mount) = Mount::of_mib(&lab.path("state"), 8) else { return };
    Broker::keeping(&lab, "state", &[]).die();
    mount.make_read_only();
    assert!(refused(&lab, "state").stderr.contains("Read-only file system"));
}

#[test]
fn a_full_disk_pauses_detached_jobs_and_nobody_else() {
    let lab = lab();
    let Some(_mount) = Mount::of_mib(&lab.path("state"), 24) else { return };
    let ports = lasting_ports();
    let broker = Broker::keeping_on(&lab, &ports, "state", &[]);
    let _worker = Worker::start(&lab, &broker, "w", 2);
    let old = broker.submit(&lab, &SMALL);
    broker.await_done(&lab, &old);
    // Where it can be deleted, and is none of the broker's business.
    let filler = lab.path("state/lost+found");
    fs::File::create(&filler).unwrap().write_all(&vec![0x5a; 18 << 20]).unwrap();
    let large = broker.submit(&lab, &LARGE);
    let paused = broker.await_job(&lab, &large, "it is paused", |job| job["state"] == "paused");
    assert!(paused["why"].as_str().unwrap().contains("No space left"), "{paused}");
    let trouble = broker.status(&lab)["broker"]["journal"]["trouble"].clone();
    assert!(trouble.as_str().unwrap().contains("No space left"), "{trouble}");
    let look_around = |broker: &Broker| {
        let run = broker.ask(&lab, "submit", &["-c", "0.3i", "--size", "90x90"]);
        assert_eq!((run.code(), run.stdout.len()), (4, 0), "{run:?}");
        assert!(run.stderr.contains("journal") && run.stderr.contains("No space left"), "{run:?}");
        assert_eq!(broker.ask(&lab, "fetch", &[&old, "-o", "old.png"]).code(), 0);
        lab.render(SMALL.iter().chain(&["-o", "alone.png"]));
        assert!(bytes_of(&lab, "old.png") == bytes_of(&lab, "alone.png"));
        let unfinished = broker.ask(&lab, "fetch", &[&large]);
        assert_eq!(unfinished.code(), 5, "{unfinished:?}");
        assert!(unfinished.stderr.contains("paused") && unfinished.stderr.contains("No space left"), "{unfinished:?}");
        // Another picture than is on disk, as large as the one that waits.
        let attached = [&["--broker", &broker.clients], &LARGE[..4], &["--iter", "60", "--format", "npy", "-o", "attached.npy"]];
        lab.render(attached.concat());
    };
    look_around(&broker);
    broker.die();
    // A broker that is started there goes on as well as it can.
    let again = Broker::keeping_on(&lab, &ports, "state", &[]);
    again.await_job(&lab, &large, "it is paused again", |job| job["state"] == "paused");
    look_around(&again);
    fs::remove_file(&filler).unwrap();
    again.await_done(&lab, &large);
    assert_eq!(again.ask(&lab, "fetch", &[&large, "-o", "large.npy"]).code(), 0);
    lab.render(LARGE.iter().chain(&["-o", "large-alone.npy"]));
    assert!(bytes_of(&lab, "large.npy") == bytes_of(&lab, "large-alone.npy"));
    again.await_status(&lab, "the trouble is over", |status| {
        status["broker"]["journal"].get("trouble").is_none_or(Value::is_null)
    });
    again.submit(&lab, &["-c", "0.3i", "--size", "90x90"]);
}

/// Once the end of a cancelled job needed room that only its strips could give.
#[test]
fn a_job_can_be_cancelled_for_the_room_that_it_takes_on_a_full_disk() {
    let lab = lab();
    let Some(_mount) = Mount::of_mib(&lab.path("state"), 8) else { return };
    let broker = Broker::keeping(&lab, "state", &[]);
    let _worker = Worker::start(&lab, &broker, "w", 2);
    let large = broker.submit(&lab, &LARGE);
    broker.await_job(&lab, &large, "it is paused", |job| job["state"] == "paused");
    // Blocks that strips were too large for.
    let fill = || fs::write(lab.path("state/lost+found"), vec![0x5a; 8 << 20]).is_err();
    assert!(fill());
    let run = broker.ask(&lab, "cancel", &[&large]);
    assert_eq!(run.code(), 0, "{run:?}");
    assert_eq!(broker.job(&lab, &large).unwrap()["state"], "cancelled");
    fs::remove_file(lab.path("state/lost+found")).unwrap();
    broker.await_status(&lab, "the trouble is over", |status| {
        status["broker"]["journal"].get("trouble").is_none_or(Value::is_null)
    });
    let small = broker.submit(&lab, &SMALL);
    broker.await_done(&lab, &small);
}

#[test]
fn the_state_directory_never_outgrows_its_bound() {
    const BOUND: u64 = 4 << 20;
    let lab = lab();
    let broker = Broker::keeping(&lab, "state", &["--state-size", "4"]);
    let _worker = Worker::start(&lab, &broker, "w", 2);
    // A look that takes time sees what was deleted meanwhile beside what was written for it.
    let within_bound = || {
        let usage = broker.process.while_it_stands_still(|| disk_usage(&lab.path("state")));
        assert!(usage <= BOUND, "{usage} bytes");
    };
    // Sixteen of 960 kB each.
    let mut ids = Vec::new();
    for i in 0..16 {
        let width = format!("{}", 4.0 + f64::from(i) / 8.0);
        let picture = ["-c", "-0.4+0.6i", "--size", "600x400", "--format", "npy", "--width", &width];
        let id = eventually("there is room for one more", || {
            let run = broker.ask(&lab, "submit", &picture);
            within_bound();
            let said = String::from_utf8_lossy(&run.stdout).trim_end().to_owned();
            if run.status.success() { Some(said) } else { None }
        });
        if i % 3 == 2 {
            broker.await_done(&lab, &id);
        }
        ids.push((id, width));
    }
    let (last, width) = ids.last().unwrap();
    broker.await_done(&lab, last);
    eventually("all are over", || broker.jobs(&lab).iter().all(|job| job["state"] == "done").then_some(()));
    within_bound();
    let kept = broker.jobs(&lab);
    assert!((2..=4).contains(&kept.len()), "the last of them are kept: {kept:?}");
    assert!(broker.status(&lab)["broker"]["journal"]["bytes"].as_u64() <= Some(BOUND));
    let (first, _) = &ids[0];
    assert_eq!(broker.ask(&lab, "fetch", &[first]).code(), 6, "the earliest is forgotten");
    assert_eq!(broker.ask(&lab, "fetch", &[last, "-o", "last.npy"]).code(), 0);
    lab.render(["-c", "-0.4+0.6i", "--size", "600x400", "--width", width, "-o", "alone.npy"]);
    assert!(bytes_of(&lab, "last.npy") == bytes_of(&lab, "alone.npy"));
}

/// Once each of them had a part of its picture on disk, and waited for the room that the others held.
#[test]
fn jobs_that_have_no_room_together_end_one_after_another() {
    const BOUND: u64 = 24 << 20;
    let lab = lab();
    let broker = Broker::keeping(&lab, "state", &["--state-size", "24"]);
    // 16 MB each, of accounts that share the grid, so that all of them grow at once.
    let widths = ["4.0", "4.1", "4.2", "4.3"];
    let submit = |width| broker.submit(&lab, &[&LARGE[..], &["--width", width, "--account", width]].concat());
    let last = widths.map(submit).into_iter().next_back().unwrap();
    let _worker = Worker::start(&lab, &broker, "w", 2);
    eventually("every job is over, or was forgotten after its end", || {
        let usage = broker.process.while_it_stands_still(|| disk_usage(&lab.path("state")));
        assert!(usage <= BOUND, "{usage} bytes");
        broker.jobs(&lab).iter().all(|job| job["state"] == "done").then_some(())
    });
    assert_eq!(broker.status(&lab)["broker"]["jobs_done"], widths.len());
    assert_eq!(broker.ask(&lab, "fetch", &[&last, "-o", "last.npy"]).code(), 0);
    lab.render(LARGE.iter().chain(&["--width", "4.3", "-o", "alone.npy"]));
    assert!(bytes_of(&lab, "last.npy") == bytes_of(&lab, "alone.npy"));
}

#[test]
fn a_job_that_is_over_is_forgotten_when_its_time_is() {
    let lab = lab();
    let ports = lasting_ports();
    // 1.8 seconds.
    let broker = Broker::keeping_on(&lab, &ports, "state", &["--keep-for", "0.0005"]);
    let worker = Worker::start(&lab, &broker, "w", 1);
    let id = broker.submit(&lab, &SMALL);
    let is_gone = |broker: &Broker, id: &str| {
        eventually("the job is forgotten", || broker.job(&lab, id).is_none().then_some(()));
        eventually("its files are gone", || {
            let is_empty = |folder: &str| fs::read_dir(lab.path(folder)).unwrap().next().is_none();
            (is_empty("state/jobs") && is_empty("state/tmp")).then_some(())
        });
    };
    is_gone(&broker, &id);
    assert_eq!(broker.ask(&lab, "fetch", &[&id]).code(), 6);
    worker.process.kill();
    let waits = broker.submit(&lab, &SMALL);
    // One that ended is forgotten by the next broker too, one that waits is not.
    let ends = broker.submit(&lab, &["-c", "0.2i"]);
    assert_eq!(broker.ask(&lab, "cancel", &[&ends]).code(), 0);
    broker.die();
    let again = Broker::keeping_on(&lab, &ports, "state", &["--keep-for", "0.0005"]);
    eventually("the job is forgotten", || again.job(&lab, &ends).is_none().then_some(()));
    assert_eq!(again.job(&lab, &waits).unwrap()["state"], "waiting");
}

/// A disk that takes longer than the time after which silent peers are given up: it is the journal's thread that waits, and nobody else.
#[test]
fn a_slow_disk_stalls_detached_jobs_and_nobody_else() {
    let lab = lab();
    // Every sync takes more than the 4 s of silence.
    let broker = Broker::keeping(&lab, "state", &["--debug-slow-disk", "5"]);
    let worker = Worker::start(&lab, &broker, "w", 1);
    let id = broker.submit(&lab, &SMALL);
    let follower = broker.client(&lab, "attach", &[&id, "--json", "-o", "a.png"]);
    let number = broker.await_status(&lab, "the worker is there", |status| worker.row(status).is_some());
    let number = worker.row(&number).unwrap()["worker"].clone();
    broker.await_job(&lab, &id, "its only strip waits for the disk, and somebody follows", |job| {
        job["followers"] == 1 && job["state"] == "running" && broker.status(&lab)["broker"]["held_bytes"].as_u64() > Some(0)
    });
    let report = broker.ask(&lab, "render", &["--json", "--size", "800x600", "-o", "attached.png"]).report();
    let mut looks = 0;
    loop {
        let asked = broker.ask(&lab, "status", &["--json", "--connect-timeout", "2"]).report();
        let row = worker.row(&asked).expect("no worker is dropped");
        assert_eq!(row["worker"], number, "it never had to come again");
        let job = broker.job(&lab, &id).unwrap();
        if job["rows_done"] != 0 {
            break;
        }
        assert_eq!((&job["state"], &job["followers"]), (&Value::from("running"), &Value::from(1)), "{job}");
        if looks == 0 {
            assert!(bytes_of(&lab, "attached.png").len() as u64 == report["bytes"].as_u64().unwrap(), "a render was done before");
        }
        looks += 1;
    }
    let done = broker.await_done(&lab, &id);
    assert!(looks > 3, "the broker answered all the while: {looks} times");
    assert!(done["elapsed_ms"].as_u64() >= Some(5000), "the disk was slow: {done}");
    let followed = follower.wait().report();
    assert_eq!(followed["reconnects"], 0, "{followed}");
    lab.render(SMALL.iter().chain(&["-o", "alone.png"]));
    assert!(bytes_of(&lab, "a.png") == bytes_of(&lab, "alone.png"));
    // What it said at the end is on disk.
    broker.process.terminate();
    let run = broker.process.wait();
    assert_eq!(run.code(), 0, "{run:?}");
    assert!(!run.stderr.contains("stood still") && !run.stderr.contains("silent"), "{run:?}");
}

/// Once the list told of an end that was still on its way to disk, and `cancel` took its word: the broker died, and the job lived on.
#[test]
fn a_job_that_is_said_to_be_cancelled_stays_so_whatever_the_disk_does() {
    let lab = lab();
    let ports = lasting_ports();
    let broker = Broker::keeping_on(&lab, &ports, "state", &["--debug-slow-disk", "4"]);
    let endless = broker.submit(&lab, &[&crate::ENDLESS[..], &["--iter", "900000000", "--priority", "batch"]].concat());
    let small = broker.submit(&lab, &SMALL);
    let _worker = Worker::start(&lab, &broker, "w", 2);
    broker.await_status(&lab, "a strip waits for the disk", |status| status["broker"]["held_bytes"].as_u64() > Some(0));
    assert_eq!(broker.ask(&lab, "cancel", &[&endless]).code(), 0);
    broker.die();
    let again = Broker::keeping_on(&lab, &ports, "state", &[]);
    assert_eq!(again.job(&lab, &endless).unwrap()["state"], "cancelled");
    again.await_done(&lab, &small);
}
