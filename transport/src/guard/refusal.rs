//! Why the guard ends a connection.

use std::{
    io,
    mem::{Discriminant, discriminant},
    time::Duration,
};

use bytes::Bytes;
use fractally_proto::{ErrorCode, ErrorReport, Message};
use thiserror::Error;

use super::{Violation, census::Full, zmtp};

/// Why a connection was ended, or could not be taken.
#[derive(Debug, Error)]
pub(super) enum Refusal {
    /// The peer said what nobody may.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// Too many are there.
    #[error(transparent)]
    Full(#[from] Full),
    /// The oldest newcomer had to go.
    #[error("{0} connections have said nothing yet; one of the oldest ends for each that comes")]
    Crowd(usize),
    /// No READY came.
    #[error("no READY within {:.1} s", .0.as_secs_f64())]
    NoReady(Duration),
    /// No first message came.
    #[error("no first message within {:.1} s", .0.as_secs_f64())]
    NoFirstMessage(Duration),
    /// A message that was begun did not go on.
    #[error("half a message, and no more of it within {:.1} s", .0.as_secs_f64())]
    HalfMessage(Duration),
    /// A large message comes too slowly while others wait for its room.
    #[error("a large message comes slowly, and others wait for its room")]
    Slow,
    /// The peer does not read.
    #[error("it did not take what waited for it within {:.1} s", .0.as_secs_f64())]
    NotReading(Duration),
    /// No descriptors or no memory are left for another connection.
    #[error("no connection can be accepted: {0}")]
    Exhausted(io::Error),
    /// The ROUTER does not answer.
    #[error("no connection to the ROUTER: {0}")]
    Router(io::Error),
}

/// Refusals of one kind share a line in the log now and then.
pub(super) type Kind = (Discriminant<Refusal>, Option<Discriminant<Violation>>);

impl Refusal {
    pub(super) fn kind(&self) -> Kind {
        let violation = if let Self::Violation(violation) = self { Some(discriminant(violation)) } else { None };
        (discriminant(self), violation)
    }

    /// The message that tells the peer, for a connection whose handshake is over.
    pub(super) fn message(&self) -> Vec<u8> {
        let code = if matches!(self, Self::Full(_)) { ErrorCode::Full } else { ErrorCode::Malformed };
        let frames: Vec<Bytes> = Message::Error(ErrorReport { code, message: self.to_string() }).encode();
        zmtp::message(&frames)
    }
}
