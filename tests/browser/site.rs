//! A grid with a gateway before it, as a user would start them.

use fractally_testkit::{Broker, Gateway, Lab, Worker, eventually, lasting_ports};

/// A broker that keeps renders, a worker, and a gateway.
pub(crate) struct Site {
    // Dropped in this order: each before what it talks to.
    gateway: Option<Gateway>,
    _worker: Worker,
    pub(crate) broker: Broker,
    pub(crate) lab: Lab,
    port: String,
}

impl Site {
    pub(crate) fn start() -> Self {
        let lab = Lab::new(env!("CARGO_BIN_EXE_fractally"));
        let broker = Broker::keeping(&lab, "jobs", &[]);
        let worker = Worker::start(&lab, &broker, "w", 1);
        let [port, _] = lasting_ports();
        let mut site = Self { gateway: None, _worker: worker, broker, lab, port };
        site.start_gateway();
        site
    }

    /// Starts the gateway, on the same port each time.
    pub(crate) fn start_gateway(&mut self) {
        let listen = format!("127.0.0.1:{}", self.port);
        let args = ["gateway", "--broker", &self.broker.clients, "--listen", &listen];
        self.gateway = Some(Gateway::start_with(&self.lab, &args));
    }

    /// SIGKILL: streams break, and nobody answers any more.
    pub(crate) fn kill_gateway(&mut self) {
        let mut gateway = self.gateway.take().expect("it runs");
        gateway.process.kill();
        eventually("the gateway is gone", || (!gateway.process.is_running()).then_some(()));
    }

    /// Where its pages are: `path` begins with a slash.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What `fractally render` makes of these options, with a grid of its own.
    pub(crate) fn rendered(&self, options: &[&str]) -> Vec<u8> {
        let file = "by-hand.png";
        self.lab.render(["--workers", "1", "-o", file].iter().chain(options));
        std::fs::read(self.lab.path(file)).expect("the picture is there")
    }
}
