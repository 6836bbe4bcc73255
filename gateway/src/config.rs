//! What a gateway is told when it starts, and its bounds.

use std::time::Duration;

use fractally_client::Broker;
use http::HeaderValue;

/// What a gateway is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The broker whose grid it stands before.
    pub broker: Broker,
    /// How long a request waits for a broker that was there and went away.
    pub reconnect_for: Duration,
    /// Origins whose pages may call it from a browser.
    pub origins: Vec<HeaderValue>,
    /// How many reverse proxies stand before it: so many addresses at the end of `X-Forwarded-For` were written by them.
    pub proxies: usize,
    /// Names that it may be called by, beside addresses and `localhost`; any where this is absent.
    pub hosts: Option<Vec<String>>,
    /// Its bounds.
    pub bounds: Bounds,
}

/// What a gateway holds at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Requests of one client in a second, on average.
    pub rate: u32,
    /// Requests of one client at once that the rate does not hold back.
    pub burst: u32,
    /// Requests of one client that are being answered, streams included.
    pub requests_per_client: usize,
    /// Requests that are being answered in all.
    pub requests: usize,
    /// Open connections.
    pub connections: usize,
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// Bytes of small pictures that are kept in memory.
    pub cache_bytes: u64,
    /// How long a request's head or body may take, and how long a reader may stand still.
    pub patience: Duration,
    /// Clients whose rate is remembered.
    pub clients: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            rate: 100,
            burst: 400,
            requests_per_client: 128,
            requests: 512,
            connections: 1024,
            body_bytes: 16 * 1024,
            cache_bytes: 64 << 20,
            patience: Duration::from_secs(30),
            clients: 10_000,
        }
    }
}
