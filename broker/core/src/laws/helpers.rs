//! What idle workers take over.

use super::*;

pub(super) fn recalled(effects: &[Effect]) -> Vec<(u64, AttemptId)> {
    let of = |effect: &Effect| match effect {
        Effect::ToWorker(worker, Message::Withdraw(withdraw)) if withdraw.if_waiting => Some((worker.0, withdraw.attempt)),
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

/// A band on worker 1 that is late, and the same on worker 2, which has nothing else to do.
fn late(strips: u32) -> (Grid, JobId, Lease, Lease) {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(1, |_| {});
    let job = grid.submit(9, submit(1, strips));
    let first = grid.lease(1);
    grid.worker(2, |_| {});
    for _ in 1..strips {
        grid.render(2, 10);
    }
    grid.worker_says(2, WorkerSays::Bye);
    grid.worker(3, |_| {});
    // While nothing is measured, a quarter of a second is no delay.
    grid.pass(if strips == 1 { 200 * MS } else { Duration::ZERO });
    assert!(grid.try_lease(3).is_none(), "it is not late yet");
    grid.pass(400 * MS);
    let second = grid.lease(3);
    assert_eq!(band_of(&second), band_of(&first));
    assert_ne!(second.attempt, first.attempt);
    (grid, job, first, second)
}

#[test]
fn a_late_band_is_tried_by_a_second_worker_and_the_first_tile_wins() {
    let (mut grid, job, first, second) = late(1);
    let (payload, says) = grid.tile(&second, 10);
    let effects = grid.worker_says(3, says);
    assert_eq!((delivered(&effects), withdrawn(&effects)), (vec![(0, 1)], vec![(1, first.attempt)]));
    let (late_payload, says) = grid.tile(&first, 10);
    let effects = grid.worker_says(1, says);
    assert_eq!((delivered(&effects), released(&effects)), (vec![], vec![late_payload]), "it crossed");
    let effects = grid.ack(9, job, 1);
    assert_eq!(released(&effects), [payload]);
    assert!(matches!(told(&effects)[..], [Message::Done(done)] if (done.bands, done.attempts, done.workers) == (1, 2, 1)));
}

#[test]
fn a_late_band_that_comes_after_all_ends_the_second_try() {
    let (mut grid, _, first, second) = late(1);
    let (_, says) = grid.tile(&first, 10);
    let effects = grid.worker_says(1, says);
    assert_eq!((delivered(&effects), withdrawn(&effects)), (vec![(0, 1)], vec![(3, second.attempt)]));
    assert!(grid.band_failed(3, second.attempt, BandFailure::Withdrawn).is_empty());
}

#[test]
fn a_second_try_that_fails_leaves_the_first_alone_and_the_other_way_round() {
    for loser in [1, 3] {
        let (mut grid, _, first, second) = late(1);
        let (lost, kept, winner) = if loser == 1 { (first, second, 3) } else { (second, first, 1) };
        grid.band_failed(loser, lost.attempt, BandFailure::Crashed);
        assert!(grid.leased.is_empty(), "it is still tried");
        let (_, says) = grid.tile(&kept, 10);
        assert_eq!(delivered(&grid.worker_says(winner, says)), [(0, 1)]);
    }
}

#[test]
fn a_band_whose_both_workers_are_gone_is_offered_again() {
    let (mut grid, ..) = late(1);
    grid.step(|core, now, out| core.on_worker_gone(now, WorkerId(3), out));
    grid.step(|core, now, out| core.on_worker_gone(now, WorkerId(1), out));
    grid.worker(4, |_| {});
    assert_eq!(band_of(&grid.lease(4)).first, 0);
}

#[test]
fn a_job_that_ends_withdraws_both_tries() {
    let (mut grid, job, first, second) = late(1);
    let effects = grid.client_says(9, ClientSays::Cancel(fractally_proto::Cancel { job, holder: None }));
    assert_eq!(withdrawn(&effects), [(1, first.attempt), (3, second.attempt)]);
}

#[test]
fn no_more_than_a_tenth_of_a_job_is_tried_twice() {
    let (mut grid, _, _, second) = late(4);
    // The first of four strips is tried twice, which is a quarter; when the helper is gone, that was all.
    grid.band_failed(3, second.attempt, BandFailure::Withdrawn);
    grid.pass(SECOND);
    assert!(grid.try_lease(3).is_none());
}

#[test]
fn a_band_in_a_queue_goes_to_a_worker_that_has_nothing_to_do() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(1, |about| about.credit = 3);
    grid.submit(9, submit(1, 3));
    let leases: Vec<_> = (0..3).map(|_| grid.lease(1)).collect();
    let effects = grid.worker(2, |about| about.credit = 2);
    assert_eq!(recalled(&effects), [(1, leases[1].attempt), (1, leases[2].attempt)]);
    // The first had begun when the word arrived: it is passed over, and nobody asks again.
    grid.band_failed(1, leases[2].attempt, BandFailure::Withdrawn);
    assert_eq!(band_of(&grid.lease(2)), band_of(&leases[2]));
    assert!(grid.try_lease(1).is_none());
    assert!(recalled(&grid.pass(100 * MS)).is_empty());
}

#[test]
fn nobody_is_asked_while_there_is_other_work() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(1, |about| about.credit = 3);
    grid.submit(9, submit(1, 8));
    assert!(recalled(&grid.worker(2, |_| {})).is_empty());
    assert_eq!(band_of(&grid.lease(2)).first, 3);
}

#[test]
fn who_is_outrun_counts_as_slower() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(1, |_| {});
    grid.submit(9, submit(1, 2));
    grid.render(1, 10);
    let speed = grid.core.workers[&WorkerId(1)].speed;
    let slow = grid.lease(1);
    grid.worker(2, |_| {});
    grid.pass(SECOND);
    let fast = grid.lease(2);
    assert_eq!(band_of(&fast), band_of(&slow));
    let (_, says) = grid.tile(&fast, 10);
    grid.worker_says(2, says);
    assert!(grid.core.workers[&WorkerId(1)].speed < speed);
}

/// A broker that had stood still took all its workers for late: it leased heads twice, and those who had held them counted as slower.
#[test]
fn nobody_is_late_because_the_broker_stood_still() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(1, |_| {});
    grid.submit(9, submit(1, 1));
    grid.lease(1);
    grid.worker(2, |_| {});
    grid.now += 60 * SECOND;
    grid.step(|core, now, out| {
        core.on_pause(now);
        core.on_tick(now, out);
    });
    assert!(grid.try_lease(2).is_none());
    grid.pass(400 * MS);
    assert!(grid.try_lease(2).is_some(), "now it is");
}
