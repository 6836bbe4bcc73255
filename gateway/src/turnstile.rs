//! How much one client may ask, and all together: a rate, and requests at once.

use std::{
    collections::HashMap,
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, Mutex},
};

use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};

use crate::{Bounds, problem::Problem};

/// Lets requests in, one by one.
#[derive(Clone)]
pub(crate) struct Turnstile {
    inner: Arc<Inner>,
}

struct Inner {
    bounds: Bounds,
    rates: DefaultKeyedRateLimiter<Key>,
    inside: Mutex<Inside>,
}

/// Requests that are being answered.
#[derive(Default)]
struct Inside {
    all: usize,
    by_client: HashMap<Key, usize>,
}

/// Whom requests are counted for.
type Key = IpAddr;

/// The right to be answered; given back when dropped.
pub(crate) struct Pass {
    inner: Arc<Inner>,
    key: Key,
}

impl Turnstile {
    pub(crate) fn new(bounds: Bounds) -> Self {
        let some = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(some(bounds.rate)).allow_burst(some(bounds.burst));
        Self { inner: Arc::new(Inner { bounds, rates: RateLimiter::keyed(quota), inside: Mutex::default() }) }
    }

    /// Lets a request in.
    ///
    /// # Errors
    /// 429, or 503 where all together ask too much.
    pub(crate) fn admit(&self, address: IpAddr) -> Result<Pass, Problem> {
        let Inner { bounds, rates, inside } = &*self.inner;
        let key = address;
        // Those whose rate is whole again need not be remembered.
        if rates.len() >= bounds.clients {
            rates.retain_recent();
            if rates.len() >= bounds.clients {
                return Err(Problem::unavailable(format!("{} clients ask at once, which is the limit", bounds.clients), 5));
            }
        }
        if let Err(early) = rates.check_key(&key) {
            let wait = early.wait_time_from(DefaultClock::default().now()).as_secs();
            let detail = format!("over {} requests a second from one address; ask more slowly", bounds.rate);
            return Err(Problem::too_many(detail, u32::try_from(wait).unwrap_or(u32::MAX).saturating_add(1)));
        }
        let mut inside = inside.lock().expect("nobody panics with it");
        let mine = inside.by_client.get(&key).copied().unwrap_or(0);
        if mine >= bounds.requests_per_client {
            let detail = format!("{mine} requests of this address are being answered, which is the limit; wait for one");
            return Err(Problem::too_many(detail, 1));
        }
        if inside.all >= bounds.requests {
            return Err(Problem::unavailable(format!("{} requests are being answered, which is the limit", inside.all), 1));
        }
        inside.all += 1;
        *inside.by_client.entry(key).or_default() += 1;
        Ok(Pass { inner: Arc::clone(&self.inner), key })
    }

    /// Requests that are being answered.
    pub(crate) fn inside(&self) -> usize {
        self.inner.inside.lock().expect("nobody panics with it").all
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut inside = self.inner.inside.lock().expect("nobody panics with it");
        inside.all -= 1;
        if let Some(mine) = inside.by_client.get_mut(&self.key) {
            *mine -= 1;
            if *mine == 0 {
                inside.by_client.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn a_client_that_asks_too_much_waits_and_others_do_not() {
        let bounds = Bounds { rate: 1, burst: 5, requests_per_client: 2, requests: 3, ..Bounds::default() };
        let turnstile = Turnstile::new(bounds);
        let (ada, bob, eve) = (IpAddr::from([1, 1, 1, 1]), IpAddr::from([2, 2, 2, 2]), IpAddr::from([3, 3, 3, 3]));
        let status = |result: Result<Pass, Problem>| result.err().map(|problem| problem.status());
        let passes = [turnstile.admit(ada).ok().unwrap(), turnstile.admit(ada).ok().unwrap()];
        assert_eq!(status(turnstile.admit(ada)), Some(StatusCode::TOO_MANY_REQUESTS));
        let third = turnstile.admit(bob).ok().unwrap();
        assert_eq!(status(turnstile.admit(eve)), Some(StatusCode::SERVICE_UNAVAILABLE));
        drop((passes, third));
        assert_eq!(turnstile.inside(), 0);
        drop((turnstile.admit(ada).ok().unwrap(), turnstile.admit(ada).ok().unwrap()));
        // Its sixth within a second.
        assert_eq!(status(turnstile.admit(ada)), Some(StatusCode::TOO_MANY_REQUESTS));
        assert!(turnstile.admit(bob).is_ok());
    }
}
