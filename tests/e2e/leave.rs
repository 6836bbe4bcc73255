//! No process, no socket folder and no partial file is left behind, however a render ends.

use std::{fs, net::TcpListener, os::unix::process::ExitStatusExt, process::Stdio, thread, time::Duration};

use fractally_testkit::{Lab, Process, eventually};

use crate::{LONG, lab};

/// A long render on a local grid, met when its workers run.
fn started(lab: &Lab) -> Process {
    let render = lab.start(lab.command(["render", "--workers", "2", "-o", "long.png"].iter().chain(&LONG)));
    eventually("the parent, the broker and two workers run", || (lab.living().len() == 4).then_some(()));
    render
}

#[test]
fn after_success() {
    let lab = lab();
    lab.render(["--size", "100x100", "-o", "a.png"]);
    lab.expect_nothing_left();
    assert_eq!(lab.files(), ["a.png"]);
}

#[test]
fn after_ctrl_c() {
    let lab = lab();
    let render = started(&lab);
    render.interrupt();
    let run = render.wait();
    assert_eq!(run.code(), 130, "{run:?}");
    lab.expect_nothing_left();
    assert!(lab.files().is_empty(), "{:?}", lab.files());
}

#[test]
fn after_sigterm_an_older_file_is_as_it_was() {
    let lab = lab();
    fs::write(lab.path("long.png"), "older").unwrap();
    let render = started(&lab);
    render.terminate();
    assert_eq!(render.wait().code(), 130);
    lab.expect_nothing_left();
    assert_eq!(fs::read(lab.path("long.png")).unwrap(), b"older");
    assert_eq!(lab.files(), ["long.png"]);
}

#[test]
fn after_sigkill_of_the_parent() {
    let lab = lab();
    let render = started(&lab);
    render.kill();
    drop(render);
    lab.expect_nothing_left();
}

/// The broker may die before the client has heard from it: then the broken connection is seen first, and the story must still be
/// the broker's.
#[test]
fn after_the_death_of_the_broker() {
    let lab = lab();
    let render = started(&lab);
    let broker = lab.living().into_iter().find(|id| {
        let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        line.split(|&byte| byte == 0).any(|word| word == b"broker")
    });
    lab.kill(broker.expect("the broker runs"));
    let run = render.wait();
    assert_eq!(run.code(), 1, "{run:?}");
    assert!(run.stderr.contains("broker"), "{run:?}");
    lab.expect_nothing_left();
    assert!(lab.files().is_empty(), "{:?}", lab.files());
}

/// Ctrl-C at a moment when nothing, half or all of the grid is there yet. Once it left partial files: the signal came before
/// anybody listened for it.
#[test]
fn after_ctrl_c_at_any_moment_of_the_start() {
    let lab = lab();
    for step in 0..60 {
        let render = lab.start(lab.command(["render", "--workers", "1", "-o", "long.png"].iter().chain(&LONG)));
        thread::sleep(Duration::from_micros(250 * step));
        render.interrupt();
        let run = render.wait();
        // Before main begins, the signal has its default effect.
        assert!(run.status.code() == Some(130) || run.status.signal() == Some(2), "{run:?}");
        assert!(!run.stderr.contains("Broken pipe"), "{run:?}");
    }
    lab.expect_nothing_left();
    assert!(lab.files().is_empty(), "{:?}", lab.files());
}

#[test]
fn after_sigterm_while_nobody_reads_the_picture() {
    let lab = lab();
    let mut command = lab.command(["render", "--size", "6000x6000", "-o", "-"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut render = command.spawn().unwrap();
    // Its pipe stays open and unread; once the picture fills it, the process waits in a write.
    eventually("the grid runs", || (lab.living().len() >= 3).then_some(()));
    lab.terminate(i32::try_from(render.id()).unwrap());
    let status = eventually("the process ends", || render.try_wait().unwrap());
    assert_eq!(status.code(), Some(130));
    lab.expect_nothing_left();
}

#[test]
fn after_a_refusal() {
    let lab = lab();
    assert_eq!(lab.run(["render", "--bailout", "1"]).code(), 2);
    lab.expect_nothing_left();
    assert!(lab.files().is_empty());
}

/// Once, who asked a broker that said nothing was not heard before the broker had been given up.
#[test]
fn while_a_broker_says_nothing() {
    let lab = lab();
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    mute.set_nonblocking(true).unwrap();
    let endpoint = format!("tcp://{}", mute.local_addr().unwrap());
    for asks in [&["top", "--once"][..], &["status"], &["list"], &["attach", "0001"], &["fetch", "0001"], &["cancel", "0001"]] {
        let reach = ["--connect-timeout", "86400", "--broker", &endpoint];
        let process = lab.start(lab.command(asks.iter().chain(&reach)));
        let _connection = eventually("it is connected", || mute.accept().ok());
        process.terminate();
        let run = process.wait();
        assert!(run.code() == 130 && run.stderr.contains("stopped"), "{asks:?}: {run:?}");
    }
}
