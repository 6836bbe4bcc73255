//! Submits a render, follows it, and assembles the file.
//!
//! A client holds no picture: strips arrive in row order and are appended, so any size of image needs the same small memory.
//!
//! Read next: `render.rs` for the life of a submitted job, `assemble.rs` for the bytes of a file, `file.rs` for where they go.

mod assemble;
mod file;
mod render;
mod session;
mod status;

pub use assemble::{AssembleError, Assembler};
pub use file::OutputFile;
pub use render::{Event, RenderError, RenderOptions, Rendered, render};
pub use session::{Broker, SessionError};
pub use status::{status, story};
