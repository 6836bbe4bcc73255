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
    ask(broker, &Message::StatusQuery, |message| match message {
        Message::StatusReport(payload) => Some(Status::decode(payload)),
        _ => None,
    })
    .await
}

/// What happened to the bands of a job, if the broker knows of it.
///
/// # Errors
/// [`SessionError`] when the broker does not answer within its connect timeout.
pub async fn story(broker: &Broker, job: JobId) -> Result<Option<JobStory>, SessionError> {
    let report = ask(broker, &Message::JobQuery(JobQuery { job }), |message| match message {
        Message::JobReport(payload) => Some(JobReport::decode(payload)),
        _ => None,
    })
    .await?;
    Ok(report.story)
}

/// Says one thing and waits for the answer.
pub(crate) async fn ask<T: Send>(
    broker: &Broker,
    question: &Message,
    answer_in: impl Fn(&Message) -> Option<Result<T, DecodeError>> + Send,
) -> Result<T, SessionError> {
    over(broker, broker.connect_timeout, Ask { question, answer_in }).await
}

struct Ask<'a, F> {
    question: &'a Message,
    answer_in: F,
}

impl<T: Send, F: Fn(&Message) -> Option<Result<T, DecodeError>> + Send> Question for Ask<'_, F> {
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
