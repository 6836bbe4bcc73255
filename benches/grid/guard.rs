//! What the guard costs: a hub and a link over TCP on the loopback, with it and without it, in turn.
//!
//! Hub, link and guard have a thread each, as in a grid they have a process, a host, and a thread.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use fractally_proto::{AttemptId, Cancel, JobId, Message, StripMeta, Tile};
use fractally_transport::{Endpoint, GuardConfig, Hub, HubEvent, Link, Turn};
use tokio::sync::oneshot;

use crate::{Spread, runtime};

const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a large message's payload.
const PAYLOAD: usize = 1 << 20;
/// Large messages under way: fewer than the window takes.
const IN_FLIGHT: usize = 16;
/// Large messages for one measurement.
const LARGE: usize = 500;

/// What one connection did.
struct Measured {
    p50: Duration,
    p99: Duration,
    /// For one large message.
    large: Duration,
}

/// Prints the round trip of a small message and the throughput of large ones, medians over `runs` connections each.
pub(crate) fn compare(runs: usize, round_trips: usize) {
    let large = LARGE.min(round_trips);
    measure(true, round_trips, large);
    let (without, with): (Vec<_>, Vec<_>) =
        (0..runs).map(|_| (measure(false, round_trips, large), measure(true, round_trips, large))).unzip();
    for (name, all) in [("without", without), ("with", with)] {
        let micros = |pick: fn(&Measured) -> Duration| {
            let spread = Spread::of(all.iter().map(pick).collect());
            let [median, least, most] = [spread.median, spread.least, spread.most].map(|seconds| seconds * 1e6);
            format!("{median:.0} us ({least:.0}, {most:.0})")
        };
        let spread = Spread::of(all.iter().map(|measured| measured.large).collect());
        let [median, most, least] = [spread.median, spread.least, spread.most].map(|seconds| PAYLOAD as f64 / seconds / 1e6);
        println!(
            "{name} the guard: round trip p50 {}, p99 {}; 1 MiB messages {median:.0} MB/s ({least:.0}, {most:.0})",
            micros(|measured| measured.p50),
            micros(|measured| measured.p99),
        );
    }
}

fn measure(is_guarded: bool, round_trips: usize, large: usize) -> Measured {
    let (listening, endpoint) = mpsc::channel();
    let (stop, stopped) = oneshot::channel();
    let hub = thread::spawn(move || runtime().block_on(echo(is_guarded, listening, stopped)));
    let endpoint = endpoint.recv().expect("the hub listens");
    let measured = runtime().block_on(async {
        let mut link = Link::connect(&endpoint, TIMEOUT).await.expect("the hub listens");
        let mut times = Vec::with_capacity(round_trips);
        let question = Message::Cancel(Cancel { job: JobId(1), holder: None });
        for _ in 0..round_trips {
            let started = Instant::now();
            link.send(&question).await.expect("the hub stays");
            answer(&mut link).await;
            times.push(started.elapsed());
        }
        times.sort();
        let large = throughput(&mut link, large).await;
        Measured { p50: times[times.len() / 2], p99: times[times.len() * 99 / 100], large }
    });
    let _ = stop.send(());
    hub.join().expect("the hub ends");
    measured
}

/// Wall time of one message, many under way.
async fn throughput(link: &mut Link, messages: usize) -> Duration {
    let tile =
        Tile { attempt: AttemptId(1), iterations: 1, executed: None, compute_ns: 1, crc32: 0, strips: vec![StripMeta(1, 1)] };
    let message = Message::Tile(tile, Bytes::from(vec![7; PAYLOAD]));
    let started = Instant::now();
    for index in 0..messages + IN_FLIGHT {
        if index < messages {
            link.send(&message).await.expect("the hub stays");
        }
        if index >= IN_FLIGHT {
            answer(link).await;
        }
    }
    started.elapsed() / u32::try_from(messages).expect("few messages")
}

/// Waits for an answer; heartbeats are passed over, and sent as acknowledgements are due.
async fn answer(link: &mut Link) {
    while let Message::Heartbeat(_) = link.next().await.expect("the hub stays") {}
    if link.is_ack_due() {
        link.heartbeat(Vec::new()).await.expect("the hub stays");
    }
}

/// Answers every message with a small one.
async fn echo(is_guarded: bool, listening: mpsc::Sender<Endpoint>, mut stopped: oneshot::Receiver<()>) {
    let endpoint = "tcp://127.0.0.1:0".parse().expect("an endpoint");
    let bound =
        if is_guarded { Hub::bind(&endpoint, GuardConfig::for_workers()).await } else { Hub::bind_unguarded(&endpoint).await };
    let mut hub = bound.expect("a free port");
    listening.send(hub.endpoint().clone()).expect("the bench listens");
    let reply = Message::Cancel(Cancel { job: JobId(1), holder: None });
    let mut turn = Turn::default();
    loop {
        tokio::select! {
            event = hub.next() => if let HubEvent::Message(peer, message) = event && !matches!(message, Message::Heartbeat(_)) {
                hub.send(peer, &reply);
            },
            _ = &mut stopped => return,
        }
        turn.handled().await;
    }
}
