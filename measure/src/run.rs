//! One run of the benchmarks: where, of what, and each measurement with all of its samples.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The format of a run's JSON that is written and read here.
pub const FORMAT: u32 = 1;
/// Samples of one record that are read.
const SAMPLES_MAX: usize = 1_000_000;
/// A machine is busy whose load of the last minute, for each core, is above this.
const BUSY_LOAD: f64 = 0.25;
/// Records of one run that are read.
pub(crate) const RECORDS_MAX: usize = 100_000;

/// Everything that one run measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// [`FORMAT`].
    pub format: u32,
    /// Program and version that measured.
    pub program: String,
    /// What its workers compute by.
    pub engine: String,
    /// The command line that measured.
    pub command: String,
    /// When it began, RFC 3339 in UTC.
    pub started: String,
    /// The machine on which the client ran.
    pub host: Host,
    /// The workers of a running grid; of a local grid, one for all.
    #[serde(default)]
    pub workers: Vec<Member>,
    /// What was measured, in the order in which it was.
    pub records: Vec<Record>,
}

/// A machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Operating system and release.
    pub system: String,
    /// Processor, as the system calls it.
    pub processor: String,
    /// Cores that may be used.
    pub cores: u32,
    /// Main memory.
    pub memory_bytes: u64,
    /// Load of the last minute, five and fifteen, before the run.
    pub load_before: [f64; 3],
    /// The same after it.
    pub load_after: [f64; 3],
}

/// One worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// What it calls itself.
    pub name: String,
    /// What computes.
    pub kernel: String,
    /// Threads that compute.
    pub threads: u32,
    /// The version of definition, colour, strips and encoder.
    pub engine: String,
}

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Series {
    /// The same picture on more and more workers.
    Strong,
    /// A picture that grows with the workers.
    Weak,
    /// Bands without work.
    Overhead,
    /// Small jobs, on an idle grid and beside a batch job.
    Latency,
    /// Large results.
    Payload,
    /// From a command to its first pixel.
    Start,
}

/// What the samples of a record count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Less is better.
    #[serde(rename = "s")]
    Seconds,
    /// Less is better.
    #[serde(rename = "us/band")]
    MicrosecondsPerBand,
    /// More is better.
    #[serde(rename = "bands/s")]
    BandsPerSecond,
    /// More is better.
    #[serde(rename = "bytes/s")]
    BytesPerSecond,
}

/// One measurement, repeated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What it is about.
    pub series: Series,
    /// What was measured, for people; records of one series with the same text are points of one curve.
    pub what: String,
    /// Workers of the grid.
    pub workers: u32,
    /// Threads of all its workers.
    pub threads: u32,
    /// Bands that each worker took at once, where that was set.
    #[serde(default)]
    pub credit: Option<u32>,
    /// Bands that the picture was cut into, where that was set.
    #[serde(default)]
    pub bands: Option<u32>,
    /// Iterations that the picture asks for, where it is about compute.
    #[serde(default)]
    pub work: Option<u64>,
    /// What the samples count.
    pub unit: Unit,
    /// Every repetition, in the order in which they were made; the ones that warmed up are not there.
    pub samples: Vec<f64>,
    /// What follows from the samples, for readers that do not want to compute it; it is computed again by those who read it here.
    #[serde(flatten)]
    pub spread: Spread,
}

/// The middle and the ends of some samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Half of the samples are at most this: the mean of the two middle ones where their number is even.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

/// Why a run cannot be read.
#[derive(Debug, Error)]
pub enum UnreadableRun {
    /// It is not the JSON of a run.
    #[error("this is not what `fractally bench --json` writes")]
    NotARun(#[from] serde_json::Error),
    /// It is of another time.
    #[error("its format is {0}, and {FORMAT} is read here; use the program that wrote it")]
    Format(u32),
    /// A record without a number, or with too many.
    #[error("record {index} ({what}): {wrong}")]
    Record {
        /// From 0.
        index: usize,
        /// What it says that it is.
        what: String,
        /// What is the matter with it.
        wrong: &'static str,
    },
    /// Too many records.
    #[error("{0} records; at most {RECORDS_MAX} are read")]
    Records(usize),
}

impl Spread {
    /// Of samples that are numbers; of none, zero.
    pub fn of(samples: &[f64]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (Some(&least), Some(&most)) = (sorted.first(), sorted.last()) else { return Self::default() };
        let middle = sorted.len() / 2;
        let median =
            if sorted.len().is_multiple_of(2) { f64::midpoint(sorted[middle - 1], sorted[middle]) } else { sorted[middle] };
        Self { median, least, most }
    }
}

impl Host {
    /// Whether it had other things to do before the run, as far as that is known: its figures are noise then.
    pub fn was_busy(&self) -> bool {
        self.cores > 0 && self.load_before[0] > BUSY_LOAD * f64::from(self.cores)
    }
}

impl Run {
    /// The run that a file holds.
    ///
    /// # Errors
    /// The bytes are not the JSON of a run in [`FORMAT`], or a record has no samples, too many, or ones that are not positive numbers.
    pub fn read(json: &[u8]) -> Result<Self, UnreadableRun> {
        // The format is looked at first: what another one means by the other members is not known.
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let Head { format } = serde_json::from_slice(json)?;
        if format != FORMAT {
            return Err(UnreadableRun::Format(format));
        }
        let mut run: Self = serde_json::from_slice(json)?;
        if run.records.len() > RECORDS_MAX {
            return Err(UnreadableRun::Records(run.records.len()));
        }
        for (index, record) in run.records.iter_mut().enumerate() {
            if let Some(wrong) = record.fault() {
                return Err(UnreadableRun::Record { index, what: record.what.clone(), wrong });
            }
            record.spread = Spread::of(&record.samples);
        }
        Ok(run)
    }

    /// Its JSON, for people to look at as well.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and texts can be written")
    }
}

impl Record {
    fn fault(&self) -> Option<&'static str> {
        if self.samples.is_empty() || self.samples.len() > SAMPLES_MAX {
            Some("it has no samples, or more than a million")
        } else if self.samples.iter().any(|sample| !sample.is_finite() || *sample <= 0.0) {
            Some("a sample is not a positive number")
        } else if self.threads == 0 || self.workers == 0 {
            Some("it names no workers or no threads")
        } else {
            None
        }
    }
}

impl Unit {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::MicrosecondsPerBand => "us/band",
            Self::BandsPerSecond => "bands/s",
            Self::BytesPerSecond => "bytes/s",
        }
    }
}

impl Series {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 6] = [Self::Strong, Self::Weak, Self::Overhead, Self::Latency, Self::Payload, Self::Start];

    /// As it is written and asked for.
    pub fn name(self) -> &'static str {
        match self {
            Self::Strong => "strong",
            Self::Weak => "weak",
            Self::Overhead => "overhead",
            Self::Latency => "latency",
            Self::Payload => "payload",
            Self::Start => "start",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_with(samples: &[f64]) -> Run {
        let record = Record {
            series: Series::Strong,
            what: "a picture".to_owned(),
            workers: 1,
            threads: 1,
            credit: None,
            bands: None,
            work: Some(1),
            unit: Unit::Seconds,
            samples: samples.to_vec(),
            spread: Spread::of(samples),
        };
        let text = String::new;
        let host = Host::default();
        let (program, engine, command, started) = (text(), text(), text(), text());
        Run { format: FORMAT, program, engine, command, started, host, workers: Vec::new(), records: vec![record] }
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        assert_eq!(Spread::of(&[4.0, 1.0, 3.0, 2.0]), Spread { median: 2.5, least: 1.0, most: 4.0 });
        assert_eq!(Spread::of(&[5.0]), Spread { median: 5.0, least: 5.0, most: 5.0 });
    }

    #[test]
    fn what_is_written_is_read_again_and_its_spread_is_not_believed() {
        let run = run_with(&[2.0, 1.0]);
        assert_eq!(Run::read(run.to_json().as_bytes()).unwrap(), run);
        let mut lie = run.clone();
        lie.records[0].spread.median = 0.001;
        assert_eq!(Run::read(lie.to_json().as_bytes()).unwrap(), run);
    }

    #[test]
    fn what_cannot_be_a_run_is_refused_with_what_is_the_matter() {
        let refusal = |json: &str| Run::read(json.as_bytes()).unwrap_err().to_string();
        assert!(refusal("{}").contains("fractally bench"));
        assert!(refusal(r#"{"format": 2}"#).contains("format is 2"));
        for samples in [&[][..], &[0.0], &[-1.0]] {
            assert!(refusal(&run_with(samples).to_json()).starts_with("record 0 (a picture): "), "{samples:?}");
        }
    }
}
