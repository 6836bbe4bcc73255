//! What must hold for whatever bytes stand in the files of a state directory. Shared by `mutations.rs`, which tries it in every
//! `cargo test`, and by the target `journal` of `fuzz/`, which looks for bytes that break it. Every check panics where a law does
//! not hold.
//!
//! What a file must be is not said here; `spec.rs` holds that.

mod index;
mod record;

/// The first byte of an input: which file it is, and whether its checksums are made right before it is read.
const FILE: u8 = 3;
const RESEALED: u8 = 0x80;

/// Bytes that reading may hold at once for each byte of input, and whatever the input: the words of an error.
const MEMORY_FACTOR: usize = 16;
const MEMORY_BASE: usize = 1024;

/// Reads `input` as the file that its first byte names. Whether it is sound.
pub(crate) fn check(input: &[u8]) -> bool {
    let Some((&shape, rest)) = input.split_first() else { return false };
    let resealed = shape & RESEALED != 0;
    match shape & FILE {
        0 => record::check_job(rest, resealed),
        1 => record::check_end(rest, resealed),
        2 => index::check_index(rest, resealed),
        _ => index::check_chain(rest),
    }
}

/// An input for each kind of file, with and without right checksums.
pub(crate) fn inputs() -> Vec<Vec<u8>> {
    let files = [(0, record::jobs()), (1, record::ends()), (2, index::indices()), (3, index::chains())];
    let plain = files.into_iter().flat_map(|(kind, files)| files.into_iter().map(move |file| [&[kind], &file[..]].concat()));
    let resealed = |input: &Vec<u8>| [&[input[0] | RESEALED], &input[1..]].concat();
    let inputs: Vec<_> = plain.flat_map(|input| [resealed(&input), input]).collect();
    for input in &inputs {
        assert!(check(input), "{input:02x?}");
    }
    inputs
}

/// Calls `read`, which may hold so much memory only as `bytes` of input have paid for.
fn bounded<T>(bytes: usize, read: impl FnOnce() -> T) -> T {
    let mut result = None;
    let mut read = Some(read);
    let memory = allocation_counter::measure(|| result = read.take().map(|read| read()));
    let limit = MEMORY_BASE + MEMORY_FACTOR * bytes;
    assert!(memory.bytes_max <= limit as u64, "{} bytes held while {bytes} were read", memory.bytes_max);
    result.expect("it was called")
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}
