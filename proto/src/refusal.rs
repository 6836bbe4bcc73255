//! A refusal says which field, which limit, and what to do.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why something was refused, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The value can never be accepted.
    Invalid,
    /// The value is over a limit of this broker.
    Limit,
    /// The idempotency key is taken by another request.
    KeyConflict,
    /// The broker holds as much as it may; later the same request may pass.
    Busy,
    /// The broker accepts nothing new because it is about to stop.
    Closing,
    /// The strips that the client says it holds cannot be continued from.
    CannotResume,
}

/// A request that was not accepted, with the field that caused it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// For programs.
    pub code: RefusalCode,
    /// The field, as named in the request: `size`, `c`, `bailout`, …
    pub field: String,
    /// For people: the value, the limit, and the way out, in one line.
    pub message: String,
}

impl Refusal {
    /// A refusal of `field` with a code and one line for people.
    pub fn new(code: RefusalCode, field: &str, message: impl Into<String>) -> Self {
        Self { code, field: field.to_owned(), message: message.into() }
    }

    pub(crate) fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self::new(RefusalCode::Invalid, field, message)
    }

    pub(crate) fn limit(field: &str, message: impl Into<String>) -> Self {
        Self::new(RefusalCode::Limit, field, message)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

impl std::error::Error for Refusal {}
