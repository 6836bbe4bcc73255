//! `fractally bench`: every series over real processes, that what it tells was done, and that it leaves nothing.

use std::{collections::BTreeSet, fs, process::Command};

use fractally_measure::{ON_THREADS, Record, Run, Series, Unit};
use fractally_testkit::{Broker, Lab, Process, Worker, eventually};
use serde_json::Value;

use crate::{ENDLESS, lab};

/// A picture of several strips that costs little.
const SMALL: [&str; 2] = ["--size", "1500x400"];

/// Runs `fractally bench` with these options, which must succeed, and gives what it wrote as JSON.
fn bench(lab: &Lab, options: &[&str]) -> Run {
    let run = lab.run([&["bench", "--json", "-", "--quiet", "--scale", "0.005"], options].concat());
    assert!(run.status.success(), "{run:?}");
    Run::read(&run.stdout).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&run.stdout)))
}

fn of(run: &Run, series: Series) -> Vec<&Record> {
    run.records.iter().filter(|record| record.series == series).collect()
}

/// A broker on free ports, and what its workers are called, each with its threads and options.
fn grid(lab: &Lab, broker: &[&str], workers: &[(&str, u32, &[&str])]) -> (Broker, Vec<Worker>) {
    let broker = Broker::start_with(lab, &[&["--client-port", "0", "--worker-port", "0"], broker].concat());
    let start = |(name, threads, options): &(&str, u32, &[&str])| Worker::start_with(lab, &broker, name, *threads, options);
    let workers: Vec<_> = workers.iter().map(start).collect();
    let is_there = |status: &Value| workers.iter().all(|worker| worker.row(status).is_some());
    broker.await_status(lab, "all workers are there", is_there);
    (broker, workers)
}

fn jobs_done(lab: &Lab, broker: &Broker) -> u64 {
    broker.status(lab)["broker"]["jobs_done"].as_u64().unwrap()
}

#[test]
fn strong_measures_each_size_and_the_same_picture_without_a_grid() {
    let lab = lab();
    let run = bench(&lab, &[&["strong", "--workers", "3", "--runs", "3"], &SMALL[..]].concat());
    let records = of(&run, Series::Strong);
    assert_eq!(records.len(), run.records.len());
    let (alone, grid): (Vec<&Record>, Vec<_>) =
        records.iter().partition(|record| record.what.ends_with("on threads of one process"));
    assert_eq!(grid.iter().map(|record| (record.workers, record.threads)).collect::<Vec<_>>(), [(1, 1), (2, 2), (3, 3)]);
    assert_eq!(alone.iter().map(|record| (record.workers, record.threads)).collect::<Vec<_>>(), [(1, 1), (1, 2), (1, 3)]);
    let iterations = lab.render([&["-o", "a.png"], &SMALL[..]].concat())["iterations"].as_u64();
    for record in records {
        assert_eq!((record.unit, record.samples.len(), record.work), (Unit::Seconds, 3, iterations), "{record:?}");
        assert!(record.what.starts_with("c = -0.8+0.156i, 1500x400, 256 iterations, png"), "{record:?}");
    }
    assert!(run.program.starts_with("fractally ") && run.command.starts_with("fractally bench --json - "), "{run:?}");
    let doctor = String::from_utf8(lab.run(["doctor"]).stdout).unwrap();
    let [member] = &*run.workers else { panic!("one for all: {run:?}") };
    assert!(doctor.contains(&run.engine) && doctor.contains(&format!("kernel   {}: ", member.kernel)), "{doctor}, {run:?}");
    assert!(run.host.cores > 0 && run.host.memory_bytes > 0 && !run.host.processor.is_empty(), "{run:?}");
    lab.expect_nothing_left();
}

#[test]
fn bands_and_kernels_are_as_asked_for() {
    let lab = lab();
    let options = ["strong", "--workers", "1", "--runs", "1", "--bands", "3", "--kernel", "scalar", "--format", "npy"];
    let run = bench(&lab, &[&options, &SMALL[..]].concat());
    let [grid, threads] = &*run.records else { panic!("a grid, and threads without one: {run:?}") };
    assert_eq!((grid.bands, threads.bands), (Some(3), None));
    assert!(grid.what.ends_with("counts, in 3 equal bands"), "{grid:?}");
    assert_eq!(threads.what, format!("{}{ON_THREADS}", grid.what));
    assert_eq!(run.workers[0].kernel, "scalar");
}

#[test]
fn weak_has_as_much_work_for_each_thread() {
    let lab = lab();
    let run = bench(&lab, &[&["weak", "--workers", "4", "--runs", "2", "--warm-up", "0"], &SMALL[..]].concat());
    let records = of(&run, Series::Weak);
    assert_eq!(records.iter().map(|record| record.threads).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let each = |record: &Record| record.work.unwrap() as f64 / f64::from(record.threads);
    for record in &records {
        assert_eq!((record.samples.len(), &record.what), (2, &records[0].what));
        assert!((each(record) / each(records[0]) - 1.0).abs() < 0.02, "{records:?}");
    }
}

#[test]
fn overhead_is_told_for_each_credit_as_time_rate_and_processor_time() {
    let lab = lab();
    let run = bench(&lab, &["overhead", "--runs", "2"]);
    for credit in [1, 2, 4, 8] {
        let records: Vec<_> = run.records.iter().filter(|record| record.credit == Some(credit)).collect();
        let units: Vec<_> = records.iter().map(|record| record.unit).collect();
        assert_eq!(units, [Unit::MicrosecondsPerBand, Unit::BandsPerSecond, Unit::MicrosecondsPerBand], "{run:?}");
        let [wall, rate, processor] = [0, 1, 2].map(|index: usize| &records[index].samples);
        for ((wall, rate), processor) in wall.iter().zip(rate).zip(processor) {
            assert!((wall * rate / 1e6 - 1.0).abs() < 1e-9);
            // The broker is one thread, with a few beside it that do next to nothing.
            assert!(*processor < 1.5 * wall, "{processor} of {wall}");
        }
        assert!(records.iter().all(|record| record.workers == 2 && record.series == Series::Overhead));
    }
    assert_eq!(run.records.len(), 12);
    lab.expect_nothing_left();
}

#[test]
fn latency_has_every_job_and_is_longer_beside_a_batch_job() {
    let lab = lab();
    let run = bench(&lab, &["latency", "--workers", "1", "--runs", "5"]);
    let [idle, beside] = &*run.records else { panic!("two records: {run:?}") };
    // 200 and 12 of each run at scale 1.
    assert_eq!((idle.samples.len(), beside.samples.len()), (5, 5), "{run:?}");
    assert!(beside.what.contains("beside a batch job") && !idle.what.contains("batch"));
    // A job waits for the band that runs, which takes up to a second.
    assert!(beside.spread.median > 3.0 * idle.spread.median, "{run:?}");
    lab.expect_nothing_left();
}

#[test]
fn payload_counts_the_bytes_of_the_file() {
    let lab = lab();
    let run = bench(&lab, &["payload", "--workers", "1", "--runs", "2"]);
    let [record] = &*run.records else { panic!("one record: {run:?}") };
    // 8192 pixels of 4 bytes in each of 41 rows, and the head.
    assert_eq!((record.unit, record.work), (Unit::BytesPerSecond, Some(8192 * 4 * 41 + 128)));
    assert!(record.what.ends_with("8192x41"), "{record:?}");
}

#[test]
fn start_renders_from_nothing() {
    let lab = lab();
    let run = bench(&lab, &[&["start", "--workers", "1", "--runs", "2"], &SMALL[..]].concat());
    let whats: Vec<_> = run.records.iter().map(|record| &*record.what).collect();
    assert_eq!(run.records.len(), 3, "{run:?}");
    for (what, words) in whats.iter().zip(["first bytes", "to the file", "first pixel"]) {
        assert!(what.contains(words), "{what}");
    }
    assert!(run.records.iter().all(|record| record.samples.len() == 2 && record.unit == Unit::Seconds));
    lab.expect_nothing_left();
    assert!(lab.files().is_empty());
}

#[test]
fn all_series_are_measured_where_none_is_named_and_told_in_every_form() {
    let lab = lab();
    let tiny = ["--workers", "1", "--runs", "1", "--warm-up", "0", "--size", "200x100", "--scale", "0.001"];
    let run = lab.run([&["bench", "--json", "a.json", "--csv", "a.csv", "--html", "a.html"], &tiny[..]].concat());
    assert!(run.status.success(), "{run:?}");
    let json = Run::read(&fs::read(lab.path("a.json")).unwrap()).unwrap();
    let series: BTreeSet<_> = json.records.iter().map(|record| record.series).collect();
    assert_eq!(Vec::from_iter(series), Series::ALL);
    let table = String::from_utf8(run.stdout).unwrap();
    assert_eq!(table.trim_end(), fractally_measure::table(&json).trim_end());
    let csv = fs::read_to_string(lab.path("a.csv")).unwrap();
    let samples: usize = json.records.iter().map(|record| record.samples.len()).sum();
    assert_eq!(csv.lines().count(), 1 + samples, "{csv}");
    assert!(fs::read_to_string(lab.path("a.html")).unwrap().starts_with("<!doctype html>"));
    // Without a terminal, a line says what it is at.
    assert!(Series::ALL.iter().all(|series| run.stderr.lines().any(|line| line.starts_with(series.name()))), "{}", run.stderr);
    lab.expect_nothing_left();
    assert_eq!(lab.files(), ["a.csv", "a.html", "a.json"]);
}

/// Each repetition, those to warm up included, is a job that the broker renders: none comes from anywhere else.
#[test]
fn a_running_grid_renders_every_repetition() {
    let lab = lab();
    let (broker, _workers) = grid(&lab, &[], &[("one", 1, &[]), ("two", 2, &["--kernel", "scalar"])]);
    let before = jobs_done(&lab, &broker);
    let options = ["strong", "weak", "--broker", &broker.clients, "--runs", "3", "--warm-up", "2"];
    let run = bench(&lab, &[&options, &SMALL[..]].concat());
    assert_eq!(jobs_done(&lab, &broker) - before, 2 * (3 + 2));
    for series in [Series::Strong, Series::Weak] {
        let [record] = *of(&run, series) else { panic!("one point: {run:?}") };
        assert_eq!((record.workers, record.threads, record.samples.len()), (2, 3, 3));
    }
    let work = |series| of(&run, series)[0].work.unwrap() as f64;
    assert!((work(Series::Weak) / work(Series::Strong) / 3.0 - 1.0).abs() < 0.02, "{run:?}");
    let mut workers: Vec<_> = run.workers.iter().map(|worker| (&*worker.name, worker.threads)).collect();
    workers.sort_unstable();
    assert_eq!(workers, [("one", 1), ("two", 2)]);
    assert!(run.workers.iter().any(|worker| worker.kernel == "scalar"));
}

#[test]
fn on_a_running_grid_what_does_not_fit_is_left_out_with_the_reason() {
    let lab = lab();
    let (broker, _workers) = grid(&lab, &[], &[("w", 1, &[])]);
    let tiny = ["--broker", &broker.clients, "--runs", "1", "--warm-up", "0", "--size", "100x50", "--scale", "0.001"];
    let run = lab.run([&["bench", "--json", "a.json"], &tiny[..]].concat());
    assert!(run.status.success(), "{run:?}");
    for words in ["left out: overhead: ", "fractally worker --no-op", "left out: start: "] {
        assert!(run.stderr.contains(words), "{words}: {}", run.stderr);
    }
    let json = Run::read(&fs::read(lab.path("a.json")).unwrap()).unwrap();
    let series: BTreeSet<_> = json.records.iter().map(|record| record.series).collect();
    assert_eq!(Vec::from_iter(series), [Series::Strong, Series::Weak, Series::Latency, Series::Payload]);
    let alone = lab.run([&["bench", "overhead", "start"], &tiny[..]].concat());
    assert_eq!(alone.code(), 2, "{alone:?}");
    assert!(alone.stderr.contains("nothing to measure") && alone.stderr.contains("--no-op"), "{alone:?}");
}

#[test]
fn a_running_grid_that_computes_nothing_has_overhead_and_nothing_else() {
    let lab = lab();
    let (broker, _workers) = grid(&lab, &["--no-op"], &[("a", 1, &["--no-op"]), ("b", 1, &["--no-op", "--credit", "4"])]);
    let run = bench(&lab, &["overhead", "--broker", &broker.clients, "--runs", "2"]);
    assert_eq!(run.engine, fractally_measure::NO_OP);
    // The broker may be anywhere, so its processor time is not known, nor are credits.
    let units: Vec<_> = run.records.iter().map(|record| (record.unit, record.workers, record.credit)).collect();
    assert_eq!(units, [(Unit::MicrosecondsPerBand, 2, None), (Unit::BandsPerSecond, 2, None)]);
    let strong = lab.run(["bench", "strong", "--broker", &broker.clients]);
    assert_eq!(strong.code(), 2, "{strong:?}");
    assert!(strong.stderr.contains("compute nothing"), "{strong:?}");
}

#[test]
fn a_grid_of_two_kinds_and_one_without_workers_are_told() {
    let lab = lab();
    let (mixed, _workers) = grid(&lab, &[], &[("a", 1, &[]), ("b", 1, &["--no-op"])]);
    let (empty, _) = grid(&lab, &[], &[]);
    for (broker, words) in [(&mixed, "of one kind"), (&empty, "fractally worker")] {
        let run = lab.run(["bench", "--broker", &broker.clients]);
        assert_eq!(run.code(), 1, "{run:?}");
        assert!(run.stderr.contains(words), "{run:?}");
    }
}

#[test]
fn a_picture_that_is_there_already_is_not_measured() {
    let lab = lab();
    let (broker, _workers) = grid(&lab, &["--state", "jobs"], &[("w", 1, &[])]);
    let submit = lab.run([&["submit", "--quiet", "--broker", &broker.clients], &SMALL[..]].concat());
    let job = String::from_utf8(submit.stdout).unwrap();
    assert!(lab.run(["attach", "--broker", &broker.clients, "-o", "a.png", job.trim()]).status.success());
    let run = lab.run([&["bench", "strong", "--broker", &broker.clients], &SMALL[..]].concat());
    assert_eq!(run.code(), 1, "{run:?}");
    assert!(run.stderr.contains("rendered nothing") && run.stderr.contains("--state"), "{run:?}");
}

/// A long series on a running grid, met when it measures.
fn long_series(lab: &Lab, broker: &Broker) -> Process {
    let options = ["bench", "strong", "--broker", &broker.clients, "--runs", "500", "--json", "a.json"];
    let bench = lab.start(lab.command(options.iter().chain(&SMALL)));
    broker.await_status(lab, "some are measured", |status| status["broker"]["jobs_done"].as_u64() > Some(3));
    bench
}

#[test]
fn a_worker_that_goes_or_comes_spoils_the_figures_and_that_is_told() {
    let lab = lab();
    let (broker, workers) = grid(&lab, &[], &[("stays", 1, &[]), ("goes", 1, &[])]);
    let bench = long_series(&lab, &broker);
    workers[1].process.kill();
    let run = bench.wait();
    assert_eq!(run.code(), 1, "{run:?}");
    assert!(run.stderr.contains("has changed"), "{run:?}");
    let bench = long_series(&lab, &broker);
    let _comes = Worker::start(&lab, &broker, "comes", 1);
    let run = bench.wait();
    assert!(run.code() == 1 && run.stderr.contains("has changed"), "{run:?}");
    assert!(!lab.files().contains(&"a.json".to_owned()), "{:?}", lab.files());
}

#[test]
fn a_local_broker_that_dies_is_told() {
    let lab = lab();
    let bench = lab.start(lab.command(["bench", "strong", "--workers", "1", "--runs", "500"].iter().chain(&SMALL)));
    let word_of = |id: i32| fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    let is_broker = |id: &i32| word_of(*id).split(|&byte| byte == 0).any(|word| word == b"broker");
    eventually("itself, a broker that listens and a worker run", || (lab.living().len() == 3).then_some(()));
    let broker = lab.living().into_iter().find(is_broker).expect("the broker runs");
    lab.kill(broker);
    let run = bench.wait();
    assert_eq!(run.code(), 1, "{run:?}");
    assert!(run.stderr.contains("broker"), "{run:?}");
    lab.expect_nothing_left();
}

/// The command line of a series that takes longer than the test, and the processes that run in the middle of it.
fn interrupted(options: &[&str], processes: usize) {
    let lab = lab();
    let bench = lab.start(lab.command([&["bench", "--workers", "2", "--runs", "500", "--json", "a.json"], options].concat()));
    eventually(&format!("{options:?}: {processes} processes run"), || (lab.living().len() >= processes).then_some(()));
    bench.interrupt();
    let run = bench.wait();
    assert_eq!(run.code(), 130, "{options:?}: {run:?}");
    assert!(run.stderr.contains("stopped") && !run.stderr.contains("panicked"), "{options:?}: {run:?}");
    lab.expect_nothing_left();
    assert!(lab.files().is_empty(), "{options:?}: {:?}", lab.files());
}

#[test]
fn ctrl_c_leaves_no_process_and_no_file() {
    let long = [&ENDLESS[..], &["--iter", "1000000"]].concat();
    // Itself, two brokers and three workers; of overhead, four brokers with two workers each; of start, the render's own grid.
    interrupted(&[&["strong"], &long[..]].concat(), 6);
    interrupted(&["overhead"], 13);
    interrupted(&["latency", "--scale", "0.0001"], 4);
    interrupted(&[&["start"], &long[..]].concat(), 5);
}

/// A batch job beside the small ones is nobody's once nobody measures: it does not keep the grid at work.
#[test]
fn ctrl_c_takes_the_jobs_of_a_running_grid_back() {
    let lab = lab();
    let (broker, _workers) = grid(&lab, &[], &[("w", 1, &[])]);
    let options = ["bench", "latency", "--broker", &broker.clients, "--runs", "500", "--scale", "0.0001"];
    let bench = lab.start(lab.command(options));
    let is_batch = |status: &Value| status["jobs"].as_array().unwrap().iter().any(|job| job["priority"] == "batch");
    broker.await_status(&lab, "the batch job runs", is_batch);
    bench.interrupt();
    assert_eq!(bench.wait().code(), 130);
    // Not only after the time that a client has to come back.
    let status = broker.status(&lab);
    assert_eq!(status["jobs"].as_array().map(Vec::len), Some(0), "{status}");
}

/// Each case: options of `bench`, the exit code, and words that the line must hold.
const REFUSED: &[(&[&str], i32, &[&str])] = &[
    (&["stronk"], 2, &["stronk", "strong", "overhead"]),
    (&["-c", "nan"], 2, &["-c", "1e9"]),
    (&["--runs", "0"], 2, &["--runs", "1..=500"]),
    (&["--warm-up", "101"], 2, &["--warm-up"]),
    (&["--scale", "0"], 2, &["--scale", "0.0001", "10"]),
    (&["--workers", "0"], 2, &["--workers"]),
    (&["--bands", "0"], 2, &["--bands"]),
    (&["--kernel", "abacus"], 2, &["--kernel", "abacus", "scalar"]),
    (&["--format", "webp"], 2, &["--format", "png or npy"]),
    (&["weak", "--size", "600000x600000", "--workers", "4"], 2, &["--size", "1000000", "weak"]),
    (&["--workers", "2", "--broker", "tcp://127.0.0.1:1"], 2, &["--workers", "--broker"]),
    (&["--kernel", "scalar", "--broker", "tcp://127.0.0.1:1"], 2, &["--kernel", "--broker"]),
    (&["--bands", "8", "--broker", "tcp://127.0.0.1:1"], 2, &["--bands", "--broker"]),
    (&["--no-mirror", "--broker", "tcp://127.0.0.1:1"], 2, &["--no-mirror", "--broker"]),
    (&["--broker", "tcp://127.0.0.1:1", "--connect-timeout", "0.5"], 3, &["tcp://127.0.0.1:1", "leave --broker out"]),
    (&["--json", "-", "--csv", "-"], 2, &["--csv", "its own"]),
    (&["--json", "a", "--html", "./a"], 2, &["--html", "its own"]),
    (&["--json", "no/such/a.json"], 1, &["--json", "no/such/a.json"]),
    (&["--json", "a.json", "--html", "/proc/a.html"], 1, &["--html", "/proc/a.html"]),
    (&["report"], 2, &["RUN.json"]),
    (&["report", "missing.json"], 1, &["missing.json"]),
    (&["report", "/dev/null"], 1, &["/dev/null", "fractally bench --json"]),
    (&["report", "/dev/zero"], 1, &["/dev/zero", "64 MiB"]),
];

#[test]
fn what_cannot_be_measured_or_written_is_told_before_the_work() {
    let lab = lab();
    for (options, code, words) in REFUSED {
        let run = lab.run(["bench"].iter().chain(*options));
        assert_eq!(run.code(), *code, "{options:?}: {run:?}");
        assert!(run.stdout.is_empty() && !run.stderr.contains("panicked"), "{options:?}: {run:?}");
        for word in *words {
            assert!(run.stderr.contains(word), "{options:?} does not mention {word}: {}", run.stderr);
        }
    }
    assert!(lab.files().is_empty(), "{:?}", lab.files());
    lab.expect_nothing_left();
}

#[test]
fn runs_are_put_together_if_they_are_of_one_kind() {
    let lab = lab();
    let (broker, mut workers) = grid(&lab, &[], &[("first", 1, &[])]);
    let strong = |file: &str| {
        let options = ["bench", "strong", "--quiet", "--broker", &broker.clients, "--runs", "2", "--json", file];
        let run = lab.run(options.iter().chain(&SMALL));
        assert!(run.status.success() && run.stdout.is_empty(), "{run:?}");
        // That the machine is busy is told to everybody.
        assert!(run.stderr.lines().all(|line| line.contains("is busy")), "{run:?}");
    };
    strong("one.json");
    workers.push(Worker::start(&lab, &broker, "second", 1));
    broker.await_status(&lab, "both are there", |status| status["workers"].as_array().map(Vec::len) == Some(2));
    strong("two.json");
    let report = lab.run(["bench", "report", "one.json", "two.json", "--json", "both.json", "--html", "both.html"]);
    assert!(report.status.success(), "{report:?}");
    let both = Run::read(&fs::read(lab.path("both.json")).unwrap()).unwrap();
    let [curve] = &*fractally_measure::curves(&both.records) else { panic!("one curve: {both:?}") };
    assert_eq!(curve.points.iter().map(|point| (point.workers, point.threads)).collect::<Vec<_>>(), [(1, 1), (2, 2)]);
    assert!(String::from_utf8(report.stdout).unwrap().contains("efficiency"));
    // A run of another engine is no point of it.
    let two = fs::read_to_string(lab.path("two.json")).unwrap();
    fs::write(lab.path("other.json"), two.replace("fractally-", "other-")).unwrap();
    // Nor does the same sample count twice.
    for other in ["other.json", "one.json"] {
        let refused = lab.run(["bench", "report", "one.json", other, "--csv", "no.csv"]);
        assert_eq!(refused.code(), 1, "{refused:?}");
        assert!(refused.stderr.contains("run 2"), "{refused:?}");
    }
    assert!(!lab.files().contains(&"no.csv".to_owned()));
}

/// As pasted, but for what makes them quick, and for the endpoint.
#[test]
fn the_examples_of_the_help_work() {
    let lab = lab();
    let help = String::from_utf8(lab.run(["bench", "--help"]).stdout).unwrap();
    let examples: Vec<_> = help.lines().filter_map(|line| line.strip_prefix("  fractally bench")).collect();
    assert!(examples.len() >= 7, "{help}");
    assert!(help.contains("130"), "the exit codes: {help}");
    let (real, _workers) = grid(&lab, &[], &[("w", 1, &[])]);
    let (no_op, _no_ops) = grid(&lab, &["--no-op"], &[("a", 1, &["--no-op"]), ("b", 1, &["--no-op"])]);
    for example in examples {
        let broker = if example.contains("overhead") { &no_op } else { &real };
        let mut line = format!("\"$0\" bench{}", example.replace("tcp://127.0.0.1:5555", &broker.clients));
        for (option, value) in [("--runs", "1"), ("--warm-up", "0"), ("--size", "100x50"), ("--scale", "0.001")] {
            if !example.contains(option) && !example.contains("report") {
                line += &format!(" {option} {value}");
            }
        }
        let program = lab.command(["unused"]);
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(&line).arg(program.get_program()).current_dir(lab.path(""));
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        let run = lab.start(shell).wait();
        assert!(run.status.success(), "{line}: {run:?}");
    }
    assert!(lab.files().contains(&"run.csv".to_owned()), "{:?}", lab.files());
}
