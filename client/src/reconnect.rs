//! What becomes of a lost connection: it is sought again, for as long as was asked, unless nobody ever answered.

use std::{
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

use fractally_transport::Backoff;
use tracing::info;

use crate::{
    follow::{Event, RenderError},
    session::{Broker, SessionError, read_clock},
};

/// One client's patience with one broker.
pub(crate) struct Reconnect {
    backoff: Backoff,
    /// How long a broker that was connected once may stay away.
    within: Duration,
    /// Whether a broker has ever answered.
    was_welcome: bool,
    lost_at: Option<Instant>,
    count: u32,
}

impl Reconnect {
    pub(crate) fn new(broker: &Broker, within: Duration) -> Self {
        Self { backoff: Backoff::new(broker.epoch.0), within, was_welcome: false, lost_at: None, count: 0 }
    }

    /// The broker said WELCOME.
    pub(crate) fn on_welcome(&mut self) {
        self.was_welcome = true;
    }

    /// The broker does what it was asked for, so that the next loss is a new one.
    pub(crate) fn on_success(&mut self) {
        self.lost_at = None;
    }

    /// Connections that were lost so far.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Waits until it is time for the next try. May be called for passing errors only.
    ///
    /// # Errors
    /// `error`, when there is to be no next try; [`RenderError::Stopped`].
    pub(crate) async fn wait(
        &mut self,
        error: SessionError,
        on_event: &mut impl FnMut(Event),
        stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<(), RenderError> {
        // A broker that never answered is not waited for; one that did may come back.
        if !self.was_welcome || self.lost_at.is_some_and(|at| at.elapsed() >= self.within) {
            return Err(error.into());
        }
        if self.lost_at.is_none() {
            self.backoff.reset();
            self.lost_at = Some(read_clock());
            self.count += 1;
            info!(%error, "reconnecting");
            on_event(Event::Reconnecting { reason: error.to_string() });
        }
        tokio::select! {
            () = tokio::time::sleep(self.backoff.delay()) => Ok(()),
            () = stop => Err(RenderError::Stopped),
        }
    }
}
