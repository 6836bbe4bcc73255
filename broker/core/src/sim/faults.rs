//! What goes wrong when.

use std::time::Duration;

use fractally_proto::{BandFailure, Cancel, Credit, Epoch};

use super::{
    plan::{Fault, Told},
    world::{Event, Peer, World},
};
use crate::{ClientSays, Core, WorkerSays};

/// How often a fault looks for its victim.
const TRIES_MAX: u32 = 6;

impl World {
    /// Lets a fault happen as soon as it can bite: while its victim is connected, and somebody still waits for a picture. Where its
    /// victim stays away, somebody else is struck.
    pub(super) fn fault(&mut self, fault: Fault, tries: u32) {
        if self.everybody_is_settled() {
            return;
        }
        let instead = self.workers.iter().position(|worker| worker.link.is_some()).filter(|_| tries >= TRIES_MAX);
        let fault = instead.map_or(fault, |worker| Fault::WorkerStalls { worker, lasts: Duration::from_millis(700) });
        if self.strike(fault) {
            self.tally.faults += 1;
        } else {
            self.after(Duration::from_millis(70), Event::Fault(fault, tries + 1));
        }
    }

    /// Whether it bit.
    fn strike(&mut self, fault: Fault) -> bool {
        match fault {
            Fault::WorkerDies { worker, told, back_after } => self.worker_dies(worker, told, back_after),
            Fault::WorkerStalls { worker, lasts } => self.stall(self.workers[worker].link, lasts),
            Fault::WorkerWedges { worker, lasts } => self.worker_wedges(worker, lasts),
            Fault::WorkerDrains { worker, back_after } => self.worker_drains(worker, back_after),
            Fault::WorkerCheats { worker } => !std::mem::replace(&mut self.workers[worker].cheats, true),
            Fault::WorkerDeclines { worker } => !std::mem::replace(&mut self.workers[worker].declines, true),
            Fault::WorkerCrashes { worker } => !std::mem::replace(&mut self.workers[worker].crashes, true),
            Fault::ClientBreaks { client, told, back_after } => self.client_breaks(client, told, back_after),
            Fault::ClientStalls { client, lasts } => self.stall(self.clients[client].link, lasts),
            Fault::ClientCancels { client, job } => self.client_cancels(client, job),
            Fault::ClientRepeats { client, job } => self.submit(client, job),
            Fault::ClientLeaves { client } => self.client_leaves(client),
            Fault::BrokerRestarts => self.restart_broker(),
            Fault::JournalStalls { lasts } => self.stall_journal(lasts),
            Fault::JournalDamages => self.damage_journal(),
            Fault::JournalRefuses => !std::mem::replace(&mut self.journal.refuses, true),
        }
    }

    fn worker_dies(&mut self, worker: usize, told: Told, back_after: Option<Duration>) -> bool {
        let died = self.lose(self.workers[worker].link, told, Peer::Worker(worker), back_after);
        if died {
            self.workers[worker].wedged_until = self.now;
            self.workers[worker].left |= back_after.is_none();
        }
        died
    }

    fn worker_wedges(&mut self, worker: usize, lasts: Duration) -> bool {
        let worker = &mut self.workers[worker];
        if worker.tasks.is_empty() {
            return false;
        }
        self.tally.incidents += 1;
        worker.wedged_until = worker.wedged_until.max(self.now + lasts);
        true
    }

    fn worker_drains(&mut self, worker: usize, back_after: Duration) -> bool {
        let Some(link) = self.workers[worker].link else { return false };
        self.say_worker(worker, WorkerSays::Credit(Credit { credit: 0 }));
        let given_back: Vec<_> = self.workers[worker].tasks.iter().map(|task| task.lease.attempt).collect();
        // Some are given back one by one, the others with BYE.
        for attempt in given_back.into_iter().step_by(2) {
            self.give_up(worker, attempt, BandFailure::Withdrawn);
        }
        self.say_worker(worker, WorkerSays::Bye);
        self.peer_loses(link);
        self.after(back_after, Event::Connect(Peer::Worker(worker)));
        true
    }

    fn client_breaks(&mut self, client: usize, told: Told, back_after: Option<Duration>) -> bool {
        let broke = self.lose(self.clients[client].link, told, Peer::Client(client), back_after);
        self.clients[client].left |= broke && back_after.is_none();
        broke
    }

    fn client_cancels(&mut self, client: usize, job: usize) -> bool {
        let job = &mut self.clients[client].jobs[job];
        let Some(id) = job.id.filter(|_| job.is_open()) else { return false };
        job.cancelled = true;
        self.say_client(client, ClientSays::Cancel(Cancel { job: id, holder: None }));
        true
    }

    fn client_leaves(&mut self, client: usize) -> bool {
        let connected = self.clients[client].link.is_some();
        if connected {
            self.say_client(client, ClientSays::Bye);
            self.clients[client].left = true;
        }
        connected
    }

    fn lose(&mut self, link: Option<usize>, told: Told, peer: Peer, back_after: Option<Duration>) -> bool {
        let Some(link) = link else { return false };
        self.break_link(link, told);
        if let Some(delay) = back_after {
            self.after(delay, Event::Connect(peer));
        }
        true
    }

    /// One direction, the other, or both.
    fn stall(&mut self, link: Option<usize>, lasts: Duration) -> bool {
        let Some(link) = link else { return false };
        self.tally.incidents += 1;
        let until = self.now + lasts;
        let which = self.rng.within(0..3);
        let clear = &mut self.links[link].clear;
        if which != 1 {
            clear.0 = clear.0.max(until);
        }
        if which != 0 {
            clear.1 = clear.1.max(until);
        }
        true
    }

    fn restart_broker(&mut self) -> bool {
        let epoch = Epoch(self.rng.next());
        self.core = Core::new(crate::Config { epoch, ..self.core.config.clone() });
        self.payloads.clear();
        for link in 0..self.links.len() {
            self.links[link].broker_done = true;
            let peer = self.links[link].peer;
            let current = match peer {
                Peer::Client(client) => self.clients[client].link,
                Peer::Worker(worker) => self.workers[worker].link,
            };
            if current == Some(link) {
                self.peer_loses(link);
                let delay = self.rng.millis(1..2_000);
                self.after(delay, Event::Connect(peer));
            }
        }
        self.restore_journal();
        true
    }
}
