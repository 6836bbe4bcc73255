//! The grids that are measured: started for it, several at once where they are compared, or running already. And one job on them, timed.

use std::{
    io::{self, Write},
    time::Duration,
};

use fractally_client::{Broker, RenderError, RenderOptions, Sessions, Sink, WINDOW_BYTES, render, status};
use fractally_measure::{Member, Record, Series, Spread, Unit};
use fractally_proto::{Done, Priority, Request, Status, WorkerStatus};
use fractally_transport::Endpoint;
use futures::future::{join_all, select_all};

use super::{Bench, Site, Tell, machine::read_clock};
use crate::{
    AGENT,
    cli::BenchArgs,
    exit::{Code, Failure},
    grid::{LocalGrid, Setup},
    life::{self, Stop},
};

/// Local grids that stand idle beside one another, so that their measurements can take turns. Each costs a few heartbeats a second.
pub(super) const GRIDS_MAX: usize = 8;
/// How long the workers of a local grid may take to come.
const COME_WITHIN: Duration = Duration::from_secs(30);
/// How long a local grid's broker may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the reason of a lost connection to a local grid is sought.
const POST_MORTEM: Duration = Duration::from_secs(1);
/// Connections to one broker: one for the jobs that are measured, one for a job beside them.
const CONNECTIONS: usize = 2;

/// A grid as its client sees it.
pub(super) struct Grid {
    broker: Broker,
    /// Its workers, in the order in which they came.
    pub(super) members: Vec<Member>,
    /// The numbers of their connections, by which a worker that went and came again is told from one that stayed.
    connections: Vec<u64>,
    /// The process of a local grid's broker.
    pub(super) broker_process: Option<u32>,
}

/// One job that was measured.
pub(super) struct Sample {
    /// From SUBMIT to DONE, the file put together.
    pub(super) took: Duration,
    /// Bytes of the file.
    pub(super) bytes: u64,
    pub(super) done: Done,
}

/// Measures by `body` the running grid, or the largest local one.
pub(super) async fn on_one_grid<T>(bench: &Bench<'_>, body: impl AsyncFnOnce(&Grid) -> Result<T, Failure>) -> Result<T, Failure> {
    match &bench.site {
        Site::Running(grid) => body(grid).await,
        Site::Here(here) => {
            let setups = vec![here.setup(here.workers)];
            on_local_grids(setups, &bench.stop, async |grids: &[Grid]| body(&grids[0]).await).await
        }
    }
}

/// Starts grids, measures them by `body`, and takes them down, however that ends.
pub(super) async fn on_local_grids<T>(
    setups: Vec<Setup<'_>>,
    stop: &Stop,
    body: impl AsyncFnOnce(&[Grid]) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut grids = Vec::new();
    let measured = match start(&setups, stop, &mut grids).await {
        Ok(()) => on_started(&setups, &mut grids, stop, body).await,
        Err(failure) => Err(failure),
    };
    join_all(grids.into_iter().map(LocalGrid::stop)).await;
    measured
}

async fn start(setups: &[Setup<'_>], stop: &Stop, grids: &mut Vec<LocalGrid>) -> Result<(), Failure> {
    for setup in setups {
        grids.push(tokio::select! {
            grid = LocalGrid::start(*setup) => grid?,
            () = stop.clone().asked() => return Err(Failure::interrupted()),
        });
    }
    Ok(())
}

async fn on_started<T>(
    setups: &[Setup<'_>],
    grids: &mut [LocalGrid],
    stop: &Stop,
    body: impl AsyncFnOnce(&[Grid]) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let brokers: Vec<_> = grids.iter().map(|grid| (grid.client_endpoint().clone(), grid.broker_process())).collect();
    let measure = async {
        let seen =
            brokers.into_iter().zip(setups).map(|((endpoint, process), setup)| Grid::local(endpoint, process, setup.workers));
        let seen = tokio::select! {
            seen = join_all(seen) => seen.into_iter().collect::<Result<Vec<_>, _>>()?,
            () = stop.clone().asked() => return Err(Failure::interrupted()),
        };
        body(&seen).await
    };
    let measured = tokio::select! {
        measured = measure => measured,
        broken = beyond_help(grids) => Err(broken.into()),
    };
    // The connection may break a moment before the death of a broker is known, which is the better story.
    if measured.as_ref().is_err_and(|failure| failure.code == Code::Unreachable)
        && let Ok(broken) = tokio::time::timeout(POST_MORTEM, beyond_help(grids)).await
    {
        return Err(broken.into());
    }
    measured
}

/// Starts workers again that die, until the first grid is beyond help: then why.
async fn beyond_help(grids: &mut [LocalGrid]) -> anyhow::Error {
    select_all(grids.iter_mut().map(|grid| Box::pin(grid.supervise()))).await.0
}

impl Grid {
    /// A local grid of whose workers nothing is known yet.
    pub(super) fn unseen(endpoint: Endpoint) -> Self {
        let broker = broker(endpoint, None, CONNECT_TIMEOUT);
        Self { broker, members: Vec::new(), connections: Vec::new(), broker_process: None }
    }

    /// A local grid, once all of its workers have come.
    async fn local(endpoint: Endpoint, broker_process: u32, workers: u32) -> Result<Self, Failure> {
        let broker = broker(endpoint, None, CONNECT_TIMEOUT);
        let come = async {
            loop {
                let status = status(&broker).await?;
                if status.workers.len() >= workers as usize {
                    return Ok(Self::of(broker.clone(), &status, Some(broker_process)));
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let late =
            || Failure::from(anyhow::anyhow!("the {workers} workers of a local grid have not come within {COME_WITHIN:?}"));
        tokio::time::timeout(COME_WITHIN, come).await.unwrap_or_else(|_| Err(late()))
    }

    /// A running grid, as it is.
    pub(super) async fn running(args: &BenchArgs, endpoint: Endpoint, tell: &Tell) -> Result<Self, Failure> {
        let account = args.account.clone().unwrap_or_else(life::account);
        let broker = broker(endpoint, Some(account), args.connect_timeout);
        let status = status(&broker).await.map_err(|error| {
            let mut failure = Failure::from(error);
            failure.message += ", or leave --broker out to measure grids of this machine";
            failure
        })?;
        let Some(engine) = status.workers.first().map(|worker| &worker.engine) else {
            let endpoint = &broker.endpoint;
            return Err(Failure::from(anyhow::anyhow!(
                "the broker at {endpoint} has no workers; start some with `fractally worker`"
            )));
        };
        if let Some(other) = status.workers.iter().map(|worker| &worker.engine).find(|other| *other != engine) {
            return Err(Failure::from(anyhow::anyhow!(
                "some workers compute by {engine} and some by {other}, and a job by one of them; let all workers be of one kind"
            )));
        }
        if !status.jobs.is_empty() {
            let jobs = match status.jobs.len() {
                1 => "a job".to_owned(),
                jobs => format!("{jobs} jobs"),
            };
            tell.warn(&format!("the grid has {jobs} of others in hand: what they take is missing from the figures"));
        }
        Ok(Self::of(broker, &status, None))
    }

    fn of(broker: Broker, status: &Status, broker_process: Option<u32>) -> Self {
        let member = |worker: &WorkerStatus| Member {
            name: worker.name.clone(),
            kernel: worker.kernel.clone(),
            threads: worker.threads,
            engine: worker.engine.clone(),
        };
        let members = status.workers.iter().map(member).collect();
        Self { broker, members, connections: connections(status), broker_process }
    }

    pub(super) fn workers(&self) -> u32 {
        u32::try_from(self.members.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn threads(&self) -> u32 {
        self.members.iter().map(|member| member.threads).sum()
    }

    /// What the broker says now, over the connection that the next job uses: it is open and lively then. So that a measurement is never
    /// one of another grid, it must have the workers that it had.
    ///
    /// # Errors
    /// Some have gone or come; the broker does not answer.
    pub(super) async fn look(&self) -> Result<Status, Failure> {
        let status = status(&self.broker).await?;
        if connections(&status) != self.connections {
            let (then, now) = (self.connections.len(), status.workers.len());
            return Err(Failure::from(anyhow::anyhow!(
                "the grid has changed while it was measured: {then} workers then, {now} now, and not all the same; measure again"
            )));
        }
        Ok(status)
    }

    /// A new job, from SUBMIT to DONE, over a connection that is open.
    ///
    /// # Errors
    /// It fails, is stopped, or was not rendered for us.
    pub(super) async fn measure(&self, request: &Request, priority: Priority, stop: &Stop) -> Result<Sample, Failure> {
        self.look().await?;
        self.job(request, priority, stop.clone().asked()).await
    }

    /// A new job as the grid is just then; ready `stop` cancels it.
    pub(super) async fn job(
        &self,
        request: &Request,
        priority: Priority,
        stop: impl Future<Output = ()>,
    ) -> Result<Sample, Failure> {
        let options = RenderOptions {
            broker: self.broker.clone(),
            key: life::new_key(),
            request: *request,
            priority,
            request_id: None,
            reconnect_for: Duration::ZERO,
            window_bytes: WINDOW_BYTES,
        };
        let started = read_clock();
        let rendered = render(&options, Counted::default(), |_| {}, stop).await;
        let took = started.elapsed();
        let rendered = rendered.map_err(|error| match error {
            RenderError::Refused(refusal) => Failure { code: Code::JobFailed, message: format!("the broker refuses: {refusal}") },
            error => error.into(),
        })?;
        if rendered.cached {
            return Err(Failure::from(anyhow::anyhow!(
                "the broker has this picture on its disk and rendered nothing; draw another one (-c), or measure a broker without --state"
            )));
        }
        Ok(Sample { took, bytes: rendered.out.bytes, done: rendered.done })
    }

    /// A record of this grid.
    pub(super) fn record(&self, series: Series, what: impl Into<String>, unit: Unit, samples: Vec<f64>) -> Record {
        let spread = Spread::of(&samples);
        let (workers, threads) = (self.workers(), self.threads());
        Record { series, what: what.into(), workers, threads, credit: None, bands: None, work: None, unit, samples, spread }
    }
}

fn broker(endpoint: Endpoint, account: Option<String>, connect_timeout: Duration) -> Broker {
    let (agent, epoch, sessions) = (AGENT.to_owned(), life::new_epoch(), Some(Sessions::new(CONNECTIONS)));
    Broker { endpoint, agent, account, epoch, connect_timeout, sessions }
}

fn connections(status: &Status) -> Vec<u64> {
    status.workers.iter().map(|worker| worker.worker).collect()
}

/// Takes the bytes of a file, counts them and forgets them.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) bytes: u64,
}

impl Sink for Counted {}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
