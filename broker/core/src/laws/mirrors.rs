//! A band and its mirror: one piece of work, two leases.

use fractally_proto::MirrorBand;

use super::*;

/// [`picture`], which is its own mirror image.
fn mirrored(n: u8, strips: u32) -> Submit {
    let submit = submit(n, strips);
    Submit { request: Request { center: [0.0, 0.0], ..submit.request }, ..submit }
}

/// The mirror band, as a lease of its own.
fn mirror_of(lease: &Lease) -> Lease {
    let mirror = lease.mirror.expect("a lease with a mirror");
    Lease { attempt: mirror.attempt, kind: mirror.band().into(), mirror: None, ..lease.clone() }
}

fn bands(lease: &Lease) -> (u32, Option<u32>) {
    (band_of(lease).first, lease.mirror.map(|mirror| mirror.first))
}

#[test]
fn a_picture_that_is_its_own_half_turn_is_cut_from_both_ends() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(1, |about| about.credit = 8);
    grid.submit(9, mirrored(1, 5));
    let leases: Vec<_> = (0..3).map(|_| bands(&grid.lease(1))).collect();
    assert_eq!(leases, [(0, Some(4)), (1, Some(3)), (2, None)]);
    assert!(grid.try_lease(1).is_none());
}

#[test]
fn other_pictures_have_no_mirror_bands() {
    let resumed = Submit { have: 1, engine: Some("e1".to_owned()), ..mirrored(3, 4) };
    let windowed = mirrored(4, 4);
    let window = Window { h: 3, ..windowed.request.window };
    let windowed = Submit { request: Request { window, ..windowed.request }, ..windowed };
    let negative = mirrored(5, 4);
    let negative = Submit { request: Request { c: [-0.5, -0.0], ..negative.request }, ..negative };
    for submit in [submit(2, 4), resumed, windowed, negative] {
        let mut grid = Grid::new();
        grid.client(9);
        grid.worker(1, |about| about.credit = 8);
        grid.submit(9, submit);
        assert!(grid.leased.iter().all(|(_, lease)| lease.mirror.is_none()));
    }
}

#[test]
fn a_half_that_does_not_fit_what_may_wait_is_not_rendered_beforehand() {
    for (room, expected) in [(16, Some(7)), (10, None)] {
        let mut grid = Grid::with(|config| config.reorder_bytes_max = room * STRIP);
        grid.client(9);
        grid.worker(1, |_| {});
        grid.submit(9, Submit { window_bytes: STRIP, ..mirrored(1, 8) });
        assert_eq!(bands(&grid.lease(1)), (0, expected), "{room} strips may wait");
    }
}

#[test]
fn where_room_is_short_all_the_same_the_head_goes_alone() {
    let mut grid = Grid::with(|config| config.held_bytes_max = STRIP);
    grid.client(9);
    grid.worker(1, |_| {});
    grid.submit(9, mirrored(1, 4));
    for strip in 0..4 {
        let lease = grid.lease(1);
        assert_eq!(bands(&lease), (strip, None));
        let (_, says) = grid.tile(&lease, 10);
        grid.worker_says(1, says);
    }
}

#[test]
fn a_band_and_its_mirror_take_one_credit_until_both_are_answered() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(1, |_| {});
    grid.submit(9, mirrored(1, 8));
    let first = grid.lease(1);
    assert_eq!(bands(&first), (0, Some(7)));
    let (_, says) = grid.tile(&first, 10);
    grid.worker_says(1, says);
    assert!(grid.try_lease(1).is_none(), "the mirror is still at work");
    let (_, says) = grid.tile(&mirror_of(&first), 10);
    grid.worker_says(1, says);
    assert_eq!(bands(&grid.lease(1)), (1, Some(6)));
}

#[test]
fn the_picture_is_delivered_in_row_order() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(1, |about| about.credit = 8);
    let job = grid.submit(9, mirrored(1, 4));
    let leases = [grid.lease(1), grid.lease(1)];
    let mut seen = Vec::new();
    for lease in [mirror_of(&leases[0]), leases[0].clone(), mirror_of(&leases[1]), leases[1].clone()] {
        let (_, says) = grid.tile(&lease, 10);
        let effects = grid.worker_says(1, says);
        seen.extend(delivered(&effects));
    }
    assert_eq!(seen, [(0, 1), (1, 1), (2, 1), (3, 1)]);
    let effects = grid.ack(9, job, 4);
    assert_eq!(released(&effects).len(), 4);
    assert!(matches!(told(&effects)[..], [Message::Done(done)] if done.bands == 4 && done.attempts == 4));
}

#[test]
fn both_bands_of_a_worker_that_vanished_are_offered_again_and_only_the_first_is_blamed() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(1, |_| {});
    grid.submit(9, mirrored(1, 4));
    grid.lease(1);
    let effects = grid.step(|core, now, out| core.on_worker_gone(now, WorkerId(1), out));
    let requeued: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Note(crate::Note::BandRequeued { band, blamed, .. }) => Some((band.first, *blamed)),
            _ => None,
        })
        .collect();
    assert_eq!(requeued, [(0, true), (3, false)]);
    grid.worker(2, |about| about.credit = 8);
    let leases: Vec<_> = (0..3).map(|_| bands(&grid.lease(2))).collect();
    assert_eq!(leases, [(0, None), (3, None), (1, Some(2))]);
}

#[test]
fn a_mirror_that_is_given_back_leaves_its_band_alone() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(1, |_| {});
    grid.submit(9, mirrored(1, 2));
    let lease = grid.lease(1);
    let MirrorBand { attempt, .. } = lease.mirror.expect("two strips are each other's mirror");
    grid.band_failed(1, attempt, BandFailure::Withdrawn);
    let (_, says) = grid.tile(&lease, 10);
    assert_eq!(delivered(&grid.worker_says(1, says)), [(0, 1)]);
    assert_eq!(bands(&grid.lease(1)), (1, None));
}

#[test]
fn a_job_that_ends_withdraws_both() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(1, |_| {});
    let job = grid.submit(9, mirrored(1, 4));
    let lease = grid.lease(1);
    let effects = grid.client_says(9, ClientSays::Cancel(fractally_proto::Cancel { job, holder: None }));
    assert_eq!(withdrawn(&effects), [(1, lease.attempt), (1, lease.mirror.expect("it has one").attempt)]);
}

/// A worker that had answered one of two was leased one more than its credit, where the other and an ordinary band were left: our own
/// worker declines that, and three such declines failed a job.
#[test]
fn what_is_left_of_two_takes_credit_beside_ordinary_bands() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(1, |about| about.credit = 2);
    grid.submit(9, mirrored(1, 3));
    grid.submit(9, submit(2, 4));
    let (pair, single) = (grid.lease(1), grid.lease(1));
    assert_eq!([bands(&pair), bands(&single)], [(0, Some(2)), (1, None)]);
    let (_, says) = grid.tile(&pair, 10);
    grid.worker_says(1, says);
    assert!(grid.try_lease(1).is_none(), "the mirror is still at work, and the other band waits");
    let (_, says) = grid.tile(&mirror_of(&pair), 10);
    grid.worker_says(1, says);
    grid.lease(1);
}

/// Whoever tried a mirror band as any other counted as slower when the worker that had only to copy it was sooner.
#[test]
fn a_worker_that_copies_outruns_nobody() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(2, |_| {});
    grid.submit(9, submit(1, 1));
    grid.render(2, 10);
    let speed = grid.core.workers[&WorkerId(2)].speed;
    assert!(speed.is_some());
    grid.worker(1, |_| {});
    grid.submit(9, mirrored(2, 2));
    let pair = grid.lease(1);
    let (_, says) = grid.tile(&pair, 10);
    grid.worker_says(1, says);
    grid.pass(100 * MS);
    assert_eq!(bands(&grid.lease(2)), (1, None), "the mirror is late");
    // A worker of this speed needs a millisecond for the band.
    grid.now += Duration::from_micros(600);
    let (_, mut says) = grid.tile(&mirror_of(&pair), 10);
    if let WorkerSays::Tile { tile, .. } = &mut says {
        tile.executed = Some(0);
    }
    assert_eq!(withdrawn(&grid.worker_says(1, says)).len(), 1);
    assert_eq!(grid.core.workers[&WorkerId(2)].speed, speed);
}

/// A mirror is not listed while its band is at work: it runs out with it, whatever else its worker gets on with.
#[test]
fn a_mirror_expires_with_its_band() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(1, |about| (about.threads, about.credit) = (2, 2));
    grid.submit(9, mirrored(1, 8));
    let (wedged, moving) = (grid.lease(1), grid.lease(1));
    grid.heartbeat(1, &[(wedged.attempt, 1)]);
    let effects = grid.pass_with(11 * SECOND, &[(1, moving.attempt)], true);
    assert_eq!(withdrawn(&effects), [(1, wedged.attempt), (1, mirror_of(&wedged).attempt)]);
}
