//! How long to wait before the next try to connect.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
const MAX: Duration = Duration::from_secs(5);

/// Doubling delays from 50 ms to 5 s, each shortened by up to a half so that peers of one broker do not return as one.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
    state: u64,
}

impl Backoff {
    /// A fresh series. `seed` spreads peers out; the same seed gives the same delays.
    pub fn new(seed: u64) -> Self {
        Self { next: FIRST, state: seed }
    }

    /// The next delay.
    pub fn delay(&mut self) -> Duration {
        let full = self.next;
        self.next = (full * 2).min(MAX);
        // SplitMix64, for a fraction in 256ths.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let share = u32::from((mixed >> 56) as u8);
        full - full * share / 512
    }

    /// After a connection that worked, the next series starts small again.
    pub fn reset(&mut self) {
        self.next = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_bound_and_differ_between_seeds() {
        let delays = |seed| {
            let mut backoff = Backoff::new(seed);
            (0..12).map(|_| backoff.delay()).collect::<Vec<_>>()
        };
        for (i, delay) in delays(7).into_iter().enumerate() {
            let full = (FIRST * (1 << i)).min(MAX);
            assert!(delay <= full && delay >= full / 2, "{i}: {delay:?}");
        }
        assert_ne!(delays(7), delays(8));
        assert_eq!(delays(7), delays(7));
    }
}
