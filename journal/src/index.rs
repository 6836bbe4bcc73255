//! The index of a job's strips: a header that names the engine, then one entry a strip. An entry is written only after the bytes that it
//! speaks of were synced, and its checksum covers the one before it: an unbroken chain from the header proves that all those
//! strips are on disk.
//!
//! Pure: bytes in, facts out. `open.rs` and `journal.rs` read and write.

use fractally_proto::{JobId, Layout, StripMeta, limits};

use crate::{
    Damage,
    seal::{u32_at, u64_at},
};

const MAGIC: &[u8; 8] = b"FRLY-idx";
const VERSION: u32 = 1;
/// Where the header's checksum stands, behind magic, version, length of the engine id, job and engine id.
const SUM_AT: usize = 24 + ENGINE_BYTES_MAX;

/// Bytes of an engine id at the most, and at least one.
pub const ENGINE_BYTES_MAX: usize = limits::TEXT_BYTES_MAX;
/// Bytes of the header.
pub const HEADER_BYTES: usize = SUM_AT + 4;
/// Bytes of an entry.
pub const ENTRY_BYTES: usize = 20;

/// Where the entry of a strip begins in the file.
pub fn entry_offset(strip: u32) -> u64 {
    HEADER_BYTES as u64 + u64::from(strip) * ENTRY_BYTES as u64
}

/// The first bytes of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The job whose strips these are.
    pub job: JobId,
    /// The engine that rendered them: 1 to [`ENGINE_BYTES_MAX`] bytes.
    pub engine: String,
}

impl Header {
    /// The header as it stands in the file.
    ///
    /// # Errors
    /// An engine id that is empty or too long.
    pub fn encode(&self) -> Result<[u8; HEADER_BYTES], Damage> {
        check_engine(self.engine.len())?;
        let length = u32::try_from(self.engine.len()).expect("an engine id is short");
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&length.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.job.0.to_le_bytes());
        bytes[24..24 + self.engine.len()].copy_from_slice(self.engine.as_bytes());
        let sum = crc32fast::hash(&bytes[..SUM_AT]);
        bytes[SUM_AT..].copy_from_slice(&sum.to_le_bytes());
        Ok(bytes)
    }

    /// The header in the first [`HEADER_BYTES`] of an index.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let bytes = bytes.get(..HEADER_BYTES).ok_or_else(|| Damage::length(bytes.len(), format!("{HEADER_BYTES} or more")))?;
        if bytes[..8] != MAGIC[..] {
            return Err(Damage::Magic);
        }
        if crc32fast::hash(&bytes[..SUM_AT]) != u32_at(bytes, SUM_AT) {
            return Err(Damage::Checksum);
        }
        if u32_at(bytes, 8) != VERSION {
            return Err(Damage::Version(u32_at(bytes, 8)));
        }
        let length = u32_at(bytes, 12) as usize;
        check_engine(length)?;
        let (engine, padding) = bytes[24..SUM_AT].split_at(length);
        if padding.iter().any(|byte| *byte != 0) {
            return Err(Damage::Content("the engine id is longer than it says".to_owned()));
        }
        let engine = str::from_utf8(engine).map_err(|_| Damage::Content("the engine id is not UTF-8".to_owned()))?;
        Ok(Self { job: JobId(u64_at(bytes, 16)), engine: engine.to_owned() })
    }
}

fn check_engine(length: usize) -> Result<(), Damage> {
    if (1..=ENGINE_BYTES_MAX).contains(&length) {
        return Ok(());
    }
    Err(Damage::Content(format!("an engine id of {length} bytes; 1 to {ENGINE_BYTES_MAX}")))
}

/// One strip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where its encoded bytes end in `strips`. They begin where those of the strip before it end.
    pub end: u64,
    /// Adler-32 of the raw bytes.
    pub adler32: u32,
    /// CRC-32 of the encoded bytes.
    pub crc32: u32,
}

/// What the next entry is checked against: the strips so far, all of them in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    layout: Layout,
    /// Strips so far.
    strips: u32,
    /// Where the last of them ends in `strips`.
    end: u64,
    /// Checksum of the last entry, or of the header.
    sum: u32,
}

impl Chain {
    /// No strip yet, behind this header.
    pub fn new(layout: Layout, header: &[u8; HEADER_BYTES]) -> Self {
        Self { layout, strips: 0, end: 0, sum: u32_at(header, SUM_AT) }
    }

    /// The chain behind `strips` strips whose last entries are known: for reading from the middle of an index.
    pub(crate) fn resume(layout: Layout, strips: u32, end: u64, sum: u32) -> Self {
        Self { layout, strips, end, sum }
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// Strips so far.
    pub fn strips(&self) -> u32 {
        self.strips
    }

    /// Bytes of `strips` that they take.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Adds a strip with the bytes `encoded`. Its entry, as it is to be written.
    ///
    /// # Errors
    /// A strip too many, or of a length that it cannot have.
    pub fn push(&mut self, meta: StripMeta, encoded: &[u8]) -> Result<[u8; ENTRY_BYTES], Damage> {
        if meta.encoded_len() as usize != encoded.len() {
            return Err(Damage::length(encoded.len(), meta.encoded_len().to_string()));
        }
        let end = self.end.saturating_add(encoded.len() as u64);
        self.accept(Entry { end, adler32: meta.adler32(), crc32: crc32fast::hash(encoded) })
    }

    /// The next entry of an index, checked; `strips_bytes` is the length of the file `strips`.
    ///
    /// # Errors
    /// What is wrong with it: the chain ends in front of it.
    pub fn read(&mut self, entry: &[u8; ENTRY_BYTES], strips_bytes: u64) -> Result<Entry, Damage> {
        let read = Entry { end: u64_at(entry, 0), adler32: u32_at(entry, 8), crc32: u32_at(entry, 12) };
        if read.end > strips_bytes {
            return Err(Damage::Content(format!("strip {} ends at {}, and strips at {strips_bytes}", self.strips, read.end)));
        }
        let mut ahead = *self;
        if ahead.accept(read)? != *entry {
            return Err(Damage::Content(format!("the entry of strip {} has a wrong checksum", self.strips)));
        }
        *self = ahead;
        Ok(read)
    }

    fn accept(&mut self, entry: Entry) -> Result<[u8; ENTRY_BYTES], Damage> {
        let strip = self.strips;
        if strip >= self.layout.strips() {
            return Err(Damage::Content(format!("strip {strip} of {}", self.layout.strips())));
        }
        let longest = self.layout.encoded_len_max(strip);
        if entry.end <= self.end || entry.end - self.end > longest {
            let what = format!("strip {strip} from {} to {}; it has 1 to {longest} bytes", self.end, entry.end);
            return Err(Damage::Content(what));
        }
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..8].copy_from_slice(&entry.end.to_le_bytes());
        bytes[8..12].copy_from_slice(&entry.adler32.to_le_bytes());
        bytes[12..16].copy_from_slice(&entry.crc32.to_le_bytes());
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.sum.to_le_bytes());
        hasher.update(&strip.to_le_bytes());
        hasher.update(&bytes[..16]);
        self.sum = hasher.finalize();
        bytes[16..].copy_from_slice(&self.sum.to_le_bytes());
        (self.strips, self.end) = (strip + 1, entry.end);
        Ok(bytes)
    }
}
