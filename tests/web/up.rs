//! `fractally up`: a grid and a gateway by one command, which leave nothing behind.

use fractally_testkit::Gateway;
use serde_json::json;

#[test]
fn one_command_renders_and_leaves_nothing_behind() {
    let lab = crate::lab();
    let gateway = Gateway::start_with(&lab, &["up", "--listen", "127.0.0.1:0", "--workers", "2"]);
    let id = gateway.render(&json!({"size": "300x200"}))["id"].as_str().unwrap().to_owned();
    assert_eq!(gateway.finished(&id)["state"], "done");
    gateway.process.interrupt();
    let run = gateway.process.wait();
    assert!(run.status.success(), "{run:?}");
    lab.expect_nothing_left();
}

#[test]
fn renders_are_there_the_next_time_where_a_directory_is_given() {
    let lab = crate::lab();
    let start = || Gateway::start_with(&lab, &["up", "--listen", "127.0.0.1:0", "--workers", "1", "--state", "kept"]);
    let gateway = start();
    let id = gateway.render(&json!({"size": "300x200"}))["id"].as_str().unwrap().to_owned();
    assert_eq!(gateway.finished(&id)["state"], "done");
    gateway.process.terminate();
    assert!(gateway.process.wait().status.success());
    let gateway = start();
    assert_eq!(gateway.get(&format!("/api/v1/renders/{id}")).json()["state"], "done");
}
