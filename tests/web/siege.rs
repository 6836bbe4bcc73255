//! A gateway with little patience that is attacked while an honest client works, and what must hold whatever was done to it.

use std::sync::atomic::{AtomicBool, Ordering};

use fractally_testkit::{Answer, Broker, Gateway, Worker, eventually};
use serde_json::json;

use crate::Site;

/// Seconds that the gateway has for the slow.
pub(crate) const PATIENCE_S: u64 = 1;

/// A site under attack. Attackers say where they come from, which the gateway believes; the honest client says nothing of the kind.
pub(crate) struct Siege {
    pub(crate) site: Site,
}

impl Siege {
    /// Starts a grid and a gateway with these options.
    pub(crate) fn lay(options: &[&str]) -> Self {
        let lab = crate::lab();
        let broker = Broker::keeping(&lab, "state", &[]);
        let worker = Worker::start(&lab, &broker, "w", 2);
        let patience = PATIENCE_S.to_string();
        let common =
            ["gateway", "--broker", &broker.clients, "--listen", "127.0.0.1:0", "--proxies", "1", "--patience", &patience];
        let gateway = Gateway::start_with(&lab, &[&common, options].concat());
        Self { site: Site { lab, broker, gateway, _worker: worker } }
    }

    pub(crate) fn gateway(&self) -> &Gateway {
        &self.site.gateway
    }

    /// Attacks while an honest client renders one picture after the other, each of which is right, at least one after the attack.
    pub(crate) fn while_an_honest_client_works<T>(&self, attack: impl FnOnce() -> T) -> T {
        self.meanwhile(|iter| self.honest_picture(iter), attack)
    }

    /// The same where the workers have too much to do: the honest client looks at a picture that is there.
    pub(crate) fn while_an_honest_client_looks<T>(&self, (id, file): (&str, &[u8]), attack: impl FnOnce() -> T) -> T {
        let path = format!("/api/v1/renders/{id}/image");
        let look = |_| {
            let answer = within_its_rate(self.gateway(), &path);
            assert!(answer.status == 200 && answer.body == file, "{}", answer.status);
        };
        self.meanwhile(look, attack)
    }

    fn meanwhile<T>(&self, honest: impl Fn(u32) + Sync, attack: impl FnOnce() -> T) -> T {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let honest = scope.spawn(|| {
                for iter in 200.. {
                    let was_over = is_over.load(Ordering::Relaxed);
                    honest(iter);
                    if was_over {
                        return;
                    }
                }
            });
            // A failed attack ends the honest client too.
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(attack));
            is_over.store(true, Ordering::Relaxed);
            honest.join().expect("the honest client is served");
            result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn honest_picture(&self, iter: u32) {
        let render = self.gateway().render(&json!({"size": "80x60", "iter": iter, "priority": "interactive"}));
        let id = render["id"].as_str().unwrap();
        assert_eq!(self.gateway().finished(id)["state"], "done");
        let file = self.gateway().get(&format!("/api/v1/renders/{id}/image")).body;
        let own = self.site.by_command_line(&["--size", "80x60", "--iter", &iter.to_string()], "honest.png");
        assert!(file == own, "another picture for {iter}");
    }

    /// Requests that are being answered, this question not counted.
    pub(crate) fn open(&self) -> u64 {
        open(self.gateway())
    }

    /// Waits until nothing of the attack is left, ends the gateway, and looks at what it said.
    pub(crate) fn lift(self) {
        eventually("no request is open", || (self.open() == 0).then_some(()));
        eventually("no worker works", || self.site.is_idle().then_some(()));
        let Site { lab, broker, gateway, _worker } = self.site;
        assert_eq!(living(&broker.status(&lab)), 0);
        gateway.process.terminate();
        let run = gateway.process.wait();
        assert!(run.status.success() && !run.stderr.contains("panicked"), "{}", run.stderr);
        let said = broker.die();
        assert!(!said.contains("panicked"), "{said}");
    }
}

/// Requests that a gateway is answering; this question is none of them.
pub(crate) fn open(gateway: &Gateway) -> u64 {
    let text = within_its_rate(gateway, "/metrics").text();
    let value = text.lines().find_map(|line| line.strip_prefix("fractally_gateway_requests_open "));
    value.and_then(|value| value.parse::<u64>().ok()).unwrap_or_else(|| panic!("{text}"))
}

/// An answer that may be asked for more often than a client may ask.
fn within_its_rate(gateway: &Gateway, path: &str) -> Answer {
    eventually("the rate allows it", || Some(gateway.get(path)).filter(|answer| answer.status != 429))
}

/// Jobs that a status shows as not over.
pub(crate) fn living(status: &serde_json::Value) -> usize {
    status["jobs"].as_array().unwrap().len()
}

/// That an answer is one of those that nonsense may have.
pub(crate) fn expect_clear(what: &str, status: u16, media_type: &str, body: &[u8]) {
    assert!(status < 500 || status == 503, "{what}: {status}");
    // The HTTP library says nothing more than the status to what it cannot read at all.
    if status >= 400 && !body.is_empty() {
        assert_eq!(media_type, "application/problem+json", "{what}: {status}");
        let problem: serde_json::Value = serde_json::from_slice(body).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(problem["status"], status, "{what}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{what}: {problem}");
    }
}

/// The same of an answer to a client that can only say what is right.
pub(crate) fn expect_clear_answer(what: &str, answer: &Answer) {
    expect_clear(what, answer.status, answer.header("content-type"), &answer.body);
}
