//! What the grid itself costs: bands with no work in them, and the round trip of a job of one band.
//!
//! The broker is the real process. Here stand workers and a client that speak the protocol and compute nothing: a worker answers
//! each lease at once with a tile of one byte a strip, and says that it took long, so that the broker cuts bands of one strip.

use std::time::{Duration, Instant};

use bytes::Bytes;
use fractally_proto::{
    Ack, Encoding, Epoch, Hello, JobKey, LeaseKind, Message, Priority, Request, RowSample, Samples, StripMeta, Submit, Tile,
    WorkerHello,
};
use fractally_testkit::{Broker, Lab, Worker, one_pixel, rows_as_strips};
use fractally_transport::{Link, Turn};

use crate::Spread;

const TIMEOUT: Duration = Duration::from_secs(5);
/// What a band without work claims to have taken, in nanoseconds: long enough that the next one is no larger.
const CLAIMED_NS: u64 = 1_000_000_000_000;

/// Broker CPU and wall time for each band without work, of a picture of `strips` strips, at each credit.
pub(crate) fn no_op_bands(lab: &Lab, strips: u32, runtime: &tokio::runtime::Runtime) {
    for credit in [1, 2, 4, 8] {
        let broker = Broker::start_with(lab, &["--private", "--no-op", "--log", "warn"]);
        let before = broker.process.cpu_time();
        let started = Instant::now();
        let attempts = runtime.block_on(async {
            tokio::select! {
                attempts = render(&broker, rows_as_strips(strips)) => attempts,
                () = no_op_worker(&broker, credit, 1) => unreachable!("workers go on for ever"),
                () = no_op_worker(&broker, credit, 2) => unreachable!("workers go on for ever"),
            }
        });
        let (wall, cpu) = (started.elapsed().as_secs_f64(), (broker.process.cpu_time() - before).as_secs_f64());
        let each = |seconds: f64| seconds * 1e6 / attempts as f64;
        println!(
            "bands without work, two workers, credit {credit}: {attempts} bands, broker {:.1} us of CPU a band, {:.0} bands/s",
            each(cpu),
            attempts as f64 / wall
        );
    }
}

/// A picture of one pixel, on an open connection: until it is there, and until it is acknowledged and DONE.
pub(crate) fn round_trip(lab: &Lab, runs: usize, runtime: &tokio::runtime::Runtime) {
    let broker = Broker::start_with(lab, &["--private", "--log", "warn"]);
    let worker = Worker::start(lab, &broker, "w", 1);
    broker.await_status(lab, "the worker is there", |status| worker.row(status).is_some());
    let times = runtime.block_on(async {
        let mut link = client(&broker).await;
        let (mut pictures, mut ends) = (Vec::with_capacity(runs), Vec::with_capacity(runs));
        for run in 0..runs {
            let started = Instant::now();
            follow(&mut link, one_pixel(), run as u128, || pictures.push(started.elapsed())).await;
            ends.push(started.elapsed());
        }
        [("from SUBMIT to STRIPS", pictures), ("from SUBMIT to DONE", ends)]
    });
    for (name, times) in times {
        let spread = Spread::of(times);
        let [median, least, most] = [spread.median, spread.least, spread.most].map(|seconds| seconds * 1e3);
        println!("a job of one band, {name}: {median:.3} ms ({least:.3}, {most:.3})");
    }
}

pub(crate) async fn client(broker: &Broker) -> Link {
    let endpoint = broker.clients.parse().expect("the broker says where it listens");
    let mut link = Link::connect(&endpoint, TIMEOUT).await.expect("the broker listens");
    say(&mut link, &Message::Hello(Hello { agent: "bench".to_owned(), epoch: Epoch(0), account: None, worker: None })).await;
    link
}

async fn render(broker: &Broker, request: Request) -> u64 {
    follow(&mut client(broker).await, request, 0, || ()).await
}

/// Submits, acknowledges, and gives the number of bands.
async fn follow(link: &mut Link, request: Request, key: u128, mut on_strips: impl FnMut()) -> u64 {
    let submit = Submit {
        key: JobKey(key.to_le_bytes()),
        priority: Priority::Interactive,
        have: 0,
        engine: None,
        window_bytes: 16 << 20,
        request_id: None,
        request,
    };
    say(link, &Message::Submit(submit)).await;
    let mut turn = Turn::default();
    loop {
        match link.next().await.expect("the broker stays") {
            Message::Strips(strips, _) => {
                on_strips();
                let have = strips.first + u32::try_from(strips.strips.len()).expect("few strips");
                say(link, &Message::Ack(Ack { job: strips.job, have })).await;
            }
            Message::Done(done) => return done.attempts,
            Message::Refused(refused) => panic!("{}", refused.refusal),
            Message::Failed(failed) => panic!("{}", failed.reason),
            _ => {}
        }
        acknowledge(link).await;
        turn.handled().await;
    }
}

/// Answers every lease at once, for ever.
async fn no_op_worker(broker: &Broker, credit: u32, epoch: u64) {
    let endpoint = broker.workers.parse().expect("the broker says where it listens");
    let mut link = Link::connect(&endpoint, TIMEOUT).await.expect("the broker listens");
    let worker = WorkerHello {
        name: format!("no-op-{epoch}"),
        engine: "no-op".to_owned(),
        kernel: "none".to_owned(),
        threads: 1,
        credit,
        encodings: vec![Encoding::Png],
    };
    say(
        &mut link,
        &Message::Hello(Hello { agent: "bench".to_owned(), epoch: Epoch(epoch), account: None, worker: Some(worker) }),
    )
    .await;
    let mut turn = Turn::default();
    loop {
        if let Message::Lease(lease) = link.next().await.expect("the broker stays") {
            let compute_ns = CLAIMED_NS;
            let answer = match lease.kind {
                LeaseKind::Probe(_) => {
                    let row = RowSample { row: 0, pixels: 1, iterations: 1 };
                    Message::Samples(Samples { attempt: lease.attempt, compute_ns }, RowSample::encode(&[row]))
                }
                LeaseKind::Band { strips, .. } => {
                    let payload = Bytes::from(vec![0; strips as usize]);
                    let crc32 = crc32fast::hash(&payload);
                    let strips = vec![StripMeta(1, 1); strips as usize];
                    Message::Tile(
                        Tile { attempt: lease.attempt, iterations: 1, executed: None, compute_ns, crc32, strips },
                        payload,
                    )
                }
            };
            say(&mut link, &answer).await;
        }
        acknowledge(&mut link).await;
        turn.handled().await;
    }
}

pub(crate) async fn say(link: &mut Link, message: &Message) {
    link.send(message).await.expect("the broker stays");
}

/// Sends heartbeats as often as acknowledgements are due, which in a benchmark is often enough for the rest as well.
pub(crate) async fn acknowledge(link: &mut Link) {
    if link.is_ack_due() {
        link.heartbeat(Vec::new()).await.expect("the broker stays");
    }
}
