//! What a peer may say in ZMTP 3 towards a broker. Pure: fed with bytes, it answers what to do with them. It knows nothing of the
//! grid's messages beyond their sizes; those are `fractally-proto`'s.
//!
//! The ZeroMQ library takes a peer's word for a length and reserves it, so no length may reach it that was not checked here.
//! Wire format: <https://rfc.zeromq.org/spec/23/> (3.0) and <https://rfc.zeromq.org/spec/37/> (3.1, which brings PING).

use fractally_proto::limits;
use thiserror::Error;

/// Bytes of a greeting.
pub(super) const GREETING_BYTES: usize = 64;
/// Bytes of a READY command; DEALER with an empty identity takes 43.
pub(super) const READY_BYTES_MAX: u64 = 512;
/// Bytes of any later command: a PING with the longest context takes 23.
pub(super) const COMMAND_BYTES_MAX: u64 = 23;
/// A frame beyond so many bytes is announced by [`Verdict::Large`] before it begins.
pub(super) const LARGE_FRAME_BYTES: u64 = 16 * 1024;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// How large messages may be, frame heads not counted.
#[derive(Clone, Debug)]
pub struct MessageLimits {
    /// Frames of one message, an empty one in front of it included.
    pub frames_max: usize,
    /// Bytes of a frame that others follow. Payloads come last, so that these are small.
    pub inner_frame_bytes_max: u64,
    /// Bytes of all frames of a message.
    pub message_bytes_max: u64,
    /// The same for the first message of a connection, which is a HELLO.
    pub first_message_bytes_max: u64,
}

impl MessageLimits {
    /// Clients send control messages and no payload.
    pub fn of_clients() -> Self {
        let control = limits::CONTROL_BYTES_MAX as u64;
        Self {
            frames_max: limits::FRAMES_MAX + 1,
            inner_frame_bytes_max: limits::HEADER_BYTES_MAX as u64,
            message_bytes_max: control,
            first_message_bytes_max: control,
        }
    }

    /// Workers send tiles.
    pub fn of_workers() -> Self {
        let clients = Self::of_clients();
        Self { message_bytes_max: clients.message_bytes_max + limits::PAYLOAD_BYTES_MAX as u64, ..clients }
    }
}

/// What a peer said that a broker cannot take.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum Violation {
    /// The first bytes are not those of ZMTP.
    #[error("this is not ZMTP: a greeting begins with ff, eight bytes and 7f")]
    Signature,
    /// ZMTP before 3.0.
    #[error("ZMTP version {0} is not spoken here; the least is 3")]
    Version(u8),
    /// PLAIN, CURVE or something else.
    #[error("the security mechanism is not NULL")]
    Mechanism,
    /// Something else comes in place of READY.
    #[error("READY must follow the greeting")]
    NoReady,
    /// The READY command is too large.
    #[error("READY has {0} bytes; the limit is {READY_BYTES_MAX}")]
    ReadySize(u64),
    /// READY's properties are not as ZMTP has them.
    #[error("the properties of READY are malformed")]
    Metadata,
    /// Only these two talk to a ROUTER as the protocol asks.
    #[error("the socket type is not DEALER or REQ")]
    SocketType,
    /// The library would let the newest peer with an identity take the place of the one before.
    #[error("a peer must not set a socket identity")]
    Identity,
    /// Reserved bits, or a command that claims to go on.
    #[error("frame flags {0:#04x} are not allowed")]
    Flags(u8),
    /// A frame that others follow is too long.
    #[error("a frame of {bytes} bytes with others behind it; the limit is {limit}")]
    FrameSize {
        /// What the frame's head says.
        bytes: u64,
        /// The most that is allowed.
        limit: u64,
    },
    /// All frames of a message together are too long.
    #[error("a message of at least {bytes} bytes; the limit is {limit}")]
    MessageSize {
        /// Bytes of its frames so far, by what their heads say.
        bytes: u64,
        /// The most that is allowed.
        limit: u64,
    },
    /// The first message is too long.
    #[error("a first message of at least {bytes} bytes; the limit for a HELLO is {limit}")]
    FirstMessageSize {
        /// Bytes of its frames so far, by what their heads say.
        bytes: u64,
        /// The most that is allowed.
        limit: u64,
    },
    /// The message has too many frames.
    #[error("a message of more than {0} frames")]
    FrameCount(usize),
    /// A command after READY that is not PING.
    #[error("a command other than PING after READY")]
    Command,
    /// A command after READY that is too long for a PING.
    #[error("a command of {0} bytes after READY; the limit is {COMMAND_BYTES_MAX}")]
    CommandSize(u64),
}

/// What is to be done with the bytes at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The first so many bytes belong to messages and break no limit: they may go on to the broker. Never 0.
    Forward(usize),
    /// The first so many bytes were meant for the guard and must not go on.
    Consume(usize, Said),
    /// A frame of so many bytes comes next, more than [`LARGE_FRAME_BYTES`]. Said once, before any byte of it is forwarded.
    Large(u64),
    /// More bytes are needed behind these to tell. So many are never more than a greeting or a command has.
    Wait,
}

/// What was meant for the guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// A greeting.
    Greeting,
    /// READY.
    Ready,
    /// PING; a PONG with this context is due.
    Ping(Vec<u8>),
}

/// Follows one connection from its first byte.
#[derive(Clone, Debug)]
pub(super) struct Parser {
    limits: MessageLimits,
    state: State,
    /// Frames and bytes of the message that has begun, and whether it goes on.
    frames: usize,
    bytes: u64,
    is_open: bool,
    messages: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Greeting,
    Ready,
    /// A frame's head comes next; whether it was announced as large.
    Head {
        announced: bool,
    },
    /// So many bytes of a frame are still to come.
    Body {
        left: u64,
    },
}

/// The head of a frame.
struct Head {
    flags: u8,
    /// Its own bytes.
    len: usize,
    /// Bytes of the frame behind it.
    body: u64,
}

impl Parser {
    /// For a connection on which nothing was said.
    pub(super) fn new(limits: MessageLimits) -> Self {
        Self { limits, state: State::Greeting, frames: 0, bytes: 0, is_open: false, messages: 0 }
    }

    /// Whole messages so far.
    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    /// Whether a message has begun and is not whole.
    pub(super) fn is_inside_message(&self) -> bool {
        self.is_open || matches!(self.state, State::Body { .. })
    }

    /// Judges `input`, which begins with the bytes that the last call left over. To be called again with what is left, until it
    /// says [`Verdict::Wait`] (empty input waits as well).
    ///
    /// # Errors
    /// [`Violation`]: the connection must end, and nothing of `input` may go on.
    pub(super) fn feed(&mut self, input: &[u8]) -> Result<Verdict, Violation> {
        match self.state {
            State::Greeting => self.greeting(input),
            State::Ready => self.ready(input),
            State::Head { .. } | State::Body { .. } => self.messages_in(input),
        }
    }

    fn greeting(&mut self, input: &[u8]) -> Result<Verdict, Violation> {
        check_greeting(&input[..input.len().min(GREETING_BYTES)])?;
        if input.len() < GREETING_BYTES {
            return Ok(Verdict::Wait);
        }
        self.state = State::Ready;
        Ok(Verdict::Consume(GREETING_BYTES, Said::Greeting))
    }

    fn ready(&mut self, input: &[u8]) -> Result<Verdict, Violation> {
        if input.first().is_some_and(|flags| flags & !LONG != COMMAND) {
            return Err(Violation::NoReady);
        }
        let Some(head) = head(input) else { return Ok(Verdict::Wait) };
        let Some(body) = whole_body(input, &head, READY_BYTES_MAX, Violation::ReadySize)? else { return Ok(Verdict::Wait) };
        check_ready(body)?;
        self.state = State::Head { announced: false };
        Ok(Verdict::Consume(head.len + body.len(), Said::Ready))
    }

    /// Goes over as many frames as `input` holds: a small message costs no call of its own.
    fn messages_in(&mut self, input: &[u8]) -> Result<Verdict, Violation> {
        let mut sound = 0;
        let verdict = loop {
            match self.step(&input[sound..]) {
                Ok(Step::Sound(bytes)) => sound += bytes,
                Ok(Step::Other(verdict)) => break Ok(verdict),
                Err(violation) => break Err(violation),
            }
        };
        // What comes behind sound bytes is said again when they are gone: a step that forwards nothing changes nothing, but for
        // the two that are taken back here.
        if sound == 0 {
            return verdict;
        }
        if let Ok(Verdict::Large(_)) = verdict {
            self.state = State::Head { announced: false };
        }
        Ok(Verdict::Forward(sound))
    }

    fn step(&mut self, input: &[u8]) -> Result<Step, Violation> {
        match self.state {
            State::Body { left } => {
                let here = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
                if here == 0 {
                    return Ok(Step::Other(Verdict::Wait));
                }
                self.body_went_on(left - here as u64);
                Ok(Step::Sound(here))
            }
            State::Head { announced } => self.head_step(input, announced),
            State::Greeting | State::Ready => Ok(Step::Other(Verdict::Wait)),
        }
    }

    fn head_step(&mut self, input: &[u8], announced: bool) -> Result<Step, Violation> {
        let Some(&flags) = input.first() else { return Ok(Step::Other(Verdict::Wait)) };
        if flags & !(MORE | LONG | COMMAND) != 0 || flags & (MORE | COMMAND) == (MORE | COMMAND) {
            return Err(Violation::Flags(flags));
        }
        let Some(head) = head(input) else { return Ok(Step::Other(Verdict::Wait)) };
        if flags & COMMAND != 0 {
            let Some(body) = whole_body(input, &head, COMMAND_BYTES_MAX, Violation::CommandSize)? else {
                return Ok(Step::Other(Verdict::Wait));
            };
            return Ok(Step::Other(Verdict::Consume(head.len + body.len(), Said::Ping(ping_context(body)?))));
        }
        self.check_frame(&head)?;
        if head.body > LARGE_FRAME_BYTES && !announced {
            self.state = State::Head { announced: true };
            return Ok(Step::Other(Verdict::Large(head.body)));
        }
        self.frames += 1;
        self.bytes += head.body;
        self.is_open = head.flags & MORE != 0;
        self.body_went_on(head.body);
        Ok(Step::Sound(head.len))
    }

    fn check_frame(&self, head: &Head) -> Result<(), Violation> {
        if self.frames >= self.limits.frames_max {
            return Err(Violation::FrameCount(self.limits.frames_max));
        }
        let bytes = self.bytes.saturating_add(head.body);
        let (first, all) = (self.limits.first_message_bytes_max, self.limits.message_bytes_max);
        if self.messages == 0 && bytes > first {
            return Err(Violation::FirstMessageSize { bytes, limit: first });
        }
        if bytes > all {
            return Err(Violation::MessageSize { bytes, limit: all });
        }
        let limit = self.limits.inner_frame_bytes_max;
        if head.flags & MORE != 0 && head.body > limit {
            return Err(Violation::FrameSize { bytes: head.body, limit });
        }
        Ok(())
    }

    /// So many bytes of the frame are still to come; at its end the message may end as well.
    fn body_went_on(&mut self, left: u64) {
        if left > 0 {
            self.state = State::Body { left };
            return;
        }
        self.state = State::Head { announced: false };
        if !self.is_open {
            self.messages += 1;
            (self.frames, self.bytes) = (0, 0);
        }
    }
}

enum Step {
    /// So many bytes may go on.
    Sound(usize),
    /// Nothing goes on, and this is why.
    Other(Verdict),
}

/// The greeting as far as it is there.
fn check_greeting(input: &[u8]) -> Result<(), Violation> {
    let is = |at: usize, wanted: u8| input.get(at).is_none_or(|&byte| byte == wanted);
    if !is(0, 0xff) || !is(9, 0x7f) {
        return Err(Violation::Signature);
    }
    if let Some(&major) = input.get(10).filter(|&&major| major < 3) {
        return Err(Violation::Version(major));
    }
    let mut mechanism = [0; 20];
    mechanism[..4].copy_from_slice(b"NULL");
    if mechanism.iter().enumerate().any(|(at, &wanted)| !is(12 + at, wanted)) {
        return Err(Violation::Mechanism);
    }
    // What stands behind, as-server and filler, means nothing without security and never goes on.
    Ok(())
}

fn head(input: &[u8]) -> Option<Head> {
    let (&flags, rest) = input.split_first()?;
    if flags & LONG == 0 {
        return Some(Head { flags, len: 2, body: (*rest.first()?).into() });
    }
    Some(Head { flags, len: 9, body: u64::from_be_bytes(*rest.first_chunk()?) })
}

/// The body of a command once it is whole.
fn whole_body<'a>(
    input: &'a [u8],
    head: &Head,
    limit: u64,
    too_large: impl FnOnce(u64) -> Violation,
) -> Result<Option<&'a [u8]>, Violation> {
    if head.body > limit {
        return Err(too_large(head.body));
    }
    Ok(usize::try_from(head.body).ok().and_then(|body| input.get(head.len..head.len + body)))
}

fn check_ready(body: &[u8]) -> Result<(), Violation> {
    let mut rest = body.strip_prefix(b"\x05READY").ok_or(Violation::NoReady)?;
    let mut is_known_type = false;
    while !rest.is_empty() {
        let (name, value);
        (name, rest) = property(rest, 1)?;
        (value, rest) = property(rest, 4)?;
        if name.is_empty() {
            return Err(Violation::Metadata);
        }
        if name.eq_ignore_ascii_case(b"Identity") && !value.is_empty() {
            return Err(Violation::Identity);
        }
        if name.eq_ignore_ascii_case(b"Socket-Type") {
            if is_known_type || !matches!(value, b"DEALER" | b"REQ") {
                return Err(Violation::SocketType);
            }
            is_known_type = true;
        }
    }
    if is_known_type { Ok(()) } else { Err(Violation::SocketType) }
}

/// Bytes behind a big-endian length of `width` bytes, and what follows them.
fn property(input: &[u8], width: usize) -> Result<(&[u8], &[u8]), Violation> {
    let (length, rest) = input.split_at_checked(width).ok_or(Violation::Metadata)?;
    let length = length.iter().fold(0, |length, &byte| length << 8 | usize::from(byte));
    rest.split_at_checked(length).ok_or(Violation::Metadata)
}

/// A PING has a time to live of two bytes, which asks nothing of us, and a context that the PONG repeats.
fn ping_context(body: &[u8]) -> Result<Vec<u8>, Violation> {
    body.strip_prefix(b"\x04PING").and_then(|rest| rest.get(2..)).map(<[u8]>::to_vec).ok_or(Violation::Command)
}

// Named, because `fuzz/` compiles this file under another root.
#[cfg(test)]
#[path = "parser/tests.rs"]
mod tests;
