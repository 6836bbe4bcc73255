//! Who gets which band, and how large it is.

use std::num::NonZero;

use fractally_proto::{NO_OP_ENGINE, RowSample, Samples};

use super::*;

#[test]
fn an_idle_worker_comes_before_one_that_has_work() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(1, |about| about.credit = 2);
    grid.worker(2, |about| about.credit = 2);
    grid.submit(9, submit(1, 2));
    assert_eq!((band_of(&grid.lease(1)).first, band_of(&grid.lease(2)).first), (0, 1));
}

#[test]
fn load_is_counted_per_thread() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(1, |about| about.credit = 8);
    grid.worker(2, |about| (about.threads, about.credit) = (3, 8));
    grid.submit(9, submit(1, 4));
    let by: Vec<_> = grid.leased.iter().map(|(worker, _)| worker.0).collect();
    assert_eq!(by, [1, 2, 2, 2]);
}

#[test]
fn a_worker_is_leased_only_what_it_can_encode() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(1, |about| about.encodings = vec![Encoding::Png]);
    grid.submit(9, submit(1, 2));
    assert!(grid.try_lease(1).is_none());
    grid.worker(2, |_| {});
    assert_eq!(band_of(&grid.lease(2)).first, 0);
}

#[test]
fn equal_bands_are_cut_whatever_is_known_of_their_cost() {
    let mut grid = Grid::with(|config| config.equal_bands = NonZero::new(8));
    grid.client(9);
    grid.worker(1, |_| {});
    grid.submit(9, Submit { request: Request { center: [0.0, 0.0], ..picture(20) }, ..submit(1, 20) });
    let bands: Vec<_> = (0..8)
        .map(|_| {
            let lease = grid.lease(1);
            assert!(lease.mirror.is_none(), "one by one");
            let (_, says) = grid.tile(&lease, u32::try_from(STRIP).unwrap());
            grid.worker_says(1, says);
            band_of(&lease)
        })
        .map(|band| (band.first, band.strips))
        .collect();
    assert_eq!(bands, [(0, 3), (3, 2), (5, 3), (8, 2), (10, 3), (13, 2), (15, 3), (18, 2)]);
}

#[test]
fn workers_that_compute_nothing_are_leased_nothing_unless_they_are_what_was_asked_for() {
    for (own, is_leased) in [(None, false), (Some("e1"), false), (Some(NO_OP_ENGINE), true)] {
        let mut grid = Grid::with(|config| config.engine = own.map(str::to_owned));
        grid.client(9);
        grid.worker(1, |about| about.engine = NO_OP_ENGINE.to_owned());
        grid.submit(9, submit(1, 2));
        assert_eq!(grid.try_lease(1).is_some(), is_leased, "{own:?}");
    }
}

#[test]
fn a_job_runs_on_one_engine_the_one_with_most_threads() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(1, |about| about.engine = "e2".to_owned());
    grid.worker(2, |about| about.threads = 2);
    grid.submit(9, submit(1, 6));
    assert!(grid.try_lease(1).is_none());
    grid.render(2, 10);
    grid.step(|core, now, out| core.on_worker_gone(now, WorkerId(2), out));
    assert!(grid.try_lease(1).is_none(), "strips of e1 are there already");
}

#[test]
fn a_job_of_which_nothing_exists_is_not_bound_to_an_engine_that_left() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.submit(9, submit(1, 40));
    grid.worker(1, |about| about.credit = 3);
    grid.step(|core, now, out| core.on_worker_gone(now, WorkerId(1), out));
    grid.worker(2, |about| about.engine = "e2".to_owned());
    assert_eq!(band_of(&grid.lease(2)).first, 0);
}

#[test]
fn interactive_jobs_come_before_batch() {
    let mut grid = Grid::new();
    grid.client(9);
    let batch = grid.submit(9, Submit { priority: Priority::Batch, ..submit(1, 6) });
    let interactive = grid.submit(9, submit(2, 2));
    grid.worker(1, |about| about.credit = 3);
    let jobs: Vec<_> = grid.leased.iter().map(|(_, lease)| (lease.job, lease.priority)).collect();
    let (now, later) = ((interactive, Priority::Interactive), (batch, Priority::Batch));
    assert_eq!(jobs, [now, now, later]);
}

#[test]
fn jobs_of_a_class_are_served_alike_and_a_new_one_starts_level() {
    let mut grid = Grid::new();
    grid.client(9);
    let first = grid.submit(9, submit(1, 8));
    grid.worker(1, |about| about.credit = 2);
    let second = grid.submit(9, submit(2, 8));
    for _ in 0..6 {
        grid.render_any(1);
    }
    let jobs: Vec<_> = grid.leased_ever().iter().map(|lease| lease.job).collect();
    let count = |job| jobs.iter().filter(|of| **of == job).count();
    assert!(count(first).abs_diff(count(second)) <= 2, "{jobs:?}");
}

impl Grid {
    fn render_any(&mut self, worker: u64) {
        let at = self.leased.iter().position(|(id, lease)| *id == WorkerId(worker) && self.holds(worker, lease.attempt));
        let lease = self.leased[at.expect("something is leased")].1.clone();
        // What takes no time costs nothing.
        self.now += MS;
        let (_, tile) = self.tile(&lease, 10);
        self.worker_says(worker, tile);
    }

    fn holds(&self, worker: u64, attempt: AttemptId) -> bool {
        self.core.workers[&WorkerId(worker)].leases.contains_key(&attempt)
    }

    fn leased_ever(&self) -> Vec<Lease> {
        self.leased.iter().map(|(_, lease)| lease.clone()).collect()
    }
}

/// 100 strips of 64 rows of 1024 pixels, which a probe finds to cost `iterations` a pixel.
fn probed(grid: &mut Grid, n: u8, iterations: u64) {
    let size = Size { w: 1024, h: 6400 };
    let request = Request { size, window: Window::whole(size), ..picture(1) };
    grid.client(u64::from(n));
    grid.submit(u64::from(n), Submit { request, ..submit(n, 1) });
    let probe = grid.lease(1);
    assert!(matches!(probe.kind, LeaseKind::Probe(_)));
    let rows = (0..6400).step_by(16).map(|row| RowSample { row, pixels: 10, iterations: 10 * iterations }).collect();
    let samples = Samples { attempt: probe.attempt, compute_ns: 1_000_000 };
    grid.worker_says(1, WorkerSays::Samples { samples, rows });
}

#[test]
fn bands_follow_the_cost_that_the_probe_found() {
    let strips = |iterations| {
        let mut grid = Grid::new();
        grid.worker(1, |_| {});
        probed(&mut grid, 9, iterations);
        band_of(&grid.lease(1)).strips
    };
    // One thread: a sixteenth of the whole at first, whatever it costs, up to one second.
    assert_eq!((strips(0), strips(100)), (6, 6));
    assert_eq!(strips(255), 6);
}

#[test]
fn the_last_bands_are_smaller() {
    let mut grid = Grid::with(|config| config.reorder_bytes_max = 1 << 40);
    grid.worker(1, |_| {});
    probed(&mut grid, 9, 100);
    let (mut sizes, mut end) = (Vec::new(), 0);
    while let Some(lease) = grid.try_lease(1) {
        let band = band_of(&lease);
        assert_eq!(band.first, end);
        end = band.end();
        sizes.push(band.strips);
        let (_, mut tile) = grid.tile(&lease, 10);
        if let WorkerSays::Tile { tile, .. } = &mut tile {
            // One unit a nanosecond, as is taken for granted of a worker that nobody knows.
            let pixels = u64::from(band.strips) * 64 * 1024;
            (tile.iterations, tile.compute_ns) = (100 * pixels, 108 * pixels);
        }
        grid.worker_says(1, tile);
        grid.ack(9, lease.job, end);
    }
    assert_eq!(end, 100);
    assert!(sizes.is_sorted_by(|a, b| a >= b), "{sizes:?}");
    assert_eq!((sizes[0], sizes.last()), (6, Some(&1)));
}

#[test]
fn a_slow_worker_gets_smaller_bands() {
    let mut grid = Grid::new();
    grid.worker(1, |_| {});
    grid.worker(2, |_| {});
    // Both show their speed on a job of their own, the second at a quarter of the first's.
    grid.client(8);
    grid.submit(8, submit(1, 2));
    for (worker, compute_ns) in [(1, 1_000_000), (2, 4_000_000)] {
        let lease = grid.lease(worker);
        let (_, mut says) = grid.tile(&lease, 10);
        if let WorkerSays::Tile { tile, .. } = &mut says {
            tile.compute_ns = compute_ns;
        }
        grid.worker_says(worker, says);
    }
    grid.client(9);
    let size = Size { w: 1024, h: 64 * 600 };
    let request = Request { size, window: Window::whole(size), ..picture(1) };
    grid.submit(9, Submit { request, ..submit(9, 1) });
    let probe = grid.lease(1);
    let rows = vec![RowSample { row: 0, pixels: 1, iterations: 100 }];
    grid.worker_says(1, WorkerSays::Samples { samples: Samples { attempt: probe.attempt, compute_ns: 1 }, rows });
    let early = grid.lease(2);
    assert!(band_of(&early).strips < 3, "nothing was known when it was cut");
    grid.render_lease(2, &early);
    let (fast, slow) = (band_of(&grid.lease(1)).strips, band_of(&grid.lease(2)).strips);
    assert!(fast > 2 * slow && slow > 1, "{fast} and {slow}");
}

impl Grid {
    fn render_lease(&mut self, worker: u64, lease: &Lease) {
        let (_, mut says) = self.tile(lease, 10);
        if let WorkerSays::Tile { tile, .. } = &mut says {
            // No measurement.
            tile.compute_ns = 0;
        }
        self.worker_says(worker, says);
    }
}

#[test]
fn before_anything_is_measured_bands_are_small() {
    let mut grid = Grid::new();
    grid.client(9);
    let size = Size { w: 10_000, h: 10_000 };
    let request = Request { size, window: Window::whole(size), iterations: 1_000_000, ..Request::default() };
    grid.submit(9, Submit { request, ..submit(1, 1) });
    grid.worker(1, |about| about.credit = 4);
    assert!(matches!(grid.lease(1).kind, LeaseKind::Probe(_)));
    assert_eq!([0; 3].map(|_| band_of(&grid.lease(1)).strips), [1, 1, 1]);
}

/// The jobs of the next `bands` bands of worker 1, which declines probes; strips of the jobs `acked` are acknowledged.
fn jobs_of_bands(grid: &mut Grid, bands: usize, acked: &[JobId]) -> Vec<JobId> {
    let mut jobs = Vec::new();
    while jobs.len() < bands {
        let lease = grid.lease(1);
        if let LeaseKind::Probe(_) = lease.kind {
            grid.band_failed(1, lease.attempt, BandFailure::Declined);
            continue;
        }
        grid.render_lease(1, &lease);
        if acked.contains(&lease.job) {
            grid.ack(9, lease.job, band_of(&lease).end());
        }
        jobs.push(lease.job);
    }
    jobs
}

/// A job whose client takes nothing stands still at its bound, and another that has had much since.
fn one_stands_still() -> (Grid, JobId, JobId) {
    let mut grid = Grid::with(|config| config.reorder_bytes_max = 4 * STRIP);
    grid.client(9);
    let still = grid.submit(9, submit(1, 5000));
    grid.worker(1, |_| {});
    let probe = grid.lease(1).attempt;
    grid.band_failed(1, probe, BandFailure::Declined);
    while let Some(lease) = grid.try_lease(1) {
        // As large as they may be, so that they take all the room.
        let (_, says) = grid.tile(&lease, u32::try_from(STRIP).unwrap());
        grid.worker_says(1, says);
    }
    let busy = grid.submit(9, submit(2, 5000));
    assert!(jobs_of_bands(&mut grid, 100, &[busy]).iter().all(|&job| job == busy));
    (grid, still, busy)
}

/// A new job started level with the one that had got least, also where that had stood still for long: until it had got as much as
/// all others they got nothing.
#[test]
fn a_new_job_does_not_make_up_for_one_that_stood_still() {
    let (mut grid, _, busy) = one_stands_still();
    let new = grid.submit(9, submit(3, 5000));
    let jobs = jobs_of_bands(&mut grid, 40, &[busy, new]);
    let of_busy = jobs.iter().filter(|&&job| job == busy).count();
    assert!((10..=30).contains(&of_busy), "{of_busy} of 40");
}

#[test]
fn a_job_that_stood_still_does_not_make_up_for_it() {
    let (mut grid, still, busy) = one_stands_still();
    for _ in 0..2 {
        let reach = grid.core.jobs[&still].reach;
        grid.ack(9, still, reach);
    }
    let jobs = jobs_of_bands(&mut grid, 40, &[busy, still]);
    let of_busy = jobs.iter().filter(|&&job| job == busy).count();
    assert!((10..=30).contains(&of_busy), "{of_busy} of 40");
}
