//! Brokers and gateways that are killed and started again: who polls gets his picture.

use fractally_testkit::{Broker, Gateway, Worker, eventually, lasting_ports};

use crate::long;

#[test]
fn a_client_that_polls_gets_its_picture_through_restarts_of_broker_and_gateway() {
    let lab = crate::lab();
    let ports = lasting_ports();
    let [http, _] = lasting_ports();
    let broker = Broker::keeping_on(&lab, &ports, "state", &[]);
    let _worker = Worker::start(&lab, &broker, "w", 2);
    let clients = broker.clients.clone();
    let listen = format!("127.0.0.1:{http}");
    let start = || Gateway::start_with(&lab, &["gateway", "--broker", &clients, "--listen", &listen]);
    let gateway = start();
    let id = gateway.render(&long())["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/renders/{id}");
    let rows = |gateway: &Gateway| gateway.get(&path).json()["rows_done"].as_u64().unwrap();
    eventually("some rows are there", || (rows(&gateway) > 0).then_some(()));
    // The broker: a question that comes while it is away waits for it.
    broker.die();
    let (again, seen) = std::thread::scope(|scope| {
        let asked = scope.spawn(|| gateway.get(&path));
        let again = Broker::keeping_on(&lab, &ports, "state", &[]);
        (again, asked.join().unwrap())
    });
    assert_eq!((seen.status, seen.json()["id"].as_str()), (200, Some(id.as_str())), "{}", seen.text());
    // The gateway: its successor knows all that it knew.
    drop(gateway);
    let gateway = start();
    assert!(matches!(gateway.get(&path).json()["state"].as_str(), Some("running" | "waiting" | "done")));
    assert_eq!(gateway.finished(&id)["state"], "done");
    assert!(gateway.get(&format!("{path}/image")).body.starts_with(b"\x89PNG"));
    drop(again);
}

#[test]
fn a_broker_that_stays_away_is_told() {
    let lab = crate::lab();
    let broker = Broker::keeping(&lab, "state", &[]);
    let soon = ["--reconnect-for", "0.2", "--connect-timeout", "0.2"];
    let args = [&["gateway", "--broker", &broker.clients, "--listen", "127.0.0.1:0"][..], &soon].concat();
    let gateway = Gateway::start_with(&lab, &args);
    broker.die();
    let problem = gateway.post("/api/v1/renders", &long());
    assert_eq!(problem.header("retry-after"), "2");
    problem.expect_problem(503, None);
    gateway.get(&format!("/api/v1/renders/{}", "0".repeat(32))).expect_problem(503, None);
    gateway.get("/tiles/-/0/0/0.png").expect_problem(503, None);
}
