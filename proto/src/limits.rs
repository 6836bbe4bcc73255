//! Every bound that a peer can meet, in one place. `SPEC.md` lists the same numbers.

use serde::{Deserialize, Serialize};

/// Frames of one message, the empty delimiter of a REQ peer not counted.
pub const FRAMES_MAX: usize = 4;
/// Bytes of a MessagePack header.
pub const HEADER_BYTES_MAX: usize = 4 * 1024;
/// Bytes of all frames of a message without payload: 5 of preamble, 1 of command, the header, and room to say what is wrong with a
/// header that is a little too long.
pub const CONTROL_BYTES_MAX: usize = HEADER_BYTES_MAX + 64;
/// Nesting of maps and arrays in a header.
pub const HEADER_DEPTH_MAX: usize = 8;
/// Bytes of a payload frame.
pub const PAYLOAD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Raw bytes that a strip aims for: as many whole rows as fit, at least one.
pub const STRIP_RAW_BYTES: u64 = 256 * 1024;
/// Strips in one band, and so in one tile.
pub const BAND_STRIPS_MAX: u32 = 64;
/// Leases that one worker may hold at once; a heartbeat that lists them all still fits a header.
pub const WORKER_CREDIT_MAX: u32 = 192;
/// Threads of one worker process.
pub const WORKER_THREADS_MAX: u32 = 128;
/// Bytes of any name or text that a peer sends about itself.
pub const TEXT_BYTES_MAX: usize = 256;
/// Jobs in a list, the latest: with texts and requests at their longest they fit a payload.
pub const LIST_JOBS_MAX: usize = 4096;
/// Contents that one LIST_QUERY names: they fit a header.
pub const LIST_CONTENTS_MAX: usize = 128;
/// Bytes of the name of somebody who wants a detached job.
pub const HOLDER_BYTES_MAX: usize = 64;
/// Holders that a detached job knows by name: with one more it is held for good.
pub const HOLDERS_MAX: usize = 256;
/// Bytes of a request id.
pub const REQUEST_ID_BYTES_MAX: usize = 64;
/// Pixels that a probe samples at the most.
pub const PROBE_PIXELS_MAX: u32 = 65_536;
/// Width and height of the virtual image that a request may name, in pixels.
pub const VIRTUAL_SIDE_MAX: u32 = i32::MAX as u32;
/// Magnitude of c and of the centre, per axis, in plane units. Beyond it every orbit escapes at once.
pub const COORDINATE_MAX: f64 = 1e9;
/// Bailout radius, lower and upper bound.
pub const BAILOUT_MIN: f64 = 2.0;
/// Bailout radius, upper bound.
pub const BAILOUT_MAX: f64 = 1e9;
/// Unacknowledged messages on one connection, in one direction.
pub const WINDOW_MESSAGES: u64 = 256;
/// Unacknowledged payload and header bytes on one connection, in one direction.
pub const WINDOW_BYTES: u64 = 32 * 1024 * 1024;
/// A receiver acknowledges (with a heartbeat) after this many messages at the latest.
pub const ACK_EVERY_MESSAGES: u64 = 64;
/// A receiver acknowledges (with a heartbeat) after this many bytes at the latest.
pub const ACK_EVERY_BYTES: u64 = 8 * 1024 * 1024;

/// What a broker accepts in a request. Sent in WELCOME, so that a client can check before it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Width of the drawn window, pixels. A row always fits a payload frame.
    pub width_max: u32,
    /// Height of the drawn window, pixels.
    pub height_max: u32,
    /// Pixels of the drawn window.
    pub pixels_max: u64,
    /// Iteration limit.
    pub iterations_max: u32,
    /// Pixels times iteration limit.
    pub work_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            width_max: 1_000_000,
            height_max: 1_000_000,
            pixels_max: 1 << 40,
            iterations_max: 1_000_000_000,
            work_max: 1_000_000_000_000_000_000,
        }
    }
}
