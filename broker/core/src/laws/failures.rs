//! What goes wrong at workers, and whom it is laid to.

use fractally_proto::{ErrorCode, Samples};

use super::*;

fn grid_with_job(strips: u32) -> (Grid, JobId) {
    let mut grid = Grid::new();
    grid.client(9);
    let job = grid.submit(9, submit(1, strips));
    (grid, job)
}

/// Worker and first strip of each band that went back with blame.
fn blamed(effects: &[Effect]) -> Vec<(u64, u32)> {
    let of = |effect: &Effect| match effect {
        Effect::Note(crate::Note::BandRequeued { worker, band, blamed: true, .. }) => Some((worker.0, band.first)),
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

#[test]
fn a_wrong_tile_costs_the_connection_and_its_band_is_offered_again() {
    let wrong: [fn(&mut Tile, &mut u64); 5] = [
        |tile, _| tile.strips.clear(),
        |tile, _| tile.strips.push(StripMeta(1, 1)),
        |tile, bytes| (tile.strips[0], *bytes) = (StripMeta(0, 0), 0),
        |tile, bytes| (tile.strips[0], *bytes) = (StripMeta(u32::MAX, 0), u64::from(u32::MAX)),
        |_, bytes| *bytes += 1,
    ];
    for change in wrong {
        let (mut grid, _) = grid_with_job(6);
        grid.worker(1, |about| about.credit = 2);
        let lease = grid.lease(1);
        let (payload, mut says) = grid.tile(&lease, 10);
        if let WorkerSays::Tile { tile, bytes, .. } = &mut says {
            change(tile, bytes);
        }
        let effects = grid.worker_says(1, says);
        assert_eq!((error(&effects), dropped_workers(&effects)), (Some(ErrorCode::Unexpected), vec![1]));
        assert_eq!(released(&effects), [payload]);
        assert_eq!(blamed(&effects), [(1, 0)], "its other bands are not to blame");
        grid.worker(2, |_| {});
        assert_eq!(band_of(&grid.lease(2)), band_of(&lease));
    }
}

/// A broker that was stopped for a while found everybody silent, and laid the bands they held to the workers; three pauses
/// failed a job.
#[test]
fn a_pause_of_the_broker_is_laid_to_nobody() {
    let (mut grid, _) = grid_with_job(6);
    grid.worker(1, |_| {});
    grid.worker(2, |_| {});
    grid.now += 60 * SECOND;
    let effects = grid.step(|core, now, out| {
        core.on_pause(now);
        core.on_tick(now, out);
    });
    assert_eq!((dropped_workers(&effects), dropped_clients(&effects)), (vec![], vec![]));
    // Worker 1 had given the broker up.
    let effects = grid.step(|core, now, out| core.on_worker_gone(now, WorkerId(1), out));
    assert!(blamed(&effects).is_empty());
    grid.pass_silently(4 * SECOND);
    assert!(grid.core.status(grid.now).workers.is_empty(), "who stays silent afterwards is gone all the same");
}

#[test]
fn an_answer_to_what_it_never_held_costs_the_connection() {
    let attempt = AttemptId(0xcccc_dddd_0000_0001);
    let tile = Tile { attempt, iterations: 0, executed: None, compute_ns: 0, crc32: 0, strips: vec![StripMeta(1, 1)] };
    let answers = [
        WorkerSays::Tile { tile, payload: PayloadId(77), bytes: 1 },
        WorkerSays::Samples { samples: Samples { attempt, compute_ns: 1 }, rows: vec![] },
        WorkerSays::BandFailed(BandFailed { attempt, failure: BandFailure::Withdrawn, reason: String::new() }),
    ];
    for answer in answers {
        let (mut grid, _) = grid_with_job(6);
        grid.worker(1, |_| {});
        assert_eq!(grid.lease(1).attempt, attempt);
        grid.worker(2, |_| {});
        let holds_payload = matches!(answer, WorkerSays::Tile { .. });
        let effects = grid.worker_says(2, answer);
        assert_eq!((error(&effects), dropped_workers(&effects)), (Some(ErrorCode::Unexpected), vec![2]));
        assert_eq!(released(&effects).len(), usize::from(holds_payload));
        assert_eq!(blamed(&effects), []);
    }
}

#[test]
fn an_answer_of_the_wrong_sort_costs_the_connection() {
    let (mut grid, _) = grid_with_job(40);
    grid.worker(1, |_| {});
    let probe = grid.lease(1).attempt;
    let tile = Tile { attempt: probe, iterations: 0, executed: None, compute_ns: 0, crc32: 0, strips: vec![StripMeta(1, 1)] };
    let effects = grid.worker_says(1, WorkerSays::Tile { tile, payload: PayloadId(5), bytes: 1 });
    assert_eq!((dropped_workers(&effects), released(&effects)), (vec![1], vec![PayloadId(5)]));
    grid.worker(2, |_| {});
    let band = grid.lease(2);
    let samples = Samples { attempt: band.attempt, compute_ns: 1 };
    let effects = grid.worker_says(2, WorkerSays::Samples { samples, rows: vec![] });
    assert_eq!((dropped_workers(&effects), blamed(&effects)), (vec![2], vec![(2, 0)]));
}

#[test]
fn an_answer_counts_once() {
    let (mut grid, _) = grid_with_job(6);
    grid.worker(1, |_| {});
    let lease = grid.lease(1);
    let (_, first) = grid.tile(&lease, 10);
    grid.worker_says(1, first);
    let (payload, second) = grid.tile(&lease, 10);
    let effects = grid.worker_says(1, second);
    assert_eq!((dropped_workers(&effects), released(&effects)), (vec![1], vec![payload]));
}

#[test]
fn a_band_that_fails_three_times_fails_its_job_and_no_other() {
    let (mut grid, job) = grid_with_job(6);
    let other = grid.submit(9, submit(2, 6));
    let mut effects = Vec::new();
    for worker in 1..4 {
        grid.worker(worker, |_| {});
        let attempt = grid.lease(worker).attempt;
        effects = grid.band_failed(worker, attempt, BandFailure::Crashed);
        grid.worker_says(worker, WorkerSays::Bye);
    }
    assert_eq!(failure(&effects), Some("rows 0 to 0 failed 3 times, on workers 1, 2, 3; the last: crashed: because"));
    let left: Vec<_> = grid.core.status(grid.now).jobs.iter().map(|job| job.job).collect();
    assert_eq!(left, [other], "{job} has ended");
}

#[test]
fn a_band_is_not_offered_to_a_worker_it_failed_on_while_there_is_another() {
    let (mut grid, _) = grid_with_job(6);
    grid.worker(1, |_| {});
    grid.worker(2, |_| {});
    let (failed, running) = (grid.lease(1), grid.lease(2));
    grid.band_failed(1, failed.attempt, BandFailure::Declined);
    assert_eq!(band_of(&grid.lease(1)).first, 2, "other bands do not wait");
    let (_, tile) = grid.tile(&running, 10);
    grid.worker_says(2, tile);
    assert_eq!(band_of(&grid.lease(2)).first, 0);
}

#[test]
fn a_band_that_failed_on_the_only_worker_is_tried_there_again() {
    let (mut grid, _) = grid_with_job(6);
    grid.worker(1, |_| {});
    let first = grid.lease(1);
    grid.band_failed(1, first.attempt, BandFailure::Crashed);
    assert_eq!(band_of(&grid.lease(1)), band_of(&first));
}

#[test]
fn a_worker_that_will_never_answer_is_no_other_worker() {
    // A job could wait for ever: its band had failed on one worker, and the other had no credit left but for leases that had expired
    // on its wedged threads. About one simulated schedule in five thousand comes there.
    let (mut grid, _) = grid_with_job(6);
    grid.worker(1, |_| {});
    let wedged = grid.lease(1).attempt;
    grid.pass(11 * SECOND);
    grid.worker(2, |_| {});
    let failed = grid.lease(2);
    grid.band_failed(2, failed.attempt, BandFailure::Declined);
    assert_eq!(band_of(&grid.lease(2)), band_of(&failed), "attempt {wedged} is out of reach");
}

#[test]
fn a_dead_worker_is_blamed_only_for_what_it_can_have_been_running() {
    let (mut grid, _) = grid_with_job(8);
    grid.worker(1, |about| (about.threads, about.credit) = (2, 4));
    let effects = grid.step(|core, now, out| core.on_worker_gone(now, WorkerId(1), out));
    assert_eq!(blamed(&effects), [(1, 0), (1, 1)]);
    assert_eq!(dropped_workers(&effects), [], "its connection is gone already");
    grid.worker(2, |about| about.credit = 4);
    assert_eq!([0; 4].map(|_| band_of(&grid.lease(2)).first), [0, 1, 2, 3], "given back bands come first, the lowest first");
}

#[test]
fn what_is_given_back_unasked_is_not_blamed() {
    let (mut grid, _) = grid_with_job(6);
    grid.worker(1, |_| {});
    for _ in 0..5 {
        let lease = grid.lease(1);
        let effects = grid.band_failed(1, lease.attempt, BandFailure::Withdrawn);
        assert_eq!((blamed(&effects), failure(&effects)), (vec![], None));
    }
}

#[test]
fn hostile_numbers_in_a_tile_are_harmless() {
    let (mut grid, job) = grid_with_job(30);
    grid.worker(1, |_| {});
    let probe = grid.lease(1).attempt;
    grid.band_failed(1, probe, BandFailure::Declined);
    let numbers = [(u64::MAX, 0), (u64::MAX, 1), (0, u64::MAX), (0, 0), (u64::MAX, u64::MAX), (1, 1), (0, 1), (7, 7)];
    for (iterations, compute_ns) in numbers.into_iter().cycle() {
        let Some(lease) = grid.try_lease(1) else { break };
        let (_, mut says) = grid.tile(&lease, 10);
        if let WorkerSays::Tile { tile, .. } = &mut says {
            (tile.iterations, tile.compute_ns) = (iterations, compute_ns);
        }
        grid.worker_says(1, says);
        grid.pass(SECOND);
        grid.ack(9, job, band_of(&lease).end());
    }
    assert_eq!(grid.core.status(grid.now).broker.jobs_done, 1);
}

/// A worker begins interactive bands before batch ones that were leased earlier. Where such a band killed its workers, batch jobs were
/// failed for it one after another, and it went on.
#[test]
fn a_dead_worker_is_blamed_for_what_it_had_begun_and_not_for_what_was_leased_first() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(1, |about| about.credit = 3);
    let batch = grid.submit(9, Submit { priority: Priority::Batch, ..submit(1, 2) });
    let interactive = grid.submit(9, submit(2, 1));
    grid.render(1, 10);
    let left: Vec<_> = grid.leased.iter().map(|(_, lease)| lease.job).collect();
    assert_eq!(left, [batch, interactive]);
    let effects = grid.step(|core, now, out| core.on_worker_gone(now, WorkerId(1), out));
    assert_eq!(blamed(&effects), [(1, 0)], "the only band of the interactive job, and not the second one of the other");
}
