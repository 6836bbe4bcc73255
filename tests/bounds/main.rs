//! What a broker costs at its bounds: memory under a crowd of idle workers, under a client that stops reading, and over very many
//! jobs; time for each band under a crowd of busy workers. The broker is the real process, its peers are puppets of this one.
//!
//! In an ordinary test run the crowds are small. `FRACTALLY_BOUNDS=full cargo test --release --test bounds -- --nocapture
//! --test-threads 1` has 1,000 workers and 100,000 jobs, and prints the figures. What is asserted is that memory is bounded; times
//! are only told.

#![allow(clippy::unwrap_used, reason = "a test")]
#![expect(clippy::disallowed_methods, reason = "times are measured")]

mod crowd;

use std::time::Instant;

use crowd::{Answer, busy, client, connect_workers, idle, render, wide_counts};
use fractally_proto::{Message, Priority};
use fractally_testkit::{Broker, Lab, allow_open_files, eventually, one_pixel, puppet_submit, rows_as_strips};
use tokio::runtime::Runtime;

const MIB: f64 = 1024.0 * 1024.0;

/// What a broker may take under 1,000 workers that have nothing to do.
const IDLE_MIB_MAX: f64 = 32.0;

fn is_full() -> bool {
    std::env::var("FRACTALLY_BOUNDS").is_ok_and(|value| value == "full")
}

fn lab() -> Lab {
    Lab::new(env!("CARGO_BIN_EXE_fractally"))
}

fn start(lab: &Lab) -> Broker {
    Broker::start_with(lab, &["--client-port", "0", "--worker-port", "0", "--log", "warn"])
}

/// The puppets' thread; the test's own one asks for the status meanwhile.
fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}

#[test]
fn idle_workers_cost_little() {
    let workers = if is_full() { 1000 } else { 100 };
    allow_open_files(4 * workers as u64 + 200);
    let lab = lab();
    let broker = start(&lab);
    let [before, _] = broker.process.memory();
    let runtime = runtime();
    let crowd = runtime.spawn(connect_workers(broker.workers.clone(), workers, 2, idle));
    broker.await_status(&lab, "everybody has been there for some heartbeats", |status| {
        let rows = status["workers"].as_array().unwrap();
        rows.len() == workers && rows.iter().all(|row| row["connected_ms"].as_u64() > Some(3000))
    });
    let [_, at_first] = broker.process.memory();
    broker.await_status(&lab, "some more heartbeats", |status| {
        status["workers"].as_array().unwrap().iter().all(|row| row["connected_ms"].as_u64() > Some(6000))
    });
    let [now, most] = broker.process.memory();
    println!(
        "{workers} idle workers: {:.1} MiB, at the most {:.1} MiB ({:.1} MiB without any)",
        mib(now),
        mib(most),
        mib(before)
    );
    assert!(mib(most) < IDLE_MIB_MAX, "idle workers cost too much");
    assert!(mib(most) < mib(at_first) + 4.0, "heartbeats pile up");
    crowd.abort();
}

#[test]
fn a_client_that_stops_reading_costs_no_more_than_its_job_may() {
    let lab = lab();
    let broker = start(&lab);
    let [before, _] = broker.process.memory();
    let runtime = runtime();
    let crowd = runtime.spawn(connect_workers(broker.workers.clone(), 4, 4, |puppet| busy(puppet, Answer::Raw)));
    broker.await_status(&lab, "the workers are there", |status| status["workers"].as_array().map(Vec::len) == Some(4));
    let endpoint = broker.clients.clone();
    let deaf = runtime.spawn(async move {
        let mut client = client(&endpoint).await;
        // 4 GiB, of which it reads the first strips.
        client.say(&Message::Submit(puppet_submit(1, wide_counts(16_384), Priority::Interactive))).await;
        while !matches!(client.hear().await, Some(Message::Strips(..))) {}
        loop {
            client.live_deaf().await;
        }
    });
    let mut held = 0;
    eventually("the deaf client is sent away", || {
        let status = broker.status(&lab);
        held = held.max(status["broker"]["held_bytes"].as_u64()?);
        (status["jobs"][0]["attached"] == false).then_some(())
    });
    let [now, most] = broker.process.memory();
    println!(
        "a client that stops reading in 4 GiB of strips: {:.1} MiB, at the most {:.1} MiB ({:.1} MiB before); {:.1} MiB held",
        mib(now),
        mib(most),
        mib(before),
        mib(held)
    );
    // 64 MiB of a job's bands, its window of 16 MiB towards the client, 32 MiB under way, and what is being received.
    assert!(mib(held) <= 64.0 + 16.0 && mib(most) < mib(before) + 160.0, "the bounds of one job do not hold");
    deaf.abort();
    crowd.abort();
}

#[test]
fn jobs_leave_nothing_behind() {
    let jobs: u64 = if is_full() { 100_000 } else { 3000 };
    let lab = lab();
    let broker = start(&lab);
    let started = Instant::now();
    let runtime = runtime();
    let crowd = runtime.spawn(connect_workers(broker.workers.clone(), 1, 2, |puppet| busy(puppet, Answer::Raw)));
    let [early, late] = runtime.block_on(async {
        let mut client = client(&broker.clients).await;
        let mut memory = [0; 2];
        let (mut asked, mut done) = (0, 0);
        while done < jobs {
            // A few at once, as pages full of thumbnails would.
            while asked < jobs.min(done + 8) {
                client.say(&Message::Submit(puppet_submit(asked.into(), one_pixel(), Priority::Interactive))).await;
                asked += 1;
            }
            match client.hear().await.unwrap() {
                Message::Strips(strips, _) => {
                    client.say(&Message::Ack(fractally_proto::Ack { job: strips.job, have: 1 })).await;
                }
                Message::Done(_) => {
                    done += 1;
                    if done == jobs / 10 {
                        memory[0] = broker.process.memory()[0];
                    }
                }
                Message::Refused(refused) => panic!("{}", refused.refusal),
                Message::Failed(failed) => panic!("{}", failed.reason),
                _ => {}
            }
        }
        memory[1] = broker.process.memory()[0];
        memory
    });
    let each = started.elapsed().as_secs_f64() * 1e6 / jobs as f64;
    println!(
        "{jobs} jobs of one pixel, eight at once: {:.2} MiB after a tenth, {:.2} MiB at the end; {each:.0} us each",
        mib(early),
        mib(late)
    );
    crowd.abort();
    assert!(mib(late) < mib(early) + 1.5, "jobs leave something behind");
    broker.await_status(&lab, "every job is over", |status| status["broker"]["jobs_done"] == jobs);
}

#[test]
fn a_crowd_of_busy_workers_is_served() {
    let (workers, strips) = if is_full() { (1000, 400_000) } else { (60, 3000) };
    allow_open_files(4 * workers as u64 + 200);
    let lab = lab();
    let broker = start(&lab);
    for credit in [1, 2] {
        let runtime = runtime();
        runtime.spawn(connect_workers(broker.workers.clone(), workers, credit, |puppet| busy(puppet, Answer::Nothing)));
        broker.await_status(&lab, "everybody is there", |status| status["workers"].as_array().map(Vec::len) == Some(workers));
        let (cpu, started) = (broker.process.cpu_time(), Instant::now());
        let bands = runtime.block_on(async {
            let mut client = client(&broker.clients).await;
            render(&mut client, u128::from(credit), rows_as_strips(strips)).await
        });
        let (wall, cpu) = (started.elapsed(), broker.process.cpu_time() - cpu);
        drop(runtime);
        let [now, most] = broker.process.memory();
        println!(
            "{workers} workers at credit {credit}: {bands} bands without work, {:.0} bands/s, broker {:.1} us of CPU a band, {:.1} MiB (most {:.1})",
            bands as f64 / wall.as_secs_f64(),
            cpu.as_secs_f64() * 1e6 / bands as f64,
            mib(now),
            mib(most)
        );
        assert!(bands >= u64::from(strips) / 64, "a band has at most 64 strips");
        assert!(mib(most) < 256.0, "memory grows with the bands");
        broker.await_status(&lab, "the crowd has gone", |status| status["workers"].as_array().is_some_and(Vec::is_empty));
    }
}
