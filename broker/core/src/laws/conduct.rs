//! Workers that keep failing, workers that take no more, and a broker that closes.

use fractally_proto::{Credit, RefusalCode};

use super::*;

fn benched(grid: &Grid, worker: u64) -> bool {
    grid.core.workers[&WorkerId(worker)].conduct.benched_until.is_some()
}

/// A worker fails at so many bands, one after another.
fn fail(grid: &mut Grid, worker: u64, times: usize) {
    for _ in 0..times {
        let lease = grid.lease(worker);
        grid.band_failed(worker, lease.attempt, BandFailure::Crashed);
    }
}

/// Two workers and a job of many bands; the first worker has failed at two of them.
fn two_failures() -> (Grid, JobId) {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(1, |about| about.name = "bad".to_owned());
    grid.worker(2, |about| about.name = "good".to_owned());
    let job = grid.submit(9, submit(1, 8));
    fail(&mut grid, 1, 2);
    assert!(!benched(&grid, 1));
    (grid, job)
}

#[test]
fn a_worker_that_fails_at_three_bands_in_a_row_is_benched_for_a_while_and_tried_again() {
    let (mut grid, _) = two_failures();
    fail(&mut grid, 1, 1);
    assert!(benched(&grid, 1) && grid.try_lease(1).is_none());
    grid.pass(9 * SECOND);
    assert!(benched(&grid, 1));
    grid.pass(2 * SECOND);
    assert!(!benched(&grid, 1));
    grid.lease(1);
}

#[test]
fn one_bad_band_is_no_failure_of_the_only_worker() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(1, |_| {});
    grid.submit(9, submit(1, 1));
    fail(&mut grid, 1, 3);
    assert!(!benched(&grid, 1));
    grid.submit(9, submit(2, 1));
    grid.lease(1);
}

#[test]
fn what_failed_for_a_job_that_is_lost_is_forgiven() {
    let (mut grid, job) = two_failures();
    fail(&mut grid, 1, 1);
    grid.client_says(9, ClientSays::Cancel(fractally_proto::Cancel { job, holder: None }));
    assert!(!benched(&grid, 1));
    grid.submit(9, submit(2, 8));
    grid.lease(1);
}

#[test]
fn a_worker_that_comes_back_under_its_name_is_the_same_worker() {
    let (mut grid, _) = two_failures();
    grid.lease(1);
    grid.step(|core, now, out| core.on_worker_gone(now, WorkerId(1), out));
    grid.worker(3, |about| about.name = "bad".to_owned());
    grid.worker(4, |about| about.name = "new".to_owned());
    assert!(benched(&grid, 3) && !benched(&grid, 4));
    assert!(grid.try_lease(3).is_none());
    grid.pass(11 * SECOND);
    assert!(!benched(&grid, 3));
}

#[test]
fn a_band_does_not_wait_for_a_worker_on_the_bench() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(1, |about| about.credit = 3);
    grid.submit(9, submit(1, 4));
    fail(&mut grid, 1, 3);
    assert!(benched(&grid, 1));
    grid.worker(2, |_| {});
    // It fails once on the other one too, which has nobody else to leave it to.
    let lease = grid.lease(2);
    grid.band_failed(2, lease.attempt, BandFailure::Crashed);
    assert!(grid.try_lease(2).is_some());
}

#[test]
fn a_worker_that_takes_no_more_keeps_what_it_holds() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(1, |about| about.credit = 2);
    grid.submit(9, submit(1, 6));
    let (held, waiting) = (grid.lease(1), grid.lease(1));
    assert!(grid.worker_says(1, WorkerSays::Credit(Credit { credit: 0 })).is_empty());
    grid.band_failed(1, waiting.attempt, BandFailure::Withdrawn);
    assert!(grid.try_lease(1).is_none(), "it takes no more");
    let (_, says) = grid.tile(&held, 10);
    assert_eq!(delivered(&grid.worker_says(1, says)), [(0, 1)]);
    assert!(grid.try_lease(1).is_none());
    grid.worker_says(1, WorkerSays::Credit(Credit { credit: 1 }));
    assert_eq!(band_of(&grid.lease(1)), band_of(&waiting));
}

#[test]
fn more_credit_than_hello_said_costs_the_connection() {
    let mut grid = Grid::new();
    grid.worker(1, |about| about.credit = 2);
    let effects = grid.worker_says(1, WorkerSays::Credit(Credit { credit: 3 }));
    assert_eq!(dropped_workers(&effects), [1]);
}

#[test]
fn a_broker_that_closes_takes_no_new_jobs_and_finishes_those_it_has() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.client(8);
    let job = grid.submit(9, submit(1, 1));
    grid.core.close();
    assert_eq!(grid.refusal(8, submit(2, 1)), (RefusalCode::Closing, "jobs".to_owned()));
    assert_eq!(grid.submit(9, submit(1, 1)), job, "the same key is the same job");
    assert_eq!(grid.core.jobs_in_hand(), 1);
    grid.worker(1, |_| {});
    grid.render(1, 10);
    let effects = grid.ack(9, job, 1);
    assert!(matches!(told(&effects)[..], [Message::Done(_)]));
    assert_eq!(grid.core.jobs_in_hand(), 0);
}
