//! Room for large frames over all connections: who finds none waits, and TCP makes its peer wait.
//!
//! The ZeroMQ library reserves a frame as soon as it knows its length, so room is taken for the whole frame before its first byte
//! goes on, and given back when the message is whole or its connection ends.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::census::Address;

/// Room is counted in so many bytes.
const UNIT: u64 = 1024;

/// Room for all connections of a listener, of which one address gets half at the most.
#[derive(Debug)]
pub(super) struct Budget {
    all: Arc<Pool>,
    share: u32,
    shares: Mutex<HashMap<Address, Weak<Pool>>>,
}

/// Room, and how many wait for some of it.
#[derive(Debug)]
struct Pool {
    room: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Pool {
    fn new(units: usize) -> Arc<Self> {
        Arc::new(Self { room: Arc::new(Semaphore::new(units)), waiting: AtomicUsize::new(0) })
    }

    async fn take(&self, units: u32) -> Option<OwnedSemaphorePermit> {
        let _waiting = Waiting::new(&self.waiting);
        // It is never closed.
        self.room.clone().acquire_many_owned(units).await.ok()
    }
}

/// Counted while it lives, also where the wait is given up.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One address's part.
#[derive(Clone, Debug)]
pub(super) struct Share {
    all: Arc<Pool>,
    mine: Arc<Pool>,
    units_max: u32,
}

/// Room that was taken; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Room {
    _mine: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Budget {
    pub(super) fn new(bytes: u64) -> Self {
        let share = u32::try_from(bytes / 2 / UNIT).unwrap_or(u32::MAX / 2).max(1);
        Self { all: Pool::new(2 * share as usize), share, shares: Mutex::default() }
    }

    /// The part of an address, shared by its connections.
    pub(super) fn share(&self, address: Address) -> Share {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = shares.get(&address).and_then(Weak::upgrade).unwrap_or_else(|| {
            shares.retain(|_, share| share.strong_count() > 0);
            let fresh = Pool::new(self.share as usize);
            shares.insert(address, Arc::downgrade(&fresh));
            fresh
        });
        Share { all: self.all.clone(), mine, units_max: self.share }
    }
}

impl Share {
    /// Waits for room for `bytes`, first come first served. What is larger than the whole share takes all of it.
    pub(super) async fn take(&self, bytes: u64) -> Option<Room> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.units_max);
        // The own share first: who waits for it holds up nobody else.
        let mine = self.mine.take(units).await?;
        let all = self.all.take(units).await?;
        Some(Room { _mine: mine, _all: all })
    }

    /// Whether somebody waits for room of which this address holds some.
    pub(super) fn is_wanted(&self) -> bool {
        self.mine.waiting.load(Ordering::Relaxed) + self.all.waiting.load(Ordering::Relaxed) > 0
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use futures::FutureExt;

    use super::*;

    #[test]
    fn one_address_gets_half_and_who_finds_no_room_waits_until_some_is_given_back() {
        let budget = Budget::new(100 * UNIT);
        let address = |text: &str| text.parse::<IpAddr>().unwrap().into();
        let (greedy, other) = (budget.share(address("10.0.0.1")), budget.share(address("10.0.0.2")));
        let half = greedy.take(50 * UNIT).now_or_never().flatten();
        assert!(half.is_some());
        assert!(budget.share(address("10.0.0.1")).take(1).now_or_never().is_none(), "its connections share");
        let others = other.take(49 * UNIT).now_or_never().flatten();
        assert!(others.is_some() && other.take(2 * UNIT).now_or_never().is_none());
        assert!(!greedy.is_wanted(), "nobody waits any more");
        let mut waiting = Box::pin(other.take(UNIT * 2));
        assert!(waiting.as_mut().now_or_never().is_none() && other.is_wanted());
        drop(waiting);
        drop(half);
        assert!(greedy.take(u64::MAX).now_or_never().flatten().is_some(), "what is too large takes all there is");
    }

    #[test]
    fn addresses_that_are_gone_are_forgotten() {
        let budget = Budget::new(1 << 20);
        for host in 0..100 {
            drop(budget.share(IpAddr::from([10, 0, 0, host]).into()));
        }
        assert!(budget.shares.lock().unwrap().len() <= 1);
    }
}
