//! What a run has shown, as a row of a table and as JSON.

use std::fmt;

use serde::Serialize;

/// Figures of one job. Times in seconds count from SUBMIT.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// The scenario's name.
    pub name: String,
    /// The scene's.
    pub scene: String,
    /// Workers.
    pub workers: u32,
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
    /// From SUBMIT to DONE, at the client.
    pub makespan_s: f64,
    /// What the same work takes when all speed that there was is used until the end.
    pub ideal_s: f64,
    /// Work that reached the file, over all that the workers could have done until the end. A dead or frozen worker can do none.
    pub efficiency: f64,
    /// From the first worker that gets nothing more to do, to the end.
    pub tail_s: f64,
    /// When the client had the first strip.
    pub first_pixel_s: f64,
    /// Bands of the file.
    pub bands: u64,
    /// Tries at them.
    pub attempts: u64,
    /// Tries beyond one a band, over bands.
    pub extra_attempts: f64,
    /// Compute that did not reach the file, over that which did; what probes took is part of it.
    pub extra_work: f64,
    /// Share of the time in which the broker was busy.
    pub broker_load: f64,
    /// Most bytes that waited at the broker to be acknowledged, MiB.
    pub held_mib_max: f64,
    /// Most bytes that waited or were reserved for leases, MiB.
    pub reserved_mib_max: f64,
    /// Messages that the broker received.
    pub messages: u64,
    /// The seed.
    pub seed: u64,
}

impl Report {
    /// The heads of the columns that [`Self`] displays.
    pub const HEAD: &str = concat!(
        "scenario                                workers  makespan   efficiency    tail   extra work  attempts/bands    ",
        "broker   held  reserved  first pixel"
    );
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = format!("{} ({})", self.name, self.scene);
        write!(
            f,
            "{name:<39} {:>7} {:>8.3} s {:>10.1} % {:>6.2} s {:>10.2} % {:>7}/{:<7} {:>8.2} % {:>4.0} M {:>6.0} M {:>10.3} s",
            self.workers,
            self.makespan_s,
            100.0 * self.efficiency,
            self.tail_s,
            100.0 * self.extra_work,
            self.attempts,
            self.bands,
            100.0 * self.broker_load,
            self.held_mib_max,
            self.reserved_mib_max,
            self.first_pixel_s,
        )
    }
}
