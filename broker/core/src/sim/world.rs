//! Virtual time, and all that lives in it. `run` plays one seed to its end, and sees that everybody got what was promised.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::AddAssign,
    time::Duration,
};

use fractally_proto::{AttemptId, JobId, Message, StripMeta, Tile};

use super::{
    client::{Client, End, Job},
    journal::Journal,
    plan::{FOR_EVER, Fault, Plan},
    rng::Rng,
    worker::Worker,
};
use crate::{ClientSays, Core, Effect, PayloadId, WorkerSays};

/// Longer than any schedule needs.
const EVENTS_MAX: u64 = 400_000;
/// How long after the last fault every job has ended.
const PATIENCE: Duration = Duration::from_secs(600);

/// What one schedule was made of.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) events: u64,
    pub(super) jobs: u64,
    pub(super) jobs_failed: u64,
    pub(super) leases: u64,
    /// Bands that were leased as the mirrors of others.
    pub(super) mirrors: u64,
    /// Bands that were given back because somebody had nothing to do, and those that were tried twice because they were late.
    pub(super) recalls: u64,
    pub(super) backups: u64,
    pub(super) faults: u64,
    /// Bands that were tried and not rendered.
    pub(super) incidents: u64,
    pub(super) unlucky_jobs: u64,
    pub(super) stale_tiles: u64,
    /// Detached jobs that were promised, and those that a later life of the broker took up.
    pub(super) kept: u64,
    pub(super) restored: u64,
    /// Those that joined others, or were withdrawn, and jobs that ended because nobody wanted them.
    pub(super) joined: u64,
    pub(super) withdrawn: u64,
    pub(super) unwanted: u64,
    /// Detached jobs whose strips were damaged and rendered again.
    pub(super) mended: u64,
    pub(super) virtual_ms: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.jobs += other.jobs;
        self.jobs_failed += other.jobs_failed;
        self.leases += other.leases;
        self.mirrors += other.mirrors;
        self.recalls += other.recalls;
        self.backups += other.backups;
        self.faults += other.faults;
        self.incidents += other.incidents;
        self.unlucky_jobs += other.unlucky_jobs;
        self.stale_tiles += other.stale_tiles;
        self.kept += other.kept;
        self.restored += other.restored;
        self.joined += other.joined;
        self.withdrawn += other.withdrawn;
        self.unwanted += other.unwanted;
        self.mended += other.mended;
        self.virtual_ms += other.virtual_ms;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    Client(usize),
    Worker(usize),
}

/// One connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: Peer,
    /// Nothing sent after this arrives.
    pub(super) broken_at: Duration,
    /// The broker's side was told, or closed it.
    pub(super) broker_done: bool,
    /// No message to the broker arrives before this, nor one to the peer.
    pub(super) clear: (Duration, Duration),
}

/// What a tile is made of, instead of bytes.
#[derive(Clone, Debug)]
pub(super) struct Content {
    pub(super) picture: u64,
    pub(super) engine: &'static str,
    pub(super) first: u32,
    pub(super) strips: Vec<StripMeta>,
}

#[derive(Debug)]
pub(super) enum ToBroker {
    Client(ClientSays),
    Worker(WorkerSays),
    Tile(Tile, Content),
}

#[derive(Debug)]
pub(super) enum ToPeer {
    Message(Message),
    Strips { job: JobId, engine: String, first: u32, count: u32, content: (u64, &'static str) },
    Closed,
}

#[derive(Debug)]
pub(super) enum Event {
    ToBroker(usize, ToBroker),
    ToPeer(usize, ToPeer),
    BrokerHears(usize),
    Connect(Peer),
    Heartbeat(usize),
    SubmitDue(usize, usize),
    AckDue(usize, usize, usize),
    TaskDone(usize, usize, AttemptId),
    /// And how often it was tried.
    Fault(Fault, u32),
    /// The journal of this life of the broker does the next thing.
    JournalDue(u64),
}

pub(super) struct World {
    pub(super) core: Core,
    pub(super) now: Duration,
    pub(super) rng: Rng,
    pub(super) queue: BTreeMap<(Duration, u64), Box<Event>>,
    pub(super) events: u64,
    pub(super) links: Vec<Link>,
    pub(super) clients: Vec<Client>,
    pub(super) workers: Vec<Worker>,
    pub(super) payloads: BTreeMap<PayloadId, Content>,
    pub(super) payloads_ever: u64,
    /// What each connection was sent of each job and has not acknowledged: the strip after, and bytes.
    pub(super) under_way: BTreeMap<(usize, JobId), VecDeque<(u32, u64)>>,
    pub(super) told: BTreeMap<(usize, JobId), Duration>,
    pub(super) journal: Journal,
    /// Jobs that somebody has cancelled, whoever holds them.
    pub(super) cancelled: BTreeSet<JobId>,
    pub(super) faults_until: Duration,
    pub(super) check_every: u64,
    pub(super) tally: Tally,
    pub(super) out: Vec<Effect>,
}

/// Plays one seed. Panics with a story where a promise is broken.
pub(super) fn run(seed: u64, check_every: u64) -> Tally {
    let mut rng = Rng::new(seed);
    let plan = Plan::new(&mut rng);
    let mut world = World::new(plan, rng, check_every);
    world.play();
    world.close();
    world.tally
}

impl World {
    fn new(plan: Plan, rng: Rng, check_every: u64) -> Self {
        let tally = Tally { jobs: plan.jobs() as u64, ..Tally::default() };
        let faults_until = plan.faults.iter().map(|(at, _)| *at).max().unwrap_or_default() + Duration::from_secs(12);
        let mut world = Self {
            core: Core::new(plan.config),
            now: Duration::ZERO,
            rng,
            queue: BTreeMap::new(),
            events: 0,
            links: Vec::new(),
            clients: plan.clients.into_iter().map(Client::new).collect(),
            workers: plan.workers.into_iter().map(Worker::new).collect(),
            payloads: BTreeMap::new(),
            payloads_ever: 0,
            under_way: BTreeMap::new(),
            told: BTreeMap::new(),
            journal: Journal::default(),
            cancelled: BTreeSet::new(),
            faults_until,
            check_every,
            tally,
            out: Vec::new(),
        };
        for (at, fault) in plan.faults {
            world.at(at, Event::Fault(fault, 0));
        }
        for client in 0..world.clients.len() {
            world.at(world.clients[client].plan.connects, Event::Connect(Peer::Client(client)));
            for job in 0..world.clients[client].jobs.len() {
                world.at(world.clients[client].jobs[job].plan.submits, Event::SubmitDue(client, job));
            }
        }
        for worker in 0..world.workers.len() {
            world.at(world.workers[worker].plan.connects, Event::Connect(Peer::Worker(worker)));
        }
        world
    }

    /// Until every job has ended, nothing is leased, and nobody is owed anything.
    fn play(&mut self) {
        loop {
            let is_quiet = self.core.jobs.is_empty() && self.journal.is_idle();
            if self.everybody_is_settled() && is_quiet && self.all_credit_is_back() {
                break;
            }
            let late = self.now > self.faults_until + PATIENCE;
            assert!(!late, "somebody waits for ever: {}", self.story());
            self.step();
        }
        self.tally.virtual_ms = crate::millis(self.now);
        for client in self.clients.iter().filter(|client| !client.left) {
            for job in client.jobs.iter().filter(|job| !job.cancelled) {
                self.check_end(job);
            }
        }
        assert!(self.tally.leases >= 20, "only {} bands", self.tally.leases);
    }

    /// Nobody waits for a picture, nor will.
    pub(super) fn everybody_is_settled(&self) -> bool {
        self.now > Duration::from_secs(3) && self.clients.iter().all(Client::is_settled)
    }

    /// Nobody holds anything but those whose threads will never move again.
    fn all_credit_is_back(&self) -> bool {
        self.core.workers.iter().all(|(id, worker)| {
            let wedged = match self.links[usize::try_from(id.0).expect("links are few")].peer {
                Peer::Worker(worker) => self.workers[worker].wedged_until >= FOR_EVER,
                Peer::Client(_) => false,
            };
            worker.leases.is_empty() || wedged
        })
    }

    fn check_end(&self, job: &Job) {
        match job.end.as_ref().expect("settled") {
            End::Done => assert_eq!(job.have, job.layout.strips(), "a job is done whose client misses strips"),
            End::Failed(reason) => assert!(job.plan.poison.is_some(), "a sound job failed: {reason}"),
        }
    }

    /// Everybody says goodbye; nothing may be left.
    fn close(&mut self) {
        for client in 0..self.clients.len() {
            self.clients[client].left = true;
            self.say_client(client, ClientSays::Bye);
        }
        for worker in 0..self.workers.len() {
            self.workers[worker].left = true;
            self.say_worker(worker, WorkerSays::Bye);
        }
        let until = self.now + Duration::from_secs(60);
        while !(self.core.clients.is_empty() && self.core.workers.is_empty() && self.journal.is_idle()) {
            assert!(self.now < until, "peers are left: {}", self.story());
            self.step();
        }
        let core = &self.core;
        core.check_invariants();
        assert!(core.jobs.is_empty() && core.shares.nobody_waits(), "jobs are left");
        assert!(core.keys.values().all(|id| core.kept.jobs.contains_key(id)), "keys of nobody");
        assert_eq!(core.reserved, 0, "bytes are reserved for nobody");
        assert!(core.timers.len() <= usize::from(core.timers.armed(crate::timers::Timer::Expiry).is_some()), "timers are left");
        self.check_journal();
        let core = &self.core;
        assert!(core.fleet.nobody_is_ready(), "workers are left in the fleet");
        assert!(self.payloads.is_empty(), "payloads are left: {:?}", self.payloads.keys());
    }

    pub(super) fn story(&self) -> String {
        let jobs: Vec<_> = self
            .clients
            .iter()
            .flat_map(|client| &client.jobs)
            .map(|job| (job.plan.key, job.id, job.have, job.layout.strips(), job.due, job.end.clone()))
            .collect();
        format!("clients have {jobs:?}; the broker knows {:#?}", self.core.status(self.now))
    }

    pub(super) fn at(&mut self, at: Duration, event: Event) {
        self.events += 1;
        self.queue.insert((at.max(self.now), self.events), Box::new(event));
    }

    pub(super) fn after(&mut self, delay: Duration, event: Event) {
        self.at(self.now + delay, event);
    }

    fn step(&mut self) {
        self.tally.events += 1;
        assert!(self.tally.events < EVENTS_MAX, "the schedule does not end: {}", self.story());
        let next = self.queue.first_key_value().map(|(&(at, _), _)| at);
        let tick = self.core.next_deadline().filter(|at| next.is_none_or(|next| *at <= next));
        if let Some(at) = tick {
            // A timer may fire somewhat late.
            let late = if self.rng.chance(1, 8) { self.rng.millis(0..40) } else { Duration::ZERO };
            self.now = self.now.max(at + late);
            self.effect(|core, now, out| core.on_tick(now, out));
            // What the tick itself changed may be told at once; after that there is nothing left to do at this moment.
            if self.core.next_deadline().is_some_and(|next| next <= self.now) {
                self.effect(|core, now, out| core.on_tick(now, out));
            }
            assert!(self.core.next_deadline().is_none_or(|next| next > self.now), "a timer spins at {:?}", self.now);
        } else if let Some(((at, _), event)) = self.queue.pop_first() {
            self.now = self.now.max(at);
            self.handle(*event);
        }
        if self.tally.events.is_multiple_of(self.check_every) {
            self.core.check_invariants();
            self.check_held();
            self.check_list();
        }
    }

    pub(super) fn handle(&mut self, event: Event) {
        match event {
            Event::ToBroker(link, says) => self.broker_receives(link, says),
            Event::ToPeer(link, says) => self.peer_receives(link, says),
            Event::BrokerHears(link) => self.broker_hears_of_break(link),
            Event::Connect(peer) => self.connect(peer),
            Event::Heartbeat(link) => self.beat(link),
            Event::SubmitDue(client, job) => {
                self.clients[client].jobs[job].due = true;
                self.submit(client, job);
            }
            Event::AckDue(link, client, job) => self.ack(link, client, job),
            Event::TaskDone(link, worker, attempt) => self.task_done(link, worker, attempt),
            Event::Fault(fault, tries) => self.fault(fault, tries),
            Event::JournalDue(life) => self.journal_does(life),
        }
    }
}
