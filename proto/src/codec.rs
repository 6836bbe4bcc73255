//! Frames to messages and back. Every byte is hostile until it has passed here.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

use crate::{Message, limits, msgpack};

/// The first four bytes of the first frame.
pub const MAGIC: [u8; 4] = *b"FRLY";
/// The fifth: version of the protocol.
pub const VERSION: u8 = 1;

const PREAMBLE: [u8; 5] = [MAGIC[0], MAGIC[1], MAGIC[2], MAGIC[3], VERSION];

/// Why frames are not a message.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Too few or too many frames.
    #[error("{0} frames; a message has 3, or 4 with a payload")]
    FrameCount(usize),
    /// The first frame does not begin with the magic.
    #[error("the first frame is not FRLY and a version byte")]
    Magic,
    /// The version byte is not ours.
    #[error("protocol version {0} is not spoken here; this side speaks version {VERSION}")]
    Version(u8),
    /// The second frame is not a command that we know.
    #[error("the second frame is not one byte that names a command")]
    Command,
    /// The header is larger than it may be.
    #[error("a header of {0} bytes; the limit is {limit}", limit = limits::HEADER_BYTES_MAX)]
    HeaderSize(usize),
    /// The header is not the MessagePack map that the command asks for.
    #[error("the header is wrong: {0}")]
    Header(&'static str),
    /// A field of the header is missing or has the wrong type.
    #[error("the header is wrong: {0}")]
    Field(String),
    /// The payload is larger than it may be.
    #[error("a payload of {0} bytes; the limit is {limit}", limit = limits::PAYLOAD_BYTES_MAX)]
    PayloadSize(usize),
    /// A payload is there but should not be, or the other way round.
    #[error("a payload is missing, or there is one too many")]
    Payload,
}

#[derive(Serialize, serde::Deserialize)]
struct Empty {}

macro_rules! commands {
    ($($code:literal = $name:ident : $shape:ident),+ $(,)?) => {
        impl Message {
            /// The byte that names the command.
            pub fn command(&self) -> u8 {
                match self { $(commands!(@pattern $shape $name header payload) => $code),+ }
            }

            /// The command's name as SPEC.md spells it, for logs.
            pub fn name(&self) -> &'static str {
                match self { $(commands!(@pattern $shape $name header payload) => stringify!($name)),+ }
            }

            fn parts(&self) -> (Vec<u8>, Option<Bytes>) {
                match self { $(commands!(@bind $shape $name header payload) => commands!(@parts $shape header payload)),+ }
            }

            fn from_parts(command: u8, header: &[u8], payload: Option<Bytes>) -> Result<Self, DecodeError> {
                match command {
                    $($code => commands!(@decode $shape $name header payload),)+
                    _ => Err(DecodeError::Command),
                }
            }
        }
    };
    (@pattern header $name:ident $h:ident $p:ident) => { Self::$name(_) };
    (@pattern both $name:ident $h:ident $p:ident) => { Self::$name(_, _) };
    (@pattern payload $name:ident $h:ident $p:ident) => { Self::$name(_) };
    (@pattern neither $name:ident $h:ident $p:ident) => { Self::$name };
    (@bind header $name:ident $h:ident $p:ident) => { Self::$name($h) };
    (@bind both $name:ident $h:ident $p:ident) => { Self::$name($h, $p) };
    (@bind payload $name:ident $h:ident $p:ident) => { Self::$name($p) };
    (@bind neither $name:ident $h:ident $p:ident) => { Self::$name };
    (@parts header $h:ident $p:ident) => { (encode_header($h), None) };
    (@parts both $h:ident $p:ident) => { (encode_header($h), Some($p.clone())) };
    (@parts payload $h:ident $p:ident) => { (encode_header(&Empty {}), Some($p.clone())) };
    (@parts neither $h:ident $p:ident) => { (encode_header(&Empty {}), None) };
    (@decode header $name:ident $h:ident $p:ident) => {{
        no_payload($p)?;
        Ok(Self::$name(decode_header($h)?))
    }};
    (@decode both $name:ident $h:ident $p:ident) => { Ok(Self::$name(decode_header($h)?, $p.ok_or(DecodeError::Payload)?)) };
    (@decode payload $name:ident $h:ident $p:ident) => {{
        decode_header::<Empty>($h)?;
        Ok(Self::$name($p.ok_or(DecodeError::Payload)?))
    }};
    (@decode neither $name:ident $h:ident $p:ident) => {{
        no_payload($p)?;
        decode_header::<Empty>($h)?;
        Ok(Self::$name)
    }};
}

commands! {
    0x01 = Hello: header,
    0x02 = Welcome: header,
    0x03 = Heartbeat: header,
    0x04 = Bye: header,
    0x05 = ByeOk: header,
    0x06 = Error: header,
    0x10 = Submit: header,
    0x11 = Accepted: header,
    0x12 = Refused: header,
    0x13 = Strips: both,
    0x14 = Ack: header,
    0x15 = Progress: header,
    0x16 = Done: header,
    0x17 = Failed: header,
    0x18 = Cancel: header,
    0x19 = Keep: header,
    0x1a = Attach: header,
    0x1b = Attached: header,
    0x20 = StatusQuery: neither,
    0x21 = StatusReport: payload,
    0x22 = JobQuery: header,
    0x23 = JobReport: payload,
    0x24 = ListQuery: header,
    0x25 = ListReport: payload,
    0x30 = Lease: header,
    0x31 = Tile: both,
    0x32 = Samples: both,
    0x33 = BandFailed: header,
    0x34 = Withdraw: header,
    0x35 = Credit: header,
}

impl Message {
    /// The frames of the message: preamble, command, header, and the payload where there is one.
    pub fn encode(&self) -> Vec<Bytes> {
        let (header, payload) = self.parts();
        debug_assert!(header.len() <= limits::HEADER_BYTES_MAX, "{} has a header of {} bytes", self.name(), header.len());
        let mut frames = vec![Bytes::from_static(&PREAMBLE), Bytes::copy_from_slice(&[self.command()]), header.into()];
        frames.extend(payload);
        frames
    }

    /// The message in `frames`. One empty frame in front, as REQ sockets send it, is passed over.
    ///
    /// # Errors
    /// The first thing that is wrong. Nothing is allocated beyond what the frames hold.
    pub fn decode(frames: &[Bytes]) -> Result<Self, DecodeError> {
        let frames = match frames {
            [delimiter, rest @ ..] if delimiter.is_empty() => rest,
            frames => frames,
        };
        let (preamble, command, header, payload) = match frames {
            [preamble, command, header] => (preamble, command, header, None),
            [preamble, command, header, payload] => (preamble, command, header, Some(payload)),
            frames => return Err(DecodeError::FrameCount(frames.len())),
        };
        match preamble.strip_prefix(&MAGIC) {
            Some([VERSION]) => {}
            Some([other]) => return Err(DecodeError::Version(*other)),
            _ => return Err(DecodeError::Magic),
        }
        let &[command] = &command[..] else { return Err(DecodeError::Command) };
        if header.len() > limits::HEADER_BYTES_MAX {
            return Err(DecodeError::HeaderSize(header.len()));
        }
        if let Some(payload) = payload.filter(|payload| payload.len() > limits::PAYLOAD_BYTES_MAX) {
            return Err(DecodeError::PayloadSize(payload.len()));
        }
        Self::from_parts(command, header, payload.cloned())
    }
}

impl crate::Status {
    /// The payload of a STATUS_REPORT.
    pub fn encode(&self) -> Bytes {
        encode_header(self).into()
    }

    /// The status in a payload.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        decode_header(payload)
    }
}

impl crate::JobList {
    /// The payload of a LIST_REPORT.
    pub fn encode(&self) -> Bytes {
        encode_header(self).into()
    }

    /// The list in a payload.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        decode_header(payload)
    }
}

impl crate::JobReport {
    /// The payload of a JOB_REPORT.
    pub fn encode(&self) -> Bytes {
        encode_header(self).into()
    }

    /// The report in a payload.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        decode_header(payload)
    }
}

impl crate::Request {
    /// The request as bytes, the same for the same request and no other: its MessagePack, as messages carry it.
    pub fn canonical(&self) -> Vec<u8> {
        encode_header(self)
    }
}

fn encode_header(header: &impl Serialize) -> Vec<u8> {
    // Room for a LEASE, so that it need not grow step by step.
    let mut bytes = Vec::with_capacity(512);
    rmp_serde::encode::write_named(&mut bytes, header)
        .expect("headers are maps of plain values, which MessagePack can always hold");
    bytes
}

fn decode_header<T: DeserializeOwned>(header: &[u8]) -> Result<T, DecodeError> {
    msgpack::check(header, limits::HEADER_DEPTH_MAX)?;
    // A struct may also be written as an array; the protocol allows the map with names only.
    if !matches!(header.first(), Some(0x80..=0x8f | 0xde | 0xdf)) {
        return Err(DecodeError::Header("it is not a map"));
    }
    rmp_serde::from_slice(header).map_err(|error| DecodeError::Field(error.to_string()))
}

fn no_payload(payload: Option<Bytes>) -> Result<(), DecodeError> {
    if payload.is_some() { Err(DecodeError::Payload) } else { Ok(()) }
}
