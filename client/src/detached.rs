//! Detached jobs: begun, listed and ended by clients that do not stay.

use std::{future::Future, time::Duration};

use fractally_proto::{
    Accepted, Cancel, ContentId, Holder, JobId, JobKey, JobList, JobState, Keep, Layout, ListQuery, ListedJob, Message, Priority,
    Refusal, Request, RequestId, limits,
};
use fractally_transport::LinkError;
use tracing::debug;

use crate::{
    follow::{Event, RenderError, check_layout},
    question::{Question, over},
    reconnect::Reconnect,
    session::{ANSWER_WITHIN, Broker, LOOK_AGAIN, Session, SessionError},
    status::ask,
};

/// What is to be kept, and for whom.
#[derive(Clone, Debug)]
pub struct KeepOptions {
    /// The broker.
    pub broker: Broker,
    /// The idempotency key: the same key is the same job.
    pub key: JobKey,
    /// What to draw.
    pub request: Request,
    /// Which jobs go first.
    pub priority: Priority,
    /// How long a broker that was connected once may stay away.
    pub reconnect_for: Duration,
    /// Who wants it, until [`withdraw`](crate::withdraw): then a job that draws it already will do, and leaves the key free. Without one it
    /// is a job of its own that nobody withdraws.
    pub holder: Option<Holder>,
    /// What the job is called in the logs of broker and workers.
    pub request_id: Option<RequestId>,
}

/// A detached job that is safe on the broker's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its id.
    pub job: JobId,
    /// The picture was there already: the job is the one that drew it.
    pub cached: bool,
    /// Connections that were lost on the way.
    pub reconnects: u32,
}

/// What came of a CANCEL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// The job has ended by it, and that is on disk.
    Now,
    /// The job was over before.
    Before {
        /// How it ended.
        state: JobState,
        /// Why, for people; may be empty.
        why: String,
    },
    /// The broker knows of no such detached job.
    Unknown,
}

/// Submits `options.request` as a detached job. Returns when the job is on the broker's disk, where it outlives this client and the
/// broker. A broker that goes away meanwhile is asked again under the same key, so that there is one job in the end.
///
/// # Errors
/// [`RenderError`]. After [`RenderError::Stopped`] and [`RenderError::Session`] the job may have been accepted all the same; the same
/// key finds it.
pub async fn keep(
    options: &KeepOptions,
    mut on_event: impl FnMut(Event),
    stop: impl Future<Output = ()>,
) -> Result<Kept, RenderError> {
    tokio::pin!(stop);
    let mut reconnect = Reconnect::new(&options.broker, options.reconnect_for);
    loop {
        let kept = tokio::select! {
            kept = keep_once(options, &mut reconnect) => kept,
            () = &mut stop => return Err(RenderError::Stopped),
        };
        match kept {
            Ok(Accepted { job, cached, .. }) => {
                on_event(Event::Accepted { job, cached });
                return Ok(Kept { job, cached, reconnects: reconnect.count() });
            }
            Err(RenderError::Session(error)) if error.is_passing() => {
                reconnect.wait(error, &mut on_event, stop.as_mut()).await?;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn keep_once(options: &KeepOptions, reconnect: &mut Reconnect) -> Result<Accepted, RenderError> {
    let accepted = over(&options.broker, ANSWER_WITHIN, KeepQuestion { options, reconnect }).await??;
    check_layout(&Layout::of(&options.request), accepted.strips, accepted.rows_per_strip)?;
    Ok(accepted)
}

/// KEEP, answered by ACCEPTED or REFUSED.
struct KeepQuestion<'a> {
    options: &'a KeepOptions,
    reconnect: &'a mut Reconnect,
}

impl Question for KeepQuestion<'_> {
    type Answer = Result<Accepted, Refusal>;

    async fn ask(&mut self, session: &mut Session) -> Result<Self::Answer, SessionError> {
        if !session.is_doubtful() {
            self.reconnect.on_welcome();
        }
        let KeepOptions { key, priority, request, .. } = *self.options;
        if let Err(refusal) = request.validate(&session.welcome.limits) {
            return Ok(Err(refusal));
        }
        let (holder, request_id) = (self.options.holder.clone(), self.options.request_id.clone());
        session.send(&Message::Keep(Keep { key, priority, holder, request_id, request })).await?;
        loop {
            match session.next().await? {
                Message::Accepted(accepted) if accepted.key == key => return Ok(Ok(accepted)),
                Message::Refused(refused) if refused.key == key => return Ok(Err(refused.refusal)),
                other => debug!(message = other.name(), "passed over"),
            }
        }
    }
}

/// The detached jobs of a broker, the latest first, at most [`limits::LIST_JOBS_MAX`], and those whose record it cannot read.
///
/// # Errors
/// [`SessionError`] when the broker does not answer within its connect timeout.
pub async fn list(broker: &Broker) -> Result<JobList, SessionError> {
    ask(broker, &Message::ListQuery(ListQuery::default()), |message| match message {
        Message::ListReport(payload) => Some(JobList::decode(payload)),
        _ => None,
    })
    .await
}

/// The detached jobs that draw one of these pictures, so many questions as that takes over one connection.
///
/// # Errors
/// [`SessionError`] when the broker does not answer within its connect timeout.
pub async fn find(broker: &Broker, contents: &[ContentId]) -> Result<Vec<ListedJob>, SessionError> {
    over(broker, broker.connect_timeout, Find { contents }).await
}

struct Find<'a> {
    contents: &'a [ContentId],
}

impl Question for Find<'_> {
    type Answer = Vec<ListedJob>;

    async fn ask(&mut self, session: &mut Session) -> Result<Vec<ListedJob>, SessionError> {
        let mut found = Vec::new();
        for contents in self.contents.chunks(limits::LIST_CONTENTS_MAX) {
            found.append(&mut jobs(session, Some(contents.to_vec())).await?);
        }
        Ok(found)
    }
}

/// Asks for the list over a session to which no other list is owed.
async fn jobs(session: &mut Session, contents: Option<Vec<ContentId>>) -> Result<Vec<ListedJob>, SessionError> {
    session.send(&Message::ListQuery(ListQuery { contents })).await?;
    loop {
        match session.next().await? {
            Message::ListReport(payload) => return Ok(JobList::decode(&payload).map_err(LinkError::Malformed)?.jobs),
            other => debug!(message = other.name(), "passed over"),
        }
    }
}

/// Ends a detached job, of whichever client. Returns when the end is on the broker's disk.
///
/// # Errors
/// [`SessionError`] when the broker does not answer; the job may have ended all the same.
pub async fn cancel(broker: &Broker, job: JobId) -> Result<Cancelled, SessionError> {
    over(broker, ANSWER_WITHIN, End { job }).await
}

struct End {
    job: JobId,
}

impl Question for End {
    type Answer = Cancelled;

    async fn ask(&mut self, session: &mut Session) -> Result<Cancelled, SessionError> {
        end(session, self.job).await
    }
}

/// To a CANCEL of a job that it does not know a broker answers nothing, and FAILED does not tell whether the job ended by this CANCEL or
/// before it. So the list is asked before it and after it.
async fn end(session: &mut Session, job: JobId) -> Result<Cancelled, SessionError> {
    let (mut is_asked, mut has_ended) = (false, false);
    session.send(&Message::ListQuery(ListQuery::default())).await?;
    loop {
        let Ok(message) = tokio::time::timeout(LOOK_AGAIN, session.next()).await else {
            if is_asked {
                session.send(&Message::ListQuery(ListQuery::default())).await?;
            }
            continue;
        };
        match message? {
            Message::Failed(failed) if failed.job == job && is_asked => {
                has_ended = true;
                session.send(&Message::ListQuery(ListQuery::default())).await?;
            }
            Message::ListReport(payload) => {
                let jobs = JobList::decode(&payload).map_err(LinkError::Malformed)?.jobs;
                match jobs.iter().find(|listed| listed.job == job) {
                    Some(listed) if is_asked && listed.state == JobState::Cancelled => return Ok(Cancelled::Now),
                    Some(ListedJob { state, why, .. }) if is_over(*state) => {
                        return Ok(Cancelled::Before { state: *state, why: why.clone() });
                    }
                    // It may be forgotten by now, or the list is full.
                    None if has_ended => return Ok(Cancelled::Now),
                    None if jobs.len() < limits::LIST_JOBS_MAX => return Ok(Cancelled::Unknown),
                    Some(_) | None if is_asked => {}
                    Some(_) | None => {
                        session.send(&Message::Cancel(Cancel { job, holder: None })).await?;
                        is_asked = true;
                    }
                }
            }
            other => debug!(message = other.name(), "passed over"),
        }
    }
}

/// Whether a job in this state has ended.
pub fn is_over(state: JobState) -> bool {
    match state {
        JobState::Waiting | JobState::Running | JobState::Paused => false,
        JobState::Done | JobState::Failed | JobState::Cancelled => true,
    }
}
