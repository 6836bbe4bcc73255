//! Runs and records for tests.

use crate::{FORMAT, Host, Member, Record, Run, Series, Spread, Unit};

/// A record of as many workers as threads, in seconds.
pub(crate) fn record(series: Series, what: &str, threads: u32, samples: &[f64]) -> Record {
    Record {
        series,
        what: what.to_owned(),
        workers: threads,
        threads,
        credit: None,
        bands: None,
        work: None,
        unit: Unit::Seconds,
        samples: samples.to_vec(),
        spread: Spread::of(samples),
    }
}

/// A run on a machine with two cores that had nothing else to do.
pub(crate) fn run(records: Vec<Record>) -> Run {
    Run {
        format: FORMAT,
        program: "fractally 0.1.0".to_owned(),
        engine: "fractally-2".to_owned(),
        command: "fractally bench strong".to_owned(),
        started: "2026-11-21T20:15:00Z".to_owned(),
        host: Host {
            name: "lab".to_owned(),
            system: "Linux 6.1.0".to_owned(),
            processor: "A processor".to_owned(),
            cores: 2,
            memory_bytes: 16 << 30,
            load_before: [0.1, 0.2, 0.3],
            load_after: [1.9, 1.0, 0.5],
        },
        workers: vec![member("w1")],
        records,
    }
}

/// A worker of one thread.
pub(crate) fn member(name: &str) -> Member {
    Member { name: name.to_owned(), kernel: "avx512".to_owned(), threads: 1, engine: "fractally-2".to_owned() }
}

/// What a worker might call itself to become more than a name.
pub(crate) const HOSTILE: [&str; 6] = [
    "</title><script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "=HYPERLINK(\"http://example.org\",\"x\")",
    "'; @import url(//example.org); ]]>&nbsp;",
    "\u{1b}[2J\u{202e}\u{0}",
    "a\r\nb,\"c\"",
];
