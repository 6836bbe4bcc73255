//! A broker that keeps a journal, with workers of one thread each, and what the benchmarks ask of it.

use std::{io::sink, path::PathBuf, time::Duration};

use fractally_client::{Broker, KeepOptions, RenderOptions, Rendered, WINDOW_BYTES, keep, list, render, story};
use fractally_proto::{Epoch, JobId, JobKey, JobState, JobStory, ListedJob, Priority, Request};
use fractally_testkit::{Broker as BrokerProcess, Lab, Worker};
use tokio::runtime::Runtime;

/// Both kinds of processes, and where the journal is.
pub(crate) struct Grid {
    pub(crate) broker: BrokerProcess,
    pub(crate) state: PathBuf,
    _workers: Vec<Worker>,
}

impl Grid {
    /// Starts them over TCP, as on a LAN, and waits until all workers are there; `options` are the broker's. Its journal is in the lab,
    /// or in a new folder in `FRACTALLY_BENCH_STATE`: another file system.
    pub(crate) fn start(lab: &Lab, workers: usize, options: &[&str]) -> Self {
        let folder = std::env::var_os("FRACTALLY_BENCH_STATE").map_or_else(|| lab.path(""), PathBuf::from);
        let state = tempfile::Builder::new().prefix("state-").tempdir_in(folder).expect("a folder for the journal").keep();
        let directory = state.to_str().expect("the lab's name is plain");
        let ports = ["--client-port", "0", "--worker-port", "0", "--log", "warn", "--state", directory];
        let broker = BrokerProcess::start_with(lab, &[&ports, options].concat());
        let workers: Vec<_> = (0..workers).map(|i| Worker::start(lab, &broker, &format!("w{i}"), 1)).collect();
        let are_there = |status: &serde_json::Value| status["workers"].as_array().map(Vec::len) == Some(workers.len());
        broker.await_status(lab, "all workers are there", are_there);
        Self { broker, state, _workers: workers }
    }

    /// The broker as `account` sees it.
    pub(crate) fn seen_by(&self, account: &str) -> Asker<'_> {
        Asker { endpoint: &self.broker.clients, account: account.to_owned() }
    }
}

/// One account's way to a broker.
pub(crate) struct Asker<'a> {
    pub(crate) endpoint: &'a str,
    pub(crate) account: String,
}

impl Asker<'_> {
    fn broker(&self) -> Broker {
        Broker {
            endpoint: self.endpoint.parse().expect("the broker says where it listens"),
            agent: "bench".to_owned(),
            account: Some(self.account.clone()),
            epoch: Epoch(1),
            connect_timeout: Duration::from_secs(5),
            sessions: None,
        }
    }

    fn options(&self, key: u128, request: Request, priority: Priority) -> RenderOptions {
        let (broker, reconnect_for) = (self.broker(), Duration::ZERO);
        let key = JobKey(key.to_le_bytes());
        RenderOptions { broker, key, request, priority, request_id: None, reconnect_for, window_bytes: WINDOW_BYTES }
    }

    /// Submits a detached job; each `key` is one job.
    pub(crate) fn keep(&self, runtime: &Runtime, key: u128, request: Request, priority: Priority) -> JobId {
        let (broker, reconnect_for) = (self.broker(), Duration::ZERO);
        let key = JobKey(key.to_le_bytes());
        let options = KeepOptions { broker, key, request, priority, reconnect_for, holder: None, request_id: None };
        let kept = runtime.block_on(keep(&options, |_| {}, std::future::pending())).expect("the broker takes the job");
        assert!(!kept.cached, "every job is to draw something new");
        kept.job
    }

    /// Renders to nowhere.
    pub(crate) fn render(&self, runtime: &Runtime, key: u128, request: Request) -> JobId {
        let options = self.options(key, request, Priority::Interactive);
        let rendered: Rendered<_> =
            runtime.block_on(render(&options, sink(), |_| {}, std::future::pending())).expect("the grid renders");
        rendered.done.job
    }

    pub(crate) fn list(&self, runtime: &Runtime) -> Vec<ListedJob> {
        runtime.block_on(list(&self.broker())).expect("the broker answers").jobs
    }

    /// Ends a detached job.
    pub(crate) fn cancel(&self, runtime: &Runtime, job: JobId) {
        runtime.block_on(fractally_client::cancel(&self.broker(), job)).expect("the broker answers");
    }

    /// What happened to a job's bands.
    pub(crate) fn story(&self, runtime: &Runtime, job: JobId) -> JobStory {
        runtime.block_on(story(&self.broker(), job)).expect("the broker answers").expect("it remembers the last jobs")
    }
}

/// Whether a job is done; any other end is a fault of the benchmark.
pub(crate) fn is_done(job: &ListedJob) -> bool {
    assert!(!matches!(job.state, JobState::Failed | JobState::Cancelled), "{job:?}");
    job.state == JobState::Done
}
