//! Laws of decoding: no panic, no memory that the bytes did not pay for, and what decodes says the same when it is encoded again.

use bytes::Bytes;
use fractally_proto::{JobList, JobReport, MAGIC, Message, RowSample, Status, VERSION, limits};

const SPEC: &str = include_str!("../../SPEC.md");

/// The first byte of an input: what stands round the header.
const PAYLOAD: u8 = 1;
const DELIMITER: u8 = 2;
const RAW: u8 = 4;

/// A header up to this size keeps to [`limits::HEADER_BYTES_MAX`] when it is encoded again, though names take more than the short
/// forms that decoding puts up with: `counts` has seven bytes for one.
const ENCODED_AGAIN_MAX: usize = 512;
/// Bytes that decoding may hold at once for each byte of input: an element of a list is reserved when the list's head is read.
const MEMORY_FACTOR: usize = 256;
/// Bytes that decoding may hold whatever the input: the words of an error.
const MEMORY_BASE: usize = 1024;

/// Decodes `input` as a message, and its last frame as each kind of payload. Whether it is a message.
pub(crate) fn check_message(input: &[u8]) -> bool {
    let frames = frames_of(input);
    let bytes = frames.iter().map(Bytes::len).sum();
    let message = bounded(bytes, || Message::decode(&frames));
    if let Ok(message) = &message {
        let header = &frames[usize::from(frames[0].is_empty()) + 2];
        if header.len() <= ENCODED_AGAIN_MAX {
            let again = message.encode();
            assert!(again[2].len() <= limits::HEADER_BYTES_MAX && again.len() <= limits::FRAMES_MAX);
            let decoded = Message::decode(&again).expect("what was encoded decodes");
            assert_eq!(decoded.encode(), again, "{message:?} comes back as {decoded:?}");
            assert_eq!((decoded.command(), decoded.name()), (message.command(), message.name()));
        }
    }
    if let Some(last) = frames.last() {
        check_payload(last);
    }
    message.is_ok()
}

fn check_payload(payload: &[u8]) {
    if let Some(rows) = bounded(payload.len(), || RowSample::decode(payload)) {
        assert_eq!(RowSample::encode(&rows), payload);
    }
    // Compared as bytes, for which NaN equals itself.
    if let Ok(status) = bounded(payload.len(), || Status::decode(payload)) {
        let again = status.encode();
        assert_eq!(Status::decode(&again).expect("what was encoded decodes").encode(), again);
    }
    if let Ok(list) = bounded(payload.len(), || JobList::decode(payload)) {
        let again = list.encode();
        assert_eq!(JobList::decode(&again).expect("what was encoded decodes").encode(), again);
    }
    if let Ok(report) = bounded(payload.len(), || JobReport::decode(payload)) {
        let again = report.encode();
        assert_eq!(JobReport::decode(&again).expect("what was encoded decodes").encode(), again);
    }
}

/// Holds the memory of `decode` to what `bytes` bytes of input pay for.
fn bounded<T>(bytes: usize, decode: impl FnOnce() -> T) -> T {
    let mut decoded = None;
    let memory = allocation_counter::measure(|| decoded = Some(decode()));
    let limit = MEMORY_BASE + MEMORY_FACTOR * bytes;
    assert!(memory.bytes_max <= limit as u64, "{} bytes held while {bytes} were decoded", memory.bytes_max);
    decoded.expect("decode was called")
}

/// How bytes become frames. Raw, each frame follows a byte with its length. Otherwise the preamble is given: the second byte is
/// the command; where there is a payload, two bytes are the length of the header in front of it.
fn frames_of(input: &[u8]) -> Vec<Bytes> {
    let Some((&shape, mut rest)) = input.split_first() else { return Vec::new() };
    let mut take = |count: usize| {
        let (taken, left) = rest.split_at(count.min(rest.len()));
        rest = left;
        Bytes::copy_from_slice(taken)
    };
    let mut frames = Vec::new();
    if shape & RAW != 0 {
        while let &[length] = &take(1)[..] {
            frames.push(take(length.into()));
        }
        return frames;
    }
    if shape & DELIMITER != 0 {
        frames.push(Bytes::new());
    }
    frames.push([&MAGIC[..], &[VERSION]].concat().into());
    frames.push(take(1));
    if shape & PAYLOAD != 0 {
        let length = take(2).iter().fold(0, |length, &byte| length << 8 | usize::from(byte));
        frames.push(take(length));
    }
    frames.push(take(usize::MAX));
    frames
}

/// An input for [`check_message`] for every example of SPEC.md, and one with the frames as they are.
pub(crate) fn message_inputs() -> Vec<Vec<u8>> {
    let blocks = SPEC.split("```frames ").skip(1).map(|block| block.split("```").next().expect("there is a first part"));
    let examples: Vec<Vec<Vec<u8>>> = blocks
        // The name of the command comes first. A frame may go on in lines that begin with a space.
        .map(|block| block.trim_end().replace("\n ", "").lines().skip(1).map(unhex).collect())
        .collect();
    let mut inputs: Vec<Vec<u8>> = examples.iter().map(|frames| input_of(frames)).collect();
    let raw = |frame: &Vec<u8>| [&[u8::try_from(frame.len()).expect("ACK is short")], &frame[..]].concat();
    let ack = examples.iter().find(|frames| frames[1] == [0x14]).expect("ACK has an example");
    inputs.push([vec![RAW, 0], ack.iter().flat_map(raw).collect()].concat());
    for input in &inputs {
        assert!(Message::decode(&frames_of(input)).is_ok(), "{input:02x?}");
    }
    inputs
}

fn input_of(frames: &[Vec<u8>]) -> Vec<u8> {
    match frames {
        [_, command, header] => [&[0], &command[..], header].concat(),
        [_, command, header, payload] => {
            let length = u16::try_from(header.len()).expect("a header is short").to_be_bytes();
            [&[PAYLOAD], &command[..], &length, header, payload].concat()
        }
        frames => panic!("an example has {} frames", frames.len()),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |digit: u8| u8::try_from(char::from(digit).to_digit(16).expect("examples are in hex")).expect("a digit is small");
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}
