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
        let answer = match tokio::time::timeout(within, question.ask(&mut session)).await {
            Ok(answer) => answer,
            Err(_) => Err(session.unanswered()),
        };
        match answer {
            Ok(answer) => {
                session.close(FAREWELL).await;
                return Ok(answer);
            }
            Err(_) if session.is_doubtful() => session = session.replace(broker).await?,
            Err(error) => return Err(error),
        }
    }
}
