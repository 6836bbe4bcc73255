//! How peers come, live and go.

use fractally_proto::{ErrorCode, limits};

use super::*;
use crate::{Note, Why};

#[test]
fn a_welcome_tells_the_rules() {
    let mut grid = Grid::new();
    let effects = grid.client_says(1, ClientSays::Hello(hello(None)));
    let Message::Welcome(welcome) = told(&effects)[0] else { panic!("{effects:?}") };
    assert_eq!((welcome.heartbeat_ms, welcome.dead_after_ms, welcome.epoch), (1000, 4000, Epoch(0xaaaa_bbbb_cccc_dddd)));
    let effects = grid.worker(1, |_| {});
    assert!(matches!(effects[0], Effect::ToWorker(WorkerId(1), Message::Welcome(_))));
}

#[test]
fn a_stranger_says_hello_first_or_goes() {
    let mut grid = Grid::new();
    let effects = grid.client_says(1, ClientSays::StatusQuery);
    assert_eq!((error(&effects), dropped_clients(&effects)), (Some(ErrorCode::Unexpected), vec![1]));
    let effects = grid.worker_says(1, WorkerSays::Bye);
    assert_eq!((error(&effects), dropped_workers(&effects)), (Some(ErrorCode::Unexpected), vec![1]));
}

#[test]
fn a_hello_at_the_wrong_door_is_unexpected() {
    let mut grid = Grid::new();
    let effects = grid.client_says(1, ClientSays::Hello(hello(Some(about()))));
    assert_eq!((error(&effects), dropped_clients(&effects)), (Some(ErrorCode::Unexpected), vec![1]));
    let effects = grid.worker_says(1, WorkerSays::Hello(hello(None)));
    assert_eq!((error(&effects), dropped_workers(&effects)), (Some(ErrorCode::Unexpected), vec![1]));
}

#[test]
fn a_second_hello_costs_the_connection() {
    let mut grid = Grid::new();
    grid.client(1);
    let effects = grid.client_says(1, ClientSays::Hello(hello(None)));
    assert_eq!((error(&effects), dropped_clients(&effects)), (Some(ErrorCode::Unexpected), vec![1]));
    grid.worker(1, |_| {});
    let effects = grid.worker(1, |_| {});
    assert_eq!((error(&effects), dropped_workers(&effects)), (Some(ErrorCode::Unexpected), vec![1]));
}

#[test]
fn what_a_dropped_peer_still_says_is_ignored_and_its_payloads_are_released() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.submit(9, submit(1, 4));
    grid.worker(1, |_| {});
    let lease = grid.lease(1);
    grid.worker(1, |_| {});
    let (payload, late) = grid.tile(&lease, 10);
    assert_eq!(grid.worker_says(1, late), [Effect::Release(payload)]);
    assert_eq!(grid.worker_says(1, WorkerSays::Bye), []);
    grid.client_says(9, ClientSays::Bye);
    assert_eq!(grid.client_says(9, ClientSays::StatusQuery), []);
}

#[test]
fn a_workers_hello_is_checked() {
    let long = || "x".repeat(limits::TEXT_BYTES_MAX + 1);
    let wrong: [fn(&mut WorkerHello); 6] = [
        |about| about.credit = 0,
        |about| about.credit = limits::WORKER_CREDIT_MAX + 1,
        |about| about.threads = 0,
        |about| about.threads = limits::WORKER_THREADS_MAX + 1,
        |about| about.engine.clear(),
        |about| about.encodings.clear(),
    ];
    let mut grid = Grid::new();
    for (id, change) in (1..).zip(wrong) {
        let effects = grid.worker(id, change);
        assert_eq!((error(&effects), dropped_workers(&effects)), (Some(ErrorCode::Malformed), vec![id]));
    }
    let effects = grid.worker(20, |about| about.name = long());
    assert_eq!(error(&effects), Some(ErrorCode::Malformed));
    let effects = grid.client_says(21, ClientSays::Hello(Hello { agent: long(), ..hello(None) }));
    assert_eq!(error(&effects), Some(ErrorCode::Malformed));
    grid.worker(30, |about| (about.credit, about.threads) = (limits::WORKER_CREDIT_MAX, limits::WORKER_THREADS_MAX));
    assert_eq!(grid.core.status(grid.now).workers.len(), 1);
}

#[test]
fn a_full_broker_sends_the_next_peer_away() {
    let mut grid = Grid::with(|config| (config.clients_max, config.workers_max) = (1, 1));
    grid.client(1);
    grid.worker(1, |_| {});
    let effects = grid.client_says(2, ClientSays::Hello(hello(None)));
    assert_eq!((error(&effects), dropped_clients(&effects)), (Some(ErrorCode::Full), vec![2]));
    let effects = grid.worker(2, |_| {});
    assert_eq!((error(&effects), dropped_workers(&effects)), (Some(ErrorCode::Full), vec![2]));
}

#[test]
fn a_silent_peer_is_dropped() {
    let mut grid = Grid::new();
    grid.client(1);
    grid.worker(1, |_| {});
    let effects = grid.pass_silently(3 * SECOND);
    assert_eq!((dropped_clients(&effects), dropped_workers(&effects)), (vec![], vec![]));
    let effects = grid.pass_silently(2 * SECOND);
    assert_eq!((dropped_clients(&effects), dropped_workers(&effects)), (vec![1], vec![1]));
    assert_eq!(grid.core.next_deadline(), None);
}

#[test]
fn anything_said_is_a_sign_of_life() {
    let mut grid = Grid::new();
    grid.client(1);
    grid.worker(1, |_| {});
    for _ in 0..4 {
        grid.pass_silently(3 * SECOND);
        grid.client_says(1, ClientSays::StatusQuery);
        grid.heartbeat(1, &[]);
    }
    assert_eq!(grid.core.status(grid.now).broker.clients, 1);
    assert_eq!(grid.core.status(grid.now).workers.len(), 1);
}

#[test]
fn a_worker_that_says_bye_gives_its_bands_back_without_blame() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.submit(9, submit(1, 4));
    grid.worker(1, |about| about.credit = 2);
    let effects = grid.worker_says(1, WorkerSays::Bye);
    let requeued: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Note(Note::BandRequeued { band, why, blamed, .. }) => Some((band.first, why.clone(), *blamed)),
            _ => None,
        })
        .collect();
    assert_eq!(requeued, [(0, Why::Bye, false), (1, Why::Bye, false)]);
    let [.., Effect::ToWorker(_, Message::ByeOk(_)), Effect::DropWorker(WorkerId(1))] = &effects[..] else {
        panic!("{effects:?}")
    };
    grid.worker(2, |_| {});
    assert_eq!(band_of(&grid.lease(2)).first, 0);
}

#[test]
fn a_client_that_says_bye_wants_its_jobs_no_more() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.submit(9, submit(1, 4));
    grid.worker(1, |_| {});
    let attempt = grid.lease(1).attempt;
    let effects = grid.client_says(9, ClientSays::Bye);
    assert_eq!(withdrawn(&effects), [(1, attempt)]);
    assert_eq!(told(&effects), [&Message::ByeOk(fractally_proto::ByeOk {})]);
    assert_eq!(dropped_clients(&effects), [9]);
    assert!(grid.core.status(grid.now).jobs.is_empty());
}

#[test]
fn a_status_tells_what_the_broker_knows() {
    let mut grid = Grid::new();
    grid.client(9);
    let job = grid.submit(9, submit(1, 4));
    grid.worker(1, |about| about.credit = 2);
    grid.now = SECOND;
    grid.render(1, 100);
    let effects = grid.client_says(9, ClientSays::StatusQuery);
    let Message::StatusReport(report) = told(&effects)[0] else { panic!("{effects:?}") };
    let status = fractally_proto::Status::decode(report).unwrap();
    assert_eq!(status, grid.core.status(grid.now));
    assert_eq!((status.broker.held_bytes, status.broker.clients, status.broker.uptime_ms), (100, 1, 1000));
    assert_eq!((status.workers[0].leases, status.workers[0].bands_done, status.workers[0].iterations), (2, 1, 1_000_000));
    assert_eq!((status.jobs[0].job, status.jobs[0].leases, status.jobs[0].attempts), (job, 2, 3));
}
