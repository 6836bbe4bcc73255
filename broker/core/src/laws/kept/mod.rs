//! Detached jobs: what is promised is on disk first, and what is on disk is kept, read and forgotten as its bounds say.

mod room;

use std::collections::{BTreeMap, VecDeque};

use fractally_proto::{Attach, Attached, Cancel, JobList, JobState, Keep, ListQuery, ListedJob, Refusal, RefusalCode};

use super::*;
use crate::{
    Ending, FromJournal, JournalBounds, KeptEnding, KeptJob, Note, ReadFault, ReadStrips, Restored, ToJournal, journal::KeptEnd,
};

/// Bytes of every strip.
const LEN: u32 = 1000;
/// Bytes of a job on disk that has no strip.
const RECORD: u64 = 4096;

/// A grid with a disk, which does nothing before it is told to.
struct Desk {
    grid: Grid,
    orders: VecDeque<ToJournal>,
    /// Strips of each job.
    disk: BTreeMap<JobId, u32>,
    damaged: Option<u32>,
}

impl Desk {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut JournalBounds)) -> Self {
        let mut bounds = JournalBounds { keep_for: 3600 * SECOND, ..JournalBounds::default() };
        change(&mut bounds);
        let grid = Grid::with(|config| {
            config.journal = Some(bounds);
            config.started_unix_ms = 1_000_000;
            config.engine = Some("e1".to_owned());
        });
        Self { grid, orders: VecDeque::new(), disk: BTreeMap::new(), damaged: None }
    }

    /// Clients 8 and 9, and a worker that takes four bands.
    fn with_peers() -> Self {
        let mut desk = Self::new();
        desk.join();
        desk
    }

    fn join(&mut self) {
        self.grid.client(8);
        self.grid.client(9);
        self.grid.worker(1, |about| about.credit = 4);
    }

    fn note(&mut self, effects: Vec<Effect>) -> Vec<Effect> {
        let ordered =
            effects.iter().filter_map(|effect| if let Effect::ToJournal(order) = effect { Some(order.clone()) } else { None });
        self.orders.extend(ordered);
        effects
    }

    fn client_says(&mut self, client: u64, says: ClientSays) -> Vec<Effect> {
        let effects = self.grid.client_says(client, says);
        self.note(effects)
    }

    fn journal_says(&mut self, says: FromJournal) -> Vec<Effect> {
        let effects = self.grid.step(|core, now, out| core.on_journal(now, says, out));
        self.note(effects)
    }

    fn keep(&mut self, client: u64, n: u8, strips: u32) -> Vec<Effect> {
        self.client_says(client, ClientSays::Keep(Box::new(keep(n, strips))))
    }

    /// Keeps a job, on disk.
    fn kept(&mut self, n: u8, strips: u32) -> JobId {
        self.keep(9, n, strips);
        accepted(&self.settle()).expect("it is accepted").0
    }

    fn attach(&mut self, client: u64, job: JobId, have: u32) -> Vec<Effect> {
        let engine = (have > 0).then(|| "e1".to_owned());
        self.client_says(client, ClientSays::Attach(Attach { job, have, engine, window_bytes: 1 << 30 }))
    }

    fn cancel(&mut self, client: u64, job: JobId) -> Vec<Effect> {
        self.client_says(client, ClientSays::Cancel(Cancel { job, holder: None }))
    }

    /// The disk does the next thing.
    fn settle_one(&mut self) -> Option<Vec<Effect>> {
        let order = self.orders.pop_front()?;
        let bytes = |have: u32| RECORD + u64::from(have) * u64::from(LEN);
        let says = match order {
            ToJournal::Keep(record) => {
                self.disk.insert(record.job, 0);
                FromJournal::Kept { job: record.job, bytes: Ok(bytes(0)) }
            }
            ToJournal::Store { job, first, strips, .. } => {
                let have = self.disk.get_mut(&job).unwrap();
                assert_eq!(*have, first, "strips are stored in row order");
                *have += u32::try_from(strips.len()).unwrap();
                FromJournal::Stored { job, have: *have, bytes: bytes(*have) }
            }
            ToJournal::End { job, .. } => FromJournal::Ended { job, bytes: bytes(self.disk[&job]) },
            ToJournal::Read { ticket, job, first, strips_max, .. } => {
                let end = self.disk[&job].min(first + strips_max);
                let damaged = self.damaged.filter(|strip| (first..end).contains(strip));
                let read = match damaged {
                    Some(strip) => Err(ReadFault::Damaged { strip, what: "a wrong checksum".to_owned() }),
                    None => {
                        self.grid.payloads += 1;
                        let payload = PayloadId(self.grid.payloads);
                        let strips: Vec<_> = (first..end).map(|strip| StripMeta(LEN, strip)).collect();
                        let bytes = u64::from(LEN) * strips.len() as u64;
                        Ok(ReadStrips { first, strips, payload, bytes })
                    }
                };
                FromJournal::Read { ticket, read }
            }
            ToJournal::Cut { job, have } => {
                self.disk.insert(job, have);
                self.damaged = None;
                FromJournal::Cut { job, have, bytes: bytes(have) }
            }
            ToJournal::Forget(job) => {
                self.disk.remove(&job);
                FromJournal::Forgotten(job)
            }
        };
        Some(self.journal_says(says))
    }

    /// The disk does all that it was told to.
    fn settle(&mut self) -> Vec<Effect> {
        std::iter::from_fn(|| self.settle_one()).flatten().collect()
    }

    /// The worker renders all that it is leased, and the disk follows.
    fn render_all(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some(lease) = self.grid.try_lease(1) {
            let (_, tile) = self.grid.tile(&lease, LEN);
            let came = self.grid.worker_says(1, tile);
            effects.extend(self.note(came));
            effects.extend(self.settle());
        }
        effects
    }

    fn done(&mut self, n: u8, strips: u32) -> JobId {
        let job = self.kept(n, strips);
        self.render_all();
        assert_eq!(self.listed(job).state, JobState::Done);
        job
    }

    fn list(&mut self) -> JobList {
        let effects = self.client_says(9, ClientSays::ListQuery(ListQuery::default()));
        let [Message::ListReport(payload)] = told(&effects)[..] else { panic!("no list: {effects:?}") };
        JobList::decode(payload).unwrap()
    }

    fn listed(&mut self, job: JobId) -> ListedJob {
        self.list().jobs.into_iter().find(|listed| listed.job == job).unwrap_or_else(|| panic!("{job} is not listed"))
    }

    fn restore(&mut self, n: u8, strips: u32, have: u32, ending: Option<KeptEnding>) -> (JobId, Vec<Effect>) {
        let job = JobId(u64::from(n));
        let Keep { key, priority, request, .. } = keep(n, strips);
        let record = KeptJob { job, key, account: "ada".to_owned(), priority, accepted_unix_ms: 900_000, request };
        let end = ending.map(|ending| KeptEnd { ended_unix_ms: 950_000, ending, totals: crate::KeptTotals::default() });
        let engine = (have > 0).then(|| "e1".to_owned());
        let bytes = RECORD + u64::from(have) * u64::from(LEN);
        self.disk.insert(job, have);
        let restored = Restored { job: record, engine, have, bytes, end };
        let effects = self.grid.step(|core, now, out| core.restore(now, restored, out));
        (job, self.note(effects))
    }
}

fn keep(n: u8, strips: u32) -> Keep {
    let submit = submit(n, strips);
    let request = Request { iterations: 100_000 + u32::from(n), ..submit.request };
    Keep { key: submit.key, priority: Priority::Normal, holder: None, request_id: None, request }
}

/// The job that was accepted, and whether it was there already.
fn accepted(effects: &[Effect]) -> Option<(JobId, bool)> {
    told(effects).into_iter().find_map(|message| match message {
        Message::Accepted(accepted) => Some((accepted.job, accepted.cached)),
        _ => None,
    })
}

fn refused(effects: &[Effect]) -> Option<&Refusal> {
    told(effects)
        .into_iter()
        .find_map(|message| if let Message::Refused(refused) = message { Some(&refused.refusal) } else { None })
}

fn attached(effects: &[Effect]) -> Option<&Attached> {
    told(effects).into_iter().find_map(|message| if let Message::Attached(attached) = message { Some(attached) } else { None })
}

fn is_done(effects: &[Effect]) -> bool {
    told(effects).into_iter().any(|message| matches!(message, Message::Done(_)))
}

#[test]
fn a_job_is_accepted_once_it_is_on_disk() {
    let mut desk = Desk::with_peers();
    assert!(told(&desk.keep(9, 1, 2)).is_empty(), "nothing is promised yet");
    assert!(desk.grid.try_lease(1).is_none());
    assert!(accepted(&desk.settle()).is_some());
    assert!(desk.grid.try_lease(1).is_some());
}

#[test]
fn a_job_that_cannot_be_put_on_disk_is_refused_and_leaves_nothing() {
    let mut desk = Desk::with_peers();
    desk.keep(9, 1, 2);
    let Some(ToJournal::Keep(record)) = desk.orders.pop_front() else { panic!("it is to be kept") };
    let effects = desk.journal_says(FromJournal::Kept { job: record.job, bytes: Err("no space".to_owned()) });
    let refusal = refused(&effects).unwrap();
    assert_eq!((refusal.code, &refusal.field[..]), (RefusalCode::Busy, "journal"));
    assert!(refusal.message.contains("no space"), "{refusal}");
    assert!(desk.list().jobs.is_empty());
    desk.kept(1, 2);
}

#[test]
fn without_a_journal_there_are_no_detached_jobs() {
    let mut grid = Grid::new();
    grid.client(9);
    let effects = grid.client_says(9, ClientSays::Keep(Box::new(keep(1, 2))));
    assert_eq!(refused(&effects).map(|refusal| &refusal.field[..]), Some("journal"));
}

#[test]
fn the_same_key_is_the_same_job_also_while_it_is_put_on_disk() {
    let mut desk = Desk::with_peers();
    desk.keep(9, 1, 2);
    desk.keep(8, 1, 2);
    let effects = desk.settle();
    let heard = effects.iter().filter_map(|effect| match effect {
        Effect::ToClient(client, Message::Accepted(accepted)) => Some((client.0, accepted.job)),
        _ => None,
    });
    let heard: Vec<_> = heard.collect();
    assert_eq!(heard.iter().map(|(client, _)| *client).collect::<Vec<_>>(), [8, 9]);
    let job = heard[0].1;
    assert_eq!(accepted(&desk.keep(8, 1, 2)), Some((job, false)));
    let other = desk.keep(8, 1, 3);
    assert_eq!(refused(&other).map(|refusal| (refusal.code, &refusal.field[..])), Some((RefusalCode::KeyConflict, "request")));
    let submitted = desk.grid.refusal(8, submit(1, 2));
    assert_eq!(submitted, (RefusalCode::KeyConflict, "key".to_owned()));
}

#[test]
fn a_job_goes_on_without_any_client_and_is_done_once_that_is_on_disk() {
    let mut desk = Desk::with_peers();
    let job = desk.kept(1, 4);
    desk.client_says(9, ClientSays::Bye);
    desk.client_says(8, ClientSays::Bye);
    desk.grid.client(7);
    desk.attach(7, job, 0);
    let mut ended_at = None;
    while let Some(lease) = desk.grid.try_lease(1) {
        let (_, tile) = desk.grid.tile(&lease, LEN);
        let came = desk.grid.worker_says(1, tile);
        desk.note(came);
        while let Some(order) = desk.orders.front() {
            if let ToJournal::End { end, .. } = order {
                assert_eq!(end.ending, KeptEnding::Done);
                ended_at = Some(desk.disk[&job]);
                break;
            }
            let effects = desk.settle_one().unwrap();
            let have = effects.iter().find_map(|effect| match effect {
                Effect::Deliver { first, strips, .. } => Some(first + u32::try_from(strips.len()).unwrap()),
                _ => None,
            });
            if let Some(have) = have {
                let effects = desk.client_says(7, ClientSays::Ack(Ack { job, have }));
                assert!(!is_done(&effects), "nothing is done that could be lost");
            }
        }
    }
    assert_eq!(ended_at, Some(4));
    assert!(is_done(&desk.settle()), "the client has everything, and now the disk has as well");
}

#[test]
fn strips_count_as_safe_once_they_are_on_disk() {
    let mut desk = Desk::with_peers();
    let job = desk.kept(1, 4);
    let lease = desk.grid.lease(1);
    let (payload, tile) = desk.grid.tile(&lease, LEN);
    let effects = desk.grid.worker_says(1, tile);
    let effects = desk.note(effects);
    assert!(released(&effects).is_empty());
    assert_eq!(desk.listed(job).rows_done, 0);
    assert_eq!(released(&desk.settle()), [payload]);
    assert_eq!(desk.listed(job).rows_done, 1);
}

#[test]
fn a_cancelled_job_is_over_once_that_is_on_disk_and_any_client_may_cancel() {
    let mut desk = Desk::with_peers();
    let job = desk.kept(1, 4);
    let lease = desk.grid.lease(1);
    let effects = desk.cancel(8, job);
    assert!(withdrawn(&effects).contains(&(1, lease.attempt)));
    assert_eq!(failure(&effects), None);
    // `fractally cancel` took the list's word for it, and a power failure could bring the job back.
    let listed = desk.listed(job);
    assert_eq!((listed.state, listed.ended_ms), (JobState::Running, None), "{}", listed.why);
    assert_eq!(failure(&desk.settle()), Some("cancelled"));
    assert_eq!(desk.listed(job).state, JobState::Cancelled);
    assert_eq!(failure(&desk.cancel(9, job)), Some("cancelled"), "the same answer again");
    assert_eq!(failure(&desk.attach(9, job, 0)), Some("cancelled"));
}

#[test]
fn the_key_of_a_job_that_was_cancelled_is_free_again() {
    let mut desk = Desk::with_peers();
    let first = desk.kept(1, 4);
    desk.cancel(9, first);
    assert_eq!(accepted(&desk.keep(9, 1, 4)), Some((first, false)), "its end is not on disk yet");
    desk.settle();
    let second = desk.kept(1, 4);
    assert_ne!(first, second);
}

#[test]
fn every_reader_goes_at_its_own_pace() {
    let mut desk = Desk::with_peers();
    let job = desk.done(1, 6);
    let layout = Layout::of(&keep(1, 6).request);
    let slow = Attach { job, have: 0, engine: None, window_bytes: layout.strip_len_max() };
    let effects = desk.client_says(8, ClientSays::Attach(slow));
    assert_eq!(attached(&effects).map(|attached| (attached.rows, attached.strips)), Some((6, 6)));
    desk.attach(9, job, 2);
    let effects = desk.settle();
    let to = |client: u64| {
        let mine = effects.iter().filter(|effect| matches!(effect, Effect::Deliver { client: to, .. } if to.0 == client));
        delivered(&mine.cloned().collect::<Vec<_>>())
    };
    // The window of the slow one takes one strip at its longest, and the next only when nothing is under way.
    assert_eq!(to(8), [(0, 6)], "these are short");
    assert_eq!(to(9), [(2, 4)]);
    assert!(is_done(&desk.client_says(9, ClientSays::Ack(Ack { job, have: 6 }))));
    assert!(!is_done(&desk.client_says(8, ClientSays::Ack(Ack { job, have: 5 }))));
    let effects = desk.client_says(8, ClientSays::Ack(Ack { job, have: 7 }));
    assert_eq!(dropped_clients(&effects), [8], "more than it was sent");
}

#[test]
fn a_reader_that_keeps_up_gets_strips_from_memory() {
    let mut desk = Desk::with_peers();
    let job = desk.kept(1, 4);
    desk.attach(8, job, 0);
    let mut effects = Vec::new();
    while let Some(lease) = desk.grid.try_lease(1) {
        let (_, tile) = desk.grid.tile(&lease, LEN);
        let came = desk.grid.worker_says(1, tile);
        desk.note(came);
        assert!(!desk.orders.iter().any(|order| matches!(order, ToJournal::Read { .. })), "what is in memory is not read");
        effects.extend(desk.settle());
    }
    assert_eq!(delivered(&effects), [(0, 1), (1, 1), (2, 1), (3, 1)]);
}

#[test]
fn what_is_read_for_a_client_that_left_is_released() {
    let mut desk = Desk::with_peers();
    let job = desk.done(1, 3);
    desk.attach(8, job, 0);
    desk.client_says(8, ClientSays::Bye);
    let effects = desk.settle();
    assert_eq!(released(&effects).len(), 1);
    assert!(delivered(&effects).is_empty());
}

#[test]
fn a_picture_that_is_there_is_not_rendered_again() {
    let mut desk = Desk::with_peers();
    let job = desk.done(1, 3);
    let again = Keep { key: key(7), ..keep(1, 3) };
    assert_eq!(accepted(&desk.client_says(9, ClientSays::Keep(Box::new(again)))), Some((job, true)));
    // An attached client is served from the disk.
    let submit = Submit { request: keep(1, 3).request, ..submit(6, 3) };
    let effects = desk.client_says(8, ClientSays::Submit(Box::new(submit.clone())));
    assert_eq!(accepted(&effects), Some((job, true)));
    assert_eq!(delivered(&desk.settle()), [(0, 3)]);
    assert!(is_done(&desk.client_says(8, ClientSays::Ack(Ack { job, have: 3 }))));
    assert!(desk.grid.try_lease(1).is_none());
    // Cancelling what was given from the disk ends nothing.
    desk.client_says(8, ClientSays::Submit(Box::new(submit)));
    assert!(failure(&desk.cancel(8, job)).is_some());
    assert_eq!(desk.listed(job).state, JobState::Done);
}

#[test]
fn a_picture_of_another_engine_is_rendered_anew() {
    let mut desk = Desk::new();
    desk.restore(1, 3, 3, Some(KeptEnding::Done));
    desk.grid.client(9);
    desk.grid.worker(1, |about| about.engine = "e2".to_owned());
    desk.keep(9, 2, 3);
    let same = Keep { key: key(7), ..keep(1, 3) };
    desk.client_says(9, ClientSays::Keep(Box::new(same)));
    assert!(accepted(&desk.settle()).is_some_and(|(_, cached)| !cached));
}

#[test]
fn a_damaged_strip_is_rendered_again_and_its_readers_go_on() {
    let mut desk = Desk::with_peers();
    let job = desk.done(1, 4);
    desk.damaged = Some(2);
    desk.attach(8, job, 0);
    let effects = desk.settle();
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Note(Note::JobDamaged { strip: 2, .. }))));
    assert_eq!(delivered(&effects), [(0, 2)]);
    let again = Keep { key: key(7), ..keep(1, 4) };
    assert_eq!(accepted(&desk.client_says(9, ClientSays::Keep(Box::new(again.clone())))), None, "it is not done any more");
    let effects = desk.render_all();
    assert_eq!(delivered(&effects).iter().map(|(_, strips)| strips).sum::<u32>(), 2);
    assert!(is_done(&desk.client_says(8, ClientSays::Ack(Ack { job, have: 4 }))));
    assert_eq!(desk.listed(job).state, JobState::Done);
}

#[test]
fn where_the_first_strip_is_damaged_readers_that_are_further_begin_anew() {
    let mut desk = Desk::with_peers();
    let job = desk.done(1, 3);
    desk.attach(8, job, 2);
    desk.settle();
    desk.damaged = Some(0);
    desk.attach(9, job, 0);
    let effects = desk.settle();
    let dismissed = effects.iter().filter_map(|effect| match effect {
        Effect::ToClient(client, Message::Failed(failed)) => Some((client.0, failed.reason.contains("damaged"))),
        _ => None,
    });
    assert_eq!(dismissed.collect::<Vec<_>>(), [(8, true)]);
    assert_eq!(desk.render_all().iter().filter(|effect| matches!(effect, Effect::Deliver { .. })).count(), 3);
}

#[test]
fn a_new_broker_goes_on_where_the_disk_is() {
    let mut desk = Desk::new();
    let (living, _) = desk.restore(1, 4, 3, None);
    let (whole, effects) = desk.restore(2, 2, 2, None);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Note(Note::JobEnded { ending: Ending::Done, .. }))));
    let (over, _) = desk.restore(3, 2, 1, Some(KeptEnding::Failed("three times".to_owned())));
    desk.settle();
    desk.join();
    let lease = desk.grid.lease(1);
    assert_eq!((lease.job, band_of(&lease)), (living, Band { first: 3, strips: 1 }));
    assert_eq!(desk.listed(whole).state, JobState::Done);
    assert_eq!((desk.listed(over).state, desk.listed(over).why), (JobState::Failed, "three times".to_owned()));
    assert_eq!(desk.listed(over).account, "ada");
    assert_eq!(accepted(&desk.keep(9, 2, 2)), Some((whole, true)), "keys live as long as their jobs");
}

#[test]
fn a_broker_that_closes_does_not_wait_for_detached_jobs_but_for_its_promises() {
    let mut desk = Desk::with_peers();
    let job = desk.kept(1, 4);
    desk.grid.core.close();
    assert_eq!(desk.grid.core.jobs_in_hand(), 0);
    let refusal = desk.keep(9, 2, 1);
    assert_eq!(refused(&refusal).map(|refusal| refusal.code), Some(RefusalCode::Closing));
    desk.cancel(9, job);
    assert_eq!(desk.grid.core.jobs_in_hand(), 1);
    desk.settle();
    assert_eq!(desk.grid.core.jobs_in_hand(), 0);
}

#[test]
fn what_nobody_has_is_told_apart_from_what_is_damaged() {
    let mut desk = Desk::with_peers();
    assert!(failure(&desk.attach(9, JobId(5), 0)).is_some_and(|reason| reason.contains("no detached job")));
    desk.grid.core.restore_damaged(JobId(5), "a wrong checksum".to_owned());
    assert!(failure(&desk.attach(9, JobId(5), 0)).is_some_and(|reason| reason.contains("a wrong checksum")));
    assert_eq!(desk.list().damaged.len(), 1);
}

/// What was on its way to disk counted as promised. When a job was cancelled while the disk stood still nothing was forgotten, so nobody
/// looked again for those that waited for room: they waited until somebody else did something.
/// It was accepted, and then nothing came.
#[test]
fn more_strips_than_a_picture_has_are_refused_also_where_it_is_there() {
    let mut desk = Desk::with_peers();
    desk.done(1, 3);
    let submit = Submit { request: keep(1, 3).request, have: 4, engine: Some("e1".to_owned()), ..submit(6, 3) };
    assert_eq!(desk.grid.refusal(8, submit), (RefusalCode::Invalid, "have".to_owned()));
}

/// Any engine may render a job of which nothing is left, so strips of the former do not fit what comes.
#[test]
fn who_holds_strips_of_which_nothing_is_on_disk_begins_anew() {
    let mut desk = Desk::with_peers();
    let job = desk.kept(1, 4);
    assert!(failure(&desk.attach(8, job, 2)).is_some_and(|reason| reason.contains("damaged")));
    assert!(attached(&desk.attach(8, job, 0)).is_some());
}

/// It was told FAILED, "try again", and took that for the end of a job that went on.
#[test]
fn a_job_that_is_cancelled_while_it_is_mended_ends() {
    let mut desk = Desk::with_peers();
    let job = desk.done(1, 4);
    desk.damaged = Some(2);
    desk.attach(8, job, 0);
    desk.settle_one();
    assert!(matches!(desk.orders.front(), Some(ToJournal::Cut { .. })), "{:?}", desk.orders);
    assert_eq!(failure(&desk.cancel(9, job)), None, "it has not ended yet");
    let effects = desk.settle();
    let heard = effects.iter().filter_map(|effect| match effect {
        Effect::ToClient(client, Message::Failed(failed)) => Some((client.0, &failed.reason[..])),
        _ => None,
    });
    assert_eq!(heard.collect::<Vec<_>>(), [(8, "cancelled"), (9, "cancelled")]);
    assert_eq!(desk.listed(job).state, JobState::Cancelled);
    assert!(desk.grid.try_lease(1).is_none());
}

/// One ATTACH takes the place of another, and each left a read behind it in the journal's queue, which everybody waits in.
#[test]
fn reads_under_way_are_bounded_however_often_somebody_attaches() {
    let mut desk = Desk::with_peers();
    let job = desk.done(1, 3);
    desk.attach(9, job, 0);
    for have in 0..300 {
        desk.attach(8, job, have % 3);
    }
    assert!(desk.orders.len() <= 2, "{} reads are under way", desk.orders.len());
    desk.attach(8, job, 0);
    let effects = desk.settle();
    let heard = effects.iter().filter_map(|effect| match effect {
        Effect::Deliver { client, first, strips, .. } => Some((client.0, *first, strips.len())),
        _ => None,
    });
    let mut heard: Vec<_> = heard.collect();
    heard.sort_unstable();
    assert_eq!(heard, [(8, 0, 3), (9, 0, 3)]);
}

/// Somebody mended the record by hand, and left the damaged copy where it was.
#[test]
fn a_job_that_is_there_is_not_told_to_be_damaged() {
    let mut desk = Desk::with_peers();
    let (job, _) = desk.restore(1, 2, 2, Some(KeptEnding::Done));
    desk.grid.core.restore_damaged(job, "a wrong checksum".to_owned());
    assert!(attached(&desk.attach(9, job, 0)).is_some());
}

/// Whoever came when nothing changed any more was told nothing, and showed a job that waits for the disk as one that waits for a worker.
#[test]
fn every_reader_is_told_how_far_the_job_is() {
    let mut desk = Desk::with_peers();
    let job = desk.kept(1, 4);
    let progress = |effects: &[Effect]| {
        let told = told(effects).into_iter();
        told.filter_map(|message| if let Message::Progress(progress) = message { Some(progress.workers) } else { None }).last()
    };
    let effects = desk.attach(8, job, 0);
    let effects = [effects, desk.grid.pass(SECOND)].concat();
    assert_eq!(progress(&effects), Some(1));
    desk.attach(9, job, 0);
    let effects = desk.grid.pass(SECOND);
    assert_eq!(progress(&effects), Some(1));
}
