//! The life of a connection: HELLO, leases and tiles, heartbeats; and the next connection after it.

use std::{future::Future, time::Duration};

use fractally_proto::{ByeOk, ErrorCode, Hello, Lease, LeaseKind, Message};
use fractally_transport::{Backoff, ConnectError, Link, LinkError, Turn};
use thiserror::Error;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tracing::{debug, info, warn};

use crate::{
    Options,
    pool::{Pool, read_clock},
    task::{Engine, Outcome, Product, attempts},
};

/// How long a leaving worker waits for the broker's BYE_OK.
const BYE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a worker has ended.
#[derive(Debug, Error)]
pub enum EndReason {
    /// It was asked to stop.
    #[error("stopped")]
    Stopped,
    /// The broker does not want it, and would not want it if it came again.
    #[error("the broker refuses this worker: {0}")]
    Refused(String),
    /// The system does not give it the threads that it was asked to run.
    #[error("cannot start {0} threads: {1}; ask for fewer with --threads")]
    NoThreads(u32, std::io::Error),
}

/// Why one connection has ended.
enum SessionEnd {
    Stopped,
    Refused(String),
    Lost(LinkError),
    Silent,
    BrokerLeft,
    NoRoom(String),
}

/// Works until `stop` is ready. A connection that is lost is sought again, for ever, with growing delays.
///
/// Returns why the worker ended.
pub async fn run(options: Options, stop: impl Future<Output = ()>) -> EndReason {
    tokio::pin!(stop);
    let engine = Engine { kernel: options.kernel.0, mirror: options.mirror };
    let (pool, mut outcomes) = match Pool::start(options.threads, engine) {
        Ok(started) => started,
        Err(error) => return EndReason::NoThreads(options.threads, error),
    };
    let mut backoff = Backoff::new(options.epoch.0);
    let mut told = None;
    loop {
        let connected = tokio::select! {
            connected = Link::connect(&options.broker, options.connect_timeout) => connected,
            () = &mut stop => return EndReason::Stopped,
        };
        match connected {
            Ok(link) => {
                info!(broker = %options.broker, name = options.name, threads = options.threads, "connected");
                let mut session = Session { link, pool: &pool, options: &options };
                match session.serve(&mut outcomes, stop.as_mut()).await {
                    SessionEnd::Stopped => {
                        session.link.bye("stopped", BYE_TIMEOUT).await;
                        return EndReason::Stopped;
                    }
                    SessionEnd::Refused(reason) => return EndReason::Refused(reason),
                    SessionEnd::Lost(error) => warn!(%error, "session ended"),
                    SessionEnd::Silent => warn!("the broker is silent; session ended"),
                    SessionEnd::BrokerLeft => info!("the broker left"),
                    SessionEnd::NoRoom(reason) => warn!(reason, "the broker has no room; trying again"),
                }
                // What an old session leased means nothing to the next one.
                pool.clear();
                backoff.reset();
                told = None;
            }
            Err(error) => report(&error, &mut told),
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.delay()) => {}
            () = &mut stop => return EndReason::Stopped,
        }
    }
}

/// The first failure of a series is worth a line, and so is every new reason.
fn report(error: &ConnectError, told: &mut Option<String>) {
    if told.as_ref() == Some(&error.reason) {
        return debug!(%error, "not connected");
    }
    warn!(%error, "not connected; trying again until stopped");
    *told = Some(error.reason.clone());
}

struct Session<'a> {
    link: Link,
    pool: &'a Pool,
    options: &'a Options,
}

/// What the broker said about time in its WELCOME; defaults until then.
struct Pace {
    heartbeat: Duration,
    dead_after: Duration,
}

impl Session<'_> {
    async fn serve(
        &mut self,
        outcomes: &mut mpsc::UnboundedReceiver<Outcome>,
        stop: std::pin::Pin<&mut impl Future<Output = ()>>,
    ) -> SessionEnd {
        self.try_serve(outcomes, stop).await.unwrap_or_else(SessionEnd::Lost)
    }

    async fn try_serve(
        &mut self,
        outcomes: &mut mpsc::UnboundedReceiver<Outcome>,
        mut stop: std::pin::Pin<&mut impl Future<Output = ()>>,
    ) -> Result<SessionEnd, LinkError> {
        let hello = Hello { agent: self.options.agent.clone(), epoch: self.options.epoch, worker: Some(self.options.hello()) };
        self.link.send(&Message::Hello(hello)).await?;
        let mut pace = Pace { heartbeat: Duration::from_secs(1), dead_after: Duration::from_secs(4) };
        let mut timer = paced(pace.heartbeat);
        let mut turn = Turn::default();
        let mut heard = read_clock();
        loop {
            tokio::select! {
                message = self.link.next() => {
                    heard = read_clock();
                    match message? {
                        Message::Welcome(welcome) => {
                            let millis = |ms: u32| Duration::from_millis(ms.max(10).into());
                            pace = Pace { heartbeat: millis(welcome.heartbeat_ms), dead_after: millis(welcome.dead_after_ms) };
                            timer = paced(pace.heartbeat);
                        }
                        Message::Error(error) if error.code == ErrorCode::Full => return Ok(SessionEnd::NoRoom(error.message)),
                        Message::Error(error) => return Ok(SessionEnd::Refused(error.message)),
                        Message::Bye(_) => {
                            self.link.send(&Message::ByeOk(ByeOk {})).await?;
                            return Ok(SessionEnd::BrokerLeft);
                        }
                        message => self.on_message(message).await?,
                    }
                }
                Some(outcome) = outcomes.recv() => self.on_outcome(outcome).await?,
                _ = timer.tick() => {
                    if heard.elapsed() >= pace.dead_after {
                        return Ok(SessionEnd::Silent);
                    }
                    self.link.heartbeat(self.pool.progress()).await?;
                }
                () = &mut stop => return Ok(SessionEnd::Stopped),
            }
            if self.link.is_ack_due() {
                self.link.heartbeat(self.pool.progress()).await?;
            }
            turn.handled().await;
        }
    }

    async fn on_message(&mut self, message: Message) -> Result<(), LinkError> {
        match message {
            Message::Lease(lease) => self.on_lease(lease).await,
            Message::Withdraw(withdraw) => {
                debug!(attempt = %withdraw.attempt, withdraw.if_waiting, "withdrawn");
                for attempt in self.pool.withdraw(withdraw).iter().flat_map(attempts) {
                    let outcome = Outcome::unstarted(attempt, Product::Withdrawn);
                    self.link.send(&outcome.into_message()).await?;
                }
                Ok(())
            }
            Message::Heartbeat(_) => Ok(()),
            other => {
                debug!(message = other.name(), "passed over");
                Ok(())
            }
        }
    }

    async fn on_lease(&mut self, lease: Lease) -> Result<(), LinkError> {
        let (attempt, job) = (lease.attempt, lease.job);
        if self.pool.len() >= self.options.credit() as usize {
            let reason = "more leases than the credit allows".to_owned();
            for attempt in attempts(&lease) {
                let outcome = Outcome::unstarted(attempt, Product::Declined(reason.clone()));
                self.link.send(&outcome.into_message()).await?;
            }
            return Ok(());
        }
        match lease.kind {
            LeaseKind::Band { first, strips } => {
                debug!(%job, %attempt, first, strips, mirror = lease.mirror.map(|mirror| mirror.first), "lease");
            }
            LeaseKind::Probe(_) => debug!(%job, %attempt, "probe"),
        }
        self.pool.push(lease);
        Ok(())
    }

    async fn on_outcome(&mut self, outcome: Outcome) -> Result<(), LinkError> {
        if !self.pool.is_current(&outcome) {
            return Ok(());
        }
        debug!(attempt = %outcome.attempt, elapsed_us = outcome.elapsed.as_micros(), "done");
        self.link.send(&outcome.into_message()).await
    }
}

fn paced(period: Duration) -> tokio::time::Interval {
    let mut timer = interval(period);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    timer
}
