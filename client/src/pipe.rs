//! A pipe between a picture that is followed and whoever reads it at a pace of their own, such as the body of an HTTP answer.

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use tokio::sync::Semaphore;

use crate::sink::Sink;

/// A chunk is whole from here on.
const CHUNK_BYTES: usize = 64 * 1024;
/// The largest chunk.
const CHUNK_BYTES_MAX: usize = 256 * 1024;

/// The end that is written: full when `capacity` bytes wait to be read.
///
/// It never refuses bytes for being full, so whoever minds [`Sink::is_full`] holds at most `capacity` and what it writes at once. Dropped
/// without [`finish`](Self::finish), it tells the reader that the rest is missing.
pub struct PipeWriter(Arc<Shared>);

/// The end that is read. Dropped, it makes writing fail with [`io::ErrorKind::BrokenPipe`].
pub struct PipeReader(Arc<Shared>);

struct Shared {
    capacity: usize,
    state: Mutex<State>,
    /// Without permits, and closed when there is no reader any more.
    reader: Semaphore,
}

#[derive(Default)]
struct State {
    chunks: VecDeque<BytesMut>,
    /// In all chunks.
    bytes: usize,
    end: End,
    has_no_reader: bool,
    /// Who waits for bytes, and who for room.
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// What becomes of the writing end.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum End {
    /// More may come.
    #[default]
    Open,
    /// This is all.
    Finished,
    /// The rest is missing, and that has not been told.
    Broken,
}

/// A pipe that asks its writer to wait once `capacity` bytes are in it; 0 is taken for 1.
pub fn pipe(capacity: usize) -> (PipeWriter, PipeReader) {
    let state = Mutex::default();
    let shared = Arc::new(Shared { capacity: capacity.max(1), state, reader: Semaphore::new(0) });
    (PipeWriter(Arc::clone(&shared)), PipeReader(shared))
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, mut bytes: &[u8]) {
        self.bytes += bytes.len();
        while !bytes.is_empty() {
            let room = match self.chunks.back() {
                Some(last) if last.len() < CHUNK_BYTES_MAX => last.capacity().min(CHUNK_BYTES_MAX) - last.len(),
                Some(_) | None => 0,
            };
            if room == 0 {
                self.chunks.push_back(BytesMut::with_capacity(bytes.len().clamp(CHUNK_BYTES, CHUNK_BYTES_MAX)));
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            if let Some(last) = self.chunks.back_mut() {
                last.extend_from_slice(now);
            }
            bytes = later;
        }
    }

    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl PipeWriter {
    /// All is written.
    pub fn finish(self) {
        self.0.state().end = End::Finished;
    }

    /// Ready when there is no reader any more.
    pub fn abandoned(&self) -> impl Future<Output = ()> + Send + use<> {
        let shared = Arc::clone(&self.0);
        async move {
            // No permit is ever given.
            let _ = shared.reader.acquire().await;
        }
    }
}

impl Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.state();
        if state.has_no_reader {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "nobody reads it any more"));
        }
        state.push(bytes);
        if state.bytes >= CHUNK_BYTES {
            state.wake_reader();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hand_on();
        Ok(())
    }
}

impl Sink for PipeWriter {
    fn is_full(&self) -> bool {
        let state = self.0.state();
        state.bytes >= self.0.capacity && !state.has_no_reader
    }

    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.state();
        if state.bytes < self.0.capacity || state.has_no_reader {
            return Poll::Ready(());
        }
        state.writer = Some(context.waker().clone());
        Poll::Pending
    }

    fn hand_on(&mut self) {
        let mut state = self.0.state();
        if state.bytes > 0 {
            state.wake_reader();
        }
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if state.end == End::Open {
            state.end = End::Broken;
        }
        state.wake_reader();
    }
}

impl PipeReader {
    /// The next bytes, at most 256 KiB; nothing at the end. May be dropped while it waits without losing anything.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`], once, where the writer was dropped before its end.
    pub async fn next(&mut self) -> Option<io::Result<Bytes>> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// The same as a poll, of which a stream is easily made.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let mut state = self.0.state();
        if let Some(chunk) = state.chunks.pop_front() {
            state.bytes -= chunk.len();
            if state.bytes < self.0.capacity
                && let Some(writer) = state.writer.take()
            {
                writer.wake();
            }
            return Poll::Ready(Some(Ok(chunk.freeze())));
        }
        match state.end {
            End::Open => {
                state.reader = Some(context.waker().clone());
                Poll::Pending
            }
            End::Finished => Poll::Ready(None),
            End::Broken => {
                state.end = End::Finished;
                let error = io::Error::new(io::ErrorKind::UnexpectedEof, "the picture broke off");
                Poll::Ready(Some(Err(error)))
            }
        }
    }
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.has_no_reader = true;
        state.chunks.clear();
        state.bytes = 0;
        let writer = state.writer.take();
        drop(state);
        self.0.reader.close();
        if let Some(writer) = writer {
            writer.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(reader: &mut PipeReader) -> (Vec<u8>, Vec<usize>) {
        let (mut all, mut sizes) = (Vec::new(), Vec::new());
        while let Some(chunk) = reader.next().await {
            let chunk = chunk.unwrap();
            sizes.push(chunk.len());
            all.extend_from_slice(&chunk);
        }
        (all, sizes)
    }

    #[tokio::test]
    async fn what_is_written_is_read_in_chunks_of_a_good_size() {
        let bytes: Vec<u8> = (0..1_000_000u32).map(|i| (i % 251) as u8).collect();
        for write in [7, 4096, 100_000, 1_000_000] {
            let (mut writer, mut reader) = pipe(1);
            bytes.chunks(write).for_each(|part| writer.write_all(part).unwrap());
            writer.finish();
            let (all, sizes) = read_all(&mut reader).await;
            assert!(all == bytes, "{write}");
            let (_, most) = sizes.split_last().unwrap();
            assert!(most.iter().all(|&size| (CHUNK_BYTES..=CHUNK_BYTES_MAX).contains(&size)), "{write}: {sizes:?}");
            assert!(reader.next().await.is_none(), "the end stays the end");
        }
    }

    #[tokio::test]
    async fn a_full_pipe_has_room_again_when_enough_is_read() {
        let (mut writer, mut reader) = pipe(100_000);
        assert!(!writer.is_full());
        writer.write_all(&[1; CHUNK_BYTES]).unwrap();
        assert!(!writer.is_full());
        writer.write_all(&[2; CHUNK_BYTES]).unwrap();
        assert!(writer.is_full());
        let room = async {
            std::future::poll_fn(|context| writer.poll_room(context)).await;
            assert!(!writer.is_full());
            drop(writer);
        };
        let read = async {
            assert_eq!(reader.next().await.unwrap().unwrap().len(), CHUNK_BYTES);
        };
        tokio::join!(room, read);
        assert_eq!(reader.next().await.unwrap().unwrap().len(), CHUNK_BYTES, "what was written before the break");
        let broken = reader.next().await.unwrap();
        assert_eq!(broken.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(reader.next().await.is_none());
    }

    #[tokio::test]
    async fn a_reader_is_woken_by_a_chunk_and_by_a_little_that_is_handed_on() {
        let (mut writer, mut reader) = pipe(CHUNK_BYTES);
        // A task of its own, which is polled only when it is woken.
        let read = tokio::spawn(async move {
            let mut sizes = Vec::new();
            while sizes.len() < 2 {
                sizes.push(reader.next().await.unwrap().unwrap().len());
            }
            sizes
        });
        tokio::task::yield_now().await;
        writer.write_all(b"a").unwrap();
        tokio::task::yield_now().await;
        writer.write_all(b"b").unwrap();
        writer.hand_on();
        tokio::task::yield_now().await;
        writer.write_all(&[0; CHUNK_BYTES]).unwrap();
        let sizes = read.await.unwrap();
        assert_eq!(sizes, [2, CHUNK_BYTES]);
    }

    #[tokio::test]
    async fn without_a_reader_writing_fails_and_nobody_waits_for_room() {
        let (mut writer, reader) = pipe(1);
        let abandoned = writer.abandoned();
        writer.write_all(b"abc").unwrap();
        let wait = async {
            std::future::poll_fn(|context| writer.poll_room(context)).await;
            abandoned.await;
        };
        tokio::join!(biased; wait, async { drop(reader) });
        assert!(!writer.is_full());
        assert_eq!(writer.write(b"d").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
