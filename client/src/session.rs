//! One connection to a broker, from HELLO to BYE, or until it is put back for the next one who asks (`sessions.rs`).

use std::{
    future::ready,
    time::{Duration, Instant},
};

use fractally_proto::{Epoch, Hello, JobId, Message, Welcome};
use fractally_transport::{ConnectError, Endpoint, Link, LinkError};
use thiserror::Error;
use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

use crate::{
    owed::Owed,
    sessions::{Place, Sessions},
};

/// Where the broker is and who asks.
#[derive(Clone, Debug)]
pub struct Broker {
    /// The broker's endpoint for clients.
    pub endpoint: Endpoint,
    /// Program and version.
    pub agent: String,
    /// Whom jobs are counted for; without one, they are counted with those of all who name none.
    pub account: Option<String>,
    /// This life of the client.
    pub epoch: Epoch,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// Connections that are used again; without them each question has one of its own.
    pub sessions: Option<Sessions>,
}

/// Why a connection cannot be used, or not any more.
#[derive(Debug, Error)]
pub enum SessionError {
    /// Nobody answers.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection is lost.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The broker does not want this client; trying again would not help.
    #[error("the broker refuses: {0}")]
    Refused(String),
    /// The broker is connected but says nothing.
    #[error("the broker at {endpoint} is connected but says nothing; is this its endpoint for clients?")]
    Silent {
        /// Where it was expected.
        endpoint: Endpoint,
    },
    /// The broker lives and does not answer.
    #[error("the broker at {endpoint} does not answer")]
    Unanswered {
        /// Where it is.
        endpoint: Endpoint,
    },
    /// As many connections as may be were in use for as long as connecting may take.
    #[error("all {max} connections to the broker are in use; try again later")]
    Crowded {
        /// How many there may be.
        max: usize,
    },
}

impl SessionError {
    /// Whether a new connection may do better.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Silent { .. } | Self::Unanswered { .. } | Self::Crowded { .. } => true,
            Self::Link(error) => !matches!(error, LinkError::Malformed(_)),
            Self::Refused(_) => false,
        }
    }
}

/// A connection after WELCOME.
pub(crate) struct Session {
    link: Link,
    endpoint: Endpoint,
    account: Option<String>,
    pub(crate) welcome: Welcome,
    heard: Instant,
    timer: tokio::time::Interval,
    owed: Owed,
    /// Its place in a pool, while it is in use.
    place: Option<Place>,
    /// It waited in a pool, and the broker has answered nothing since.
    is_doubtful: bool,
}

impl Session {
    /// One that waits in the broker's pool, or a new one.
    pub(crate) async fn open(broker: &Broker) -> Result<Self, SessionError> {
        match &broker.sessions {
            Some(sessions) => sessions.take(broker).await,
            None => Self::connect(broker, None).await,
        }
    }

    /// A new one in its place.
    pub(crate) async fn replace(mut self, broker: &Broker) -> Result<Self, SessionError> {
        debug!("an idle connection turned out to be lost");
        let place = self.place.take();
        drop(self);
        if let Some(place) = &place {
            place.clear_idle();
        }
        Self::connect(broker, place).await
    }

    pub(crate) async fn connect(broker: &Broker, place: Option<Place>) -> Result<Self, SessionError> {
        let mut link = Link::connect(&broker.endpoint, broker.connect_timeout).await?;
        let hello = Hello { agent: broker.agent.clone(), epoch: broker.epoch, account: broker.account.clone(), worker: None };
        link.send(&Message::Hello(hello)).await?;
        let silent = || SessionError::Silent { endpoint: broker.endpoint.clone() };
        let first = async {
            loop {
                match link.next().await? {
                    Message::Welcome(welcome) => return Ok(welcome),
                    Message::Error(error) => return Err(SessionError::Refused(error.message)),
                    _ => {}
                }
            }
        };
        let welcome = tokio::time::timeout(broker.connect_timeout, first).await.map_err(|_| silent())??;
        let mut timer = interval(Duration::from_millis(welcome.heartbeat_ms.max(10).into()));
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (endpoint, account) = (broker.endpoint.clone(), broker.account.clone());
        let owed = Owed::default();
        Ok(Self { link, endpoint, account, welcome, heard: read_clock(), timer, owed, place, is_doubtful: false })
    }

    pub(crate) async fn send(&mut self, message: &Message) -> Result<(), SessionError> {
        self.owed.on_said(message);
        Ok(self.link.send(message).await?)
    }

    /// The next message that is not a heartbeat; heartbeats are sent meanwhile. May be dropped while it waits.
    pub(crate) async fn next(&mut self) -> Result<Message, SessionError> {
        loop {
            if self.link.is_ack_due() {
                self.link.heartbeat(Vec::new()).await?;
            }
            tokio::select! {
                message = self.link.next() => {
                    let message = message?;
                    self.heard = read_clock();
                    self.owed.on_heard(&message);
                    match message {
                        Message::Heartbeat(_) => {}
                        Message::Error(error) => return Err(SessionError::Refused(error.message)),
                        // It was said before anything was asked here, and nothing that is new will be answered.
                        Message::Bye(_) if self.is_doubtful => return Err(LinkError::Lost.into()),
                        message => {
                            self.is_doubtful = false;
                            return Ok(message);
                        }
                    }
                }
                _ = self.timer.tick() => {
                    if self.heard.elapsed() >= self.dead_after() {
                        return Err(SessionError::Silent { endpoint: self.endpoint.clone() });
                    }
                    self.link.heartbeat(Vec::new()).await?;
                }
            }
        }
    }

    /// The broker has told that it has nothing to say of a job any more, though neither by DONE nor by FAILED.
    pub(crate) fn settle(&mut self, job: JobId) {
        self.owed.settle(job);
    }

    /// How long one side may be silent.
    pub(crate) fn dead_after(&self) -> Duration {
        Duration::from_millis(self.welcome.dead_after_ms.into())
    }

    /// The broker has had its time for an answer.
    pub(crate) fn unanswered(&self) -> SessionError {
        SessionError::Unanswered { endpoint: self.endpoint.clone() }
    }

    /// Whether an error may tell no more than that this connection was lost while it waited for somebody to use it.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.is_doubtful
    }

    /// Whether it is with this broker and for this account.
    pub(crate) fn is_of(&self, broker: &Broker) -> bool {
        self.endpoint == broker.endpoint && self.account == broker.account
    }

    /// Takes the session from a pool into use, and reads what has come meanwhile.
    ///
    /// # Errors
    /// The place, where the session is no good any more.
    pub(crate) async fn wake(mut self, place: Place) -> Result<Self, Place> {
        loop {
            let message = tokio::select! {
                biased;
                message = self.link.next() => message,
                () = ready(()) => break,
            };
            let Ok(message) = message else { return Err(place) };
            self.heard = read_clock();
            self.owed.on_heard(&message);
        }
        if !self.owed.is_nothing() {
            return Err(place);
        }
        self.place = Some(place);
        self.is_doubtful = true;
        Ok(self)
    }

    /// The end of its use: it waits in its pool for the next, or says BYE.
    pub(crate) async fn close(mut self, timeout: Duration) {
        match self.place.take() {
            Some(place) if self.owed.is_nothing() => place.put_back(self),
            place => {
                self.bye(timeout).await;
                drop(place);
            }
        }
    }

    /// Says BYE, and waits for the answer.
    pub(crate) async fn bye(self, timeout: Duration) {
        self.link.bye("done", timeout).await;
    }
}

/// How long BYE and the answer to CANCEL may take.
pub(crate) const FAREWELL: Duration = Duration::from_secs(2);
/// How often a broker that has not told the end of a job is asked for it.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long a broker that lives may take for the first answer. It may have to wait for a disk.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(30);

#[expect(clippy::disallowed_methods, reason = "a session knows when it last heard from the broker")]
pub(crate) fn read_clock() -> Instant {
    Instant::now()
}
