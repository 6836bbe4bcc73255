//! Asks a broker about itself.

use fractally_proto::{DecodeError, JobId, JobQuery, JobReport, JobStory, Message, Status};
use fractally_transport::LinkError;

use crate::{
    question::{Question, over},
    session::{Broker, Session, SessionError},
};

/// The broker, its workers and its jobs, now.
///
/// # Errors
/// [`SessionError`] when the broker does not answer within its connect timeout.
pub async fn status(broker: &Broker) -> Result<Status, SessionError> {
    ask(broker, &Message::StatusQuery, status_in).await
}

/// What happened to the bands of a job, if the broker knows of it.
///
/// # Errors
/// [`SessionError`] when the broker does not answer within its connect timeout.
pub async fn story(broker: &Broker, job: JobId) -> Result<Option<JobStory>, SessionError> {
    Ok(ask(broker, &Message::JobQuery(JobQuery { job }), story_in).await?.story)
}

/// An answer of this sort, if the message is one.
pub(crate) type Reported<T> = Option<Result<T, DecodeError>>;

pub(crate) fn status_in(message: &Message) -> Reported<Status> {
    match message {
        Message::StatusReport(payload) => Some(Status::decode(payload)),
        _ => None,
    }
}

pub(crate) fn story_in(message: &Message) -> Reported<JobReport> {
    match message {
        Message::JobReport(payload) => Some(JobReport::decode(payload)),
        _ => None,
    }
}

/// Says one thing and waits for the answer.
pub(crate) async fn ask<T: Send>(
    broker: &Broker,
    question: &Message,
    answer_in: impl Fn(&Message) -> Reported<T> + Send,
) -> Result<T, SessionError> {
    over(broker, broker.connect_timeout, Ask { question, answer_in }).await
}

/// One thing to say, and what answers it.
pub(crate) struct Ask<'a, F> {
    pub(crate) question: &'a Message,
    pub(crate) answer_in: F,
}

impl<T: Send, F: Fn(&Message) -> Reported<T> + Send> Question for Ask<'_, F> {
    type Answer = T;

    async fn ask(&mut self, session: &mut Session) -> Result<T, SessionError> {
        session.send(self.question).await?;
        loop {
            let message = session.next().await?;
            if let Some(answer) = (self.answer_in)(&message) {
                return answer.map_err(|error| LinkError::Malformed(error).into());
            }
        }
    }
}
