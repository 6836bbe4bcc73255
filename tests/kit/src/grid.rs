//! A broker and workers as a user would start them, on free ports of the loopback.

use std::{
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    process::{Command, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
};

use serde_json::Value;

use crate::{DEADLINE, Lab, Process, Run, eventually};

/// A running broker.
pub struct Broker {
    /// The process.
    pub process: Process,
    /// Where clients connect.
    pub clients: String,
    /// Where workers connect.
    pub workers: String,
}

/// A running worker.
pub struct Worker {
    /// The process.
    pub process: Process,
    /// What it calls itself.
    pub name: String,
}

impl Broker {
    /// Starts a broker on free ports and waits until it listens.
    pub fn start(lab: &Lab) -> Self {
        Self::start_with(lab, &["--client-port", "0", "--worker-port", "0"])
    }

    /// Starts a broker with these options and waits until it listens.
    pub fn start_with(lab: &Lab, options: &[&str]) -> Self {
        Self::start_by(lab.command(["broker"].iter().chain(options)))
    }

    /// Starts a broker on free ports that may open so many descriptors, and waits until it listens.
    pub fn start_with_descriptors(lab: &Lab, descriptors: u32) -> Self {
        let options = ["broker", "--client-port", "0", "--worker-port", "0"];
        Self::start_by(lab.command_with_descriptors(descriptors, options))
    }

    /// Starts a broker by this command and waits until it listens.
    pub fn start_by(command: Command) -> Self {
        Self::try_start_by(command).unwrap_or_else(|run| panic!("the broker does not start: {run:?}"))
    }

    /// The same, of a broker that may have reasons not to start.
    ///
    /// # Errors
    /// What it said when it ended instead.
    pub fn try_start_by(mut command: Command) -> Result<Self, Run> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::ready(Process::of(command.spawn().expect("the broker starts")))
    }

    /// Starts a broker on free ports with these options, one of which makes it serve metrics, and gives where as its log tells it.
    pub fn start_with_metrics(lab: &Lab, options: &[&str]) -> (Self, SocketAddr) {
        let command = lab.command(["broker", "--client-port", "0", "--worker-port", "0"].iter().chain(options));
        let (tell, told) = mpsc::channel();
        let process = lab.follow(command, move |line| {
            let address = line.split_once("http://").and_then(|(_, rest)| rest.split_once("/metrics"));
            if let Some(address) = address.and_then(|(address, _)| address.parse().ok()) {
                let _ = tell.send(address);
            }
        });
        let broker = Self::ready(process).unwrap_or_else(|run| panic!("the broker does not start: {run:?}"));
        let address = told.recv_timeout(DEADLINE).expect("it says where its metrics are");
        (broker, address)
    }

    /// Waits until a broker that was started listens.
    fn ready(mut process: Process) -> Result<Self, Run> {
        let stdout = process.child().stdout.take().expect("its stdout is piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("what it says can be read");
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["ready", clients, workers] => Ok(Self { clients: clients.to_owned(), workers: workers.to_owned(), process }),
            _ => Err(process.wait()),
        }
    }

    /// Starts a broker on two ports that nobody else is given, so that the next one can be started on the same.
    pub fn start_on(lab: &Lab, ports: &[String; 2]) -> Self {
        Self::start_with(lab, &["--client-port", &ports[0], "--worker-port", &ports[1]])
    }

    /// What `fractally status --json` says.
    pub fn status(&self, lab: &Lab) -> Value {
        lab.run(["status", "--json", "--broker", &self.clients]).report()
    }

    /// Waits until the status is as wished.
    pub fn await_status(&self, lab: &Lab, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || Some(self.status(lab)).filter(&is_so))
    }
}

/// Two free ports below the range from which the system takes those of outgoing connections: while no broker listens there, no
/// connection of a parallel test, nor one that seeks the broker, can come to sit on them.
pub fn lasting_ports() -> [String; 2] {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(64);
    std::array::from_fn(|_| {
        loop {
            let port = FIRST + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
            if TcpListener::bind(format!("127.0.0.1:{port}")).is_ok() {
                return port.to_string();
            }
        }
    })
}

impl Worker {
    /// Starts a worker of `threads` threads for a broker.
    pub fn start(lab: &Lab, broker: &Broker, name: &str, threads: u32) -> Self {
        Self::start_with(lab, broker, name, threads, &[])
    }

    /// Starts a worker of `threads` threads for a broker, with these options.
    pub fn start_with(lab: &Lab, broker: &Broker, name: &str, threads: u32, options: &[&str]) -> Self {
        let mut command = Self::command(lab, &broker.workers, name, threads);
        command.args(options);
        Self { process: lab.start(command), name: name.to_owned() }
    }

    /// The command that starts one for the broker at `endpoint`.
    pub fn command(lab: &Lab, endpoint: &str, name: &str, threads: u32) -> Command {
        lab.command(["worker", "--broker", endpoint, "--threads", &threads.to_string(), "--name", name])
    }

    /// Its row in a status.
    pub fn row<'a>(&self, status: &'a Value) -> Option<&'a Value> {
        status["workers"].as_array()?.iter().find(|worker| worker["name"] == self.name.as_str())
    }

    /// Whether it holds at least one band.
    pub fn holds_a_band(&self, status: &Value) -> bool {
        self.row(status).is_some_and(|row| row["leases"].as_u64() > Some(0))
    }
}
