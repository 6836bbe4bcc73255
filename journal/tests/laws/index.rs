//! Laws of the index: what reads is in order, within its bounds and within the file that it speaks of, and every chain that is built
//! reads back.

use fractally_journal::index::{Chain, ENTRY_BYTES, HEADER_BYTES, Header, entry_offset};
use fractally_proto::{Encoding, JobId, Layout, Request, Size, StripMeta, Window};

use super::{bounded, put};

const JOB: JobId = JobId(0x0000_0007_0000_0001);
const STRIPS: u32 = 30;

/// Strips of one row of at most 262,177 bytes.
fn layout() -> Layout {
    let size = Size { w: 87_382, h: STRIPS };
    Layout::of(&Request { size, window: Window::whole(size), encoding: Encoding::Png, ..Request::default() })
}

/// Makes all checksums right.
fn reseal(index: &[u8]) -> Vec<u8> {
    let mut index = index.to_vec();
    if index.len() < HEADER_BYTES {
        return index;
    }
    let (header, entries) = index.split_at_mut(HEADER_BYTES);
    let mut sum = crc32fast::hash(&header[..HEADER_BYTES - 4]);
    put(header, HEADER_BYTES - 4, sum);
    for (strip, entry) in (0u32..).zip(entries.as_chunks_mut::<ENTRY_BYTES>().0) {
        let covered = [&sum.to_le_bytes(), &strip.to_le_bytes(), &entry[..16]].concat();
        sum = crc32fast::hash(&covered);
        put(entry, 16, sum);
    }
    index
}

/// Four bytes are the length of `strips`, the rest is the index. Sound are a header and at least one strip.
pub(super) fn check_index(input: &[u8], resealed: bool) -> bool {
    let Some((strips_bytes, index)) = input.split_at_checked(4) else { return false };
    let strips_bytes = u64::from(u32::from_le_bytes(strips_bytes.try_into().expect("four bytes were cut out")));
    let index = if resealed { reseal(index) } else { index.to_vec() };
    let Ok(header) = bounded(index.len(), || Header::decode(&index)) else { return false };
    let bytes = header.encode().expect("what was read can be written");
    assert_eq!(bytes, index[..HEADER_BYTES], "a header is written in one way only");
    let mut chain = Chain::new(layout(), &bytes);
    for entry in index[HEADER_BYTES..].as_chunks::<ENTRY_BYTES>().0 {
        let before = chain;
        match bounded(ENTRY_BYTES, || chain.read(entry, strips_bytes)) {
            Ok(read) => {
                let longest = layout().encoded_len_max(before.strips());
                assert!(read.end > before.end() && read.end - before.end() <= longest && read.end <= strips_bytes);
                assert_eq!((chain.strips(), chain.end()), (before.strips() + 1, read.end));
                assert!(chain.strips() <= STRIPS);
            }
            Err(_) => {
                assert_eq!(chain, before, "an entry that is wrong changes nothing");
                break;
            }
        }
    }
    chain.strips() > 0
}

/// Two bytes a strip are its length; its bytes are made up. Sound is what can be kept.
pub(super) fn check_chain(input: &[u8]) -> bool {
    let header = Header { job: JOB, engine: "fractally-2".to_owned() }.encode().expect("it is short");
    let mut writing = Chain::new(layout(), &header);
    let mut kept = Vec::new();
    for length in input.as_chunks::<2>().0 {
        let encoded = vec![length[0]; usize::from(u16::from_le_bytes(*length))];
        let meta = StripMeta(u32::try_from(encoded.len()).expect("two bytes are few"), u32::from(length[1]));
        let before = writing;
        match writing.push(meta, &encoded) {
            Ok(entry) => kept.push((entry, meta, crc32fast::hash(&encoded))),
            Err(_) => {
                assert!(encoded.is_empty() || before.strips() == STRIPS);
                return false;
            }
        }
        assert!(before.clone().push(StripMeta(meta.encoded_len() + 1, 0), &encoded).is_err());
    }
    let mut reading = Chain::new(layout(), &header);
    let mut end = 0;
    for (entry, meta, crc32) in &kept {
        end += u64::from(meta.encoded_len());
        assert!(reading.clone().read(entry, end - 1).is_err(), "an entry that ends behind the file was read");
        let read = reading.read(entry, end).expect("what was written reads");
        assert_eq!((read.end, read.adler32, read.crc32), (end, meta.adler32(), *crc32));
        assert!(reading.clone().read(entry, end).is_err(), "an entry was read in another's place");
    }
    assert_eq!(reading, writing);
    assert_eq!(entry_offset(reading.strips()), (HEADER_BYTES + kept.len() * ENTRY_BYTES) as u64);
    true
}

pub(super) fn indices() -> Vec<Vec<u8>> {
    let index = |engine: &str, strips: u32| {
        let header = Header { job: JOB, engine: engine.to_owned() }.encode().expect("it is short");
        let mut chain = Chain::new(layout(), &header);
        let mut index = header.to_vec();
        for strip in 0..strips {
            let encoded = vec![7; 1 + strip as usize * 100];
            let meta = StripMeta(1 + strip * 100, strip);
            index.extend(chain.push(meta, &encoded).expect("it is in bounds"));
        }
        [&u32::try_from(chain.end()).expect("it is short").to_le_bytes(), &index[..]].concat()
    };
    vec![index("fractally-2", 2), index(&"e".repeat(256), STRIPS)]
}

pub(super) fn chains() -> Vec<Vec<u8>> {
    vec![vec![], vec![1, 0], vec![5, 0, 0, 1, 255, 255], [3, 1].repeat(STRIPS as usize)]
}
