//! What must hold for whatever bytes a peer sends, and for whatever it asks for. Shared by `mutations.rs`, which tries it in every
//! `cargo test`, and by the targets of `fuzz/`, which look for bytes that break it. Every check panics where a law does not hold.
//!
//! What a message must be is not said here; `spec.rs` holds that.

mod message;
mod request;

pub(crate) use message::{check_message, message_inputs};
pub(crate) use request::{check_request, request_inputs};
