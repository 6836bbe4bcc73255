//! A client as it should be: submits, takes strips in order, acknowledges, comes back to what it has not finished.

use std::collections::{BTreeSet, VecDeque};

use fractally_proto::{Accepted, Ack, Attach, Attached, Cancel, Done, Failed, JobId, Keep, Layout, Message, RefusalCode, Submit};

use super::{
    plan::{ClientPlan, JobPlan},
    world::{Event, World},
};
use crate::ClientSays;

#[derive(Debug)]
pub(super) struct Client {
    pub(super) plan: ClientPlan,
    pub(super) link: Option<usize>,
    pub(super) welcome: bool,
    /// It will never come back.
    pub(super) left: bool,
    pub(super) jobs: Vec<Job>,
    /// Jobs that it has by accident.
    pub(super) ghosts: BTreeSet<JobId>,
}

#[derive(Debug)]
pub(super) struct Job {
    pub(super) plan: JobPlan,
    pub(super) layout: Layout,
    pub(super) due: bool,
    pub(super) id: Option<JobId>,
    /// The same for good, where it is a detached job and the broker said that it is on disk.
    pub(super) kept: Option<JobId>,
    /// Strips that it holds.
    pub(super) have: u32,
    pub(super) engine: Option<String>,
    /// `have` of each SUBMIT on this connection that was not answered.
    pub(super) asked: VecDeque<u32>,
    /// The strip that must come next on this connection.
    pub(super) next: Option<u32>,
    pub(super) ack_is_due: bool,
    pub(super) cancelled: bool,
    pub(super) end: Option<End>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Done,
    Failed(String),
}

impl Client {
    pub(super) fn new(plan: ClientPlan) -> Self {
        let jobs = plan.jobs.iter().cloned().map(Job::new).collect();
        Self { plan, link: None, welcome: false, left: false, jobs, ghosts: BTreeSet::new() }
    }

    /// Forgets what belonged to its connection.
    pub(super) fn lose_link(&mut self) {
        (self.link, self.welcome) = (None, false);
        for job in &mut self.jobs {
            job.asked.clear();
            job.ack_is_due = false;
            (job.id, job.next) = (None, None);
        }
    }

    pub(super) fn job_of(&mut self, id: JobId) -> Option<(usize, &mut Job)> {
        self.jobs.iter_mut().enumerate().find(|(_, job)| job.id == Some(id))
    }

    /// Whether it waits for nothing more.
    pub(super) fn is_settled(&self) -> bool {
        self.left || self.jobs.iter().all(|job| job.end.is_some() || job.cancelled)
    }
}

impl Job {
    fn new(plan: JobPlan) -> Self {
        let layout = Layout::of(&plan.request);
        Self {
            plan,
            layout,
            due: false,
            id: None,
            kept: None,
            have: 0,
            engine: None,
            asked: VecDeque::new(),
            next: None,
            ack_is_due: false,
            cancelled: false,
            end: None,
        }
    }

    /// Forgets what it has, under another key.
    fn start_anew(&mut self) {
        self.plan.key.0[8] += 1;
        self.asked.clear();
        (self.id, self.kept, self.next, self.engine, self.have) = (None, None, None, None, 0);
    }

    pub(super) fn is_open(&self) -> bool {
        self.due && self.end.is_none() && !self.cancelled
    }
}

impl World {
    /// Whether it could.
    pub(super) fn submit(&mut self, client: usize, job: usize) -> bool {
        let Client { welcome, jobs, .. } = &mut self.clients[client];
        let job = &mut jobs[job];
        if !*welcome || !job.is_open() {
            return false;
        }
        let (have, engine, window_bytes) = (job.have, job.engine.clone().filter(|_| job.have > 0), job.plan.window_bytes);
        match job.kept {
            Some(id) => {
                job.id = Some(id);
                job.asked.push_back(have);
                self.say_client(client, ClientSays::Attach(Attach { job: id, have, engine, window_bytes }));
                return true;
            }
            None if job.plan.is_kept => {
                let keep = Keep {
                    key: job.plan.key,
                    priority: job.plan.priority,
                    holder: None,
                    request_id: None,
                    request: job.plan.request,
                };
                self.say_client(client, ClientSays::Keep(Box::new(keep)));
                return true;
            }
            None => job.asked.push_back(job.have),
        }
        let submit = Submit {
            key: job.plan.key,
            priority: job.plan.priority,
            have: job.have,
            engine: job.engine.clone().filter(|_| job.have > 0),
            window_bytes: job.plan.window_bytes,
            request_id: None,
            request: job.plan.request,
        };
        self.say_client(client, ClientSays::Submit(Box::new(submit)));
        true
    }

    pub(super) fn client_receives(&mut self, client: usize, message: Message) {
        match message {
            Message::Welcome(_) => {
                self.clients[client].welcome = true;
                for job in 0..self.clients[client].jobs.len() {
                    self.submit(client, job);
                }
            }
            Message::Accepted(Accepted { key, job: id, strips, .. }) => {
                let Client { jobs, ghosts, .. } = &mut self.clients[client];
                let Some(job) = jobs.iter_mut().find(|job| job.plan.key == key && job.end.is_none()) else {
                    // A repeated SUBMIT crossed the end of its job and made another, which nobody wants.
                    ghosts.insert(id);
                    return self.say_client(client, ClientSays::Cancel(Cancel { job: id, holder: None }));
                };
                assert_eq!(strips, job.layout.strips(), "strips of the picture");
                if job.plan.is_kept {
                    if let Some(kept) = job.kept.filter(|kept| *kept != id) {
                        // A repeated KEEP crossed the end of its job, which freed the key, and made another.
                        assert!(self.journal.has_lost(kept), "job {id} has the key of {kept}");
                        ghosts.insert(id);
                        return self.say_client(client, ClientSays::Cancel(Cancel { job: id, holder: None }));
                    }
                    self.tally.kept += u64::from(job.kept.is_none());
                    let is_new = job.kept.replace(id).is_none();
                    let index = jobs.iter().position(|job| job.kept == Some(id)).expect("it is one of them");
                    if is_new {
                        self.submit(client, index);
                    }
                    return;
                }
                (job.id, job.next) = (Some(id), job.asked.pop_front());
            }
            Message::Attached(Attached { job: id, strips, request, .. }) => {
                let Some((_, job)) = self.clients[client].job_of(id) else { return };
                assert_eq!((strips, request), (job.layout.strips(), job.plan.request), "another picture");
                job.next = job.asked.pop_front();
            }
            Message::Refused(refused) => {
                let jobs = &mut self.clients[client].jobs;
                let Some(job) = jobs.iter().position(|job| job.plan.key == refused.key) else { return };
                assert_eq!(refused.refusal.code, RefusalCode::Busy, "a client is refused: {}", refused.refusal);
                jobs[job].asked.pop_front();
                let delay = self.rng.millis(100..1_000);
                self.after(delay, Event::SubmitDue(client, job));
            }
            Message::Progress(progress) => {
                let Some((_, job)) = self.clients[client].job_of(progress.job) else { return };
                assert!(progress.rows <= job.layout.rows(), "more rows than there are");
            }
            Message::Failed(Failed { job, .. }) | Message::Done(Done { job, .. })
                if self.clients[client].ghosts.contains(&job) => {}
            Message::Done(done) => {
                let (_, job) = self.clients[client].job_of(done.job).expect("a DONE for no job");
                assert_eq!(job.have, job.layout.strips(), "DONE before the client has everything");
                job.end = Some(End::Done);
            }
            Message::Failed(failed) => self.client_hears_failure(client, failed),
            Message::ByeOk(_) => {}
            other => panic!("a client is told {other:?}"),
        }
    }

    /// A job fails for poison, or when faults hit one band three times; then it is asked for anew.
    fn client_hears_failure(&mut self, client: usize, failed: Failed) {
        self.tally.jobs_failed += 1;
        let reason = failed.reason;
        let Some((index, job)) = self.clients[client].job_of(failed.job) else {
            // It attached twice, and the first answer made it ask anew.
            assert!(reason.starts_with("rows ") || self.core_may_forget(&reason), "a FAILED for no job: {reason}");
            return;
        };
        if reason.starts_with("the picture on the broker's disk was damaged") || reason.starts_with("engine: the strips held") {
            job.asked.clear();
            (job.next, job.engine, job.have) = (None, None, 0);
            self.submit(client, index);
            return;
        }
        let crossed = job.cancelled && reason.starts_with("the job is done");
        if job.plan.is_kept && (job.end.is_some() || crossed || self.core_may_forget(&reason)) {
            // It was over for so long that it is forgotten, or over when the client cancelled it.
            let Some((_, job)) = self.clients[client].job_of(failed.job) else { return };
            if job.end.is_none() && !job.cancelled {
                job.start_anew();
                self.submit(client, index);
            }
            return;
        }
        let Some((_, job)) = self.clients[client].job_of(failed.job) else { return };
        if job.cancelled || job.plan.poison.is_some() {
            assert!(reason.starts_with("rows ") || (job.cancelled && reason == "cancelled"), "no story: {reason}");
            job.end = Some(End::Failed(reason));
            return;
        }
        assert!(reason.starts_with("rows "), "a job failed without a story: {reason}");
        assert!(self.tally.incidents >= 3, "a job failed without a fault: {reason}");
        self.tally.unlucky_jobs += 1;
        job.start_anew();
        self.submit(client, index);
    }

    /// Strips arrive exactly once, in order, and are those of the picture.
    pub(super) fn client_takes(
        &mut self,
        client: usize,
        id: JobId,
        engine: &str,
        (first, count): (u32, u32),
        content: (u64, &'static str),
    ) {
        let Some(link) = self.clients[client].link else { return };
        let ack_after = self.clients[client].plan.ack_after;
        if self.clients[client].ghosts.contains(&id) {
            return;
        }
        let (index, job) = self.clients[client].job_of(id).expect("strips of no job");
        let next = job.next.as_mut().expect("strips before ACCEPTED");
        assert_eq!(first, *next, "job {id}: strips out of order");
        assert_eq!(content, (job.plan.request.c[0].to_bits(), engine_name(engine)), "job {id}: strips of something else");
        assert!(job.engine.as_deref().is_none_or(|pinned| pinned == engine), "job {id}: two engines in one picture");
        *next += count;
        job.have = job.have.max(*next);
        job.engine = Some(engine.to_owned());
        if !std::mem::replace(&mut job.ack_is_due, true) {
            self.after(ack_after, Event::AckDue(link, client, index));
        }
    }

    pub(super) fn ack(&mut self, link: usize, client: usize, job: usize) {
        let Client { link: current, jobs, .. } = &mut self.clients[client];
        let job = &mut jobs[job];
        if *current != Some(link) {
            return;
        }
        job.ack_is_due = false;
        // What is acknowledged must have been delivered since the last SUBMIT.
        let (Some(id), Some(next), true) = (job.id, job.next, job.asked.is_empty()) else { return };
        self.say_client(client, ClientSays::Ack(Ack { job: id, have: next }));
    }
}

fn engine_name(engine: &str) -> &'static str {
    match engine {
        "engine-a" => "engine-a",
        "engine-b" => "engine-b",
        other => panic!("nobody runs {other}"),
    }
}
