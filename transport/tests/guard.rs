//! The guard over real sockets: what a peer in plain bytes may do, and how long. `tests/e2e/attacks.rs` of the whole system tells
//! what that is good for.

#![allow(missing_docs, clippy::missing_panics_doc, clippy::unwrap_used, reason = "a test")]

use std::{future::Future, time::Duration};

use bytes::Bytes;
use fractally_proto::{Cancel, JobId, Message, StripMeta, Strips, Tile, limits};
use fractally_transport::{GuardConfig, Hub, HubEvent, Link, Peer, raise_descriptor_limit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(30);
/// For deadlines that a test waits to pass.
const SOON: Duration = Duration::from_millis(50);

const READY: &[u8] = b"\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER";
const PING: &[u8] = b"\x04\x0a\x04PING\x00\x0aabc";
const PONG: &[u8] = b"\x04\x08\x04PONGabc";

async fn bind(change: impl FnOnce(&mut GuardConfig)) -> Hub {
    let mut config = GuardConfig::for_workers();
    change(&mut config);
    Hub::bind(&"tcp://127.0.0.1:0".parse().unwrap(), config).await.unwrap()
}

fn cancel(job: u64) -> Message {
    Message::Cancel(Cancel { job: JobId(job), holder: None })
}

/// A peer in plain bytes.
struct Raw(TcpStream);

impl Raw {
    async fn connect(hub: &Hub) -> Self {
        Self(TcpStream::connect(hub.endpoint().to_string().replace("tcp://", "")).await.unwrap())
    }

    /// Connects and shakes hands.
    async fn ready(hub: &Hub) -> Self {
        let mut raw = Self::connect(hub).await;
        raw.write(&[&greeting()[..], READY].concat()).await;
        raw.expect(&greeting()).await;
        raw.expect(&READY.to_vec().replace_type()).await;
        raw
    }

    /// The same, and the hub has heard of it.
    async fn known(hub: &mut Hub) -> (Self, Peer) {
        let mut raw = Self::ready(hub).await;
        raw.write(&frames(&cancel(0))).await;
        let (peer, _) = next_said(hub).await;
        (raw, peer)
    }

    async fn write(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.0.write_all(bytes)).await.unwrap().unwrap();
    }

    async fn expect(&mut self, bytes: &[u8]) {
        let mut read = vec![0; bytes.len()];
        timeout(PATIENCE, self.0.read_exact(&mut read)).await.expect("something is said").unwrap();
        assert_eq!(String::from_utf8_lossy(&read), String::from_utf8_lossy(bytes));
    }

    /// What is said until the guard ends the connection, which it must.
    async fn end(mut self) -> String {
        let mut read = Vec::new();
        // A reset is an end as well.
        let _ = timeout(PATIENCE, self.0.read_to_end(&mut read)).await.expect("the connection ends");
        String::from_utf8_lossy(&read).into_owned()
    }
}

trait ReplaceType {
    fn replace_type(self) -> Self;
}

impl ReplaceType for Vec<u8> {
    /// DEALER's READY as a ROUTER says it.
    fn replace_type(mut self) -> Self {
        let at = self.len() - 6;
        self[at..].copy_from_slice(b"ROUTER");
        self
    }
}

fn greeting() -> [u8; 64] {
    let mut greeting = [0; 64];
    (greeting[0], greeting[9], greeting[10]) = (0xff, 0x7f, 3);
    greeting[12..16].copy_from_slice(b"NULL");
    greeting
}

fn frames(message: &Message) -> Vec<u8> {
    let frames = message.encode();
    let mut bytes = Vec::new();
    for (index, frame) in frames.iter().enumerate() {
        let more = u8::from(index + 1 < frames.len());
        match u8::try_from(frame.len()) {
            Ok(short) => bytes.extend([more, short]),
            Err(_) => bytes.extend([&[more | 2][..], &(frame.len() as u64).to_be_bytes()].concat()),
        }
        bytes.extend_from_slice(frame);
    }
    bytes
}

fn tile(payload: usize) -> Message {
    let strips = vec![StripMeta(0, 0)];
    let tile = Tile { attempt: fractally_proto::AttemptId(1), iterations: 1, executed: None, compute_ns: 1, crc32: 0, strips };
    Message::Tile(tile, Bytes::from(vec![7; payload]))
}

async fn next(hub: &mut Hub) -> HubEvent {
    timeout(PATIENCE, hub.next()).await.expect("something happens at the hub")
}

async fn next_message(hub: &mut Hub) -> (Peer, Message) {
    match next(hub).await {
        HubEvent::Message(peer, message) => (peer, message),
        other => panic!("a message was expected: {other:?}"),
    }
}

/// The next message; that others are gone may come before it.
async fn next_said(hub: &mut Hub) -> (Peer, Message) {
    loop {
        match next(hub).await {
            HubEvent::Message(peer, message) => return (peer, message),
            HubEvent::Gone(_) => {}
            HubEvent::Malformed(_, error) => panic!("{error}"),
        }
    }
}

/// Lets the hub run while something else happens.
async fn while_serving<T>(hub: &mut Hub, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = hub.next() => {}
        }
    }
}

/// The same, and keeps the message that comes meanwhile.
async fn while_serving_one<T>(hub: &mut Hub, work: impl Future<Output = T>) -> (T, Option<(Peer, Message)>) {
    let mut work = std::pin::pin!(work);
    let mut kept = None;
    loop {
        tokio::select! {
            done = &mut work => return (done, kept),
            event = hub.next() => if let HubEvent::Message(peer, message) = event {
                kept = Some((peer, message));
            },
        }
    }
}

#[tokio::test]
async fn a_peer_that_says_nothing_or_half_a_greeting_is_ended() {
    let hub = bind(|config| config.handshake_timeout = SOON).await;
    for said in [&b""[..], b"\xff", &greeting()[..63], &greeting(), &[&greeting()[..], &READY[..20]].concat()] {
        let mut raw = Raw::connect(&hub).await;
        raw.write(said).await;
        raw.end().await;
    }
}

#[tokio::test]
async fn a_peer_that_is_ready_and_says_no_whole_message_is_ended_and_told() {
    // Long enough for the handshake of a busy machine.
    let hub = bind(|config| config.handshake_timeout = Duration::from_secs(2)).await;
    let hello = frames(&cancel(1));
    let (mut silent, mut half) = (Raw::ready(&hub).await, Raw::ready(&hub).await);
    half.write(&hello[..hello.len() - 1]).await;
    silent.write(b"").await;
    for raw in [silent, half] {
        let said = raw.end().await;
        assert!(said.contains("malformed") && said.contains("no first message"), "{said:?}");
    }
}

#[tokio::test]
async fn an_identity_is_refused_in_words_before_the_router_hears_of_it() {
    let hub = bind(|_| ()).await;
    let mut raw = Raw::connect(&hub).await;
    raw.write(&[&greeting()[..], b"\x04\x2a\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\x01x"].concat()).await;
    let said = raw.end().await;
    assert!(said.contains("ERROR") && said.contains("identity"), "{said:?}");
}

#[tokio::test]
async fn a_conversation_goes_on_byte_by_byte() {
    let mut hub = bind(|_| ()).await;
    let mut raw = Raw::connect(&hub).await;
    for byte in [&greeting()[..], READY, &frames(&cancel(1)), &frames(&tile(300)), &frames(&cancel(2))].concat() {
        raw.write(&[byte]).await;
    }
    for expected in [cancel(1), tile(300), cancel(2)] {
        let (peer, message) = next_message(&mut hub).await;
        assert_eq!(message, expected);
        hub.send(peer, &cancel(9));
    }
    raw.expect(&greeting()).await;
    raw.expect(&READY.to_vec().replace_type()).await;
    let answers = frames(&cancel(9)).repeat(3);
    while_serving(&mut hub, raw.expect(&answers)).await;
}

#[tokio::test]
async fn pings_are_answered_between_messages_and_never_reach_the_router() {
    let mut hub = bind(|_| ()).await;
    let mut raw = Raw::ready(&hub).await;
    raw.write(PING).await;
    raw.expect(PONG).await;
    raw.write(&frames(&cancel(1))).await;
    let (peer, _) = next_message(&mut hub).await;
    for _ in 0..3 {
        raw.write(PING).await;
        while_serving(&mut hub, raw.expect(PONG)).await;
    }
    hub.send(peer, &cancel(3));
    while_serving(&mut hub, raw.expect(&frames(&cancel(3)))).await;
    raw.write(&[PING, &frames(&cancel(4)), PING].concat()).await;
    assert_eq!(next_message(&mut hub).await, (peer, cancel(4)));
}

#[tokio::test]
async fn half_a_message_is_not_held_for_ever_and_its_sender_hears_why() {
    let mut hub = bind(|config| config.message_timeout = SOON).await;
    let whole = frames(&tile(100_000));
    for half in [1, 3, 40, whole.len() - 1] {
        let (mut raw, peer) = Raw::known(&mut hub).await;
        hub.send(peer, &cancel(5));
        raw.write(&whole[..half]).await;
        let said = while_serving(&mut hub, raw.end()).await;
        assert!(said.as_bytes().starts_with(&frames(&cancel(5))[..4]) && said.contains("half a message"), "{said:?}");
    }
}

#[tokio::test]
async fn a_message_that_breaks_a_limit_ends_the_connection_and_its_sender_hears_why() {
    let mut hub = bind(|_| ()).await;
    for power in 38..63 {
        let (mut raw, peer) = Raw::known(&mut hub).await;
        raw.write(&[&[2][..], &(1_u64 << power).to_be_bytes()].concat()).await;
        assert!(matches!(next(&mut hub).await, HubEvent::Gone(gone) if gone == peer));
        let said = while_serving(&mut hub, raw.end()).await;
        assert!(said.contains("malformed") && said.contains("the limit is"), "{said:?}");
    }
}

#[tokio::test]
async fn large_messages_wait_for_room_and_get_it_when_others_end() {
    // Room for one large frame of an address.
    let mut hub = bind(|config| config.large_bytes_max = 2 << 20).await;
    let (mut holder, _) = Raw::known(&mut hub).await;
    let whole = frames(&tile(1 << 20));
    holder.write(&whole[..whole.len() - 1]).await;
    let (mut waiting, other) = Raw::known(&mut hub).await;
    waiting.write(&whole).await;
    // Small messages of others need no room.
    let (mut small, third) = Raw::known(&mut hub).await;
    small.write(&frames(&cancel(3))).await;
    assert_eq!(next_message(&mut hub).await, (third, cancel(3)));
    assert!(timeout(SOON, hub.next()).await.is_err(), "nothing else comes through");
    drop(holder);
    assert_eq!(next_said(&mut hub).await, (other, tile(1 << 20)));
}

#[tokio::test]
async fn who_holds_room_and_sends_nothing_must_make_way_for_others() {
    let mut hub = bind(|config| (config.large_bytes_max, config.message_timeout) = (2 << 20, 2 * PATIENCE)).await;
    let whole = frames(&tile(1 << 20));
    let (mut holder, _) = Raw::known(&mut hub).await;
    holder.write(&whole[..500_000]).await;
    let (mut waiting, peer) = Raw::known(&mut hub).await;
    waiting.write(&whole).await;
    let (said, message) = while_serving_one(&mut hub, holder.end()).await;
    assert!(said.contains("others wait"), "{said:?}");
    let message = match message {
        Some(message) => message,
        None => next_said(&mut hub).await,
    };
    assert_eq!(message, (peer, tile(1 << 20)));
}

#[tokio::test]
async fn a_peer_too_many_is_sent_away_with_a_word_and_has_a_place_when_another_leaves() {
    let mut hub = bind(|config| config.connections_per_address_max = 2).await;
    let (first, leaving) = Raw::known(&mut hub).await;
    let (_second, _) = Raw::known(&mut hub).await;
    let mut third = Raw::ready(&hub).await;
    third.write(&frames(&cancel(1))).await;
    let said = while_serving(&mut hub, third.end()).await;
    assert!(said.contains("full") && said.contains("this address"), "{said:?}");
    drop(first);
    assert!(matches!(next(&mut hub).await, HubEvent::Gone(gone) if gone == leaving));
    // The place is free once both ends of the way to the ROUTER are closed, which nobody is told.
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let mut link = Link::connect(hub.endpoint(), PATIENCE).await.unwrap();
        link.send(&cancel(7)).await.unwrap();
        let came = tokio::select! {
            event = hub.next() => matches!(event, HubEvent::Message(..)),
            said = link.next() => { assert!(matches!(said, Ok(Message::Error(_)) | Err(_))); false }
        };
        if came {
            break;
        }
        assert!(tokio::time::Instant::now() < end, "the place is never free");
    }
}

#[tokio::test]
async fn a_thousand_workers_of_one_address_are_admitted_by_default() {
    // As many as the descriptors of this machine allow.
    raise_descriptor_limit().unwrap();
    let mut hub = bind(|_| ()).await;
    let all = GuardConfig::for_workers().connections_per_address_max.min(1000);
    let mut workers = Vec::new();
    for _ in 0..all {
        workers.push(Raw::known(&mut hub).await);
    }
    for (_, peer) in &workers {
        hub.send(*peer, &cancel(1));
    }
    for (worker, _) in &mut workers {
        while_serving(&mut hub, worker.expect(&frames(&cancel(1)))).await;
    }
}

#[tokio::test]
async fn newcomers_that_say_nothing_keep_nobody_out() {
    let mut hub = bind(|config| config.newcomers_max = 3).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(Raw::connect(&hub).await);
    }
    let mut link = Link::connect(hub.endpoint(), PATIENCE).await.unwrap();
    link.send(&cancel(1)).await.unwrap();
    next_message(&mut hub).await;
    for raw in silent.drain(..17) {
        raw.end().await;
    }
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_ended_and_what_waits_for_it_is_freed() {
    let mut hub = bind(|config| config.write_timeout = SOON).await;
    let (raw, peer) = Raw::known(&mut hub).await;
    let strips = Strips { job: JobId(0), engine: String::new(), first: 0, strips: vec![StripMeta(0, 0)] };
    for _ in 0..4 {
        hub.send(peer, &Message::Strips(strips.clone(), Bytes::from(vec![0; limits::PAYLOAD_BYTES_MAX])));
    }
    // More than the kernel holds for a connection.
    assert!(matches!(next(&mut hub).await, HubEvent::Gone(gone) if gone == peer));
    drop(raw);
}

#[tokio::test]
async fn a_hub_that_goes_gives_its_port_back() {
    let hub = bind(|_| ()).await;
    let endpoint = hub.endpoint().clone();
    drop(hub);
    let end = tokio::time::Instant::now() + PATIENCE;
    while let Err(error) = Hub::bind(&endpoint, GuardConfig::for_workers()).await {
        assert!(tokio::time::Instant::now() < end, "{error}");
        tokio::task::yield_now().await;
    }
}
