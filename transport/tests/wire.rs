//! A hub and its links over real sockets, on one runtime.

#![allow(missing_docs, clippy::missing_panics_doc, clippy::unwrap_used, reason = "a test")]

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use fractally_proto::{Ack, Cancel, Heartbeat, JobId, Message, StripMeta, Strips, limits};
use fractally_transport::{Endpoint, GuardConfig, Hub, HubEvent, Link, LinkError, Peer};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

const PATIENCE: Duration = Duration::from_secs(30);

async fn hub() -> Hub {
    bind("tcp://127.0.0.1:0").await
}

async fn bind(endpoint: &str) -> Hub {
    Hub::bind(&endpoint.parse().unwrap(), GuardConfig::for_workers()).await.unwrap()
}

async fn link(endpoint: &Endpoint) -> Link {
    Link::connect(endpoint, PATIENCE).await.unwrap()
}

fn cancel(job: u64) -> Message {
    Message::Cancel(Cancel { job: JobId(job), holder: None })
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

#[tokio::test]
async fn messages_go_both_ways_on_tcp_and_unix_sockets() {
    let folder = PathBuf::from(format!("/tmp/fractally-wire-{}", std::process::id()));
    for endpoint in ["tcp://127.0.0.1:0".to_owned(), format!("ipc://{}", folder.display())] {
        let mut hub = bind(&endpoint).await;
        let mut links = [link(hub.endpoint()).await, link(hub.endpoint()).await];
        for (job, link) in links.iter_mut().enumerate() {
            link.send(&cancel(job as u64)).await.unwrap();
        }
        let mut peers = [next_message(&mut hub).await, next_message(&mut hub).await];
        peers.sort_by_key(|(_, message)| format!("{message:?}"));
        assert_ne!(peers[0].0, peers[1].0);
        for (peer, message) in &peers {
            hub.send(*peer, message);
        }
        for (job, link) in links.iter_mut().enumerate() {
            assert_eq!(link.next().await.unwrap(), cancel(job as u64));
        }
    }
    let _ = std::fs::remove_file(folder);
}

#[tokio::test]
async fn a_peer_that_goes_is_told_and_a_hub_that_goes_ends_the_link() {
    let mut hub = hub().await;
    let mut first = link(hub.endpoint()).await;
    first.send(&cancel(1)).await.unwrap();
    let (peer, _) = next_message(&mut hub).await;
    drop(first);
    assert!(matches!(next(&mut hub).await, HubEvent::Gone(gone) if gone == peer));
    hub.send(peer, &cancel(2));

    let mut second = link(hub.endpoint()).await;
    second.send(&cancel(3)).await.unwrap();
    next_message(&mut hub).await;
    drop(hub);
    assert!(matches!(timeout(PATIENCE, second.next()).await, Ok(Err(LinkError::Lost))));
}

#[tokio::test]
async fn a_kicked_peer_hears_what_was_sent_before() {
    let mut hub = hub().await;
    let mut link = link(hub.endpoint()).await;
    link.send(&cancel(1)).await.unwrap();
    let (peer, message) = next_message(&mut hub).await;
    hub.send(peer, &message);
    hub.kick(peer);
    assert_eq!(timeout(PATIENCE, link.next()).await.unwrap().unwrap(), message);
    assert!(matches!(timeout(PATIENCE, link.next()).await, Ok(Err(LinkError::Lost))));
}

#[tokio::test]
async fn a_hub_sends_no_more_than_the_window_until_messages_are_seen() {
    let mut hub = hub().await;
    let mut link = link(hub.endpoint()).await;
    link.send(&cancel(0)).await.unwrap();
    let (peer, _) = next_message(&mut hub).await;
    let all = 2 * limits::WINDOW_MESSAGES + 5;
    for job in 0..all {
        hub.send(peer, &cancel(job));
    }
    let mut job = 0;
    while job < all {
        let message = tokio::select! {
            message = link.next() => message.unwrap(),
            // The hub takes the heartbeats in, and sends what the window then allows.
            _ = hub.next() => continue,
        };
        assert_eq!(message, cancel(job), "in order, none lost");
        job += 1;
        // The window is full when nothing was acknowledged: then nothing more comes.
        if job == limits::WINDOW_MESSAGES {
            let more = async { tokio::join!(link.next(), hub.next()) };
            assert!(timeout(Duration::from_millis(100), more).await.is_err());
        }
        if job >= limits::WINDOW_MESSAGES && link.is_ack_due() {
            link.heartbeat(Vec::new()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_peer_that_stops_to_acknowledge_is_dropped_and_others_are_not() {
    let mut hub = hub().await;
    let mut links = [link(hub.endpoint()).await, link(hub.endpoint()).await];
    let mut peers = Vec::new();
    for link in &mut links {
        link.send(&cancel(0)).await.unwrap();
        peers.push(next_message(&mut hub).await.0);
    }
    let payload = Bytes::from(vec![0; limits::PAYLOAD_BYTES_MAX]);
    let strips = Strips { job: JobId(0), engine: String::new(), first: 0, strips: vec![StripMeta(0, 0)] };
    // More than the window takes, and less than may wait behind it.
    for _ in 0..8 {
        hub.send(peers[0], &Message::Strips(strips.clone(), payload.clone()));
    }
    // The other peer is served all the while.
    hub.send(peers[1], &cancel(7));
    assert_eq!(timeout(PATIENCE, links[1].next()).await.unwrap().unwrap(), cancel(7));
    links[1].heartbeat(Vec::new()).await.unwrap();
    next_message(&mut hub).await;

    hub.set_now(Duration::from_secs(9));
    hub.heartbeat();
    hub.set_now(Duration::from_secs(11));
    hub.heartbeat();
    assert!(matches!(next(&mut hub).await, HubEvent::Gone(gone) if gone == peers[0]));
    hub.send(peers[1], &cancel(8));
    loop {
        match timeout(PATIENCE, links[1].next()).await.unwrap().unwrap() {
            Message::Heartbeat(_) => {}
            message => break assert_eq!(message, cancel(8)),
        }
    }
}

#[tokio::test]
async fn a_peer_for_which_too_much_waits_is_dropped() {
    let mut hub = hub().await;
    let mut link = link(hub.endpoint()).await;
    link.send(&cancel(0)).await.unwrap();
    let (peer, _) = next_message(&mut hub).await;
    let payload = Bytes::from(vec![0; limits::PAYLOAD_BYTES_MAX]);
    let strips = Strips { job: JobId(0), engine: String::new(), first: 0, strips: vec![StripMeta(0, 0)] };
    for _ in 0..20 {
        hub.send(peer, &Message::Strips(strips.clone(), payload.clone()));
    }
    assert!(matches!(next(&mut hub).await, HubEvent::Gone(gone) if gone == peer));
}

#[tokio::test]
async fn a_peer_that_sees_no_heartbeat_is_dropped_before_its_queue_is_full() {
    let mut hub = hub().await;
    let mut link = link(hub.endpoint()).await;
    link.send(&cancel(0)).await.unwrap();
    let (peer, _) = next_message(&mut hub).await;
    for _ in 0..3000 {
        hub.heartbeat();
    }
    assert!(matches!(next(&mut hub).await, HubEvent::Gone(gone) if gone == peer));
}

/// A peer in plain bytes that never reads: ZMTP 3.0 greeting and READY as a DEALER, and then messages.
struct Mute(TcpStream);

impl Mute {
    async fn connect(endpoint: &Endpoint) -> Self {
        let address = endpoint.to_string().replace("tcp://", "");
        let mut mute = Self(TcpStream::connect(address).await.unwrap());
        let mut greeting = [0; 64];
        (greeting[0], greeting[9], greeting[10]) = (0xff, 0x7f, 3);
        greeting[12..16].copy_from_slice(b"NULL");
        let ready = b"\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER";
        mute.0.write_all(&[&greeting[..], ready].concat()).await.unwrap();
        mute
    }

    /// Whether the connection still took it.
    async fn send(&mut self, message: &Message) -> bool {
        let frames = message.encode();
        let mut bytes = Vec::new();
        for (index, frame) in frames.iter().enumerate() {
            bytes.extend([u8::from(index + 1 < frames.len()), u8::try_from(frame.len()).unwrap()]);
            bytes.extend_from_slice(frame);
        }
        self.0.write_all(&bytes).await.is_ok()
    }
}

/// Heartbeats wait for no window, so a peer that claimed to see them, and never read, once filled the library's queue; the next
/// send to it then held up everybody else for as long as it stayed.
#[tokio::test]
async fn a_peer_that_claims_to_see_and_never_reads_holds_up_nobody() {
    let mut hub = hub().await;
    let mut liar = Mute::connect(hub.endpoint()).await;
    let mut other = link(hub.endpoint()).await;
    liar.send(&cancel(0)).await;
    let (lying, _) = next_message(&mut hub).await;
    let mut seen = 0;
    loop {
        for _ in 0..900 {
            hub.send(lying, &Message::Heartbeat(Heartbeat::default()));
        }
        seen += 900;
        assert!(seen < 5_000_000, "the liar is dropped at last");
        liar.send(&Message::Heartbeat(Heartbeat { seen, bands: Vec::new() })).await;
        other.send(&cancel(seen)).await.unwrap();
        let (mut is_gone, mut is_asked, mut is_claimed) = (false, false, false);
        while !(is_asked && (is_claimed || is_gone)) {
            match next(&mut hub).await {
                HubEvent::Message(peer, message @ Message::Cancel(_)) => {
                    hub.send(peer, &message);
                    is_asked = true;
                }
                HubEvent::Message(peer, _) => is_claimed |= peer == lying,
                HubEvent::Malformed(_, error) => panic!("{error}"),
                HubEvent::Gone(peer) => is_gone |= peer == lying,
            }
        }
        while timeout(PATIENCE, other.next()).await.expect("it is served").unwrap() != cancel(seen) {}
        other.heartbeat(Vec::new()).await.unwrap();
        if is_gone {
            break;
        }
    }
    assert!(seen > 100_000, "it was its queue that was full, after {seen} heartbeats");
}

#[tokio::test]
async fn a_peer_that_saw_what_was_never_sent_is_dropped() {
    let mut hub = hub().await;
    let mut link = link(hub.endpoint()).await;
    link.send(&Message::Heartbeat(Heartbeat { seen: 1, bands: Vec::new() })).await.unwrap();
    assert!(matches!(next(&mut hub).await, HubEvent::Gone(_)));
    assert!(matches!(timeout(PATIENCE, link.next()).await, Ok(Err(LinkError::Lost))));
}

#[tokio::test]
async fn a_flood_from_one_peer_is_acknowledged_and_does_not_shut_another_out() {
    let mut hub = hub().await;
    let mut flooder = link(hub.endpoint()).await;
    let mut other = link(hub.endpoint()).await;
    let flood = 20_000;
    let flooding = async {
        for have in 0..flood {
            flooder.send(&Message::Ack(Ack { job: JobId(1), have })).await.unwrap();
        }
        // What waits for the window goes out as the hub acknowledges; its acknowledgements are messages too.
        loop {
            flooder.next().await.unwrap();
            if flooder.is_ack_due() {
                flooder.heartbeat(Vec::new()).await.unwrap();
            }
        }
    };
    let serving = async {
        let mut seen = 0;
        let mut answered = false;
        while seen < flood || !answered {
            match next_message(&mut hub).await {
                (_, Message::Ack(_)) => seen += 1,
                (_, Message::Heartbeat(_)) => {}
                (peer, message) => {
                    hub.send(peer, &message);
                    assert!(seen < flood, "the question came through before the flood was over");
                    answered = true;
                }
            }
            tokio::task::yield_now().await;
        }
    };
    let asking = async {
        other.send(&cancel(9)).await.unwrap();
        assert_eq!(timeout(PATIENCE, other.next()).await.unwrap().unwrap(), cancel(9));
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = serving => {}
        () = flooding => {}
        () = asking => {}
    }
}
