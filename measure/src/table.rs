//! A run as a table for terminals of 80 columns or more.

use crate::{
    Run, Series,
    facts::{busy, facts},
    group::{Group, Sheet, groups},
    text::{harmless, wrap},
};

const COLUMNS: usize = 80;
/// Where the texts of the head begin.
const FACTS_AT: usize = 11;
const BETWEEN: &str = "  ";

/// What a run found, for people: where and with what, then every series with its medians and what they were at least and at most.
/// Texts of others are shown without what a terminal might take for an order.
pub fn table(run: &Run) -> String {
    let mut told = Told::default();
    told.wrapped("", &format!("Benchmark of {}", run.program));
    for (name, text) in facts(run).into_iter().filter(|(name, _)| *name != "program") {
        told.wrapped(&format!("  {name:width$}", width = FACTS_AT - 2), &text);
    }
    if let Some(warning) = busy(run) {
        told.line("");
        told.wrapped("Warning: ", &warning);
    }
    let groups = groups(&run.records);
    if groups.is_empty() {
        told.line("");
        told.line("Nothing was measured.");
    }
    for of_series in groups.chunk_by(|a, b| a.series == b.series) {
        told.line("");
        told.line(title(of_series[0].series));
        for (index, group) in of_series.iter().enumerate() {
            if index > 0 {
                told.line("");
            }
            told.group(group);
        }
    }
    told.text
}

/// What a series is, as a heading.
pub(crate) fn title(series: Series) -> &'static str {
    match series {
        Series::Strong => "Strong scaling: the same picture on more and more threads",
        Series::Weak => "Weak scaling: a picture that grows with the threads",
        Series::Overhead => "Overhead: bands without work",
        Series::Latency => "Latency: small jobs",
        Series::Payload => "Payload: large results",
        Series::Start => "Start: from a command to a picture",
    }
}

#[derive(Default)]
struct Told {
    text: String,
}

impl Told {
    fn line(&mut self, line: &str) {
        self.text.push_str(harmless(line).trim_end());
        self.text.push('\n');
    }

    /// A text behind a word, and under its own beginning where it needs more lines.
    fn wrapped(&mut self, word: &str, text: &str) {
        let indent = word.chars().count();
        for (index, line) in wrap(text, COLUMNS - indent).iter().enumerate() {
            self.line(&if index == 0 { format!("{word}{line}") } else { format!("{:indent$}{line}", "") });
        }
    }

    fn group(&mut self, group: &Group) {
        let Sheet { notes, heads, rows } = group.sheet();
        self.wrapped("  ", &group.what);
        self.wrapped("  ", &notes);
        let width = |column: usize| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.chain([heads[column].len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..heads.len()).map(width).collect();
        let mut aligned = |cells: &mut dyn Iterator<Item = &str>| {
            let cells = cells.zip(&widths).map(|(cell, width)| format!("{BETWEEN}{cell:>width$}"));
            self.line(&format!("  {}", cells.collect::<String>()));
        };
        aligned(&mut heads.iter().copied());
        rows.iter().for_each(|row| aligned(&mut row.iter().map(String::as_str)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Record, Unit,
        fixture::{HOSTILE, member, record, run},
    };

    #[test]
    fn a_run_is_told_in_aligned_columns_with_what_it_was_measured_with() {
        let with = |threads, samples: &[f64]| Record {
            work: Some(93_000_000),
            bands: Some(64),
            ..record(Series::Strong, "the talk's scene, png", threads, samples)
        };
        let run = run(vec![with(1, &[0.0805, 0.08, 0.081]), with(2, &[0.0415, 0.041, 0.0425])]);
        let expected = "\
Benchmark of fractally 0.1.0
  began    2026-11-21 20:15:00 UTC
  command  fractally bench strong
  engine   fractally-2
  machine  lab, A processor, 2 cores, 16.0 GiB
  system   Linux 6.1.0
  load     0.10 0.20 0.30 before, 1.90 1.00 0.50 after
  workers  up to 2, each of 1 thread: avx512

Strong scaling: the same picture on more and more threads
  the talk's scene, png
  median of 3 samples; 64 bands; 93.0 M iterations
    threads   median    least     most  speed-up  efficiency
          1  80.5 ms  80.0 ms  81.0 ms     1.00×       100 %
          2  41.5 ms  41.0 ms  42.5 ms     1.94×      97.0 %
";
        assert_eq!(table(&run), expected);
    }

    #[test]
    fn a_busy_machine_is_told_before_the_figures() {
        let mut run = run(vec![record(Series::Start, "a picture", 2, &[0.1])]);
        assert!(!table(&run).contains("Warning"));
        run.host.load_before[0] = 4.98;
        let told = table(&run);
        assert!(told.find("Warning: The machine was busy").unwrap() < told.find("Start: ").unwrap(), "{told}");
    }

    #[test]
    fn lines_fit_eighty_columns_whatever_was_measured() {
        let many = Record {
            threads: 1024,
            work: Some(u64::MAX),
            credit: Some(u32::MAX),
            bands: Some(1_000_000),
            ..record(Series::Weak, &"a long name of a picture ".repeat(9), 64, &[0.999])
        };
        let other = Record { threads: 1, workers: 1, work: Some(1), samples: vec![0.1, 0.9], ..many.clone() };
        let rate = |unit, value: f64| Record { unit, ..record(Series::Payload, "bytes", 8, &[value, value * 2.0]) };
        let records = vec![many, other, rate(Unit::BytesPerSecond, 123_456_789.0), rate(Unit::BandsPerSecond, 123_456.0)];
        let mut run = run(records);
        run.command = format!("fractally bench {}", "x".repeat(300));
        let told = table(&run);
        assert!(told.lines().all(|line| line.chars().count() <= COLUMNS), "{told}");
    }

    #[test]
    fn texts_of_others_cannot_order_a_terminal_about() {
        let mut run = run(HOSTILE.map(|what| record(Series::Latency, what, 1, &[1.0])).to_vec());
        run.workers = HOSTILE.map(member).to_vec();
        run.workers[4].kernel = HOSTILE[4].to_owned();
        run.host.name = HOSTILE[4].to_owned();
        let told = table(&run);
        assert!(!told.contains(['\u{1b}', '\u{202e}', '\u{0}', '\r']), "{told:?}");
    }

    #[test]
    fn a_run_without_records_says_so() {
        assert!(table(&run(Vec::new())).ends_with("\nNothing was measured.\n"));
    }
}
