//! A run as comma-separated values, RFC 4180: one line a sample, for spreadsheets and data frames.

use serde::Serialize;

use crate::{Run, text::harmless};

/// The first line, and what stands in the others.
const HEADS: [&str; 10] = ["series", "what", "workers", "threads", "credit", "bands", "work", "unit", "repetition", "value"];

/// Letters that make a spreadsheet take a text for a formula where they stand first, the full-width ones included.
const FORMULA: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];

#[derive(Serialize)]
struct Line<'a> {
    series: &'static str,
    what: &'a str,
    workers: u32,
    threads: u32,
    credit: Option<u32>,
    bands: Option<u32>,
    work: Option<u64>,
    unit: &'static str,
    /// From 1 on, within a record.
    repetition: usize,
    value: f64,
}

/// Every sample of a run on a line of its own, in the order in which they were taken; what is not known is empty. A text that a
/// spreadsheet would take for a formula has an apostrophe before it, and controls are replaced.
pub fn csv(run: &Run) -> String {
    let mut writer = csv::WriterBuilder::new().has_headers(false).terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    writer.write_record(HEADS).expect("memory takes what is written");
    for record in &run.records {
        let what = no_formula(&record.what);
        for (index, &value) in record.samples.iter().enumerate() {
            let line = Line {
                series: record.series.name(),
                what: &what,
                workers: record.workers,
                threads: record.threads,
                credit: record.credit,
                bands: record.bands,
                work: record.work,
                unit: record.unit.name(),
                repetition: index + 1,
                value,
            };
            writer.serialize(line).expect("every line has the same members");
        }
    }
    let bytes = writer.into_inner().expect("memory takes what is written");
    String::from_utf8(bytes).expect("texts and numbers were written")
}

fn no_formula(text: &str) -> String {
    let text = harmless(text);
    let is_formula = text.trim_start().starts_with(FORMULA);
    if is_formula { format!("'{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Record, Series, Unit,
        fixture::{HOSTILE, record, run},
    };

    fn parsed(text: &str) -> Vec<Vec<String>> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
        reader.records().map(|line| line.unwrap().iter().map(str::to_owned).collect()).collect()
    }

    #[test]
    fn every_sample_comes_back_as_it_was() {
        let samples = [0.1, 1.0 / 3.0, 1e-9, 123_456_789.123, f64::MIN_POSITIVE];
        let first = Record {
            credit: Some(2),
            bands: Some(64),
            work: Some(u64::MAX),
            unit: Unit::BandsPerSecond,
            ..record(Series::Overhead, "bands, \"no-op\"", 2, &samples)
        };
        let lines = parsed(&csv(&run(vec![first, record(Series::Start, "a picture", 1, &[2.0])])));
        assert_eq!(lines[0], HEADS);
        assert_eq!(lines[1], ["overhead", "bands, \"no-op\"", "2", "2", "2", "64", &u64::MAX.to_string(), "bands/s", "1", "0.1"]);
        let values: Vec<f64> = lines[1..6].iter().map(|line| line[9].parse().unwrap()).collect();
        assert_eq!(values, samples);
        assert_eq!(lines[6], ["start", "a picture", "1", "1", "", "", "", "s", "1", "2.0"]);
    }

    #[test]
    fn lines_end_as_the_standard_says_and_a_run_without_records_has_its_heads() {
        assert_eq!(csv(&run(Vec::new())), "series,what,workers,threads,credit,bands,work,unit,repetition,value\r\n");
    }

    #[test]
    fn no_text_is_a_formula_and_none_breaks_a_line() {
        let texts = ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "＝1", "\t=1", "\r\n=1"];
        let run = run(texts.iter().chain(&HOSTILE).map(|what| record(Series::Latency, what, 1, &[1.0])).collect());
        let lines = parsed(&csv(&run));
        assert_eq!(lines.len(), 1 + texts.len() + HOSTILE.len());
        assert!(
            lines.iter().flatten().all(|cell| !cell.trim_start().starts_with(FORMULA) && !cell.contains(char::is_control)),
            "{lines:?}"
        );
        assert_eq!(lines[1][1], "'=1+1");
    }
}
