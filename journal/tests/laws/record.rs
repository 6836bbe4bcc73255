//! Laws of the two small files: whatever reads is valid, and says the same when it is written again.

use fractally_journal::{
    EndRecord, JobRecord, KeptEnding, Totals,
    records::{ACCOUNT_BYTES_MAX, REASON_BYTES_MAX},
};
use fractally_proto::{Encoding, JobId, JobKey, Layout, Priority, Request, Size, Window, limits};

use super::{bounded, put};

/// The job of every end.
const JOB: JobId = JobId(0x0000_0007_0000_0001);
/// Bytes in front of the body and behind it.
const HEAD: usize = 16;
const TAIL: usize = 4;

/// Makes length and checksum of a sealed file right.
fn reseal(file: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    if let Some(body) = file.len().checked_sub(HEAD + TAIL) {
        put(&mut file, 12, u32::try_from(body).expect("inputs are short"));
        let sum = crc32fast::hash(&file[..HEAD + body]);
        put(&mut file, HEAD + body, sum);
    }
    file
}

pub(super) fn check_job(input: &[u8], resealed: bool) -> bool {
    let file = if resealed { reseal(input) } else { input.to_vec() };
    let Ok(record) = bounded(file.len(), || JobRecord::decode(&file)) else { return false };
    assert!(record.account.len() <= ACCOUNT_BYTES_MAX);
    let layout = Layout::of(&record.request);
    assert!(layout.strips() >= 1 && (1..=limits::PAYLOAD_BYTES_MAX as u64).contains(&layout.strip_len_max()));
    assert_eq!(layout.rows_before(layout.strips()), record.request.window.h);
    let again = record.encode().expect("what was read can be written");
    assert_eq!(JobRecord::decode(&again).as_ref(), Ok(&record));
    if !resealed {
        // A checksum finds every single flipped bit; all of them are tried in `damage.rs`, one here.
        let mut flipped = again;
        let at = record.accepted_unix_ms as usize % flipped.len();
        flipped[at] ^= 1 << (record.key.0[0] % 8);
        assert!(JobRecord::decode(&flipped).is_err());
    }
    true
}

pub(super) fn check_end(input: &[u8], resealed: bool) -> bool {
    let file = if resealed { reseal(input) } else { input.to_vec() };
    let Ok(end) = bounded(file.len(), || EndRecord::decode(JOB, &file)) else { return false };
    if let KeptEnding::Failed(reason) | KeptEnding::Cancelled(reason) = &end.ending {
        assert!(reason.len() <= REASON_BYTES_MAX);
    }
    let again = end.encode(JOB);
    assert_eq!(EndRecord::decode(JOB, &again).as_ref(), Ok(&end));
    assert!(EndRecord::decode(JobId(JOB.0 + 1), &again).is_err(), "another job's end was read");
    true
}

pub(super) fn jobs() -> Vec<Vec<u8>> {
    let size = Size { w: 87_382, h: 30 };
    let small = Request { size, window: Window::whole(size), encoding: Encoding::Counts, ..Request::default() };
    let record = |account: &str, holder: Option<&str>, request| JobRecord {
        job: JOB,
        key: JobKey(*b"0123456789abcdef"),
        account: account.to_owned(),
        priority: Priority::Batch,
        accepted_unix_ms: 1_700_000_000_123,
        holder: holder.map(|holder| holder.parse().expect("it is short enough")),
        request,
    };
    let longest = (&*"é".repeat(128), &*"ü".repeat(32));
    let records =
        [record("", None, Request::default()), record("host:42", Some("h"), small), record(longest.0, Some(longest.1), small)];
    records.iter().map(|record| record.encode().expect("it is sound")).collect()
}

pub(super) fn ends() -> Vec<Vec<u8>> {
    let totals = Totals { iterations: 1 << 40, compute_ns: 987_654_321, elapsed_ms: 12_345, bands: 67, attempts: 70, workers: 8 };
    let endings = [
        KeptEnding::Done,
        KeptEnding::Failed("band 3 failed three times".to_owned()),
        // Too long: it is cut off, and not within a character.
        KeptEnding::Cancelled("ü".repeat(REASON_BYTES_MAX)),
    ];
    let end = |ending| EndRecord { ended_unix_ms: 1_700_000_012_468, ending, totals }.encode(JOB);
    endings.map(end).to_vec()
}
