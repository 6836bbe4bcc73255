//! A broker on strings, a picture for it to tell of, and what every script needs.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use fractally_client::{AttachOptions, Broker, KeepOptions, RenderOptions, WINDOW_BYTES};
use fractally_proto::{
    Accepted, Attached, ByeOk, Cancel, Done, Encoding, Epoch, Failed, JobId, JobKey, JobList, JobState, Layout, Limits,
    ListedJob, Message, Priority, Request, Size, StripMeta, Strips, Submit, Welcome, Window,
};
use fractally_transport::{GuardConfig, Hub, HubEvent, Peer};
use tokio::time::timeout;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const JOB: JobId = JobId(0x0700_0001);
/// Another job that draws the same.
pub(crate) const OTHER: JobId = JobId(0x0700_0002);
pub(crate) const KEY: JobKey = JobKey([7; 16]);

/// A broker that does what a test tells it.
pub(crate) struct Puppet {
    pub(crate) hub: Hub,
    /// What WELCOME says.
    pub(crate) heartbeat_ms: u32,
    pub(crate) dead_after_ms: u32,
}

impl Puppet {
    pub(crate) async fn start() -> (Self, Broker) {
        let hub = Hub::bind(&"tcp://127.0.0.1:0".parse().unwrap(), GuardConfig::for_clients()).await.unwrap();
        let broker = Broker {
            endpoint: hub.endpoint().clone(),
            agent: "test".to_owned(),
            account: None,
            epoch: Epoch(1),
            connect_timeout: PATIENCE,
            sessions: None,
        };
        (Self { hub, heartbeat_ms: 1000, dead_after_ms: 60_000 }, broker)
    }

    /// What is said next, but for what every connection begins and lives with. BYE is answered and told.
    pub(crate) async fn hear(&mut self) -> (Peer, Message) {
        loop {
            let HubEvent::Message(peer, message) = timeout(PATIENCE, self.hub.next()).await.expect("the client says something")
            else {
                continue;
            };
            match message {
                Message::Hello(_) => {
                    let (heartbeat_ms, dead_after_ms) = (self.heartbeat_ms, self.dead_after_ms);
                    let agent = "puppet".to_owned();
                    let welcome = Welcome { agent, epoch: Epoch(2), heartbeat_ms, dead_after_ms, limits: Limits::default() };
                    self.hub.send(peer, &Message::Welcome(welcome));
                }
                Message::Heartbeat(_) => {}
                Message::Bye(_) => {
                    self.hub.send(peer, &Message::ByeOk(ByeOk {}));
                    return (peer, message);
                }
                message => return (peer, message),
            }
        }
    }

    /// The next message, which must be of this kind.
    pub(crate) async fn expect<T>(&mut self, pick: impl Fn(Message) -> Option<T>) -> (Peer, T) {
        let (peer, message) = self.hear().await;
        let name = message.name();
        (peer, pick(message).unwrap_or_else(|| panic!("{name} was not expected")))
    }

    /// The next heartbeat, and nothing else before it.
    pub(crate) async fn expect_heartbeat(&mut self) {
        loop {
            match timeout(PATIENCE, self.hub.next()).await.expect("the client lives") {
                HubEvent::Message(_, Message::Heartbeat(_)) => return,
                HubEvent::Message(_, message) => panic!("{} was not expected", message.name()),
                _ => {}
            }
        }
    }

    pub(crate) async fn expect_submit(&mut self) -> (Peer, Submit) {
        self.expect(|message| if let Message::Submit(submit) = message { Some(submit) } else { None }).await
    }

    /// Takes the job of whoever submits one.
    pub(crate) async fn accept_submit(&mut self) -> Peer {
        let (peer, _) = self.expect_submit().await;
        self.say(peer, accepted(false));
        peer
    }

    pub(crate) async fn expect_cancel(&mut self) -> (Peer, Cancel) {
        self.expect(|message| if let Message::Cancel(cancel) = message { Some(cancel) } else { None }).await
    }

    pub(crate) async fn expect_bye(&mut self) {
        self.expect(|message| matches!(message, Message::Bye(_)).then_some(())).await;
    }

    pub(crate) async fn expect_attach(&mut self) -> (Peer, u32, Option<String>) {
        let (peer, attach) = self.expect(|message| if let Message::Attach(attach) = message { Some(attach) } else { None }).await;
        assert_eq!(attach.job, JOB);
        (peer, attach.have, attach.engine)
    }

    pub(crate) async fn expect_ack(&mut self, have: u32) {
        loop {
            let (_, ack) = self.expect(|message| if let Message::Ack(ack) = message { Some(ack) } else { None }).await;
            assert!(ack.job == JOB && ack.have <= have, "{ack:?}");
            if ack.have == have {
                return;
            }
        }
    }

    pub(crate) fn say(&mut self, peer: Peer, message: Message) {
        self.hub.send(peer, &message);
    }

    pub(crate) fn say_failed(&mut self, peer: Peer, reason: &str) {
        self.say(peer, Message::Failed(Failed { job: JOB, reason: reason.to_owned() }));
    }

    pub(crate) async fn answer_list(&mut self, jobs: Vec<ListedJob>) -> Peer {
        let (peer, ()) = self.expect(|message| matches!(message, Message::ListQuery(_)).then_some(())).await;
        self.say(peer, Message::ListReport(JobList { jobs, damaged: vec![] }.encode()));
        peer
    }
}

/// Four strips of one row each.
pub(crate) fn picture() -> Request {
    let size = Size { w: 65_536, h: 4 };
    Request { size, window: Window::whole(size), encoding: Encoding::Counts, ..Request::default() }
}

pub(crate) fn row(strip: u32) -> Vec<u8> {
    vec![u8::try_from(strip).unwrap(); 262_144]
}

pub(crate) fn strips(engine: &str, first: u32, count: u32) -> Message {
    let rows: Vec<_> = (first..first + count).map(row).collect();
    let metas = rows.iter().map(|row| StripMeta(262_144, adler32(row))).collect();
    Message::Strips(Strips { job: JOB, engine: engine.to_owned(), first, strips: metas }, Bytes::from(rows.concat()))
}

/// RFC 1950.
pub(crate) fn adler32(bytes: &[u8]) -> u32 {
    let (a, b) = bytes.iter().fold((1, 0), |(a, b), &byte| {
        let a = (a + u32::from(byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    b << 16 | a
}

pub(crate) fn attached(rows: u32) -> Attached {
    let layout = Layout::of(&picture());
    Attached { job: JOB, strips: layout.strips(), rows_per_strip: layout.rows_per_strip(), rows, request: picture() }
}

pub(crate) fn accepted(cached: bool) -> Message {
    let Attached { strips, rows_per_strip, .. } = attached(0);
    Message::Accepted(Accepted { key: KEY, job: JOB, strips, rows_per_strip, cached })
}

pub(crate) fn done() -> Message {
    let engine = "e".to_owned();
    Message::Done(Done { job: JOB, engine, iterations: 9, compute_ns: 1, elapsed_ms: 1, bands: 1, attempts: 1, workers: 1 })
}

pub(crate) fn options(broker: Broker) -> RenderOptions {
    RenderOptions {
        broker,
        key: KEY,
        request: picture(),
        priority: Priority::Batch,
        request_id: None,
        reconnect_for: PATIENCE,
        window_bytes: WINDOW_BYTES,
    }
}

pub(crate) fn keep_options(broker: Broker) -> KeepOptions {
    let RenderOptions { broker, key, request, priority, reconnect_for, .. } = options(broker);
    KeepOptions { broker, key, request, priority, reconnect_for, holder: None, request_id: None }
}

pub(crate) fn attach_options(broker: Broker) -> AttachOptions {
    AttachOptions { broker, job: JOB, only_if_done: false, reconnect_for: PATIENCE, request: None, window_bytes: WINDOW_BYTES }
}

pub(crate) fn listed(state: JobState) -> ListedJob {
    ListedJob {
        job: JOB,
        state,
        why: "because".to_owned(),
        account: String::new(),
        priority: Priority::Normal,
        request: picture(),
        engine: String::new(),
        rows_done: 0,
        bytes: 0,
        age_ms: 0,
        ended_ms: None,
        elapsed_ms: 0,
        iterations: 0,
        compute_ns: 0,
        eta_ms: None,
        followers: 0,
        workers: 0,
        strip_bytes: 0,
        holders: 1,
    }
}

/// What the client comes to; the script never ends.
pub(crate) async fn either<T>(client: impl Future<Output = T>, script: impl Future<Output = std::convert::Infallible>) -> T {
    tokio::select! {
        ended = timeout(PATIENCE, client) => ended.expect("the client ends"),
        never = script => match never {},
    }
}

/// The same, said of [`OTHER`].
pub(crate) fn of_other(message: Message) -> Message {
    match message {
        Message::Attached(attached) => Message::Attached(Attached { job: OTHER, ..attached }),
        Message::Strips(strips, payload) => Message::Strips(Strips { job: OTHER, ..strips }, payload),
        Message::Done(done) => Message::Done(Done { job: OTHER, ..done }),
        other => panic!("{} is of no job", other.name()),
    }
}
