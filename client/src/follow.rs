//! Follows a job to its end, whoever asked for it: asks for strips, appends them, acknowledges them; after a break, asks for the rest.
//!
//! What asks, and what answers, is a [`Source`]'s to know: `render.rs` has SUBMIT and ACCEPTED, `attach.rs` ATTACH and ATTACHED.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use fractally_proto::{Ack, Cancel, Done, JobId, Layout, Limits, Message, Progress, Refusal, Strips};
use thiserror::Error;
use tracing::debug;

use crate::{
    assemble::{AssembleError, Assembler},
    inbox::Inbox,
    reconnect::Reconnect,
    session::{ANSWER_WITHIN, Broker, FAREWELL, Session, SessionError, read_clock},
    sink::Sink,
};

/// Bytes of strips that the broker may send ahead of our acknowledgements where nobody says otherwise: more than the largest strip has
/// within the default limits.
pub const WINDOW_BYTES: u64 = 16 * 1024 * 1024;
/// Strips are acknowledged after this share of the window, so many strips (a quarter of the messages that the broker sends ahead), or so
/// much time, at the latest with the last.
const ACK_SHARE: u64 = 16;
const ACK_STRIPS: u32 = 16;
const ACK_EVERY: Duration = Duration::from_millis(50);

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
pub(crate) trait Source<W: Sink> {
    /// Whether the question is within what the broker takes.
    fn check(&self, limits: &Limits) -> Result<(), RenderError>;

    /// The largest strip that may come, bytes, as far as that is known before there is a file.
    fn strip_len_max(&self) -> u64;

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

/// How a job is followed.
pub(crate) struct Following<'a> {
    pub(crate) broker: &'a Broker,
    /// How long a broker that was connected once may stay away.
    pub(crate) reconnect_for: Duration,
    /// Bytes of strips that may come ahead of our acknowledgements; the largest strip always may.
    pub(crate) window_bytes: u64,
}

/// Follows what `source` asks for until it is complete. Ready `stop` leaves, and cancels the job if it is ours.
pub(crate) async fn follow<W: Sink>(
    following: Following<'_>,
    source: impl Source<W>,
    file: Option<Assembler<W>>,
    on_event: impl FnMut(Event),
    stop: impl Future<Output = ()>,
) -> Result<Rendered<W>, RenderError> {
    tokio::pin!(stop);
    let Following { broker, reconnect_for, window_bytes } = following;
    let started = read_clock();
    let mut reconnect = Reconnect::new(broker, reconnect_for);
    let mut follower = Follower {
        source,
        file,
        window_bytes,
        window_told: 0,
        inbox: Inbox::default(),
        begun: None,
        cached: None,
        engine: None,
        unsaid_bytes: 0,
        unsaid_strips: 0,
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

struct Follower<S, W: Sink, F: FnMut(Event)> {
    source: S,
    file: Option<Assembler<W>>,
    /// What is wanted, and what the question over this connection said.
    window_bytes: u64,
    window_told: u64,
    /// What has come over this connection while the sink was full.
    inbox: Inbox,
    /// The answer on this connection.
    begun: Option<Begun>,
    /// Whether the first answer of all told of a job that was over.
    cached: Option<bool>,
    /// The engine that rendered the strips that have come.
    engine: Option<String>,
    /// Bytes and number of strips that are held and not acknowledged yet, and when something was acknowledged last.
    unsaid_bytes: u64,
    unsaid_strips: u32,
    said_at: Instant,
    on_event: F,
}

impl<W: Sink, S: Source<W>, F: FnMut(Event)> Follower<S, W, F> {
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
        loop {
            let ended = self.follow_over(&mut session, reconnect, stop.as_mut()).await;
            match ended {
                // It waited in a pool, and is replaced as if it had not been there.
                Err(RenderError::Session(_)) if session.is_doubtful() => {
                    session = tokio::select! {
                        session = session.replace(broker) => session?,
                        () = &mut stop => return Err(RenderError::Stopped),
                    };
                }
                Err(error @ RenderError::Session(_)) => return Err(error),
                // What fails here, such as a full disk, the broker cannot know.
                Err(RenderError::Assemble(_) | RenderError::NotDone { .. } | RenderError::Stopped) => {
                    if let Some(Begun { job, is_ours: true, .. }) = self.begun {
                        // Going tells the same when the answer does not come, and where there is no id yet.
                        let _ = tokio::time::timeout(FAREWELL, cancel(&mut session, job)).await;
                    }
                    session.close(FAREWELL).await;
                    return ended;
                }
                // The broker's own last word.
                Ok(_) | Err(RenderError::Refused(_) | RenderError::Failed(_) | RenderError::NoPicture(_)) => {
                    session.close(FAREWELL).await;
                    return ended;
                }
            }
        }
    }

    async fn follow_over(
        &mut self,
        session: &mut Session,
        reconnect: &mut Reconnect,
        mut stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Done, RenderError> {
        self.begun = None;
        // The question says what is held; what waits comes again.
        self.inbox.clear();
        (self.unsaid_bytes, self.unsaid_strips) = (0, 0);
        if !session.is_doubtful() {
            reconnect.on_welcome();
        }
        self.source.check(&session.welcome.limits)?;
        let held = self.held();
        self.window_told = held.window_bytes;
        let question = self.source.question(held);
        session.send(&question).await?;
        let asked_at = read_clock();
        loop {
            let message = tokio::select! {
                message = session.next() => Some(message?),
                () = tokio::time::sleep_until((self.said_at + ACK_EVERY).into()), if self.unsaid_strips > 0 => {
                    self.acknowledge(session).await?;
                    None
                }
                () = tokio::time::sleep_until((asked_at + ANSWER_WITHIN).into()), if self.begun.is_none() => {
                    return Err(session.unanswered().into());
                }
                () = std::future::poll_fn(|context| self.poll_room(context)), if !self.inbox.is_empty() => None,
                () = &mut stop => return Err(RenderError::Stopped),
            };
            if let Some(message) = message
                && let Some(done) = self.on_message(message)?
            {
                return Ok(done);
            }
            self.put_away(session).await?;
            if self.begun.is_some() {
                reconnect.on_welcome();
                reconnect.on_success();
            }
        }
    }

    fn have(&self) -> u32 {
        self.file.as_ref().map_or(0, Assembler::have)
    }

    fn held(&self) -> Held {
        let have = self.have();
        let known = self.file.as_ref().map(|file| file.layout().strip_len_max());
        let window_bytes = self.window_bytes.max(known.unwrap_or_else(|| self.source.strip_len_max()));
        Held { have, engine: self.engine.clone().filter(|_| have > 0), window_bytes }
    }

    /// Tells the broker what is held.
    async fn acknowledge(&mut self, session: &mut Session) -> Result<(), SessionError> {
        if let Some(begun) = &self.begun {
            let ack = Message::Ack(Ack { job: begun.job, have: self.have() });
            session.send(&ack).await?;
        }
        (self.unsaid_bytes, self.unsaid_strips, self.said_at) = (0, 0, read_clock());
        Ok(())
    }

    /// Every acknowledgement wakes the broker, so quick strips are acknowledged several at a time. What waits for more of them is
    /// acknowledged when its time is over, for there may be no more before it.
    fn is_ack_due(&self) -> bool {
        let is_last = self.file.as_ref().is_some_and(|file| file.have() == file.layout().strips());
        let is_much = self.unsaid_bytes >= self.window_bytes / ACK_SHARE || self.unsaid_strips >= ACK_STRIPS;
        self.unsaid_strips > 0 && (is_last || is_much || self.said_at.elapsed() >= ACK_EVERY)
    }

    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.file.as_mut().map_or(Poll::Ready(()), |file| file.out().poll_room(context))
    }

    fn on_message(&mut self, message: Message) -> Result<Option<Done>, RenderError> {
        if let Some(begun) = self.source.answer(&message, &mut self.file)? {
            debug!(job = %begun.job, cached = begun.cached, "{}", message.name());
            (self.on_event)(begun.event.clone());
            self.cached.get_or_insert(begun.cached);
            self.begun = Some(begun);
            return Ok(None);
        }
        let job = self.begun.as_ref().map(|begun| begun.job);
        match message {
            Message::Strips(strips, payload) if Some(strips.job) == job => self.on_strips(strips, payload)?,
            Message::Progress(progress) if Some(progress.job) == job => (self.on_event)(Event::Progress(progress)),
            Message::Done(done) if Some(done.job) == job => return Ok(Some(done)),
            Message::Failed(failed) if Some(failed.job) == job => return Err(RenderError::Failed(failed.reason)),
            other => debug!(message = other.name(), "passed over"),
        }
        Ok(None)
    }

    fn on_strips(&mut self, strips: Strips, payload: Bytes) -> Result<(), AssembleError> {
        let has_some = self.have() > 0 || !self.inbox.is_empty();
        if has_some && self.engine.as_ref().is_some_and(|engine| *engine != strips.engine) {
            return Err(AssembleError::Misfit(format!("engine {} after another", strips.engine)));
        }
        self.inbox.put(&strips, payload, self.window_told)?;
        self.engine = Some(strips.engine);
        Ok(())
    }

    /// Writes what waits, as far as the sink has room, and tells the broker.
    async fn put_away(&mut self, session: &mut Session) -> Result<(), RenderError> {
        if self.inbox.is_empty() {
            return Ok(());
        }
        let rows = self.write()?;
        if self.is_ack_due() {
            self.acknowledge(session).await?;
        }
        if let Some(rows) = rows {
            (self.on_event)(Event::Rows { rows });
        }
        Ok(())
    }

    /// Writes what waits, as far as the sink has room, and gives the rows that are held then if there are more.
    fn write(&mut self) -> Result<Option<u32>, AssembleError> {
        let file = self.file.as_mut().ok_or_else(no_file)?;
        let before = file.have();
        while !file.out().is_full()
            && let Some(strip) = self.inbox.take()
        {
            file.append(strip.index, &[strip.meta], &strip.encoded)?;
            self.unsaid_bytes += strip.encoded.len() as u64;
            self.unsaid_strips += 1;
        }
        file.out().hand_on();
        debug!(have = file.have(), "strips");
        Ok((file.have() > before).then(|| file.layout().rows_before(file.have())))
    }
}

/// Tells the broker that nobody waits for the job any more, and waits for its end.
async fn cancel(session: &mut Session, job: JobId) -> Result<(), SessionError> {
    session.send(&Message::Cancel(Cancel { job, holder: None })).await?;
    loop {
        match session.next().await? {
            Message::Failed(failed) if failed.job == job => return Ok(()),
            Message::Done(done) if done.job == job => return Ok(()),
            other => debug!(message = other.name(), "passed over"),
        }
    }
}
