//! Options from a file: which source counts, that roles run on what it says, and that a wrong one is refused before anything is done.

use std::{collections::BTreeSet, fs, process::Command};

use fractally_testkit::{Broker, Lab, Run, Worker, lasting_ports};

use crate::lab;

/// Runs the program with a file, named by the variable, and with other variables.
fn run_with(lab: &Lab, file: &str, variables: &[(&str, &str)], args: &[&str]) -> Run {
    lab.start(command_with(lab, file, variables, args)).wait()
}

fn command_with(lab: &Lab, file: &str, variables: &[(&str, &str)], args: &[&str]) -> Command {
    fs::write(lab.path("f.toml"), file).unwrap();
    let mut command = lab.command(args);
    command.env("FRACTALLY_CONFIG", "f.toml").envs(variables.iter().copied());
    command
}

fn text(run: &Run) -> String {
    String::from_utf8(run.stdout.clone()).unwrap()
}

/// The kernel that `doctor` says it would compute with, and all that there are.
fn kernel(run: &Run) -> (String, Vec<String>) {
    let text = text(run);
    let line =
        |start: &str| text.lines().find_map(|line| line.strip_prefix(start)).unwrap_or_else(|| panic!("{run:?}")).to_owned();
    let all = line("kernels  ").split(" (").next().unwrap().split(", ").map(str::to_owned).collect();
    (line("kernel   ").split(':').next().unwrap().to_owned(), all)
}

#[test]
fn a_flag_counts_more_than_a_variable_that_more_than_a_file_and_that_more_than_a_default() {
    let lab = lab();
    let (fastest, all) = kernel(&lab.run(["doctor"]));
    let [slowest, second] = [&all[0], &all[1]];
    assert!(fastest != *slowest, "{all:?}");
    let file = format!("[doctor]\nkernel = \"{slowest}\"\n");
    let variable = [("FRACTALLY_KERNEL", second.as_str())];
    let chosen = |variables: &[(&str, &str)], args: &[&str]| kernel(&run_with(&lab, &file, variables, args)).0;
    assert_eq!(chosen(&[], &["doctor"]), *slowest);
    assert_eq!(chosen(&variable, &["doctor"]), *second);
    assert_eq!(chosen(&variable, &["doctor", "--kernel", &fastest]), fastest);
    assert_eq!(chosen(&[], &["doctor", "--config", ""]), fastest, "an empty name is no file");
    assert_eq!(chosen(&[], &["doctor", "--config", "/dev/null"]), fastest, "a flag names another file than the variable");
    assert_eq!(chosen(&[("FRACTALLY_CONFIG", "")], &["--config", "f.toml", "doctor"]), *slowest);
}

#[test]
fn a_grid_runs_on_one_file() {
    let lab = lab();
    let [clients, workers] = lasting_ports();
    let file = format!(
        "log = \"debug\"\n[broker]\nclient-port = {clients}\nworker-port = {workers}\nstate = \"kept\"\nweight = [\"ada=2\"]\n\
         [worker]\nbroker = \"tcp://127.0.0.1:{workers}\"\nthreads = 2\nname = \"from the file\"\n\
         [render]\nbroker = \"tcp://127.0.0.1:{clients}\"\nsize = \"320x200\"\noutput = \"file.npy\"\njson = true\nquiet = false\n\
         [status]\nbroker = \"tcp://127.0.0.1:{clients}\"\njson = true\n"
    );
    let broker = Broker::start_by(command_with(&lab, &file, &[], &["broker"]));
    assert_eq!(
        [&broker.clients, &broker.workers],
        [&format!("tcp://127.0.0.1:{clients}"), &format!("tcp://127.0.0.1:{workers}")]
    );
    let worker = Worker { process: lab.start(command_with(&lab, &file, &[], &["worker"])), name: "from the file".to_owned() };
    broker.await_status(&lab, "the worker is there", |status| worker.row(status).is_some_and(|row| row["threads"] == 2));
    let rendered = run_with(&lab, &file, &[], &["render"]);
    assert!(rendered.stderr.contains("DEBUG"), "log = \"debug\" counts: {}", rendered.stderr);
    assert_eq!(rendered.report()["width"], 320);
    let status = run_with(&lab, &file, &[], &["status"]).report();
    assert_eq!(status["broker"]["jobs_done"], 1, "{status}");
    let files: BTreeSet<_> = lab.files().into_iter().collect();
    assert_eq!(files, ["f.toml", "file.npy", "kept"].map(str::to_owned).into());
}

#[test]
fn where_to_render_is_for_the_flag_to_say() {
    let lab = lab();
    let size = ["render", "--json", "--size", "40x30"];
    let nobody = "[render]\nbroker = \"tcp://127.0.0.1:1\"\nconnect-timeout = 0.5\n";
    let args = |more: &[&'static str]| size.into_iter().chain(more.iter().copied()).collect::<Vec<_>>();
    // Flags for a local grid put the file's broker aside.
    for flags in [&["--workers", "1"][..], &["--kernel", "scalar"], &["--no-mirror"]] {
        assert_eq!(run_with(&lab, nobody, &[], &args(flags)).report()["width"], 40, "{flags:?}");
    }
    let unreachable = run_with(&lab, nobody, &[], &args(&[]));
    assert_eq!(unreachable.code(), 3, "{unreachable:?}");
    // A flag for a broker does not clash with what the file says of local grids.
    let local = "[render]\nworkers = 1\nkernel = \"scalar\"\nno-mirror = true\n";
    let broker = Broker::start(&lab);
    let worker = Worker::start(&lab, &broker, "w", 1);
    broker.await_status(&lab, "the worker is there", |status| worker.row(status).is_some());
    let mut line = args(&[]);
    line.extend(["--broker", &broker.clients]);
    assert_eq!(run_with(&lab, local, &[], &line).report()["width"], 40);
    assert_eq!(broker.status(&lab)["broker"]["jobs_done"], 1, "it was rendered there");
    // Two flags that clash do so with a file as well.
    line.extend(["--workers", "1"]);
    let clash = run_with(&lab, local, &[], &line);
    assert!(clash.code() == 2 && clash.stderr.contains("--workers") && clash.stderr.contains("--broker"), "{clash:?}");
}

#[test]
fn a_variable_turns_a_switch_of_the_file_off() {
    let lab = lab();
    let mirrors = |variables: &[(&str, &str)]| {
        let variables = [&[("FRACTALLY_LOG", "debug")], variables].concat();
        let args = ["render", "--json", "--size", "701x611", "--iter", "300", "--workers", "2"];
        let run = run_with(&lab, "[render]\nno-mirror = true\n", &variables, &args);
        run.report();
        run.stderr.lines().filter(|line| line.contains(" mirror=")).count()
    };
    assert_eq!(mirrors(&[]), 0);
    assert!(mirrors(&[("FRACTALLY_NO_MIRROR", "false")]) > 0);
}

#[test]
fn a_local_grid_reads_no_file() {
    let lab = lab();
    let file = "log = \"warn\"\n[broker]\nstate = \"kept\"\nlisten = \"0.0.0.0\"\n[worker]\nbroker = \"tcp://127.0.0.1:1\"\nthreads = 100\n";
    let report = run_with(&lab, file, &[], &["render", "--json", "--size", "50x40", "--workers", "1"]).report();
    assert_eq!(report["workers"], 1);
    assert_eq!(lab.files(), ["f.toml", "julia.png"]);
    lab.expect_nothing_left();
}

#[test]
fn options_that_need_one_another_may_stand_in_different_places() {
    let lab = lab();
    let ports = ["broker", "--client-port", "0", "--worker-port", "0"];
    let starts = |file: &str, variables: &[(&str, &str)], flags: &[&'static str]| {
        let line: Vec<_> = ports.into_iter().chain(flags.iter().copied()).collect();
        Broker::try_start_by(command_with(&lab, file, variables, &line)).map(|_| ())
    };
    starts("[broker]\nstate = \"a\"\n", &[], &["--state-size", "7"]).unwrap();
    starts("[broker]\nstate-size = 7\n", &[], &["--state", "b"]).unwrap();
    starts("[broker]\nstate-size = 7\n", &[("FRACTALLY_STATE", "c")], &[]).unwrap();
    starts("[broker]\nstate = \"d\"\n", &[("FRACTALLY_STATE_SIZE", "7")], &[]).unwrap();
    let alone = starts("[broker]\nstate-size = 7\n", &[], &[]).unwrap_err();
    assert_eq!(alone.code(), 2, "{alone:?}");
    assert!(alone.stderr.contains("f.toml:2: ") && alone.stderr.contains("--state <DIRECTORY>"), "{alone:?}");
    let untrusted = starts("[broker]\nlisten = \"0.0.0.0\"\n", &[], &[]).unwrap_err();
    assert!(untrusted.code() == 2 && untrusted.stderr.contains("--trust-network"), "{untrusted:?}");
}

#[test]
fn a_wrong_file_is_refused_by_every_role_and_nothing_is_done() {
    let lab = lab();
    let wrong = "[broker]\nlisen = \"::1\"\n\n[worker]\nthreads = 0\n";
    for role in ["render", "broker", "worker", "submit", "list", "status", "up", "gateway"] {
        let run = run_with(&lab, wrong, &[], &[role]);
        assert_eq!(run.code(), 2, "{role}: {run:?}");
        assert!(run.stdout.is_empty(), "{role}: {run:?}");
        for words in ["f.toml:2: [broker] has no key `lisen`; did you mean `listen`?", "f.toml:5: [worker] threads = 0: "] {
            assert!(run.stderr.contains(words), "{role} does not say {words:?}: {}", run.stderr);
        }
    }
    assert_eq!(lab.files(), ["f.toml"]);
    // What only tells of the program does not need it.
    for args in [&["--help"][..], &["broker", "--help"], &["--version"], &["completions", "bash"], &["man"], &["help", "worker"]]
    {
        assert_eq!(run_with(&lab, wrong, &[], args).code(), 0, "{args:?}");
    }
    // What is wrong with the command line is told by its own words.
    let both = run_with(&lab, wrong, &[], &["broker", "--lisen", "::1"]);
    assert!(both.code() == 2 && both.stderr.contains("unexpected argument '--lisen'"), "{both:?}");
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let lab = lab();
    fs::write(lab.path("latin1.toml"), b"log = '\xe9'").unwrap();
    fs::write(lab.path("large.toml"), vec![b'\n'; (1 << 20) + 1]).unwrap();
    for (file, words) in [
        ("missing.toml", ["missing.toml", "FRACTALLY_CONFIG"]),
        (".", ["directory", "--config"]),
        ("latin1.toml", ["latin1.toml", "UTF-8"]),
        ("large.toml", ["large.toml", "1048576 bytes"]),
        ("/dev/zero", ["/dev/zero", "1048576 bytes"]),
    ] {
        let run = lab.run(["worker", "--config", file]);
        assert_eq!(run.code(), 2, "{file}: {run:?}");
        assert!(words.iter().all(|word| run.stderr.contains(word)), "{file}: {}", run.stderr);
    }
}

#[test]
fn the_example_is_accepted_by_the_program() {
    let lab = lab();
    let example = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/fractally.toml")).unwrap();
    // Nothing in it asks doctor for a grid that is not here.
    let in_use: Vec<_> = example
        .split("[doctor]")
        .next()
        .unwrap()
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => rest,
            _ => line,
        })
        .collect();
    for text in [example.clone(), in_use.join("\n")] {
        let run = run_with(&lab, &text, &[], &["doctor", "--json"]);
        let report = run.report();
        assert_eq!(report["checks"][0]["topic"], "config");
        assert_eq!(report["checks"][0]["verdict"], "ok", "{report}");
        assert_eq!(report["checks"][0]["text"].as_str().unwrap().contains("broker.listen, broker.client-port"), text != example);
    }
}
