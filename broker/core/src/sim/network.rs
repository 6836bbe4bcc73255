//! The network: FIFO per connection and direction; a break loses a suffix; a stall is silent; order across peers is free. A peer that
//! comes back has a new connection, and sends again what was not answered.

use std::time::Duration;

use fractally_proto::{Cancel, Epoch, Hello, WorkerHello};

use super::{
    plan::Told,
    world::{Event, Link, Peer, ToBroker, ToPeer, World},
};
use crate::{ClientId, ClientSays, WorkerId, WorkerSays};

impl World {
    pub(super) fn connect(&mut self, peer: Peer) {
        let link = self.links.len();
        let slot = match peer {
            Peer::Client(client) if !self.clients[client].left => &mut self.clients[client].link,
            Peer::Worker(worker) if !self.workers[worker].left => &mut self.workers[worker].link,
            Peer::Client(_) | Peer::Worker(_) => return,
        };
        if slot.is_some() {
            return;
        }
        *slot = Some(link);
        let clear = (self.now, self.now);
        self.links.push(Link { peer, broken_at: Duration::MAX, broker_done: false, clear });
        let epoch = Epoch(self.rng.next());
        match peer {
            Peer::Client(client) => {
                let account = self.clients[client].plan.account.map(str::to_owned);
                self.say_client(client, ClientSays::Hello(Hello { agent: "sim".to_owned(), epoch, account, worker: None }));
            }
            Peer::Worker(worker) => {
                let plan = &self.workers[worker].plan;
                let about = WorkerHello {
                    name: format!("worker {worker}"),
                    engine: plan.engine.to_owned(),
                    kernel: "none".to_owned(),
                    threads: plan.threads,
                    credit: plan.credit,
                    encodings: plan.encodings.clone(),
                };
                self.say_worker(
                    worker,
                    WorkerSays::Hello(Hello { agent: "sim".to_owned(), epoch, account: None, worker: Some(about) }),
                );
            }
        }
        self.after(Duration::from_secs(1), Event::Heartbeat(link));
    }

    pub(super) fn latency(&mut self) -> Duration {
        Duration::from_micros(self.rng.within(50..3_000))
    }

    pub(super) fn send_to_broker(&mut self, link: usize, says: ToBroker) {
        let at = self.links[link].clear.0.max(self.now + self.latency());
        self.links[link].clear.0 = at;
        self.at(at, Event::ToBroker(link, says));
    }

    pub(super) fn send_to_peer(&mut self, link: usize, says: ToPeer) {
        let at = self.links[link].clear.1.max(self.now + self.latency());
        self.links[link].clear.1 = at;
        self.at(at, Event::ToPeer(link, says));
    }

    pub(super) fn say_client(&mut self, client: usize, says: ClientSays) {
        if let ClientSays::Cancel(Cancel { job, holder: None }) = &says {
            self.cancelled.insert(*job);
        }
        if let Some(link) = self.clients[client].link {
            self.send_to_broker(link, ToBroker::Client(says));
        }
    }

    pub(super) fn say_worker(&mut self, worker: usize, says: WorkerSays) {
        if let Some(link) = self.workers[worker].link {
            self.send_to_broker(link, ToBroker::Worker(says));
        }
    }

    /// The connection is lost: what is under way may still arrive in part. The peer knows at once.
    pub(super) fn break_link(&mut self, link: usize, told: Told) {
        self.links[link].broken_at = self.now + self.latency();
        if let Told::After(delay) = told {
            self.after(delay, Event::BrokerHears(link));
        }
        self.peer_loses(link);
    }

    pub(super) fn peer_loses(&mut self, link: usize) {
        self.tally.incidents += u64::from(matches!(self.links[link].peer, Peer::Worker(_)));
        match self.links[link].peer {
            Peer::Client(client) if self.clients[client].link == Some(link) => self.clients[client].lose_link(),
            Peer::Worker(worker) if self.workers[worker].link == Some(link) => self.workers[worker].lose_link(),
            Peer::Client(_) | Peer::Worker(_) => {}
        }
    }

    pub(super) fn broker_hears_of_break(&mut self, link: usize) {
        if std::mem::replace(&mut self.links[link].broker_done, true) {
            return;
        }
        let id = link as u64;
        match self.links[link].peer {
            Peer::Client(_) => self.effect(|core, now, out| core.on_client_gone(now, ClientId(id), out)),
            Peer::Worker(_) => self.effect(|core, now, out| core.on_worker_gone(now, WorkerId(id), out)),
        }
    }

    pub(super) fn beat(&mut self, link: usize) {
        match self.links[link].peer {
            Peer::Client(client) if self.clients[client].link == Some(link) => self.say_client(client, ClientSays::Heartbeat),
            Peer::Worker(worker) if self.workers[worker].link == Some(link) => {
                let progress = self.workers[worker].progress(self.now);
                self.say_worker(worker, WorkerSays::Heartbeat(progress));
            }
            Peer::Client(_) | Peer::Worker(_) => return,
        }
        self.after(Duration::from_secs(1), Event::Heartbeat(link));
    }

    pub(super) fn peer_receives(&mut self, link: usize, says: ToPeer) {
        let peer = self.links[link].peer;
        let current = match peer {
            Peer::Client(client) => self.clients[client].link,
            Peer::Worker(worker) => self.workers[worker].link,
        };
        if self.now >= self.links[link].broken_at || current != Some(link) {
            return;
        }
        match (peer, says) {
            (peer, ToPeer::Closed) => {
                self.peer_loses(link);
                let delay = self.rng.millis(1..2_000);
                self.after(delay, Event::Connect(peer));
            }
            (Peer::Client(client), ToPeer::Message(message)) => self.client_receives(client, message),
            (Peer::Client(client), ToPeer::Strips { job, engine, first, count, content }) => {
                self.client_takes(client, job, &engine, (first, count), content);
            }
            (Peer::Worker(worker), ToPeer::Message(message)) => self.worker_receives(link, worker, message),
            (Peer::Worker(_), ToPeer::Strips { .. }) => panic!("a worker is sent strips"),
        }
    }
}
