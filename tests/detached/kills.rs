//! Brokers that are killed, from a seed.

use fractally_testkit::{Dice, seed_of};

use crate::{series::Series, times};

/// Kills of an ordinary test run.
const KILLS: usize = 12;
const SEED: u64 = 1;

#[test]
fn every_job_whose_id_was_told_survives_brokers_that_are_killed() {
    let (seed, kills) = (seed_of("FRACTALLY_CHAOS_SEED", SEED), times("FRACTALLY_CHAOS_KILLS", KILLS));
    println!("FRACTALLY_CHAOS_SEED={seed} FRACTALLY_CHAOS_KILLS={kills}");
    let mut dice = Dice::new(seed);
    let mut series = Series::start(dice.split());
    for _ in 0..kills {
        let (life, away) = (dice.millis(20..700), dice.millis(0..200));
        // Some die before they are ready: while they look through the directory.
        let early = (0..dice.one_of(&[0, 0, 0, 1, 2])).map(|_| dice.millis(0..40)).collect::<Vec<_>>();
        series.live(life);
        series.kill(away, &early);
    }
    println!("{}", series.settle());
}
