//! Virtual time, the network, and the sum of what happens.
//!
//! Events are taken by time, and by their number where several fall together, so a run depends on its scenario alone. A message takes
//! the same time on every way, so none overtakes another.

use std::collections::BTreeMap;

use fractally_broker_core::{ClientSays, WorkerId, WorkerSays};
use fractally_proto::{Message, StripMeta};

use crate::{Change, Error, Report, Scenario, broker::Broker, client::Client, cost::Work, ns, rng::Rng, worker::Worker};

/// Workers have joined by then, nanoseconds.
const SUBMIT_AT: u64 = 1_000_000_000;
/// Workers join within so long, nanoseconds.
const JOIN_WITHIN: u64 = 500_000_000;
/// A run whose client hears of no strip for so long, and for so many times the time that the job should take, has stalled.
const STALLED_AFTER: (f64, f64) = (600.0, 20.0);

/// What happens.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A message reaches the broker.
    ToBroker(ToBroker),
    /// The broker has handled a message.
    BrokerFree,
    /// The core's deadline has come.
    Tick,
    /// A message reaches a worker over one connection.
    ToWorker(WorkerId, ToWorker),
    /// A message reaches the client.
    ToClient(ToClient),
    /// A worker connects.
    Join(u32),
    /// It is time for a heartbeat over one connection.
    WorkerBeat(u32, WorkerId),
    ClientBeat,
    BrokerBeat,
    /// A part of a task is done, if the token is still that of its thread.
    PartDone(u32, u64),
    /// Something befalls a worker.
    Change(u32, Change),
    /// The client submits its next job.
    Submit,
}

#[derive(Debug)]
pub(crate) enum ToBroker {
    /// With the seconds at speed 1 that were spent on it.
    Worker(WorkerId, WorkerSays, f64),
    Client(ClientSays),
    /// The connection of a worker was lost.
    Gone(WorkerId),
    /// Its own clock: heartbeats go out.
    Beat,
}

#[derive(Debug)]
pub(crate) enum ToWorker {
    Says(Message),
    /// The broker has ended the connection.
    Dropped,
}

#[derive(Debug)]
pub(crate) enum ToClient {
    Says(Message),
    Strips { first: u32, strips: Vec<StripMeta> },
    Dropped,
}

/// What adds up from SUBMIT on.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Seconds at speed 1 that workers computed.
    pub(crate) spent: f64,
    /// Those whose tiles were taken.
    pub(crate) useful: f64,
    /// Those that workers could have computed, up to `offered_until`.
    pub(crate) offered: f64,
    pub(crate) offered_until: u64,
    pub(crate) broker_busy: u64,
    pub(crate) messages: u64,
    pub(crate) bands: u64,
    pub(crate) attempts: u64,
    pub(crate) held_max: u64,
    pub(crate) reserved_max: u64,
    pub(crate) first_strip: Option<u64>,
}

pub(crate) struct World<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) now: u64,
    pub(crate) rng: Rng,
    /// The jobs, in the order in which they run; the last is the one that is reported.
    pub(crate) works: Vec<Work>,
    pub(crate) broker: Broker,
    pub(crate) workers: Vec<Worker>,
    /// Which worker each connection is of.
    pub(crate) links: Vec<u32>,
    pub(crate) client: Client,
    pub(crate) tally: Tally,
    pub(crate) latency: u64,
    pub(crate) result: Option<Result<(), Error>>,
    events: BTreeMap<(u64, u64), Happening>,
    events_ever: u64,
}

impl<'a> World<'a> {
    pub(crate) fn new(scenario: &'a Scenario) -> Result<Self, Error> {
        let mut rng = Rng::new(scenario.seed);
        let mut speeds = scenario.speeds(&mut rng);
        let mut workers: Vec<Worker> = speeds.iter().map(|&speed| Worker::new(speed, scenario.threads)).collect();
        for event in scenario.events.iter().filter(|event| event.at.is_none()) {
            let worker = &mut workers[event.worker as usize];
            worker.begin_with(event.change);
            speeds[event.worker as usize] = worker.rate();
        }
        let mut works = Vec::new();
        if let Some(seconds) = scenario.warm_up {
            works.push(scenario.work(Some(seconds), &speeds)?);
        }
        works.push(scenario.work(scenario.seconds, &speeds)?);
        Ok(Self {
            scenario,
            now: 0,
            rng,
            works,
            broker: Broker::new(scenario),
            workers,
            links: Vec::new(),
            client: Client::default(),
            tally: Tally::default(),
            latency: ns(scenario.latency_us / 1e6),
            result: None,
            events: BTreeMap::new(),
            events_ever: 0,
        })
    }

    pub(crate) fn run(mut self) -> Result<Report, Error> {
        self.client_connects();
        for worker in 0..self.scenario.workers {
            let at = self.rng.below(JOIN_WITHIN);
            self.at(at, Happening::Join(worker));
        }
        self.at(SUBMIT_AT, Happening::Submit);
        self.after(1_000_000_000, Happening::BrokerBeat);
        loop {
            let Some(((at, _), happening)) = self.events.pop_first() else { return Err(self.stalled()) };
            self.now = at;
            self.happens(happening);
            if let Some(result) = self.result.take() {
                result?;
                return Ok(self.report());
            }
            if self.now.saturating_sub(self.client.heard_at) > self.patience() {
                return Err(self.stalled());
            }
        }
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::ToBroker(message) => self.broker_hears(message),
            Happening::BrokerFree => self.broker_is_free(),
            Happening::Tick => self.broker_is_due(),
            Happening::ToWorker(link, message) => self.worker_hears(link, message),
            Happening::ToClient(message) => self.client_hears(message),
            Happening::Join(worker) => self.worker_joins(worker),
            Happening::WorkerBeat(worker, link) => self.worker_beats(worker, link),
            Happening::ClientBeat => self.client_beats(),
            Happening::BrokerBeat => self.broker_beats(),
            Happening::PartDone(worker, token) => self.part_is_done(worker, token),
            Happening::Change(worker, change) => self.worker_changes(worker, change),
            Happening::Submit => self.client_submits(),
        }
    }

    pub(crate) fn at(&mut self, at: u64, happening: Happening) {
        self.events_ever += 1;
        self.events.insert((at.max(self.now), self.events_ever), happening);
    }

    pub(crate) fn after(&mut self, wait: u64, happening: Happening) {
        self.at(self.now.saturating_add(wait), happening);
    }

    pub(crate) fn send_to_broker(&mut self, message: ToBroker) {
        self.after(self.latency, Happening::ToBroker(message));
    }

    /// The reported job begins: what was before does not count.
    pub(crate) fn begin_to_count(&mut self) {
        self.tally = Tally { offered_until: self.now, ..Tally::default() };
        self.tally.held_max = self.broker.held();
        for event in &self.scenario.events {
            if let Some(at) = event.at {
                self.after(ns(at), Happening::Change(event.worker, event.change));
            }
        }
    }

    /// Adds up what the workers can compute until now. To be called before a speed changes.
    pub(crate) fn count_offers(&mut self) {
        let seconds = (self.now - self.tally.offered_until) as f64 / 1e9;
        self.tally.offered += seconds * self.rate_of_all();
        self.tally.offered_until = self.now;
    }

    fn rate_of_all(&self) -> f64 {
        self.workers.iter().map(|worker| worker.rate() * f64::from(self.scenario.threads)).sum()
    }

    /// How long the client waits for a strip before the run counts as stalled, nanoseconds.
    fn patience(&self) -> u64 {
        let (least, times) = STALLED_AFTER;
        ns(least.max(times * self.scenario.seconds.unwrap_or(0.0)))
    }

    fn stalled(&self) -> Error {
        let strips_all = self.client.work().map_or(0, |work| self.works[work].layout.strips());
        Error::Stalled { seconds: self.seconds_of_job(), strips: self.client.have(), strips_all }
    }

    /// Whole virtual seconds since SUBMIT.
    pub(crate) fn seconds_of_job(&self) -> u64 {
        (self.now - self.client.submitted_at) / 1_000_000_000
    }

    fn report(mut self) -> Report {
        self.count_offers();
        let half_done: f64 = self.workers.iter_mut().map(|worker| worker.abandon(self.now)).sum();
        let (start, tally, scenario) = (self.client.submitted_at, &self.tally, self.scenario);
        let since = |at: u64| at.saturating_sub(start) as f64 / 1e9;
        let makespan_s = since(self.now);
        // Who went idle first and stayed so; a dead worker does not wait for work.
        let idle_since = self.workers.iter().filter_map(|worker| worker.idle_since()).min().unwrap_or(self.now);
        let efficiency = tally.useful / tally.offered.max(f64::MIN_POSITIVE);
        let size = self.works.last().map_or_else(|| scenario.scene.request().size, |work| work.request.size);
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let over = |part: f64, whole: f64| part / whole.max(f64::MIN_POSITIVE);
        Report {
            name: scenario.name.clone(),
            scene: scenario.picture.as_ref().map_or_else(|| scenario.scene.name().to_owned(), |_| "given".to_owned()),
            workers: scenario.workers,
            width: size.w,
            height: size.h,
            makespan_s,
            ideal_s: makespan_s * efficiency,
            efficiency,
            tail_s: makespan_s - since(idle_since.max(start)),
            first_pixel_s: tally.first_strip.map_or(makespan_s, since),
            bands: tally.bands,
            attempts: tally.attempts,
            extra_attempts: over(tally.attempts.saturating_sub(tally.bands) as f64, tally.bands as f64),
            extra_work: over((tally.spent + half_done - tally.useful).max(0.0), tally.useful),
            broker_load: over(tally.broker_busy as f64 / 1e9, makespan_s),
            held_mib_max: mib(tally.held_max),
            reserved_mib_max: mib(tally.reserved_max),
            messages: tally.messages,
            seed: scenario.seed,
        }
    }
}
