//! Follows a job to its end, whoever asked for it: asks for strips, appends them, acknowledges them; after a break, asks for the rest.
//!
//! What asks, and what answers, is a [`Source`]'s to know: `render.rs` has SUBMIT and ACCEPTED, `attach.rs` ATTACH and ATTACHED.

use std::{
    future::Future,
    io::Write,
    pin::Pin,
    time::{Duration, Instant},
};

use fractally_proto::{Ack, Cancel, Done, JobId, Layout, Limits, Message, Progress, Refusal, Strips};
use thiserror::Error;
use tracing::debug;

use crate::{
    assemble::{AssembleError, Assembler},
    reconnect::Reconnect,
    session::{Broker, Session, SessionError, read_clock},
};

/// Bytes of strips that the broker may send ahead of our acknowledgements: more than the largest strip has within the default limits.
pub(crate) const WINDOW_BYTES: u64 = 16 * 1024 * 1024;
/// Strips are acknowledged after so many bytes, so many messages (a quarter of what the broker sends ahead), or so much time, at the
/// latest with the last.
const ACK_BYTES: u64 = WINDOW_BYTES / 16;
const ACK_MESSAGES: u32 = 16;
const ACK_EVERY: Duration = Duration::from_millis(50);
/// How long BYE and the answer to CANCEL may take.
pub(crate) const FAREWELL: Duration = Duration::from_secs(2);
/// How long a broker that lives may take for the first answer. It may have to wait for a disk.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// What a follower of the render may want to show.
#[derive(Clone, Debug)]
pub enum Event {
    /// The broker took the job.
    Accepted {
        /// Its id.
        job: JobId,
        /// The picture was there already: the job is the detached one that drew it.
        cached: bool,
    },
    /// The broker has the job, and its strips follow.
    Attached {
        /// Its id.
        job: JobId,
        /// Rows that are on the broker's disk.
        rows: u32,
        /// Rows of the picture.
        rows_all: u32,
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
    /// Whether it came from the broker's disk, and nothing was rendered for it.
    pub cached: bool,
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
    /// The broker has no such job, or one that ended without a picture.
    #[error("there is no picture to wait for: {0}")]
    NoPicture(String),
    /// The picture is not complete, and was wanted only if it is.
    #[error("{rows} of {rows_all} rows are there")]
    NotDone {
        /// Rows on the broker's disk.
        rows: u32,
        /// Rows of the picture.
        rows_all: u32,
    },
    /// The picture could not be put together.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// It was stopped from here.
    #[error("stopped")]
    Stopped,
}

/// What asks a broker for the strips of a job.
pub(crate) trait Source<W: Write> {
    /// Whether the question is within what the broker takes.
    fn check(&self, limits: &Limits) -> Result<(), RenderError>;

    /// The message that asks for what is not held.
    fn question(&self, held: Held) -> Message;

    /// What comes of a message if it is the answer, else nothing. After the first answer there is a file.
    fn answer(&mut self, message: &Message, file: &mut Option<Assembler<W>>) -> Result<Option<Begun>, RenderError>;
}

/// What is held when the question is asked.
pub(crate) struct Held {
    /// Strips, counted from the top.
    pub(crate) have: u32,
    /// The engine that rendered them; nothing where there are none.
    pub(crate) engine: Option<String>,
    /// At least the largest strip.
    pub(crate) window_bytes: u64,
}

/// A job whose strips come over this connection.
pub(crate) struct Begun {
    pub(crate) job: JobId,
    /// Whether it is to end when it is no longer wanted here.
    pub(crate) is_ours: bool,
    /// Whether it was over before it was asked for.
    pub(crate) cached: bool,
    pub(crate) event: Event,
}

/// Whether the broker cuts a picture as we do.
pub(crate) fn check_layout(layout: &Layout, strips: u32, rows_per_strip: u32) -> Result<(), AssembleError> {
    if (strips, rows_per_strip) == (layout.strips(), layout.rows_per_strip()) {
        return Ok(());
    }
    Err(AssembleError::Misfit(format!("it cuts the picture into {strips} strips of {rows_per_strip} rows")))
}

/// Follows what `source` asks for until it is complete. Ready `stop` leaves, and cancels the job if it is ours.
pub(crate) async fn follow<W: Write>(
    broker: &Broker,
    reconnect_for: Duration,
    source: impl Source<W>,
    file: Option<Assembler<W>>,
    on_event: impl FnMut(Event),
    stop: impl Future<Output = ()>,
) -> Result<Rendered<W>, RenderError> {
    tokio::pin!(stop);
    let started = read_clock();
    let mut reconnect = Reconnect::new(broker, reconnect_for);
    let mut follower = Follower {
        source,
        file,
        begun: None,
        cached: None,
        engine: None,
        unsaid_bytes: 0,
        unsaid_messages: 0,
        said_at: started,
        on_event,
    };
    let done = loop {
        match follower.follow(broker, &mut reconnect, stop.as_mut()).await {
            Ok(done) => break done,
            Err(RenderError::Session(error)) if error.is_passing() => {
                reconnect.wait(error, &mut follower.on_event, stop.as_mut()).await?;
            }
            Err(error) => return Err(error),
        }
    };
    let cached = follower.cached == Some(true);
    let out = follower.file.ok_or_else(no_file)?.finish()?;
    Ok(Rendered { out, done, cached, elapsed: started.elapsed(), reconnects: reconnect.count() })
}

fn no_file() -> AssembleError {
    AssembleError::Misfit("some of a picture that was not named".to_owned())
}

struct Follower<S, W: Write, F: FnMut(Event)> {
    source: S,
    file: Option<Assembler<W>>,
    /// The answer on this connection.
    begun: Option<Begun>,
    /// Whether the first answer of all told of a job that was over.
    cached: Option<bool>,
    /// The engine that rendered the strips that are held.
    engine: Option<String>,
    /// Bytes and messages of strips that are held and not acknowledged yet, and when something was acknowledged last.
    unsaid_bytes: u64,
    unsaid_messages: u32,
    said_at: Instant,
    on_event: F,
}

impl<W: Write, S: Source<W>, F: FnMut(Event)> Follower<S, W, F> {
    /// Follows the job over one connection.
    async fn follow(
        &mut self,
        broker: &Broker,
        reconnect: &mut Reconnect,
        mut stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Done, RenderError> {
        let mut session = tokio::select! {
            session = Session::open(broker) => session?,
            () = &mut stop => return Err(RenderError::Stopped),
        };
        reconnect.on_welcome();
        self.source.check(&session.welcome.limits)?;
        self.begun = None;
        // The question says what is held.
        (self.unsaid_bytes, self.unsaid_messages) = (0, 0);
        session.send(&self.source.question(self.held())).await?;
        let asked_at = read_clock();
        loop {
            let message = tokio::select! {
                message = session.next() => message?,
                () = tokio::time::sleep_until((self.said_at + ACK_EVERY).into()), if self.unsaid_messages > 0 => {
                    self.acknowledge(&mut session).await?;
                    continue;
                }
                () = tokio::time::sleep_until((asked_at + ANSWER_WITHIN).into()), if self.begun.is_none() => {
                    return Err(session.unanswered().into());
                }
                () = &mut stop => {
                    self.leave(session).await;
                    return Err(RenderError::Stopped);
                }
            };
            match self.on_message(&mut session, message).await {
                Ok(Some(done)) => {
                    session.bye(FAREWELL).await;
                    return Ok(done);
                }
                Ok(None) => {}
                // What fails here, such as a full disk, the broker cannot know.
                Err(error @ (RenderError::Assemble(_) | RenderError::NotDone { .. })) => {
                    self.leave(session).await;
                    return Err(error);
                }
                Err(error @ RenderError::Session(_)) => return Err(error),
                // The broker's own last word.
                Err(error) => {
                    session.bye(FAREWELL).await;
                    return Err(error);
                }
            }
            if self.begun.is_some() {
                reconnect.on_success();
            }
        }
    }

    fn have(&self) -> u32 {
        self.file.as_ref().map_or(0, Assembler::have)
    }

    fn held(&self) -> Held {
        let have = self.have();
        let strip_len_max = self.file.as_ref().map_or(0, |file| file.layout().strip_len_max());
        Held { have, engine: self.engine.clone().filter(|_| have > 0), window_bytes: WINDOW_BYTES.max(strip_len_max) }
    }

    /// Tells the broker what is held.
    async fn acknowledge(&mut self, session: &mut Session) -> Result<(), SessionError> {
        if let Some(begun) = &self.begun {
            session.send(&Message::Ack(Ack { job: begun.job, have: self.have() })).await?;
        }
        (self.unsaid_bytes, self.unsaid_messages, self.said_at) = (0, 0, read_clock());
        Ok(())
    }

    /// Every acknowledgement wakes the broker, so quick strips are acknowledged several at a time. What waits for more of them is
    /// acknowledged when its time is over, for there may be no more before it.
    fn is_ack_due(&self) -> bool {
        let is_last = self.file.as_ref().is_some_and(|file| file.have() == file.layout().strips());
        let is_much = self.unsaid_bytes >= ACK_BYTES || self.unsaid_messages >= ACK_MESSAGES;
        is_last || is_much || self.said_at.elapsed() >= ACK_EVERY
    }

    async fn on_message(&mut self, session: &mut Session, message: Message) -> Result<Option<Done>, RenderError> {
        if let Some(begun) = self.source.answer(&message, &mut self.file)? {
            debug!(job = %begun.job, cached = begun.cached, "{}", message.name());
            (self.on_event)(begun.event.clone());
            self.cached.get_or_insert(begun.cached);
            self.begun = Some(begun);
            return Ok(None);
        }
        let job = self.begun.as_ref().map(|begun| begun.job);
        match message {
            Message::Strips(strips, payload) if Some(strips.job) == job => {
                let rows = self.append(strips, &payload)?;
                self.unsaid_bytes += payload.len() as u64;
                self.unsaid_messages += 1;
                if self.is_ack_due() {
                    self.acknowledge(session).await?;
                }
                (self.on_event)(Event::Rows { rows });
            }
            Message::Progress(progress) if Some(progress.job) == job => (self.on_event)(Event::Progress(progress)),
            Message::Done(done) if Some(done.job) == job => return Ok(Some(done)),
            Message::Failed(failed) if Some(failed.job) == job => return Err(RenderError::Failed(failed.reason)),
            other => debug!(message = other.name(), "passed over"),
        }
        Ok(None)
    }

    /// Puts strips away and gives the rows that are held then.
    fn append(&mut self, strips: Strips, payload: &[u8]) -> Result<u32, AssembleError> {
        let file = self.file.as_mut().ok_or_else(no_file)?;
        if self.engine.as_ref().is_some_and(|engine| *engine != strips.engine && file.have() > 0) {
            return Err(AssembleError::Misfit(format!("engine {} after another", strips.engine)));
        }
        file.append(strips.first, &strips.strips, payload)?;
        debug!(have = file.have(), "strips");
        self.engine = Some(strips.engine);
        Ok(file.layout().rows_before(file.have()))
    }

    /// Goes, and tells the broker that nobody waits for a job of ours any more. Without an id yet, going says the same.
    async fn leave(&self, mut session: Session) {
        if let Some(Begun { job, is_ours: true, .. }) = self.begun {
            let told = async {
                session.send(&Message::Cancel(Cancel { job, holder: None })).await?;
                while !matches!(session.next().await?, Message::Failed(_) | Message::Done(_)) {}
                Ok::<_, SessionError>(())
            };
            // The farewell below tells the same when the answer does not come.
            let _ = tokio::time::timeout(FAREWELL, told).await;
        }
        session.bye(FAREWELL).await;
    }
}
