//! Where a picture's bytes go, at the pace of whoever takes them.

use std::{
    io::{Stdout, Write},
    task::{Context, Poll},
};

/// A writer that may ask the broker to wait.
///
/// While a sink is full, strips are neither written nor acknowledged, so that the broker sends no more than its window; the connection
/// lives on. Writers that are never full need no method of this trait: `impl Sink for MyWriter {}`.
pub trait Sink: Write {
    /// Whether nothing should be written for now. What is written all the same, such as the tail of a file, must be taken.
    fn is_full(&self) -> bool {
        false
    }

    /// Ready when it is not full any more, or when writing would fail. The task in `context` is woken then.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let _ = context;
        Poll::Ready(())
    }

    /// What was written so far may be handed on, for it may be all for a while. Unlike a flush it costs little, and may do nothing.
    fn hand_on(&mut self) {}
}

impl Sink for Vec<u8> {}
impl Sink for std::fs::File {}
impl Sink for std::io::Sink {}
impl Sink for Stdout {}
impl<W: Write> Sink for std::io::BufWriter<W> {}
