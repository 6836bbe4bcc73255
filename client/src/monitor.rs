//! One connection over which a broker is asked about itself again and again, for as long as somebody watches.
//!
//! Unlike the idle ones of `sessions.rs` it says heartbeats while nobody asks, so it lasts however rarely that is, and a broker that goes
//! away is noticed at once.

use std::future::pending;

use fractally_proto::{JobId, JobQuery, JobStory, Message, Status};
use fractally_transport::LinkError;
use tracing::debug;

use crate::{
    question::ask_within,
    session::{Broker, FAREWELL, Session, SessionError},
    status::{Ask, Reported, status_in, story_in},
};

/// A connection to a broker that is asked again and again. What is lost is made anew at the next question.
pub struct Monitor {
    broker: Broker,
    session: Option<Session>,
}

impl Monitor {
    /// Nothing is connected before the first question. Connections that the broker's pool has are left to others.
    pub fn new(broker: Broker) -> Self {
        Self { broker, session: None }
    }

    /// The broker, its workers and its jobs, now.
    ///
    /// # Errors
    /// [`SessionError`] when the broker does not answer within its connect timeout. It may be asked again.
    pub async fn status(&mut self) -> Result<Status, SessionError> {
        self.ask(&Message::StatusQuery, status_in).await
    }

    /// What happened to the bands of a job, if the broker knows of it.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn story(&mut self, job: JobId) -> Result<Option<JobStory>, SessionError> {
        let question = Message::JobQuery(JobQuery { job });
        Ok(self.ask(&question, story_in).await?.story)
    }

    /// Keeps the connection alive until it is lost; for ever where there is none. May be dropped while it waits.
    pub async fn keep(&mut self) -> SessionError {
        let Some(session) = &mut self.session else { return pending().await };
        let lost = loop {
            match session.next().await {
                Ok(Message::Bye(_)) => break LinkError::Lost.into(),
                Ok(message) => debug!(message = message.name(), "nobody has asked for it"),
                Err(error) => break error,
            }
        };
        self.session = None;
        lost
    }

    /// Says BYE.
    pub async fn close(self) {
        if let Some(session) = self.session {
            session.bye(FAREWELL).await;
        }
    }

    async fn ask<T: Send>(&mut self, question: &Message, answer_in: fn(&Message) -> Reported<T>) -> Result<T, SessionError> {
        let mut kept = self.session.take();
        loop {
            let is_new = kept.is_none();
            let mut session = match kept.take() {
                Some(session) => session,
                None => Session::connect(&self.broker, None).await?,
            };
            match ask_within(self.broker.connect_timeout, &mut Ask { question, answer_in }, &mut session).await {
                Ok(answer) => {
                    self.session = Some(session);
                    return Ok(answer);
                }
                // It was lost since the last question, perhaps: a new one tells.
                Err(SessionError::Link(_)) if !is_new => {}
                Err(error) => return Err(error),
            }
        }
    }
}
