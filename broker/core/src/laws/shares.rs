//! Who gets how much of the grid, and who gets way.

use std::collections::BTreeMap;

use fractally_proto::{ErrorCode, RefusalCode};

use super::{
    hall::{ENDLESS, Hall},
    helpers::recalled,
    *,
};

fn close(a: f64, b: f64, within: f64) {
    assert!((a - b).abs() <= within * b, "{a} is not {b} within {} %", 100.0 * within);
}

#[test]
fn accounts_share_by_weight() {
    let mut hall = Hall::new(4, 1, |config| config.weights = BTreeMap::from([("emmy".to_owned(), 3)]));
    let (ada, emmy) = (hall.client(1, "ada"), hall.client(2, "emmy"));
    let jobs = [ada, emmy].map(|client| [hall.submit(client, Priority::Normal, ENDLESS)]);
    let got = hall.seconds_of(60 * SECOND, &[&jobs[0], &jobs[1]]);
    close(got[1], 3.0 * got[0], 0.05);
}

#[test]
fn two_jobs_of_one_account_get_what_one_of_another_gets() {
    let mut hall = Hall::new(4, 1, |_| {});
    let (ada, emmy) = (hall.client(1, "ada"), hall.client(2, "emmy"));
    let two = [0, 1].map(|_| hall.submit(ada, Priority::Batch, ENDLESS));
    let one = hall.submit(emmy, Priority::Batch, ENDLESS);
    let got = hall.seconds_of(60 * SECOND, &[&two[..1], &two[1..], &[one]]);
    close(got[0] + got[1], got[2], 0.05);
    close(got[0], got[1], 0.05);
}

#[test]
fn the_time_of_threads_is_shared_and_not_what_was_predicted() {
    let mut hall = Hall::new(4, 1, |_| {});
    let (ada, emmy) = (hall.client(1, "ada"), hall.client(2, "emmy"));
    let slow = hall.submit(ada, Priority::Normal, ENDLESS);
    hall.slow.insert(slow, 4);
    let fast = hall.submit(emmy, Priority::Normal, ENDLESS);
    hall.pass(10 * SECOND);
    let got = hall.seconds_of(60 * SECOND, &[&[slow], &[fast]]);
    close(got[0], got[1], 0.05);
}

#[test]
fn a_better_class_gets_all_that_it_can_use_at_first() {
    let mut hall = Hall::new(4, 1, |_| {});
    let ada = hall.client(1, "ada");
    let classes = [Priority::Batch, Priority::Normal, Priority::Interactive];
    let [batch, normal, interactive] = classes.map(|class| hall.submit(ada, class, ENDLESS));
    // The bands that were begun before it came.
    hall.pass(100 * MS);
    let got = hall.seconds_of(800 * MS, &[&[batch], &[normal], &[interactive]]);
    assert_eq!((got[0], got[1]), (0.0, 0.0));
    close(got[2], 3.2, 1e-6);
}

#[test]
fn a_class_that_is_passed_over_gets_its_sixteenth_after_a_second() {
    // Also where a worker has more threads than one, and its queue always holds better leases.
    for (workers, threads) in [(4, 1), (2, 4)] {
        let mut hall = Hall::new(workers, threads, |_| {});
        let (ada, emmy) = (hall.client(1, "ada"), hall.client(2, "emmy"));
        let endless = [0, 1].map(|_| hall.submit(ada, Priority::Interactive, ENDLESS));
        let batch = hall.submit(emmy, Priority::Batch, ENDLESS);
        assert_eq!(hall.seconds_of(900 * MS, &[&[batch]])[0], 0.0);
        hall.pass(5 * SECOND);
        let got = hall.seconds_of(60 * SECOND, &[&endless, &[batch]]);
        close(got[1], (got[0] + got[1]) / 16.0, 0.1);
        let normal = hall.submit(emmy, Priority::Normal, ENDLESS);
        hall.pass(5 * SECOND);
        let got = hall.seconds_of(60 * SECOND, &[&endless, &[normal], &[batch]]);
        let all: f64 = got.iter().sum();
        close(got[1], all / 16.0, 0.1);
        close(got[2], all / 16.0, 0.1);
    }
}

#[test]
fn a_class_that_got_room_waits_for_a_second_again() {
    let mut hall = Hall::new(2, 1, |_| {});
    let ada = hall.client(1, "ada");
    // Its bands are short, and it lasts for two seconds of two threads.
    let batch = hall.submit(ada, Priority::Batch, 64);
    let interactive = hall.submit(ada, Priority::Interactive, ENDLESS);
    hall.pass(5 * SECOND);
    hall.cancel(ada, interactive);
    assert!(hall.seconds_of(500 * MS, &[&[batch]])[0] > 0.5, "there is room");
    hall.submit(ada, Priority::Interactive, ENDLESS);
    hall.pass(300 * MS);
    assert_eq!(hall.seconds_of(600 * MS, &[&[batch]])[0], 0.0);
    assert!(hall.seconds_of(10 * SECOND, &[&[batch]])[0] > 0.0);
}

#[test]
fn an_account_that_comes_back_is_neither_owed_the_past_nor_charged_for_it() {
    for early in ["ada", "emmy"] {
        let mut hall = Hall::new(4, 1, |_| {});
        let (ada, emmy) = (hall.client(1, "ada"), hall.client(2, "emmy"));
        let (first, second) = if early == "ada" { (ada, emmy) } else { (emmy, ada) };
        let stays = hall.submit(first, Priority::Normal, ENDLESS);
        let leaves = hall.submit(second, Priority::Normal, ENDLESS);
        hall.pass(20 * SECOND);
        hall.cancel(second, leaves);
        hall.pass(20 * SECOND);
        let back = hall.submit(second, Priority::Normal, ENDLESS);
        // What waits in queues comes first.
        hall.pass(3 * SECOND);
        let got = hall.seconds_of(20 * SECOND, &[&[stays], &[back]]);
        close(got[0], got[1], 0.06);
    }
}

/// Bands are the larger the longer a job is: whoever asked for one job after another, each of one costly band, got more than its share
/// as long as accounts without jobs were forgotten at once.
#[test]
fn one_job_after_another_gets_no_more_than_one_that_lasts() {
    let mut hall = Hall::new(1, 1, |_| {});
    let (ada, emmy) = (hall.client(1, "ada"), hall.client(2, "emmy"));
    let lasts = hall.submit(ada, Priority::Normal, ENDLESS);
    let start = hall.grid.now;
    let mut many = Vec::new();
    while hall.grid.now < start + 60 * SECOND && many.len() < 200 {
        let job = hall.submit(emmy, Priority::Normal, 1);
        hall.slow.insert(job, 8);
        hall.await_done(job);
        many.push(job);
    }
    let sum = |jobs: &[JobId]| jobs.iter().map(|job| hall.spent_on(*job).as_secs_f64()).sum::<f64>();
    assert!(sum(&many) <= 1.05 * sum(&[lasts]), "{} s, and {} s", sum(&many), sum(&[lasts]));
}

/// A worker with a running batch band and two that wait.
fn batch_in_the_queue() -> (Grid, [Lease; 3]) {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(1, |about| about.credit = 3);
    grid.submit(9, Submit { priority: Priority::Batch, ..submit(1, 8) });
    let leases = [0; 3].map(|_| grid.lease(1));
    (grid, leases)
}

fn say_submit(grid: &mut Grid, submit: Submit) -> Vec<Effect> {
    grid.client_says(9, ClientSays::Submit(Box::new(submit)))
}

#[test]
fn a_better_job_gets_the_place_of_what_waits_and_not_of_what_runs() {
    let (mut grid, leases) = batch_in_the_queue();
    let effects = say_submit(&mut grid, submit(2, 8));
    assert_eq!(recalled(&effects), [(1, leases[2].attempt), (1, leases[1].attempt)]);
    let effects = grid.band_failed(1, leases[2].attempt, BandFailure::Withdrawn);
    let requeued = |effect: &Effect| matches!(effect, Effect::Note(crate::Note::BandRequeued { blamed: false, .. }));
    assert!(effects.iter().any(requeued), "nobody is to blame: {effects:?}");
    assert_eq!(grid.lease(1).priority, Priority::Interactive);
    assert!(recalled(&grid.pass(SECOND)).is_empty(), "each is asked back once");
}

#[test]
fn no_more_is_asked_back_than_the_better_job_can_use() {
    let (mut grid, leases) = batch_in_the_queue();
    assert_eq!(recalled(&say_submit(&mut grid, submit(2, 1))), [(1, leases[2].attempt)]);
    assert!(recalled(&grid.pass(SECOND)).is_empty());
    assert_eq!(recalled(&say_submit(&mut grid, submit(3, 1))), [(1, leases[1].attempt)], "another has use for another");
}

#[test]
fn a_job_of_the_same_class_or_a_worse_one_gets_no_way() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(1, |about| about.credit = 3);
    grid.submit(9, Submit { priority: Priority::Normal, ..submit(1, 8) });
    let leases = [0; 3].map(|_| grid.lease(1));
    for (n, priority) in [(2, Priority::Batch), (3, Priority::Normal)] {
        assert!(recalled(&say_submit(&mut grid, Submit { priority, ..submit(n, 8) })).is_empty());
    }
    assert_eq!(recalled(&say_submit(&mut grid, submit(4, 1))), [(1, leases[2].attempt)]);
}

#[test]
fn nobody_is_asked_who_cannot_work_for_the_better_job() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(1, |about| (about.credit, about.encodings) = (3, vec![Encoding::Png]));
    let png = Request { encoding: Encoding::Png, ..picture(8) };
    grid.submit(9, Submit { priority: Priority::Batch, request: png, ..submit(1, 8) });
    assert!(recalled(&say_submit(&mut grid, submit(2, 8))).is_empty());
}

#[test]
fn a_band_and_its_mirror_are_asked_back_together() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(1, |about| about.credit = 2);
    let request = Request { center: [0.0, 0.0], ..picture(8) };
    grid.submit(9, Submit { priority: Priority::Batch, request, ..submit(1, 8) });
    let [_, waits] = [0; 2].map(|_| grid.lease(1));
    let mirror = waits.mirror.expect("it is its own mirror image").attempt;
    let effects = say_submit(&mut grid, submit(2, 8));
    assert_eq!(recalled(&effects), [(1, waits.attempt), (1, mirror)]);
    grid.band_failed(1, waits.attempt, BandFailure::Withdrawn);
    grid.band_failed(1, mirror, BandFailure::Withdrawn);
    assert_eq!(grid.lease(1).priority, Priority::Interactive);
}

/// What a job has settled and outstanding, µs.
fn charged(grid: &Grid, job: JobId) -> (u64, u64) {
    let ledger = grid.core.jobs[&job].claim.ledger;
    (ledger.settled, ledger.outstanding)
}

#[test]
fn a_band_costs_what_it_took_and_nothing_where_it_came_back_undone() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(1, |about| about.credit = 2);
    let job = grid.submit(9, submit(1, 2));
    let [first, second] = [0; 2].map(|_| grid.lease(1));
    let predicted = 65_536 * (32 + 8) / 1_000;
    assert_eq!(charged(&grid, job), (0, 2 * predicted));
    grid.band_failed(1, second.attempt, BandFailure::Withdrawn);
    let again = grid.lease(1);
    assert_eq!(charged(&grid, job), (0, 2 * predicted), "charged anew");
    grid.now += 7 * MS;
    grid.render_lease_in(1, &first, 5 * MS);
    assert_eq!(charged(&grid, job), (5_000, predicted));
    grid.now += MS;
    grid.render_lease_in(1, &again, 3600 * SECOND);
    assert_eq!(charged(&grid, job), (5_000 + 8_000, 0), "no longer than it was leased");
}

#[test]
fn a_band_that_failed_costs_its_time_and_at_most_what_was_predicted() {
    for (lasts, costs) in [(MS, 1_000), (SECOND, 2_621)] {
        let mut grid = Grid::new();
        grid.client(9);
        grid.worker(1, |_| {});
        let job = grid.submit(9, submit(1, 1));
        let lease = grid.lease(1);
        grid.now += lasts;
        grid.band_failed(1, lease.attempt, BandFailure::Crashed);
        assert_eq!(charged(&grid, job).0, costs);
    }
}

impl Grid {
    /// A client that names an account.
    pub(super) fn client_of(&mut self, client: u64, account: &str) -> Vec<Effect> {
        self.client_says(client, ClientSays::Hello(Hello { account: Some(account.to_owned()), ..hello(None) }))
    }

    fn render_lease_in(&mut self, worker: u64, lease: &Lease, takes: Duration) {
        let (_, mut says) = self.tile(lease, 10);
        if let WorkerSays::Tile { tile, .. } = &mut says {
            tile.compute_ns = u64::try_from(takes.as_nanos()).unwrap();
        }
        self.worker_says(worker, says);
    }

    /// The refusal of a SUBMIT: its code, its field, and what it says.
    fn refused(&mut self, client: u64, submit: Submit) -> (RefusalCode, String, String) {
        let effects = self.client_says(client, ClientSays::Submit(Box::new(submit)));
        let [Message::Refused(refused)] = told(&effects)[..] else { panic!("not refused: {effects:?}") };
        (refused.refusal.code, refused.refusal.field.clone(), refused.refusal.message.clone())
    }
}

#[test]
fn an_account_has_so_many_jobs_and_another_is_let_in_beside() {
    let mut grid = Grid::with(|config| config.jobs_per_account_max = 2);
    grid.client_of(1, "ada");
    grid.client_of(2, "emmy");
    grid.submit(1, submit(1, 4));
    let second = grid.submit(1, submit(2, 4));
    let (code, field, message) = grid.refused(1, submit(3, 4));
    assert_eq!((code, field.as_str()), (RefusalCode::Busy, "account"));
    assert_eq!(
        message,
        "2 jobs of \"ada\" are in hand, as many as one account may have; wait until one of them is done, or cancel one; the \
         broker's --jobs-per-account sets the limit"
    );
    grid.submit(2, submit(3, 4));
    grid.client_says(1, ClientSays::Cancel(fractally_proto::Cancel { job: second, holder: None }));
    grid.submit(1, submit(4, 4));
}

#[test]
fn work_has_a_limit_for_each_account_and_in_all() {
    // A picture of one strip is 6.5536e9 pixels x iterations.
    let mut grid = Grid::with(|config| (config.work_per_account_max, config.work_max) = (14_000_000_000, 20_000_000_000));
    grid.client_of(1, "ada");
    grid.client_of(2, "emmy");
    grid.submit(1, submit(1, 1));
    grid.submit(1, submit(2, 1));
    let (code, field, message) = grid.refused(1, submit(3, 1));
    assert_eq!((code, field.as_str()), (RefusalCode::Busy, "account"));
    for word in ["\"ada\"", "6.6e9", "1.3e10", "1.4e10", "fewer pixels or iterations", "--work-per-account"] {
        assert!(message.contains(word), "{word}: {message}");
    }
    grid.submit(2, submit(3, 1));
    let (code, field, message) = grid.refused(2, submit(4, 1));
    assert_eq!((code, field.as_str()), (RefusalCode::Busy, "work"));
    let (code, ..) = grid.refused(2, submit(5, 3));
    assert_eq!(code, RefusalCode::Limit, "it never will be less");
    assert!(message.contains("all accounts") && message.contains("--work-max"), "{message}");
}

#[test]
fn the_largest_request_that_may_be_is_let_in() {
    let mut grid = Grid::new();
    grid.client(9);
    let size = Size { w: 1_000_000, h: 1_000_000 };
    let request = Request { size, window: Window::whole(size), iterations: 1_000_000, ..picture(1) };
    assert_eq!(u128::from(request.pixels()) * 1_000_000, 1_000_000_000_000_000_000);
    for n in 0..4 {
        grid.submit(9, Submit { request, window_bytes: 64 << 20, ..submit(n, 1) });
    }
    assert_eq!(grid.refused(9, Submit { request, window_bytes: 64 << 20, ..submit(4, 1) }).1, "account");
}

#[test]
fn an_account_has_so_many_connections_and_those_who_name_none_are_not_counted() {
    let mut grid = Grid::with(|config| config.connections_per_account_max = 2);
    for client in 1..=2 {
        assert_eq!(error(&grid.client_of(client, "ada")), None);
    }
    let effects = grid.client_of(3, "ada");
    let [Message::Error(told), ..] = told(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!((told.code, dropped_clients(&effects)), (ErrorCode::Full, vec![3]));
    assert!(told.message.starts_with("2 clients of \"ada\" are connected"), "{}", told.message);
    assert_eq!(error(&grid.client_of(4, "emmy")), None);
    for client in 5..10 {
        grid.client(client);
        assert!(grid.core.clients.contains_key(&ClientId(client)));
    }
    grid.client_says(1, ClientSays::Bye);
    assert_eq!(error(&grid.client_of(10, "ada")), None);
}

/// Figures for people: `cargo test -p fractally-broker-core --lib laws::shares::figures -- --ignored --nocapture`.
#[test]
#[ignore = "it measures"]
fn figures() {
    let mut hall = Hall::new(8, 1, |_| {});
    let jobs: Vec<Vec<JobId>> = (1..=4)
        .map(|n| {
            let client = hall.client(n, &format!("account {n}"));
            (0..n).map(|_| hall.submit(client, Priority::Batch, ENDLESS)).collect()
        })
        .collect();
    for (jobs, slow) in jobs.iter().zip([1, 4, 2, 1]) {
        hall.slow.extend(jobs.iter().map(|&job| (job, slow)));
    }
    let refs: Vec<&[JobId]> = jobs.iter().map(Vec::as_slice).collect();
    let got = hall.seconds_of(60 * SECOND, &refs);
    let (sum, squares) = (got.iter().sum::<f64>(), got.iter().map(|x| x * x).sum::<f64>());
    let jain = sum * sum / (4.0 * squares);
    println!("4 accounts with 1, 2, 3 and 4 jobs, 8 threads, 60 s: thread seconds {got:.1?}, Jain index {jain:.5}");
    assert!(jain > 0.999);
    for (what, batch, deaf) in [("alone", false, false), ("beside batch", true, false), ("beside batch, no way made", true, true)]
    {
        let mut hall = Hall::new(8, 1, |_| {});
        hall.deaf = deaf;
        let (ada, emmy) = (hall.client(1, "ada"), hall.client(2, "emmy"));
        if batch {
            let job = hall.submit(ada, Priority::Batch, ENDLESS);
            hall.slow.insert(job, 5);
        }
        hall.pass(10 * SECOND);
        let mut waits: Vec<Duration> = (0..30)
            .map(|n| {
                hall.pass(3 * SECOND + n * 37 * MS);
                let job = hall.submit(emmy, Priority::Interactive, 8);
                hall.await_done(job)
            })
            .collect();
        waits.sort_unstable();
        println!("an interactive job of 66 ms on 8 threads, {what}: median {:?}, most {:?}", waits[15], waits[29]);
    }
}
