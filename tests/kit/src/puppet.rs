//! A client or a worker that speaks the protocol and does what a test tells it, and nothing else: it keeps its connection alive, and
//! for the rest neither computes nor follows the rules.

use std::time::Duration;

use fractally_proto::{
    BandFailed, BandFailure, BandProgress, Encoding, Epoch, Hello, JobKey, Lease, LeaseKind, Message, Priority, Request, Submit,
    WorkerHello,
};
use fractally_transport::{Link, Turn};
use tokio::time::{Interval, MissedTickBehavior, interval};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Half of what a broker asks for.
const HEARTBEAT_EVERY: Duration = Duration::from_millis(500);

/// A connected peer on strings.
pub struct Puppet {
    link: Link,
    timer: Interval,
    turn: Turn,
    /// What its heartbeats say of its leases.
    pub bands: Vec<BandProgress>,
}

impl Puppet {
    /// A client that has said HELLO.
    pub async fn client(endpoint: &str) -> Self {
        Self::greet(endpoint, None).await
    }

    /// A worker that has said HELLO.
    pub async fn worker(endpoint: &str, about: WorkerHello) -> Self {
        Self::greet(endpoint, Some(about)).await
    }

    async fn greet(endpoint: &str, worker: Option<WorkerHello>) -> Self {
        let endpoint = endpoint.parse().expect("a broker says where it listens");
        let link = Link::connect(&endpoint, CONNECT_TIMEOUT).await.expect("the broker listens");
        let mut timer = interval(HEARTBEAT_EVERY);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut puppet = Self { link, timer, turn: Turn::default(), bands: Vec::new() };
        puppet.say(&Message::Hello(Hello { agent: "puppet".to_owned(), epoch: Epoch(1), account: None, worker })).await;
        puppet
    }

    /// Says it, whatever it is. That the connection is gone is heard later.
    pub async fn say(&mut self, message: &Message) {
        let _ = self.link.send(message).await;
    }

    /// The next message that is no heartbeat, or nothing when the connection has ended. Heartbeats are sent meanwhile. May be dropped
    /// while it waits.
    pub async fn hear(&mut self) -> Option<Message> {
        loop {
            self.turn.handled().await;
            if self.link.is_ack_due() {
                self.link.heartbeat(self.bands.clone()).await.ok()?;
            }
            tokio::select! {
                message = self.link.next() => {
                    let message = message.ok()?;
                    if !matches!(message, Message::Heartbeat(_)) {
                        return Some(message);
                    }
                }
                _ = self.timer.tick() => self.link.heartbeat(self.bands.clone()).await.ok()?,
            }
        }
    }

    /// Lives for a while and reads nothing.
    pub async fn live_deaf(&mut self) {
        self.timer.tick().await;
        let _ = self.link.heartbeat(self.bands.clone()).await;
    }

    /// The next lease of a band. Probes are declined, which costs nothing.
    pub async fn hear_lease(&mut self) -> Option<Lease> {
        loop {
            match self.hear().await? {
                Message::Lease(lease) if matches!(lease.kind, LeaseKind::Band { .. }) => return Some(lease),
                Message::Lease(probe) => {
                    let failure = BandFailure::Declined;
                    let reason = String::new();
                    self.say(&Message::BandFailed(BandFailed { attempt: probe.attempt, failure, reason })).await;
                }
                _ => {}
            }
        }
    }
}

/// What a puppet says of itself as a worker of one thread.
pub fn puppet_worker(name: &str, engine: &str, credit: u32) -> WorkerHello {
    WorkerHello {
        name: name.to_owned(),
        engine: engine.to_owned(),
        kernel: "none".to_owned(),
        threads: 1,
        credit,
        encodings: vec![Encoding::Png, Encoding::Counts],
    }
}

/// A SUBMIT of a new picture.
pub fn puppet_submit(key: u128, request: Request, priority: Priority) -> Submit {
    Submit { key: JobKey(key.to_le_bytes()), priority, have: 0, engine: None, window_bytes: 16 << 20, request_id: None, request }
}
