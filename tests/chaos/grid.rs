//! A LAN of real processes, and what can be done to it: each fault, and its end.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use fractally_testkit::{Broker, Dice, Lab, Lan, Process, Proxy, Way, Worker, eventually, lasting_ports};
use serde_json::Value;

use crate::plan::{Fault, Ground, WORKERS, Whom};

/// Host of the broker; the workers' follow.
const BROKER_HOST: usize = 0;
/// The client's host.
const CLIENT_HOST: usize = WORKERS + 1;

/// One broker and some workers, on either ground.
pub(crate) struct Grid {
    pub(crate) lab: Lab,
    ports: [String; 2],
    net: Net,
    broker: Option<Broker>,
    workers: Vec<Option<Worker>>,
    /// Faults that last, and when they are to end.
    lasting: Vec<(Instant, Fault)>,
}

enum Net {
    /// One for each worker, and one for the client.
    Proxies {
        workers: Vec<Proxy>,
        client: Proxy,
    },
    Hosts(Lan),
}

impl Grid {
    /// Starts it, or gives nothing where the ground is not to be had.
    pub(crate) fn start(seed: u64, ground: Ground) -> Option<Self> {
        let ports = lasting_ports();
        let net = match ground {
            Ground::Proxies => {
                let mut dice = Dice::new(seed);
                let mut proxy = |port: &str| Proxy::start(&format!("127.0.0.1:{port}"), dice.bits());
                let client = proxy(&ports[0]);
                Net::Proxies { workers: (0..WORKERS).map(|_| proxy(&ports[1])).collect(), client }
            }
            Ground::Hosts => Net::Hosts(Lan::with_hosts(WORKERS + 2)?),
        };
        let workers = (0..WORKERS).map(|_| None).collect();
        let mut grid = Self { lab: crate::lab(), ports, net, broker: None, workers, lasting: Vec::new() };
        grid.start_broker();
        (0..WORKERS).for_each(|worker| grid.start_worker(worker));
        grid.await_workers();
        Some(grid)
    }

    /// The command that renders this into `file`, told line by line on standard error.
    pub(crate) fn render_command(&self, scene: &[&str], file: &str) -> Command {
        let endpoint = match &self.net {
            Net::Proxies { client, .. } => client.endpoint(),
            Net::Hosts(_) => self.host_endpoint(0),
        };
        let args = ["--log", "fractally_client=debug", "render", "--json", "--broker", &endpoint, "-o", file];
        self.on(Whom::Client, self.lab.command(args.iter().chain(scene)))
    }

    /// What `fractally status` says, asked where no fault is in the way.
    pub(crate) fn status(&self) -> Value {
        let broker = self.broker.as_ref().expect("it is asked while the broker runs");
        let command = self.lab.command(["status", "--json", "--broker", &broker.clients]);
        self.lab.start(self.on(Whom::Broker, command)).wait().report()
    }

    /// Waits until every worker is connected.
    pub(crate) fn await_workers(&self) {
        eventually("every worker is there", || {
            let status = self.status();
            let is_there = |worker: &Option<Worker>| worker.as_ref().is_some_and(|worker| worker.row(&status).is_some());
            self.workers.iter().all(is_there).then_some(())
        });
    }

    /// Waits until no job is left, and nothing of one.
    pub(crate) fn await_rest(&self) {
        eventually("nothing is left of any job", || {
            let status = self.status();
            let is_idle = |worker: &Value| worker["leases"] == 0;
            let is_at_rest = status["jobs"].as_array().is_some_and(Vec::is_empty)
                && status["broker"]["held_bytes"] == 0
                && status["workers"].as_array().is_some_and(|workers| workers.iter().all(is_idle));
            is_at_rest.then_some(())
        });
    }

    /// Lets a fault begin. What still lasts for the same process ends first. A killed client is started anew by the caller.
    pub(crate) fn begin(&mut self, now: Instant, fault: Fault, client: &Process) {
        self.end_where(|lasting| lasting.whom() == fault.whom(), client);
        match fault {
            Fault::Kill { whom: Whom::Client, .. } => client.kill(),
            Fault::Kill { whom: Whom::Broker, .. } => self.broker = None,
            Fault::Kill { whom: Whom::Worker(worker), .. } => self.workers[worker] = None,
            Fault::Freeze { whom, .. } => self.process(whom, client).stand_still(),
            Fault::Cut { line, bytes, cut } => self.proxy(line).cut(bytes, cut),
            Fault::Stall { line, way, .. } => self.proxy(line).stall(way),
            Fault::Delay { line, delay_max, .. } => self.proxy(line).delay(delay_max),
            Fault::Partition { host, way, .. } => self.partition(host, way, true),
        }
        let time = fault.time();
        if time > Duration::ZERO {
            self.lasting.push((now + time, fault));
        }
    }

    /// Ends the faults whose time is over.
    pub(crate) fn end_what_is_due(&mut self, now: Instant, client: &Process) {
        let is_due = |(end, _): &(Instant, Fault)| *end <= now;
        let due: Vec<_> = self.lasting.extract_if(.., |lasting| is_due(lasting)).collect();
        due.into_iter().for_each(|(_, fault)| self.end(fault, client));
    }

    /// Ends all that would keep a new client from the broker.
    pub(crate) fn open_the_way(&mut self, client: &Process) {
        self.end_where(|fault| !matches!(fault.whom(), Whom::Worker(_)), client);
    }

    /// Ends every fault, also the cuts that have not come.
    pub(crate) fn heal(&mut self, client: &Process) {
        self.end_where(|_| true, client);
        if let Net::Proxies { workers, client } = &self.net {
            workers.iter().chain([client]).for_each(Proxy::heal);
        }
    }

    /// Takes the grid down, as a user would: everybody is asked to leave, and does.
    pub(crate) fn into_lab(mut self) -> Lab {
        let workers = self.workers.drain(..).flatten().map(|worker| ("worker", worker.process));
        for (role, process) in workers.chain(self.broker.take().map(|broker| ("broker", broker.process))) {
            process.terminate();
            let run = process.wait();
            assert_eq!(run.code(), 0, "the {role}: {}", run.stderr);
        }
        self.lab
    }

    fn end_where(&mut self, is_meant: impl Fn(&Fault) -> bool, client: &Process) {
        let meant: Vec<_> = self.lasting.extract_if(.., |(_, fault)| is_meant(fault)).collect();
        meant.into_iter().for_each(|(_, fault)| self.end(fault, client));
    }

    fn end(&mut self, fault: Fault, client: &Process) {
        match fault {
            Fault::Kill { whom: Whom::Broker, .. } => self.start_broker(),
            Fault::Kill { whom: Whom::Worker(worker), .. } => self.start_worker(worker),
            Fault::Kill { whom: Whom::Client, .. } | Fault::Cut { .. } => {}
            Fault::Freeze { whom, .. } => self.process(whom, client).go_on(),
            Fault::Stall { line, .. } | Fault::Delay { line, .. } => self.proxy(line).heal(),
            Fault::Partition { host, way, .. } => self.partition(host, way, false),
        }
    }

    fn start_broker(&mut self) {
        let [clients, workers] = &self.ports;
        let mut args = vec!["broker", "--client-port", clients, "--worker-port", workers];
        let address = Lan::address(BROKER_HOST);
        if let Net::Hosts(_) = self.net {
            args.extend(["--listen", &address, "--trust-network"]);
        }
        self.broker = Some(Broker::start_by(self.on(Whom::Broker, self.lab.command(args))));
    }

    fn start_worker(&mut self, worker: usize) {
        let endpoint = match &self.net {
            Net::Proxies { workers, .. } => workers[worker].endpoint(),
            Net::Hosts(_) => self.host_endpoint(1),
        };
        let name = format!("w{worker}");
        let command = self.on(Whom::Worker(worker), Worker::command(&self.lab, &endpoint, &name, 1));
        self.workers[worker] = Some(Worker { process: self.lab.start(command), name });
    }

    fn host_endpoint(&self, port: usize) -> String {
        format!("tcp://{}:{}", Lan::address(BROKER_HOST), self.ports[port])
    }

    fn on(&self, whom: Whom, command: Command) -> Command {
        match &self.net {
            Net::Proxies { .. } => command,
            Net::Hosts(lan) => lan.on(whom.host(), &command),
        }
    }

    fn process<'a>(&'a self, whom: Whom, client: &'a Process) -> &'a Process {
        match whom {
            Whom::Client => client,
            Whom::Broker => &self.broker.as_ref().expect("one fault of the broker at a time").process,
            Whom::Worker(worker) => &self.workers[worker].as_ref().expect("one fault of a worker at a time").process,
        }
    }

    fn proxy(&self, line: Whom) -> &Proxy {
        match (&self.net, line) {
            (Net::Proxies { client, .. }, Whom::Client) => client,
            (Net::Proxies { workers, .. }, Whom::Worker(worker)) => &workers[worker],
            _ => panic!("no proxy in the line of {line:?}"),
        }
    }

    fn partition(&self, host: Whom, way: Way, is_begin: bool) {
        let Net::Hosts(lan) = &self.net else { panic!("no cables between proxies") };
        let host = host.host();
        match (way, is_begin) {
            (Way::Both, true) => lan.unplug(host),
            (Way::Both, false) => lan.plug(host),
            (Way::Up, true) => lan.lose(host, BROKER_HOST),
            (Way::Up, false) => lan.find(host, BROKER_HOST),
            (Way::Down, true) => lan.lose(BROKER_HOST, host),
            (Way::Down, false) => lan.find(BROKER_HOST, host),
        }
    }
}

impl Whom {
    fn host(self) -> usize {
        match self {
            Self::Broker => BROKER_HOST,
            Self::Worker(worker) => worker + 1,
            Self::Client => CLIENT_HOST,
        }
    }
}

impl Fault {
    fn whom(&self) -> Whom {
        match *self {
            Self::Kill { whom, .. } | Self::Freeze { whom, .. } => whom,
            Self::Cut { line: whom, .. }
            | Self::Stall { line: whom, .. }
            | Self::Delay { line: whom, .. }
            | Self::Partition { host: whom, .. } => whom,
        }
    }
}
