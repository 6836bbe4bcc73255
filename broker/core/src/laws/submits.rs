//! How jobs begin, and how clients come back to them.

use fractally_proto::RefusalCode;

use super::*;

#[test]
fn a_refusal_names_the_field() {
    let mut grid = Grid::new();
    grid.client(1);
    type Change = fn(&mut Submit);
    let fields: [(&str, Change); 6] = [
        ("iterations", |submit| submit.request.iterations = 0),
        ("have", |submit| (submit.have, submit.engine) = (5, Some("e1".to_owned()))),
        ("engine", |submit| submit.have = 1),
        ("engine", |submit| submit.engine = Some("e1".to_owned())),
        ("engine", |submit| (submit.have, submit.engine) = (1, Some("x".repeat(257)))),
        ("window_bytes", |submit| submit.window_bytes = STRIP - 1),
    ];
    for (field, change) in fields {
        let mut submit = submit(1, 4);
        change(&mut submit);
        assert_eq!(grid.refusal(1, submit).1, field);
    }
    grid.submit(1, Submit { window_bytes: STRIP, ..submit(1, 4) });
}

#[test]
fn one_job_more_than_the_bound_is_busy() {
    let mut grid = Grid::with(|config| config.jobs_max = 1);
    grid.client(1);
    let job = grid.submit(1, submit(1, 4));
    assert_eq!(grid.refusal(1, submit(2, 4)).0, RefusalCode::Busy);
    assert_eq!(grid.submit(1, submit(1, 4)), job, "the job in hand is not refused");
}

#[test]
fn ids_carry_the_brokers_life() {
    let mut grid = Grid::new();
    grid.client(1);
    assert_eq!(grid.submit(1, submit(1, 4)), JobId(0xcccc_dddd_0000_0001));
    assert_eq!(grid.submit(1, submit(2, 4)), JobId(0xcccc_dddd_0000_0002));
    grid.worker(1, |_| {});
    assert_eq!(grid.lease(1).attempt, AttemptId(0xcccc_dddd_0000_0001));
}

#[test]
fn the_same_key_is_the_same_job_and_another_request_a_conflict() {
    let mut grid = Grid::new();
    grid.client(1);
    let job = grid.submit(1, submit(1, 4));
    assert_eq!(grid.submit(1, submit(1, 4)), job);
    assert_eq!(grid.refusal(1, submit(1, 5)), (RefusalCode::KeyConflict, "request".to_owned()));
    let batch = Submit { priority: Priority::Batch, ..submit(1, 4) };
    assert_eq!(grid.refusal(1, batch), (RefusalCode::KeyConflict, "priority".to_owned()));
}

#[test]
fn the_newest_client_of_a_key_gets_the_job() {
    let mut grid = Grid::new();
    grid.client(1);
    grid.client(2);
    let job = grid.submit(1, submit(1, 4));
    grid.worker(1, |_| {});
    assert_eq!(delivered(&grid.render(1, 10).1), [(0, 1)]);
    let effects = grid.client_says(2, ClientSays::Submit(Box::new(submit(1, 4))));
    assert_eq!(delivered(&effects), [(0, 1)], "what the former client did not acknowledge comes again");
    assert_eq!(grid.ack(1, job, 1), [], "the former client's ACK crossed that news");
    let effects = grid.render(1, 10).1;
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Deliver { client: ClientId(2), first: 1, .. })));
}

#[test]
fn a_client_that_comes_back_continues_at_the_strips_it_holds() {
    let mut grid = Grid::new();
    grid.client(1);
    let job = grid.submit(1, submit(1, 6));
    grid.worker(1, |_| {});
    let (first, _) = grid.render(1, 10);
    let (second, _) = grid.render(1, 10);
    grid.step(|core, now, out| core.on_client_gone(now, ClientId(1), out));
    let (_, effects) = grid.render(1, 10);
    assert_eq!(delivered(&effects), [], "nobody takes it");
    grid.client(2);
    let again = Submit { have: 1, engine: Some("e1".to_owned()), ..submit(1, 6) };
    let effects = grid.client_says(2, ClientSays::Submit(Box::new(again)));
    assert!(matches!(told(&effects)[0], Message::Accepted(accepted) if accepted.job == job));
    assert_eq!(delivered(&effects), [(1, 1), (2, 1)]);
    assert_eq!(released(&effects), [first], "what it holds is acknowledged");
    assert_eq!(released(&grid.ack(2, job, 2)), [second]);
}

#[test]
fn a_client_cannot_continue_from_what_was_never_delivered_or_is_forgotten() {
    let mut grid = Grid::new();
    grid.client(1);
    let job = grid.submit(1, submit(1, 6));
    grid.worker(1, |_| {});
    grid.render(1, 10);
    grid.render(1, 10);
    grid.ack(1, job, 1);
    let from = |have: u32, engine: &str| Submit { have, engine: Some(engine.to_owned()), ..submit(1, 6) };
    assert_eq!(grid.refusal(1, submit(1, 6)), (RefusalCode::CannotResume, "have".to_owned()));
    assert_eq!(grid.refusal(1, from(3, "e1")), (RefusalCode::CannotResume, "have".to_owned()));
    assert_eq!(grid.refusal(1, from(2, "e2")), (RefusalCode::CannotResume, "engine".to_owned()));
    assert_eq!(grid.submit(1, from(2, "e1")), job);
}

#[test]
fn a_new_job_may_start_in_the_middle_on_the_engine_of_what_is_held() {
    let mut grid = Grid::new();
    grid.client(1);
    grid.worker(1, |about| about.engine = "e2".to_owned());
    let job = grid.submit(1, Submit { have: 2, engine: Some("e1".to_owned()), ..submit(1, 4) });
    assert!(grid.try_lease(1).is_none(), "another engine would give other bytes");
    grid.worker(2, |_| {});
    assert_eq!(band_of(&grid.lease(2)).first, 2);
    let status = grid.core.status(grid.now);
    assert_eq!((status.jobs[0].job, status.jobs[0].rows_done), (job, 2));
}

#[test]
fn a_client_that_holds_everything_is_done() {
    let mut grid = Grid::new();
    grid.client(1);
    let whole = Submit { have: 4, engine: Some("e1".to_owned()), ..submit(1, 4) };
    let effects = grid.client_says(1, ClientSays::Submit(Box::new(whole)));
    let [Message::Accepted(_), Message::Done(done)] = told(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!((done.engine.as_str(), done.bands, done.attempts), ("e1", 0, 0));
    assert!(grid.core.status(grid.now).jobs.is_empty());
}

#[test]
fn a_job_whose_client_stays_away_is_cancelled() {
    let mut grid = Grid::new();
    grid.client(1);
    grid.submit(1, submit(1, 4));
    grid.worker(1, |_| {});
    let attempt = grid.lease(1).attempt;
    grid.step(|core, now, out| core.on_client_gone(now, ClientId(1), out));
    let effects = grid.pass_with(29 * SECOND, &[(1, attempt)], true);
    assert_eq!(withdrawn(&effects), []);
    assert_eq!(withdrawn(&grid.pass(2 * SECOND)), [(1, attempt)]);
    assert!(grid.core.status(grid.now).jobs.is_empty());
}

#[test]
fn a_client_that_comes_back_in_time_stops_the_clock() {
    let mut grid = Grid::new();
    grid.client(1);
    let job = grid.submit(1, submit(1, 4));
    grid.step(|core, now, out| core.on_client_gone(now, ClientId(1), out));
    grid.pass(29 * SECOND);
    grid.client(2);
    assert_eq!(grid.submit(2, submit(1, 4)), job);
    grid.pass(60 * SECOND);
    assert_eq!(grid.core.status(grid.now).jobs.len(), 1);
}
