//! The life of a submitted job, as its client sees it: submit, append, acknowledge; after a break, go on where it stopped.

use std::{
    future::Future,
    io::Write,
    pin::Pin,
    time::{Duration, Instant},
};

use fractally_proto::{Ack, Cancel, Done, JobId, JobKey, Message, Priority, Progress, Refusal, Request, Submit};
use fractally_transport::Backoff;
use thiserror::Error;
use tracing::{debug, info};

use crate::{
    assemble::{AssembleError, Assembler},
    session::{Broker, Session, SessionError, read_clock},
};

/// Bytes of strips that the broker may send ahead of our acknowledgements.
const WINDOW_BYTES: u64 = 16 * 1024 * 1024;
/// Strips are acknowledged after so many bytes, so many messages (a quarter of what the broker sends ahead), or so much time, at the
/// latest with the last.
const ACK_BYTES: u64 = WINDOW_BYTES / 16;
const ACK_MESSAGES: u32 = 16;
const ACK_EVERY: Duration = Duration::from_millis(50);
/// How long BYE and the answer to CANCEL may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// What is to be rendered and where.
#[derive(Clone, Debug)]
pub struct RenderOptions {
    /// The broker.
    pub broker: Broker,
    /// The idempotency key: the same key is the same job, also over a new connection.
    pub key: JobKey,
    /// What to draw.
    pub request: Request,
    /// Which jobs go first.
    pub priority: Priority,
    /// How long a broker that was connected once may stay away.
    pub reconnect_for: Duration,
}

/// What a follower of the render may want to show.
#[derive(Clone, Debug)]
pub enum Event {
    /// The broker took the job.
    Accepted {
        /// Its id.
        job: JobId,
    },
    /// How far the workers are.
    Progress(Progress),
    /// Rows that are in the file.
    Rows {
        /// Rows so far.
        rows: u32,
    },
    /// The connection is lost and is sought again.
    Reconnecting {
        /// Why.
        reason: String,
    },
}

/// A complete picture.
#[derive(Clone, Debug)]
pub struct Rendered<W> {
    /// The writer, with the whole file in it.
    pub out: W,
    /// The broker's totals.
    pub done: Done,
    /// From the first connection to the last byte.
    pub elapsed: Duration,
    /// Connections that were lost on the way.
    pub reconnects: u32,
}

/// Why there is no picture.
#[derive(Debug, Error)]
pub enum RenderError {
    /// The broker does not answer, or has not come back.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The request was not accepted.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The broker gave the job up.
    #[error("the render failed: {0}")]
    Failed(String),
    /// The picture could not be put together.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// It was stopped from here.
    #[error("stopped")]
    Stopped,
}

/// Renders `options.request` into `out`. Ready `stop` cancels the job at the broker.
///
/// # Errors
/// [`RenderError`]; `out` then holds an incomplete file.
pub async fn render<W: Write>(
    options: &RenderOptions,
    out: W,
    mut on_event: impl FnMut(Event),
    stop: impl Future<Output = ()>,
) -> Result<Rendered<W>, RenderError> {
    tokio::pin!(stop);
    let started = read_clock();
    let file = Assembler::begin(&options.request, out).map_err(AssembleError::from)?;
    let mut follower = Follower {
        options,
        file,
        engine: None,
        was_welcome: false,
        unsaid_bytes: 0,
        unsaid_messages: 0,
        said_at: started,
        on_event: &mut on_event,
    };
    let mut backoff = Backoff::new(options.broker.epoch.0);
    let mut reconnects = 0;
    let mut lost_at: Option<Instant> = None;
    loop {
        let error = match follower.follow(&mut lost_at, stop.as_mut()).await {
            Ok(done) => {
                let out = follower.file.finish()?;
                return Ok(Rendered { out, done, elapsed: started.elapsed(), reconnects });
            }
            Err(RenderError::Session(error)) if error.is_passing() => error,
            Err(error) => return Err(error),
        };
        // A broker that never answered is not waited for; one that did may come back.
        if !follower.was_welcome || lost_at.is_some_and(|at| at.elapsed() >= options.reconnect_for) {
            return Err(error.into());
        }
        if lost_at.is_none() {
            backoff.reset();
            lost_at = Some(read_clock());
            reconnects += 1;
            info!(%error, "reconnecting");
            (follower.on_event)(Event::Reconnecting { reason: error.to_string() });
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.delay()) => {}
            () = &mut stop => return Err(RenderError::Stopped),
        }
    }
}

struct Follower<'a, W: Write, F: FnMut(Event)> {
    options: &'a RenderOptions,
    file: Assembler<W>,
    /// The engine that rendered the strips that are held.
    engine: Option<String>,
    /// Whether a broker has ever answered.
    was_welcome: bool,
    /// Bytes and messages of strips that are held and not acknowledged yet, and when something was acknowledged last.
    unsaid_bytes: u64,
    unsaid_messages: u32,
    said_at: Instant,
    on_event: &'a mut F,
}

impl<W: Write, F: FnMut(Event)> Follower<'_, W, F> {
    /// Follows the job over one connection. `lost_at` is cleared once the job is accepted.
    async fn follow(
        &mut self,
        lost_at: &mut Option<Instant>,
        mut stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Done, RenderError> {
        let mut session = tokio::select! {
            session = Session::open(&self.options.broker) => session?,
            () = &mut stop => return Err(RenderError::Stopped),
        };
        self.was_welcome = true;
        self.options.request.validate(&session.welcome.limits)?;
        // The SUBMIT says it.
        (self.unsaid_bytes, self.unsaid_messages) = (0, 0);
        session.send(&Message::Submit(self.submit())).await?;
        let mut job = None;
        loop {
            let message = tokio::select! {
                message = session.next() => message?,
                () = tokio::time::sleep_until((self.said_at + ACK_EVERY).into()), if self.unsaid_messages > 0 => {
                    self.acknowledge(&mut session, job).await?;
                    continue;
                }
                () = &mut stop => {
                    cancel(session, job).await;
                    return Err(RenderError::Stopped);
                }
            };
            match self.on_message(&mut session, &mut job, message).await {
                Ok(Some(done)) => {
                    session.bye(FAREWELL).await;
                    return Ok(done);
                }
                Ok(None) => {}
                // What fails here, such as a full disk, the broker cannot know.
                Err(error @ RenderError::Assemble(_)) => {
                    cancel(session, job).await;
                    return Err(error);
                }
                Err(error) => return Err(error),
            }
            if job.is_some() {
                *lost_at = None;
            }
        }
    }

    /// Tells the broker what is held.
    async fn acknowledge(&mut self, session: &mut Session, job: Option<JobId>) -> Result<(), SessionError> {
        if let Some(job) = job {
            session.send(&Message::Ack(Ack { job, have: self.file.have() })).await?;
        }
        (self.unsaid_bytes, self.unsaid_messages, self.said_at) = (0, 0, read_clock());
        Ok(())
    }

    /// Every acknowledgement wakes the broker, so quick strips are acknowledged several at a time. What waits for more of them is
    /// acknowledged when its time is over, for there may be no more before it.
    fn is_ack_due(&self) -> bool {
        let is_last = self.file.have() == self.file.layout().strips();
        let is_much = self.unsaid_bytes >= ACK_BYTES || self.unsaid_messages >= ACK_MESSAGES;
        is_last || is_much || self.said_at.elapsed() >= ACK_EVERY
    }

    fn submit(&self) -> Submit {
        let layout = self.file.layout();
        Submit {
            key: self.options.key,
            priority: self.options.priority,
            have: self.file.have(),
            engine: self.engine.clone().filter(|_| self.file.have() > 0),
            window_bytes: WINDOW_BYTES.max(layout.strip_len_max()),
            request: self.options.request,
        }
    }

    async fn on_message(
        &mut self,
        session: &mut Session,
        job: &mut Option<JobId>,
        message: Message,
    ) -> Result<Option<Done>, RenderError> {
        match message {
            Message::Accepted(accepted) if accepted.key == self.options.key => {
                let layout = self.file.layout();
                if (accepted.strips, accepted.rows_per_strip) != (layout.strips(), layout.rows_per_strip()) {
                    let what = format!("it cuts the picture into {} strips of {} rows", accepted.strips, accepted.rows_per_strip);
                    return Err(AssembleError::Misfit(what).into());
                }
                *job = Some(accepted.job);
                debug!(job = %accepted.job, "accepted");
                (self.on_event)(Event::Accepted { job: accepted.job });
            }
            Message::Refused(refused) if refused.key == self.options.key => return Err(refused.refusal.into()),
            Message::Strips(strips, payload) if Some(strips.job) == *job => {
                if self.engine.as_ref().is_some_and(|engine| *engine != strips.engine && self.file.have() > 0) {
                    return Err(AssembleError::Misfit(format!("engine {} after another", strips.engine)).into());
                }
                self.file.append(strips.first, &strips.strips, &payload)?;
                debug!(have = self.file.have(), "strips");
                self.engine = Some(strips.engine);
                self.unsaid_bytes += payload.len() as u64;
                self.unsaid_messages += 1;
                if self.is_ack_due() {
                    self.acknowledge(session, *job).await?;
                }
                (self.on_event)(Event::Rows { rows: self.file.layout().rows_before(self.file.have()) });
            }
            Message::Progress(progress) if Some(progress.job) == *job => (self.on_event)(Event::Progress(progress)),
            Message::Done(done) if Some(done.job) == *job => return Ok(Some(done)),
            Message::Failed(failed) if Some(failed.job) == *job => return Err(RenderError::Failed(failed.reason)),
            other => debug!(message = other.name(), "passed over"),
        }
        Ok(None)
    }
}

/// Tells the broker that nobody waits any more. Without an id yet, leaving says the same.
async fn cancel(mut session: Session, job: Option<JobId>) {
    if let Some(job) = job {
        let told = async {
            session.send(&Message::Cancel(Cancel { job })).await?;
            while !matches!(session.next().await?, Message::Failed(_) | Message::Done(_)) {}
            Ok::<_, SessionError>(())
        };
        // The farewell below tells the same when the answer does not come.
        let _ = tokio::time::timeout(FAREWELL, told).await;
    }
    session.bye(FAREWELL).await;
}
