//! What a guard demands of peers: sizes, times and numbers.

use std::{io, time::Duration};

use rustix::process::{Resource, getrlimit, setrlimit};

use super::MessageLimits;

/// Descriptors that a broker needs for itself: logs, runtimes, listeners, Unix sockets.
const OWN_DESCRIPTORS: u64 = 64;
/// What a settled connection takes: the peer's, and both ends of the one to the ROUTER.
const DESCRIPTORS_EACH: usize = 3;
/// More than a broker admits as clients or as workers, so that those too many still hear why they cannot stay.
const CONNECTIONS_MAX: usize = 8192;
const NEWCOMERS_MAX: usize = 512;
const CONNECTIONS_MIN: usize = 4;

/// What a guard demands of peers.
#[derive(Clone, Debug)]
pub struct GuardConfig {
    /// How large messages may be.
    pub messages: MessageLimits,
    /// From the connection to READY, and from READY to the end of the first message, each.
    pub handshake_timeout: Duration,
    /// From the first byte of a message to its last, as far as it was the peer that was waited for. 8 MiB in the default 15 s is
    /// 4.7 Mbit/s.
    pub message_timeout: Duration,
    /// A peer that takes no byte for so long while some wait for it is gone. What was said before a connection ends has as long to
    /// arrive.
    pub write_timeout: Duration,
    /// Connections that have not sent a message yet; at the bound one of the oldest ends.
    pub newcomers_max: usize,
    /// Connections with a first message behind them; at the bound a newcomer is sent away.
    pub connections_max: usize,
    /// The same for one IPv4 address, or one /64 network of IPv6.
    pub connections_per_address_max: usize,
    /// Bytes of large frames under way from all peers together, whole from their first byte on; the next one waits. One address gets
    /// half at the most. While somebody waits, a peer that sends one at less than 1 MiB/s ends.
    pub large_bytes_max: u64,
}

impl GuardConfig {
    /// For the socket of clients.
    pub fn for_clients() -> Self {
        Self::new(MessageLimits::of_clients())
    }

    /// For the socket of workers.
    pub fn for_workers() -> Self {
        Self::new(MessageLimits::of_workers())
    }

    fn new(messages: MessageLimits) -> Self {
        let (newcomers_max, connections_max) = shares(descriptor_limit());
        Self {
            messages,
            handshake_timeout: Duration::from_secs(5),
            message_timeout: Duration::from_secs(15),
            write_timeout: Duration::from_secs(10),
            newcomers_max,
            connections_max,
            connections_per_address_max: (connections_max * 3 / 4).max(1),
            large_bytes_max: 256 << 20,
        }
    }
}

/// Newcomers and connections of each of a broker's two sockets, so that all of them together leave it the descriptors that it needs
/// for itself.
fn shares(descriptors: u64) -> (usize, usize) {
    let each = usize::try_from(descriptors.saturating_sub(OWN_DESCRIPTORS) / 2).unwrap_or(usize::MAX);
    let newcomers = (each / 4).clamp(CONNECTIONS_MIN, NEWCOMERS_MAX);
    (newcomers, (each.saturating_sub(newcomers) / DESCRIPTORS_EACH).clamp(CONNECTIONS_MIN, CONNECTIONS_MAX))
}

fn descriptor_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Raises the limit of open descriptors as far as this process may. Gives the limit. To be called before any [`GuardConfig`] is
/// made.
///
/// # Errors
/// The system refuses; the limit is as before.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit)?;
    }
    Ok(descriptor_limit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_a_broker_its_own_descriptors() {
        for descriptors in [100, 128, 256, 1024, 4096, 20_000, 1 << 20, u64::MAX] {
            let (newcomers, connections) = shares(descriptors);
            let taken = 2 * (newcomers + DESCRIPTORS_EACH * connections) as u64;
            assert!(taken + OWN_DESCRIPTORS <= descriptors, "{descriptors}: {newcomers}, {connections}");
        }
        assert_eq!(shares(0), (CONNECTIONS_MIN, CONNECTIONS_MIN));
        assert_eq!(shares(20_000).1, 3152, "a thousand workers from one address, and then some");
    }
}
