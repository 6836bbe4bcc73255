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
    let mut took: [(&str, Vec<Taken>); 4] = [
        ("attached", Vec::new()),
        ("detached", Vec::new()),
        ("detached and followed", Vec::new()),
        ("written and synced once", Vec::new()),
    ];
    for run in 0..=runs {
        let grid = Grid::start(lab, WORKERS, &[]);
        // Another one comes first each time, as a disk that was just written to is slower. The first round tells the broker what its
        // workers can do.
        for which in [0, 1, 2, 3].map(|which| (run + which) % 4) {
            let cpu_before = grid.broker.process.cpu_time();
            let wall = match which {
                0 => attached(lab, &grid, &picture),
                1 => detached(lab, &grid, &picture, runtime),
                2 => followed(lab, &grid, &picture),
                _ => plain(&grid.state.join("plain"), bytes),
            };
            if run > 0 {
                took[which].1.push(Taken { wall, cpu: grid.broker.process.cpu_time() - cpu_before });
            }
        }
        let state = grid.state.clone();
        drop(grid);
        fs::remove_dir_all(state).expect("the lab can be written");
    }
    let spread = |taken: &[Taken], of: fn(&Taken) -> Duration| Spread::of(taken.iter().map(of).collect());
    let base = spread(&took[0].1, |taken| taken.wall).median;
    for (name, taken) in took {
        let wall = spread(&taken, |taken| taken.wall);
        let [median, most, least] = [wall.median, wall.least, wall.most].map(|seconds| bytes as f64 / seconds / 1e6);
        println!(
            "{} MiB of counts, {name}: {wall}, {median:.0} MB/s ({least:.0}, {most:.0}), {:.0} % of attached; broker's CPU {:.2} s",
            bytes >> 20,
            100.0 * base / wall.median,
            spread(&taken, |taken| taken.cpu).median
        );
    }
}

/// One run.
struct Taken {
    wall: Duration,
    /// Of the broker, on all its threads.
    cpu: Duration,
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
