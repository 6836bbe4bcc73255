//! A listener of our own in front of a ROUTER: bytes that break a limit never reach the ZeroMQ library.
//!
//! One thread accepts TCP connections. It shakes hands in the ROUTER's place, waits for the first message, and only then opens a
//! connection to the ROUTER, over a private Unix socket, on which it says a handshake of its own. From then on it passes bytes both
//! ways: from the peer only what [`Parser`] lets through. What it does not do: tell who a peer is, or what a message means.
//!
//! `parser.rs` is what a peer may say, `census.rs` how many may be there, `newcomer.rs` a connection's beginning, `relay.rs` the rest
//! of it, `config.rs` every number, `laws.rs` what tests and `fuzz/` hold the parser to.

mod budget;
mod census;
mod complaints;
mod config;
mod inner;
#[cfg(test)]
mod laws;
mod newcomer;
mod parser;
mod refusal;
mod relay;
mod wire;
mod zmtp;

use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, TcpListener as StdTcpListener},
    os::unix::net::UnixListener,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use rustix::io::Errno;
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    sync::oneshot,
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep, timeout},
};
use tracing::{debug, warn};

pub use config::{GuardConfig, raise_descriptor_limit};
pub use parser::MessageLimits;

use parser::{Parser, Said, Verdict, Violation};

use budget::Budget;
use census::{Address, Caps, Census, ConnectionId, Full};
use complaints::Complaints;
use inner::InnerAddress;
use refusal::{Kind, Refusal};

/// A peer whose kernel acknowledges no bytes for so long is gone, and what its connection holds is freed.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(15);
/// Connections that the kernel may hold for us; it cuts this to its own limit.
const BACKLOG: i32 = 4096;
/// How long no connection is accepted after one could not be for want of descriptors or memory.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);
/// The same after any other failure.
const FAILED_PAUSE: Duration = Duration::from_millis(1);
/// How long connections get to end by themselves once the ROUTER is gone.
const FAREWELL: Duration = Duration::from_secs(2);

/// A running guard. Dropping it ends its listener, and its connections with the ROUTER.
#[derive(Debug)]
pub(crate) struct Guard {
    _stop: oneshot::Sender<()>,
}

impl Guard {
    /// Starts to accept from `listener`. The ROUTER must accept from the listener that this gives.
    ///
    /// # Errors
    /// No thread, no descriptors, or no private socket can be had.
    pub(crate) fn start(listener: StdTcpListener, config: GuardConfig) -> io::Result<(Self, UnixListener)> {
        watch_over_connections(&listener)?;
        listener.set_nonblocking(true)?;
        let (for_router, inner) = inner::inner_socket()?;
        SockRef::from(&for_router).listen(BACKLOG)?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::new(Shared::new(config, inner));
        thread::Builder::new().name("guard".to_owned()).spawn(move || run(&runtime, listener, shared, stopped))?;
        Ok((Self { _stop: stop }, for_router))
    }
}

/// Connections that the listener accepts inherit these: one whose other side is silent below TCP ends by itself.
pub(crate) fn watch_over_connections(listener: &StdTcpListener) -> io::Result<()> {
    let socket = SockRef::from(listener);
    socket.listen(BACKLOG)?;
    socket.set_keepalive(true)?;
    socket.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT))
}

fn run(runtime: &Runtime, listener: TcpListener, shared: Arc<Shared>, stopped: oneshot::Receiver<()>) {
    runtime.block_on(async {
        let mut connections = JoinSet::new();
        tokio::select! {
            () = accept(&listener, &shared, &mut connections) => {}
            _ = stopped => {}
        }
        drop(listener);
        let _ = timeout(FAREWELL, async { while connections.join_next().await.is_some() {} }).await;
    });
}

async fn accept(listener: &TcpListener, shared: &Arc<Shared>, connections: &mut JoinSet<()>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended.map_err(tokio::task::JoinError::try_into_panic) && error.is_ok() {
                    warn!("a connection of the guard panicked");
                }
                continue;
            }
        };
        match accepted {
            Ok((stream, peer)) => {
                let arrival = shared.arrive(peer);
                let id = arrival.id;
                let task = connections.spawn(serve(stream, arrival));
                shared.state().newcomers.insert(id, task);
            }
            Err(error) if is_exhaustion(&error) => {
                shared.refuse(None, &Refusal::Exhausted(error));
                sleep(EXHAUSTED_PAUSE).await;
            }
            // Most often the connection ended before it was accepted. An error that stays must not take a core.
            Err(error) => {
                debug!(%error, "accept");
                sleep(FAILED_PAUSE).await;
            }
        }
    }
}

fn is_exhaustion(error: &io::Error) -> bool {
    let exhaustions = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| exhaustions.contains(&errno))
}

/// One connection from its first byte to its last.
async fn serve(peer: TcpStream, arrival: Arrival) {
    let shared = &arrival.shared;
    let refused = match newcomer::settle(&peer, &arrival).await {
        Ok(Some(settled)) => relay::run(peer, settled, &arrival).await,
        Ok(None) => Ok(()),
        Err(refusal) => Err(refusal),
    };
    if let Err(refusal) = refused {
        shared.refuse(Some(arrival.peer), &refusal);
    }
}

/// What all connections of a listener share.
struct Shared {
    config: GuardConfig,
    inner: InnerAddress,
    budget: Budget,
    state: Mutex<State>,
    started: Instant,
}

struct State {
    census: Census,
    /// How to end a newcomer.
    newcomers: HashMap<ConnectionId, AbortHandle>,
    complaints: Complaints<Kind>,
}

/// A connection's place in the census, left when this is dropped.
struct Arrival {
    id: ConnectionId,
    peer: SocketAddr,
    shared: Arc<Shared>,
}

impl Shared {
    fn new(config: GuardConfig, inner: InnerAddress) -> Self {
        let caps = Caps {
            newcomers_max: config.newcomers_max,
            settled_max: config.connections_max,
            settled_per_address_max: config.connections_per_address_max,
        };
        let state = State { census: Census::new(caps), newcomers: HashMap::new(), complaints: Complaints::new() };
        let budget = Budget::new(config.large_bytes_max);
        Self { config, inner, budget, state: Mutex::new(state), started: Instant::now() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds it can panic half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrive(self: &Arc<Self>, peer: SocketAddr) -> Arrival {
        let mut state = self.state();
        let (id, outcast) = state.census.on_arrival(peer.ip().into());
        if let Some(task) = outcast.and_then(|outcast| state.newcomers.remove(&outcast)) {
            task.abort();
        }
        drop(state);
        if outcast.is_some() {
            self.refuse(Some(peer), &Refusal::Crowd(self.config.newcomers_max));
        }
        Arrival { id, peer, shared: self.clone() }
    }

    /// Writes down why a connection ended, unless the log has enough of its kind.
    fn refuse(&self, peer: Option<SocketAddr>, refusal: &Refusal) {
        let now = self.started.elapsed();
        let peer = peer.map(tracing::field::display);
        match self.state().complaints.on_refusal(now, refusal.kind()) {
            Some(unsaid) => warn!(peer, reason = %refusal, unsaid, "refused"),
            None => debug!(peer, reason = %refusal, "refused"),
        }
    }
}

impl Arrival {
    /// The connection has sent its first message.
    fn settle(&self) -> Result<(), Full> {
        let mut state = self.shared.state();
        state.census.on_settling(self.id)?;
        state.newcomers.remove(&self.id);
        Ok(())
    }

    fn address(&self) -> Address {
        self.peer.ip().into()
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.census.on_end(self.id);
        state.newcomers.remove(&self.id);
    }
}
