//! Neighbours that speak the protocol well and mean it ill, or have lost the thread: tiles said twice, too late, or wrong; another
//! engine; broken words in the middle of a good session; and those who do not listen. Each costs itself the connection at the most;
//! the renders beside it come out byte for byte.

use std::{
    fs,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use fractally_fractal::ENGINE_ID;
use fractally_proto::{
    Ack, AttemptId, BandProgress, Epoch, ErrorCode, Heartbeat, Hello, JobId, Layout, Lease, LeaseKind, Message, Priority,
    Request, Size, StripMeta, Tile, Window,
};
use fractally_testkit::{Broker, Lab, Process, Puppet, Worker, eventually, puppet_submit, puppet_worker};
use serde_json::Value;

use crate::{
    LONG, lab,
    peers::{dealer, read_to_end, send},
};

/// Every count is 1: anybody can tell its strips without computing, and a wrong byte is seen at once. It is not its own mirror image, so
/// each lease asks for one band.
const FLAT: [&str; 8] = ["--center", "0.01", "--width", "0.2", "--size", "1000x700", "--iter", "1"];
const FLAT_ROW_BYTES: usize = 4 * 1000;
const FLAT_ROWS: usize = 700;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let within = async { tokio::time::timeout(fractally_testkit::DEADLINE, future).await };
    runtime.block_on(within).expect("what the broker owes the puppet comes in time")
}

fn start(lab: &Lab, broker: &Broker, scene: &[&str], file: &str) -> Process {
    let args = ["render", "--json", "--broker", &broker.clients, "-o", file];
    lab.start(lab.command(args.iter().chain(scene)))
}

/// The counts of [`FLAT`], without the head of the file.
fn expect_flat(lab: &Lab, file: &str) {
    let bytes = fs::read(lab.path(file)).unwrap();
    let counts = &bytes[bytes.len() - FLAT_ROW_BYTES * FLAT_ROWS..];
    assert!(counts.chunks(4).all(|count| count == 1_u32.to_le_bytes()), "a stranger's bytes are in the picture");
}

/// SHA-256 of [`LONG`], rendered where nobody disturbs it.
fn long_undisturbed() -> &'static str {
    static SUM: OnceLock<String> = OnceLock::new();
    SUM.get_or_init(|| {
        let report = lab().render(LONG.iter().chain(&["--workers", "1"]));
        report["sha256"].as_str().unwrap().to_owned()
    })
}

/// A tile of [`FLAT`] in which every count is `count`, with all lengths and sums as they must be.
fn flat_tile(lease: &Lease, count: u32) -> (Tile, Vec<u8>) {
    let LeaseKind::Band { first, strips } = lease.kind else { panic!("a band was leased") };
    let layout = Layout::of(&lease.request);
    let (mut payload, mut metas) = (Vec::new(), Vec::new());
    for strip in first..first + strips {
        let rows = layout.rows_of(strip).len();
        let raw = count.to_le_bytes().repeat(rows * FLAT_ROW_BYTES / 4);
        metas.push(StripMeta(u32::try_from(raw.len()).unwrap(), adler32(&raw)));
        payload.extend(raw);
    }
    let crc32 = crc32fast::hash(&payload);
    (Tile { attempt: lease.attempt, iterations: 1, executed: None, compute_ns: 1_000_000, crc32, strips: metas }, payload)
}

/// RFC 1950.
fn adler32(bytes: &[u8]) -> u32 {
    let (low, high) = bytes.iter().fold((1, 0), |(low, high), &byte| {
        let low = (low + u32::from(byte)) % 65_521;
        (low, (high + low) % 65_521)
    });
    high << 16 | low
}

/// Waits for something that takes its time, while the puppet lives on and is told nothing.
async fn beside<T: Send + 'static>(puppet: &mut Puppet, wait: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::select! {
        heard = puppet.hear() => panic!("nothing was to be said to the puppet: {heard:?}"),
        done = tokio::task::spawn_blocking(wait) => done.unwrap(),
    }
}

/// Hears messages until the connection ends; gives the ERROR that came before.
async fn hear_the_end(puppet: &mut Puppet) -> Option<ErrorCode> {
    let mut code = None;
    while let Some(message) = puppet.hear().await {
        if let Message::Error(error) = message {
            code = Some(error.code);
        }
    }
    code
}

#[test]
fn a_tile_said_twice_counts_once() {
    let lab = lab();
    let broker = Broker::start(&lab);
    let render = start(&lab, &broker, &FLAT, "a.npy");
    block_on(async {
        let mut doubler = Puppet::worker(&broker.workers, puppet_worker("doubler", ENGINE_ID, 1)).await;
        let lease = doubler.hear_lease().await.unwrap();
        let (tile, payload) = flat_tile(&lease, 1);
        let tile = Message::Tile(tile, payload.into());
        doubler.say(&tile).await;
        doubler.say(&tile).await;
        assert_eq!(hear_the_end(&mut doubler).await, Some(ErrorCode::Unexpected));
    });
    let honest = Worker::start(&lab, &broker, "honest", 1);
    let report = render.wait().report();
    assert_eq!(report["workers"], 2, "the first of the two counted: {report}");
    expect_flat(&lab, "a.npy");
    let status = broker.status(&lab);
    assert_eq!(honest.row(&status).unwrap()["bands_failed"], 0);
}

#[test]
fn a_tile_after_its_lease_changes_nothing() {
    let lab = lab();
    let broker = Broker::start(&lab);
    let render = start(&lab, &broker, &FLAT, "a.npy");
    block_on(async {
        let mut dreamer = Puppet::worker(&broker.workers, puppet_worker("dreamer", ENGINE_ID, 1)).await;
        let lease = dreamer.hear_lease().await.unwrap();
        let attempt = lease.attempt;
        let honest = Worker::start(&lab, &broker, "honest", 1);
        // It lives, and gets nowhere: in the end the broker asks for the band back.
        dreamer.bands = vec![BandProgress(attempt, 1)];
        while !matches!(dreamer.hear().await.unwrap(), Message::Withdraw(withdraw) if withdraw.attempt == attempt) {}
        let (tile, payload) = flat_tile(&lease, 7);
        dreamer.bands.clear();
        dreamer.say(&Message::Tile(tile, payload.into())).await;
        let report = beside(&mut dreamer, move || render.wait().report()).await;
        assert_eq!(report["workers"], 1, "{report}");
        // The late answer gave the credit back, so the next picture is leased to the dreamer, too.
        drop(honest);
        let next = start(&lab, &broker, &FLAT, "b.npy");
        let lease = dreamer.hear_lease().await.unwrap();
        let (tile, payload) = flat_tile(&lease, 1);
        dreamer.say(&Message::Tile(tile, payload.into())).await;
        let _honest = Worker::start(&lab, &broker, "honest-again", 1);
        drop(dreamer);
        next.wait().report();
    });
    expect_flat(&lab, "a.npy");
    expect_flat(&lab, "b.npy");
}

#[test]
fn wrong_tiles_cost_their_worker_the_connection_and_the_picture_nothing() {
    type Lie = fn(&mut Tile, &mut Vec<u8>);
    const LIES: [(&str, Lie); 7] = [
        ("checksum", |tile, _| tile.crc32 ^= 1),
        ("a changed byte", |_, payload| payload[17] ^= 1),
        ("too short", |_, payload| {
            payload.pop();
        }),
        ("too long", |_, payload| payload.push(0)),
        ("a strip too few", |tile, _| {
            tile.strips.pop();
        }),
        ("a strip too many", |tile, _| tile.strips.push(StripMeta(0, 1))),
        ("another attempt", |tile, _| tile.attempt = AttemptId(tile.attempt.0 ^ 1 << 63)),
    ];
    let lab = lab();
    let broker = Broker::start(&lab);
    for (index, (what, lie)) in LIES.into_iter().enumerate() {
        let file = format!("{index}.npy");
        let render = start(&lab, &broker, &FLAT, &file);
        block_on(async {
            let mut liar = Puppet::worker(&broker.workers, puppet_worker("liar", ENGINE_ID, 1)).await;
            let lease = liar.hear_lease().await.unwrap();
            // Also the counts are wrong, so that a lie that is believed shows.
            let (mut tile, mut payload) = flat_tile(&lease, 7);
            lie(&mut tile, &mut payload);
            liar.say(&Message::Tile(tile, Bytes::from(payload))).await;
            assert!(hear_the_end(&mut liar).await.is_some(), "{what}: nobody told the liar");
        });
        let honest = Worker::start(&lab, &broker, "honest", 1);
        let report = render.wait().report();
        assert_eq!(report["workers"], 1, "{what}: {report}");
        expect_flat(&lab, &file);
        assert_eq!(honest.row(&broker.status(&lab)).unwrap()["bands_failed"], 0, "{what}");
        honest.process.terminate();
        honest.process.wait();
    }
}

#[test]
fn a_worker_with_another_engine_never_mixes_into_a_job() {
    let grid = Arc::new({
        let lab = lab();
        (Broker::start(&lab), lab)
    });
    let (broker, lab) = &*grid;
    let undisturbed = long_undisturbed();
    let await_workers = |count| {
        let grid = Arc::clone(&grid);
        let is_so = move |status: &Value| status["workers"].as_array().map(Vec::len) == Some(count);
        move || grid.0.await_status(&grid.1, "so many workers are there", is_so)
    };
    let honest = Worker::start(lab, broker, "honest", 1);
    let render = start(lab, broker, &LONG, "a.png");
    broker.await_status(lab, "the honest worker works", |status| honest.holds_a_band(status));
    block_on(async {
        let mut foreigner = Puppet::worker(&broker.workers, puppet_worker("foreigner", "elsewhere-1", 1)).await;
        tokio::select! {
            // A probe may be asked of anybody; bands may not.
            lease = foreigner.hear_lease() => panic!("the job has an engine, and it is not this one's: {lease:?}"),
            run = tokio::task::spawn_blocking(move || render.wait()) => {
                let report = run.unwrap().report();
                assert_eq!((report["sha256"].as_str(), report["engine"].as_str()), (Some(undisturbed), Some(ENGINE_ID)));
            }
        }
        // A job that no engine has yet is anybody's; then it is this engine's to the end, and the others stay out.
        drop(honest);
        beside(&mut foreigner, await_workers(1)).await;
        let next = start(lab, broker, &FLAT, "b.npy");
        let mut lease = foreigner.hear_lease().await.unwrap();
        let _honest = Worker::start(lab, broker, "honest-again", 1);
        foreigner.bands = vec![BandProgress(lease.attempt, 1)];
        beside(&mut foreigner, await_workers(2)).await;
        let ended = tokio::task::spawn_blocking(move || next.wait());
        tokio::pin!(ended);
        let report = loop {
            let (tile, payload) = flat_tile(&lease, 1);
            foreigner.bands.clear();
            foreigner.say(&Message::Tile(tile, payload.into())).await;
            tokio::select! {
                next = foreigner.hear_lease() => lease = next.unwrap(),
                run = &mut ended => break run.unwrap().report(),
            }
        };
        assert_eq!((report["engine"].as_str(), report["workers"].as_u64()), (Some("elsewhere-1"), Some(1)));
    });
    expect_flat(lab, "b.npy");
}

fn hello(name: Option<&str>) -> Message {
    let worker = name.map(|name| puppet_worker(name, "elsewhere-1", 1));
    Message::Hello(Hello { agent: "stranger".to_owned(), epoch: Epoch(3), account: None, worker })
}

/// As `peers.rs` has it for the first words of a connection, here for those after a good HELLO.
#[test]
fn broken_words_in_a_good_session_end_it_and_no_render_beside_it() {
    let lab = lab();
    let broker = Broker::start(&lab);
    let honest = Worker::start(&lab, &broker, "honest", 1);
    let render = start(&lab, &broker, &LONG, "a.png");
    broker.await_status(&lab, "the honest worker works", |status| honest.holds_a_band(status));
    let with = |message: &Message, change: fn(&mut Vec<Bytes>)| {
        let mut all = message.encode();
        change(&mut all);
        all
    };
    let attempt = AttemptId(5);
    let tile = Message::Tile(
        Tile { attempt, iterations: 1, executed: None, compute_ns: 1, crc32: 0, strips: vec![StripMeta(1, 1)] },
        Bytes::from_static(&[0]),
    );
    let beat = Message::Heartbeat(Heartbeat::default());
    let submit = Message::Submit(puppet_submit(1, Request::default(), Priority::Batch));
    let ahead = Message::Heartbeat(Heartbeat { seen: 1 << 60, bands: Vec::new() });
    let cases: Vec<(&str, Vec<Bytes>, &str)> = vec![
        ("another version", with(&beat, |all| all[0] = Bytes::from_static(b"FRLY\x02")), "version"),
        ("no version", with(&beat, |all| all[0] = Bytes::from_static(b"FRLY")), "malformed"),
        ("a frame less", with(&beat, |all| drop(all.pop())), "malformed"),
        ("a payload too many", with(&beat, |all| all.push(Bytes::from_static(b"x"))), "malformed"),
        ("two payloads", with(&tile, |all| all.extend([Bytes::new(), Bytes::new()])), "malformed"),
        ("half a header", with(&tile, |all| all[2].truncate(9)), "malformed"),
        ("garbage", with(&beat, |all| all[2] = Bytes::from(vec![0xc1; 300])), "malformed"),
        ("a header over its limit", with(&beat, |all| all[2] = Bytes::from(vec![0x80; 4097])), "malformed"),
        ("a payload over its limit", with(&tile, |all| all[3] = Bytes::from(vec![0; 8 * 1024 * 1024 + 1])), "malformed"),
        ("HELLO again", hello(None).encode(), "unexpected"),
        ("what only a broker says", Message::Done(done()).encode(), "unexpected"),
        ("a report", Message::StatusReport(Bytes::from_static(b"\x80")).encode(), "unexpected"),
        ("more seen than sent", ahead.encode(), ""),
    ];
    let of_workers =
        vec![("a tile of nobody's", tile.encode(), "unexpected"), ("a worker's SUBMIT", submit.encode(), "unexpected")];
    let of_clients = vec![("a client's tile", tile.encode(), "unexpected")];
    for (endpoint, name, own) in [(&broker.workers, Some("stranger"), of_workers), (&broker.clients, None, of_clients)] {
        for (what, words, code) in cases.iter().chain(&own) {
            let mut stream = dealer(endpoint);
            for message in [hello(name).encode(), words.clone()] {
                // Of a long one the broker may have had enough before its end.
                let _ = send(&mut stream, &message);
            }
            let said = read_to_end(stream);
            assert!(said.contains(code), "{what} at {endpoint}: {said:?}");
        }
    }
    assert_eq!(render.wait().report()["sha256"], long_undisturbed());
    assert_eq!(honest.row(&broker.status(&lab)).unwrap()["bands_failed"], 0);
}

fn done() -> fractally_proto::Done {
    let (job, engine) = (JobId(1), String::new());
    fractally_proto::Done { job, engine, iterations: 0, compute_ns: 0, elapsed_ms: 0, bands: 0, attempts: 0, workers: 0 }
}

#[test]
fn an_answer_about_a_job_of_somebody_else_is_passed_over() {
    let lab = lab();
    let broker = Broker::start(&lab);
    let honest = Worker::start(&lab, &broker, "honest", 1);
    let render = start(&lab, &broker, &LONG, "a.png");
    let status = broker.await_status(&lab, "the honest worker works", |status| honest.holds_a_band(status));
    let job = JobId(status["jobs"][0]["job"].as_u64().unwrap());
    block_on(async {
        let mut thief = Puppet::client(&broker.clients).await;
        thief.say(&Message::Ack(Ack { job, have: 3 })).await;
        thief.say(&Message::Cancel(fractally_proto::Cancel { job, holder: None })).await;
        thief.say(&Message::StatusQuery).await;
        while !matches!(thief.hear().await.unwrap(), Message::StatusReport(_)) {}
    });
    assert_eq!(render.wait().report()["sha256"], long_undisturbed());
}

/// One says nothing more after it has got work; the other asks for strips without end and reads none of them, though it says in
/// time that it lives.
#[test]
fn peers_that_do_not_listen_hold_up_nobody() {
    let lab = lab();
    let broker = Broker::start(&lab);
    let mut deaf_worker = dealer(&broker.workers);
    let mut deaf_client = dealer(&broker.clients);
    let size = Size { w: 60_000, h: 60_000 };
    let much = Request { size, window: Window::whole(size), iterations: 1, ..Request::default() };
    send(&mut deaf_client, &hello(None).encode()).unwrap();
    send(&mut deaf_client, &Message::Submit(puppet_submit(9, much, Priority::Batch)).encode()).unwrap();
    let mut deaf_hello = hello(Some("deaf"));
    if let Message::Hello(Hello { worker: Some(about), .. }) = &mut deaf_hello {
        ENGINE_ID.clone_into(&mut about.engine);
    }
    send(&mut deaf_worker, &deaf_hello.encode()).unwrap();
    broker.await_status(&lab, "both are there", |status| {
        status["workers"][0]["leases"].as_u64() > Some(0) && status["jobs"].as_array().is_some_and(|jobs| jobs.len() == 1)
    });
    let _honest = Worker::start(&lab, &broker, "honest", 1);
    let render = start(&lab, &broker, &LONG, "a.png");
    assert_eq!(render.wait().report()["sha256"], long_undisturbed());
    eventually("the deaf are sent away", || {
        // When it has been sent away it cannot say so any more.
        let _ = send(&mut deaf_client, &Message::Heartbeat(Heartbeat::default()).encode());
        std::thread::sleep(Duration::from_millis(200));
        let status = broker.status(&lab);
        let names: Vec<_> = status["workers"].as_array()?.iter().map(|worker| worker["name"].clone()).collect();
        let is_detached = status["jobs"].as_array()?.iter().all(|job| job["attached"] == false);
        (names == ["honest"] && is_detached).then_some(())
    });
    // And its half-made picture is in nobody's way.
    lab.render(["--broker", &broker.clients, "--size", "50x50"]);
}
