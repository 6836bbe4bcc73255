//! What the core has the journal do, and what it hears from it. The journal is the shell's: files and a thread that waits for disks.
//!
//! It does what it is told in order. What it cannot do for want of room or for a disk that fails it tries again, says so with
//! [`FromJournal::Trouble`], and forgets nothing; only a job that is not kept yet is given up.
//!
//! How much is under way is bounded by the core: of each living job one window of [`ToJournal::Store`], a few [`ToJournal::Read`] for all
//! readers, and of each detached job one of the others.

use std::ops::Range;

use fractally_proto::{Holder, JobId, JobKey, Priority, Request, StripMeta};

use crate::PayloadId;

/// A detached job as it was asked for. Nothing of it changes.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptJob {
    /// Its id.
    pub job: JobId,
    /// The client's idempotency key.
    pub key: JobKey,
    /// Whom it is counted for.
    pub account: String,
    /// Its class.
    pub priority: Priority,
    /// When it was accepted: milliseconds since 1970, by the broker's clock.
    pub accepted_unix_ms: u64,
    /// Who wanted it first, and may withdraw; absent where it is held for good.
    pub holder: Option<Holder>,
    /// What it draws.
    pub request: Request,
}

/// How a detached job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptEnd {
    /// When: milliseconds since 1970, by the broker's clock.
    pub ended_unix_ms: u64,
    /// How.
    pub ending: KeptEnding,
    /// What it took, in the life of the broker that ended it.
    pub totals: KeptTotals,
}

/// How a detached job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptEnding {
    /// Every strip is on disk.
    Done,
    /// It could not be finished; why.
    Failed(String),
    /// A client ended it; the text is what clients are told.
    Cancelled(String),
}

/// What a job took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptTotals {
    /// Iterations executed.
    pub iterations: u64,
    /// Thread time, nanoseconds.
    pub compute_ns: u64,
    /// From its acceptance, or the broker's start, to its end, milliseconds.
    pub elapsed_ms: u64,
    /// Bands that it was cut into.
    pub bands: u64,
    /// Tries at bands.
    pub attempts: u64,
    /// Workers that delivered at least one band.
    pub workers: u32,
}

/// A detached job as it was found on disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Restored {
    /// The job.
    pub job: KeptJob,
    /// What rendered its strips; absent where there are none.
    pub engine: Option<String>,
    /// Strips that are on disk, from the top.
    pub have: u32,
    /// Bytes that it takes on disk.
    pub bytes: u64,
    /// Those of its strips alone.
    pub strip_bytes: u64,
    /// How it ended, if it did.
    pub end: Option<KeptEnd>,
}

/// What the journal has to do, in the order given.
#[derive(Clone, Debug, PartialEq)]
pub enum ToJournal {
    /// Put a new job on disk, and say [`FromJournal::Kept`].
    Keep(Box<KeptJob>),
    /// Append strips to a job, and say [`FromJournal::Stored`] once they are on disk, for several of these at once if it likes.
    Store {
        /// The job.
        job: JobId,
        /// The engine that rendered them.
        engine: String,
        /// Index of the first strip: always the next one.
        first: u32,
        /// One entry a strip; their lengths sum to the slice's.
        strips: Vec<StripMeta>,
        /// The held payload, which may be released before the strips are written: the bytes are to be taken at once.
        payload: PayloadId,
        /// Which of its bytes.
        bytes: Range<usize>,
    },
    /// Put the end of a job on disk, and say [`FromJournal::Ended`].
    End {
        /// The job.
        job: JobId,
        /// How it ended.
        end: KeptEnd,
    },
    /// Read strips that are on disk, at least one, and say [`FromJournal::Read`]. Nothing else waits for it.
    Read {
        /// Named in the answer.
        ticket: u64,
        /// The job.
        job: JobId,
        /// Index of the first strip.
        first: u32,
        /// How many at the most.
        strips_max: u32,
        /// Encoded bytes at the most.
        bytes_max: u64,
    },
    /// Forget the strips from `have` on and the end, and say [`FromJournal::Cut`].
    Cut {
        /// The job.
        job: JobId,
        /// Strips that stay.
        have: u32,
    },
    /// Remove a job, and say [`FromJournal::Forgotten`].
    Forget(JobId),
}

/// What the journal says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromJournal {
    /// A job is on disk, or could not be put there; then nothing of it is.
    Kept {
        /// The job.
        job: JobId,
        /// Bytes that it takes on disk, or why there are none.
        bytes: Result<u64, String>,
    },
    /// Strips are on disk.
    Stored {
        /// The job.
        job: JobId,
        /// All strips that are, from the top.
        have: u32,
        /// Bytes that it takes on disk.
        bytes: u64,
        /// Those of the strips alone.
        strip_bytes: u64,
    },
    /// The end of a job is on disk.
    Ended {
        /// The job.
        job: JobId,
        /// Bytes that it takes on disk.
        bytes: u64,
    },
    /// Strips were read, or not.
    Read {
        /// That of [`ToJournal::Read`].
        ticket: u64,
        /// The strips.
        read: Result<ReadStrips, ReadFault>,
    },
    /// The strips from `have` on are gone.
    Cut {
        /// The job.
        job: JobId,
        /// Strips that are left.
        have: u32,
        /// Bytes that it takes on disk.
        bytes: u64,
        /// Those of the strips alone.
        strip_bytes: u64,
    },
    /// A job is gone.
    Forgotten(JobId),
    /// Why nothing can be written at present, or that all can be written again.
    Trouble(Option<String>),
}

/// Strips from the disk. The shell holds their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadStrips {
    /// Index of the first strip.
    pub first: u32,
    /// One entry a strip.
    pub strips: Vec<StripMeta>,
    /// Their bytes, one after another.
    pub payload: PayloadId,
    /// How many.
    pub bytes: u64,
}

/// Why strips could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadFault {
    /// What is on disk is not what was written.
    Damaged {
        /// The first strip that is not.
        strip: u32,
        /// How.
        what: String,
    },
    /// The disk does not give it.
    Failed(String),
}
