//! State directories that were damaged while no broker was there: a job comes out right all the same, or is told to be damaged.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use fractally_testkit::{Broker, Dice, Lab, Worker, seed_of};

use crate::{lab, times};

/// Damages of an ordinary test run.
const DAMAGES: usize = 40;
const SEED: u64 = 7;
/// Raw counts in eight strips; nobody spares an iteration in this view.
const PICTURE: [&str; 10] = [
    "-c",
    "-0.390540870218399-0.586787907346969i",
    "--center",
    "-0.368684439-0.337745147i",
    "--width",
    "0.2",
    "--size",
    "700x700",
    "--format",
    "npy",
];
/// Of the job that is done, and of the one that is not.
const ITERATIONS: [&str; 2] = ["100", "300"];

/// A state directory with two jobs, and what they draw.
struct Before {
    jobs: [String; 2],
    sha256: [String; 2],
}

/// What is done to one file.
#[derive(Debug)]
enum Damage {
    /// These bits are flipped.
    Flip(Vec<u64>),
    /// Nothing is left from this byte on.
    Cut(u64),
    /// So many bytes of this seed are appended.
    Lengthen(u64, u64),
    /// Zeroes from here on, so many.
    Zero(u64, u64),
    Remove,
    /// The same file of the other job stands in its place.
    Swap,
}

#[test]
fn a_damaged_job_comes_out_right_or_is_told_to_be_damaged() {
    let (seed, damages) = (seed_of("FRACTALLY_CHAOS_SEED", SEED), times("FRACTALLY_CHAOS_DAMAGES", DAMAGES));
    println!("FRACTALLY_CHAOS_SEED={seed} FRACTALLY_CHAOS_DAMAGES={damages}");
    let lab = lab();
    let before = prepare(&lab);
    let files = files_below(&lab.path("before"));
    let mut dice = Dice::new(seed);
    let mut tally: BTreeMap<&str, u32> = BTreeMap::new();
    for number in 0..damages {
        copy(&lab.path("before"), &lab.path("state"));
        let file = files[usize::try_from(dice.pick(0..files.len() as u64)).unwrap()].strip_prefix(lab.path("before")).unwrap();
        let damage = Damage::any(&mut dice, &lab.path("before").join(file));
        // Where a test fails, this says on what.
        println!("{number}: {} {damage:?}", file.display());
        damage.apply(&lab.path("state").join(file), &files);
        let ended = look(&lab, &before, file);
        if number % 4 == 0 && ended != REFUSED {
            // What was mended stays so.
            assert_eq!(look(&lab, &before, file), ended, "once more");
        }
        *tally.entry(ended).or_default() += 1;
        fs::remove_dir_all(lab.path("state")).unwrap();
    }
    println!("{damages} damages: {tally:?}");
    lab.expect_nothing_left();
}

const REFUSED: &str = "the broker refuses the directory";

/// What a broker and its clients make of the directory.
fn look(lab: &Lab, before: &Before, file: &Path) -> &'static str {
    let broker = lab.command(["broker", "--client-port", "0", "--worker-port", "0", "--state", "state"]);
    let broker = match Broker::try_start_by(broker) {
        Ok(broker) => broker,
        Err(run) => {
            assert!(run.code() == 1 && !run.stderr.contains("panicked"), "{run:?}");
            assert!(run.stderr.contains("--state") && run.stderr.contains("format"), "{run:?}");
            assert_eq!(
                file,
                Path::new("format"),
                "only what says what the directory is may keep a broker from starting: {run:?}"
            );
            return REFUSED;
        }
    };
    let worker = Worker::start(lab, &broker, "w", 2);
    let followers = [0, 1].map(|which| {
        let id = &before.jobs[which];
        broker.client(lab, "attach", &[id, "--json", "-o", &format!("{which}.npy")])
    });
    let mut ended = "both jobs come out right";
    for (which, follower) in followers.into_iter().enumerate() {
        let (id, run) = (&before.jobs[which], follower.wait());
        match run.status.code() {
            Some(0) => assert_eq!(run.report()["sha256"], before.sha256[which].as_str(), "job {which}: wrong bytes"),
            Some(4) => {
                ended = "one job is told to be damaged";
                assert!(run.stderr.contains("damaged") && run.stderr.contains(id), "{run:?}");
                let list = broker.ask(lab, "list", &[]);
                assert!(list.stderr.contains("damaged") && list.stderr.contains(id), "{list:?}");
            }
            _ => panic!("job {which}: {run:?}"),
        }
    }
    worker.process.kill();
    let log = broker.die();
    assert!(!log.contains("panicked"), "{log}");
    ended
}

/// One job that is done, one that has some of its strips, and a broker that was killed.
fn prepare(lab: &Lab) -> Before {
    let sha256 = ITERATIONS.map(|iterations| {
        let report = lab.render(PICTURE.iter().chain(&["--workers", "2", "--iter", iterations, "-o", "0.npy"]));
        report["sha256"].as_str().unwrap().to_owned()
    });
    let broker = Broker::keeping(lab, "before", &[]);
    let worker = Worker::start(lab, &broker, "w", 2);
    let submit = |iterations| broker.submit(lab, &[&PICTURE[..], &["--iter", iterations]].concat());
    let done = submit(ITERATIONS[0]);
    broker.await_done(lab, &done);
    worker.process.kill();
    let slow = Worker::start_with(lab, &broker, "slow", 1, &["--debug-slow-down", "40"]);
    let begun = submit(ITERATIONS[1]);
    broker.await_job(lab, &begun, "some of it is on disk", |job| job["rows_done"].as_u64() > Some(0));
    slow.process.kill();
    let job = broker.job(lab, &begun).unwrap();
    assert!(job["rows_done"].as_u64() < Some(700), "it was met half way: {job}");
    broker.die();
    Before { jobs: [done, begun], sha256 }
}

impl Damage {
    fn any(dice: &mut Dice, file: &Path) -> Self {
        let length = fs::metadata(file).unwrap().len();
        // The lock is an empty file.
        let at = |dice: &mut Dice| dice.pick(0..length.max(1));
        match dice.pick(0..12) {
            0..=4 if length > 0 => {
                let bits = dice.one_of(&[1, 1, 2, 8]);
                Self::Flip((0..bits).map(|_| dice.pick(0..8 * length)).collect())
            }
            5..=7 => Self::Cut(at(dice)),
            8 => Self::Lengthen(dice.pick(1..5000), dice.bits()),
            9 => Self::Zero(at(dice), dice.one_of(&[1, 512, 4096])),
            10 => Self::Swap,
            _ => Self::Remove,
        }
    }

    /// `all` are the files of the undamaged directory.
    fn apply(&self, path: &Path, all: &[PathBuf]) {
        let mut bytes = fs::read(path).unwrap();
        match self {
            Self::Flip(bits) => bits.iter().for_each(|bit| bytes[usize::try_from(bit / 8).unwrap()] ^= 1 << (bit % 8)),
            Self::Cut(at) => bytes.truncate(usize::try_from(*at).unwrap()),
            Self::Lengthen(count, seed) => {
                let mut dice = Dice::new(*seed);
                bytes.extend((0..*count).map(|_| dice.bits().to_le_bytes()[0]));
            }
            Self::Zero(at, count) => bytes
                .iter_mut()
                .skip(usize::try_from(*at).unwrap())
                .take(usize::try_from(*count).unwrap())
                .for_each(|byte| *byte = 0),
            Self::Remove => return fs::remove_file(path).unwrap(),
            Self::Swap => {
                let is_other = |other: &&PathBuf| {
                    other.file_name() == path.file_name()
                        && other.parent().unwrap().file_name() != path.parent().unwrap().file_name()
                };
                if let Some(other) = all.iter().find(is_other) {
                    bytes = fs::read(other).unwrap();
                }
            }
        }
        fs::write(path, bytes).unwrap();
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &target) } else { fs::copy(&path, &target).map(drop).unwrap() }
    }
}
