//! The whole system, across real processes: what the README promises, as a user would see it.
//!
//! `picture.rs`: same bytes whoever rendered it. `reference.rs`: the counts of another program. `leave.rs`: nothing stays behind.
//! `input.rs`: bad input is told clearly. `lan.rs`: broker, workers and clients on their own. `peers.rs`: hostile neighbours.

#![allow(clippy::unwrap_used, reason = "a test")]

mod input;
mod lan;
mod leave;
mod peers;
mod picture;
mod reference;

use fractally_testkit::Lab;

/// A lab for the program of this build.
fn lab() -> Lab {
    Lab::new(env!("CARGO_BIN_EXE_fractally"))
}

/// A render with enough work (some 10^9 to 10^10 iterations, in long bands) that a test can meet it half way.
const LONG: [&str; 8] = ["-c", "-0.123+0.745i", "--width", "3.2", "--size", "700x700", "--iter", "60000"];
