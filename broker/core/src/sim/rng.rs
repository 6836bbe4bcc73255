//! SplitMix64: small, seeded, the same on every host.

use std::{ops::Range, time::Duration};

#[derive(Debug)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `range`, which must not be empty.
    pub(super) fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    pub(super) fn small(&mut self, range: Range<u32>) -> u32 {
        u32::try_from(self.within(u64::from(range.start)..u64::from(range.end))).expect("it lies in the range")
    }

    pub(super) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.within(0..len as u64)).expect("it lies in the range")
    }

    pub(super) fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_micros(self.within(range.start * 1000..range.end * 1000))
    }

    /// True `part` times in `whole`.
    pub(super) fn chance(&mut self, part: u64, whole: u64) -> bool {
        self.next() % whole < part
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }
}
