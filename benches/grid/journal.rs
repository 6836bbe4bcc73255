//! What the journal costs a job that is mostly bytes: rendered attached, without the journal; kept on disk and followed by nobody; kept
//! and followed. Beside them the same number of bytes written to the same file system and synced: nothing that is durable is faster.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::FileExt,
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use fractally_testkit::Lab;
use tokio::runtime::Runtime;

use crate::{
    Spread,
    grid::{Grid, is_done},
};

const WORKERS: usize = 2;
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Prints medians of `runs` runs by turns, of `side` x `side` counts, which have 4 bytes each.
pub(crate) fn compare(lab: &Lab, side: u32, runs: usize, runtime: &Runtime) {
    let bytes = 4 * u64::from(side) * u64::from(side);
    let picture = Picture { size: format!("{side}x{side}") };
    let mut took: [(&str, Vec<Duration>); 4] = [
        ("attached", Vec::new()),
        ("detached", Vec::new()),
        ("detached and followed", Vec::new()),
        ("written and synced once", Vec::new()),
    ];
    for run in 0..=runs {
        let grid = Grid::start(lab, WORKERS, &[]);
        // The first of each tells the broker what its workers can do.
        let one = |times: &mut Vec<Duration>, time: Duration| {
            if run > 0 {
                times.push(time)
            }
        };
        one(&mut took[0].1, attached(lab, &grid, &picture));
        one(&mut took[1].1, detached(lab, &grid, &picture, runtime));
        one(&mut took[2].1, followed(lab, &grid, &picture));
        one(&mut took[3].1, plain(&grid.state.join("plain"), bytes));
        let state = grid.state.clone();
        drop(grid);
        fs::remove_dir_all(state).expect("the lab can be written");
    }
    let base = Spread::of(took[0].1.clone()).median;
    for (name, times) in took {
        let spread = Spread::of(times);
        let [median, most, least] = [spread.median, spread.least, spread.most].map(|seconds| bytes as f64 / seconds / 1e6);
        println!(
            "{} MiB of counts, {name}: {spread}, {median:.0} MB/s ({least:.0}, {most:.0}), {:.0} % of attached",
            bytes >> 20,
            100.0 * base / spread.median
        );
    }
}

/// What is drawn: counts that take little to compute.
struct Picture {
    size: String,
}

impl Picture {
    /// As options; each `which` is a picture of its own, so that none is found on disk.
    fn options(&self, which: u32) -> [String; 8] {
        let bailout = format!("2.{which}");
        ["-c", "1+1i", "--iter", "4", "--bailout", &bailout, "--size", &self.size].map(str::to_owned)
    }
}

fn attached(lab: &Lab, grid: &Grid, picture: &Picture) -> Duration {
    let mut command = lab.command(["render", "--quiet", "--format", "npy", "-o", "-", "--broker", &grid.broker.clients]);
    command.args(picture.options(1)).stdout(Stdio::null());
    let began = Instant::now();
    assert!(command.status().expect("the program starts").success());
    began.elapsed()
}

fn submit(lab: &Lab, grid: &Grid, picture: &Picture, which: u32) -> String {
    let args = ["submit", "--quiet", "--priority", "interactive", "--format", "npy", "--broker", &grid.broker.clients];
    let args = args.map(str::to_owned).into_iter().chain(picture.options(which));
    let run = lab.run(args);
    assert!(run.status.success(), "{run:?}");
    String::from_utf8(run.stdout).expect("an id").trim().to_owned()
}

fn detached(lab: &Lab, grid: &Grid, picture: &Picture, runtime: &Runtime) -> Duration {
    let asker = grid.seen_by("bench");
    let began = Instant::now();
    submit(lab, grid, picture, 2);
    while !asker.list(runtime).iter().all(is_done) {
        thread::sleep(LOOK_EVERY);
    }
    began.elapsed()
}

fn followed(lab: &Lab, grid: &Grid, picture: &Picture) -> Duration {
    let began = Instant::now();
    let job = submit(lab, grid, picture, 3);
    let mut command = lab.command(["attach", "--quiet", "-o", "-", "--broker", &grid.broker.clients, &job]);
    assert!(command.stdout(Stdio::null()).status().expect("the program starts").success());
    began.elapsed()
}

fn plain(path: &Path, bytes: u64) -> Duration {
    const CHUNK: u64 = 1 << 20;
    let chunk: Vec<u8> = (0..CHUNK).map(|i| (i % 251) as u8).collect();
    let began = Instant::now();
    let mut file = File::create(path).expect("the lab can be written");
    for _ in 0..bytes / CHUNK {
        file.write_all(&chunk).expect("the disk has room");
    }
    file.write_all_at(&chunk[..usize::try_from(bytes % CHUNK).expect("a part of a chunk")], bytes - bytes % CHUNK)
        .expect("the disk has room");
    file.sync_data().expect("the disk works");
    began.elapsed()
}
