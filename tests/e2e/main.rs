//! The whole system, across real processes: what the README promises, as a user would see it.
//!
//! `picture.rs`: same bytes whoever rendered it. `reference.rs`: the counts of another program. `leave.rs`: nothing stays behind.
//! `formats.rs`: other formats than PNG. `input.rs`: bad input is told clearly. `lan.rs`: broker, workers and clients on their own.
//! `drain.rs`: asked to stop, they finish what they have. `detached.rs`: jobs that outlive client and broker. `disk.rs`: the disk under
//! those. `library.rs`: what a server does with the client's library. `peers.rs`: neighbours that break the protocol. `strangers.rs`:
//! neighbours that speak it well and mean it ill. `attacks.rs`: neighbours that mean harm below it. `metrics.rs`: what monitors are told.
//! `bench.rs`: what `fractally bench` measures, and that it measures it.
//! `config.rs`: options from a file. `doctor.rs`: what is told of a machine and a grid. `manual.rs`: completions and man pages.
//! `top.rs`: what people see who watch a grid in a terminal.

#![allow(clippy::unwrap_used, reason = "a test")]

mod attacks;
mod bench;
mod config;
mod detached;
mod disk;
mod doctor;
mod drain;
mod formats;
mod input;
mod lan;
mod leave;
mod library;
mod manual;
mod metrics;
mod peers;
mod picture;
mod reference;
mod request_id;
mod strangers;
mod top;

use fractally_testkit::Lab;

/// A lab for the program of this build.
fn lab() -> Lab {
    Lab::new(env!("CARGO_BIN_EXE_fractally"))
}

/// A render with enough work (some 10^10 iterations, in long bands) that a test can meet it half way: a view that lies whole in the
/// Siegel disk of the golden mean, where points go round for ever, and no kernel can tell without going with them.
const LONG: [&str; 10] = [
    "-c",
    "-0.390540870218399-0.586787907346969i",
    "--center",
    "-0.368684439-0.337745147i",
    "--width",
    "0.2",
    "--size",
    "700x700",
    "--iter",
    "30000",
];
/// [`LONG`] without its iteration limit.
const ENDLESS: [&str; 8] = {
    let [c, c_value, center, center_value, width, width_value, size, size_value, ..] = LONG;
    [c, c_value, center, center_value, width, width_value, size, size_value]
};
