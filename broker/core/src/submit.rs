//! SUBMIT: a new job, or a client that comes back to its own.
//!
//! The same key with the same request is the same job, and its newest client gets it. A key that the broker does not know makes a job
//! that starts at the strips the client holds: so a client continues after the broker itself was lost.

use std::{collections::BTreeMap, time::Duration};

use fractally_proto::{
    Accepted, Band, JobId, JobKey, Layout, Message, Priority, Refusal, RefusalCode, Request, RequestId, Submit, limits,
};

use crate::{
    ClientId, Core, Effect, Note,
    cost::CostModel,
    job::{Delivery, Job, Owner, Pace, Probe, Totals},
    schedule::first_probe,
    story::Story,
};

/// What a new job is.
#[derive(Debug)]
pub(crate) struct NewJob {
    pub(crate) key: JobKey,
    pub(crate) account: String,
    pub(crate) priority: Priority,
    pub(crate) request: Request,
    pub(crate) request_id: Option<RequestId>,
}

/// Where it begins: the strips that are there already, and what rendered them.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) have: u32,
    pub(crate) engine: Option<String>,
}

impl Core {
    pub(crate) fn on_submit(&mut self, now: Duration, from: ClientId, submit: &Submit, out: &mut Vec<Effect>) {
        let known = self.keys.get(&submit.key).copied().filter(|_| !sabotage!(DuplicateKeyMakesAJob));
        if known.is_none()
            && let Some(id) = self.find_done(&submit.request, submit.engine.as_deref())
            && check_held(submit).is_ok()
        {
            return self.serve_done(now, from, id, submit, out);
        }
        let checked = match known {
            Some(id) => self.check_known(id, submit).map(|()| id),
            None => self.check_new(from, submit).map(|()| self.next_job()),
        };
        let id = match checked {
            Ok(id) => id,
            Err(refusal) => return self.refuse(now, from, submit.key, refusal, out),
        };
        let layout = Layout::of(&submit.request);
        let (strips, rows_per_strip) = (layout.strips(), layout.rows_per_strip());
        let accepted = Accepted { key: submit.key, job: id, strips, rows_per_strip, cached: false };
        out.push(Effect::ToClient(from, Message::Accepted(accepted)));
        if known.is_some() {
            let request_id = self.name_request(id, submit.request_id.as_ref());
            out.push(Effect::Note(Note::JobAttached { job: id, client: from, have: submit.have, request_id }));
        } else {
            let account = self.clients.get(&from).map(|client| client.account.clone()).unwrap_or_default();
            let start = Start { have: submit.have, engine: submit.engine.clone() };
            let (key, priority, request, request_id) = (submit.key, submit.priority, submit.request, submit.request_id.clone());
            self.create(now, id, NewJob { key, account, priority, request, request_id: request_id.clone() }, start);
            let (strips, have) = (layout.strips(), submit.have);
            out.push(Effect::Note(Note::JobAccepted { job: id, client: from, strips, have, request_id }));
        }
        self.attach(now, id, from, submit, out);
    }

    fn check_new(&self, from: ClientId, submit: &Submit) -> Result<(), Refusal> {
        submit.request.validate(&self.config.limits)?;
        check_held(submit)?;
        self.check_capacity(from, &submit.request)
    }

    /// Whether one more job is taken.
    pub(crate) fn check_capacity(&self, from: ClientId, request: &Request) -> Result<(), Refusal> {
        if self.closing {
            let message = "the broker is about to stop and takes no new jobs; try again later, or another broker".to_owned();
            return Err(Refusal::new(RefusalCode::Closing, "jobs", message));
        }
        let account = self.clients.get(&from).map_or("", |client| &client.account);
        self.check_room(account, request)
    }

    fn check_known(&self, id: JobId, submit: &Submit) -> Result<(), Refusal> {
        if self.kept.jobs.contains_key(&id) {
            let message = format!("this key is the detached job {id}; attach to it, or take a new key");
            return Err(Refusal::new(RefusalCode::KeyConflict, "key", message));
        }
        let Some(job) = self.jobs.get(&id) else { return Ok(()) };
        let conflict = |field: &str| {
            let message = format!("this key is the job {id} with another {field}; take a new key");
            Err(Refusal::new(RefusalCode::KeyConflict, field, message))
        };
        if submit.request != job.request {
            return conflict("request");
        }
        if submit.priority != job.priority {
            return conflict("priority");
        }
        check_resume(submit)?;
        if submit.have < job.acked || submit.have > job.reach.max(job.acked) {
            let message = format!(
                "{} strips; the broker can continue from {} to {}; cancel and take a new key",
                submit.have,
                job.acked,
                job.reach.max(job.acked)
            );
            return Err(Refusal::new(RefusalCode::CannotResume, "have", message));
        }
        if submit.engine.is_some() && submit.engine != job.engine {
            let message =
                format!("the job runs on {}; cancel and take a new key", job.engine.as_deref().unwrap_or("no engine yet"));
            return Err(Refusal::new(RefusalCode::CannotResume, "engine", message));
        }
        Ok(())
    }

    /// A job without a request id takes this one. Gives the one that it has.
    fn name_request(&mut self, id: JobId, request_id: Option<&RequestId>) -> Option<RequestId> {
        let known = &mut self.jobs.get_mut(&id)?.request_id;
        *known = known.take().or_else(|| request_id.cloned());
        known.clone()
    }

    pub(crate) fn next_job(&mut self) -> JobId {
        loop {
            self.jobs_ever += 1;
            let id = JobId(self.config.id_base().wrapping_add(self.jobs_ever));
            // Half of an id is random: a job of an earlier life may have it.
            if !self.kept.knows(id) {
                return id;
            }
        }
    }

    pub(crate) fn create(&mut self, now: Duration, id: JobId, new: NewJob, start: Start) {
        let NewJob { key, account, priority, request, request_id } = new;
        let Start { have: start, engine } = start;
        let layout = Layout::of(&request);
        let rest = Band { first: start, strips: layout.strips() - start };
        let reorder_bytes = self.config.reorder_bytes(self.fleet.threads());
        let claim = self.shares.join(priority, &account, self.config.weight(&account), id);
        let job = Job {
            key,
            account,
            priority,
            request,
            request_id,
            layout,
            accepted_at: now,
            engine,
            start,
            acked: start,
            uncut: start..layout.strips(),
            equal_bands: self.config.equal_bands,
            mirrors: self.config.mirrors
                && self.config.equal_bands.is_none()
                && start == 0
                && Job::may_mirror(&request, &layout, reorder_bytes),
            reach: start,
            waiting: BTreeMap::new(),
            leased: BTreeMap::new(),
            arrived: BTreeMap::new(),
            rows_rendered: layout.rows_before(start),
            reserved: 0,
            reorder_bytes,
            owner: Owner::Adrift(now),
            probe: self.config.equal_bands.map_or_else(|| first_probe(&request, rest), |_| Probe::Over),
            cost: CostModel::new(&request),
            claim,
            living: BTreeMap::new(),
            story: Story::default(),
            totals: Totals::default(),
            pace: Pace::default(),
        };
        self.jobs.insert(id, job);
        self.keys.insert(key, id);
    }

    /// Gives a job to a client, which holds `have` strips of it. A client that had it before hears no more of it.
    fn attach(&mut self, now: Duration, id: JobId, to: ClientId, submit: &Submit, out: &mut Vec<Effect>) {
        let before = self.jobs.get(&id).and_then(Job::client);
        if let Some(client) = before.and_then(|client| self.clients.get_mut(&client)) {
            client.jobs.remove(&id);
        }
        if let Some(client) = self.clients.get_mut(&to) {
            client.jobs.insert(id);
        }
        let released = self.change(id, |job| {
            // What the former client had under way comes again, but for what this SUBMIT acknowledges.
            job.owner = Owner::Adrift(now);
            let released = job.acknowledge(submit.have);
            let window = submit.window_bytes.min(Job::window_max(&job.layout, job.reorder_bytes));
            let next = if sabotage!(ResumeOffByOne) && submit.have > 0 { submit.have + 1 } else { submit.have };
            job.owner = Owner::Attached(to, Delivery::new(window, next));
            job.pace = Pace::default();
            released
        });
        out.extend(released.into_iter().flatten().map(Effect::Release));
        self.acknowledge(now, id, submit.have, out);
        self.touch(now, id);
    }
}

/// What must be right where the key is not known.
fn check_held(submit: &Submit) -> Result<(), Refusal> {
    check_resume(submit)?;
    let strips = Layout::of(&submit.request).strips();
    if submit.have > strips {
        let message = format!("{} strips; the picture has {strips}", submit.have);
        return Err(Refusal::new(RefusalCode::Invalid, "have", message));
    }
    Ok(())
}

/// What must be right whether or not the key is known.
fn check_resume(submit: &Submit) -> Result<(), Refusal> {
    let invalid = |field: &str, message: String| Err(Refusal::new(RefusalCode::Invalid, field, message));
    if let Some(engine) = submit.engine.as_ref().filter(|engine| engine.is_empty() || engine.len() > limits::TEXT_BYTES_MAX) {
        return invalid("engine", format!("{} bytes; give from 1 to {}", engine.len(), limits::TEXT_BYTES_MAX));
    }
    if submit.engine.is_some() != (submit.have > 0) {
        return invalid("engine", "name the engine of the strips that you hold, and none when you hold none".to_owned());
    }
    let largest = Job::strip_bytes_max(&Layout::of(&submit.request));
    if submit.window_bytes < largest {
        let message =
            format!("{}; one strip of this picture can take {largest} bytes, so give at least that", submit.window_bytes);
        return invalid("window_bytes", message);
    }
    Ok(())
}
