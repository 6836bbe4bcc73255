//! What the tests share: chance that can be had again, jobs, and what stands on disk of them.

#![allow(dead_code, reason = "every test uses some of it")]

use std::{ops::Range, thread};

use fractally_journal::{EndRecord, JobRecord, Journal, KeptEnding, ReadError, Totals};
use fractally_proto::{Encoding, JobId, JobKey, Priority, Request, Size, StripMeta, Window};

/// SplitMix64.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

/// Tells the seed when a law is broken.
pub(crate) struct Seed(pub(crate) u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("FRACTALLY_SEED={} replays it", self.0);
        }
    }
}

pub(crate) fn seeds(count: u64) -> Range<u64> {
    let replayed = std::env::var("FRACTALLY_SEED").ok().and_then(|seed| seed.parse().ok());
    replayed.map_or(0..count, |seed: u64| seed..seed + 1)
}

pub(crate) const ENGINE: &str = "fractally-2";

/// A job of `strips` strips of one row, each encoded in any number of bytes up to 262,177.
pub(crate) fn record(job: u64, strips: u32) -> JobRecord {
    let size = Size { w: 87_382, h: strips };
    let request = Request { size, window: Window::whole(size), encoding: Encoding::Png, ..Request::default() };
    let (job, key, priority) = (JobId(job), JobKey([job as u8; 16]), Priority::Batch);
    JobRecord { job, key, account: "host:42".to_owned(), priority, accepted_unix_ms: 1_700_000_000_123, holder: None, request }
}

pub(crate) fn end(ending: KeptEnding) -> EndRecord {
    EndRecord { ended_unix_ms: 1_700_000_001_123, ending, totals: Totals { iterations: 42, workers: 2, ..Totals::default() } }
}

/// A strip of up to `bytes_max` bytes, a pure function of the rest.
pub(crate) fn strip(job: u64, strip: u32, bytes_max: usize) -> (StripMeta, Vec<u8>) {
    let mut rng = Rng(job << 32 | u64::from(strip));
    let length = 1 + rng.below(bytes_max);
    let mut bytes = vec![0; length];
    bytes.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&rng.next().to_le_bytes()[..chunk.len()]));
    (StripMeta(length as u32, rng.next() as u32), bytes)
}

/// The strips of a range as `append` takes them.
pub(crate) fn strips(job: u64, range: Range<u32>, bytes_max: usize) -> (Vec<StripMeta>, Vec<u8>) {
    let strips: Vec<_> = range.map(|index| strip(job, index, bytes_max)).collect();
    (strips.iter().map(|(meta, _)| *meta).collect(), strips.into_iter().flat_map(|(_, bytes)| bytes).collect())
}

/// Appends strips, and makes them durable.
pub(crate) fn store(journal: &mut Journal, job: u64, range: Range<u32>, bytes_max: usize) {
    let (metas, payload) = strips(job, range.clone(), bytes_max);
    journal.append(JobId(job), ENGINE, range.start, &metas, &payload).unwrap();
    let synced = journal.sync();
    assert_eq!((synced.len(), synced[0].0), (1, JobId(job)));
    assert_eq!(synced[0].1.as_ref().unwrap().have, range.end);
}

/// Reads the strips of a job up to `have`, or to the first that is said to be damaged. What reads must be right.
pub(crate) fn read_all(journal: &mut Journal, job: u64, have: u32, bytes_max: usize) -> Result<(), (u32, String)> {
    let mut next = 0;
    while next < have {
        match journal.read(JobId(job), next, 1 + next % 9, 2_000_000) {
            Ok(read) => {
                assert_eq!((read.first, read.engine.as_str()), (next, ENGINE));
                let end = next + read.metas.len() as u32;
                assert!(end > next && end <= have);
                let (metas, payload) = strips(job, next..end, bytes_max);
                assert!(read.metas == metas && read.payload == payload, "strips {next}..{end} of {job} were read wrongly");
                next = end;
            }
            Err(ReadError::Damaged { strip, what, .. }) => {
                assert_eq!(strip, next);
                return Err((strip, what));
            }
            Err(error) => panic!("{error}"),
        }
    }
    let beyond = journal.read(JobId(job), have, 1, 1);
    assert!(matches!(beyond, Err(ReadError::NotStored { .. })), "{beyond:?}");
    Ok(())
}
