//! How long a lease lives, and what an answer to a dead one does.

use fractally_proto::{Samples, limits};

use super::*;

/// A client's job of six strips, which is too small for a probe.
fn grid_with_job() -> (Grid, JobId) {
    let mut grid = Grid::new();
    grid.client(9);
    let job = grid.submit(9, submit(1, 6));
    (grid, job)
}

fn expired(effects: &[Effect]) -> Vec<u32> {
    let of = |effect: &Effect| match effect {
        Effect::Note(crate::Note::BandRequeued { band, why: crate::Why::Expired, .. }) => Some(band.first),
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

#[test]
fn nobody_is_leased_more_than_its_credit() {
    let (mut grid, _) = grid_with_job();
    grid.worker(1, |about| about.credit = 3);
    assert_eq!([0; 3].map(|_| band_of(&grid.lease(1)).first), [0, 1, 2]);
    assert!(grid.try_lease(1).is_none());
}

#[test]
fn an_expired_lease_is_offered_again() {
    let (mut grid, _) = grid_with_job();
    grid.worker(1, |_| {});
    let lost = grid.lease(1);
    grid.worker(2, |_| {});
    let other = grid.lease(2).attempt;
    let effects = grid.pass_with(11 * SECOND, &[(2, other)], true);
    assert_eq!((expired(&effects), withdrawn(&effects)), (vec![0], vec![(1, lost.attempt)]));
    grid.worker(3, |_| {});
    let again = grid.lease(3);
    assert_eq!(band_of(&again), band_of(&lost));
    assert_ne!(again.attempt, lost.attempt);
}

#[test]
fn progress_renews_a_lease() {
    let (mut grid, _) = grid_with_job();
    grid.worker(1, |_| {});
    let attempt = grid.lease(1).attempt;
    let effects = grid.pass_with(60 * SECOND, &[(1, attempt)], true);
    assert_eq!(expired(&effects), []);
    assert_eq!(expired(&grid.pass(11 * SECOND)), [0], "the same number again is no progress");
}

#[test]
fn a_band_in_the_queue_lives_as_long_as_its_worker_gets_on() {
    let (mut grid, _) = grid_with_job();
    grid.worker(1, |about| about.credit = 2);
    let (first, _second) = (grid.lease(1), grid.lease(1));
    assert_eq!(expired(&grid.pass_with(30 * SECOND, &[(1, first.attempt)], true)), []);
    let (_, tile) = grid.tile(&first, 10);
    grid.worker_says(1, tile);
    assert_eq!(expired(&grid.pass(9 * SECOND)), [], "a delivery is progress");
    assert_eq!(expired(&grid.pass(2 * SECOND)), [1, 2]);
}

#[test]
fn a_late_tile_gives_its_credit_back_and_nothing_else() {
    let (mut grid, _) = grid_with_job();
    grid.worker(1, |_| {});
    let lost = grid.lease(1);
    grid.pass(11 * SECOND);
    assert!(grid.try_lease(1).is_none(), "no credit before the answer");
    grid.worker(2, |_| {});
    assert_eq!(band_of(&grid.lease(2)).first, 0);
    let (payload, late) = grid.tile(&lost, 10);
    let effects = grid.worker_says(1, late);
    assert_eq!((released(&effects), delivered(&effects)), (vec![payload], vec![]));
    assert_eq!(band_of(&grid.lease(1)).first, 1);
}

#[test]
fn an_answer_to_withdraw_gives_the_credit_back() {
    let (mut grid, job) = grid_with_job();
    grid.worker(1, |_| {});
    let lease = grid.lease(1);
    grid.client_says(9, ClientSays::Cancel(fractally_proto::Cancel { job, holder: None }));
    grid.submit(9, submit(2, 4));
    assert!(grid.try_lease(1).is_none());
    grid.band_failed(1, lease.attempt, BandFailure::Withdrawn);
    assert_eq!(band_of(&grid.lease(1)).first, 0);
}

#[test]
fn the_first_lease_of_a_large_job_is_a_probe_and_bands_do_not_wait_for_it() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.submit(9, submit(1, 40));
    grid.worker(1, |about| about.credit = 3);
    let LeaseKind::Probe(probe) = grid.lease(1).kind else { panic!("a band before the probe") };
    assert!(40_u32.div_ceil(probe.rows) * 65_536_u32.div_ceil(probe.cols) <= limits::PROBE_PIXELS_MAX);
    assert_eq!(probe.budget_ms, 50);
    assert_eq!(band_of(&grid.lease(1)).first, 0);
    assert_eq!(band_of(&grid.lease(1)).first, 1);
}

#[test]
fn a_probe_that_fails_is_nobodys_failure_and_does_not_come_again() {
    for failure in [BandFailure::Crashed, BandFailure::Declined] {
        let mut grid = Grid::new();
        grid.client(9);
        grid.submit(9, submit(1, 40));
        grid.worker(1, |_| {});
        let probe = grid.lease(1).attempt;
        let effects = grid.band_failed(1, probe, failure);
        assert_eq!(failure_notes(&effects), 0);
        assert_eq!(band_of(&grid.lease(1)).first, 0);
        assert_eq!(grid.core.status(grid.now).workers[0].bands_failed, 0);
    }
}

fn failure_notes(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::Note(crate::Note::BandRequeued { .. }))).count()
}

#[test]
fn samples_return_the_credit_whatever_they_hold() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.submit(9, submit(1, 40));
    grid.worker(1, |_| {});
    let attempt = grid.lease(1).attempt;
    let row = |row, pixels, iterations| fractally_proto::RowSample { row, pixels, iterations };
    let rows = vec![row(u32::MAX, 1, 1), row(3, 0, 9), row(5, u32::MAX, u64::MAX), row(5, 1, 0), row(0, 1, u64::MAX)];
    grid.worker_says(1, WorkerSays::Samples { samples: Samples { attempt, compute_ns: u64::MAX }, rows });
    assert_eq!(band_of(&grid.lease(1)).first, 0);
}
