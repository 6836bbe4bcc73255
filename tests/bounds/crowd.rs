//! Puppets by the hundred: workers that wait, workers that answer at once, and a client that follows a job to its end.

use bytes::Bytes;
use fractally_proto::{Ack, Encoding, Layout, Lease, LeaseKind, Message, Priority, Request, Size, StripMeta, Tile, Window};
use fractally_testkit::{Puppet, puppet_submit, puppet_worker};
use tokio::task::JoinSet;

/// What a band without work claims to have taken, in nanoseconds: long enough that the next one is no larger.
const CLAIMED_NS: u64 = 1_000_000_000_000;
/// Connections that are being made at the same time.
const CONNECTING_MAX: usize = 16;

/// What a busy worker's tiles hold.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    /// One byte a strip.
    Nothing,
    /// As many bytes as raw counts have.
    Raw,
}

/// Connects workers of one thread, and lets each live as `life` says, until this future is dropped.
pub(crate) async fn connect_workers<F>(endpoint: String, workers: usize, credit: u32, life: impl Fn(Puppet) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut lives = JoinSet::new();
    let mut connecting = JoinSet::new();
    for number in 0..workers {
        if connecting.len() >= CONNECTING_MAX {
            lives.spawn(life(connecting.join_next().await.expect("one is connecting").expect("it connects")));
        }
        let endpoint = endpoint.clone();
        connecting
            .spawn(async move { Puppet::worker(&endpoint, puppet_worker(&format!("puppet-{number}"), "puppet", credit)).await });
    }
    while let Some(puppet) = connecting.join_next().await {
        lives.spawn(life(puppet.expect("it connects")));
    }
    while let Some(ended) = lives.join_next().await {
        ended.expect("a puppet does not panic");
    }
}

/// Does nothing but live.
pub(crate) async fn idle(mut puppet: Puppet) {
    while puppet.hear().await.is_some() {}
}

/// Answers every lease at once.
pub(crate) async fn busy(mut puppet: Puppet, answer: Answer) {
    while let Some(lease) = puppet.hear_lease().await {
        puppet.say(&tile(&lease, answer)).await;
    }
}

fn tile(lease: &Lease, answer: Answer) -> Message {
    let LeaseKind::Band { first, strips } = lease.kind else { unreachable!("probes are declined") };
    let layout = Layout::of(&lease.request);
    let len = |strip| match answer {
        Answer::Nothing => 1,
        Answer::Raw => {
            let rows = layout.rows_of(strip);
            u32::try_from(u64::from(rows.end - rows.start) * lease.request.encoding.row_bytes(lease.request.window.w)).unwrap()
        }
    };
    let strips: Vec<_> = (first..first + strips).map(|strip| StripMeta(len(strip), 1)).collect();
    let payload = Bytes::from(vec![0; strips.iter().map(|meta| meta.encoded_len() as usize).sum()]);
    let crc32 = crc32fast::hash(&payload);
    let attempt = lease.attempt;
    Message::Tile(Tile { attempt, iterations: 1, executed: None, compute_ns: CLAIMED_NS, crc32, strips }, payload)
}

/// A client that has said HELLO.
pub(crate) async fn client(endpoint: &str) -> Puppet {
    Puppet::client(endpoint).await
}

/// Submits, acknowledges, and gives the number of attempts.
pub(crate) async fn render(client: &mut Puppet, key: u128, request: Request) -> u64 {
    client.say(&Message::Submit(puppet_submit(key, request, Priority::Interactive))).await;
    loop {
        match client.hear().await.expect("the broker stays") {
            Message::Strips(strips, _) => {
                let have = strips.first + u32::try_from(strips.strips.len()).unwrap();
                client.say(&Message::Ack(Ack { job: strips.job, have })).await;
            }
            Message::Done(done) => return done.attempts,
            Message::Refused(refused) => panic!("{}", refused.refusal),
            Message::Failed(failed) => panic!("{}", failed.reason),
            _ => {}
        }
    }
}

/// Counts, a row of which is a strip of 256 KiB.
pub(crate) fn wide_counts(rows: u32) -> Request {
    let size = Size { w: 65_536, h: rows };
    Request {
        center: [0.01, 0.0],
        size,
        window: Window::whole(size),
        iterations: 1,
        encoding: Encoding::Counts,
        ..Request::default()
    }
}
