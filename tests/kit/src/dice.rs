//! Chance that can be had again: the same seed throws the same numbers on every machine.

use std::{
    ops::Range,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A series of numbers from a seed (SplitMix64, Steele et al. 2014). Not for secrets.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The series of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number of the range, which must not be empty.
    pub fn pick(&mut self, range: Range<u64>) -> u64 {
        assert!(range.start < range.end, "nothing to pick from {range:?}");
        range.start + self.bits() % (range.end - range.start)
    }

    /// A duration of so many milliseconds.
    pub fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.pick(range))
    }

    /// One of the things, all alike likely.
    pub fn one_of<T: Copy>(&mut self, things: &[T]) -> T {
        let index = self.pick(0..things.len() as u64);
        things[usize::try_from(index).expect("an index of a slice")]
    }

    /// Another series, which this one's later numbers say nothing about.
    pub fn split(&mut self) -> Self {
        Self(self.bits())
    }
}

/// The seed that the variable names (`random`: another one each time), or else `default`.
pub fn seed_of(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Err(_) => default,
        #[expect(clippy::disallowed_methods, reason = "the clock is the seed")]
        Ok(text) if text == "random" => {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Dice::new(since.as_secs() ^ u64::from(since.subsec_nanos())).bits() % 1_000_000
        }
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}={text:?} is neither a number nor `random`")),
    }
}
