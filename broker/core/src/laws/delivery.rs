//! What a client is sent, and what is held for it.

use fractally_proto::{Cancel, ErrorCode};

use super::*;

/// A job of eight strips, and a worker that takes them all at once.
fn grid_with_job(window_bytes: u64) -> (Grid, JobId) {
    let mut grid = Grid::new();
    grid.client(9);
    let job = grid.submit(9, Submit { window_bytes, ..submit(1, 8) });
    grid.worker(1, |about| about.credit = 8);
    (grid, job)
}

fn len(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap()
}

#[test]
fn strips_are_delivered_in_row_order() {
    let (mut grid, _) = grid_with_job(1 << 30);
    let leases = [0; 3].map(|_| grid.lease(1));
    let mut sent = Vec::new();
    for lease in [&leases[2], &leases[1], &leases[0]] {
        let (_, tile) = grid.tile(lease, 10);
        sent.push(delivered(&grid.worker_says(1, tile)));
    }
    assert_eq!(sent, [vec![], vec![], vec![(0, 1), (1, 1), (2, 1)]]);
}

#[test]
fn a_client_is_sent_no_more_than_its_window() {
    let (mut grid, job) = grid_with_job(2 * STRIP);
    let sent: Vec<_> = (0..8).map(|_| delivered(&grid.render(1, len(STRIP)).1)).collect();
    assert_eq!(sent.concat(), [(0, 1), (1, 1)]);
    assert_eq!(delivered(&grid.ack(9, job, 1)), [(2, 1)]);
    assert_eq!(delivered(&grid.ack(9, job, 3)), [(3, 1), (4, 1)]);
}

#[test]
fn a_tile_larger_than_the_rest_of_the_window_comes_in_slices_of_whole_strips() {
    let mut grid = Grid::new();
    grid.client(9);
    // Strips of 16 rows, so cheap for a fast worker that it gets several at once.
    let size = Size { w: 4096, h: 160 };
    let request = Request { size, window: Window::whole(size), iterations: 1, ..picture(1) };
    let submit = Submit { window_bytes: 2 * STRIP, request, ..submit(1, 1) };
    let strips = layout_of(&submit).strips();
    let job = grid.submit(9, submit);
    grid.worker(1, |_| {});
    let (mut have, mut largest) = (0, 0);
    while grid.core.status(grid.now).broker.jobs_done == 0 {
        let lease = grid.lease(1);
        if matches!(lease.kind, LeaseKind::Probe(_)) {
            grid.band_failed(1, lease.attempt, BandFailure::Declined);
            continue;
        }
        largest = largest.max(band_of(&lease).strips);
        let (payload, mut tile) = grid.tile(&lease, len(STRIP));
        if let WorkerSays::Tile { tile, .. } = &mut tile {
            tile.compute_ns = 1000;
        }
        let mut effects = grid.worker_says(1, tile);
        while let [Effect::Deliver { first, strips, bytes, .. }] =
            &effects.iter().filter(|effect| matches!(effect, Effect::Deliver { .. })).cloned().collect::<Vec<_>>()[..]
        {
            assert_eq!((*first, bytes.len()), (have, strips.len() * 262_144));
            assert!(strips.len() <= 2);
            have += len(strips.len() as u64);
            effects = grid.ack(9, job, have);
            let whole = have == band_of(&lease).end();
            assert_eq!(released(&effects), if whole { vec![payload] } else { vec![] });
        }
    }
    assert_eq!(have, strips);
    assert!(largest > 2, "no band was larger than the window");
}

#[test]
fn no_more_than_64_messages_are_under_way() {
    let mut grid = Grid::new();
    grid.client(9);
    let job = grid.submit(9, submit(1, 100));
    grid.worker(1, |about| about.credit = 100);
    let probe = grid.lease(1).attempt;
    grid.band_failed(1, probe, BandFailure::Declined);
    let mut sent = 0;
    while let Some(lease) = grid.try_lease(1) {
        let (_, tile) = grid.tile(&lease, 1);
        sent += delivered(&grid.worker_says(1, tile)).len();
    }
    assert_eq!(sent, 64);
    assert_eq!(delivered(&grid.ack(9, job, 3)).len(), 3);
}

#[test]
fn a_payload_is_released_when_all_its_strips_are_acknowledged() {
    let (mut grid, job) = grid_with_job(1 << 30);
    let payloads = [0; 3].map(|_| grid.render(1, 10).0);
    assert_eq!(released(&grid.ack(9, job, 2)), payloads[..2]);
    assert_eq!(released(&grid.ack(9, job, 2)), [], "the same again is nothing new");
    assert_eq!(released(&grid.ack(9, job, 1)), [], "nor is less");
    assert_eq!(grid.core.status(grid.now).broker.held_bytes, 10);
}

#[test]
fn an_ack_of_what_was_not_delivered_costs_the_connection() {
    let (mut grid, job) = grid_with_job(1 << 30);
    grid.render(1, 10);
    let effects = grid.ack(9, job, 2);
    assert_eq!((error(&effects), dropped_clients(&effects)), (Some(ErrorCode::Unexpected), vec![9]));
    assert!(!grid.core.status(grid.now).jobs[0].attached, "the job waits for a better client");
}

#[test]
fn words_about_a_job_that_is_over_or_anothers_change_nothing() {
    let (mut grid, job) = grid_with_job(1 << 30);
    grid.client(8);
    for job in [job, JobId(404)] {
        assert_eq!(grid.ack(8, job, 5), []);
        assert_eq!(grid.client_says(8, ClientSays::Cancel(Cancel { job, holder: None })), []);
    }
}

#[test]
fn a_cancelled_job_leaves_nothing() {
    let (mut grid, job) = grid_with_job(1 << 30);
    let payloads = [0; 2].map(|_| grid.render(1, 10).0);
    let left: Vec<_> = grid.leased.drain(..).map(|(worker, lease)| (worker.0, lease.attempt)).collect();
    let effects = grid.client_says(9, ClientSays::Cancel(Cancel { job, holder: None }));
    assert_eq!(failure(&effects), Some("cancelled"));
    assert_eq!((released(&effects), withdrawn(&effects)), (payloads.to_vec(), left));
    assert!(grid.core.jobs.is_empty() && grid.core.keys.is_empty() && grid.core.shares.nobody_waits() && grid.core.reserved == 0);
}

#[test]
fn done_follows_the_last_ack_and_tells_what_it_took() {
    let (mut grid, job) = grid_with_job(1 << 30);
    grid.worker(2, |_| {});
    let given_back = grid.lease(1);
    grid.band_failed(1, given_back.attempt, BandFailure::Withdrawn);
    while grid.try_render(1) || grid.try_render(2) {}
    grid.now += SECOND;
    let effects = grid.ack(9, job, 8);
    let [Message::Done(done)] = told(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!(
        (done.iterations, done.compute_ns, done.bands, done.attempts, done.elapsed_ms),
        (8_000_000, 8_000_000, 8, 9, 1000)
    );
    assert_eq!(done.workers, 2);
}

impl Grid {
    fn try_render(&mut self, worker: u64) -> bool {
        let Some(lease) = self.try_lease(worker) else { return false };
        let (_, tile) = self.tile(&lease, 10);
        self.worker_says(worker, tile);
        true
    }
}

#[test]
fn a_job_is_leased_no_further_than_its_bound_but_for_the_head_band() {
    // Half of the bound is the window's, so two strips fit.
    let mut grid = Grid::with(|config| config.reorder_bytes_max = 4 * STRIP);
    grid.client(9);
    let job = grid.submit(9, submit(1, 8));
    grid.worker(1, |about| about.credit = 8);
    let (head, next) = (grid.lease(1), grid.lease(1));
    assert!(grid.try_lease(1).is_none());
    let (_, tile) = grid.tile(&next, len(STRIP));
    grid.worker_says(1, tile);
    assert!(grid.try_lease(1).is_none(), "what waits its turn takes the room");
    let (_, tile) = grid.tile(&head, len(STRIP));
    assert_eq!(delivered(&grid.worker_says(1, tile)), [(0, 1), (1, 1)]);
    let (head, next) = (grid.lease(1), grid.lease(1));
    assert!(grid.try_lease(1).is_none());
    let (_, tile) = grid.tile(&next, len(STRIP));
    grid.worker_says(1, tile);
    // A band that needs more than the room there is, were it not the head.
    grid.core.config.reorder_bytes_max = 2 * STRIP;
    grid.band_failed(1, head.attempt, BandFailure::Withdrawn);
    assert_eq!(band_of(&grid.lease(1)).first, 2, "without it nothing would ever move");
    grid.ack(9, job, 2);
    assert!(grid.try_lease(1).is_none());
}

#[test]
fn what_a_tile_really_takes_makes_room() {
    let mut grid = Grid::with(|config| config.reorder_bytes_max = 5 * STRIP);
    grid.client(9);
    grid.submit(9, submit(1, 8));
    grid.worker(1, |about| about.credit = 8);
    let (_head, next) = (grid.lease(1), grid.lease(1));
    assert!(grid.try_lease(1).is_none(), "at the lease, both take their worst case");
    let (_, tile) = grid.tile(&next, 1);
    grid.worker_says(1, tile);
    assert_eq!(band_of(&grid.lease(1)).first, 2);
    assert!(grid.try_lease(1).is_none());
}

#[test]
fn all_jobs_together_have_a_bound_and_each_its_head() {
    let mut grid = Grid::with(|config| config.held_bytes_max = 3 * STRIP);
    grid.client(9);
    grid.submit(9, submit(1, 8));
    grid.submit(9, submit(2, 8));
    grid.submit(9, submit(3, 8));
    grid.worker(1, |about| about.credit = 20);
    let leases: Vec<_> =
        std::mem::take(&mut grid.leased).into_iter().map(|(_, lease)| (lease.job, band_of(&lease).first)).collect();
    let heads = leases.iter().filter(|(_, first)| *first == 0).count();
    assert_eq!((leases.len(), heads), (3, 3));
    grid.submit(9, submit(4, 8));
    assert_eq!(band_of(&grid.lease(1)).first, 0, "a head is never refused");
    assert!(grid.try_lease(1).is_none());
}

#[test]
fn progress_is_told_when_something_changed_and_not_too_often() {
    let (mut grid, job) = grid_with_job(1 << 30);
    let progress = |effects: &[Effect]| {
        let of = |message: &Message| if let Message::Progress(progress) = message { Some(*progress) } else { None };
        told(effects).into_iter().filter_map(of).collect::<Vec<_>>()
    };
    let first = progress(&grid.tick());
    assert_eq!((first[0].job, first[0].rows, first[0].workers, first[0].workers_all, first[0].eta_ms), (job, 0, 1, 1, None));
    let mut effects = grid.render(1, 10).1;
    effects.extend(grid.render(1, 10).1);
    effects.extend(grid.pass(200 * MS));
    assert_eq!(progress(&effects), []);
    let second = progress(&grid.pass(100 * MS));
    assert_eq!((second.len(), second[0].rows), (1, 2));
    assert!(second[0].eta_ms.is_some(), "tiles tell how long it takes");
    assert_eq!(progress(&grid.pass(5 * SECOND)), []);
}
