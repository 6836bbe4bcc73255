//! `fractally broker`.

use std::{
    collections::BTreeMap,
    fs::Permissions,
    io::Write,
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::Context;
use fractally_broker::{Broker, Config, Guards, JournalBounds, State};
use fractally_proto::NO_OP_ENGINE;
use fractally_transport::{Endpoint, raise_descriptor_limit};
use fractally_worker::ENGINE_ID;
use tempfile::TempDir;
use tracing::{info, warn};

use crate::{
    AGENT,
    cli::BrokerArgs,
    exit::Failure,
    life::{self, Stop},
};

/// Room that a folder's path must leave for the names of the sockets in it, within the 108 bytes of a Unix socket's path.
pub(crate) const FOLDER_PATH_MAX: usize = 64;

pub(crate) async fn run(args: BrokerArgs, stop: Stop) -> Result<(), Failure> {
    // Held until the end: the folder goes when it is dropped.
    let folder = if args.private { Some(private_folder()?) } else { None };
    let (clients, workers) = match &folder {
        Some(folder) => (Endpoint::Ipc(folder.path().join("clients")), Endpoint::Ipc(folder.path().join("workers"))),
        None => network_endpoints(&args)?,
    };
    let metrics = args.metrics.map(|address| metrics_listener(address, args.trust_network)).transpose()?;
    let temporary = if args.temporary_state { Some(temporary_state()?) } else { None };
    let directory = args.state.as_deref().or_else(|| temporary.as_ref().map(TempDir::path));
    let state = match directory {
        Some(directory) => Some(open_state(directory)?),
        None => None,
    };
    let config = Config {
        journal: state.as_ref().map(|_| bounds(&args)),
        started_unix_ms: unix_ms(),
        engine: Some(if args.no_op { NO_OP_ENGINE } else { ENGINE_ID }.to_owned()),
        equal_bands: args.bands,
        mirrors: !args.no_mirror,
        held_bytes_max: args.memory << 20,
        weights: weights(&args.weight)?,
        jobs_max: args.jobs_max,
        jobs_per_account_max: args.jobs_per_account,
        work_max: args.work_max,
        work_per_account_max: args.work_per_account,
        connections_per_account_max: args.connections_per_account,
        ..Config::new(AGENT.to_owned(), life::new_epoch())
    };
    let mut broker = Broker::bind(&clients, &workers, config, guards(&args)).await.map_err(|error| {
        let hint = if folder.is_none() { "; choose other ports with --client-port and --worker-port" } else { "" };
        Failure::from(anyhow::anyhow!("{error}{hint}"))
    })?;
    let (clients, workers) = (broker.client_endpoint().clone(), broker.worker_endpoint().clone());
    info!(%clients, %workers, "listening");
    if let Some(state) = state {
        broker.keep_jobs_in(state, args.debug_slow_disk).context("cannot start the journal's thread")?;
    }
    if let Some(listener) = metrics {
        serve_metrics(listener, &mut broker).context("--metrics: cannot serve them")?;
    }
    match say_ready(&clients, &workers) {
        // A parent that has gone already took this broker with it.
        Err(error) if args.leave_with_stdin && error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
        said => said.context("cannot say on stdout where it listens")?,
    }
    broker.run(stop.clone().drain_asked(), stop.asked_or_left(args.leave_with_stdin)).await;
    Ok(())
}

/// Each account once.
fn weights(given: &[(String, u32)]) -> Result<BTreeMap<String, u32>, Failure> {
    let mut weights = BTreeMap::new();
    for (name, weight) in given {
        if let Some(before) = weights.insert(name.clone(), *weight).filter(|before| before != weight) {
            return Err(Failure::usage(format!("--weight: {name} has the weights {before} and {weight}; give one")));
        }
    }
    Ok(weights)
}

fn open_state(directory: &Path) -> Result<State, Failure> {
    State::open(directory).map_err(|error| Failure::from(anyhow::anyhow!("--state: {error}")))
}

/// A new directory for jobs that nobody wants after this process.
fn temporary_state() -> Result<TempDir, Failure> {
    let directory = tempfile::Builder::new().prefix("fractally-state-").tempdir();
    Ok(directory.context("cannot make a temporary directory for renders; set TMPDIR, or give --state")?)
}

fn bounds(args: &BrokerArgs) -> JournalBounds {
    let bytes_max = args.state_size << 20;
    JournalBounds {
        bytes_max,
        bytes_per_account_max: args.state_size_per_account.map_or(bytes_max, |mib| mib << 20),
        keep_for: args.keep_for,
        ..JournalBounds::default()
    }
}

#[expect(clippy::disallowed_methods, reason = "here time enters as an argument")]
fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Each connection takes descriptors, so that as many may come as the system allows.
fn guards(args: &BrokerArgs) -> Guards {
    if let Err(error) = raise_descriptor_limit() {
        warn!(%error, "the limit of open descriptors stays as it is");
    }
    let mut guards = Guards::default();
    for guard in [&mut guards.clients, &mut guards.workers] {
        guard.handshake_timeout = args.handshake_timeout;
    }
    if !args.private {
        info!(clients = guards.clients.connections_max, workers = guards.workers.connections_max, "connections that may come");
    }
    guards
}

fn say_ready(clients: &Endpoint, workers: &Endpoint) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "ready {clients} {workers}")?;
    stdout.flush()
}

fn network_endpoints(args: &BrokerArgs) -> Result<(Endpoint, Endpoint), Failure> {
    if !args.listen.is_loopback() && !args.trust_network {
        return Err(Failure::usage(format!(
            "--listen: other hosts can reach {}, and peers cannot be authenticated yet: whoever connects can submit jobs, or pose \
             as a worker and hand in wrong pictures. Add --trust-network if you trust every host that can reach it, or listen on 127.0.0.1",
            args.listen
        )));
    }
    let endpoint = |port| Endpoint::Tcp { host: args.listen.to_string(), port };
    Ok((endpoint(args.client_port), endpoint(args.worker_port)))
}

fn metrics_listener(address: SocketAddr, trusted: bool) -> Result<TcpListener, Failure> {
    if !address.ip().is_loopback() && !trusted {
        return Err(Failure::usage(format!(
            "--metrics: other hosts can reach {address}, and scrapers are not asked who they are. Add --trust-network if you trust every \
             host that can reach it, or serve on 127.0.0.1"
        )));
    }
    TcpListener::bind(address)
        .map_err(|error| Failure::from(anyhow::anyhow!("--metrics: cannot listen on {address}: {error}; choose another port")))
}

fn serve_metrics(listener: TcpListener, broker: &mut Broker) -> std::io::Result<()> {
    let address = listener.local_addr()?;
    let metrics = broker.measure(env!("CARGO_PKG_VERSION"), Some(ENGINE_ID));
    fractally_metrics::serve(listener, move || metrics.render())?;
    info!(metrics = format!("http://{address}{}", fractally_metrics::PATH), "serving");
    Ok(())
}

/// A new folder that only this user can enter, with a path short enough for sockets.
pub(crate) fn private_folder() -> Result<TempDir, Failure> {
    let candidates = [std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from), Some(std::env::temp_dir()), Some("/tmp".into())];
    // What stands on the ready line must be one word.
    let is_plain = |path: &PathBuf| path.to_str().is_some_and(|path| !path.contains(char::is_whitespace));
    let is_short = |path: &PathBuf| path.is_absolute() && path.as_os_str().len() <= FOLDER_PATH_MAX && is_plain(path);
    let mut last = None;
    for base in candidates.into_iter().flatten().filter(is_short) {
        match create_private(&base) {
            Ok(folder) => return Ok(folder),
            Err(error) => last = Some(anyhow::Error::from(error).context(format!("in {}", base.display()))),
        }
    }
    let error = last.unwrap_or_else(|| anyhow::anyhow!("no temporary folder with a short path"));
    Err(error.context("cannot create a private folder for the local grid's sockets").into())
}

fn create_private(base: &Path) -> std::io::Result<TempDir> {
    tempfile::Builder::new().prefix("fractally-").permissions(Permissions::from_mode(0o700)).tempdir_in(base)
}
