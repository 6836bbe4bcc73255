//! Clients: how they come, acknowledge, cancel, and go. Not here: SUBMIT, which is the next file, `submit`.
//!
//! A client that is gone leaves its jobs adrift: they render on within their bounds, and wait for a SUBMIT with the same key.

use std::{collections::BTreeSet, time::Duration};

use fractally_proto::{Ack, ByeOk, Cancel, Done, ErrorCode, ErrorReport, Failed, FaultKind, Hello, JobId, Message, limits};

use crate::{
    ClientId, ClientSays, Core, Effect, Ending, Note, Why,
    job::{Job, Owner, Probe},
    millis,
    timers::Timer,
};

/// The account of clients that name none.
pub(crate) const ANONYMOUS: &str = "anonymous";

/// One connected client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) heard: Duration,
    /// Whom its jobs are counted for.
    pub(crate) account: String,
    /// Jobs attached to it; never more than the broker holds.
    pub(crate) jobs: BTreeSet<JobId>,
    /// Detached jobs that it follows.
    pub(crate) follows: BTreeSet<JobId>,
}

impl Core {
    /// A client's first word, or that of a stranger.
    pub(crate) fn on_unknown_client(&mut self, now: Duration, id: ClientId, says: ClientSays, out: &mut Vec<Effect>) {
        if self.clients_dropped.contains(id) {
            return;
        }
        let welcome = match says {
            ClientSays::Hello(hello) => self.admit_client(hello),
            ClientSays::Heartbeat
            | ClientSays::Submit(_)
            | ClientSays::Ack(_)
            | ClientSays::Cancel(_)
            | ClientSays::Keep(_)
            | ClientSays::Attach(_)
            | ClientSays::ListQuery(_)
            | ClientSays::StatusQuery
            | ClientSays::JobQuery(_)
            | ClientSays::Bye => Err((ErrorCode::Unexpected, "say HELLO first".to_owned())),
        };
        match welcome {
            Ok((agent, account)) => {
                self.clients.insert(id, Client { heard: now, account, jobs: BTreeSet::new(), follows: BTreeSet::new() });
                self.timers.arm(Timer::Client(id), now.saturating_add(self.config.dead_after));
                out.push(Effect::ToClient(id, self.config.welcome()));
                out.push(Effect::Note(Note::ClientJoined { client: id, agent }));
            }
            Err((code, message)) => {
                out.push(Effect::ToClient(id, Message::Error(ErrorReport { code, message })));
                self.drop_client(id, out);
            }
        }
    }

    /// Its agent, and whom its jobs are counted for.
    fn admit_client(&self, hello: Hello) -> Result<(String, String), (ErrorCode, String)> {
        if hello.worker.is_some() {
            return Err((ErrorCode::Unexpected, "this HELLO is a worker's; clients leave that field out".to_owned()));
        }
        if hello.agent.len() > limits::TEXT_BYTES_MAX {
            let message = format!("agent has {} bytes; the limit is {}", hello.agent.len(), limits::TEXT_BYTES_MAX);
            return Err((ErrorCode::Malformed, message));
        }
        let account = hello.account.unwrap_or_else(|| ANONYMOUS.to_owned());
        if account.is_empty() || account.len() > limits::TEXT_BYTES_MAX {
            let message = format!("account has {} bytes; give from 1 to {}", account.len(), limits::TEXT_BYTES_MAX);
            return Err((ErrorCode::Malformed, message));
        }
        if self.clients.len() >= self.config.clients_max {
            let message = format!("{} clients are connected, as many as may be; try again later", self.clients.len());
            return Err((ErrorCode::Full, message));
        }
        self.check_connections(&account)?;
        Ok((hello.agent, account))
    }

    /// An ACK for a job that is over, or that another connection took over, crossed that news: it changes nothing.
    pub(crate) fn on_ack(&mut self, now: Duration, from: ClientId, ack: Ack, out: &mut Vec<Effect>) {
        if self.kept.is_read_by(ack.job, from) {
            return self.on_reader_ack(now, from, ack, out);
        }
        let Some(job) = self.jobs.get(&ack.job).filter(|job| job.client() == Some(from)) else { return };
        let Some(delivery) = job.delivery() else { return };
        if ack.have > delivery.next {
            let what = format!("an ACK of {} strips where {} were delivered", ack.have, delivery.next);
            return self.expel_client(now, from, &what, out);
        }
        if ack.have > job.acked {
            self.acknowledge(now, ack.job, ack.have, out);
        }
    }

    /// Strips are safe at the client: their payloads are not needed any more, and there is room for the next ones.
    pub(crate) fn acknowledge(&mut self, now: Duration, id: JobId, have: u32, out: &mut Vec<Effect>) {
        let Some(released) = self.change(id, |job| job.acknowledge(have)) else { return };
        out.extend(released.into_iter().map(Effect::Release));
        if self.jobs.get(&id).is_some_and(|job| job.acked == job.layout.strips()) {
            self.end_job(now, id, Ending::Done, out);
        } else {
            self.deliver(id, out);
        }
    }

    /// Sends the client, or the journal, what its window takes, in row order.
    pub(crate) fn deliver(&mut self, id: JobId, out: &mut Vec<Effect>) {
        if self.jobs.get(&id).is_some_and(Job::is_kept) {
            return self.store(id, out);
        }
        self.change(id, |job| {
            let Some(client) = job.client() else { return };
            while let Some(slice) = job.next_slice(u64::MAX) {
                out.push(slice.deliver(client, id, job.engine.clone()));
            }
        });
    }

    /// A CANCEL for a job that is over, or another's, changes nothing, as an ACK.
    pub(crate) fn on_cancel(&mut self, now: Duration, from: ClientId, cancel: &Cancel, out: &mut Vec<Effect>) {
        if let Some(holder) = &cancel.holder {
            self.withdraw_holder(now, from, (cancel.job, holder), out);
        } else if self.kept.jobs.contains_key(&cancel.job) {
            self.cancel_kept(now, from, cancel.job, out);
        } else if self.jobs.get(&cancel.job).is_some_and(|job| job.client() == Some(from)) {
            self.end_job(now, cancel.job, Ending::Cancelled("cancelled"), out);
        }
    }

    pub(crate) fn on_client_bye(&mut self, now: Duration, id: ClientId, out: &mut Vec<Effect>) {
        let jobs = self.clients.get_mut(&id).map(|client| std::mem::take(&mut client.jobs)).unwrap_or_default();
        for job in jobs {
            self.end_job(now, job, Ending::Cancelled("cancelled"), out);
        }
        self.client_gone(now, id, Why::Bye, out);
        out.push(Effect::ToClient(id, Message::ByeOk(ByeOk {})));
        self.drop_client(id, out);
    }

    /// A bad message costs its sender the connection, and nobody else anything.
    pub(crate) fn expel_client(&mut self, now: Duration, id: ClientId, what: &str, out: &mut Vec<Effect>) {
        self.on_client_fault(now, id, ErrorCode::Unexpected, what, out);
    }

    pub(crate) fn drop_client(&mut self, id: ClientId, out: &mut Vec<Effect>) {
        self.clients_dropped.bury(id);
        out.push(Effect::DropClient(id));
    }

    /// Looks at a client whose timer fired.
    pub(crate) fn on_client_timer(&mut self, now: Duration, id: ClientId, out: &mut Vec<Effect>) {
        let Some(client) = self.clients.get(&id) else { return };
        let dies_at =
            if sabotage!(LivenessSkipped) { Duration::MAX } else { client.heard.saturating_add(self.config.dead_after) };
        if now < dies_at {
            return self.timers.arm(Timer::Client(id), dies_at);
        }
        self.client_gone(now, id, Why::Silent, out);
        self.drop_client(id, out);
    }

    /// Forgets a client; its jobs wait for it.
    pub(crate) fn client_gone(&mut self, now: Duration, id: ClientId, why: Why, out: &mut Vec<Effect>) {
        let Some(client) = self.clients.remove(&id) else { return };
        self.timers.disarm(Timer::Client(id));
        out.push(Effect::Note(Note::ClientGone { client: id, why }));
        for job in client.jobs {
            self.change(job, |job| job.owner = Owner::Adrift(now));
            self.timers.arm(Timer::Job(job), now.saturating_add(self.config.client_grace));
            out.push(Effect::Note(Note::JobAdrift { job }));
        }
        for job in client.follows {
            self.kept.unfollow(job, id);
            self.end_if_unwanted(now, job, out);
        }
        self.look_for_room_soon();
    }

    /// Looks at a job whose timer fired: its client did not come back, or is to be told how far it is.
    pub(crate) fn on_job_timer(&mut self, now: Duration, id: JobId, out: &mut Vec<Effect>) {
        match self.jobs.get(&id).map(|job| &job.owner) {
            None => {}
            Some(Owner::Attached(..) | Owner::Kept(_)) => self.tell_progress(now, id, out),
            Some(&Owner::Adrift(since)) => {
                let ends_at = since.saturating_add(self.config.client_grace);
                if now < ends_at {
                    self.timers.arm(Timer::Job(id), ends_at);
                } else if !sabotage!(GraceForgotten) {
                    self.end_job(now, id, Ending::Cancelled("its client did not come back"), out);
                }
            }
        }
    }

    /// Forgets a job: what workers still do for it is withdrawn, what is held is released, its client is told how it ended.
    pub(crate) fn end_job(&mut self, now: Duration, id: JobId, ending: Ending, out: &mut Vec<Effect>) {
        let Some(job) = self.take_down(now, id, out) else { return };
        if job.is_kept() {
            self.put_end(now, id, &job, &ending, out);
        } else {
            self.keys.remove(&job.key);
        }
        // A client that said BYE is told nothing more about jobs: it has forgotten them.
        if let Some((client, jobs)) = job.client().and_then(|id| Some((id, &mut self.clients.get_mut(&id)?.jobs)))
            && jobs.remove(&id)
        {
            out.push(Effect::ToClient(client, last_word(&job, id, now, &ending)));
        }
        match ending {
            Ending::Done => self.jobs_done += 1,
            Ending::Cancelled(_) | Ending::Failed(_) => {
                self.jobs_lost += 1;
                self.forgive(id);
            }
        }
        if let Ending::Failed(reason) = &ending {
            self.tally.jobs_failed += 1;
            self.faults.remember(now, FaultKind::JobFailed, &job.account, Some(id), reason);
        }
        self.archive(now, id, &job, ending.to_string());
        let lasted = now.saturating_sub(job.accepted_at);
        out.push(Effect::Note(Note::JobEnded { job: id, ending, lasted, request_id: job.request_id }));
    }

    /// Takes a job off the grid: what workers still do for it is withdrawn, what is held is released.
    pub(crate) fn take_down(&mut self, now: Duration, id: JobId, out: &mut Vec<Effect>) -> Option<Job> {
        self.tell_tries_withdrawn(now, id);
        let job = self.jobs.remove(&id)?;
        self.reserved -= job.reserved;
        self.timers.disarm(Timer::Job(id));
        if self.jobs.is_empty() {
            self.timers.disarm(Timer::Late);
        }
        self.shares.leave(&job.claim);
        if !sabotage!(EndedJobsLeasesForgotten) {
            let holders = job.leased.values().flat_map(|leased| &leased.holders);
            holders.for_each(|holder| self.withdraw(holder.worker, holder.attempt, out));
        }
        if let Probe::Leased(worker, attempt) = job.probe {
            self.withdraw(worker, attempt, out);
        }
        out.extend(job.arrived.values().map(|tile| Effect::Release(tile.payload)));
        Some(job)
    }
}

fn last_word(job: &Job, id: JobId, now: Duration, ending: &Ending) -> Message {
    match ending {
        Ending::Done => Message::Done(Done {
            job: id,
            engine: job.engine.clone().unwrap_or_default(),
            iterations: job.totals.iterations,
            compute_ns: job.totals.compute_ns,
            elapsed_ms: millis(now.saturating_sub(job.accepted_at)),
            bands: job.totals.bands,
            attempts: job.totals.attempts,
            workers: u32::try_from(job.totals.workers.len()).unwrap_or(u32::MAX),
        }),
        Ending::Cancelled(reason) => Message::Failed(Failed { job: id, reason: (*reason).to_owned() }),
        Ending::Failed(reason) => Message::Failed(Failed { job: id, reason: reason.clone() }),
    }
}
