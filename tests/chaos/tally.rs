//! What the faults cost: how long until the next strip, and how much work was done twice.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use crate::plan::{Fault, Render};

/// A fault that met a render, and when the client's next strip came.
pub(crate) struct Met {
    pub(crate) fault: Fault,
    pub(crate) at: Instant,
    pub(crate) next: Option<Instant>,
}

/// Sums over a series.
#[derive(Default)]
pub(crate) struct Tally {
    renders: usize,
    planned: usize,
    late: usize,
    seconds: f64,
    /// By the fault's kind: from the fault to the next strip, and what of it came after the fault's own end.
    recoveries: BTreeMap<String, Vec<[Duration; 2]>>,
    /// Of each render, the longest time without a strip.
    waits: Vec<Duration>,
    bands: u64,
    attempts: u64,
}

impl Tally {
    /// A finished render; `late` of its faults found it over.
    pub(crate) fn add(&mut self, render: &Render, met: Vec<Met>, late: usize, elapsed: Duration, wait: Duration) {
        self.renders += 1;
        self.waits.push(wait);
        self.planned += render.strikes.len();
        self.late += late;
        self.seconds += elapsed.as_secs_f64();
        for met in met {
            match met.next {
                Some(next) => {
                    let until = next - met.at;
                    println!("    {:?}: next strip after {until:.3?}", met.fault);
                    let beyond = until.saturating_sub(met.fault.time());
                    self.recoveries.entry(met.fault.kind()).or_default().push([until, beyond]);
                }
                // The last strip was there already.
                None => self.late += 1,
            }
        }
    }

    /// Of a job that one broker saw from beginning to end. `usual` attempts beyond its bands come without any fault.
    pub(crate) fn add_attempts(&mut self, bands: u64, attempts: u64, usual: u64) {
        self.bands += bands;
        self.attempts += attempts.saturating_sub(usual);
    }

    /// Faults after which more strips came.
    pub(crate) fn met(&self) -> usize {
        self.recoveries.values().map(Vec::len).sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (renders, seconds) = (self.renders, self.seconds);
        writeln!(f, "{renders} renders in {seconds:.0} s, {} faults, {} of them after the last strip", self.planned, self.late)?;
        let all = self.recoveries.values().flatten().copied().collect();
        for (kind, times) in self.recoveries.iter().map(|(kind, times)| (kind.as_str(), times.clone())).chain([("all", all)]) {
            let [until, beyond] = [0, 1].map(|which| Spread::of(times.iter().map(|pair| pair[which]).collect()));
            writeln!(f, "{kind:16} {:4} times: next strip after {until}; beyond the fault's own time {beyond}", times.len())?;
        }
        writeln!(f, "longest wait of each render: {}", Spread::of(self.waits.clone()))?;
        let extra = 100.0 * (self.attempts.saturating_sub(self.bands)) as f64 / self.bands.max(1) as f64;
        write!(f, "{} attempts at {} bands of jobs whose broker lived: {extra:.1} % extra", self.attempts, self.bands)
    }
}

struct Spread(Vec<Duration>);

impl Spread {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        Self(times)
    }

    /// The least time that this share of all does not exceed.
    fn quantile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).map_or(0.0, Duration::as_secs_f64)
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, p99, most] = [50, 99, 100].map(|percent| self.quantile(percent));
        write!(f, "p50 {median:.3} s, p99 {p99:.3} s, most {most:.3} s")
    }
}

#[test]
fn quantiles_are_those_of_the_sorted_times() {
    let spread = Spread::of((1..=200).rev().map(Duration::from_secs).collect());
    assert_eq!([50, 99, 100].map(|percent| spread.quantile(percent)), [100.0, 198.0, 200.0]);
    assert_eq!(Spread::of(Vec::new()).quantile(50), 0.0);
}
