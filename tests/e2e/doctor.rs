//! `fractally doctor`: what it tells of a machine and of a broker, that it is right, and that nothing keeps it waiting.

use std::{fs, net::TcpListener, path::Path};

use fractally_proto::{Encoding, WorkerHello};
use fractally_testkit::{Broker, Lab, Lan, Mount, Puppet, Run, Worker};
use serde_json::Value;

use crate::lab;

/// The report of a run, whatever its exit code, which must fit the verdicts.
fn report(run: &Run) -> Value {
    let report: Value = serde_json::from_slice(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run:?}"));
    let is_bad = report["checks"].as_array().unwrap().iter().any(|check| check["verdict"] == "bad");
    assert_eq!(run.code(), i32::from(is_bad), "{run:?}");
    assert_eq!(run.stderr.contains("bad"), is_bad, "{run:?}");
    report
}

fn doctor(lab: &Lab, args: &[&str]) -> Value {
    report(&lab.run(["doctor", "--json"].iter().chain(args)))
}

/// Verdicts and texts of one topic, and the advice behind them.
fn found(report: &Value, topic: &str) -> Vec<(String, String)> {
    let checks = report["checks"].as_array().unwrap().iter().filter(|check| check["topic"] == topic);
    let text = |check: &Value, field: &str| check[field].as_str().unwrap_or_default().to_owned();
    checks.map(|check| (text(check, "verdict"), format!("{} -> {}", text(check, "text"), text(check, "advice")))).collect()
}

fn the_one(report: &Value, topic: &str) -> (String, String) {
    let found = found(report, topic);
    assert_eq!(found.len(), 1, "{report}");
    found[0].clone()
}

fn assert_bad(report: &Value, topic: &str, words: &[&str]) {
    let found = found(report, topic);
    let (_, text) = found.iter().find(|(verdict, _)| verdict == "bad").unwrap_or_else(|| panic!("nothing is bad: {found:?}"));
    assert!(words.iter().all(|word| text.contains(word)), "{text} does not say {words:?}");
}

#[test]
fn people_and_programs_are_told_the_same() {
    let lab = lab();
    let run = lab.run(["doctor"]);
    let text = String::from_utf8(run.stdout.clone()).unwrap();
    let report = doctor(&lab, &[]);
    let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start)).unwrap_or_else(|| panic!("{start}: {text}"));
    assert_eq!(line("program  "), report["program"].as_str().unwrap());
    assert_eq!(line("engine   "), report["engine"].as_str().unwrap());
    assert_eq!(line("protocol "), report["protocol"].to_string());
    assert_eq!(line("cores    "), report["cores"].to_string());
    let kernel = format!("{}: {}", report["kernel"].as_str().unwrap(), report["reason"].as_str().unwrap());
    assert_eq!(line("kernel   "), kernel);
    assert_eq!(report["kernels"].as_array().unwrap().last(), Some(&report["kernel"]), "the fastest is chosen");
    let topics: Vec<_> = report["checks"].as_array().unwrap().iter().map(|check| check["topic"].as_str().unwrap()).collect();
    for topic in ["config", "cores", "memory", "descriptors", "sockets", "temporary", "ports"] {
        assert!(topics.contains(&topic), "{topic} of {topics:?}");
        let is_line =
            |line: &str| ["ok ", "note ", "bad "].iter().any(|verdict| line.starts_with(verdict)) && line.contains(topic);
        assert!(text.lines().any(is_line), "{topic}: {text}");
    }
    for check in report["checks"].as_array().unwrap() {
        assert_eq!(check["advice"].is_string(), check["verdict"] != "ok", "what is not well has advice: {check}");
    }
    assert_eq!(run.code(), 0, "{run:?}");
    assert!(lab.files().is_empty() && lab.temporary().read_dir().unwrap().next().is_none(), "nothing is left");
}

#[test]
fn a_grid_that_is_well_is_told_to_be() {
    let lab = lab();
    let broker = Broker::start_with(&lab, &["--client-port", "0", "--worker-port", "0", "--state", "kept"]);
    let workers = [Worker::start(&lab, &broker, "a", 1), Worker::start(&lab, &broker, "b", 2)];
    broker.await_status(&lab, "the workers are there", |status| workers.iter().all(|worker| worker.row(status).is_some()));
    let job = broker.submit(&lab, &["--size", "60x40"]);
    broker.await_done(&lab, &job);
    let report = doctor(&lab, &["--broker", &broker.clients, "--worker-broker", &broker.workers, "--state", "kept"]);
    let told = found(&report, "broker");
    assert!(told.iter().all(|(verdict, _)| verdict == "ok"), "{told:?}");
    for words in [
        "accepts connections (".to_owned(),
        format!("{} speaks protocol {}, and answers within ", report["program"].as_str().unwrap(), report["protocol"]),
        "workers: 2, their threads: 3, other clients: 0, jobs: 0; every engine is".to_owned(),
        "detached jobs that it keeps: 1, ".to_owned(),
    ] {
        assert!(told.iter().any(|(_, text)| text.contains(&words)), "{words:?} of {told:?}");
    }
    let of_workers = found(&report, "worker-broker");
    assert!(of_workers.iter().all(|(verdict, _)| verdict == "ok") && of_workers.len() == 2, "{of_workers:?}");
    let (verdict, text) = the_one(&report, "state");
    assert!(verdict != "bad" && text.contains("jobs: 1, "), "{text}");
    // It came as nobody's worker, and nothing was leased to it.
    let status = broker.status(&lab);
    assert_eq!(status["workers"].as_array().map(Vec::len), Some(2), "{status}");
    // By name, and from variables.
    let mut command = lab.command(["doctor", "--json"]);
    let by_name = broker.clients.replace("127.0.0.1", "localhost");
    command.env("FRACTALLY_BROKER", &by_name);
    let told = found(&self::report(&lab.start(command).wait()), "broker");
    assert!(told.iter().any(|(_, text)| text.contains("localhost is ")), "{told:?}");
}

#[test]
fn a_grid_that_is_not_well_is_told_with_what_to_do() {
    let lab = lab();
    let broker = Broker::start(&lab);
    // Nobody works, and nothing is kept: that may be so, and is worth knowing.
    let told = found(&doctor(&lab, &["--broker", &broker.clients]), "broker");
    let notes: Vec<_> = told.iter().filter(|(verdict, _)| verdict == "note").map(|(_, text)| text.as_str()).collect();
    assert!(notes[0].contains("fractally worker") && notes[1].contains("--state") && notes.len() == 2, "{told:?}");
    // The two endpoints were taken for one another.
    let swapped = doctor(&lab, &["--broker", &broker.workers, "--worker-broker", &broker.clients]);
    assert_bad(&swapped, "broker", &["workers say what they compute", "5555"]);
    assert_bad(&swapped, "worker-broker", &["endpoint for clients", "5556"]);
    // Somebody computes by other rules.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let told = runtime.block_on(async {
        let about = WorkerHello {
            name: "stranger".to_owned(),
            engine: "abacus-9".to_owned(),
            kernel: "beads".to_owned(),
            threads: 4,
            credit: 1,
            encodings: vec![Encoding::Png],
        };
        let mut stranger = Puppet::worker(&broker.workers, about).await;
        assert_eq!(stranger.hear().await.map(|message| message.name()), Some("Welcome"));
        found(&doctor(&lab, &["--broker", &broker.clients]), "broker")
    });
    assert!(
        told.iter().any(|(verdict, text)| verdict == "note" && text.contains("stranger") && text.contains("abacus-9")),
        "{told:?}"
    );
}

#[test]
fn a_broker_that_is_not_there_is_told_by_the_step_that_fails() {
    let lab = lab();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    for option in ["--broker", "--worker-broker"] {
        let topic = option.trim_start_matches('-');
        let refused = doctor(&lab, &[option, &format!("tcp://{free}")]);
        assert_bad(&refused, topic, &["cannot be connected to", "fractally broker"]);
        // Somebody listens there who never says a word.
        let silent = doctor(&lab, &[option, &format!("tcp://{}", mute.local_addr().unwrap())]);
        assert!(found(&silent, topic)[0].1.contains("accepts connections"), "{silent}");
        assert_bad(&silent, topic, &[&mute.local_addr().unwrap().to_string()]);
        let nameless = doctor(&lab, &[option, "tcp://no-such-host.invalid:5555"]);
        assert_bad(&nameless, topic, &["no-such-host.invalid", "/etc/hosts"]);
        let socket = doctor(&lab, &[option, "ipc:///no/such/socket"]);
        assert_bad(&socket, topic, &["/no/such/socket"]);
    }
    let wrong = lab.run(["doctor", "--broker", "localhost"]);
    assert!(wrong.code() == 2 && wrong.stderr.contains("tcp://HOST:PORT"), "{wrong:?}");
}

#[test]
fn a_host_that_swallows_everything_is_told_in_time_and_so_is_who_has_a_port() {
    let lab = lab();
    let Some(lan) = Lan::with_hosts(2) else { return };
    let on = |host: usize, args: &[&str]| lan.on(host, &lab.command(args));
    // A network of its own has all ports free, until a broker takes the default ones.
    let ports = |host: usize| {
        let report = report(&lab.start(on(host, &["doctor", "--json"])).wait());
        found(&report, "ports").into_iter().map(|(verdict, text)| (verdict, text.split(" -> ").next().unwrap().to_owned()))
    };
    assert!(ports(1).all(|(verdict, text)| verdict == "ok" && text.ends_with("is free")), "{:?}", ports(1).collect::<Vec<_>>());
    let broker = Broker::start_by(on(1, &["broker"]));
    let taken: Vec<_> = ports(1).collect();
    let by = format!("is taken by fractally (process {})", broker.process.id());
    assert_eq!(taken[0], ("note".to_owned(), format!("5555, for clients, {by}")));
    assert_eq!(taken[1], ("note".to_owned(), format!("5556, for workers, {by}")));
    assert_eq!(taken[2].0, "ok");
    lan.lose(0, 1);
    let lost = format!("tcp://{}:5555", Lan::address(1));
    let report = report(&lab.start(on(0, &["doctor", "--json", "--broker", &lost, "--worker-broker", &lost])).wait());
    for topic in ["broker", "worker-broker"] {
        assert_bad(&report, topic, &[&Lan::address(1), "cannot be connected to", "firewall"]);
    }
}

/// Names and contents of all files below a folder.
fn tree(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let bytes = if path.is_dir() { Vec::new() } else { fs::read(&path).unwrap() };
            found.push((path.display().to_string(), bytes));
            folders.extend(path.is_dir().then_some(path));
        }
    }
    found.sort();
    found
}

#[test]
fn a_state_directory_is_looked_at_and_not_touched() {
    let lab = lab();
    let broker = Broker::start_with(&lab, &["--client-port", "0", "--worker-port", "0", "--state", "kept"]);
    broker.submit(&lab, &["--size", "60x40"]);
    broker.process.kill();
    drop(broker);
    let before = tree(&lab.path("kept"));
    let (verdict, text) = the_one(&doctor(&lab, &["--state", "kept"]), "state");
    assert!(verdict != "bad" && text.contains("jobs: 1, ") && text.contains(" free"), "{text}");
    assert_eq!(tree(&lab.path("kept")), before);
    // One that a broker would make is not made.
    let (verdict, text) = the_one(&doctor(&lab, &["--state", "new/deep"]), "state");
    assert!(verdict != "bad" && text.contains("not there yet"), "{text}");
    assert!(!lab.path("new").exists());
    // Ones that a broker refuses.
    let format = lab.path("kept/format");
    let bytes = fs::read(&format).unwrap();
    fs::write(&format, [&bytes[..12], &[0; 4]].concat()).unwrap();
    assert_bad(&doctor(&lab, &["--state", "kept"]), "state", &["damaged"]);
    fs::write(&format, b"FRLY-fmt\x02\0\0\0\x15\x8c\x9d\xbc").unwrap();
    let newer = doctor(&lab, &["--state", "kept"]);
    assert_bad(&newer, "state", &["a broker that is given it will not start"]);
    assert_bad(&doctor(&lab, &["--state", "kept/jobs"]), "state", &["not a state directory"]);
    assert_bad(&doctor(&lab, &["--state", "kept/format"]), "state", &["no directory"]);
    assert_bad(&doctor(&lab, &["--state", "/proc/new"]), "state", &["cannot be made"]);
}

#[test]
fn a_disk_that_takes_nothing_is_told() {
    let lab = lab();
    let Some(mount) = Mount::of_mib(&lab.path("small"), 8) else { return };
    let (verdict, text) = the_one(&doctor(&lab, &["--state", "small"]), "state");
    assert!(verdict == "note" && text.contains("--state-size") && text.contains("MiB free"), "{text}");
    mount.make_read_only();
    assert_bad(&doctor(&lab, &["--state", "small"]), "state", &["cannot be written", "Read-only"]);
}

#[test]
fn the_limits_of_a_machine_are_told() {
    let lab = lab();
    let few = lab.start(lab.command_with_descriptors(90, ["doctor", "--json"])).wait();
    assert_bad(&report(&few), "descriptors", &["90 open at once", "ulimit -Hn"]);
    let some = lab.start(lab.command_with_descriptors(1024, ["doctor", "--json"])).wait();
    assert_eq!(the_one(&report(&some), "descriptors").0, "note");
    let with_folder = |folder: &str| {
        let mut command = lab.command(["doctor", "--json"]);
        command.env("TMPDIR", folder);
        report(&lab.start(command).wait())
    };
    assert_bad(&with_folder("/no/such/folder"), "temporary", &["/no/such/folder", "TMPDIR"]);
    let long = lab.path(&"x".repeat(80));
    fs::create_dir(&long).unwrap();
    let (verdict, text) = the_one(&with_folder(long.to_str().unwrap()), "sockets");
    assert!(verdict == "note" && text.contains("too long for a socket's path") && text.contains("/tmp"), "{text}");
}

#[test]
fn options_from_elsewhere_are_told_by_name() {
    let lab = lab();
    fs::write(lab.path("f.toml"), "log = \"info\"\n[broker]\nmemory = 64\n[render]\nc = \"i\"\n").unwrap();
    let mut command = lab.command(["doctor", "--json", "--config", "f.toml"]);
    command.envs([("FRACTALLY_ACCOUNT", "secret"), ("FRACTALLY_THREAD", "2"), ("FRACTALLY_LOG", "warn")]);
    let run = lab.start(command).wait();
    let told = report(&run);
    assert_eq!(the_one(&told, "config"), ("ok".to_owned(), "f.toml sets log, broker.memory, render.c -> ".to_owned()));
    let variables = found(&told, "variables");
    assert!(variables[0].1.contains("FRACTALLY_ACCOUNT, FRACTALLY_LOG") && variables[0].0 == "ok", "{variables:?}");
    assert!(variables[1].1.contains("FRACTALLY_THREAD is") && variables[1].1.contains("FRACTALLY_THREADS?"), "{variables:?}");
    assert!(!run.stdout.windows(6).any(|bytes| bytes == b"secret"), "{run:?}");
    // A file that is refused is what somebody who asks the doctor wants to hear of.
    fs::write(lab.path("f.toml"), "[broker]\nmemry = 64\n").unwrap();
    assert_bad(&doctor(&lab, &["--config", "f.toml"]), "config", &["f.toml:2: ", "did you mean `memory`?", "mend the file"]);
    let plain = lab.run(["doctor", "--config", "f.toml"]);
    assert_eq!(plain.code(), 1);
    let text = String::from_utf8(plain.stdout).unwrap();
    assert!(text.lines().any(|line| line.starts_with("bad   config ")) && text.contains("\nkernels  "), "{text}");
}
