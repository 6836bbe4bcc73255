//! Room on disk: what is forgotten for it, and who waits for it.

use super::*;

#[test]
fn jobs_that_are_over_make_room_the_failed_ones_first_and_never_one_that_is_read() {
    let mut desk = Desk::with(|bounds| bounds.jobs_max = 3);
    desk.join();
    let [oldest, read] = [desk.done(1, 2), desk.done(2, 2)];
    let cancelled = desk.kept(3, 2);
    desk.cancel(9, cancelled);
    desk.settle();
    desk.attach(8, read, 0);
    desk.kept(4, 2);
    desk.render_all();
    assert_eq!(desk.list().jobs.iter().filter(|listed| listed.job == cancelled).count(), 0);
    desk.kept(5, 2);
    desk.render_all();
    let left: Vec<_> = desk.list().jobs.into_iter().map(|listed| listed.job).collect();
    assert!(left.contains(&read) && !left.contains(&oldest), "{left:?}");
}

#[test]
fn without_room_a_job_waits_and_others_are_refused_and_nothing_is_lost() {
    let living = 64 << 10;
    let mut desk = Desk::with(|bounds| bounds.bytes_max = RECORD + living + 2 * u64::from(LEN));
    desk.join();
    let job = desk.kept(1, 4);
    desk.render_all();
    let listed = desk.listed(job);
    assert_eq!((listed.state, listed.rows_done), (JobState::Paused, 2), "{}", listed.why);
    let refusal = desk.keep(9, 2, 1);
    assert_eq!(refused(&refusal).map(|refusal| (refusal.code, &refusal.field[..])), Some((RefusalCode::Busy, "journal")));
    desk.grid.pass(60 * SECOND);
    assert_eq!(desk.listed(job).state, JobState::Paused);
    // Cancelled, it makes room.
    desk.cancel(9, job);
    desk.settle();
    desk.kept(2, 1);
    desk.render_all();
    let left = desk.list().jobs;
    assert_eq!(left.iter().map(|listed| listed.state).collect::<Vec<_>>(), [JobState::Done]);
}

#[test]
fn a_job_that_waits_for_room_goes_on_when_another_is_forgotten() {
    let living = 64 << 10;
    let mut desk = Desk::with(|bounds| bounds.bytes_max = 2 * RECORD + living + 5 * u64::from(LEN));
    desk.join();
    let old = desk.done(1, 3);
    desk.attach(8, old, 0);
    let job = desk.kept(2, 4);
    desk.render_all();
    assert_eq!(desk.listed(job).state, JobState::Paused, "the other is being read");
    desk.client_says(8, ClientSays::Bye);
    let effects = desk.grid.tick();
    desk.note(effects);
    desk.settle();
    desk.render_all();
    assert_eq!(desk.listed(job).state, JobState::Done);
}

#[test]
fn an_account_has_a_bound_of_its_own() {
    let mut desk = Desk::with(|bounds| bounds.bytes_per_account_max = RECORD + (64 << 10) + 3 * u64::from(LEN));
    desk.join();
    let first = desk.done(1, 3);
    let second = desk.kept(2, 8);
    desk.render_all();
    assert!(desk.list().jobs.iter().all(|listed| listed.job != first), "its own earlier job made room");
    assert_eq!((desk.listed(second).state, desk.listed(second).rows_done), (JobState::Paused, 3));
    let effects = desk.keep(9, 3, 1);
    let refusal = refused(&effects).unwrap();
    assert_eq!((refusal.code, &refusal.field[..]), (RefusalCode::Busy, "journal"));
    assert!(refusal.message.contains("anonymous"), "{refusal}");
    desk.cancel(9, second);
    desk.settle();
    desk.kept(3, 1);
}

#[test]
fn jobs_that_have_been_over_for_long_are_forgotten() {
    let mut desk = Desk::with_peers();
    let (old, _) = desk.restore(1, 2, 2, Some(KeptEnding::Done));
    let (read, _) = desk.restore(2, 2, 2, Some(KeptEnding::Done));
    desk.attach(8, read, 0);
    let effects = desk.grid.pass(3600 * SECOND);
    let forgotten = effects.iter().filter_map(|effect| match effect {
        Effect::Note(Note::JobForgotten { job, .. }) => Some(*job),
        _ => None,
    });
    assert_eq!(forgotten.collect::<Vec<_>>(), [old]);
    desk.client_says(8, ClientSays::Bye);
    let effects = desk.grid.pass(120 * SECOND);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::ToJournal(ToJournal::Forget(job)) if *job == read)));
}

#[test]
fn trouble_refuses_new_jobs_and_pauses_the_living() {
    let mut desk = Desk::with_peers();
    let job = desk.kept(1, 4);
    desk.journal_says(FromJournal::Trouble(Some("no space left".to_owned())));
    let refusal = desk.keep(9, 2, 1);
    assert!(refused(&refusal).is_some_and(|refusal| refusal.message.contains("no space left")));
    let listed = desk.listed(job);
    assert_eq!((listed.state, &listed.why[..]), (JobState::Paused, "no space left"));
    desk.journal_says(FromJournal::Trouble(None));
    desk.kept(2, 1);
    desk.render_all();
    assert!(desk.list().jobs.iter().all(|listed| listed.state == JobState::Done));
}

#[test]
fn a_job_that_waits_for_room_goes_on_when_another_is_cancelled() {
    let living = 64 << 10;
    let mut desk = Desk::with(|bounds| bounds.bytes_max = 2 * RECORD + 2 * living + 4 * u64::from(LEN));
    desk.join();
    let first = desk.kept(1, 4);
    while let Some(lease) = desk.grid.try_lease(1) {
        let (_, tile) = desk.grid.tile(&lease, LEN);
        let came = desk.grid.worker_says(1, tile);
        desk.note(came);
    }
    // The disk does not write them, and then need not.
    assert_eq!(std::mem::take(&mut desk.orders).len(), 4);
    let second = desk.kept(2, 4);
    desk.render_all();
    assert_eq!(desk.listed(second).state, JobState::Paused);
    desk.cancel(9, first);
    desk.settle();
    let effects = desk.grid.tick();
    desk.note(effects);
    desk.settle();
    desk.render_all();
    assert_eq!(desk.listed(second).state, JobState::Done);
    assert_eq!(desk.listed(first).state, JobState::Cancelled, "there was room for both");
}
