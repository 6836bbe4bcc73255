//! The broker: the real core, and one thread that handles one message after another.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use fractally_broker_core::{ClientId, Config, Core, Effect, PayloadId, WorkerId, WorkerSays};
use fractally_proto::{AttemptId, Band, Epoch, Lease, LeaseKind, Message};

use crate::{
    Error, Scenario, ns,
    world::{Happening, ToBroker, ToClient, ToWorker, World},
};

/// The only client.
pub(crate) const CLIENT: ClientId = ClientId(1);
/// Messages that a band takes: LEASE, TILE, STRIPS, ACK.
const MESSAGES_PER_BAND: f64 = 4.0;

pub(crate) struct Broker {
    core: Core,
    inbox: VecDeque<ToBroker>,
    is_busy: bool,
    /// When the earliest [`Happening::Tick`] will be.
    tick_at: Option<u64>,
    ns_per_message: u64,
    /// Bytes of the payloads that it holds.
    payloads: BTreeMap<PayloadId, u64>,
    held: u64,
    /// Who holds which attempts, and the most that their tiles can take.
    leases: BTreeMap<AttemptId, (WorkerId, u64)>,
    reserved: u64,
    out: Vec<Effect>,
}

impl Broker {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let mut config = Config::new("simulator", Epoch(1));
        // Dead ones count until they are found to be dead.
        config.workers_max = config.workers_max.max(2 * scenario.workers as usize);
        config.reorder_bytes_max = scenario.reorder_bytes_max.unwrap_or(config.reorder_bytes_max);
        config.held_bytes_max = scenario.held_bytes_max.unwrap_or(config.held_bytes_max).max(config.reorder_bytes_max);
        Self {
            core: Core::new(config),
            inbox: VecDeque::new(),
            is_busy: false,
            tick_at: None,
            ns_per_message: ns(scenario.broker_us / MESSAGES_PER_BAND / 1e6),
            payloads: BTreeMap::new(),
            held: 0,
            leases: BTreeMap::new(),
            reserved: 0,
            out: Vec::new(),
        }
    }

    /// Bytes of the payloads that it holds.
    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    #[cfg(test)]
    pub(crate) fn check(&self) {
        self.core.check_invariants();
    }

    fn keep(&mut self, payload: PayloadId, bytes: u64) {
        self.payloads.insert(payload, bytes);
        self.held += bytes;
    }

    fn release(&mut self, payload: PayloadId) {
        self.held -= self.payloads.remove(&payload).unwrap_or(0);
    }

    fn lease(&mut self, attempt: AttemptId, to: WorkerId, bytes_max: u64) {
        self.leases.insert(attempt, (to, bytes_max));
        self.reserved += bytes_max;
    }

    fn lease_is_over(&mut self, attempt: AttemptId) {
        self.reserved -= self.leases.remove(&attempt).map_or(0, |(_, bytes)| bytes);
    }

    fn worker_is_gone(&mut self, worker: WorkerId) {
        let of_it = |(&attempt, &(holder, _)): (&AttemptId, &(WorkerId, u64))| (holder == worker).then_some(attempt);
        let attempts: Vec<AttemptId> = self.leases.iter().filter_map(of_it).collect();
        attempts.into_iter().for_each(|attempt| self.lease_is_over(attempt));
    }
}

impl World<'_> {
    pub(crate) fn broker_hears(&mut self, message: ToBroker) {
        self.broker.inbox.push_back(message);
        self.broker_goes_on();
    }

    pub(crate) fn broker_is_free(&mut self) {
        self.broker.is_busy = false;
        self.broker_goes_on();
    }

    pub(crate) fn broker_is_due(&mut self) {
        self.broker.tick_at = None;
        self.broker_goes_on();
    }

    pub(crate) fn broker_beats(&mut self) {
        self.broker_hears(ToBroker::Beat);
        self.after(1_000_000_000, Happening::BrokerBeat);
    }

    /// Handles what comes next: what time asks for before what peers say.
    fn broker_goes_on(&mut self) {
        if self.broker.is_busy {
            return;
        }
        let now = Duration::from_nanos(self.now);
        let mut out = std::mem::take(&mut self.broker.out);
        let mut messages = 0;
        if self.broker.core.next_deadline().is_some_and(|at| at <= now) {
            self.broker.core.on_tick(now, &mut out);
        } else if let Some(message) = self.broker.inbox.pop_front() {
            messages += 1 + self.broker_handles(now, message, &mut out);
        } else {
            self.broker.out = out;
            return self.broker_waits();
        }
        let is_message =
            |effect: &&Effect| matches!(effect, Effect::ToClient(..) | Effect::ToWorker(..) | Effect::Deliver { .. });
        messages += out.iter().filter(is_message).count() as u64;
        let takes = messages * self.broker.ns_per_message;
        for effect in out.drain(..) {
            self.perform(takes, effect);
        }
        self.broker.out = out;
        self.tally.messages += messages;
        self.tally.broker_busy += takes;
        self.tally.held_max = self.tally.held_max.max(self.broker.held);
        self.tally.reserved_max = self.tally.reserved_max.max(self.broker.held + self.broker.reserved);
        self.broker.is_busy = true;
        self.after(takes, Happening::BrokerFree);
    }

    fn broker_waits(&mut self) {
        let Some(deadline) = self.broker.core.next_deadline() else { return };
        let at = u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX);
        if self.broker.tick_at.is_none_or(|tick_at| at < tick_at) {
            self.broker.tick_at = Some(at);
            self.at(at, Happening::Tick);
        }
    }

    /// Gives a message to the core; returns how many messages it sends of its own.
    fn broker_handles(&mut self, now: Duration, message: ToBroker, out: &mut Vec<Effect>) -> u64 {
        match message {
            ToBroker::Worker(worker, says, spent) => self.broker_hears_worker(now, worker, says, spent, out),
            ToBroker::Client(says) => self.broker.core.on_client(now, CLIENT, says, out),
            ToBroker::Gone(worker) => {
                self.broker.worker_is_gone(worker);
                self.broker.core.on_worker_gone(now, worker, out);
            }
            ToBroker::Beat => return 1 + u64::from(self.scenario.workers),
        }
        0
    }

    fn broker_hears_worker(&mut self, now: Duration, worker: WorkerId, says: WorkerSays, spent: f64, out: &mut Vec<Effect>) {
        let payload = match &says {
            WorkerSays::Tile { tile, payload, bytes } => {
                self.broker.keep(*payload, *bytes);
                self.broker.lease_is_over(tile.attempt);
                Some(*payload)
            }
            WorkerSays::BandFailed(failed) => {
                self.broker.lease_is_over(failed.attempt);
                None
            }
            WorkerSays::Hello(_)
            | WorkerSays::Heartbeat(_)
            | WorkerSays::Samples { .. }
            | WorkerSays::Credit(_)
            | WorkerSays::Bye => None,
        };
        self.broker.core.on_worker(now, worker, says, out);
        // A tile that is not wanted is released on the spot; another is held until the client has acknowledged it.
        if payload.is_some_and(|payload| !out.contains(&Effect::Release(payload))) {
            self.tally.bands += 1;
            self.tally.useful += spent;
        }
    }

    /// Carries out what the core wants, once the broker has come to it.
    fn perform(&mut self, wait: u64, effect: Effect) {
        let arrives = wait + self.latency;
        match effect {
            Effect::ToClient(_, message) => self.after(arrives, Happening::ToClient(ToClient::Says(message))),
            Effect::ToWorker(worker, message) => {
                if let Message::Lease(lease) = &message {
                    self.count_lease(worker, lease);
                }
                self.after(arrives, Happening::ToWorker(worker, ToWorker::Says(message)));
            }
            Effect::Deliver { first, strips, bytes, .. } => {
                let at = self.client_link_is_free(wait, bytes.len()) + self.latency;
                self.at(at, Happening::ToClient(ToClient::Strips { first, strips }));
            }
            Effect::Release(payload) => self.broker.release(payload),
            Effect::DropClient(_) => self.after(arrives, Happening::ToClient(ToClient::Dropped)),
            Effect::DropWorker(worker) => {
                self.broker.worker_is_gone(worker);
                self.after(arrives, Happening::ToWorker(worker, ToWorker::Dropped));
            }
            Effect::ToJournal(_) | Effect::Note(_) => {}
        }
    }

    fn count_lease(&mut self, to: WorkerId, lease: &Lease) {
        let Some(work) = self.works.iter().find(|work| work.request == lease.request) else {
            self.result = Some(Err(Error::RowsLost("a lease is of another picture".to_owned())));
            return;
        };
        let first = match lease.kind {
            LeaseKind::Band { first, strips } => Some((lease.attempt, Band { first, strips })),
            LeaseKind::Probe(_) => None,
        };
        for (attempt, band) in first.into_iter().chain(lease.mirror.map(|mirror| (mirror.attempt, mirror.band()))) {
            self.tally.attempts += 1;
            self.broker.lease(attempt, to, work.layout.tile_len_max(band));
        }
    }
}
