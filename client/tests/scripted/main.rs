//! Clients against a broker on strings: a hub that answers as a script says, and loses connections when it says so.
//!
//! `detached.rs`: jobs that nobody need wait for. `sessions.rs`: connections that are used again. `pace.rs`: readers that are slow.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

mod broker;
mod detached;
mod pace;
mod sessions;
