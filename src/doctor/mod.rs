//! `fractally doctor`: what this machine computes with, and what stands in the way of a grid on it.
//!
//! It looks and changes nothing that lasts. Each check is a thread with a time limit, so that a disk or a name server that does not answer
//! becomes a line and not a hang; all run at once.
//!
//! `report.rs` is what a check says. `machine.rs` looks at cores, memory and descriptors, `folders.rs` at disks, `ports.rs` at ports,
//! `options.rs` at the file and the variables, `grid.rs` at a broker.

mod folders;
mod grid;
mod machine;
mod options;
mod ports;
mod report;

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::CommandFactory;
use fractally_proto::VERSION;
use fractally_worker::{ENGINE_ID, Kernel};
use tokio::sync::oneshot;

use self::report::{Finding, Report, Verdict};
use crate::{
    AGENT,
    cli::{Cli, DoctorArgs},
    config::{Config, Refused},
    exit::{Code, Failure},
    life::Stop,
    output::print_line,
    worker::{cores, unknown_kernel},
};

/// How long a check may take, and each step of one that has several.
const LIMIT: Duration = Duration::from_secs(5);
/// What a broker is looked at in: its name, its port, its words, and some more time to tell what came of them.
const STEPS_MAX: u32 = 4;

pub(crate) async fn run(args: DoctorArgs, config: Option<Result<Config, Refused>>, stop: Stop) -> Result<(), Failure> {
    let (kernel, reason) = Kernel::choose(args.kernel.as_deref()).map_err(unknown_kernel)?;
    let report = Report {
        program: AGENT,
        engine: ENGINE_ID,
        protocol: VERSION,
        cores: cores(),
        kernel: kernel.name(),
        reason,
        kernels: Kernel::all().into_iter().map(Kernel::name).collect(),
        checks: stop.or(async { Ok(checks(&args, config.as_ref()).await) }).await?,
    };
    let text = if args.json { serde_json::to_string_pretty(&report).context("cannot write JSON")? } else { report.to_string() };
    print_line(text.trim_end())?;
    match report.checks.iter().filter(|finding| finding.verdict == Verdict::Bad).count() {
        0 => Ok(()),
        1 => Err(failure("one check is bad; its line says what to do")),
        count => Err(failure(&format!("{count} checks are bad; their lines say what to do"))),
    }
}

fn failure(message: &str) -> Failure {
    Failure { code: Code::Failure, message: message.to_owned() }
}

async fn checks(args: &DoctorArgs, config: Option<&Result<Config, Refused>>) -> Vec<Finding> {
    let mut begun = vec![
        begin("cores", || vec![machine::cores()]),
        begin("memory", || vec![machine::memory()]),
        begin("descriptors", || vec![machine::descriptors()]),
        begin("sockets", || vec![folders::sockets()]),
        begin("temporary", || vec![folders::temporary()]),
        begin("ports", ports::all),
    ];
    if let Some(directory) = args.state.clone() {
        begun.push(begin("state", move || vec![folders::state(&directory)]));
    }
    if let Some(endpoint) = args.broker.clone() {
        begun.push(begin_steps("broker", STEPS_MAX, move || grid::clients(&endpoint)));
    }
    if let Some(endpoint) = args.worker_broker.clone() {
        begun.push(begin_steps("worker-broker", STEPS_MAX, move || grid::workers(&endpoint)));
    }
    let program = Cli::command();
    let mut findings = options::file(config);
    findings.extend(options::variables(&program));
    for check in begun {
        findings.extend(check.end().await);
    }
    findings
}

/// A check under way.
struct Begun {
    topic: &'static str,
    until: tokio::time::Instant,
    findings: oneshot::Receiver<Vec<Finding>>,
}

fn begin(topic: &'static str, check: impl FnOnce() -> Vec<Finding> + Send + 'static) -> Begun {
    begin_steps(topic, 1, check)
}

/// Begins a check. Its thread is left behind where it does not come to an end.
fn begin_steps(topic: &'static str, steps: u32, check: impl FnOnce() -> Vec<Finding> + Send + 'static) -> Begun {
    let (tell, findings) = oneshot::channel();
    in_a_thread(move || {
        // Nobody listens any more where it took too long.
        let _ = tell.send(check());
    });
    Begun { topic, until: tokio::time::Instant::now() + LIMIT * steps, findings }
}

impl Begun {
    async fn end(self) -> Vec<Finding> {
        match tokio::time::timeout_at(self.until, self.findings).await {
            Ok(Ok(findings)) => findings,
            Ok(Err(_)) => vec![Finding::bad(
                self.topic,
                "the check could not be done",
                "the system gives no thread; stop something, and try again",
            )],
            Err(_) => vec![no_answer(self.topic)],
        }
    }
}

fn no_answer(topic: &'static str) -> Finding {
    Finding::bad(
        topic,
        format!("no answer within {} s", LIMIT.as_secs()),
        "look at what does not answer there: a disk, a mount, a name server",
    )
}

/// What `step` gives, if it does so in time.
fn in_time<T: Send + 'static>(step: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (tell, told) = mpsc::sync_channel(1);
    in_a_thread(move || {
        let _ = tell.send(step());
    });
    told.recv_timeout(LIMIT).ok()
}

/// Does it on a thread of its own, which nobody waits for. Where there is no thread to be had, whoever listens hears that at once.
fn in_a_thread(work: impl FnOnce() + Send + 'static) {
    let _ = thread::Builder::new().name("doctor".to_owned()).spawn(work);
}

/// What an option has where nobody sets it.
fn default_of(role: &str, option: &str) -> Option<String> {
    let program = Cli::command();
    let option = program.find_subcommand(role)?.get_arguments().find(|arg| arg.get_id() == option)?;
    option.get_default_values().first().map(|value| value.to_string_lossy().into_owned())
}

#[expect(clippy::disallowed_methods, reason = "it tells how long peers take to answer")]
fn read_clock() -> Instant {
    Instant::now()
}
