//! What the guard itself says in ZMTP, to peers and to the ROUTER behind it, and where the ROUTER's messages end. Pure.

use bytes::Bytes;

use super::parser::GREETING_BYTES;

/// Longest reason in an ERROR command: its length is one byte, and the command stays a short frame.
const REASON_BYTES_MAX: usize = 200;

/// A ZMTP 3.0 greeting without security.
pub(super) fn greeting() -> [u8; GREETING_BYTES] {
    let mut greeting = [0; GREETING_BYTES];
    (greeting[0], greeting[9], greeting[10]) = (0xff, 0x7f, 3);
    greeting[12..16].copy_from_slice(b"NULL");
    greeting
}

/// READY, without an identity.
pub(super) fn ready(socket_type: &str) -> Vec<u8> {
    let mut body = b"\x05READY\x0bSocket-Type\0\0\0".to_vec();
    push_short(&mut body, socket_type.as_bytes());
    command(&body)
}

/// ERROR, which may stand in place of READY.
pub(super) fn error(reason: &str) -> Vec<u8> {
    let mut body = b"\x05ERROR".to_vec();
    push_short(&mut body, &reason.as_bytes()[..reason.len().min(REASON_BYTES_MAX)]);
    command(&body)
}

/// PONG with the context of a PING.
pub(super) fn pong(context: &[u8]) -> Vec<u8> {
    command(&[b"\x04PONG", context].concat())
}

fn command(body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x04];
    push_short(&mut frame, body);
    frame
}

fn push_short(bytes: &mut Vec<u8>, text: &[u8]) {
    bytes.push(u8::try_from(text.len()).expect("everything said here is short"));
    bytes.extend_from_slice(text);
}

/// The frames of a message.
pub(super) fn message(frames: &[Bytes]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, frame) in frames.iter().enumerate() {
        let more = u8::from(index + 1 < frames.len());
        if let Ok(short) = u8::try_from(frame.len()) {
            bytes.extend([more, short]);
        } else {
            bytes.push(more | 2);
            bytes.extend((frame.len() as u64).to_be_bytes());
        }
        bytes.extend_from_slice(frame);
    }
    bytes
}

/// Follows the ROUTER's bytes behind its handshake, to tell where something of the guard's own may be put between its messages.
#[derive(Debug, Default)]
pub(super) struct Follower {
    head: [u8; 9],
    head_len: usize,
    body_left: u64,
    /// The last frame that began is followed by another.
    is_open: bool,
}

impl Follower {
    /// Where in `bytes` the last message ends; `Some(0)` when one ended just before and none does within.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut last = self.is_between_messages().then_some(0);
        let mut at = 0;
        while at < bytes.len() {
            if self.body_left > 0 {
                let here = usize::try_from(self.body_left).map_or(bytes.len() - at, |left| left.min(bytes.len() - at));
                self.body_left -= here as u64;
                at += here;
            } else {
                self.head[self.head_len] = bytes[at];
                self.head_len += 1;
                at += 1;
                let wanted = if self.head[0] & 2 == 0 { 2 } else { 9 };
                if self.head_len == wanted {
                    let length = self.head[1..wanted].iter().fold(0, |length, &byte| length << 8 | u64::from(byte));
                    (self.head_len, self.body_left, self.is_open) = (0, length, self.head[0] & 1 != 0);
                }
            }
            if self.is_between_messages() {
                last = Some(at);
            }
        }
        last
    }

    /// Whether the last message is over.
    pub(super) fn is_between_messages(&self) -> bool {
        self.head_len == 0 && self.body_left == 0 && !self.is_open
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::parser::{MessageLimits, Parser, Said, Verdict};

    #[test]
    fn the_parser_understands_what_is_said_here() {
        let mut parser = Parser::new(MessageLimits::of_workers());
        assert_eq!(parser.feed(&greeting()), Ok(Verdict::Consume(64, Said::Greeting)));
        let ready = ready("DEALER");
        assert_eq!(parser.feed(&ready), Ok(Verdict::Consume(ready.len(), Said::Ready)));
        let message = message(&[Bytes::from_static(b"a"), vec![7; 300].into(), Bytes::new()]);
        assert_eq!(message.len(), 3 + 309 + 2);
        assert_eq!(parser.feed(&message), Ok(Verdict::Forward(message.len())));
        assert_eq!(parser.messages(), 1);
    }

    #[test]
    fn commands_have_the_bytes_of_the_standard() {
        assert_eq!(ready("ROUTER"), b"\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06ROUTER");
        assert_eq!(error("no"), b"\x04\x09\x05ERROR\x02no");
        assert_eq!(pong(b"xy"), b"\x04\x07\x04PONGxy");
        assert_eq!(error(&"x".repeat(500)).len(), 2 + 6 + 1 + REASON_BYTES_MAX);
    }

    #[test]
    fn the_ends_of_messages_are_found_however_the_bytes_are_cut() {
        let parts = [
            message(&[Bytes::from_static(b"abc"), Bytes::new()]),
            message(&[vec![1; 700].into()]),
            message(&[Bytes::new(), vec![2; 256].into(), vec![3; 255].into()]),
        ];
        let all = parts.concat();
        let ends: Vec<_> = parts
            .iter()
            .scan(0, |end, part| {
                Some({
                    *end += part.len();
                    *end
                })
            })
            .collect();
        for size in 1..all.len() {
            let (mut follower, mut found, mut from) = (Follower::default(), Vec::new(), 0);
            for chunk in all.chunks(size) {
                found.extend(follower.follow(chunk).filter(|&end| end > 0).map(|end| from + end));
                from += chunk.len();
            }
            assert!(found.iter().all(|end| ends.contains(end)) && found.last() == ends.last(), "{size}: {found:?}");
            assert!(follower.is_between_messages());
        }
    }
}
