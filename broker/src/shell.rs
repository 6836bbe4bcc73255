//! The event loop: one task owns all state.

use std::{
    future::Future,
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use fractally_broker_core::{ClientId, Config, Core, Effect, FromJournal, ReadStrips, ToJournal, WorkerId, WorkerSays};
use fractally_journal::{Journal, Look, Lost, OpenError, Recovered};
use fractally_proto::{DecodeError, ErrorCode, Message, Strips};
use fractally_transport::{BindError, Endpoint, GuardConfig, Hub, HubEvent, Peer, Turn};
use tokio::time::{MissedTickBehavior, interval, sleep_until};
use tracing::{debug, error, info, warn};

use crate::{
    keeper::{self, Keeper, Order, Said, Store},
    log,
    metrics::Metrics,
    payloads::Payloads,
    words,
};

/// Heartbeats without a turn of the loop that count as a pause.
const PAUSE_HEARTBEATS: u32 = 2;

/// A bound broker.
pub struct Broker {
    core: Core,
    clients: Hub,
    workers: Hub,
    payloads: Payloads,
    keeper: Option<Keeper>,
    metrics: Option<Arc<Metrics>>,
    heartbeat: Duration,
    started: Instant,
    /// When the loop last turned.
    turned: Duration,
    /// Effects of the event at hand, in order. Kept to reuse its memory.
    effects: Vec<Effect>,
}

/// What is demanded of peers before their messages are read, where they come over TCP.
#[derive(Clone, Debug)]
pub struct Guards {
    /// Of clients.
    pub clients: GuardConfig,
    /// Of workers.
    pub workers: GuardConfig,
}

impl Default for Guards {
    fn default() -> Self {
        Self { clients: GuardConfig::for_clients(), workers: GuardConfig::for_workers() }
    }
}

/// What a state directory holds of detached jobs, and the right to write there.
#[derive(Debug)]
pub struct State {
    journal: Journal,
    found: Vec<Recovered>,
    lost: Vec<Lost>,
}

impl State {
    /// Opens a state directory, or makes one. Nobody else can while this lives.
    ///
    /// # Errors
    /// It is in use, is none, is of a newer version, or the system refuses.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let (journal, found, lost) = Journal::open(directory)?;
        Ok(Self { journal, found, lost })
    }

    /// Looks at a state directory without changing anything in it, also while a broker has it open.
    ///
    /// # Errors
    /// It is missing or none, is of a newer version, or the system refuses.
    pub fn look(directory: &Path) -> Result<Look, OpenError> {
        Journal::look(directory)
    }
}

/// Which of the two sockets.
#[derive(Clone, Copy)]
enum Side {
    Clients,
    Workers,
}

impl Broker {
    /// Listens for clients and for workers.
    ///
    /// # Errors
    /// [`BindError`] when an address is taken, not ours, or not allowed.
    pub async fn bind(clients: &Endpoint, workers: &Endpoint, config: Config, guards: Guards) -> Result<Self, BindError> {
        Ok(Self {
            heartbeat: config.heartbeat,
            core: Core::new(config),
            clients: Hub::bind(clients, guards.clients).await?,
            workers: Hub::bind(workers, guards.workers).await?,
            payloads: Payloads::default(),
            keeper: None,
            metrics: None,
            started: read_clock(),
            turned: Duration::ZERO,
            effects: Vec::new(),
        })
    }

    /// Takes up the jobs in a state directory, and keeps detached jobs there from now on. `stall` makes every sync take so much longer,
    /// to see what a slow disk does.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn keep_jobs_in(&mut self, state: State, stall: Duration) -> io::Result<()> {
        let now = self.tell_time();
        let State { journal, mut found, lost } = state;
        for Lost { job, path, why } in lost {
            error!(path = %path.display(), why, "a job on disk cannot be read; it was moved aside");
            if let Some(job) = job {
                self.core.restore_damaged(job, why);
            }
        }
        found.sort_by_key(|found| found.record.job);
        info!(jobs = found.len(), living = found.iter().filter(|found| found.end.is_none()).count(), "jobs on disk");
        self.keeper = Some(Keeper::start(journal, stall)?);
        for found in found {
            if let Some(healed) = &found.healed {
                warn!(job = %found.record.job, healed, "a job on disk was mended");
            }
            self.core.restore(now, keeper::restored(found), &mut self.effects);
            self.perform();
        }
        Ok(())
    }

    /// Counts from now on for monitors. To be asked for once the journal is open, where there is one. `version` is the program's, `engine`
    /// the one whose pictures it knows.
    pub fn measure(&mut self, version: &str, engine: Option<&str>) -> Arc<Metrics> {
        let metrics = Arc::new(Metrics::new(self.started, version, engine, self.keeper.is_some()));
        metrics.on_census(&self.core.census());
        self.metrics = Some(Arc::clone(&metrics));
        metrics
    }

    /// Where clients connect.
    pub fn client_endpoint(&self) -> &Endpoint {
        self.clients.endpoint()
    }

    /// Where workers connect.
    pub fn worker_endpoint(&self) -> &Endpoint {
        self.workers.endpoint()
    }

    /// Serves until `stop` is ready, or until `drain` is and no render is in hand any more; in between it takes no new jobs. Then
    /// clients and workers hear BYE, and look for the next broker.
    pub async fn run(mut self, drain: impl Future<Output = ()>, stop: impl Future<Output = ()>) {
        tokio::pin!(drain, stop);
        let mut draining = false;
        let mut heartbeat = interval(self.heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut turn = Turn::default();
        loop {
            // Without anything to wait for, the heartbeat is reason enough to look again.
            let deadline = self.core.next_deadline().map_or_else(|| read_clock() + self.heartbeat, |at| self.started + at);
            tokio::select! {
                event = self.clients.next() => self.on_event(Side::Clients, event),
                event = self.workers.next() => self.on_event(Side::Workers, event),
                said = next_of(&mut self.keeper) => self.on_keeper(said),
                () = sleep_until(deadline.into()) => self.on_tick(),
                _ = heartbeat.tick() => self.on_heartbeat(),
                () = &mut stop => break,
                () = &mut drain, if !draining => {
                    draining = true;
                    info!(jobs = self.core.jobs_in_hand(), "no new jobs; those in hand are finished");
                    self.core.close();
                }
            }
            self.perform();
            if draining && self.core.jobs_in_hand() == 0 {
                break;
            }
            turn.handled().await;
        }
        self.clients.bye("the broker stops").await;
        self.workers.bye("the broker stops").await;
    }

    /// The loop turns at every heartbeat at the latest. When it did not, the process or its machine stood still, and what peers said
    /// meanwhile waits in the sockets.
    fn notice_a_pause(&mut self) {
        let now = read_clock() - self.started;
        let gap = now - std::mem::replace(&mut self.turned, now);
        if gap > PAUSE_HEARTBEATS * self.heartbeat {
            warn!(seconds = gap.as_secs_f64(), "the broker stood still");
            self.core.on_pause(now);
        }
    }

    fn on_event(&mut self, side: Side, event: HubEvent) {
        self.notice_a_pause();
        let now = self.tell_time();
        match event {
            HubEvent::Message(peer, message) => self.on_message(now, side, peer, message),
            HubEvent::Malformed(peer, error) => {
                let code = if matches!(error, DecodeError::Version(_)) { ErrorCode::Version } else { ErrorCode::Malformed };
                self.expel(now, side, peer, code, &error.to_string());
            }
            HubEvent::Gone(peer) => self.on_gone(now, side, peer),
        }
    }

    fn on_message(&mut self, now: Duration, side: Side, peer: Peer, message: Message) {
        let wrong = match side {
            Side::Clients => match words::of_client(message) {
                Ok(says) => return self.core.on_client(now, ClientId(peer.0), says, &mut self.effects),
                Err(wrong) => wrong,
            },
            Side::Workers => match words::of_worker(message, &mut self.payloads) {
                Ok(says) => {
                    if let (WorkerSays::Tile { bytes, .. }, Some(metrics)) = (&says, &self.metrics) {
                        metrics.on_tile(*bytes);
                    }
                    return self.core.on_worker(now, WorkerId(peer.0), says, &mut self.effects);
                }
                Err(wrong) => wrong,
            },
        };
        self.expel(now, side, peer, ErrorCode::Unexpected, &wrong);
    }

    fn on_keeper(&mut self, said: Said) {
        self.notice_a_pause();
        let now = self.tell_time();
        let says = match said {
            Said::Core(says) => says,
            Said::Read { ticket, strips } => {
                let bytes = strips.payload.len() as u64;
                let payload = self.payloads.hold(strips.payload);
                let read = ReadStrips { first: strips.first, strips: strips.metas, payload, bytes };
                FromJournal::Read { ticket, read: Ok(read) }
            }
        };
        self.core.on_journal(now, says, &mut self.effects);
    }

    fn on_gone(&mut self, now: Duration, side: Side, peer: Peer) {
        match side {
            Side::Clients => self.core.on_client_gone(now, ClientId(peer.0), &mut self.effects),
            Side::Workers => self.core.on_worker_gone(now, WorkerId(peer.0), &mut self.effects),
        }
    }

    /// A bad message costs its sender the connection, and nobody else anything.
    fn expel(&mut self, now: Duration, side: Side, peer: Peer, code: ErrorCode, message: &str) {
        match side {
            Side::Clients => self.core.on_client_fault(now, ClientId(peer.0), code, message, &mut self.effects),
            Side::Workers => self.core.on_worker_fault(now, WorkerId(peer.0), code, message, &mut self.effects),
        }
    }

    fn on_tick(&mut self) {
        self.notice_a_pause();
        let now = self.tell_time();
        self.core.on_tick(now, &mut self.effects);
    }

    fn on_heartbeat(&mut self) {
        self.notice_a_pause();
        self.tell_time();
        self.clients.heartbeat();
        self.workers.heartbeat();
        if let Some(metrics) = &self.metrics {
            metrics.on_census(&self.core.census());
        }
    }

    /// The time since the start, told to both hubs as well.
    fn tell_time(&mut self) -> Duration {
        let now = read_clock() - self.started;
        self.clients.set_now(now);
        self.workers.set_now(now);
        now
    }

    fn perform(&mut self) {
        let mut effects = std::mem::take(&mut self.effects);
        if let Some(metrics) = &self.metrics {
            effects.iter().for_each(|effect| count(metrics, effect));
            metrics.on_tally(&self.core.tally());
        }
        for effect in effects.drain(..) {
            match effect {
                Effect::ToClient(client, message) => {
                    log_sent("client", client.0, &message);
                    self.clients.send(Peer(client.0), &message);
                }
                Effect::ToWorker(worker, message) => {
                    log_sent("worker", worker.0, &message);
                    self.workers.send(Peer(worker.0), &message);
                }
                Effect::Deliver { client, job, engine, first, strips, payload, bytes } => {
                    let payload = self.payloads.slice(payload, bytes);
                    self.clients.send(Peer(client.0), &Message::Strips(Strips { job, engine, first, strips }, payload));
                }
                Effect::ToJournal(order) => self.order(order),
                Effect::Release(payload) => self.payloads.release(payload),
                Effect::DropClient(client) => self.clients.kick(Peer(client.0)),
                Effect::DropWorker(worker) => self.workers.kick(Peer(worker.0)),
                Effect::Note(note) => log::note(note),
            }
        }
        self.effects = effects;
    }

    fn order(&self, order: ToJournal) {
        let keeper = self.keeper.as_ref().expect("the core keeps no jobs where there is no journal");
        keeper.order(match order {
            ToJournal::Store { job, engine, first, strips, payload, bytes } => {
                Order::Store(Store { job, engine, first, strips, payload: self.payloads.slice(payload, bytes) })
            }
            other => Order::Do(other),
        });
    }
}

/// What of an effect monitors are told.
fn count(metrics: &Metrics, effect: &Effect) {
    match effect {
        Effect::ToClient(_, Message::Refused(refused)) => metrics.on_refusal(refused.refusal.code),
        Effect::Deliver { bytes, .. } => metrics.on_strips_sent(bytes.len() as u64),
        Effect::Note(note) => metrics.on_note(note),
        Effect::ToClient(..)
        | Effect::ToWorker(..)
        | Effect::ToJournal(_)
        | Effect::Release(_)
        | Effect::DropClient(_)
        | Effect::DropWorker(_) => {}
    }
}

/// The next word of the journal's thread, where there is one.
async fn next_of(keeper: &mut Option<Keeper>) -> Said {
    match keeper {
        Some(keeper) => keeper.next().await,
        None => std::future::pending().await,
    }
}

fn log_sent(role: &str, peer: u64, message: &Message) {
    if let Message::Error(error) = message {
        warn!(role, peer, code = ?error.code, message = %error.message, "peer expelled");
    } else {
        debug!(role, peer, message = message.name(), "send");
    }
}

#[expect(clippy::disallowed_methods, reason = "the shell is where the clock is read")]
fn read_clock() -> Instant {
    Instant::now()
}
