//! Whom to look at when. A timer may fire early, never late: signs of life move the true deadline without touching the timer, and
//! whoever is looked at too early is armed again. So a heartbeat costs nothing here, and the next deadline is one look at a set.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use fractally_proto::JobId;

use crate::{ClientId, WorkerId};

/// Who is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    Client(ClientId),
    Worker(WorkerId),
    Job(JobId),
    /// Bands that may be late by then, while somebody has nothing to do.
    Late,
    /// Detached jobs that have been over for long.
    Expiry,
}

/// At most one deadline a peer and job.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeSet<(Duration, Timer)>,
    armed: BTreeMap<Timer, Duration>,
}

impl Timers {
    /// The timer fires at `at` or before.
    pub(crate) fn arm(&mut self, timer: Timer, at: Duration) {
        match self.armed.get_mut(&timer) {
            Some(armed) if *armed <= at => return,
            Some(armed) => {
                self.due.remove(&(*armed, timer));
                *armed = at;
            }
            None => {
                self.armed.insert(timer, at);
            }
        }
        self.due.insert((at, timer));
    }

    pub(crate) fn disarm(&mut self, timer: Timer) {
        if let Some(armed) = self.armed.remove(&timer) {
            self.due.remove(&(armed, timer));
        }
    }

    /// Disarms and gives the earliest timer that has fired.
    pub(crate) fn pop(&mut self, now: Duration) -> Option<Timer> {
        let &(at, timer) = self.due.first()?;
        if at > now {
            return None;
        }
        self.disarm(timer);
        Some(timer)
    }

    pub(crate) fn next(&self) -> Option<Duration> {
        self.due.first().map(|&(at, _)| at)
    }

    pub(crate) fn armed(&self, timer: Timer) -> Option<Duration> {
        self.armed.get(&timer).copied()
    }

    pub(crate) fn len(&self) -> usize {
        assert_eq!(self.due.len(), self.armed.len(), "a timer has two deadlines");
        self.armed.len()
    }
}
