//! A picture of one strip as a server asks for it: over a connection of its own each time, and over one that is used again.

use std::{
    future::pending,
    time::{Duration, Instant},
};

use fractally_client::{Broker, RenderOptions, Sessions, WINDOW_BYTES, render, status};
use fractally_proto::{Epoch, JobKey, Priority, Request, Size, Window};
use fractally_testkit::{Broker as BrokerProcess, Lab, Worker};
use tokio::runtime::Runtime;

/// Prints what one render and one question take, `times` each, over Unix sockets and over TCP on the loopback.
pub(crate) fn compare(lab: &Lab, times: u32, runtime: &Runtime) {
    for (name, options) in [("ipc", &["--private"][..]), ("tcp", &["--client-port", "0", "--worker-port", "0"])] {
        let process = BrokerProcess::start_with(lab, options);
        let _worker = Worker::start(lab, &process, "w", 1);
        let new = broker(&process, None);
        let again = broker(&process, Some(Sessions::new(8)));
        runtime.block_on(async {
            let mut taken: [Vec<Duration>; 4] = Default::default();
            // In turn, so that a slow moment of the machine strikes both alike. The first are not counted.
            for nth in 0..times + times / 10 {
                let now = [draw(&new, 2 * nth).await, draw(&again, 2 * nth + 1).await, ask(&new).await, ask(&again).await];
                if nth >= times / 10 {
                    taken.iter_mut().zip(now).for_each(|(taken, now)| taken.push(now));
                }
            }
            let titles = ["render, a new connection", "render, used again", "status, a new connection", "status, used again"];
            for (title, mut taken) in titles.into_iter().zip(taken) {
                taken.sort_unstable();
                let us = |percent: usize| taken[(taken.len() * percent / 100).min(taken.len() - 1)].as_micros();
                println!("{name}: {title}: p50 {} us, p90 {} us, p99 {} us", us(50), us(90), us(99));
            }
        });
    }
}

fn broker(process: &BrokerProcess, sessions: Option<Sessions>) -> Broker {
    Broker {
        endpoint: process.clients.parse().expect("the broker says where it listens"),
        agent: "bench".to_owned(),
        account: None,
        epoch: Epoch(1),
        connect_timeout: Duration::from_secs(5),
        sessions,
    }
}

/// A tile of 256 x 256 that costs next to nothing.
async fn draw(broker: &Broker, key: u32) -> Duration {
    let size = Size { w: 256, h: 256 };
    let options = RenderOptions {
        broker: broker.clone(),
        key: JobKey(u128::from(key).to_le_bytes()),
        request: Request { size, window: Window::whole(size), iterations: 8, ..Request::default() },
        priority: Priority::Interactive,
        request_id: None,
        reconnect_for: Duration::ZERO,
        window_bytes: WINDOW_BYTES,
    };
    let started = Instant::now();
    render(&options, Vec::new(), |_| {}, pending()).await.expect("the grid renders");
    started.elapsed()
}

async fn ask(broker: &Broker) -> Duration {
    let started = Instant::now();
    status(broker).await.expect("the broker answers");
    started.elapsed()
}
