//! What the whole-system tests and benchmarks share: real processes that are gone when their test is, and waiting for
//! conditions with a deadline instead of for seconds.
//!
//! Everything here panics with what it saw when the system under test does not do what it should.

#![allow(clippy::missing_panics_doc, reason = "a test kit tells its failures by panicking")]
#![expect(clippy::disallowed_methods, reason = "deadlines of tests are real time")]

mod detached;
mod dice;
mod gateway;
mod grid;
mod mount;
mod netns;
mod pictures;
mod process;
mod proxy;
mod puppet;
mod raw;
mod reference;

use std::{
    thread,
    time::{Duration, Instant},
};

pub use dice::{Dice, seed_of};
pub use gateway::{Answer, Gateway};
pub use grid::{Broker, Worker, lasting_ports};
pub use mount::Mount;
pub use netns::Lan;
pub use pictures::{one_pixel, rows_as_strips};
pub use process::{Lab, Process, Run, allow_open_files};
pub use proxy::{Cut, Proxy, Way};
pub use puppet::{Puppet, puppet_submit, puppet_worker};
pub use raw::{Raw, Said};
pub use reference::{Reference, read_npy};

/// How long a condition may take to come true. Generous: a slow machine must not fail a test.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Asks again and again until there is an answer.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
