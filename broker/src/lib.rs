//! The broker's shell: sockets, timers and payloads round the state machine of `broker/core`.
//!
//! It does I/O and nothing else: no pixel is computed here, and no decision is taken. Messages become events of the core, the
//! core's effects become messages, and the bytes of tiles wait here under the numbers by which the core knows them.
//!
//! Read next: `shell.rs` for the loop, `words.rs` for which peer may say what, `keeper.rs` for the journal's thread, `metrics.rs` for what is counted, `broker/core` for everything that matters.

mod keeper;
mod log;
mod metrics;
mod payloads;
mod shell;
mod words;

pub use fractally_broker_core::{Config, JournalBounds, WEIGHT_MAX};
pub use fractally_journal::{Look, OpenError};
pub use metrics::Metrics;
pub use shell::{Broker, Guards, State};
