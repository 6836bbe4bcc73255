//! Which refusals are worth a line in the log: an attack must not fill a disk. Pure: time is an argument.

use std::{collections::HashMap, hash::Hash, time::Duration};

/// The least time between two lines of one kind.
const QUIET: Duration = Duration::from_secs(10);

/// When each kind of refusal was last written down. There are only a few kinds.
#[derive(Debug)]
pub(super) struct Complaints<K> {
    kinds: HashMap<K, Kind>,
}

#[derive(Debug)]
struct Kind {
    said_at: Duration,
    unsaid: u64,
}

impl<K: Eq + Hash> Complaints<K> {
    pub(super) fn new() -> Self {
        Self { kinds: HashMap::new() }
    }

    /// Whether a refusal is to be written down, and then how many of its kind were not since the last that was.
    pub(super) fn on_refusal(&mut self, now: Duration, kind: K) -> Option<u64> {
        match self.kinds.get_mut(&kind) {
            None => {
                self.kinds.insert(kind, Kind { said_at: now, unsaid: 0 });
                Some(0)
            }
            Some(known) if now.saturating_sub(known.said_at) >= QUIET => {
                known.said_at = now;
                Some(std::mem::take(&mut known.unsaid))
            }
            Some(known) => {
                known.unsaid += 1;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_kind_is_one_line_in_ten_seconds_and_hides_no_other_kind() {
        let mut complaints = Complaints::new();
        let lines = (0..30_000).filter_map(|ms| complaints.on_refusal(Duration::from_millis(ms), "flood"));
        assert_eq!(lines.collect::<Vec<_>>(), [0, 9999, 9999]);
        assert_eq!(complaints.on_refusal(Duration::from_secs(30), "other"), Some(0));
    }
}
