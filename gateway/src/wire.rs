//! A client's connection, as far as it can be bad for others: a reader who stands still, and one who has gone while he is waited for.
//!
//! The HTTP library asks for neither. It waits for room for as long as the peer likes, and it does not look for the end of a connection
//! on which more has come than it has read, such as a second request behind the first.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

/// How often one looks whether a peer has gone who has sent more than is read.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A connection that fails when its peer takes nothing for too long.
pub(crate) struct Wire {
    stream: Arc<TcpStream>,
    patience: Duration,
    /// Runs while there is no room.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream, patience: Duration) -> Self {
        Self { stream: Arc::new(stream), patience, stalled: None }
    }

    /// Ready some time after the peer has closed the connection, or his half of it, whatever he sent before.
    pub(crate) fn left(&self) -> impl Future<Output = ()> + Send + use<> {
        let stream = Arc::clone(&self.stream);
        async move {
            loop {
                let is_over = stream.ready(Interest::READABLE).await.is_ok_and(|ready| ready.is_read_closed());
                // Who reads it has a chance to see the end for himself.
                sleep(LOOK_EVERY).await;
                if is_over {
                    return;
                }
            }
        }
    }

    /// Writes as soon as there is room, which must come in time.
    fn poll_send(&mut self, cx: &mut Context<'_>, send: impl Fn(&TcpStream) -> io::Result<usize>) -> Poll<io::Result<usize>> {
        while self.stream.poll_write_ready(cx)?.is_ready() {
            match send(&self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => {
                    self.stalled = None;
                    return Poll::Ready(sent);
                }
            }
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(stalled.as_mut().poll(cx));
        // What he has not taken is thrown away: the system would keep its megabytes for minutes.
        let _ = self.stream.set_zero_linger();
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the reader stands still")))
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            match self.stream.try_read(buffer.initialize_unfilled()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => {
                    buffer.advance(read?);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(cx, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, |stream| stream.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match rustix::net::shutdown(&*self.stream, rustix::net::Shutdown::Write) {
            Err(error) if error != rustix::io::Errno::NOTCONN => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        })
    }
}
