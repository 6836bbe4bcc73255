//! What is promised of detached jobs is kept: by brokers that are killed at any moment, and by state directories that were damaged.
//!
//! `kills.rs`: one broker after another dies, while clients submit, follow and cancel; every job whose id was told comes out byte for
//! byte, or is cancelled as asked. `FRACTALLY_CHAOS_KILLS=200 cargo test --release --test detached kill -- --nocapture` is a longer
//! series, and tells how it went. `damage.rs`: bits are flipped and files cut, put away and lengthened; `FRACTALLY_CHAOS_DAMAGES=1000` does
//! so as often. `FRACTALLY_CHAOS_SEED=n` draws others of both, and the same number always the same ones; what they meet depends on time.

#![allow(clippy::unwrap_used, reason = "a test")]
#![expect(clippy::disallowed_methods, reason = "kills come and are measured in real time")]

mod damage;
mod kills;
mod series;
mod tally;

use fractally_testkit::Lab;

/// A lab for the program of this build.
fn lab() -> Lab {
    Lab::new(env!("CARGO_BIN_EXE_fractally"))
}

/// How often, as `variable` says or as it is usual.
fn times(variable: &str, usual: usize) -> usize {
    std::env::var(variable).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text:?} is no number")))
}
