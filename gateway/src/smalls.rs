//! Small pictures in memory: tiles and coarse pictures. Who asks for one that is being rendered waits with the others; when the last of
//! them leaves, the work is taken back.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, Weak},
};

use fractally_proto::{ContentId, Request};
use futures::FutureExt;
use http::StatusCode;
use quick_cache::{Weighter, sync::Cache};
use tokio::sync::{oneshot, watch};
use tracing::Instrument;

use crate::{
    grid::{Grid, Small},
    metrics::Metrics,
    problem::Problem,
    trail::Caller,
};

/// What a cached picture takes beside its bytes.
const ENTRY_BYTES: u64 = 256;

/// See the module's words.
#[derive(Clone)]
pub(crate) struct Smalls {
    inner: Arc<Inner>,
}

struct Inner {
    grid: Grid,
    metrics: Metrics,
    cache: Cache<ContentId, Small, Weight>,
    /// Pictures that are being rendered, for as long as somebody waits.
    flights: Mutex<HashMap<ContentId, Weak<Flight>>>,
}

/// A picture that is being rendered. When the last who waits drops it, it is cancelled.
struct Flight {
    landed: watch::Receiver<Option<Result<Small, Problem>>>,
    /// Whom it is counted for.
    account: String,
    _stop: oneshot::Sender<()>,
}

#[derive(Clone)]
struct Weight;

impl Weighter<ContentId, Small> for Weight {
    fn weight(&self, _: &ContentId, small: &Small) -> u64 {
        small.bytes.len() as u64 + ENTRY_BYTES
    }
}

impl Smalls {
    pub(crate) fn new(grid: Grid, metrics: Metrics, cache_bytes: u64) -> Self {
        let typical = usize::try_from(cache_bytes / 16_384).unwrap_or(usize::MAX).max(16);
        let cache = Cache::with_weighter(typical, cache_bytes, Weight);
        Self { inner: Arc::new(Inner { grid, metrics, cache, flights: Mutex::default() }) }
    }

    /// A small picture, from memory or from the grid.
    pub(crate) async fn get(&self, request: Request, caller: &Caller) -> Result<Small, Problem> {
        let content = request.content();
        // What another engine drew is not what would be drawn now.
        let now = self.inner.grid.engine();
        let cached = self.inner.cache.get(&content).filter(|small| now.as_ref().is_none_or(|now| *now == small.engine));
        if let Some(small) = cached {
            self.inner.metrics.on_small(true);
            return Ok(small);
        }
        self.inner.metrics.on_small(false);
        loop {
            let flight = self.flight(content, request, caller);
            let mut landed = flight.landed.clone();
            let landed = landed.wait_for(Option::is_some).await.map(|landed| landed.clone());
            match landed {
                // What the one who asked first may not have, another may.
                Ok(Some(Err(problem)))
                    if problem.status() == StatusCode::TOO_MANY_REQUESTS && flight.account != caller.account => {}
                Ok(Some(result)) => return result,
                Ok(None) | Err(_) => return Err(Problem::unavailable("the render ended", 1)),
            }
        }
    }

    /// The flight that brings this picture.
    fn flight(&self, content: ContentId, request: Request, caller: &Caller) -> Arc<Flight> {
        let mut flights = self.inner.flights.lock().expect("nobody panics with it");
        // One that has landed without its picture, such as for a broker that was away, is not waited for.
        let under_way = flights.get(&content).and_then(Weak::upgrade).filter(|flight| flight.landed.borrow().is_none());
        if let Some(flight) = under_way {
            return flight;
        }
        let (stop, stopped) = oneshot::channel();
        let (land, landed) = watch::channel(None);
        let flight = Arc::new(Flight { landed, account: caller.account.clone(), _stop: stop });
        let (inner, caller, this) = (Arc::clone(&self.inner), caller.clone(), Arc::downgrade(&flight));
        let fly = async move {
            let stop = async {
                let _ = stopped.await;
            };
            let result = inner.grid.render(request, &caller, stop.shared()).await;
            if let Ok(small) = &result {
                inner.cache.insert(content, small.clone());
            }
            land.send_replace(Some(result));
            let mut flights = inner.flights.lock().expect("nobody panics with it");
            // By now another may fly for the same picture.
            if flights.get(&content).is_some_and(|flight| flight.ptr_eq(&this)) {
                flights.remove(&content);
            }
        };
        flights.insert(content, Arc::downgrade(&flight));
        tokio::spawn(fly.in_current_span());
        flight
    }
}
