//! What the journal costs over plain writes to the same disk: `cargo bench -p fractally-journal`.
//!
//! A gigabyte in appends of 1 MiB (four strips of 256 KiB), synced every 8 MiB, against the same bytes written to one file and synced with
//! fdatasync as often. The two take turns. Prints MB/s, the most and the median of the rounds. `TMPDIR` names the disk.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock; the journal does not")]
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, reason = "a benchmark may end with what is wrong")]

use std::{fs::File, io::Write, path::Path, time::Instant};

use fractally_journal::{JobRecord, Journal};
use fractally_proto::{Encoding, JobId, JobKey, Layout, Priority, Request, Size, StripMeta, Window};
use tempfile::TempDir;

const APPEND_BYTES: usize = 1 << 20;
const STRIPS_PER_APPEND: usize = 4;
const APPENDS_PER_SYNC: usize = 8;

/// Bytes as deflate makes them: nothing that a disk could shorten.
fn noise() -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    };
    (0..APPEND_BYTES).map(|_| next()).collect()
}

/// Strips of 16 rows of 16 KiB.
fn record(appends: usize) -> JobRecord {
    let rows = u32::try_from(16 * STRIPS_PER_APPEND * appends).unwrap();
    let size = Size { w: 4096, h: rows };
    let request = Request { size, window: Window::whole(size), encoding: Encoding::Counts, ..Request::default() };
    let (job, key) = (JobId(1), JobKey([1; 16]));
    JobRecord { job, key, account: String::new(), priority: Priority::Batch, accepted_unix_ms: 0, holder: None, request }
}

fn journal(dir: &Path, noise: &[u8], appends: usize) {
    let (mut journal, ..) = Journal::open(&dir.join("state")).unwrap();
    let record = record(appends);
    let job = record.job;
    assert_eq!(Layout::of(&record.request).strips() as usize, appends * STRIPS_PER_APPEND);
    journal.keep(&record).unwrap();
    let metas = vec![StripMeta(u32::try_from(APPEND_BYTES / STRIPS_PER_APPEND).unwrap(), 7); STRIPS_PER_APPEND];
    for append in 0..appends {
        let first = u32::try_from(append * STRIPS_PER_APPEND).unwrap();
        journal.append(job, "fractally-2", first, &metas, noise).unwrap();
        if (append + 1) % APPENDS_PER_SYNC == 0 {
            journal.sync().pop().unwrap().1.unwrap();
        }
    }
    journal.remove(job).unwrap();
}

fn plain(dir: &Path, noise: &[u8], appends: usize) {
    let path = dir.join("plain");
    let mut file = File::create(&path).unwrap();
    for append in 0..appends {
        file.write_all(noise).unwrap();
        if (append + 1) % APPENDS_PER_SYNC == 0 {
            file.sync_data().unwrap();
        }
    }
    std::fs::remove_file(path).unwrap();
}

fn main() {
    // Under `cargo test --benches` it only has to run.
    let (appends, rounds) = if std::env::args().any(|arg| arg == "--bench") { (1024, 5) } else { (16, 1) };
    let (dir, noise) = (TempDir::new().unwrap(), noise());
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (rates, write) in rates.iter_mut().zip([plain, journal]) {
            let start = Instant::now();
            write(dir.path(), &noise, appends);
            rates.push((appends * APPEND_BYTES) as f64 / 1e6 / start.elapsed().as_secs_f64());
        }
    }
    for (name, rates) in ["plain", "journal"].into_iter().zip(&mut rates) {
        rates.sort_by(f64::total_cmp);
        println!("{name:8} {appends} MiB: most {:.0} MB/s, median {:.0} MB/s", rates[rounds - 1], rates[rounds / 2]);
    }
}
