//! Brokers that keep detached jobs, and what their clients ask.

use serde_json::Value;

use crate::{Broker, Lab, Process, Run, eventually};

impl Broker {
    /// Starts a broker on free ports that keeps detached jobs in the folder `state` of the lab.
    pub fn keeping(lab: &Lab, state: &str, options: &[&str]) -> Self {
        Self::keeping_on(lab, &["0".to_owned(), "0".to_owned()], state, options)
    }

    /// The same on these ports.
    pub fn keeping_on(lab: &Lab, ports: &[String; 2], state: &str, options: &[&str]) -> Self {
        let all = ["--client-port", &ports[0], "--worker-port", &ports[1], "--state", state];
        Self::start_with(lab, &[&all, options].concat())
    }

    /// Runs `fractally VERB ARGS` as a client of this broker, to its end.
    pub fn ask(&self, lab: &Lab, verb: &str, args: &[&str]) -> Run {
        self.client(lab, verb, args).wait()
    }

    /// Starts `fractally VERB ARGS` as a client of this broker.
    pub fn client(&self, lab: &Lab, verb: &str, args: &[&str]) -> Process {
        lab.start(lab.command([&[verb, "--broker", &self.clients], args].concat()))
    }

    /// Submits a detached job, which must be accepted, and gives its id.
    pub fn submit(&self, lab: &Lab, args: &[&str]) -> String {
        let run = self.ask(lab, "submit", args);
        assert!(run.status.success(), "{run:?}");
        String::from_utf8(run.stdout).expect("ids are text").trim_end().to_owned()
    }

    /// All detached jobs, as `fractally list` tells of them.
    pub fn jobs(&self, lab: &Lab) -> Vec<Value> {
        match self.ask(lab, "list", &["--all", "--json"]).report() {
            Value::Array(jobs) => jobs,
            other => panic!("no list of jobs: {other}"),
        }
    }

    /// What the list tells of one job, if it is there.
    pub fn job(&self, lab: &Lab, id: &str) -> Option<Value> {
        self.jobs(lab).into_iter().find(|job| job["job"] == id)
    }

    /// Waits until what the list tells of a job is as wished.
    pub fn await_job(&self, lab: &Lab, id: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("{what}, of job {id}"), || self.job(lab, id).filter(&is_so))
    }

    /// Waits until a job is done.
    pub fn await_done(&self, lab: &Lab, id: &str) -> Value {
        self.await_job(lab, id, "it is done", |job| job["state"] == "done")
    }

    /// SIGKILL. Gives what it said until then.
    pub fn die(self) -> String {
        self.process.kill();
        self.process.wait().stderr
    }
}
