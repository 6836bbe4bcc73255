//! Many small detached jobs, a few at a time, on a broker with little room on disk: jobs a second, how long a SUBMIT waits for its
//! promise, and whether the directory ever takes more than it may.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use fractally_proto::{JobKey, Keep, Message, Priority, Request, Size, Status, Window};
use fractally_testkit::Lab;
use fractally_transport::{Link, Turn};
use tokio::runtime::Runtime;

use crate::{
    grid::Grid,
    overhead::{acknowledge, client, say},
};

const WORKERS: usize = 2;
/// Jobs that are not over.
const IN_FLIGHT: usize = 8;
const SAMPLE_EVERY: Duration = Duration::from_millis(10);

/// The most that was seen in a directory, in bytes on disk.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    files: u64,
    /// Files and folders, as `du` counts.
    all: u64,
    samples: u32,
}

/// Prints rates and the most bytes seen, over `jobs` jobs, with `mib` MiB for all of them.
pub(crate) fn compare(lab: &Lab, jobs: u32, mib: u64, runtime: &Runtime) {
    let grid = Grid::start(lab, WORKERS, &["--state-size", &mib.to_string()]);
    let mut syncs = small_syncs(&grid.state);
    let is_over = AtomicBool::new(false);
    let began = Instant::now();
    let (mut waits, taken) = thread::scope(|scope| {
        let sampler = scope.spawn(|| sample(&grid.state, &is_over));
        let waits = runtime.block_on(turn_over(&grid, jobs));
        is_over.store(true, Ordering::Relaxed);
        (waits, sampler.join().expect("sampling does not panic"))
    });
    let took = began.elapsed().as_secs_f64();
    syncs.extend(small_syncs(&grid.state));
    waits.sort_unstable();
    syncs.sort_unstable();
    let us = |percent: usize| waits[((waits.len() * percent) / 100).min(waits.len() - 1)].as_micros();
    println!("{jobs} small jobs, {IN_FLIGHT} in flight: {:.0} jobs/s", f64::from(jobs) / took);
    println!("from SUBMIT to ACCEPTED: p50 {} us, p99 {} us, most {} us", us(50), us(99), us(100));
    println!("a new file of 1 KiB there, written and synced, before and after: p50 {} us", syncs[syncs.len() / 2].as_micros());
    let part =
        |bytes: u64| format!("{:.2} MiB ({:.0} %)", bytes as f64 / f64::from(1 << 20), 100.0 * bytes as f64 / (mib << 20) as f64);
    println!(
        "with {mib} MiB: {} in files at the most, {} with folders, over {} samples",
        part(taken.files),
        part(taken.all),
        taken.samples
    );
}

/// What the file system takes for the least that can be promised.
fn small_syncs(folder: &Path) -> Vec<Duration> {
    let path = folder.join("small");
    let sync = |_| {
        let began = Instant::now();
        let mut file = File::create(&path).expect("the lab can be written");
        file.write_all(&[1; 1024]).expect("the disk has room");
        file.sync_data().expect("the disk works");
        let took = began.elapsed();
        fs::remove_file(&path).expect("it was there");
        took
    };
    (0..50).map(sync).collect()
}

/// How long each promise took.
async fn turn_over(grid: &Grid, jobs: u32) -> Vec<Duration> {
    let mut link = client(&grid.broker).await;
    let mut turn = Turn::default();
    let mut waits = Vec::new();
    for nth in 0..=jobs {
        // Behind the last all are waited for.
        let room = if nth < jobs { IN_FLIGHT } else { 1 };
        while living(&mut link, &mut turn).await >= room {}
        if nth < jobs {
            let began = Instant::now();
            let key = JobKey(u128::from(nth).to_le_bytes());
            say(
                &mut link,
                &Message::Keep(Keep { key, priority: Priority::Normal, holder: None, request_id: None, request: small(nth) }),
            )
            .await;
            match answer(&mut link, &mut turn, |message| matches!(message, Message::Accepted(_) | Message::Refused(_))).await {
                Message::Refused(refused) => panic!("{}", refused.refusal),
                _ => waits.push(began.elapsed()),
            }
        }
    }
    waits
}

async fn living(link: &mut Link, turn: &mut Turn) -> usize {
    say(link, &Message::StatusQuery).await;
    let report = answer(link, turn, |message| matches!(message, Message::StatusReport(_))).await;
    let Message::StatusReport(payload) = report else { unreachable!("it was asked for") };
    Status::decode(&payload).expect("the broker speaks plainly").jobs.len()
}

async fn answer(link: &mut Link, turn: &mut Turn, is_it: impl Fn(&Message) -> bool) -> Message {
    loop {
        let message = link.next().await.expect("the broker stays");
        acknowledge(link).await;
        turn.handled().await;
        if is_it(&message) {
            return message;
        }
    }
}

fn small(nth: u32) -> Request {
    let size = Size { w: 128, h: 128 };
    let c = [-0.8 + f64::from(nth) * 1e-5, 0.156];
    Request { c, size, window: Window::whole(size), ..Request::default() }
}

fn sample(folder: &Path, is_over: &AtomicBool) -> Taken {
    let mut most = Taken::default();
    while !is_over.load(Ordering::Relaxed) {
        let now = taken(folder);
        most = Taken { files: most.files.max(now.files), all: most.all.max(now.all), samples: most.samples + 1 };
        thread::sleep(SAMPLE_EVERY);
    }
    most
}

/// What goes while it is looked at counts for nothing.
fn taken(folder: &Path) -> Taken {
    let mut sum = Taken { all: on_disk(folder), ..Taken::default() };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let within = taken(&path);
            (sum.files, sum.all) = (sum.files + within.files, sum.all + within.all);
        } else {
            let bytes = on_disk(&path);
            (sum.files, sum.all) = (sum.files + bytes, sum.all + bytes);
        }
    }
    sum
}

fn on_disk(path: &Path) -> u64 {
    fs::symlink_metadata(path).map_or(0, |found| 512 * found.blocks())
}
