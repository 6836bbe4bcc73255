//! A simulated grid: clients, workers and a network that fails, in virtual time, from a seed.
//!
//! Every schedule has at least three jobs, twenty bands and five faults. While it runs, `check_invariants` holds; once faults stop,
//! every job ends; every client that stays has every strip of its picture exactly once, in order, made by one engine; nobody is spoken
//! to who is gone; at the end nothing is left. `FRACTALLY_SIM_SCHEDULES=n` plays another number of schedules, `FRACTALLY_SIM_SEED=s`
//! plays one.
//!
//! Two of five jobs are detached: what was said to be on disk is there after every restart of the broker. Some clients want the same
//! pictures: they join each other's jobs, withdraw, follow and leave, and no job ends that somebody holds, nor goes on that nobody wants.
//!
//! `plan` says what a seed stands for and `faults` what goes wrong, `journal` is the disk, `world` plays it over the `network`, `client` and `worker` are the
//! peers, `shell` stands between them and the core.

mod client;
mod faults;
mod journal;
mod network;
mod plan;
mod rng;
mod shell;
mod worker;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::sabotage::{Bug, with};

const SCHEDULES: u64 = 10_000;
/// Within so many schedules every deliberate bug is caught.
const BITES_WITHIN: u64 = 100;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}

/// What broke in a schedule, or nothing.
fn play(seed: u64, check_every: u64) -> Result<world::Tally, String> {
    catch_unwind(AssertUnwindSafe(|| world::run(seed, check_every))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
    })
}

#[test]
fn every_job_ends_and_every_strip_arrives_once_whatever_fails() {
    let seeds = match number("FRACTALLY_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("FRACTALLY_SIM_SCHEDULES").unwrap_or(SCHEDULES),
    };
    let mut sum = world::Tally::default();
    for seed in seeds.clone() {
        // Every event of some schedules is checked, and some events of every schedule.
        let check_every = if seed % 50 == 0 || seeds.end - seeds.start == 1 { 1 } else { 64 };
        match play(seed, check_every) {
            Ok(tally) => {
                assert!(tally.jobs >= 3 && tally.faults >= 5, "seed {seed} is too small: {tally:?}");
                sum += tally;
            }
            Err(story) => panic!("seed {seed}: {story}\nreplay with FRACTALLY_SIM_SEED={seed}"),
        }
    }
    println!("{} schedules: {sum:?}", seeds.end - seeds.start);
}

#[test]
fn the_simulation_catches_every_deliberate_bug() {
    let mut missed = Vec::new();
    for &bug in Bug::ALL {
        let caught = (0..BITES_WITHIN).find_map(|seed| with(Some(bug), || play(seed, 8)).err().map(|story| (seed + 1, story)));
        match caught {
            Some((schedules, story)) => {
                let line = story.lines().next().unwrap_or_default();
                println!("{bug:?}: {schedules} schedules: {}", line.get(..150).unwrap_or(line));
            }
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "not caught within {BITES_WITHIN} schedules: {missed:?}");
}
