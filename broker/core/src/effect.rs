//! What goes out: messages, payload slices, releases, goodbyes, and notes for the log.

use std::{fmt, ops::Range, time::Duration};

use fractally_proto::{AttemptId, Band, JobId, Message, RequestId, StripMeta};

use crate::{ClientId, PayloadId, WorkerId, journal::ToJournal};

/// What the shell has to do, in the order given.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Send a control message to a client.
    ToClient(ClientId, Message),
    /// Send a control message to a worker.
    ToWorker(WorkerId, Message),
    /// Send a slice of a held payload to a client, as a STRIPS message.
    Deliver {
        /// To whom.
        client: ClientId,
        /// The job.
        job: JobId,
        /// The engine that rendered it.
        engine: String,
        /// Index of the first strip.
        first: u32,
        /// One entry a strip; their lengths sum to the slice's.
        strips: Vec<StripMeta>,
        /// The held payload.
        payload: PayloadId,
        /// Which of its bytes.
        bytes: Range<usize>,
    },
    /// Have the journal do something.
    ToJournal(ToJournal),
    /// Forget a held payload. Each payload that came in is released exactly once.
    Release(PayloadId),
    /// Disconnect a client. The core has forgotten it and ignores what it still says.
    DropClient(ClientId),
    /// Disconnect a worker. The core has forgotten it and ignores what it still says.
    DropWorker(WorkerId),
    /// Something for the log.
    Note(Note),
}

/// A step in somebody's life, with the fields that a log wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// A client said HELLO.
    ClientJoined {
        /// Who.
        client: ClientId,
        /// What it calls itself.
        agent: String,
    },
    /// A client is gone.
    ClientGone {
        /// Who.
        client: ClientId,
        /// Why.
        why: Why,
    },
    /// A worker said HELLO.
    WorkerJoined {
        /// Who.
        worker: WorkerId,
        /// What it calls itself.
        name: String,
        /// What it computes.
        engine: String,
        /// Threads that compute.
        threads: u32,
    },
    /// A worker is gone.
    WorkerGone {
        /// Who.
        worker: WorkerId,
        /// Why.
        why: Why,
        /// Bands that went back.
        bands: usize,
    },
    /// A job was accepted.
    JobAccepted {
        /// Which.
        job: JobId,
        /// From whom.
        client: ClientId,
        /// Strips of the picture.
        strips: u32,
        /// Strips that the client held already.
        have: u32,
        /// What the job is called in logs.
        request_id: Option<RequestId>,
    },
    /// The client of a job came back, or another took its place.
    JobAttached {
        /// Which.
        job: JobId,
        /// The client from now on.
        client: ClientId,
        /// Strips that it holds.
        have: u32,
        /// What the job is called in logs.
        request_id: Option<RequestId>,
    },
    /// The client of a job is gone; the job waits for it.
    JobAdrift {
        /// Which.
        job: JobId,
    },
    /// A detached job is on disk.
    JobKept {
        /// Which.
        job: JobId,
        /// Whom it is counted for.
        account: String,
        /// Strips of the picture.
        strips: u32,
        /// What the job is called in logs.
        request_id: Option<RequestId>,
    },
    /// Somebody wants a picture that a detached job draws or has drawn.
    JobJoined {
        /// Which.
        job: JobId,
        /// Who.
        client: ClientId,
        /// Whether the picture is there.
        is_done: bool,
        /// What the client calls its request, which need not be what the job is called.
        request_id: Option<RequestId>,
    },
    /// A detached job of an earlier life goes on, or damage made it begin again where it is damaged.
    JobResumed {
        /// Which.
        job: JobId,
        /// Strips that are on disk and sound.
        have: u32,
        /// Strips of the picture.
        strips: u32,
    },
    /// A picture on disk is not what was written.
    JobDamaged {
        /// Which.
        job: JobId,
        /// Its first strip that is damaged.
        strip: u32,
        /// How.
        what: String,
    },
    /// A detached job that was over is forgotten.
    JobForgotten {
        /// Which.
        job: JobId,
        /// Why.
        why: &'static str,
    },
    /// The journal cannot be written, or can again.
    JournalTrouble(Option<String>),
    /// A job has ended.
    JobEnded {
        /// Which.
        job: JobId,
        /// How.
        ending: Ending,
        /// Since it was accepted; since the start where it was accepted in an earlier life.
        lasted: Duration,
        /// What the job is called in logs.
        request_id: Option<RequestId>,
    },
    /// A worker failed at one band after another and is leased nothing for a while.
    WorkerBenched {
        /// Who.
        worker: WorkerId,
        /// For how long.
        lasts: Duration,
    },
    /// A band was leased.
    BandLeased {
        /// Its job.
        job: JobId,
        /// Its strips.
        band: Band,
        /// To whom.
        worker: WorkerId,
        /// Names the try.
        attempt: AttemptId,
        /// Whether somebody else is late with it.
        is_backup: bool,
        /// What the job is called in logs.
        request_id: Option<RequestId>,
    },
    /// A band was delivered.
    BandRendered {
        /// Its job.
        job: JobId,
        /// Its strips.
        band: Band,
        /// By whom.
        worker: WorkerId,
        /// Names the try.
        attempt: AttemptId,
        /// Since the lease.
        took: Duration,
        /// What the job is called in logs.
        request_id: Option<RequestId>,
    },
    /// A band goes back to be offered again.
    BandRequeued {
        /// Its job.
        job: JobId,
        /// Its strips.
        band: Band,
        /// Who held it.
        worker: WorkerId,
        /// The try that has ended.
        attempt: AttemptId,
        /// Why.
        why: Why,
        /// Whether this counts as a failure of the band.
        blamed: bool,
        /// What the job is called in logs.
        request_id: Option<RequestId>,
    },
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every strip was acknowledged.
    Done,
    /// The client, or its absence, ended it; the text says which.
    Cancelled(&'static str),
    /// A band of it failed too often; the text is what the client was told.
    Failed(String),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Cancelled(why) => f.write_str(why),
            Self::Failed(reason) => write!(f, "failed: {reason}"),
        }
    }
}

/// Why a peer is gone or a band went back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It said BYE.
    Bye,
    /// Its connection was lost.
    Lost,
    /// It was silent for too long.
    Silent,
    /// It broke the protocol.
    Misbehaved(String),
    /// The lease ran out without progress.
    Expired,
    /// The worker's tile was not that of the band.
    WrongTile(String),
    /// The worker tried and failed; the text is the worker's.
    Crashed(String),
    /// The worker cannot do it; the text is the worker's.
    Declined(String),
    /// The worker gave it back, unasked and without blame.
    GivenBack,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bye => f.write_str("said goodbye"),
            Self::Lost => f.write_str("the connection was lost"),
            Self::Silent => f.write_str("silent for too long"),
            Self::Misbehaved(what) => write!(f, "broke the protocol: {what}"),
            Self::Expired => f.write_str("no progress during the lease"),
            Self::WrongTile(what) => write!(f, "sent a wrong tile: {what}"),
            Self::Crashed(reason) => write!(f, "crashed: {reason}"),
            Self::Declined(reason) => write!(f, "declined: {reason}"),
            Self::GivenBack => f.write_str("given back"),
        }
    }
}
