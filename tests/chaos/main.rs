//! A render survives everything but its own cancellation: real processes, and faults drawn from a seed.
//!
//! One broker, three workers and a client that renders picture after picture, while processes are killed or stand still, lines are
//! cut, truncated, stalled or slow, and cables are pulled both ways or one way. Every file must be the undisturbed one, byte for
//! byte; nothing may hang; at the end nothing may be left in the broker. Every run tells how long it took from each fault to the
//! client's next strip, and how much was rendered twice.
//!
//! `FRACTALLY_CHAOS_FAULTS=300 cargo test --release --test chaos -- --nocapture` is the full run; a fifth of the faults come on hosts
//! of their own, which need root and iproute2. `FRACTALLY_CHAOS_SEED=n` plays another plan, and the same number always the same
//! one; `random` draws a new number. `plan.rs` says what can happen, `grid.rs` does it, `series.rs` renders, `tally.rs` counts.

#![allow(clippy::unwrap_used, reason = "a test")]
#![expect(clippy::disallowed_methods, reason = "faults come and are measured in real time")]

mod grid;
mod plan;
mod series;
mod tally;

use fractally_testkit::{Lab, seed_of};
use plan::Ground;

/// Faults of an ordinary test run.
const FAULTS: usize = 15;
/// Of whose plan the first faults are of ten kinds, cuts and partitions of every sort among them, and do not last long.
const SEED: u64 = 466;

/// A lab for the program of this build.
fn lab() -> Lab {
    Lab::new(env!("CARGO_BIN_EXE_fractally"))
}

fn faults() -> usize {
    let asked = std::env::var("FRACTALLY_CHAOS_FAULTS").ok();
    asked.map_or(FAULTS, |text| text.parse().expect("FRACTALLY_CHAOS_FAULTS is a number"))
}

#[test]
fn renders_survive_processes_that_die_and_lines_that_fail() {
    series::play(seed_of("FRACTALLY_CHAOS_SEED", SEED), Ground::Proxies, faults() - faults() / 5);
}

#[test]
fn renders_survive_hosts_that_cannot_be_reached() {
    series::play(seed_of("FRACTALLY_CHAOS_SEED", SEED), Ground::Hosts, faults() / 5);
}
