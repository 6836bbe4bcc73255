//! Holds JOURNAL.md and the code together: the files that a journal writes are those of the examples, and the examples laid out by
//! hand open.
//!
//! `FRACTALLY_SPEC_PRINT=1 cargo test -p fractally-journal --test spec -- --nocapture` prints the examples anew.

#![allow(missing_docs, clippy::missing_panics_doc, clippy::unwrap_used, reason = "a test")]

use std::{fmt::Write, fs, path::PathBuf};

use fractally_journal::{
    EndRecord, JobRecord, Journal, KeptEnding, Totals,
    index::{Chain, Entry, HEADER_BYTES, Header},
};
use fractally_proto::{Colour, ColourMap, Encoding, JobId, JobKey, Priority, Request, Size, StripMeta, Window};
use tempfile::TempDir;

const SPEC: &str = include_str!("../JOURNAL.md");
const JOB: JobId = JobId(0x0000_0007_0000_0001);
const NAMES: [&str; 5] = ["format", "job", "strips", "index", "end"];

fn record() -> JobRecord {
    let size = Size { w: 3, h: 2 };
    let request = Request {
        c: [-0.4, 0.6],
        center: [0.0, 0.0],
        width: 3.0,
        size,
        window: Window::whole(size),
        iterations: 50,
        bailout: 2.0,
        colour: Colour { map: ColourMap::Inferno, interior: [0, 0, 0] },
        encoding: Encoding::Counts,
    };
    let (key, priority) = (JobKey(*b"0123456789abcdef"), Priority::Batch);
    JobRecord { job: JOB, key, account: "ada".into(), priority, accepted_unix_ms: 1_700_000_000_000, holder: None, request }
}

fn end() -> EndRecord {
    let totals = Totals { iterations: 126, compute_ns: 900, elapsed_ms: 12, bands: 1, attempts: 1, workers: 1 };
    EndRecord { ended_unix_ms: 1_700_000_000_012, ending: KeptEnding::Done, totals }
}

fn strip() -> (StripMeta, Vec<u8>) {
    let bytes: Vec<u8> = [50u32, 11, 2, 2, 11, 50].iter().flat_map(|count| count.to_le_bytes()).collect();
    (StripMeta(24, 0x06fc_007f), bytes)
}

fn path_of(name: &str) -> PathBuf {
    if name == "format" { name.into() } else { PathBuf::from(format!("jobs/{JOB}")).join(name) }
}

fn hex(bytes: &[u8]) -> String {
    let lines: Vec<String> = bytes
        .chunks(48)
        .map(|line| {
            line.iter().fold(String::new(), |mut text, byte| {
                write!(text, "{byte:02x}").unwrap();
                text
            })
        })
        .collect();
    lines.join("\n")
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|char| !char.is_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap()).collect()
}

/// The example of a file in JOURNAL.md.
fn example(name: &str) -> Vec<u8> {
    let block = SPEC.split(&format!("```file {name}\n")).nth(1).unwrap_or_else(|| panic!("{name} has no example"));
    unhex(block.split("```").next().unwrap())
}

#[test]
fn a_record_may_name_a_holder_and_need_not() {
    let held = JobRecord { holder: Some("caller 7".parse().unwrap()), ..record() };
    if std::env::var_os("FRACTALLY_SPEC_PRINT").is_some() {
        return println!("```file job of a holder\n{}\n```\n", hex(&held.encode().unwrap()));
    }
    assert_eq!(held.encode().unwrap(), example("job of a holder"));
    assert_eq!(JobRecord::decode(&example("job of a holder")), Ok(held));
    // As every record was before there were holders.
    assert_eq!(JobRecord::decode(&example("job")).unwrap().holder, None);
}

#[test]
fn a_journal_writes_the_examples() {
    let dir = TempDir::new().unwrap();
    let (mut journal, ..) = Journal::open(dir.path()).unwrap();
    journal.keep(&record()).unwrap();
    let (meta, bytes) = strip();
    journal.append(JOB, "fractally-2", 0, &[meta], &bytes).unwrap();
    assert_eq!(journal.sync()[0].1.as_ref().unwrap().have, 1);
    journal.end(JOB, &end()).unwrap();
    for name in NAMES {
        let written = fs::read(dir.path().join(path_of(name))).unwrap();
        if std::env::var_os("FRACTALLY_SPEC_PRINT").is_some() {
            println!("```file {name}\n{}\n```\n", hex(&written));
        } else {
            assert_eq!(example(name), written, "{name}");
        }
    }
}

#[test]
fn the_examples_laid_out_by_hand_open() {
    let dir = TempDir::new().unwrap();
    fs::create_dir_all(dir.path().join("jobs").join(JOB.to_string())).unwrap();
    for name in NAMES {
        fs::write(dir.path().join(path_of(name)), example(name)).unwrap();
    }
    let (mut journal, recovered, lost) = Journal::open(dir.path()).unwrap();
    let [job] = &recovered[..] else { panic!("{recovered:?} {lost:?}") };
    assert_eq!((&job.record, job.engine.as_deref(), job.have), (&record(), Some("fractally-2"), 1));
    assert_eq!((job.bytes, &job.end, &job.healed), (5 * 4096, &Some(end()), &None));
    let read = journal.read(JOB, 0, 1, 1000).unwrap();
    let (meta, bytes) = strip();
    assert_eq!((read.metas, &read.payload[..]), (vec![meta], &bytes[..]));
}

#[test]
fn the_examples_decode() {
    assert_eq!(JobRecord::decode(&example("job")), Ok(record()));
    assert_eq!(EndRecord::decode(JOB, &example("end")), Ok(end()));
    let index = example("index");
    let header = Header::decode(&index).unwrap();
    assert_eq!(header, Header { job: JOB, engine: "fractally-2".into() });
    let mut chain = Chain::new(record().layout(), index[..HEADER_BYTES].try_into().unwrap());
    let entry = chain.read(index[HEADER_BYTES..].try_into().unwrap(), 24).unwrap();
    assert_eq!(entry, Entry { end: 24, adler32: 0x06fc_007f, crc32: 0xa5e6_8b90 });
}
