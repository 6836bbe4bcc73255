//! The local grid: this binary again, as a broker and as workers, for the length of one render.
//!
//! However this process ends, its children go with it: each holds the read end of a pipe as stdin and leaves when it closes.
//! They stand in a process group of their own, so that Ctrl-C reaches this process alone, which then stops in good order. The
//! broker owns the folder of the sockets and removes it.

use std::{
    ffi::{OsStr, OsString},
    io,
    num::NonZero,
    path::Path,
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use fractally_transport::Endpoint;
use fractally_worker::Kernel;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdin, Command},
    time::timeout,
};
use tracing::{debug, warn};

/// How long the broker may take to listen.
const READY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a child may take to leave before it is killed.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(3);
/// Times that a worker is started again before the grid goes on without it.
const RESTARTS_MAX: u32 = 3;

/// What a local grid is to be.
#[derive(Clone, Copy)]
pub(crate) struct Setup<'a> {
    /// Workers of one thread each.
    pub(crate) workers: u32,
    pub(crate) kernel: Kernel,
    /// Whether rows are spared that are mirror images of others.
    pub(crate) mirror: bool,
    /// Bands of as many rows each that every render is cut into, where that matters.
    pub(crate) bands: Option<NonZero<u32>>,
    /// Bands that each worker takes at once, where that matters.
    pub(crate) credit: Option<u32>,
    /// Whether nothing is computed.
    pub(crate) no_op: bool,
    pub(crate) keeping: Keeping<'a>,
    /// The filter of its logs.
    pub(crate) log: Option<&'a str>,
}

impl Setup<'_> {
    /// Workers that render as fast as they can, for a broker that keeps nothing.
    pub(crate) fn of(workers: u32, kernel: Kernel) -> Self {
        let (mirror, bands, credit, no_op, keeping, log) = (true, None, None, false, Keeping::None, None);
        Self { workers, kernel, mirror, bands, credit, no_op, keeping, log }
    }

    fn broker_args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = ["broker", "--private"].map(OsString::from).to_vec();
        if !self.mirror {
            args.push("--no-mirror".into());
        }
        if self.no_op {
            args.push("--no-op".into());
        }
        if let Some(bands) = self.bands {
            args.extend(["--bands".into(), bands.to_string().into()]);
        }
        match self.keeping {
            Keeping::None => {}
            Keeping::Temporarily => args.push("--temporary-state".into()),
            Keeping::In(directory) => args.extend(["--state".into(), directory.into()]),
        }
        args
    }

    fn worker_args(&self, broker: &Endpoint) -> Vec<String> {
        let broker = broker.to_string();
        let mut args =
            ["worker", "--threads", "1", "--broker", &broker, "--kernel", self.kernel.name()].map(str::to_owned).to_vec();
        if !self.mirror {
            args.push("--no-mirror".to_owned());
        }
        if self.no_op {
            args.push("--no-op".to_owned());
        }
        if let Some(credit) = self.credit {
            args.extend(["--credit".to_owned(), credit.to_string()]);
        }
        args
    }
}

/// Where a local grid keeps detached jobs.
#[derive(Clone, Copy)]
pub(crate) enum Keeping<'a> {
    /// It keeps none.
    None,
    /// In a directory that is removed at the end.
    Temporarily,
    /// In this directory.
    In(&'a Path),
}

/// A broker and workers that live as long as this value.
pub(crate) struct LocalGrid {
    broker: Kept,
    group: i32,
    workers: Vec<Slot>,
    worker_args: Vec<String>,
    log: Option<String>,
    client_endpoint: Endpoint,
}

struct Slot {
    /// Absent once it has died too often.
    child: Option<Kept>,
    restarts: u32,
}

/// A child and the pipe that keeps it: waiting for a child through its own handle would close the pipe first.
struct Kept {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl LocalGrid {
    /// Starts a broker, waits until it listens, and starts the workers.
    pub(crate) async fn start(setup: Setup<'_>) -> Result<Self> {
        let log = setup.log;
        let mut broker = spawn(&setup.broker_args(), log, 0, Stdio::piped()).context("cannot start the local grid's broker")?;
        let group =
            broker.child.id().and_then(|id| i32::try_from(id).ok()).context("the local grid's broker has gone at once")?;
        let (client_endpoint, worker_endpoint) =
            ready(&mut broker.child).await.context("the local grid's broker does not listen")?;
        let (worker_args, log) = (setup.worker_args(&worker_endpoint), log.map(str::to_owned));
        let mut grid = Self { broker, group, workers: Vec::new(), worker_args, log, client_endpoint };
        for _ in 0..setup.workers {
            let child = Some(grid.spawn_worker()?);
            grid.workers.push(Slot { child, restarts: 0 });
        }
        Ok(grid)
    }

    /// Where clients connect.
    pub(crate) fn client_endpoint(&self) -> &Endpoint {
        &self.client_endpoint
    }

    /// The broker's process.
    pub(crate) fn broker_process(&self) -> u32 {
        // It is the leader of the group.
        self.group.unsigned_abs()
    }

    fn spawn_worker(&self) -> Result<Kept> {
        spawn(&self.worker_args, self.log.as_deref(), self.group, Stdio::null())
            .context("cannot start a worker of the local grid")
    }

    /// Starts workers again that die. Returns when the grid is beyond help, with the reason.
    pub(crate) async fn supervise(&mut self) -> anyhow::Error {
        loop {
            let waits = self.workers.iter_mut().enumerate().filter_map(|(index, slot)| {
                let child = slot.child.as_mut()?;
                Some(Box::pin(async move { (index, child.child.wait().await) }))
            });
            let waits: Vec<_> = waits.collect();
            if waits.is_empty() {
                return anyhow!("every worker of the local grid has died {RESTARTS_MAX} times");
            }
            let (index, ended) = tokio::select! {
                ((index, ended), _, _) = futures::future::select_all(waits) => (index, ended),
                ended = self.broker.child.wait() => return anyhow!("the local grid's broker has ended ({})", describe(ended)),
            };
            warn!(worker = index, ended = describe(ended), "worker died");
            if let Err(error) = self.restart(index) {
                return error;
            }
        }
    }

    fn restart(&mut self, index: usize) -> Result<()> {
        let restarts = self.workers[index].restarts + 1;
        let child = if restarts <= RESTARTS_MAX { Some(self.spawn_worker()?) } else { None };
        self.workers[index] = Slot { child, restarts };
        Ok(())
    }

    /// Takes the grid down and waits until every child has gone: the workers first, which say goodbye to the broker.
    pub(crate) async fn stop(self) {
        leave(self.workers.into_iter().filter_map(|slot| slot.child).collect()).await;
        leave(vec![self.broker]).await;
        remove_folder(&self.client_endpoint);
    }
}

/// Closes the pipes of these children, and waits until they have gone.
async fn leave(mut children: Vec<Kept>) {
    for child in &mut children {
        drop(child.pipe.take());
    }
    for Kept { mut child, .. } in children {
        if timeout(LEAVE_TIMEOUT, child.wait()).await.is_err() {
            debug!(id = child.id(), "killed");
            // It fails only when the child has gone by itself.
            let _ = child.kill().await;
        }
    }
}

/// The broker removes the folder of its sockets, unless it was killed.
fn remove_folder(endpoint: &Endpoint) {
    if let Endpoint::Ipc(socket) = endpoint
        && let Some(folder) = socket.parent()
    {
        // It fails when the broker has done it, which is the rule.
        let _ = std::fs::remove_dir_all(folder);
    }
}

/// This binary again, with its stdin a pipe whose other end we hold.
fn spawn<A: AsRef<OsStr>>(args: &[A], log: Option<&str>, group: i32, stdout: Stdio) -> io::Result<Kept> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(args).arg("--leave-with-stdin").stdin(Stdio::piped()).stdout(stdout).process_group(group);
    // What the user set for roles of his own must not reach these.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FRACTALLY_")) {
        command.env_remove(name);
    }
    command.env("FRACTALLY_LOG", log.unwrap_or("warn"));
    let mut child = command.spawn()?;
    let pipe = child.stdin.take();
    Ok(Kept { child, pipe })
}

/// The endpoints that a broker says it listens on.
async fn ready(broker: &mut Child) -> Result<(Endpoint, Endpoint)> {
    let stdout = broker.stdout.take().context("its stdout is not piped")?;
    let mut line = String::new();
    timeout(READY_TIMEOUT, BufReader::new(stdout).read_line(&mut line)).await.context("it says nothing")??;
    match line.split_whitespace().collect::<Vec<_>>()[..] {
        ["ready", clients, workers] => Ok((clients.parse()?, workers.parse()?)),
        _ => bail!("it says {line:?}"),
    }
}

fn describe(ended: io::Result<std::process::ExitStatus>) -> String {
    ended.map_or_else(|error| error.to_string(), |status| status.to_string())
}
