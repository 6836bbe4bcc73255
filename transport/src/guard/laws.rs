//! What must hold for the parser whatever bytes come, in whatever pieces. Shared by its unit tests and by `fuzz/`, which compiles this
//! file with `parser.rs` and `zmtp.rs` by themselves. Every check panics where a law does not hold.

use fractally_proto::Message;

use super::{
    parser::{
        COMMAND_BYTES_MAX, GREETING_BYTES, LARGE_FRAME_BYTES, MessageLimits, Parser, READY_BYTES_MAX, Said, Verdict, Violation,
    },
    zmtp,
};

/// Bits of the first byte of an input: whose limits hold, whether a handshake stands in front, and a first message behind it.
const WORKER: u8 = 1;
const SHAKEN: u8 = 2;
const SETTLED: u8 = 4;
/// How many of the next bytes say how the stream is cut.
const CUTS: usize = 4;

/// What a whole stream came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) forwarded: Vec<u8>,
    pub(super) said: Vec<Said>,
    pub(super) large: Vec<u64>,
    pub(super) messages: u64,
    pub(super) violation: Option<Violation>,
}

/// Feeds a stream in pieces, as a connection does: what is left over stands in front of the next piece.
pub(super) fn run<'a>(limits: MessageLimits, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut parser = Parser::new(limits);
    let (mut outcome, mut kept) = (Outcome::default(), Vec::new());
    for piece in pieces {
        kept.extend_from_slice(piece);
        loop {
            match parser.feed(&kept) {
                Ok(Verdict::Forward(bytes)) => {
                    assert!(bytes > 0 && outcome.said.contains(&Said::Ready));
                    outcome.forwarded.extend(kept.drain(..bytes));
                }
                Ok(Verdict::Consume(bytes, said)) => {
                    assert!(bytes > 0);
                    kept.drain(..bytes);
                    outcome.said.push(said);
                }
                Ok(Verdict::Large(bytes)) => outcome.large.push(bytes),
                Ok(Verdict::Wait) => break,
                Err(violation) => {
                    outcome.violation = Some(violation);
                    outcome.messages = parser.messages();
                    return outcome;
                }
            }
        }
        let head = 9;
        let most = (head + READY_BYTES_MAX.max(COMMAND_BYTES_MAX)).max(GREETING_BYTES as u64);
        assert!(kept.len() as u64 <= most, "{} bytes wait", kept.len());
    }
    outcome.messages = parser.messages();
    outcome
}

/// Holds a stream to the laws, cut into pieces of `sizes` over and over.
pub(super) fn check_stream(limits: &MessageLimits, stream: &[u8], sizes: &[usize]) -> Outcome {
    let outcome = run(limits.clone(), [stream]);
    assert_eq!(run(limits.clone(), Pieces { stream, sizes: sizes.iter().cycle() }), outcome, "cut into {sizes:?}");
    check_forwarded(&outcome, limits);
    outcome
}

/// The same for bytes that say by themselves what the limits are and how the stream is cut. Whether the stream passes.
pub(super) fn check_input(input: &[u8]) -> bool {
    let Some((&[shape, ref cuts @ ..], tail)) = input.split_first_chunk::<{ 1 + CUTS }>() else { return false };
    let limits = if shape & WORKER != 0 { MessageLimits::of_workers() } else { MessageLimits::of_clients() };
    let mut stream = Vec::new();
    if shape & SHAKEN != 0 {
        stream.extend(shaken());
    }
    if shape & SETTLED != 0 {
        stream.extend(zmtp::message(&Message::StatusQuery.encode()));
    }
    stream.extend_from_slice(tail);
    check_stream(&limits, &stream, &cuts.map(|cut| 1 + usize::from(cut))).violation.is_none()
}

fn shaken() -> Vec<u8> {
    [&zmtp::greeting()[..], &zmtp::ready("DEALER")].concat()
}

struct Pieces<'a, S> {
    stream: &'a [u8],
    sizes: S,
}

impl<'a, 'b, S: Iterator<Item = &'b usize>> Iterator for Pieces<'a, S> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let size = *self.sizes.next()?;
        let (piece, rest) = self.stream.split_at(size.min(self.stream.len()));
        self.stream = rest;
        if piece.is_empty() { None } else { Some(piece) }
    }
}

/// Reads what was forwarded as the ZeroMQ library does, and holds every message to the limits. It shares no code with the parser.
fn check_forwarded(outcome: &Outcome, limits: &MessageLimits) {
    let (mut frames, mut sum, mut messages, mut large) = (0, 0, 0, Vec::new());
    let mut bytes = &outcome.forwarded[..];
    while let Some((more, head, body)) = frame(bytes) {
        (frames, sum) = (frames + 1, sum + body);
        let limit = if messages == 0 { limits.first_message_bytes_max } else { limits.message_bytes_max };
        assert!(frames <= limits.frames_max && sum <= limit, "{frames} frames of {sum} bytes");
        assert!(!more || body <= limits.inner_frame_bytes_max);
        large.extend((body > LARGE_FRAME_BYTES).then_some(body));
        let whole = usize::try_from(body).expect("it keeps to the limits") + head;
        let Some(rest) = bytes.get(whole..) else { break };
        if !more {
            (frames, sum, messages) = (0, 0, messages + 1);
        }
        bytes = rest;
    }
    assert_eq!(messages, outcome.messages);
    // Each large frame was announced, and at most one that has not begun.
    let announced = outcome.large.get(..large.len()).expect("every large frame is announced");
    assert!(announced == large && outcome.large.len() <= large.len() + 1, "{:?} for {large:?}", outcome.large);
    assert!(outcome.large.iter().all(|&bytes| bytes > LARGE_FRAME_BYTES && bytes <= limits.message_bytes_max));
    // The handshake comes first, once, and nothing else is taken out but PINGs of bounded size.
    let is_in_order = |(at, said): (usize, &Said)| match said {
        Said::Greeting => at == 0,
        Said::Ready => at == 1,
        Said::Ping(context) => at > 1 && context.len() as u64 <= COMMAND_BYTES_MAX,
    };
    assert!(outcome.said.iter().enumerate().all(is_in_order));
}

/// Whether another frame follows, bytes of the head, and of the body. Nothing where no head is whole: a head passes as one.
fn frame(bytes: &[u8]) -> Option<(bool, usize, u64)> {
    let (&flags, rest) = bytes.split_first()?;
    assert_eq!(flags & !3, 0, "no command and no reserved bit passes");
    let (head, body) = match flags & 2 {
        0 => (2, u64::from(*rest.first().expect("a head passes as one"))),
        _ => (9, u64::from_be_bytes(*rest.first_chunk().expect("a head passes as one"))),
    };
    Some((flags & 1 != 0, head, body))
}

/// Inputs for [`check_input`] with streams as peers send them: of clients and workers, with PINGs, with an empty frame in front, and
/// with a large frame that has begun.
pub(super) fn inputs() -> Vec<Vec<u8>> {
    let small = zmtp::message(&Message::StatusQuery.encode());
    let ping = b"\x04\x09\x04PING\0\x07ab";
    let tile = b"\x01\0\x01\x05FRLY\x01\x01\x01\x31\x01\x01\x80\x02\0\0\0\0\0\0\x50\0abcdef";
    let client = [&shaken()[..], &small, ping, &small].concat();
    let worker = [&shaken()[..], &small, &small, ping, tile].concat();
    let cuts = [[255; CUTS], [0; CUTS], [9, 1, 63, 30]];
    let input = |shape: u8, cuts: &[u8; CUTS], stream: &[u8]| [&[shape], &cuts[..], stream].concat();
    cuts.iter().flat_map(|cuts| [input(0, cuts, &client), input(WORKER, cuts, &worker)]).collect()
}
