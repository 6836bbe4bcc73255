//! The gateway across real processes: what a front-end developer would do with it, and what nobody should.
//!
//! `renders.rs`: ask, wait, give up. `images.rs`: files, ranges, types, previews. `tiles.rs`: maps. `talk.rs`: the talk's calls.
//! `restarts.rs`: brokers and gateways that go and come. `up.rs`: a grid and a gateway by one command. `recipes.rs`: what the README
//! tells to type. `nginx.rs`: two gateways behind one address. `described.rs`: the description of all that. `crowd.rs`: two hundred
//! clients at once. `siege.rs`, `hostile.rs`, `slow.rs`: what must hold under attack, nonsense, and those who take their time.

#![allow(clippy::unwrap_used, reason = "a test")]

mod crowd;
mod described;
mod hostile;
mod images;
mod nginx;
mod recipes;
mod renders;
mod restarts;
mod siege;
mod slow;
mod talk;
mod tiles;
mod up;

use fractally_testkit::{Broker, Gateway, Lab, Worker};
use serde_json::{Value, json};

/// A lab for the program of this build.
fn lab() -> Lab {
    Lab::new(env!("CARGO_BIN_EXE_fractally"))
}

/// A grid with a gateway before it.
struct Site {
    lab: Lab,
    broker: Broker,
    gateway: Gateway,
    _worker: Worker,
}

impl Site {
    fn start() -> Self {
        let lab = lab();
        let broker = Broker::keeping(&lab, "state", &[]);
        let worker = Worker::start(&lab, &broker, "w", 2);
        let gateway = Gateway::start(&lab, &broker.clients);
        Self { lab, broker, gateway, _worker: worker }
    }

    /// What `fractally render` writes for the same fields.
    fn by_command_line(&self, args: &[&str], file: &str) -> Vec<u8> {
        let all = [&["render", "--broker", &self.broker.clients, "-q", "-o", file], args].concat();
        let run = self.lab.run(all);
        assert!(run.status.success(), "{run:?}");
        std::fs::read(self.lab.path(file)).unwrap()
    }

    /// Whether any worker has anything to do.
    fn is_idle(&self) -> bool {
        let status = self.broker.status(&self.lab);
        status["workers"].as_array().unwrap().iter().all(|worker| worker["leases"] == 0)
    }
}

/// Some 10^10 iterations in long bands: a view that lies whole in a Siegel disk, where points go round for ever.
fn long() -> Value {
    json!({
        "c": "-0.390540870218399-0.586787907346969i",
        "center": "-0.368684439-0.337745147i",
        "width": 0.2,
        "size": "700x700",
        "iter": 30_000,
    })
}

/// The same that no test waits for.
fn endless() -> Value {
    let mut fields = long();
    fields["iter"] = json!(1_000_000_000);
    fields
}
