//! Connections: so many, each with a time for its heads; and the end, in good order.

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{extract::ConnectInfo, http::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::{App, Config, wire::Wire};

/// Bytes of a request's head.
const HEAD_BYTES: usize = 16 * 1024;
/// Header lines of a request.
const HEADERS_MAX: usize = 64;
/// How long to wait where no connection can be accepted, such as for descriptors.
const BREATH: Duration = Duration::from_millis(100);

/// A gateway that listens.
pub struct Gateway {
    listener: TcpListener,
    address: SocketAddr,
    config: Config,
}

impl Gateway {
    /// Listens at `address`.
    ///
    /// # Errors
    /// The system's.
    pub async fn bind(address: SocketAddr, config: Config) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, config })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `drain` is ready; then finishes what it has begun, until `end` is ready.
    pub async fn run(self, drain: impl Future<Output = ()>, end: impl Future<Output = ()>) {
        tokio::pin!(drain, end);
        let bounds = self.config.bounds;
        let places = Arc::new(Semaphore::new(bounds.connections));
        let graceful = GracefulShutdown::new();
        let router = App::new(self.config).router();
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(bounds.patience).max_headers(HEADERS_MAX).max_buf_size(HEAD_BYTES);
        loop {
            // At the limit, who comes waits in the system's queue.
            let accepted = async {
                let place = Arc::clone(&places).acquire_owned().await.expect("it is never closed");
                (self.listener.accept().await, place)
            };
            let (stream, peer, place) = tokio::select! {
                (accepted, place) = accepted => match accepted {
                    Ok((stream, peer)) => (stream, peer, place),
                    Err(error) => {
                        warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(BREATH).await;
                        continue;
                    }
                },
                () = &mut drain => break,
                () = &mut end => return,
            };
            let router = router.clone();
            let service = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(ConnectInfo(peer));
                router.clone().oneshot(request.map(axum::body::Body::new))
            });
            prepare(&stream);
            let wire = Wire::new(stream, bounds.patience);
            let left = wire.left();
            let connection = graceful.watch(http.serve_connection(TokioIo::new(wire), service));
            tokio::spawn(async move {
                tokio::select! {
                    biased;
                    served = connection => if let Err(error) = served {
                        debug!(%peer, %error, "connection");
                    },
                    () = left => debug!(%peer, "the client has gone"),
                }
                drop(place);
            });
        }
        drop(self.listener);
        tokio::select! {
            () = graceful.shutdown() => {}
            () = end => {}
        }
    }
}

/// Small answers go out at once.
fn prepare(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "no TCP_NODELAY");
    }
}
