//! The broker's end: a ROUTER with many peers.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::TcpListener,
    os::unix::net::UnixListener,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use fractally_proto::{Bye, DecodeError, Heartbeat, Message};
use futures::{FutureExt, StreamExt, channel::mpsc};
use thiserror::Error;
use tracing::debug;
use zeromq::{
    MultiPeerBackend, RouterRecvHalf, RouterSendHalf, RouterSocket, Socket, SocketEvent, SocketRecv, SocketSend, ZmqMessage,
    util::PeerIdentity,
};

use crate::{
    Endpoint, SendWindow,
    guard::{self, Guard, GuardConfig},
    link::size_of,
    window::Received,
};

/// Messages and bytes that may wait behind a closed window before the peer is dropped.
const WAITING_MESSAGES_MAX: usize = 4096;
const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Heartbeats wait for no window, so a peer that only ever sends could make them pile up; beyond so many messages that it has
/// not seen it is dropped.
const UNSEEN_MAX: usize = 2048;
/// How long the library gets for what was sent last: it does not tell when it is out.
const FAREWELL: Duration = Duration::from_millis(100);

/// One connection. Never used again after [`HubEvent::Gone`] or [`Hub::kick`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer(pub u64);

/// What happens at a hub.
#[derive(Debug)]
pub enum HubEvent {
    /// A peer said something. A peer is known from its first message on.
    Message(Peer, Message),
    /// A peer sent something that is not a message; it should be told and kicked.
    Malformed(Peer, DecodeError),
    /// A peer's connection is gone, or it was dropped because it does not keep up.
    Gone(Peer),
}

/// Why a hub cannot listen.
#[derive(Debug, Error)]
pub enum BindError {
    /// The address is taken, not ours, or not allowed.
    #[error("cannot listen on {endpoint}: {source}")]
    Io {
        /// Where.
        endpoint: Endpoint,
        /// Why.
        source: std::io::Error,
    },
    /// The ZeroMQ library does not take the listener.
    #[error("cannot listen on {endpoint}: {reason}")]
    Socket {
        /// Where.
        endpoint: Endpoint,
        /// Why.
        reason: String,
    },
}

/// A ROUTER that knows its peers by number and never sends more than their windows take.
pub struct Hub {
    endpoint: Endpoint,
    send: RouterSendHalf,
    recv: RouterRecvHalf,
    backend: Arc<dyn MultiPeerBackend>,
    monitor: mpsc::Receiver<SocketEvent>,
    by_identity: HashMap<PeerIdentity, Peer>,
    peers: BTreeMap<Peer, PeerState>,
    /// Peers that were dropped here and must still be told to the owner.
    dropped: VecDeque<Peer>,
    /// Peers to whom an acknowledgement is due.
    ack_due: Vec<Peer>,
    next_peer: u64,
    /// The owner's clock, as told by [`Hub::set_now`].
    now: Duration,
    /// What stands between TCP and the ROUTER.
    _guard: Option<Guard>,
}

struct PeerState {
    identity: PeerIdentity,
    window: SendWindow,
    received: Received,
    /// Messages that wait for the window, with their sizes.
    waiting: VecDeque<(Vec<Bytes>, usize)>,
    waiting_bytes: usize,
}

impl Hub {
    /// Listens on `endpoint`. TCP hosts must be addresses; port 0 is replaced by the one that the system chose.
    ///
    /// On TCP a guard stands in front and holds peers to `guard`. A Unix socket has none: the file system lets in only those who
    /// may write to its path, and its owner chooses a folder that nobody else can enter.
    ///
    /// # Errors
    /// [`BindError`] when the address is taken, not ours, or not allowed.
    pub async fn bind(endpoint: &Endpoint, guard: GuardConfig) -> Result<Self, BindError> {
        Self::bind_with(endpoint, Some(guard)).await
    }

    /// The same with nothing in front: a single peer can then abort the process with a few bytes. For measuring what the guard
    /// costs.
    ///
    /// # Errors
    /// As for [`Hub::bind`].
    pub async fn bind_unguarded(endpoint: &Endpoint) -> Result<Self, BindError> {
        Self::bind_with(endpoint, None).await
    }

    async fn bind_with(endpoint: &Endpoint, config: Option<GuardConfig>) -> Result<Self, BindError> {
        let io_error = |source| BindError::Io { endpoint: endpoint.clone(), source };
        let mut socket = RouterSocket::new();
        let monitor = socket.monitor();
        let mut guard = None;
        let (bound, endpoint) = match endpoint {
            Endpoint::Tcp { host, port } => {
                let listener = TcpListener::bind((host.as_str(), *port)).map_err(io_error)?;
                let address = listener.local_addr().map_err(io_error)?.into();
                let bound = if let Some(config) = config {
                    let (running, inner) = Guard::start(listener, config).map_err(io_error)?;
                    guard = Some(running);
                    socket.bind_listener(inner).await
                } else {
                    guard::watch_over_connections(&listener).map_err(io_error)?;
                    socket.bind_listener(listener).await
                };
                (bound, address)
            }
            Endpoint::Ipc(path) => {
                let listener = UnixListener::bind(path).map_err(io_error)?;
                (socket.bind_listener(listener).await, endpoint.clone())
            }
        };
        bound.map_err(|error| BindError::Socket { endpoint: endpoint.clone(), reason: error.to_string() })?;
        let backend = socket.backend();
        let (send, recv) = socket.split();
        Ok(Self {
            endpoint,
            send,
            recv,
            backend,
            monitor,
            by_identity: HashMap::new(),
            peers: BTreeMap::new(),
            dropped: VecDeque::new(),
            ack_due: Vec::new(),
            next_peer: 1,
            now: Duration::ZERO,
            _guard: guard,
        })
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Tells the time, since the owner's start. To be called at least once a second.
    pub fn set_now(&mut self, now: Duration) {
        self.now = now;
    }

    /// The next event. May be dropped while it waits without losing anything.
    pub async fn next(&mut self) -> HubEvent {
        loop {
            if let Some(peer) = self.dropped.pop_front() {
                return HubEvent::Gone(peer);
            }
            while let Some(peer) = self.ack_due.pop() {
                self.send(peer, &Message::Heartbeat(Heartbeat::default()));
            }
            tokio::select! {
                received = self.recv.recv() => match received {
                    Ok(message) => {
                        if let Some(event) = self.on_message(message) {
                            return event;
                        }
                    }
                    // The library ends the faulty connection itself; the monitor tells which.
                    Err(error) => debug!(%error, "receive"),
                },
                Some(event) = self.monitor.next() => {
                    if let SocketEvent::Disconnected(identity) = event
                        && let Some(peer) = self.by_identity.remove(&identity)
                    {
                        self.peers.remove(&peer);
                        return HubEvent::Gone(peer);
                    }
                }
            }
        }
    }

    fn on_message(&mut self, message: ZmqMessage) -> Option<HubEvent> {
        let mut frames = message.into_vec();
        let identity = PeerIdentity::try_from(frames.remove(0)).ok()?;
        let peer = self.known_or_new(identity);
        let state = self.peers.get_mut(&peer)?;
        state.received.on_message(size_of(&frames));
        if state.received.is_ack_due() {
            self.ack_due.push(peer);
        }
        let message = match Message::decode(&frames) {
            Ok(message) => message,
            Err(error) => return Some(HubEvent::Malformed(peer, error)),
        };
        if let Message::Heartbeat(heartbeat) = &message {
            if state.window.on_seen(self.now, heartbeat.seen).is_err() {
                self.drop_peer(peer, "it acknowledged what was never sent");
                return None;
            }
            self.flush(peer);
        }
        Some(HubEvent::Message(peer, message))
    }

    fn known_or_new(&mut self, identity: PeerIdentity) -> Peer {
        if let Some(&peer) = self.by_identity.get(&identity) {
            return peer;
        }
        let peer = Peer(self.next_peer);
        self.next_peer += 1;
        self.by_identity.insert(identity.clone(), peer);
        let state = PeerState {
            identity,
            window: SendWindow::default(),
            received: Received::default(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
        };
        self.peers.insert(peer, state);
        peer
    }

    /// Sends to a peer, now or when its window opens. To a peer that is gone it does nothing. A heartbeat goes at once, and what
    /// it says is filled in here.
    pub fn send(&mut self, peer: Peer, message: &Message) {
        if let Message::Heartbeat(_) = message {
            return self.send_heartbeat(peer);
        }
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let frames = message.encode();
        let bytes = size_of(&frames);
        state.waiting.push_back((frames, bytes));
        state.waiting_bytes += bytes;
        if state.waiting.len() > WAITING_MESSAGES_MAX || state.waiting_bytes > WAITING_BYTES_MAX {
            self.drop_peer(peer, "too much waits for it");
            return;
        }
        self.flush(peer);
    }

    /// Acknowledgements wait for no window: two sides that each waited for the other's would wait for ever.
    fn send_heartbeat(&mut self, peer: Peer) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        if state.window.unseen() > UNSEEN_MAX {
            return self.drop_peer(peer, "it reads nothing");
        }
        let seen = state.received.say();
        self.send_now(peer, Message::Heartbeat(Heartbeat { seen, bands: Vec::new() }).encode());
    }

    fn flush(&mut self, peer: Peer) {
        while let Some(state) = self.peers.get_mut(&peer)
            && let Some((frames, bytes)) = state.waiting.pop_front_if(|(_, bytes)| state.window.has_room(*bytes))
        {
            state.waiting_bytes -= bytes;
            self.send_now(peer, frames);
        }
    }

    fn send_now(&mut self, peer: Peer, frames: Vec<Bytes>) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        state.window.on_sent(self.now, size_of(&frames));
        let mut message = ZmqMessage::from(Bytes::from(state.identity.clone()));
        frames.into_iter().for_each(|frame| message.push_back(frame));
        // A send waits only when the library's queue for this peer is full, and would then hold up everybody: never wait.
        match self.send.send(message).now_or_never() {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                debug!(peer = peer.0, %error, "send");
                self.drop_peer(peer, "its connection is gone");
            }
            None => self.drop_peer(peer, "its queue is full"),
        }
    }

    /// Sends a heartbeat to every peer, and drops those that have stopped to acknowledge. To be called once a second.
    pub fn heartbeat(&mut self) {
        let peers: Vec<_> = self.peers.keys().copied().collect();
        for peer in peers {
            if self.peers.get(&peer).is_some_and(|state| state.window.is_stalled(self.now)) {
                self.drop_peer(peer, "it acknowledged nothing for 10 s");
            } else {
                self.send(peer, &Message::Heartbeat(Heartbeat::default()));
            }
        }
    }

    /// Says BYE to every peer, and gives the library a moment to get it out.
    pub async fn bye(&mut self, reason: &str) {
        let peers: Vec<_> = self.peers.keys().copied().collect();
        for &peer in &peers {
            self.send(peer, &Message::Bye(Bye { reason: reason.to_owned() }));
        }
        if !peers.is_empty() {
            tokio::time::sleep(FAREWELL).await;
        }
    }

    /// Ends a peer's connection after what was already sent to it. No [`HubEvent::Gone`] follows.
    pub fn kick(&mut self, peer: Peer) {
        if let Some(state) = self.peers.remove(&peer) {
            self.by_identity.remove(&state.identity);
            self.backend.peer_disconnected(&state.identity);
        }
    }

    /// Ends a peer's connection and tells the owner with the next event.
    fn drop_peer(&mut self, peer: Peer, why: &str) {
        debug!(peer = peer.0, why, "dropped");
        self.kick(peer);
        self.dropped.push_back(peer);
    }
}
