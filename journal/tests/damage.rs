//! Files cut and flipped in every place: a start never fails for one job's sake, every job comes back right up to where it is whole or
//! is reported, and nothing wrong is ever read as right.
//!
//! `FRACTALLY_SEED` replays one seed of the random ones.

#![allow(missing_docs, clippy::missing_panics_doc, clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test")]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
};

use common::{Rng, Seed, end, read_all, record, store};
use fractally_journal::{Journal, KeptEnding, OpenError};
use fractally_proto::JobId;
use tempfile::TempDir;

const JOB: u64 = 0x0000_0007_0000_0001;
const FILES: [&str; 4] = ["job", "strips", "index", "end"];

/// A state directory with one job that is done, and its files.
struct Sample {
    strips: u32,
    bytes_max: usize,
    files: Vec<(PathBuf, Vec<u8>)>,
    scratch: TempDir,
}

/// What became of the job.
#[derive(Debug, PartialEq)]
enum Fate {
    Refused,
    Lost,
    /// All is there.
    Whole,
    /// Fewer strips, no end, and it was said so.
    Healed,
    /// A strip is damaged, and it was said so.
    Damaged,
}

impl Sample {
    fn new(strips: u32, bytes_max: usize) -> Self {
        // In memory where there is such a place: ten thousand starts sync much.
        let memory = Path::new("/dev/shm");
        let scratch = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap();
        let (mut journal, ..) = Journal::open(scratch.path()).unwrap();
        journal.keep(&record(JOB, strips)).unwrap();
        for first in (0..strips).step_by(8) {
            store(&mut journal, JOB, first..strips.min(first + 8), bytes_max);
        }
        journal.end(JobId(JOB), &end(KeptEnding::Done)).unwrap();
        drop(journal);
        let home = PathBuf::from(format!("jobs/{}", JobId(JOB)));
        let paths = FILES.iter().map(|name| home.join(name)).chain([PathBuf::from("format")]);
        let files = paths.map(|path| (path.clone(), fs::read(scratch.path().join(path)).unwrap())).collect();
        Self { strips, bytes_max, files, scratch }
    }

    /// Writes the files again, but for those that `changed` names and changes.
    fn lay_out(&self, changed: &[(usize, Vec<u8>)]) {
        let dir = self.scratch.path();
        for folder in ["jobs", "tmp", "damaged"] {
            let _ = fs::remove_dir_all(dir.join(folder));
            fs::create_dir(dir.join(folder)).unwrap();
        }
        fs::create_dir(dir.join(format!("jobs/{}", JobId(JOB)))).unwrap();
        for (at, (path, bytes)) in self.files.iter().enumerate() {
            let bytes = changed.iter().find(|(file, _)| *file == at).map_or(bytes, |(_, bytes)| bytes);
            fs::write(dir.join(path), bytes).unwrap();
        }
    }

    /// Opens the directory, holds what is there to what was stored, and finishes the job again where it is not whole.
    fn fate(&self, changed: &[(usize, Vec<u8>)], finish: bool) -> Fate {
        self.lay_out(changed);
        let (mut journal, recovered, lost) = match Journal::open(self.scratch.path()) {
            Ok(opened) => opened,
            Err(OpenError::NotAJournal { .. }) => return Fate::Refused,
            Err(error) => panic!("{error}"),
        };
        if let [lost] = &lost[..] {
            assert_eq!((lost.job, recovered.len()), (Some(JobId(JOB)), 0));
            assert!(lost.path.is_dir() && !lost.why.is_empty());
            drop(journal);
            let (_, recovered, again) = Journal::open(self.scratch.path()).unwrap();
            assert_eq!((recovered.len(), &again[..]), (0, std::slice::from_ref(lost)), "it is told on every start");
            return Fate::Lost;
        }
        let [job] = &recovered[..] else { panic!("{recovered:?} {lost:?}") };
        assert_eq!((&job.record, lost.len()), (&record(JOB, self.strips), 0));
        assert!(job.have <= self.strips);
        assert_eq!(job.engine.as_deref(), (job.have > 0).then_some(common::ENGINE));
        if let Some(kept) = &job.end {
            assert_eq!((kept, job.have), (&end(KeptEnding::Done), self.strips));
        }
        let is_whole = job.end.is_some();
        assert!(is_whole || job.healed.is_some(), "{job:?}");
        let read = read_all(&mut journal, JOB, job.have, self.bytes_max);
        let fate = match (&read, is_whole) {
            (Ok(()), true) => Fate::Whole,
            (Ok(()), false) => Fate::Healed,
            (Err(_), _) => Fate::Damaged,
        };
        if finish {
            let sound = read.map_or_else(|(strip, _)| strip, |()| job.have);
            self.finish(journal, sound);
        }
        fate
    }

    fn finish(&self, mut journal: Journal, sound: u32) {
        assert_eq!(journal.cut(JobId(JOB), sound).unwrap().have, sound);
        if sound < self.strips {
            store(&mut journal, JOB, sound..self.strips, self.bytes_max);
        }
        read_all(&mut journal, JOB, self.strips, self.bytes_max).unwrap();
        journal.end(JobId(JOB), &end(KeptEnding::Done)).unwrap();
        drop(journal);
        let (mut journal, recovered, _) = Journal::open(self.scratch.path()).unwrap();
        assert_eq!((recovered[0].have, &recovered[0].healed), (self.strips, &None));
        assert_eq!(recovered[0].end, Some(end(KeptEnding::Done)));
        let on_disk = self.files[..4].iter().map(|(_, bytes)| (bytes.len() as u64).next_multiple_of(4096)).sum::<u64>();
        let folder = 4096;
        assert_eq!(recovered[0].bytes, folder + on_disk);
        read_all(&mut journal, JOB, self.strips, self.bytes_max).unwrap();
    }

    fn name(&self, file: usize) -> &str {
        self.files[file].0.file_name().unwrap().to_str().unwrap()
    }
}

#[test]
fn every_file_may_end_anywhere() {
    let sample = Sample::new(5, 40);
    assert_eq!(sample.fate(&[], true), Fate::Whole);
    for (file, (_, bytes)) in sample.files.iter().enumerate() {
        for length in 0..bytes.len() {
            let fate = sample.fate(&[(file, bytes[..length].to_vec())], true);
            let expected = match sample.name(file) {
                "format" => Fate::Refused,
                "job" => Fate::Lost,
                _ => Fate::Healed,
            };
            assert_eq!(fate, expected, "{} cut to {length} bytes", sample.name(file));
        }
    }
}

#[test]
fn every_bit_may_flip() {
    let sample = Sample::new(5, 40);
    for (file, (_, bytes)) in sample.files.iter().enumerate() {
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let fate = sample.fate(&[(file, flipped)], bit % 8 == 0);
            let expected = match sample.name(file) {
                "format" => Fate::Refused,
                "job" => Fate::Lost,
                "strips" => Fate::Damaged,
                _ => Fate::Healed,
            };
            assert_eq!(fate, expected, "bit {bit} of {} flipped", sample.name(file));
        }
    }
}

#[test]
fn every_file_may_go_on_behind_its_end() {
    let sample = Sample::new(5, 40);
    for (file, (_, bytes)) in sample.files.iter().enumerate() {
        for more in [vec![0], vec![0xff; 20], vec![0; 20], bytes.clone(), vec![0; 10_000]] {
            let fate = sample.fate(&[(file, [&bytes[..], &more].concat())], true);
            let (name, more) = (sample.name(file), more.len());
            match name {
                "format" => assert_eq!(fate, Fate::Whole),
                "job" => assert_eq!(fate, Fate::Lost),
                // What is behind the last strip is cut off, and the job is done all the same.
                "strips" | "index" => assert_eq!(fate, Fate::Whole, "{more} bytes more of {name}"),
                _ => assert_eq!(fate, Fate::Healed),
            }
        }
    }
}

#[test]
fn random_damage_to_several_files_at_once() {
    let sample = Sample::new(64, 60_000);
    let mut fates = [0; 4];
    for seed in common::seeds(1000) {
        let _told = Seed(seed);
        let mut rng = Rng(seed);
        let mut changed: Vec<(usize, Vec<u8>)> = Vec::new();
        for _ in 0..1 + rng.below(3) {
            // The record seldom, or nothing else would be seen.
            let file = if rng.below(20) == 0 { 0 } else { 1 + rng.below(3) };
            let mut bytes = sample.files[file].1.clone();
            let at = rng.below(bytes.len());
            match rng.below(4) {
                0 => bytes[at] ^= 1 << rng.below(8),
                1 => {
                    let to = (at + rng.below(4096)).min(bytes.len());
                    bytes[at..to].fill(0);
                }
                _ => bytes.truncate(at),
            }
            changed.retain(|(other, _)| *other != file);
            changed.push((file, bytes));
        }
        match sample.fate(&changed, rng.below(4) == 0) {
            Fate::Refused => panic!("the format is whole"),
            Fate::Lost => fates[0] += 1,
            Fate::Whole => fates[1] += 1,
            Fate::Healed => fates[2] += 1,
            Fate::Damaged => fates[3] += 1,
        }
    }
    println!("lost, whole, healed, damaged: {fates:?}");
}
