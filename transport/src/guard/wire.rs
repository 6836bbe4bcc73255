//! Reading and writing without a buffer for each connection: all of them are served by one thread, which has one.

use std::{cell::RefCell, io, net::Shutdown, os::fd::AsFd, time::Duration};

use socket2::SockRef;
use tokio::{
    net::{TcpStream, UnixStream},
    time::timeout,
};

/// Bytes of one read.
pub(super) const CHUNK: usize = 128 * 1024;
/// What a peer may still send while it is being told why it must go.
const DISCARDED_MAX: usize = 16 << 20;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into());
}

/// Lends the thread's buffer.
pub(super) fn with_scratch<T>(use_it: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| use_it(scratch))
}

/// A stream that is read and written only as far as goes without waiting.
pub(super) trait Stream: AsFd {
    fn try_read(&self, into: &mut [u8]) -> io::Result<usize>;
    fn try_write(&self, from: &[u8]) -> io::Result<usize>;
    async fn readable(&self) -> io::Result<()>;
    async fn writable(&self) -> io::Result<()>;
}

macro_rules! stream {
    ($($stream:ty),+) => { $(impl Stream for $stream {
        fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
            Self::try_read(self, into)
        }
        fn try_write(&self, from: &[u8]) -> io::Result<usize> {
            Self::try_write(self, from)
        }
        async fn readable(&self) -> io::Result<()> {
            Self::readable(self).await
        }
        async fn writable(&self) -> io::Result<()> {
            Self::writable(self).await
        }
    })+ };
}

stream!(TcpStream, UnixStream);

/// Reads once if that needs no waiting. `Some(0)` is the end of the stream.
pub(super) fn read_now(stream: &impl Stream, into: &mut [u8]) -> io::Result<Option<usize>> {
    match stream.try_read(into) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if is_transient(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes as much as goes without waiting. Gives how much.
pub(super) fn write_now(stream: &impl Stream, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match stream.try_write(&bytes[written..]) {
            Ok(more) => written += more,
            Err(error) if is_transient(&error) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Writes everything, however long it takes.
pub(super) async fn write_all(stream: &impl Stream, bytes: &[u8]) -> io::Result<()> {
    let mut written = write_now(stream, bytes)?;
    while written < bytes.len() {
        stream.writable().await?;
        written += write_now(stream, &bytes[written..])?;
    }
    Ok(())
}

/// Says that nothing more comes. The other side may already be gone, which is as good.
pub(super) fn end_writing(stream: &impl Stream) {
    let _ = SockRef::from(stream).shutdown(Shutdown::Write);
}

/// Ends a connection so that what was written before arrives: closing at once would take it back if the peer has sent something
/// that was not read.
pub(super) async fn say_farewell(peer: &impl Stream, limit: Duration) {
    end_writing(peer);
    let _ = timeout(limit, discard(peer, DISCARDED_MAX)).await;
}

/// Reads to the end of the stream, or `bytes_max`, and throws it away.
pub(super) async fn discard(stream: &impl Stream, bytes_max: usize) {
    let mut discarded = 0;
    while discarded < bytes_max {
        match with_scratch(|scratch| read_now(stream, scratch)) {
            Ok(Some(0)) | Err(_) => return,
            Ok(Some(bytes)) => {
                discarded += bytes;
                tokio::task::yield_now().await;
            }
            Ok(None) => {
                if stream.readable().await.is_err() {
                    return;
                }
            }
        }
    }
}
