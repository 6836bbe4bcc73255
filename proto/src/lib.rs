//! The words of the grid: ids, messages, their codec, limits, and the render request.
//!
//! This crate holds what two processes must agree on, and nothing that one of them does: no sockets, no clock, no state.
//! `SPEC.md` beside it says the same in prose, for people who write a client or a worker in another language; its hex
//! examples are decoded by this crate's tests.
//!
//! Read next: [`Request`] (what to draw), [`Layout`] (how a picture is cut into strips), [`Message`] (what is said),
//! [`Message::decode`] (how bytes become words).

mod codec;
mod colour;
mod ids;
pub mod limits;
mod message;
mod msgpack;
mod names;
pub mod notation;
mod refusal;
mod request;
mod status;
mod strips;

pub use codec::{DecodeError, MAGIC, VERSION};
pub use colour::{ColourMap, UnknownColourMap};
pub use ids::{AttemptId, Epoch, JobId, JobKey};
pub use limits::Limits;
pub use message::{
    Accepted, Ack, Attach, Attached, BandFailed, BandFailure, BandProgress, Bye, ByeOk, Cancel, Credit, Done, Encoding,
    ErrorCode, ErrorReport, Failed, Grid, Heartbeat, Hello, JobQuery, Keep, Lease, LeaseKind, ListQuery, Message, MirrorBand,
    Priority, Progress, Refused, RowSample, Samples, StripMeta, Strips, Submit, Tile, Welcome, Withdraw, WorkerHello,
};
pub use names::{ContentId, Holder, NO_OP_ENGINE, NameError, RequestId};
pub use refusal::{Refusal, RefusalCode};
pub use request::{Colour, Request, Size, Window};
pub use status::{
    BrokerStatus, DamagedJob, Fault, FaultKind, JobList, JobReport, JobState, JobStatus, JobStory, JournalStatus, ListedJob,
    Status, Totals, TryEnd, TryStory, WorkerStatus,
};
pub use strips::{Band, Layout};
