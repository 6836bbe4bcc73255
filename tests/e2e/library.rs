//! The client's library against real brokers, as a server uses it: connections that are used again, readers that are slow, pictures that
//! are wanted no longer.

use std::{
    fs,
    future::pending,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use fractally_client::{
    AttachOptions, Broker, KeepOptions, RenderError, RenderOptions, Sessions, WINDOW_BYTES, attach, cancel, file_len, find, keep,
    list, pipe, render, status,
};
use fractally_proto::{Encoding, Epoch, JobKey, JobState, Priority, Request, Size, Window};
use fractally_testkit::{Broker as BrokerProcess, DEADLINE, Lab, Worker, lasting_ports};
use tokio::sync::oneshot;

use crate::lab;

/// On the runtime of a server: tasks move between threads.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let within = async { tokio::time::timeout(DEADLINE, future).await };
    runtime.block_on(within).expect("what the broker owes comes in time")
}

fn new_key() -> JobKey {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    JobKey(u128::from(NEXT.fetch_add(1, Ordering::Relaxed)).to_le_bytes())
}

fn pooled(process: &BrokerProcess) -> (Broker, Sessions) {
    let sessions = Sessions::new(8);
    let broker = Broker {
        endpoint: process.clients.parse().unwrap(),
        agent: "library".to_owned(),
        account: Some("library".to_owned()),
        epoch: Epoch(1),
        connect_timeout: DEADLINE,
        sessions: Some(sessions.clone()),
    };
    (broker, sessions)
}

fn request(w: u32, h: u32, encoding: Encoding) -> Request {
    let size = Size { w, h };
    Request { c: [-0.4, 0.6], size, window: Window::whole(size), encoding, ..Request::default() }
}

/// Six strips of raw counts.
fn six_strips() -> Request {
    request(600, 600, Encoding::Counts)
}

/// What the command line makes of [`six_strips`].
fn six_strips_rendered(lab: &Lab) -> Vec<u8> {
    lab.render(["-c", "-0.4+0.6i", "--size", "600x600", "-o", "alone.npy"]);
    fs::read(lab.path("alone.npy")).unwrap()
}

fn render_options(broker: &Broker, request: Request) -> RenderOptions {
    let (broker, priority, reconnect_for) = (broker.clone(), Priority::Interactive, Duration::ZERO);
    RenderOptions { broker, key: new_key(), request, priority, request_id: None, reconnect_for, window_bytes: WINDOW_BYTES }
}

fn keep_options(broker: &Broker, request: Request) -> KeepOptions {
    let (broker, priority, reconnect_for) = (broker.clone(), Priority::Normal, Duration::ZERO);
    KeepOptions { broker, key: new_key(), request, priority, reconnect_for, holder: None, request_id: None }
}

/// Clients that the broker knows, asked over the pool.
async fn clients(broker: &Broker) -> u32 {
    status(broker).await.unwrap().broker.clients
}

#[test]
fn a_server_asks_many_things_over_one_connection() {
    let lab = lab();
    let process = BrokerProcess::keeping(&lab, "state", &[]);
    let _worker = Worker::start(&lab, &process, "w", 1);
    let alone = six_strips_rendered(&lab);
    let (broker, sessions) = pooled(&process);
    block_on(async {
        for _ in 0..3 {
            let rendered = render(&render_options(&broker, six_strips()), Vec::new(), |_| {}, pending()).await.unwrap();
            assert!(rendered.out == alone);
        }
        let kept = keep(&keep_options(&broker, six_strips()), |_| {}, pending()).await.unwrap();
        // The same job twice over one connection.
        for _ in 0..2 {
            let (broker, window_bytes) = (broker.clone(), 1 << 20);
            let options = AttachOptions {
                broker,
                job: kept.job,
                only_if_done: false,
                reconnect_for: Duration::ZERO,
                request: Some(six_strips()),
                window_bytes,
            };
            let attached = attach(&options, |_| Ok(Vec::new()), |_| {}, pending()).await.unwrap();
            assert!(attached.out == alone);
        }
        let found = find(&broker, &[request(9, 9, Encoding::Png).content(), six_strips().content()]).await.unwrap();
        let [job] = &found[..] else { panic!("{found:?}") };
        assert_eq!((job.job, job.state), (kept.job, JobState::Done));
        let all: Vec<_> = list(&broker).await.unwrap().jobs.into_iter().map(|job| job.job).collect();
        assert_eq!(all, [kept.job]);
        // Raw counts are as long as they are.
        assert_eq!(file_len(&six_strips(), 4 * 600 * 600), alone.len() as u64);
        // It is over: the broker says so and nothing else.
        cancel(&broker, kept.job).await.unwrap();
        let refused =
            render(&render_options(&broker, Request { iterations: 0, ..six_strips() }), Vec::new(), |_| {}, pending()).await;
        assert!(matches!(refused, Err(RenderError::Refused(_))));
        // One that was idle for long, on a slow machine, may be about to leave.
        while clients(&broker).await != 1 {}
        assert_eq!(sessions.idle(), 1);
    });
}

#[test]
fn a_broker_that_was_started_again_costs_a_server_no_error() {
    let lab = lab();
    let ports = lasting_ports();
    let process = BrokerProcess::start_on(&lab, &ports);
    let (broker, sessions) = pooled(&process);
    block_on(async {
        // Two connections are left behind.
        let (one, two) = tokio::join!(status(&broker), status(&broker));
        one.and(two).unwrap();
        assert_eq!(sessions.idle(), 2);
        process.die();
        let process = BrokerProcess::start_on(&lab, &ports);
        let _worker = Worker::start(&lab, &process, "w", 1);
        let rendered = render(&render_options(&broker, six_strips()), Vec::new(), |_| {}, pending()).await.unwrap();
        assert_eq!(rendered.reconnects, 0, "that connection was not this picture's");
        while clients(&broker).await != 1 {}
    });
}

#[test]
fn a_picture_that_is_stopped_frees_the_grid_and_its_connection() {
    let lab = lab();
    let process = BrokerProcess::start(&lab);
    let _worker = Worker::start(&lab, &process, "w", 1);
    let (broker, sessions) = pooled(&process);
    // In the Siegel disk of the golden mean: see LONG.
    let long = Request {
        c: [-0.390_540_870_218_399, -0.586_787_907_346_969],
        center: [-0.368_684_439, -0.337_745_147],
        width: 0.2,
        iterations: 900_000_000,
        ..request(700, 700, Encoding::Png)
    };
    block_on(async {
        let (stop, stopped) = oneshot::channel::<()>();
        let options = render_options(&broker, long);
        let mut stop = Some(stop);
        let on_event = |_| drop(stop.take());
        let ended = render(&options, Vec::new(), on_event, async { _ = stopped.await }).await;
        assert!(matches!(ended, Err(RenderError::Stopped)));
        assert_eq!((sessions.in_use(), sessions.idle()), (0, 1));
        let now = status(&broker).await.unwrap();
        assert!(now.jobs.is_empty(), "{now:?}");
        // Nobody reads it: the same by the other end.
        let (writer, reader) = pipe(1);
        drop(reader);
        let ended = render(&render_options(&broker, six_strips()), writer, |_| {}, pending()).await;
        assert!(matches!(ended, Err(RenderError::Assemble(_))));
        assert!(status(&broker).await.unwrap().jobs.is_empty());
    });
}

/// A browser that stands still for longer than the broker would wait for a client that says nothing.
#[test]
fn a_reader_that_stands_still_keeps_its_connection_and_holds_the_grid_back() {
    let lab = lab();
    let process = BrokerProcess::start(&lab);
    let _worker = Worker::start(&lab, &process, "w", 1);
    let alone = six_strips_rendered(&lab);
    let (broker, _sessions) = pooled(&process);
    block_on(async {
        let options = RenderOptions { window_bytes: 1, ..render_options(&broker, six_strips()) };
        let (writer, mut reader) = pipe(1);
        let rendering = tokio::spawn(async move {
            let rendered = render(&options, writer, |_| {}, pending()).await.unwrap();
            rendered.out.finish();
            rendered.reconnects
        });
        let mut read = reader.next().await.unwrap().unwrap().to_vec();
        // Silence of 4 s would end the session.
        tokio::time::sleep(Duration::from_secs(6)).await;
        let now = status(&broker).await.unwrap();
        let [job] = &now.jobs[..] else { panic!("{now:?}") };
        assert!(job.attached && job.rows_done < 600, "{job:?}");
        while let Some(chunk) = reader.next().await {
            read.extend_from_slice(&chunk.unwrap());
        }
        assert!(read == alone);
        assert_eq!(rendering.await.unwrap(), 0, "its connection was never lost");
    });
}
