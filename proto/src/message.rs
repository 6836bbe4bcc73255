//! What is said: one struct a command, each field with its unit. `SPEC.md` tells who says what when.

use std::ops::Not;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::{AttemptId, Band, ContentId, Epoch, Holder, JobId, JobKey, Limits, Refusal, Request, RequestId, limits};

/// What the strips of a picture hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Rows of 8-bit RGB, filtered and deflated as a PNG's image data.
    Png,
    /// Escape counts, u32 little-endian, row by row, as they are.
    Counts,
}

impl Encoding {
    /// Bytes of one raw row of `width` pixels.
    pub fn row_bytes(self, width: u32) -> u64 {
        match self {
            Self::Png => 3 * u64::from(width) + 1,
            Self::Counts => 4 * u64::from(width),
        }
    }

    /// Bytes that `raw` raw bytes take at the most once encoded. Deflate falls back to stored blocks of 65,535 bytes with
    /// five bytes each, and an empty block of five ends every strip.
    pub fn encoded_len_max(self, raw: u64) -> u64 {
        match self {
            Self::Png => raw + 5 * (raw / 65_535 + 1) + 5,
            Self::Counts => raw,
        }
    }
}

/// Which jobs go first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Somebody waits for it.
    #[default]
    Interactive,
    /// It is wanted soon, and nobody waits for it.
    Normal,
    /// It may take the time that others leave.
    Batch,
}

/// HELLO: the first message of every peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// Program and version, for people.
    pub agent: String,
    /// This life of the peer.
    pub epoch: Epoch,
    /// From clients: whom their jobs are counted for. Jobs of one account share what one account gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Present when the peer is a worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerHello>,
}

/// What a worker says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerHello {
    /// Host and process, for people.
    pub name: String,
    /// Version of the definition, colour, strips and encoder that it computes.
    pub engine: String,
    /// The kernel that it computes with, for people.
    pub kernel: String,
    /// Threads that compute.
    pub threads: u32,
    /// Bands that it takes at once, at least one.
    pub credit: u32,
    /// Encodings that it can produce.
    pub encodings: Vec<Encoding>,
}

/// WELCOME: the broker's answer to HELLO.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// Program and version, for people.
    pub agent: String,
    /// This life of the broker.
    pub epoch: Epoch,
    /// How often both sides send a HEARTBEAT, milliseconds.
    pub heartbeat_ms: u32,
    /// A side that was silent for so long is gone, milliseconds.
    pub dead_after_ms: u32,
    /// What a request may ask for.
    #[serde(default)]
    pub limits: Limits,
}

/// How far a worker is with one of its bands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BandProgress(
    /// The attempt.
    pub AttemptId,
    /// Something that grows as the work goes on; 0 while the band waits.
    pub u64,
);

/// HEARTBEAT, both ways: I live, and this much of yours has reached me.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Messages received from this peer on this connection so far.
    pub seen: u64,
    /// From workers: every band held.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bands: Vec<BandProgress>,
}

/// BYE: I shall send nothing new. A worker that says it hands back all bands that it has not delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bye {
    /// Why, for people.
    #[serde(default)]
    pub reason: String,
}

/// BYE_OK: everything that was sent before BYE has arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByeOk {}

/// What a peer did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The frames are not a message of this protocol.
    Malformed,
    /// The version in the first frame is not spoken here.
    Version,
    /// The message may not be sent by this peer, or not now.
    Unexpected,
    /// The broker has as many peers as it may have.
    Full,
}

/// ERROR: what is wrong. The sender forgets the peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReport {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
}

/// SUBMIT: a client asks for a picture, or for the rest of one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Submit {
    /// The same key is the same job.
    pub key: JobKey,
    /// Which jobs go first.
    #[serde(default)]
    pub priority: Priority,
    /// Strips that the client already holds, counted from the top; 0 for a new picture.
    #[serde(default)]
    pub have: u32,
    /// The engine that rendered them; absent when `have` is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// Bytes of strips that the client takes without having acknowledged them; at least one maximal strip.
    pub window_bytes: u64,
    /// What the job is called in logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// What to draw.
    pub request: Request,
}

/// ACCEPTED: the broker's promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The key of the SUBMIT or KEEP.
    pub key: JobKey,
    /// The job's id from now on.
    pub job: JobId,
    /// Strips of the picture.
    pub strips: u32,
    /// Rows of a strip.
    pub rows_per_strip: u32,
    /// The picture was there already: the job is one that is done.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub cached: bool,
}

/// REFUSED: why a SUBMIT or KEEP was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The key of the SUBMIT or KEEP.
    pub key: JobKey,
    /// The field, the limit, the way out.
    pub refusal: Refusal,
}

/// Length and checksum of one encoded strip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StripMeta(
    /// Encoded bytes.
    pub u32,
    /// Adler-32 of the raw bytes.
    pub u32,
);

impl StripMeta {
    /// Encoded bytes.
    pub fn encoded_len(self) -> u32 {
        self.0
    }

    /// Adler-32 of the raw bytes.
    pub fn adler32(self) -> u32 {
        self.1
    }
}

/// STRIPS: the next strips of a picture, in row order. The payload is the encoded strips one after another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strips {
    /// The job.
    pub job: JobId,
    /// The engine that renders it.
    pub engine: String,
    /// Index of the first strip.
    pub first: u32,
    /// One entry a strip.
    pub strips: Vec<StripMeta>,
}

/// ACK: a client holds all strips before this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The job.
    pub job: JobId,
    /// Strips held, counted from the top.
    pub have: u32,
}

/// PROGRESS: how far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The job.
    pub job: JobId,
    /// Rows rendered, delivered or not.
    pub rows: u32,
    /// Workers that hold bands of it.
    pub workers: u32,
    /// Workers connected.
    pub workers_all: u32,
    /// Milliseconds that the rest will take, as far as is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_ms: Option<u64>,
}

/// DONE: every strip was acknowledged; what it took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The job.
    pub job: JobId,
    /// The engine that rendered it.
    pub engine: String,
    /// Iterations executed for the strips delivered in this life of the job.
    pub iterations: u64,
    /// Thread time that took, nanoseconds.
    pub compute_ns: u64,
    /// From ACCEPTED to the last acknowledgement, milliseconds.
    pub elapsed_ms: u64,
    /// Bands that it was cut into.
    pub bands: u64,
    /// Tries at bands, the probe not counted.
    pub attempts: u64,
    /// Workers that delivered at least one band.
    pub workers: u32,
}

/// FAILED: the job has ended without a picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// The job.
    pub job: JobId,
    /// Why, in one line for people.
    pub reason: String,
}

/// CANCEL: the client no longer wants the job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// The job.
    pub job: JobId,
    /// This one wants the detached job no longer; it ends if nobody else does. Absent: it ends, whoever wants it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
}

/// KEEP: a client asks for a picture that is rendered and kept whether or not anybody is there to take it: a detached job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Keep {
    /// The same key is the same job.
    pub key: JobKey,
    /// Which jobs go first.
    #[serde(default)]
    pub priority: Priority,
    /// Who wants it, for as long as they do: then a job that draws it already will do. Absent: a job of its own that nobody withdraws.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
    /// What the job is called in logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// What to draw.
    pub request: Request,
}

/// ATTACH: a client asks for the strips of a detached job, those to come included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// The job, of whichever client.
    pub job: JobId,
    /// Strips that the client already holds, counted from the top.
    #[serde(default)]
    pub have: u32,
    /// The engine that rendered them; absent when `have` is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// Bytes of strips that the client takes without having acknowledged them; at least one maximal strip.
    pub window_bytes: u64,
}

/// ATTACHED: what the job draws; its strips follow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attached {
    /// The job.
    pub job: JobId,
    /// Strips of the picture.
    pub strips: u32,
    /// Rows of a strip.
    pub rows_per_strip: u32,
    /// Rows that are on disk already.
    pub rows: u32,
    /// The picture.
    pub request: Request,
}

/// The pixels that a probe samples: one row in every `rows` of the drawn window, and one column in every `cols`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grid {
    /// Row distance, at least 1.
    pub rows: u32,
    /// Column distance, at least 1.
    pub cols: u32,
    /// Milliseconds after which the worker answers with what it has.
    pub budget_ms: u32,
}

/// What is leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseKind {
    /// Whole strips, answered by a TILE.
    Band {
        /// Index of the first strip.
        first: u32,
        /// How many strips.
        strips: u32,
    },
    /// Sampled rows, answered by SAMPLES.
    Probe(Grid),
}

impl From<Band> for LeaseKind {
    fn from(band: Band) -> Self {
        Self::Band { first: band.first, strips: band.strips }
    }
}

/// A second band that goes with a first: its rows are, but for one or two, the mirror images of the first's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorBand {
    /// Names this try in every answer: an attempt as any other.
    pub attempt: AttemptId,
    /// Index of the first strip.
    pub first: u32,
    /// How many strips.
    pub strips: u32,
}

impl MirrorBand {
    /// Its strips.
    pub fn band(self) -> Band {
        Band { first: self.first, strips: self.strips }
    }
}

/// LEASE: a worker gets work, and all that it needs to know to do it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    /// The job, for logs.
    pub job: JobId,
    /// Names this try in every answer.
    pub attempt: AttemptId,
    /// Which work goes first in the worker's own queue.
    #[serde(default)]
    pub priority: Priority,
    /// The lease ends when the worker has shown no progress for so long, milliseconds.
    pub lease_ms: u32,
    /// What is leased.
    pub kind: LeaseKind,
    /// Leased with it, on the same credit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<MirrorBand>,
    /// What the job is called in logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// The picture.
    pub request: Request,
}

/// TILE: a rendered band. The payload is its encoded strips one after another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tile {
    /// The attempt.
    pub attempt: AttemptId,
    /// Sum of the pixels' counts: the iterations that the definition asks for.
    pub iterations: u64,
    /// Iterations that were executed, where the worker could spare some without changing a count. The broker learns speeds from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executed: Option<u64>,
    /// Thread time from start to end, nanoseconds.
    pub compute_ns: u64,
    /// CRC-32 of the payload.
    pub crc32: u32,
    /// One entry a strip.
    pub strips: Vec<StripMeta>,
}

/// One sampled row of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowSample {
    /// Row of the drawn window.
    pub row: u32,
    /// Pixels sampled in it.
    pub pixels: u32,
    /// Iterations executed for them.
    pub iterations: u64,
}

/// SAMPLES: what a probe found. The payload is 16 bytes a row: row u32, pixels u32, iterations u64, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Samples {
    /// The attempt.
    pub attempt: AttemptId,
    /// Thread time from start to end, nanoseconds.
    pub compute_ns: u64,
}

/// Why a worker gives a band back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BandFailure {
    /// It was withdrawn, and is given back without blame.
    Withdrawn,
    /// The worker cannot do this kind of work, or has no room for it.
    Declined,
    /// It was tried and failed.
    Crashed,
}

/// BAND_FAILED: a worker gives a band back undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BandFailed {
    /// The attempt.
    pub attempt: AttemptId,
    /// For programs.
    pub failure: BandFailure,
    /// For people.
    #[serde(default)]
    pub reason: String,
}

/// WITHDRAW: the broker no longer wants this band. Answered by BAND_FAILED, or by the TILE that crossed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdraw {
    /// The attempt.
    pub attempt: AttemptId,
    /// Somebody else could begin it at once: give it back if nobody has begun it here, else go on.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub if_waiting: bool,
}

/// CREDIT: how many bands a worker takes at once from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credit {
    /// At most what its HELLO said; 0 for no more.
    pub credit: u32,
}

/// JOB_QUERY: a client asks what happened to the bands of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobQuery {
    /// The job, which may be over.
    pub job: JobId,
}

/// LIST_QUERY: a client asks which detached jobs there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListQuery {
    /// Only those that draw one of these: from 1 to [`limits::LIST_CONTENTS_MAX`]. Absent: all, and those that are damaged.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_contents")]
    pub contents: Option<Vec<ContentId>>,
}

fn some_contents<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Vec<ContentId>>, D::Error> {
    let contents = Option::<Vec<ContentId>>::deserialize(source)?;
    let len = contents.as_ref().map_or(1, Vec::len);
    if (1..=limits::LIST_CONTENTS_MAX).contains(&len) {
        return Ok(contents);
    }
    Err(D::Error::custom(format_args!("{len} contents; give from 1 to {}", limits::LIST_CONTENTS_MAX)))
}

/// Everything that can be said, payloads included.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// Any peer's first message.
    Hello(Hello),
    /// The broker's answer to it.
    Welcome(Welcome),
    /// Life and acknowledgement.
    Heartbeat(Heartbeat),
    /// The last message but acknowledgements.
    Bye(Bye),
    /// Its answer.
    ByeOk(ByeOk),
    /// What a peer did wrong.
    Error(ErrorReport),
    /// Client: a job please.
    Submit(Submit),
    /// Broker: here it is.
    Accepted(Accepted),
    /// Broker: no, because.
    Refused(Refused),
    /// Broker: the next strips, encoded.
    Strips(Strips, Bytes),
    /// Client: these strips are safe.
    Ack(Ack),
    /// Broker: how far a job is.
    Progress(Progress),
    /// Broker: a job is complete.
    Done(Done),
    /// Broker: a job has ended without a picture.
    Failed(Failed),
    /// Client: no longer wanted.
    Cancel(Cancel),
    /// Client: a detached job please.
    Keep(Keep),
    /// Client: the strips of a detached job please.
    Attach(Attach),
    /// Broker: here they come.
    Attached(Attached),
    /// Client: tell about yourself.
    StatusQuery,
    /// Broker: a MessagePack [`Status`](crate::Status).
    StatusReport(Bytes),
    /// Client: what happened to a job?
    JobQuery(JobQuery),
    /// Broker: a MessagePack [`JobReport`](crate::JobReport).
    JobReport(Bytes),
    /// Client: which detached jobs are there?
    ListQuery(ListQuery),
    /// Broker: a MessagePack [`JobList`](crate::JobList).
    ListReport(Bytes),
    /// Broker: work for a worker.
    Lease(Lease),
    /// Worker: a rendered band.
    Tile(Tile, Bytes),
    /// Worker: what a probe found.
    Samples(Samples, Bytes),
    /// Worker: a band given back.
    BandFailed(BandFailed),
    /// Broker: a band no longer wanted.
    Withdraw(Withdraw),
    /// Worker: so many bands from now on.
    Credit(Credit),
}

impl RowSample {
    /// Bytes of one row in a SAMPLES payload.
    pub const BYTES: usize = 16;

    /// The payload of a SAMPLES message.
    pub fn encode(rows: &[Self]) -> Bytes {
        let mut payload = Vec::with_capacity(rows.len() * Self::BYTES);
        for row in rows {
            payload.extend_from_slice(&row.row.to_le_bytes());
            payload.extend_from_slice(&row.pixels.to_le_bytes());
            payload.extend_from_slice(&row.iterations.to_le_bytes());
        }
        payload.into()
    }

    /// The rows in a SAMPLES payload, or nothing where it is not a whole number of rows within the limit.
    pub fn decode(payload: &[u8]) -> Option<Vec<Self>> {
        let (rows, rest) = payload.as_chunks::<{ Self::BYTES }>();
        if !rest.is_empty() || rows.len() > limits::PROBE_PIXELS_MAX as usize {
            return None;
        }
        let row = |bytes: &[u8; Self::BYTES]| {
            let (words, _) = bytes.as_chunks::<4>();
            let word = |i: usize| u32::from_le_bytes(words[i]);
            Self { row: word(0), pixels: word(1), iterations: u64::from(word(2)) | u64::from(word(3)) << 32 }
        };
        Some(rows.iter().map(row).collect())
    }
}
