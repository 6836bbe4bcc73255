//! Connections to one broker that are used again, for a client that asks it many things: a bounded pool.
//!
//! A session waits here only while nothing is owed to it (`owed.rs`), and for a quarter of the time after which the broker would take it
//! for dead, so that nobody has to send heartbeats for it. Those of the broker wait in the socket until the session is used again.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Instant,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::timeout,
};

use crate::session::{Broker, FAREWELL, Session, SessionError, read_clock};

/// The share of `dead_after_ms` for which a session may wait.
const IDLE_SHARE: u32 = 4;

/// Connections of one broker and account that are used again. Clones are the same pool.
///
/// At most `sessions_max` are open at once, both in use and idle. Whoever wants one more waits until one is free, for as long as
/// connecting may take. Idle ones are taken newest first; none is idle for longer than a quarter of the broker's `dead_after_ms`. All must
/// be used in one tokio runtime.
#[derive(Clone)]
pub struct Sessions(Arc<Pool>);

struct Pool {
    max: usize,
    /// One for each session that is in use. A new session is opened only by who holds a permit while nothing is idle, so those in use
    /// and those idle are never more than there are permits.
    permits: Arc<Semaphore>,
    shelf: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    /// The longest idle first.
    idle: Vec<Idle>,
    /// Whether somebody closes what is idle for too long.
    has_sweeper: bool,
}

struct Idle {
    session: Session,
    since: Instant,
}

impl Idle {
    fn until(&self) -> Instant {
        self.since + self.session.dead_after() / IDLE_SHARE
    }
}

/// A session's right to be in use.
pub(crate) struct Place {
    pool: Weak<Pool>,
    permit: OwnedSemaphorePermit,
}

impl Sessions {
    /// A pool of at most `sessions_max` connections, at least one.
    pub fn new(sessions_max: usize) -> Self {
        let max = sessions_max.clamp(1, Semaphore::MAX_PERMITS);
        let permits = Arc::new(Semaphore::new(max));
        Self(Arc::new(Pool { max, permits, shelf: Mutex::default() }))
    }

    /// Connections that nobody uses now.
    pub fn idle(&self) -> usize {
        self.0.shelf().idle.len()
    }

    /// Connections in use now.
    pub fn in_use(&self) -> usize {
        self.0.max - self.0.permits.available_permits()
    }

    /// Says BYE over all that are idle.
    pub async fn close_idle(&self) {
        let idle = std::mem::take(&mut self.0.shelf().idle);
        self.0.retire(idle).join_all().await;
    }

    /// A session that waits here, or a new one.
    ///
    /// # Errors
    /// [`SessionError::Crowded`], and those of a new connection.
    pub(crate) async fn take(&self, broker: &Broker) -> Result<Session, SessionError> {
        let crowded = || SessionError::Crowded { max: self.0.max };
        let permit = timeout(broker.connect_timeout, Arc::clone(&self.0.permits).acquire_owned()).await;
        let permit = permit.map_err(|_| crowded())?.expect("nobody closes it");
        let mut place = Place { pool: Arc::downgrade(&self.0), permit };
        while let Some(session) = self.0.newest(broker) {
            match session.wake(place).await {
                Ok(session) => return Ok(session),
                Err(back) => place = back,
            }
        }
        Session::connect(broker, Some(place)).await
    }
}

impl Place {
    /// What else is idle is no better than a session that was lost meanwhile.
    pub(crate) fn clear_idle(&self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.shelf().idle.clear();
        }
    }

    /// The session is free, and owed nothing.
    pub(crate) fn put_back(self, session: Session) {
        let Some(pool) = self.pool.upgrade() else { return };
        let mut shelf = pool.shelf();
        shelf.idle.push(Idle { session, since: read_clock() });
        if !std::mem::replace(&mut shelf.has_sweeper, true) {
            tokio::spawn(sweep(self.pool.clone()));
        }
        drop(shelf);
        // Only now may somebody else have a session.
        drop(self.permit);
    }
}

impl Pool {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one that is idle for the shortest time. If that is too long, or it is somebody else's, none is any good.
    fn newest(&self, broker: &Broker) -> Option<Session> {
        let mut shelf = self.shelf();
        let newest = shelf.idle.pop()?;
        if newest.until() > read_clock() && newest.session.is_of(broker) {
            return Some(newest.session);
        }
        let mut stale = std::mem::take(&mut shelf.idle);
        drop(shelf);
        stale.push(newest);
        self.retire(stale).detach_all();
        None
    }

    /// Takes out what is idle for too long, and tells when there will be more.
    fn stale(&self) -> (Vec<Idle>, Option<Instant>) {
        let (mut shelf, now) = (self.shelf(), read_clock());
        let stale = shelf.idle.iter().take_while(|idle| idle.until() <= now).count();
        let stale = shelf.idle.drain(..stale).collect();
        let next = shelf.idle.first().map(Idle::until);
        shelf.has_sweeper = next.is_some();
        (stale, next)
    }

    /// Says BYE. A session that does so counts as in use; where that is one too many, it is closed without a word.
    fn retire(&self, idle: Vec<Idle>) -> JoinSet<()> {
        let mut farewells = JoinSet::new();
        for Idle { session, .. } in idle {
            if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
                farewells.spawn(async move {
                    session.bye(FAREWELL).await;
                    drop(permit);
                });
            }
        }
        farewells
    }
}

/// Closes what is idle for too long, until nothing is idle or nobody has the pool any more.
async fn sweep(pool: Weak<Pool>) {
    let mut next = None;
    loop {
        if let Some(next) = next {
            tokio::time::sleep_until(Instant::into(next)).await;
        }
        let Some(pool) = pool.upgrade() else { return };
        let (stale, then) = pool.stale();
        pool.retire(stale).detach_all();
        if then.is_none() {
            return;
        }
        next = then;
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("max", &self.0.max).field("idle", &self.idle()).field("in_use", &self.in_use()).finish()
    }
}
