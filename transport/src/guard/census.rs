//! Who is connected, and who must wait outside. Pure: addresses and arrivals are arguments.
//!
//! A connection is a **newcomer** until its first message is whole: it costs one descriptor. Then it is **settled**, with a
//! connection to the ROUTER behind it: three descriptors. Both kinds have a cap. Newcomers never keep others out: at their cap the
//! oldest of the address with the most of them must go.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use thiserror::Error;

/// One connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ConnectionId(u64);

/// What counts as one address: hosts have whole /64 networks of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Address(IpAddr);

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V6(ip) if !ip.is_loopback() => Self(IpAddr::V6((ip.to_bits() >> 64 << 64).into())),
            ip => Self(ip),
        }
    }
}

/// The most of each kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caps {
    pub(super) newcomers_max: usize,
    pub(super) settled_max: usize,
    pub(super) settled_per_address_max: usize,
}

/// Why a connection cannot settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Full {
    #[error("there are {0} connections already, as many as may be")]
    Everywhere(usize),
    #[error("there are {0} connections from this address already, as many as may be")]
    ThisAddress(usize),
}

/// All connections of one listener.
#[derive(Debug)]
pub(super) struct Census {
    caps: Caps,
    next: u64,
    newcomers: BTreeMap<ConnectionId, Address>,
    settled: HashMap<ConnectionId, Address>,
    by_address: HashMap<Address, Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    newcomers: usize,
    settled: usize,
}

impl Census {
    pub(super) fn new(caps: Caps) -> Self {
        Self { caps, next: 0, newcomers: BTreeMap::new(), settled: HashMap::new(), by_address: HashMap::new() }
    }

    /// A connection has come. Gives the newcomer that must end for it, if there are too many.
    pub(super) fn on_arrival(&mut self, address: Address) -> (ConnectionId, Option<ConnectionId>) {
        let outcast = if self.newcomers.len() >= self.caps.newcomers_max { self.outcast() } else { None };
        if let Some(outcast) = outcast {
            self.on_end(outcast);
        }
        let id = ConnectionId(self.next);
        self.next += 1;
        self.newcomers.insert(id, address);
        self.by_address.entry(address).or_default().newcomers += 1;
        (id, outcast)
    }

    /// The oldest newcomer of the address that has the most.
    fn outcast(&self) -> Option<ConnectionId> {
        let most = self.by_address.values().map(|counts| counts.newcomers).max()?;
        self.newcomers.iter().find(|(_, address)| self.by_address[address].newcomers == most).map(|(&id, _)| id)
    }

    /// A newcomer has sent its first message.
    ///
    /// # Errors
    /// [`Full`]: it stays a newcomer, and must go.
    pub(super) fn on_settling(&mut self, id: ConnectionId) -> Result<(), Full> {
        let Some(&address) = self.newcomers.get(&id) else { return Ok(()) };
        let counts = self.by_address.entry(address).or_default();
        if self.settled.len() >= self.caps.settled_max {
            return Err(Full::Everywhere(self.settled.len()));
        }
        if counts.settled >= self.caps.settled_per_address_max {
            return Err(Full::ThisAddress(counts.settled));
        }
        counts.newcomers -= 1;
        counts.settled += 1;
        self.newcomers.remove(&id);
        self.settled.insert(id, address);
        Ok(())
    }

    /// A connection and everything that it held is gone. Said twice it does nothing.
    pub(super) fn on_end(&mut self, id: ConnectionId) {
        let (newcomer, settled) = (self.newcomers.remove(&id), self.settled.remove(&id));
        let Some(address) = newcomer.or(settled) else { return };
        let counts = self.by_address.entry(address).or_default();
        counts.newcomers -= usize::from(newcomer.is_some());
        counts.settled -= usize::from(settled.is_some());
        if counts.newcomers + counts.settled == 0 {
            self.by_address.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn census() -> Census {
        Census::new(Caps { newcomers_max: 4, settled_max: 3, settled_per_address_max: 2 })
    }

    fn len(census: &Census) -> usize {
        census.newcomers.len() + census.settled.len()
    }

    fn address(text: &str) -> Address {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn a_flood_of_newcomers_pushes_out_its_own() {
        let (mut census, flooder, honest) = (census(), address("10.0.0.1"), address("10.0.0.2"));
        let (guest, _) = census.on_arrival(honest);
        let flood: Vec<_> = (0..10).map(|_| census.on_arrival(flooder)).collect();
        let outcasts: Vec<_> = flood.iter().filter_map(|(_, outcast)| *outcast).collect();
        let oldest: Vec<_> = flood.iter().map(|(id, _)| *id).take(7).collect();
        assert_eq!(outcasts, oldest, "the oldest of the flood go, and the guest stays");
        census.on_settling(guest).unwrap();
        assert_eq!(len(&census), 4);
    }

    #[test]
    fn settled_connections_have_a_cap_in_all_and_for_each_address() {
        let (mut census, one, two, three) = (census(), address("10.0.0.1"), address("10.0.0.2"), address("10.0.0.3"));
        let mut settle = |address| {
            let (id, outcast) = census.on_arrival(address);
            assert_eq!(outcast, None);
            let settled = census.on_settling(id);
            if settled.is_err() {
                census.on_end(id);
            }
            settled.map(|()| id)
        };
        let first = settle(one).unwrap();
        settle(one).unwrap();
        assert_eq!(settle(one), Err(Full::ThisAddress(2)));
        settle(two).unwrap();
        assert_eq!(settle(three), Err(Full::Everywhere(3)));
        census.on_end(first);
        census.on_end(first);
        let (id, _) = census.on_arrival(three);
        census.on_settling(id).unwrap();
        assert_eq!(len(&census), 3);
    }

    #[test]
    fn nothing_is_remembered_of_those_who_are_gone() {
        let mut census = census();
        for host in 0..100 {
            let (id, _) = census.on_arrival(address(&format!("10.0.0.{host}")));
            if host % 2 == 0 {
                let _ = census.on_settling(id);
            }
            census.on_end(id);
        }
        assert!(len(&census) == 0 && census.by_address.is_empty());
    }

    #[test]
    fn hosts_of_one_ipv6_network_and_mapped_addresses_are_one() {
        assert_eq!(address("2001:db8:1:2::1"), address("2001:db8:1:2:ffff::9"));
        assert_ne!(address("2001:db8:1:2::1"), address("2001:db8:1:3::1"));
        assert_eq!(address("::ffff:10.0.0.1"), address("10.0.0.1"));
        assert_ne!(address("::1"), address("::2"));
    }
}
