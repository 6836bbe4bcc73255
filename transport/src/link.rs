//! Everybody else's end: a DEALER with one broker. It lives for one connection; after any error a new one is built.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use fractally_proto::{BandProgress, Bye, DecodeError, Heartbeat, Message};
use futures::{StreamExt, channel::mpsc};
use thiserror::Error;
use zeromq::{
    DealerRecvHalf, DealerSendHalf, DealerSocket, Socket, SocketEvent, SocketOptions, SocketRecv, SocketSend, ZmqMessage,
};

use crate::{Endpoint, SendWindow, window::Received};

/// Why there is no connection.
#[derive(Debug, Error)]
#[error("no broker answers at {endpoint}: {reason}")]
pub struct ConnectError {
    /// Where it was sought.
    pub endpoint: Endpoint,
    /// What happened.
    pub reason: String,
}

/// Why a connection has ended.
#[derive(Debug, Error)]
pub enum LinkError {
    /// The broker is gone, or has ended the connection.
    #[error("the connection to the broker is lost")]
    Lost,
    /// The broker says what is not a message of this protocol.
    #[error("the broker sent a bad message: {0}")]
    Malformed(#[from] DecodeError),
    /// The broker acknowledges what was never sent.
    #[error("the broker acknowledged what was never sent")]
    Overrun,
}

/// A DEALER that never sends more than the broker's window takes. Whether the broker still listens is for heartbeats to tell, so
/// the window's own clock stands still here.
pub struct Link {
    send: DealerSendHalf,
    recv: DealerRecvHalf,
    monitor: mpsc::Receiver<SocketEvent>,
    window: SendWindow,
    received: Received,
    waiting: VecDeque<(Vec<Bytes>, usize)>,
}

impl Link {
    /// Connects within `timeout`, the ZMTP handshake included.
    ///
    /// # Errors
    /// [`ConnectError`] when nobody answers there as a ZeroMQ ROUTER does.
    pub async fn connect(endpoint: &Endpoint, timeout: Duration) -> Result<Self, ConnectError> {
        let failed = |reason: String| ConnectError { endpoint: endpoint.clone(), reason };
        let mut options = SocketOptions::default();
        // The library's own tries would wait longer and longer inside one call; the limit outside ends them.
        options.no_connect_timeout();
        let mut socket = DealerSocket::with_options(options);
        let monitor = socket.monitor();
        match tokio::time::timeout(timeout, socket.connect(&endpoint.to_string())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(_) => return Err(failed(format!("nothing within {:.1} s", timeout.as_secs_f64()))),
        }
        let (send, recv) = socket.split();
        Ok(Self { send, recv, monitor, window: SendWindow::default(), received: Received::default(), waiting: VecDeque::new() })
    }

    /// The next message. May be dropped while it waits without losing anything.
    ///
    /// # Errors
    /// Any error ends the connection: the link must be dropped.
    pub async fn next(&mut self) -> Result<Message, LinkError> {
        loop {
            tokio::select! {
                biased;
                received = self.recv.recv() => {
                    let frames = received.map_err(|_| LinkError::Lost)?.into_vec();
                    self.received.on_message(size_of(&frames));
                    let message = Message::decode(&frames)?;
                    if let Message::Heartbeat(heartbeat) = &message {
                        self.window.on_seen(Duration::ZERO, heartbeat.seen).map_err(|_| LinkError::Overrun)?;
                        self.flush().await?;
                    }
                    return Ok(message);
                }
                Some(event) = self.monitor.next() => if matches!(event, SocketEvent::Disconnected(_)) {
                    return Err(LinkError::Lost);
                },
            }
        }
    }

    /// Sends, now or when the broker's window opens.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn send(&mut self, message: &Message) -> Result<(), LinkError> {
        let frames = message.encode();
        let bytes = size_of(&frames);
        self.waiting.push_back((frames, bytes));
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), LinkError> {
        while let Some((frames, _)) = self.waiting.pop_front_if(|(_, bytes)| self.window.has_room(*bytes)) {
            self.send_now(frames).await?;
        }
        Ok(())
    }

    async fn send_now(&mut self, frames: Vec<Bytes>) -> Result<(), LinkError> {
        self.window.on_sent(Duration::ZERO, size_of(&frames));
        let message = ZmqMessage::try_from(frames).expect("every message has at least three frames");
        self.send.send(message).await.map_err(|_| LinkError::Lost)
    }

    /// Whether so much has arrived that a heartbeat should not wait for its regular time.
    pub fn is_ack_due(&self) -> bool {
        self.received.is_ack_due()
    }

    /// Sends a heartbeat with what was received so far. It waits for no window: two sides that each waited for the other's
    /// acknowledgement would wait for ever.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn heartbeat(&mut self, bands: Vec<BandProgress>) -> Result<(), LinkError> {
        let seen = self.received.say();
        self.send_now(Message::Heartbeat(Heartbeat { seen, bands }).encode()).await
    }

    /// Says BYE and waits until the broker has everything, for `timeout` at the most. What else arrives is passed over.
    pub async fn bye(mut self, reason: &str, timeout: Duration) {
        let drain = async {
            self.send(&Message::Bye(Bye { reason: reason.to_owned() })).await?;
            while !matches!(self.next().await?, Message::ByeOk(_)) {}
            Ok::<_, LinkError>(())
        };
        // Whether it was heard makes no difference any more: the broker also notices the silence.
        let _ = tokio::time::timeout(timeout, drain).await;
    }
}

/// Bytes of all frames.
pub(crate) fn size_of(frames: &[Bytes]) -> usize {
    frames.iter().map(Bytes::len).sum()
}
