//! What who watches is told: sums of what was done, how busy workers are, and what went wrong.

use fractally_proto::{FaultKind, Status};

use super::*;

fn status(grid: &mut Grid) -> Status {
    let effects = grid.client_says(9, ClientSays::StatusQuery);
    let [Message::StatusReport(payload)] = told(&effects)[..] else { panic!("{effects:?}") };
    Status::decode(payload).unwrap()
}

#[test]
fn a_worker_is_busy_while_its_threads_have_bands() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(1, |about| (about.threads, about.credit) = (2, 3));
    grid.pass(SECOND);
    assert_eq!(status(&mut grid).workers[0].busy_ms, Some(0), "it had nothing to do");
    grid.submit(9, submit(1, 5));
    grid.pass(100 * MS);
    assert_eq!(status(&mut grid).workers[0].busy_ms, Some(200), "two threads, though it holds three bands");
    for _ in 0..4 {
        grid.render(1, 10);
    }
    grid.pass(100 * MS);
    assert_eq!(status(&mut grid).workers[0].busy_ms, Some(300), "one band is left for one thread");
    grid.render(1, 10);
    grid.pass(SECOND);
    assert_eq!(status(&mut grid).workers[0].busy_ms, Some(300));
}

#[test]
fn sums_and_shares_of_jobs_are_told() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(1, |_| {});
    let job = grid.submit(9, submit(1, 3));
    grid.render(1, 10);
    let told = status(&mut grid);
    let totals = told.broker.totals.expect("it tells");
    assert_eq!((totals.leased, totals.delivered, totals.iterations), (2, 1, 1_000_000));
    assert!(totals.tile_bytes > 0);
    assert_eq!(told.broker.epoch, Some(Epoch(0xaaaa_bbbb_cccc_dddd)));
    let told = told.jobs.into_iter().find(|told| told.job == job).expect("it lives");
    assert_eq!((told.workers, told.iterations), (1, 1_000_000));
}

#[test]
fn faults_are_told_by_kind_with_who_and_why() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(1, |about| about.name = "first".to_owned());
    let job = grid.submit(9, submit(1, 1));
    let lease = grid.lease(1);
    grid.worker(2, |about| about.name = "second".to_owned());
    grid.band_failed(1, lease.attempt, BandFailure::Crashed);
    grid.pass(100 * MS);
    grid.step(|core, now, out| core.on_worker_gone(now, WorkerId(2), out));
    let mut wrong = submit(2, 1);
    wrong.request.bailout = 0.5;
    grid.client_says(9, ClientSays::Submit(Box::new(wrong)));
    let told = status(&mut grid);
    let totals = told.broker.totals.expect("it tells");
    assert_eq!((totals.workers_lost, totals.refused, totals.retries), (1, 1, totals.leased - 1));
    let faults = told.broker.faults;
    let of = |kind: FaultKind, who: &str| {
        let of_a_kind: Vec<_> = faults.iter().filter(|fault| fault.kind == kind && fault.who == who).collect();
        assert_eq!(of_a_kind.len(), 1, "{kind:?} of {who:?} in {faults:?}");
        of_a_kind[0]
    };
    let failed = of(FaultKind::BandFailed, "first");
    assert_eq!((failed.job, failed.why.as_str(), failed.ago_ms), (Some(job), "crashed: because", 100));
    assert_eq!(of(FaultKind::WorkerLost, "second").why, "the connection was lost");
    assert!(of(FaultKind::Refused, "anonymous").why.starts_with("bailout"), "{faults:?}");
    assert!(faults.is_sorted_by_key(|fault| fault.ago_ms));
}

#[test]
fn a_worker_that_says_goodbye_is_no_fault() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(1, |_| {});
    grid.step(|core, now, out| core.on_worker(now, WorkerId(1), WorkerSays::Bye, out));
    let told = status(&mut grid).broker;
    assert_eq!((told.totals.expect("it tells").workers_lost, told.faults), (0, vec![]));
}
