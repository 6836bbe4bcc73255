//! Reading strips back. Every byte is checked against the index, and the index against itself.

use std::path::Path;

use bytes::Bytes;
use fractally_proto::{JobId, StripMeta, limits};

use crate::{
    Journal, ReadError, Strips,
    disk::DiskFile,
    error::{At, AtPath},
    index::{Chain, ENTRY_BYTES, Entry, HEADER_BYTES, entry_offset},
    recover::is_of_the_medium,
    seal::{u32_at, u64_at},
};

/// Strips of one read at the most.
const STRIPS_MAX: u32 = 4096;
/// Bytes of one read at the most; every strip is shorter.
const BYTES_MAX: u64 = limits::PAYLOAD_BYTES_MAX as u64;

impl Journal {
    /// Reads stored strips from `first` on: at least one, at most `strips_max` and 4,096, and of at most `bytes_max` and 8 MiB
    /// together unless the first alone has more than `bytes_max`. Strips in front of a damaged one are returned without it.
    ///
    /// # Errors
    /// The job or the strip is not there, the first strip is damaged, or the operating system refuses.
    pub fn read(&mut self, job: JobId, first: u32, strips_max: u32, bytes_max: u64) -> Result<Strips, ReadError> {
        let kept = self.jobs.get(&job).ok_or(ReadError::Unknown(job))?;
        let have = kept.have();
        let (Some(stored), Some(engine)) = (kept.stored.filter(|_| first < have), kept.engine.clone()) else {
            return Err(ReadError::NotStored { job, first, have });
        };
        let layout = stored.layout();
        let (strips_path, index_path) = (self.paths.strips(job), self.paths.index(job));
        let pair = self.pair(job)?;
        let damaged = |what: String| ReadError::Damaged { job, strip: first, what };
        let count = strips_max.clamp(1, STRIPS_MAX).min(have - first);
        let (begin, entries) = match read_entries(&*pair.index, layout, first, count, stored.end()) {
            Ok(read) => read.map_err(damaged)?,
            Err(error) => return Err(AtPath::of(&index_path, error).into()),
        };
        let bytes_max = bytes_max.min(BYTES_MAX);
        let fitting = entries.iter().take_while(|entry| entry.end - begin <= bytes_max).count().max(1);
        let (metas, payload) = read_payload(&*pair.strips, &strips_path, begin, &entries[..fitting])?.map_err(damaged)?;
        Ok(Strips { engine, first, metas, payload })
    }
}

type Checked<T> = Result<T, String>;

/// Where strip `first` begins, and the entries from there on: up to `count`, at least one, those in front of a wrong one.
fn read_entries(
    index: &dyn DiskFile,
    layout: fractally_proto::Layout,
    first: u32,
    count: u32,
    strips_bytes: u64,
) -> std::io::Result<Checked<(u64, Vec<Entry>)>> {
    // The entry before says where the strip begins, and the one before that vouches for it.
    let before = first.min(2);
    let from = if before < 2 { 0 } else { entry_offset(first - 2) };
    let to = entry_offset(first + count);
    let mut bytes = vec![0; usize::try_from(to - from).expect("a read has few entries")];
    let filled = match index.read_at(&mut bytes, from) {
        Err(error) if is_of_the_medium(&error) => return Ok(Err(format!("its entry in the index: {error}"))),
        filled => filled?,
    };
    bytes.truncate(filled);
    let head = if before < 2 { HEADER_BYTES } else { ENTRY_BYTES };
    if bytes.len() < head {
        return Ok(Err("its entry in the index is missing".to_owned()));
    }
    let (head, rest) = bytes.split_at(head);
    let sum = u32_at(head, head.len() - 4);
    let mut chain = match before {
        2 => Chain::resume(layout, first - 1, u64_at(head, 0), sum),
        _ => Chain::resume(layout, 0, 0, sum),
    };
    let mut found = Vec::new();
    let mut begin = 0;
    for entry in rest.as_chunks::<ENTRY_BYTES>().0 {
        let is_before = chain.strips() < first;
        match chain.read(entry, strips_bytes) {
            Ok(entry) if is_before => begin = entry.end,
            Ok(entry) => found.push(entry),
            Err(_) if !found.is_empty() => break,
            Err(damage) => return Ok(Err(damage.to_string())),
        }
    }
    Ok(if found.is_empty() { Err("its entry in the index is missing".to_owned()) } else { Ok((begin, found)) })
}

/// The strips of `entries`, those in front of a damaged one, at least one.
fn read_payload(
    strips: &dyn DiskFile,
    path: &Path,
    begin: u64,
    entries: &[Entry],
) -> Result<Checked<(Vec<StripMeta>, Bytes)>, ReadError> {
    let end = entries.last().map_or(begin, |entry| entry.end);
    let mut payload = vec![0; usize::try_from(end - begin).expect("a read has few bytes")];
    let mut filled = match strips.read_at(&mut payload, begin) {
        Err(error) if is_of_the_medium(&error) => 0,
        filled => filled.at(path)?,
    };
    let mut metas = Vec::with_capacity(entries.len());
    let (mut from, mut why) = (0, String::new());
    for entry in entries {
        let to = usize::try_from(entry.end - begin).expect("within the payload");
        if filled < to {
            // The end of the file, or a bad sector in one of them: what is in front of it can be had one by one.
            match strips.read_at(&mut payload[from..to], begin + from as u64) {
                Ok(read) => filled = from + read,
                Err(error) if is_of_the_medium(&error) => why = error.to_string(),
                Err(error) => return Err(AtPath::of(path, error).into()),
            }
        }
        if filled < to || crc32fast::hash(&payload[from..to]) != entry.crc32 {
            if why.is_empty() {
                why = if filled < to { "the file ends before it" } else { "its checksum is wrong" }.to_owned();
            }
            break;
        }
        let length = u32::try_from(to - from).expect("a strip is short");
        metas.push(StripMeta(length, entry.adler32));
        from = to;
    }
    payload.truncate(from);
    Ok(if metas.is_empty() { Err(why) } else { Ok((metas, payload.into())) })
}
