//! What a series of kills came to.

use std::{fmt, time::Duration};

/// Counts of one series.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) seconds: f64,
    /// Kills of brokers that were ready, and of those that were not yet.
    pub(crate) kills: u64,
    pub(crate) early_kills: u64,
    pub(crate) jobs: u64,
    /// Jobs that were submitted again under their key, and ids that were told twice.
    pub(crate) keyed: u64,
    pub(crate) done: u64,
    pub(crate) cached: u64,
    pub(crate) cancelled: u64,
    /// Clients that were told to cancel a job that was done.
    pub(crate) too_late: u64,
    /// Followers that came to the end, and connections that they lost on the way.
    pub(crate) followers: u64,
    pub(crate) reconnects: u64,
    /// Clients that met a broker's death before it said a word, and were started again.
    pub(crate) tried_again: u64,
    /// Jobs that were not over at a kill, one count for each kill, and those of them with strips on disk.
    pub(crate) carried: u64,
    pub(crate) carried_strips: u64,
    /// From the start of a broker to its `ready`.
    pub(crate) ready: Vec<Duration>,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seconds, kills, early_kills, jobs, keyed, done, cached, cancelled, too_late, .. } = self;
        let Self { followers, reconnects, tried_again, carried, carried_strips, .. } = self;
        let mut ready: Vec<_> = self.ready.iter().map(Duration::as_secs_f64).collect();
        ready.sort_by(f64::total_cmp);
        let quantile = |percent: usize| ready.get((ready.len() * percent).div_ceil(100).max(1) - 1).copied().unwrap_or_default();
        writeln!(f, "{kills} brokers killed in {seconds:.0} s, and {early_kills} before they were ready")?;
        writeln!(
            f,
            "{jobs} jobs: {done} done, {cached} were there already, {cancelled} cancelled, {too_late} done before; {keyed} submitted twice"
        )?;
        writeln!(f, "{carried} jobs carried over a kill, {carried_strips} of them with rows on disk")?;
        writeln!(f, "{followers} followers, {reconnects} connections lost; {tried_again} clients started again")?;
        let [median, p99, most] = [50, 99, 100].map(quantile);
        write!(f, "start to ready, {} times: p50 {median:.3} s, p99 {p99:.3} s, most {most:.3} s", ready.len())
    }
}
