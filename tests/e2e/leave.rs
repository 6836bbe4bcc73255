//! No process, no socket folder and no partial file is left behind, however a render ends.

use std::fs;

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
    eventually("every process has gone", || lab.living().is_empty().then_some(()));
    assert!(lab.files().is_empty(), "{:?}", lab.files());
}

#[test]
fn after_a_refusal() {
    let lab = lab();
    assert_eq!(lab.run(["render", "--bailout", "1"]).code(), 2);
    lab.expect_nothing_left();
    assert!(lab.files().is_empty());
}
