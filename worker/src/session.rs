//! The life of a connection: HELLO, leases and tiles, heartbeats; and the next connection after it.

use std::{future::Future, pin::Pin, time::Duration};

use fractally_proto::{ByeOk, Credit, ErrorCode, Hello, Lease, LeaseKind, Message};
use fractally_transport::{Backoff, ConnectError, Link, LinkError, Turn};
use thiserror::Error;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, info, warn};

use crate::{
    Options,
    pool::{Pool, read_clock},
    task::{Engine, Outcome, Product, attempts, shown},
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

/// Works until `stop` is ready, or until `drain` is and the bands that run are delivered; what waits is then given back. A connection that
/// is lost is sought again, for ever, with growing delays.
///
/// Returns why the worker ended.
pub async fn run(options: Options, drain: impl Future<Output = ()>, stop: impl Future<Output = ()>) -> EndReason {
    tokio::pin!(drain, stop);
    let (kernel, mirror, slow_down) = (options.kernel.0, options.mirror, options.debug_slow_down);
    let engine = Engine { kernel, mirror, slow_down, no_op: options.no_op };
    let pool = match Pool::start(options.threads, engine) {
        Ok(started) => started,
        Err(error) => return EndReason::NoThreads(options.threads, error),
    };
    let mut backoff = Backoff::new(options.epoch.0);
    let mut told = None;
    loop {
        let connected = tokio::select! {
            connected = Link::connect(&options.broker, options.connect_timeout) => connected,
            () = &mut drain => return EndReason::Stopped,
            () = &mut stop => return EndReason::Stopped,
        };
        match connected {
            Ok(link) => {
                info!(broker = %options.broker, name = options.name, threads = options.threads, "connected");
                let mut session = Session { link, pool: &pool, options: &options, draining: false };
                match session.serve(drain.as_mut(), stop.as_mut()).await {
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
                if session.draining {
                    return EndReason::Stopped;
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
            () = &mut drain => return EndReason::Stopped,
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
    /// It takes nothing new, and leaves when what runs is delivered.
    draining: bool,
}

/// What the broker said about time in its WELCOME; defaults until then.
struct Pace {
    heartbeat: Duration,
    dead_after: Duration,
}

impl Session<'_> {
    async fn serve(&mut self, drain: Pin<&mut impl Future<Output = ()>>, stop: Pin<&mut impl Future<Output = ()>>) -> SessionEnd {
        self.try_serve(drain, stop).await.unwrap_or_else(SessionEnd::Lost)
    }

    async fn try_serve(
        &mut self,
        mut drain: Pin<&mut impl Future<Output = ()>>,
        mut stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<SessionEnd, LinkError> {
        let hello = Hello {
            agent: self.options.agent.clone(),
            epoch: self.options.epoch,
            account: None,
            worker: Some(self.options.hello()),
        };
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
                finished = self.pool.finished() => for outcome in finished {
                    self.on_outcome(outcome).await?;
                },
                _ = timer.tick() => {
                    if heard.elapsed() >= pace.dead_after {
                        return Ok(SessionEnd::Silent);
                    }
                    self.link.heartbeat(self.pool.progress()).await?;
                }
                () = &mut drain, if !self.draining => self.drain().await?,
                () = &mut stop => return Ok(SessionEnd::Stopped),
            }
            if self.draining && self.pool.is_empty() {
                return Ok(SessionEnd::Stopped);
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
                match self.pool.withdraw(withdraw) {
                    Some(lease) => self.give_back(&lease).await,
                    None => Ok(()),
                }
            }
            Message::Heartbeat(_) => Ok(()),
            other => {
                debug!(message = other.name(), "passed over");
                Ok(())
            }
        }
    }

    /// Takes nothing new and gives back what waits.
    async fn drain(&mut self) -> Result<(), LinkError> {
        self.draining = true;
        info!(bands = self.pool.leases(), "no new bands; those that run are finished");
        self.link.send(&Message::Credit(Credit { credit: 0 })).await?;
        for lease in self.pool.give_back_waiting() {
            self.give_back(&lease).await?;
        }
        Ok(())
    }

    async fn give_back(&mut self, lease: &Lease) -> Result<(), LinkError> {
        for attempt in attempts(lease) {
            debug!(job = %lease.job, %attempt, request_id = shown(lease.request_id.as_ref()), "given back");
            self.link.send(&Outcome::unstarted(attempt, Product::Withdrawn).into_message()).await?;
        }
        Ok(())
    }

    async fn on_lease(&mut self, lease: Lease) -> Result<(), LinkError> {
        let (attempt, job) = (lease.attempt, lease.job);
        if self.draining {
            // It crossed our word.
            return self.give_back(&lease).await;
        }
        if self.pool.leases() >= self.options.credit() as usize {
            let reason = "more leases than the credit allows".to_owned();
            for attempt in attempts(&lease) {
                let outcome = Outcome::unstarted(attempt, Product::Declined(reason.clone()));
                self.link.send(&outcome.into_message()).await?;
            }
            return Ok(());
        }
        let request_id = shown(lease.request_id.as_ref());
        match lease.kind {
            LeaseKind::Band { first, strips } => {
                debug!(%job, %attempt, first, strips, mirror = lease.mirror.map(|mirror| mirror.first), request_id, "lease");
            }
            LeaseKind::Probe(_) => debug!(%job, %attempt, request_id, "probe"),
        }
        self.pool.push(lease);
        Ok(())
    }

    async fn on_outcome(&mut self, outcome: Outcome) -> Result<(), LinkError> {
        let request_id = shown(outcome.request_id.as_ref());
        debug!(attempt = %outcome.attempt, elapsed_us = outcome.elapsed.as_micros(), request_id, "done");
        self.link.send(&outcome.into_message()).await
    }
}

fn paced(period: Duration) -> tokio::time::Interval {
    let mut timer = interval(period);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    timer
}
