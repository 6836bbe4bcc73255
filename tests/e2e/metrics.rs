//! What a broker tells monitors: that it is text as the formats want it, that it is true, and that no scraper disturbs the grid.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
};

use fractally_testkit::{Broker, Lab, Worker, eventually};
use serde_json::Value;

use crate::{ENDLESS, lab};

const SERVED: [&str; 2] = ["--metrics", "127.0.0.1:0"];

/// The head and the body of the answer to a question.
fn ask(address: SocketAddr, question: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(question.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    (head.to_owned(), body.to_owned())
}

fn scrape(address: SocketAddr, accept: &str) -> (String, String) {
    let (head, body) = ask(address, &format!("GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n"));
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    (head, body)
}

/// The samples of a scrape, by name and labels as they are written.
struct Samples(BTreeMap<String, f64>);

impl Samples {
    fn of(address: SocketAddr) -> Self {
        Self(parse(&scrape(address, "text/plain").1))
    }

    fn get(&self, sample: &str) -> f64 {
        *self.0.get(sample).unwrap_or_else(|| panic!("{sample} is not told, but {:?}", self.0.keys()))
    }

    fn count(&self, sample: &str) -> u64 {
        let count = self.get(sample);
        assert!(count >= 0.0 && count.fract() == 0.0, "{sample} is {count}");
        format!("{count}").parse().unwrap()
    }

    /// The sum over all labels.
    fn sum(&self, name: &str) -> f64 {
        self.0.iter().filter(|(sample, _)| sample.split('{').next() == Some(name)).map(|(_, value)| value).sum()
    }
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Reads the older text format, and holds each line to it: HELP, then TYPE, then samples of that family alone, none twice.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let (mut helped, mut family, mut kind) = (String::new(), String::new(), String::new());
    let mut families = Vec::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap_or_else(|| panic!("no help: {line}"));
            assert!(is_name(name) && name.starts_with("fractally_") && help.len() > 10 && help.ends_with('.'), "{line}");
            assert!(!families.contains(&name.to_owned()), "told twice: {line}");
            families.push(name.to_owned());
            name.clone_into(&mut helped);
        } else if let Some(described) = line.strip_prefix("# TYPE ") {
            let (name, is) = described.split_once(' ').unwrap_or_else(|| panic!("no type: {line}"));
            assert_eq!(name, helped, "{line}");
            assert!(["counter", "gauge", "histogram"].contains(&is), "{line}");
            assert_eq!(is == "counter", name.ends_with("_total"), "{line}");
            (family, kind) = (name.to_owned(), is.to_owned());
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
            let name = sample.split('{').next().unwrap();
            let parts: &[&str] = if kind == "histogram" { &["_bucket", "_count", "_sum"] } else { &[""] };
            assert!(name.strip_prefix(&family).is_some_and(|part| parts.contains(&part)), "{line} of {family}, a {kind}");
            if let Some(labels) = sample.strip_prefix(name).filter(|labels| !labels.is_empty()) {
                let labels =
                    labels.strip_prefix('{').and_then(|labels| labels.strip_suffix('}')).unwrap_or_else(|| panic!("{line}"));
                for label in labels.split(',') {
                    let (label, value) = label.split_once('=').unwrap_or_else(|| panic!("{line}"));
                    assert!(is_name(label) && value.len() > 2 && value.starts_with('"') && value.ends_with('"'), "{line}");
                }
            }
            let number = value.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
            assert!(samples.insert(sample.to_owned(), number).is_none(), "told twice: {line}");
        }
    }
    samples
}

/// What `fractally status --job` says of a job: bands, attempts, backups.
fn story(lab: &Lab, broker: &Broker, job: &str) -> [u64; 3] {
    let story = lab.run(["status", "--json", "--broker", &broker.clients, "--job", job]).report();
    ["bands", "attempts", "backups"].map(|field| story[field].as_u64().unwrap_or_else(|| panic!("{field} of {story}")))
}

#[test]
fn counters_equal_what_was_done() {
    let lab = lab();
    let (broker, address) = Broker::start_with_metrics(&lab, &[&SERVED[..], &["--state", "state"]].concat());
    let worker = Worker::start(&lab, &broker, "w", 2);
    let render = ["render", "--json", "--broker", &broker.clients, "--size", "600x500", "-o", "a.npy"];
    let rendered = lab.run(render).report();
    let kept = broker.submit(&lab, &["--key", "k", "--size", "300x200", "--format", "npy"]);
    let listed = broker.await_done(&lab, &kept);
    let conflict = broker.ask(&lab, "submit", &["--key", "k", "--size", "301x200"]);
    assert_eq!(conflict.code(), 2, "{conflict:?}");
    let endless = broker.submit(&lab, &[&ENDLESS[..], &["--iter", "900000000"]].concat());
    broker.await_status(&lab, "it works on the endless one", |status| worker.holds_a_band(status));
    eventually("it is told", || {
        (Samples::of(address).count("fractally_jobs{kind=\"detached\",state=\"running\"}") == 1).then_some(())
    });
    assert_eq!(broker.ask(&lab, "cancel", &[&endless]).code(), 0);

    // Gauges are told once a heartbeat.
    let samples = eventually("the cancelled job is gone from the gauges", || {
        Some(Samples::of(address))
            .filter(|samples| samples.sum("fractally_jobs") == 0.0 && samples.get("fractally_held_bytes") == 0.0)
    });
    let stories = [rendered["job"].as_str().unwrap(), &kept, &endless].map(|job| story(&lab, &broker, job));
    let sum = |field: usize| stories.iter().map(|story| story[field]).sum::<u64>();
    let number = |report: &Value, field: &str| report[field].as_u64().unwrap_or_else(|| panic!("{field} of {report}"));
    let counted = |sample: &str| samples.count(sample);
    assert_eq!(counted("fractally_jobs_ended_total{how=\"done\"}"), 2);
    assert_eq!(counted("fractally_jobs_ended_total{how=\"cancelled\"}"), 1);
    assert_eq!(counted("fractally_jobs_ended_total{how=\"failed\"}"), 0);
    assert_eq!(counted("fractally_job_seconds_count"), 3);
    assert_eq!(counted("fractally_job_seconds_bucket{le=\"+Inf\"}"), 3);
    assert_eq!(counted("fractally_refusals_total{code=\"key_conflict\"}"), 1);
    assert_eq!(samples.sum("fractally_refusals_total"), 1.0);
    assert_eq!(counted("fractally_bands_total{end=\"delivered\"}"), sum(0));
    assert_eq!(samples.sum("fractally_bands_total"), sum(1) as f64, "every try has ended once");
    assert!(counted("fractally_bands_total{end=\"withdrawn\"}") > 0, "the cancelled job's");
    assert_eq!(counted("fractally_bands_total{end=\"failed\"}"), 0);
    assert_eq!(counted("fractally_backup_attempts_total"), sum(2));
    assert!(counted("fractally_band_retries_total") <= counted("fractally_bands_total{end=\"given_back\"}"));
    assert_eq!(counted("fractally_band_seconds_count"), sum(0));
    assert!(samples.get("fractally_band_seconds_sum") > 0.0);
    assert_eq!(counted("fractally_iterations_total"), number(&rendered, "iterations") + number(&listed, "iterations"));
    let computed = rendered["compute_seconds"].as_f64().unwrap() + number(&listed, "compute_ns") as f64 / 1e9;
    assert!((samples.get("fractally_compute_seconds_total") - computed).abs() < 1e-6, "{computed} s");
    assert_eq!(counted("fractally_strip_bytes_sent_total"), 4 * 600 * 500, "the kept job went to the disk");
    assert!(counted("fractally_tile_bytes_total") >= 4 * (600 * 500 + 300 * 200));
    assert_eq!([counted("fractally_workers"), counted("fractally_worker_threads")], [1, 2]);
    assert_eq!(counted("fractally_journal_jobs"), 2);
    assert!(counted("fractally_journal_bytes") >= 4 * 300 * 200);
    assert_eq!(counted("fractally_journal_bytes_max"), 16 << 30);
    assert_eq!(counted("fractally_journal_trouble"), 0);
    assert!(samples.get("fractally_uptime_seconds") > 0.0);
    let about = samples.0.keys().find(|sample| sample.starts_with("fractally_build_info{")).unwrap();
    assert!(about.contains(&format!("version=\"{}\"", env!("CARGO_PKG_VERSION"))) && about.contains("engine=\""), "{about}");
}

#[test]
fn a_killed_workers_bands_are_counted_as_tried_again() {
    let lab = lab();
    let (broker, address) = Broker::start_with_metrics(&lab, &SERVED);
    let victim = Worker::start(&lab, &broker, "victim", 1);
    let render = ["render", "--json", "--broker", &broker.clients, "-o", "a.png"];
    let render = lab.start(lab.command(render.iter().chain(&crate::LONG)));
    broker.await_status(&lab, "the victim works", |status| victim.holds_a_band(status));
    victim.process.stand_still();
    broker.await_status(&lab, "the victim still holds a band", |status| victim.holds_a_band(status));
    victim.process.kill();
    let _heir = Worker::start(&lab, &broker, "heir", 1);
    let report = render.wait().report();
    let samples = Samples::of(address);
    let lost = samples.get("fractally_bands_total{end=\"failed\"}") + samples.get("fractally_bands_total{end=\"given_back\"}");
    assert!(samples.get("fractally_bands_total{end=\"failed\"}") >= 1.0 && samples.get("fractally_band_retries_total") >= 1.0);
    assert!(samples.get("fractally_band_retries_total") <= lost);
    assert_eq!(Some(samples.count("fractally_bands_total{end=\"delivered\"}")), report["bands"].as_u64());
    assert!(!samples.0.keys().any(|sample| sample.starts_with("fractally_journal")), "there is none");
    assert!(!samples.0.keys().any(|sample| sample.contains("victim") || sample.contains("heir")), "no names");
}

#[test]
fn both_formats_tell_the_same() {
    let lab = lab();
    let (_broker, address) = Broker::start_with_metrics(&lab, &SERVED);
    let (head, classic) = scrape(address, "*/*");
    assert!(head.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{head}");
    let (head, open) = scrape(address, "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.3");
    assert!(head.to_lowercase().contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(open.ends_with("\n# EOF\n") && !classic.contains("# EOF"));
    let samples = |text: &str| -> Vec<String> {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
    };
    assert_eq!(samples(&open), samples(&classic));
    assert!(parse(&classic).len() > 50);
}

#[test]
fn scrapers_that_say_nothing_disturb_neither_renders_nor_others() {
    let lab = lab();
    let (broker, address) = Broker::start_with_metrics(&lab, &SERVED);
    let _worker = Worker::start(&lab, &broker, "w", 1);
    // More than are served at once, and some that stop in the midst of a word.
    let mute: Vec<_> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
    for mut stream in mute.iter().take(8) {
        stream.write_all(b"GET /metrics HT").unwrap();
    }
    let report = lab.run(["render", "--json", "--broker", &broker.clients, "--size", "500x400", "-o", "a.png"]).report();
    assert_eq!(report["attempts"], report["bands"], "nobody was taken for dead: {report}");
    // It stands behind all of those, and has its turn once their time is over.
    assert_eq!(Samples::of(address).count("fractally_jobs_ended_total{how=\"done\"}"), 1);
    drop(mute);
}

#[test]
fn nothing_but_metrics_is_served_and_only_where_it_was_asked_for() {
    let lab = lab();
    let (_broker, address) = Broker::start_with_metrics(&lab, &SERVED);
    for path in ["/", "/metric", "/metrics/x", "/../metrics"] {
        let (head, body) = ask(address, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(head.starts_with("HTTP/1.1 404 ") && body.contains("/metrics"), "{path}: {head}");
    }
    let (head, _) = ask(address, "DELETE /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 405 "), "{head}");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let holds = TcpListener::bind(taken).unwrap();
    for (value, code, words) in [
        ("0.0.0.0:0", 2, ["--metrics", "--trust-network"]),
        ("[::]:0", 2, ["--metrics", "--trust-network"]),
        ("localhost", 2, ["--metrics", "127.0.0.1:9464"]),
        (&taken.to_string(), 1, ["--metrics", "choose another port"]),
    ] {
        let run = lab.run(["broker", "--client-port", "0", "--worker-port", "0", "--metrics", value]);
        assert_eq!(run.code(), code, "{run:?}");
        for word in words {
            assert!(run.stderr.contains(word), "{value} does not mention {word}: {}", run.stderr);
        }
    }
    drop(holds);
}
