//! Submits a render, follows it, and assembles the file.
//!
//! A client holds no picture: strips arrive in row order and are appended, so any size of image needs the same small memory. Only
//! other formats than its own are made from a picture that is held whole.
//!
//! Read next: `follow.rs` for the life of a job that is followed, `render.rs` and `attach.rs` for how one begins, `detached.rs` for
//! jobs that nobody waits for, `assemble.rs` for the bytes of a file, `convert.rs` for those of other formats, `sink.rs`, `file.rs` and `pipe.rs` for where they go, `session.rs`
//! for a connection, `sessions.rs` for those that are used again, and `monitor.rs` for one that lasts while somebody watches.

mod assemble;
mod attach;
mod convert;
mod detached;
mod file;
mod follow;
mod inbox;
mod monitor;
mod owed;
mod pipe;
mod question;
mod reconnect;
mod render;
mod session;
mod sessions;
mod sink;
mod status;
mod withdraw;

pub use assemble::{AssembleError, Assembler, file_len};
pub use attach::{AttachOptions, attach};
pub use convert::{CONVERT_PIXELS_MAX, ConvertError, PictureFormat, convert};
pub use detached::{Cancelled, KeepOptions, Kept, cancel, find, is_over, keep, list};
pub use file::OutputFile;
pub use follow::{Event, RenderError, Rendered, WINDOW_BYTES};
pub use monitor::Monitor;
pub use pipe::{PipeReader, PipeWriter, pipe};
pub use render::{RenderOptions, render};
pub use session::{Broker, SessionError};
pub use sessions::Sessions;
pub use sink::Sink;
pub use status::{status, story};
pub use withdraw::{Withdrawn, withdraw};
