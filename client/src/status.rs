//! Asks a broker about itself.

use std::time::Duration;

use fractally_proto::{Message, Status};
use fractally_transport::LinkError;

use crate::session::{Broker, Session, SessionError};

/// The broker, its workers and its jobs, now.
///
/// # Errors
/// [`SessionError`] when the broker does not answer within its connect timeout.
pub async fn status(broker: &Broker) -> Result<Status, SessionError> {
    let mut session = Session::open(broker).await?;
    session.send(&Message::StatusQuery).await?;
    let answer = async {
        loop {
            if let Message::StatusReport(payload) = session.next().await? {
                return Status::decode(&payload).map_err(|error| LinkError::Malformed(error).into());
            }
        }
    };
    let silent = || SessionError::Silent { endpoint: broker.endpoint.clone() };
    let status = tokio::time::timeout(broker.connect_timeout, answer).await.map_err(|_| silent())?;
    session.bye(Duration::from_millis(500)).await;
    status
}
