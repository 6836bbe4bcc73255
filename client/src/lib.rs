//! Submits a render, follows it, and assembles the file.
//!
//! A client holds no picture: strips arrive in row order and are appended, so any size of image needs the same small memory. Only
//! other formats than its own are made from a picture that is held whole.
//!
//! Read next: `follow.rs` for the life of a job that is followed, `render.rs` and `attach.rs` for how one begins, `detached.rs` for
//! jobs that nobody waits for, `assemble.rs` for the bytes of a file, `convert.rs` for those of other formats, `file.rs` for where they go.

mod assemble;
mod attach;
mod convert;
mod detached;
mod file;
mod follow;
mod reconnect;
mod render;
mod session;
mod status;

pub use assemble::{AssembleError, Assembler};
pub use attach::{AttachOptions, attach};
pub use convert::{CONVERT_PIXELS_MAX, ConvertError, PictureFormat, convert};
pub use detached::{Cancelled, Kept, cancel, is_over, keep, list};
pub use file::OutputFile;
pub use follow::{Event, RenderError, Rendered};
pub use render::{RenderOptions, render};
pub use session::{Broker, SessionError};
pub use status::{status, story};
