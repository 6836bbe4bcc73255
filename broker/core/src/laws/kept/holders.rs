//! Who holds a detached job, who joins it, and when it ends because nobody wants it.

use fractally_proto::{ContentId, Holder};

use super::*;

fn holder(name: &str) -> Option<Holder> {
    Some(name.parse().unwrap())
}

/// The picture `n`, wanted by `name`, under the key `k`.
fn wanted(n: u8, name: &str, k: u8) -> Keep {
    Keep { key: key(k), holder: holder(name), ..keep(n, 3) }
}

impl Desk {
    fn want(&mut self, client: u64, keep: Keep) -> Vec<Effect> {
        self.client_says(client, ClientSays::Keep(Box::new(keep)))
    }

    fn withdraw(&mut self, client: u64, job: JobId, name: &str) -> Vec<Effect> {
        self.client_says(client, ClientSays::Cancel(Cancel { job, holder: holder(name) }))
    }

    fn list_of(&mut self, contents: &[ContentId]) -> JobList {
        let effects = self.client_says(9, ClientSays::ListQuery(ListQuery { contents: Some(contents.to_vec()) }));
        let [Message::ListReport(payload)] = told(&effects)[..] else { panic!("no list: {effects:?}") };
        JobList::decode(payload).unwrap()
    }

    /// A job that lives, held by `name`.
    fn held(&mut self, n: u8, name: &str) -> JobId {
        self.want(9, wanted(n, name, n));
        accepted(&self.settle()).expect("it is accepted").0
    }
}

fn keys_told(effects: &[Effect]) -> Vec<(ClientId, JobKey, JobId)> {
    let accepted = effects.iter().filter_map(|effect| match effect {
        Effect::ToClient(client, Message::Accepted(accepted)) => Some((*client, accepted.key, accepted.job)),
        _ => None,
    });
    accepted.collect()
}

fn failure(effects: &[Effect]) -> Option<&str> {
    told(effects).into_iter().find_map(|message| match message {
        Message::Failed(failed) => Some(&*failed.reason),
        _ => None,
    })
}

#[test]
fn who_wants_what_a_job_draws_joins_it_whatever_its_key() {
    let mut desk = Desk::with_peers();
    let job = desk.held(1, "a");
    assert_eq!(accepted(&desk.want(8, wanted(1, "b", 7))), Some((job, false)));
    assert_eq!(desk.listed(job).holders, 2);
    // The same holder again, under the key of the job and under another.
    for k in [1, 8] {
        assert_eq!(accepted(&desk.want(8, wanted(1, "a", k))), Some((job, false)));
    }
    assert_eq!(desk.listed(job).holders, 2);
    // The key is free: another picture may have it.
    desk.want(8, wanted(2, "b", 7));
    assert_ne!(accepted(&desk.settle()).unwrap().0, job);
    // And the key of the job is not.
    assert_eq!(refused(&desk.want(8, wanted(2, "b", 1))).map(|refusal| refusal.code), Some(RefusalCode::KeyConflict));
}

#[test]
fn who_names_no_holder_has_a_job_of_its_own_that_lives_on() {
    let mut desk = Desk::with_peers();
    let job = desk.held(1, "a");
    desk.want(8, Keep { key: key(7), ..keep(1, 3) });
    let (other, _) = accepted(&desk.settle()).unwrap();
    assert_ne!(other, job);
    assert_eq!(desk.listed(other).holders, 1);
    // Who joins that and withdraws leaves it to its submitter.
    desk.cancel(8, job);
    desk.settle();
    assert_eq!(accepted(&desk.want(8, wanted(1, "b", 5))), Some((other, false)));
    assert_eq!(told(&desk.withdraw(8, other, "b")).len(), 0);
    desk.attach(8, other, 0);
    desk.client_says(8, ClientSays::Bye);
    assert_eq!(desk.listed(other).state, JobState::Running);
}

#[test]
fn who_joins_a_job_that_is_not_on_disk_hears_of_it_when_it_is() {
    let mut desk = Desk::with_peers();
    assert_eq!(told(&desk.want(9, wanted(1, "a", 1))).len(), 0);
    for (k, name) in [(2, "b"), (3, "c")] {
        assert_eq!(told(&desk.want(8, wanted(1, name, k))).len(), 0, "a promise before the disk");
    }
    let told_then = keys_told(&desk.settle());
    let [(_, _, job), ..] = told_then[..] else { panic!("nobody is told") };
    assert_eq!(told_then, [(ClientId(8), key(2), job), (ClientId(8), key(3), job), (ClientId(9), key(1), job)]);
    assert_eq!(desk.listed(job).holders, 3);

    // Who waits is refused with the job, under its own key.
    desk.want(9, wanted(2, "a", 4));
    desk.want(8, wanted(2, "b", 5));
    let Some(ToJournal::Keep(record)) = desk.orders.pop_front() else { panic!("no order") };
    let effects = desk.journal_says(FromJournal::Kept { job: record.job, bytes: Err("no room".to_owned()) });
    let keys = told(&effects).into_iter().map(|message| match message {
        Message::Refused(refused) => refused.key,
        other => panic!("{other:?}"),
    });
    assert_eq!(keys.collect::<Vec<_>>(), [key(5), key(4)]);
}

#[test]
fn a_job_ends_with_its_last_holder_and_says_so_when_that_is_on_disk() {
    let mut desk = Desk::with_peers();
    let job = desk.held(1, "a");
    desk.want(8, wanted(1, "b", 7));
    assert_eq!(told(&desk.withdraw(9, job, "a")).len(), 0, "others remain");
    assert_eq!(desk.settle(), []);
    assert_eq!(told(&desk.withdraw(9, job, "nobody")).len(), 0, "it never had that one");
    assert_eq!(desk.listed(job).holders, 1);
    assert_eq!(failure(&desk.withdraw(8, job, "b")), None, "before the disk");
    assert_eq!(failure(&desk.settle()), Some("cancelled"));
    assert_eq!(desk.listed(job).state, JobState::Cancelled);
    // Whoever withdraws later hears how it ended, and who wants the picture gets another job.
    assert_eq!(failure(&desk.withdraw(8, job, "a")), Some("cancelled"));
    desk.want(8, wanted(1, "b", 7));
    assert_ne!(accepted(&desk.settle()).unwrap().0, job);
}

#[test]
fn a_job_that_nobody_holds_ends_with_the_last_who_follows_it() {
    let mut desk = Desk::with_peers();
    let job = desk.held(1, "a");
    desk.grid.client(7);
    desk.attach(7, job, 0);
    desk.attach(8, job, 0);
    assert_eq!(told(&desk.withdraw(9, job, "a")).len(), 0);
    desk.client_says(7, ClientSays::Bye);
    assert_eq!(desk.listed(job).holders, 0);
    assert_eq!(desk.listed(job).state, JobState::Running);
    // It may be held again meanwhile, and is then not ended by leaving.
    desk.want(9, wanted(1, "c", 6));
    desk.grid.step(|core, now, out| core.on_client_gone(now, ClientId(8), out));
    assert_eq!(desk.listed(job).state, JobState::Running);
    desk.grid.client(6);
    desk.attach(6, job, 0);
    desk.withdraw(9, job, "c");
    let effects = desk.grid.step(|core, now, out| core.on_client_gone(now, ClientId(6), out));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Note(Note::JobEnded { .. }))));
    desk.note(effects);
    desk.settle();
    assert_eq!((desk.listed(job).state, &*desk.listed(job).why), (JobState::Cancelled, "nobody wants it any more"));
}

#[test]
fn a_job_that_is_done_stays_whoever_withdraws() {
    let mut desk = Desk::with_peers();
    let job = desk.held(1, "a");
    desk.render_all();
    assert_eq!(accepted(&desk.want(8, wanted(1, "b", 7))), Some((job, true)));
    for name in ["a", "b"] {
        assert_eq!(told(&desk.withdraw(8, job, name)).len(), 0);
    }
    let listed = desk.listed(job);
    assert_eq!((listed.state, listed.holders, listed.strip_bytes), (JobState::Done, 0, 3 * u64::from(LEN)));
    // Damaged, it would be rendered again for whoever follows it, and for nobody else.
    desk.damaged = Some(1);
    desk.attach(8, job, 0);
    desk.settle_one();
    assert_eq!(told(&desk.withdraw(8, job, "a")).len(), 0, "somebody follows it");
    desk.client_says(8, ClientSays::Bye);
    desk.settle();
    assert_eq!(&*desk.listed(job).why, "nobody wants it any more");
}

#[test]
fn a_job_with_too_many_holders_is_held_for_good() {
    let mut desk = Desk::with_peers();
    let job = desk.held(1, "0");
    for n in 1..256 {
        desk.want(9, wanted(1, &n.to_string(), 9));
    }
    assert_eq!(desk.listed(job).holders, 256);
    desk.want(9, wanted(1, "256", 9));
    desk.want(9, wanted(1, "257", 9));
    for n in 0..=257 {
        assert_eq!(told(&desk.withdraw(9, job, &n.to_string())).len(), 0);
    }
    assert_eq!((desk.listed(job).state, desk.listed(job).holders), (JobState::Running, 1));
}

#[test]
fn after_a_restart_a_job_has_its_first_holder_or_is_held_for_good() {
    let mut desk = Desk::with_peers();
    desk.want(9, wanted(1, "a", 1));
    desk.want(9, wanted(1, "b", 2));
    let Some(ToJournal::Keep(record)) = desk.orders.pop_front() else { panic!("no order") };
    assert_eq!(record.holder, holder("a"));
    let mut desk = Desk::with_peers();
    let (kept_for_good, _) = desk.restore(5, 3, 0, None);
    let (id, strip_bytes) = (record.job, 0);
    let restored = Restored { job: *record, engine: None, have: 0, bytes: RECORD, strip_bytes, end: None };
    desk.disk.insert(id, 0);
    desk.grid.step(|core, now, out| core.restore(now, restored, out));
    desk.withdraw(9, kept_for_good, "a");
    desk.withdraw(9, id, "a");
    desk.settle();
    assert_eq!(desk.listed(id).state, JobState::Cancelled);
    assert_eq!(desk.listed(kept_for_good).state, JobState::Running);
}

#[test]
fn a_job_is_raised_to_the_class_of_whoever_joins_it() {
    let mut desk = Desk::with_peers();
    let batch = |k, name| Keep { key: key(k), priority: Priority::Batch, holder: holder(name), ..keep(1, 40) };
    desk.want(9, batch(1, "a"));
    let (job, _) = accepted(&desk.settle()).unwrap();
    assert_eq!(desk.listed(job).priority, Priority::Batch);
    desk.want(8, Keep { priority: Priority::Interactive, ..batch(2, "b") });
    assert_eq!(desk.listed(job).priority, Priority::Interactive);
    // What was leased is leased as it was; what comes next is not.
    let mut classes = Vec::new();
    while let Some(lease) = desk.grid.try_lease(1) {
        if let LeaseKind::Probe(_) = lease.kind {
            continue;
        }
        classes.push(lease.priority);
        let (_, tile) = desk.grid.tile(&lease, LEN);
        let came = desk.grid.worker_says(1, tile);
        desk.note(came);
        desk.settle();
        if classes.len() == 1 {
            // Nobody lowers it, and the key still means what was asked for under it.
            assert_eq!(accepted(&desk.want(8, batch(3, "c"))), Some((job, false)));
            assert_eq!(accepted(&desk.want(9, batch(1, "a"))), Some((job, false)));
            assert_eq!(desk.listed(job).priority, Priority::Interactive);
        }
    }
    assert_eq!((classes.first(), classes.last()), (Some(&Priority::Batch), Some(&Priority::Interactive)));
    assert_eq!(desk.listed(job).state, JobState::Done);
}

#[test]
fn no_limit_on_jobs_keeps_anybody_from_joining() {
    let mut desk = Desk::with(|bounds| bounds.jobs_max = 1);
    desk.join();
    let job = desk.held(1, "a");
    assert_eq!(refused(&desk.want(8, wanted(2, "b", 2))).map(|refusal| refusal.code), Some(RefusalCode::Busy));
    assert_eq!(accepted(&desk.want(8, wanted(1, "b", 2))), Some((job, false)));
}

#[test]
fn a_list_of_contents_holds_their_jobs_and_no_others() {
    let mut desk = Desk::with_peers();
    let [one, two, three] = [1, 2, 3].map(|n| keep(n, 3).request.content());
    let first = desk.held(1, "a");
    let second = desk.held(2, "a");
    desk.want(9, Keep { key: key(7), ..keep(1, 3) });
    let (third, _) = accepted(&desk.settle()).unwrap();
    desk.want(9, wanted(3, "a", 3));
    let jobs = |list: JobList| list.jobs.into_iter().map(|listed| listed.job).collect::<Vec<_>>();
    assert_eq!(jobs(desk.list_of(&[one])), [third, first], "the latest first");
    assert_eq!(jobs(desk.list_of(&[two, one, two])), [third, second, first]);
    assert_eq!(jobs(desk.list_of(&[three])), [], "it is not on disk");
    assert_eq!(
        desk.list_of(&[one]).jobs,
        desk.list().jobs.into_iter().filter(|job| job.request.content() == one).collect::<Vec<_>>()
    );
}

#[test]
fn a_list_of_contents_does_not_grow_with_how_often_one_was_asked_for() {
    let mut desk = Desk::with_peers();
    let content = keep(1, 3).request.content();
    let mut last = None;
    for n in 0..5 {
        let job = desk.held(1, "a");
        desk.withdraw(8, job, "a");
        desk.settle();
        assert_ne!(last.replace(job), Some(job), "{n}");
    }
    let jobs: Vec<_> = desk.list_of(&[content]).jobs.iter().map(|listed| listed.job).collect();
    assert_eq!(jobs, [last.unwrap()], "the latest that came to nothing");
    assert_eq!(desk.list().jobs.len(), 5);
}

#[test]
fn a_list_tells_who_works_on_a_job_and_how_large_its_picture_is() {
    let mut desk = Desk::with_peers();
    let job = desk.held(1, "a");
    let listed = desk.listed(job);
    assert_eq!((listed.workers, listed.strip_bytes), (1, 0));
    desk.render_all();
    let listed = desk.listed(job);
    assert_eq!((listed.state, listed.workers, listed.strip_bytes), (JobState::Done, 1, 3 * u64::from(LEN)));
}

#[test]
fn a_lease_is_called_what_its_job_was_called_first() {
    let mut desk = Desk::with_peers();
    let named = |id: &str| Some(id.parse().unwrap());
    let job = desk.kept(1, 40);
    assert_eq!(desk.grid.lease(1).request_id, None);
    let join = |id| Keep { request_id: named(id), holder: holder("a"), key: key(7), ..keep(1, 40) };
    assert_eq!(accepted(&desk.want(9, join("first"))), Some((job, false)));
    assert_eq!(accepted(&desk.want(9, join("second"))), Some((job, false)));
    let mut seen = Vec::new();
    while let Some(lease) = desk.grid.try_lease(1) {
        seen.push(lease.request_id.clone());
        let (_, tile) = desk.grid.tile(&lease, LEN);
        let came = desk.grid.worker_says(1, tile);
        let noted = came
            .iter()
            .any(|effect| matches!(effect, Effect::Note(Note::BandRendered { request_id, .. }) if *request_id == named("first")));
        assert!(noted, "the tile is not called so");
        desk.note(came);
        desk.settle();
    }
    assert_eq!(seen.last(), Some(&named("first")));
}
