//! A series of renders and the faults that meet them.

use std::{
    collections::VecDeque,
    fs,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use fractally_testkit::Process;

use crate::{
    grid::Grid,
    plan::{self, Fault, Ground, SCENES, Whom},
    tally::{Met, Tally},
};

/// Some 10^10 iterations each, in a view that lies whole in the Siegel disk of the golden mean, where points go round for ever and no
/// kernel can tell without going with them; in enough strips to meet a render between two of them.
const PICTURES: [&[&str]; SCENES] = [
    &["--size", "2400x2400", "--iter", "2700", "--format", "png"],
    &["--size", "2000x2000", "--iter", "4000", "--format", "npy"],
    &["--size", "1800x3600", "--iter", "2300", "--format", "png"],
];
const VIEW: [&str; 6] =
    ["-c", "-0.390540870218399-0.586787907346969i", "--center", "-0.368684439-0.337745147i", "--width", "0.1"];

/// A render takes a second or two, faults up to 13 s each; a grid that lost track of one would wait for ever.
const RENDER_DEADLINE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Strips that the client held, and when; and its last words.
type Progress = Arc<Mutex<Told>>;

#[derive(Default)]
struct Told {
    strips: Vec<(Instant, u64)>,
    lines: VecDeque<String>,
}

/// Lines of a client's log that are worth keeping for when it hangs.
const LINES_KEPT: usize = 60;

/// Plays the plan of the seed. Nothing is done where the ground is not to be had.
pub(crate) fn play(seed: u64, ground: Ground, faults: usize) {
    println!("FRACTALLY_CHAOS_SEED={seed} FRACTALLY_CHAOS_FAULTS={faults} ({ground:?})");
    let Some(mut grid) = Grid::start(seed, ground) else { return };
    let undisturbed: Vec<_> = (0..SCENES).map(|scene| render_undisturbed(&grid, scene)).collect();
    let mut tally = Tally::default();
    for (number, render) in plan::plan(seed, ground, faults).into_iter().enumerate() {
        println!("render {number}: {render:?}");
        play_one(&mut grid, &render, &undisturbed[render.scene], &mut tally);
    }
    println!("{ground:?}, seed {seed}:\n{tally}");
    grid.await_rest();
    assert!(tally.met() * 3 >= faults, "faults are to meet renders under way");
    let lab = grid.into_lab();
    lab.expect_nothing_left();
}

/// A picture as it comes out when nothing goes wrong.
struct Undisturbed {
    file: Vec<u8>,
    strips: u64,
    /// Of its attempts, those that delivered, and all.
    bands: u64,
    attempts: u64,
}

fn args(scene: usize) -> Vec<&'static str> {
    VIEW.iter().chain(PICTURES[scene]).copied().collect()
}

fn render_undisturbed(grid: &Grid, scene: usize) -> Undisturbed {
    let (process, progress) = start(grid, scene);
    let report = process.wait().report();
    let file = fs::read(grid.lab.path("out")).expect("the render made a file");
    let strips = last(&progress).expect("the client tells of its strips with fractally_client=debug");
    let number = |name: &str| report[name].as_u64().expect("the report has it");
    let [seconds, attempts] = [&report["seconds"], &report["attempts"]];
    println!("undisturbed, {}: {seconds} s, {strips} strips, {attempts} attempts", PICTURES[scene].join(" "));
    Undisturbed { file, strips, bands: number("bands"), attempts: number("attempts") }
}

/// Starts a client, whose log tells how many strips it holds: `… strips have=17`.
fn start(grid: &Grid, scene: usize) -> (Process, Progress) {
    let progress = Progress::default();
    let told = Arc::clone(&progress);
    let process = grid.lab.follow(grid.render_command(&args(scene), "out"), move |line| {
        let mut told = lock(&told);
        if told.lines.len() == LINES_KEPT {
            told.lines.pop_front();
        }
        told.lines.push_back(line.to_owned());
        if let Some(have) = line.split_once("have=").and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok()) {
            told.strips.push((Instant::now(), have));
        }
    });
    (process, progress)
}

fn lock(progress: &Mutex<Told>) -> MutexGuard<'_, Told> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}

fn last(progress: &Progress) -> Option<u64> {
    lock(progress).strips.last().map(|&(_, have)| have)
}

/// When the first strip came after this moment.
fn next_after(progress: &Progress, moment: Instant) -> Option<Instant> {
    lock(progress).strips.iter().map(|&(at, _)| at).find(|&at| at > moment)
}

/// The longest time between two strips, the first counted from `begun`.
fn longest_wait(begun: Instant, progress: &Progress) -> Duration {
    let progress = &lock(progress).strips;
    let befores = [begun].into_iter().chain(progress.iter().map(|&(at, _)| at));
    progress.iter().zip(befores).map(|(&(at, _), before)| at.saturating_duration_since(before)).max().unwrap_or_default()
}

fn play_one(grid: &mut Grid, render: &plan::Render, undisturbed: &Undisturbed, tally: &mut Tally) {
    let _ = fs::remove_file(grid.lab.path("out"));
    let (mut client, mut progress) = start(grid, render.scene);
    let begun = Instant::now();
    let mut strikes = render.strikes.iter().peekable();
    let mut met: Vec<Met> = Vec::new();
    let mut is_restarted = false;
    while client.is_running() {
        let now = Instant::now();
        if now > begun + RENDER_DEADLINE {
            let lines: Vec<_> = lock(&progress).lines.iter().cloned().collect();
            panic!("{render:?} hangs; the broker says {}, the client said\n{}", grid.status(), lines.join("\n"));
        }
        grid.end_what_is_due(now, &client);
        let thousandths = last(&progress).unwrap_or(0) * 1000 / undisturbed.strips;
        if let Some(strike) = strikes.next_if(|strike| strike.at <= thousandths) {
            grid.begin(now, strike.fault, &client);
            if let Fault::Kill { whom: Whom::Client, .. } = strike.fault {
                note(&mut met, &progress);
                grid.open_the_way(&client);
                is_restarted = true;
                (client, progress) = start(grid, render.scene);
            }
            met.push(Met { fault: strike.fault, at: now, next: None });
        }
        note(&mut met, &progress);
        thread::sleep(LOOK_EVERY);
    }
    note(&mut met, &progress);
    grid.heal(&client);
    let run = client.wait();
    assert!(run.status.success(), "{render:?}: {:?}, {}", run.status, tail(&run.stderr));
    let report = run.report();
    let file = fs::read(grid.lab.path("out")).expect("the render made a file");
    assert!(file == undisturbed.file, "{render:?}: the file is another one: {report}");
    tally.add(render, met, strikes.count(), begun.elapsed(), longest_wait(begun, &progress));
    // What a broker knew died with it, and an orphan's bands are not this job's.
    if !is_restarted && !render.strikes.iter().any(|strike| matches!(strike.fault, Fault::Kill { whom: Whom::Broker, .. })) {
        let number = |name: &str| report[name].as_u64().expect("the report has it");
        tally.add_attempts(number("bands"), number("attempts"), undisturbed.attempts - undisturbed.bands);
    }
    grid.await_workers();
}

/// Writes down the first strip after each fault.
fn note(met: &mut [Met], progress: &Progress) {
    for met in met.iter_mut().filter(|met| met.next.is_none()) {
        met.next = next_after(progress, met.at);
    }
}

fn tail(text: &str) -> &str {
    let start = text.len().saturating_sub(3000);
    text.get(start..).unwrap_or(text)
}
