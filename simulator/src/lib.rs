//! The broker's scheduler in virtual time: what a grid of 1 to 10,000 workers does with a picture, in seconds of a laptop.
//!
//! The real state machine, [`fractally_broker_core::Core`], decides, through its public interface. Everything round it is a model:
//! workers whose speed is given or changes, a network that takes time, a broker that handles one message after another, a client
//! that acknowledges. What rows cost is measured: the iterations of real scenes, row by row. One seed gives one run, to the bit.
//!
//! It answers "how long, how even, how much in vain" before anybody owns the machines. It is not a test of the protocol (the core's
//! own simulation plays deaths and lies for that) and knows nothing of the load on a host's memory and caches.
//!
//! ```
//! use fractally_simulator::{Scenario, run};
//!
//! let report = run(&Scenario { workers: 2, seconds: Some(1.0), ..Scenario::default() })?;
//! assert!(report.efficiency > 0.9);
//! # Ok::<(), fractally_simulator::Error>(())
//! ```
//!
//! Read next: [`Scenario`] (what is simulated), [`Report`] (what comes of it), [`Scene`] (what rows cost), then `world` (time and the
//! network), `broker`, `worker` and `client` (the four parties).

mod broker;
mod client;
mod cost;
#[cfg(test)]
mod laws;
mod report;
mod rng;
mod scenario;
mod scene;
mod table;
mod worker;
mod world;

pub use cost::Host;
pub use report::Report;
pub use scenario::{Change, Event, Scenario};
pub use scene::{Profile, Scene, UnknownScene};
pub use table::{Row, failures, grids, slow_worker_of_eight};
use thiserror::Error;

/// Why a simulation has no result.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// The scenario itself cannot be.
    #[error("{0}")]
    Scenario(String),
    /// The broker did not accept the picture.
    #[error("the broker refused the picture: {0}")]
    Refused(String),
    /// The job failed.
    #[error("the job failed after {seconds} s: {reason}")]
    Failed {
        /// Virtual seconds since it was submitted.
        seconds: u64,
        /// What the client was told.
        reason: String,
    },
    /// Rows came twice, not at all, or out of order.
    #[error("{0}")]
    RowsLost(String),
    /// It did not end.
    #[error("nothing ended within {seconds} virtual seconds: {strips} of {strips_all} strips arrived")]
    Stalled {
        /// Virtual seconds since it was submitted.
        seconds: u64,
        /// Strips that the client has.
        strips: u32,
        /// Strips of the picture.
        strips_all: u32,
    },
}

/// Simulates one scenario. The same scenario gives the same report.
///
/// # Errors
/// See [`enum@Error`]; a scenario that can be, with at least one worker that works on, always has a report.
pub fn run(scenario: &Scenario) -> Result<Report, Error> {
    scenario.check()?;
    world::World::new(scenario)?.run()
}

/// The whole part, and the nearest end of the range for what lies outside it.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the conversion saturates, which is what is wanted")]
fn whole(x: f64) -> u64 {
    x as u64
}

/// Seconds in virtual nanoseconds.
fn ns(seconds: f64) -> u64 {
    whole(seconds * 1e9)
}
