//! Sound streams pass whole however they are cut; hostile ones are named, and pass nothing that breaks a limit.

use super::*;
use crate::guard::{
    laws::{self, Outcome, run},
    zmtp,
};

const HEADER: u64 = limits::HEADER_BYTES_MAX as u64;
const PAYLOAD: u64 = limits::PAYLOAD_BYTES_MAX as u64;

fn worker(stream: &[u8]) -> Outcome {
    run(MessageLimits::of_workers(), [stream])
}

fn violation(stream: &[u8]) -> Violation {
    worker(stream).violation.unwrap_or_else(|| panic!("{:02x?} passes", &stream[..stream.len().min(100)]))
}

fn shaken() -> Vec<u8> {
    [&zmtp::greeting()[..], &zmtp::ready("DEALER")].concat()
}

fn after_hello(rest: &[u8]) -> Vec<u8> {
    [&shaken()[..], &frame(0, 10), rest].concat()
}

/// A frame of zeros.
fn frame(flags: u8, bytes: usize) -> Vec<u8> {
    let mut frame = head_of(flags, bytes as u64);
    frame.resize(frame.len() + bytes, 0);
    frame
}

fn head_of(flags: u8, bytes: u64) -> Vec<u8> {
    match u8::try_from(bytes) {
        Ok(short) => vec![flags, short],
        Err(_) => [&[flags | LONG][..], &bytes.to_be_bytes()].concat(),
    }
}

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }
}

/// Everything that a peer may do, in a stream of some 20 kB.
fn sound_stream() -> (Vec<u8>, Outcome) {
    let ping = b"\x04\x09\x04PING\x00\x07ab";
    let hello = [frame(MORE, 5), frame(MORE, 1), frame(0, 300)].concat();
    let with_delimiter = [frame(MORE, 0), frame(MORE, 5), frame(MORE, 1), frame(MORE, 255), frame(0, 256)].concat();
    let tile = [frame(MORE, 5), frame(MORE, 1), frame(MORE, 90), frame(0, 17_000)].concat();
    let empty = frame(0, 0);
    let stream = [&shaken()[..], ping, &hello, &with_delimiter, ping, &tile, &empty, &empty, &hello].concat();
    let forwarded = [&hello[..], &with_delimiter, &tile, &empty, &empty, &hello].concat();
    let said = vec![Said::Greeting, Said::Ready, Said::Ping(b"ab".to_vec()), Said::Ping(b"ab".to_vec())];
    (stream, Outcome { forwarded, said, large: vec![17_000], messages: 6, violation: None })
}

#[test]
fn a_sound_stream_passes_the_same_however_it_is_cut() {
    let (stream, expected) = sound_stream();
    for at in 0..=stream.len() {
        let (front, back) = stream.split_at(at);
        assert_eq!(run(MessageLimits::of_workers(), [front, back]), expected, "cut at {at}");
    }
    for size in [1, 2, 3, 7, 8, 9, 64, 1000] {
        assert_eq!(run(MessageLimits::of_workers(), stream.chunks(size)), expected, "in pieces of {size}");
    }
}

#[test]
fn a_stream_that_is_cut_off_is_no_violation_and_passes_nothing_else() {
    let (stream, expected) = sound_stream();
    for end in 0..stream.len() {
        let outcome = worker(&stream[..end]);
        assert_eq!(outcome.violation, None);
        assert!(expected.forwarded.starts_with(&outcome.forwarded));
    }
}

#[test]
fn a_greeting_is_refused_at_its_first_wrong_byte() {
    assert_eq!(violation(b"GET / HTTP/1.1\r\n"), Violation::Signature);
    assert_eq!(violation(b"\xff\0\0\0\0\0\0\0\x01\x7e"), Violation::Signature);
    assert_eq!(violation(b"\xff\0\0\0\0\0\0\0\x01\x7f\x01"), Violation::Version(1));
    assert_eq!(violation(b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01PLAIN"), Violation::Mechanism);
    assert_eq!(violation(b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x00NULLX"), Violation::Mechanism);
    let mut newer = shaken();
    (newer[10], newer[11], newer[63]) = (4, 2, 9);
    assert_eq!(worker(&newer).said, [Said::Greeting, Said::Ready]);
}

#[test]
fn ready_is_refused_for_what_it_lacks_or_adds() {
    let greeted = |command: &[u8]| violation(&[&zmtp::greeting()[..], command].concat());
    let ready = |properties: &[u8]| {
        let body = [b"\x05READY", properties].concat();
        greeted(&[&head_of(COMMAND, body.len() as u64)[..], &body].concat())
    };
    assert_eq!(greeted(b"\x00\x01x"), Violation::NoReady);
    assert_eq!(greeted(b"\x04\x06\x05HELLO"), Violation::NoReady);
    assert_eq!(greeted(b"\x05\x1c"), Violation::NoReady);
    assert_eq!(greeted(&head_of(COMMAND, READY_BYTES_MAX + 1)), Violation::ReadySize(READY_BYTES_MAX + 1));
    for power in 38..64 {
        assert_eq!(greeted(&head_of(COMMAND, 1 << power)), Violation::ReadySize(1 << power));
        assert_eq!(greeted(&head_of(0, 1 << power)), Violation::NoReady);
    }
    assert_eq!(ready(b""), Violation::SocketType);
    assert_eq!(ready(b"\x0bSocket-Type\0\0\0\x06ROUTER"), Violation::SocketType);
    assert_eq!(ready(b"\x0bSocket-Type\0\0\0\x03REQ\x0bsocket-type\0\0\0\x06DEALER"), Violation::SocketType);
    assert_eq!(ready(b"\x0bSocket-Type\0\0\0\x06DEALER\x08identity\0\0\0\x01x"), Violation::Identity);
    assert_eq!(ready(b"\x0bSocket-Type\xff\xff\xff\xffDEALER"), Violation::Metadata);
    assert_eq!(ready(b"\xffSocket-Type"), Violation::Metadata);
    assert_eq!(ready(b"\0\0\0\0\0"), Violation::Metadata);
}

#[test]
fn ready_as_other_libraries_say_it_passes() {
    for command in [
        &b"\x04\x29\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\0"[..],
        b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03REQ",
        b"\x06\0\0\0\0\0\0\0\x26\x05READY\x01X\0\0\0\x04abcd\x0bSocket-Type\0\0\0\x06DEALER",
    ] {
        let outcome = worker(&[&zmtp::greeting()[..], command].concat());
        assert_eq!((outcome.said.last(), outcome.violation), (Some(&Said::Ready), None), "{command:02x?}");
    }
}

#[test]
fn lengths_that_lie_are_refused_before_any_byte_of_the_frame_passes() {
    for power in 24..64 {
        let bytes = 1 << power;
        let outcome = worker(&after_hello(&head_of(0, bytes)));
        assert!(matches!(outcome.violation, Some(Violation::MessageSize { .. })), "{outcome:?}");
        assert_eq!(outcome.forwarded, frame(0, 10));
        let first = worker(&[shaken(), head_of(0, bytes)].concat());
        assert!(matches!(first.violation, Some(Violation::FirstMessageSize { .. })) && first.forwarded.is_empty());
        assert_eq!(violation(&after_hello(&head_of(COMMAND, bytes))), Violation::CommandSize(bytes));
        assert!(matches!(violation(&after_hello(&head_of(MORE, bytes))), Violation::MessageSize { .. }));
    }
    let two = [frame(MORE, 1), head_of(0, u64::MAX)].concat();
    assert_eq!(violation(&after_hello(&two)), Violation::MessageSize { bytes: u64::MAX, limit: PAYLOAD + HEADER + 64 });
}

#[test]
fn the_largest_messages_of_each_side_pass_and_a_byte_more_does_not() {
    let payload = limits::PAYLOAD_BYTES_MAX;
    let header = [frame(MORE, 0), frame(MORE, 5), frame(MORE, 1), frame(MORE, limits::HEADER_BYTES_MAX)].concat();
    let tile = after_hello(&[&header[..], &frame(0, payload)].concat());
    let outcome = worker(&tile);
    assert_eq!((outcome.messages, outcome.large, outcome.violation), (2, vec![PAYLOAD], None));
    let long = [&frame(MORE, limits::HEADER_BYTES_MAX + 1)[..], &frame(0, 1)].concat();
    assert_eq!(violation(&after_hello(&long)), Violation::FrameSize { bytes: HEADER + 1, limit: HEADER });
    let all = PAYLOAD + HEADER + 64;
    assert!(matches!(violation(&after_hello(&head_of(0, all + 1))), Violation::MessageSize { bytes, .. } if bytes == all + 1));

    let client = |stream: &[u8]| run(MessageLimits::of_clients(), [stream]).violation;
    let submit = [frame(MORE, 5), frame(MORE, 1), frame(0, limits::HEADER_BYTES_MAX)].concat();
    assert_eq!(client(&[&shaken()[..], &submit, &submit].concat()), None);
    assert!(matches!(client(&tile), Some(Violation::MessageSize { .. })));
    let halves = [frame(MORE, 2100), frame(0, 2100)].concat();
    assert!(matches!(client(&after_hello(&halves)), Some(Violation::MessageSize { bytes: 4200, .. })));
}

#[test]
fn endless_frames_reserved_bits_and_other_commands_are_refused() {
    let endless: Vec<_> = (0..100).flat_map(|_| frame(MORE, 0)).collect();
    let outcome = worker(&after_hello(&endless));
    assert_eq!(outcome.violation, Some(Violation::FrameCount(limits::FRAMES_MAX + 1)));
    assert_eq!(outcome.forwarded.len(), 12 + 2 * (limits::FRAMES_MAX + 1));
    for flags in (0..=u8::MAX).filter(|flags| flags & 0xf8 != 0 || flags & 5 == 5) {
        assert_eq!(violation(&after_hello(&[flags])), Violation::Flags(flags));
    }
    for command in [&b"\x04\x05\x04PONG"[..], b"\x04\x06\x04PING\0", b"\x04\x07\x06ERROR\0", b"\x04\x00", b"\x04\x02\x01x"] {
        assert_eq!(violation(&after_hello(command)), Violation::Command, "{command:02x?}");
    }
}

#[test]
fn a_ping_between_the_frames_of_a_message_is_taken_out() {
    let ping = b"\x04\x07\x04PING\0\0";
    let message = [&frame(MORE, 3)[..], ping, &frame(0, 3)].concat();
    let outcome = worker(&after_hello(&message));
    assert_eq!((outcome.messages, outcome.violation), (2, None));
    assert_eq!(outcome.said.last(), Some(&Said::Ping(Vec::new())));
    assert_eq!(outcome.forwarded, [frame(0, 10), frame(MORE, 3), frame(0, 3)].concat());
}

/// Tells the seed when a law is broken.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("FRACTALLY_SEED={} replays it", self.0);
        }
    }
}

/// Seeds from 0, or the one of `FRACTALLY_SEED`, which replays it.
fn seeds(count: u64) -> std::ops::Range<u64> {
    let replayed = std::env::var("FRACTALLY_SEED").ok().and_then(|seed| seed.parse().ok());
    replayed.map_or(0..count, |seed: u64| seed..seed + 1)
}

fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>, dense: usize) {
    // Heads of frames are rare among the bytes: half of the blows go where there are many.
    for _ in 0..1 + rng.below(4) {
        let reach = if rng.below(2) == 0 { dense } else { bytes.len() };
        let at = rng.below(reach.min(bytes.len()));
        match rng.below(4) {
            0 => bytes[at] = u8::try_from(rng.below(256)).unwrap(),
            1 => bytes[at] ^= 1 << rng.below(8),
            2 if bytes.len() > 40 => drop(bytes.drain(at..(at + 1 + rng.below(20)).min(bytes.len()))),
            _ => bytes.insert(at, u8::try_from(rng.below(256)).unwrap()),
        }
    }
}

#[test]
fn mutated_streams_with_large_frames_keep_the_laws() {
    let (stream, _) = sound_stream();
    let (mut refused, mut all) = (0, 0);
    for seed in seeds(20_000) {
        let _told = Seed(seed);
        let mut rng = Rng(seed);
        let limits = if rng.below(2) == 0 { MessageLimits::of_clients() } else { MessageLimits::of_workers() };
        let mut bytes = stream.clone();
        mutate(&mut rng, &mut bytes, 200);
        let size = 1 + rng.below(300);
        let outcome = laws::check_stream(&limits, &bytes, &[size]);
        (refused, all) = (refused + u64::from(outcome.violation.is_some()), all + 1);
    }
    assert!(all == 1 || (all / 20..all * 19 / 20).contains(&refused), "{refused} of {all} refused");
}

#[test]
fn mutated_streams_of_small_messages_keep_the_laws() {
    let inputs = laws::inputs();
    assert!(inputs.iter().all(|input| laws::check_input(input)));
    let (mut sound, mut all) = (0, 0);
    for seed in seeds(100_000) {
        let _told = Seed(seed);
        let mut rng = Rng(seed);
        let mut input = inputs[rng.below(inputs.len())].clone();
        // The greeting has 64 bytes, most of which mean nothing.
        let from = if rng.below(4) == 0 { 0 } else { 64 };
        let mut tail = input.split_off(from);
        mutate(&mut rng, &mut tail, 64);
        input.extend(tail);
        (sound, all) = (sound + u64::from(laws::check_input(&input)), all + 1);
    }
    assert!(all == 1 || (all / 20..all * 19 / 20).contains(&sound), "{sound} of {all} pass");
}
