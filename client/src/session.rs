//! One connection to a broker, from HELLO to BYE.

use std::time::{Duration, Instant};

use fractally_proto::{Epoch, Hello, Message, Welcome};
use fractally_transport::{ConnectError, Endpoint, Link, LinkError};
use thiserror::Error;
use tokio::time::{MissedTickBehavior, interval};

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
}

impl SessionError {
    /// Whether a new connection may do better.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Silent { .. } | Self::Unanswered { .. } => true,
            Self::Link(error) => !matches!(error, LinkError::Malformed(_)),
            Self::Refused(_) => false,
        }
    }
}

/// A connection after WELCOME.
pub(crate) struct Session {
    link: Link,
    endpoint: Endpoint,
    pub(crate) welcome: Welcome,
    heard: Instant,
    timer: tokio::time::Interval,
}

impl Session {
    pub(crate) async fn open(broker: &Broker) -> Result<Self, SessionError> {
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
        let now = read_clock();
        Ok(Self { link, endpoint: broker.endpoint.clone(), welcome, heard: now, timer })
    }

    pub(crate) async fn send(&mut self, message: &Message) -> Result<(), SessionError> {
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
                    self.heard = read_clock();
                    match message? {
                        Message::Heartbeat(_) => {}
                        Message::Error(error) => return Err(SessionError::Refused(error.message)),
                        message => return Ok(message),
                    }
                }
                _ = self.timer.tick() => {
                    if self.heard.elapsed() >= Duration::from_millis(self.welcome.dead_after_ms.into()) {
                        return Err(SessionError::Silent { endpoint: self.endpoint.clone() });
                    }
                    self.link.heartbeat(Vec::new()).await?;
                }
            }
        }
    }

    /// The broker has had its time for an answer.
    pub(crate) fn unanswered(&self) -> SessionError {
        SessionError::Unanswered { endpoint: self.endpoint.clone() }
    }

    pub(crate) async fn bye(self, timeout: Duration) {
        self.link.bye("done", timeout).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "a session knows when it last heard from the broker")]
pub(crate) fn read_clock() -> Instant {
    Instant::now()
}
