//! A question and its answer over one session, where the connection that is used again may be lost.

use std::{future::Future, time::Duration};

use crate::session::{Broker, FAREWELL, Session, SessionError};

/// What is asked over a session. It may be asked twice.
pub(crate) trait Question {
    /// What comes of it.
    type Answer;

    /// Asks, and waits for the answer.
    fn ask(&mut self, session: &mut Session) -> impl Future<Output = Result<Self::Answer, SessionError>> + Send;
}

/// Asks `question` over a session of `broker`, which has `within` for the answer. Where the session had waited in a pool and is lost, a
/// new one is asked.
pub(crate) async fn over<Q: Question>(broker: &Broker, within: Duration, mut question: Q) -> Result<Q::Answer, SessionError> {
    let mut session = Session::open(broker).await?;
    loop {
        match ask_within(within, &mut question, &mut session).await {
            Ok(answer) => {
                session.close(FAREWELL).await;
                return Ok(answer);
            }
            Err(_) if session.is_doubtful() => session = session.replace(broker).await?,
            Err(error) => return Err(error),
        }
    }
}

/// Asks over one session, which has `within` for the answer.
///
/// # Errors
/// [`SessionError`]; nothing more is to be asked over that session.
pub(crate) async fn ask_within<Q: Question>(
    within: Duration,
    question: &mut Q,
    session: &mut Session,
) -> Result<Q::Answer, SessionError> {
    match tokio::time::timeout(within, question.ask(session)).await {
        Ok(answer) => answer,
        Err(_) => Err(session.unanswered()),
    }
}
