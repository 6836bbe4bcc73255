//! `fractally gateway` and `fractally up`.

use std::io::Write;

use anyhow::Context;
use fractally_client::Broker;
use fractally_gateway::{Bounds, Config, Gateway};
use fractally_transport::raise_descriptor_limit;
use fractally_worker::Kernel;
use tracing::{info, warn};

use crate::{
    AGENT,
    cli::{GatewayArgs, UpArgs, WebArgs},
    exit::Failure,
    grid::{Keeping, LocalGrid, Setup},
    life::{self, Stop},
    worker,
};

pub(crate) async fn run(args: GatewayArgs, stop: Stop) -> Result<(), Failure> {
    let gateway = bind(&args.web, args.reach.broker(None)).await?;
    say_ready(&gateway)?;
    gateway.run(stop.clone().drain_asked(), stop.asked_or_left(args.leave_with_stdin)).await;
    Ok(())
}

/// A grid on this machine, and a gateway before it.
pub(crate) async fn run_up(args: UpArgs, log: Option<&str>, stop: Stop) -> Result<(), Failure> {
    let (kernel, _) = Kernel::choose(args.kernel.as_deref()).map_err(worker::unknown_kernel)?;
    let keeping = args.state.as_deref().map_or(Keeping::Temporarily, Keeping::In);
    let workers = args.workers.unwrap_or_else(worker::cores);
    let mut grid = LocalGrid::start(Setup { keeping, log, ..Setup::of(workers, kernel) }).await?;
    let broker = Broker {
        endpoint: grid.client_endpoint().clone(),
        agent: AGENT.to_owned(),
        account: None,
        epoch: life::new_epoch(),
        connect_timeout: std::time::Duration::from_secs(5),
        sessions: None,
    };
    let served = async {
        let gateway = bind(&args.web, broker).await?;
        say_ready(&gateway)?;
        tokio::select! {
            () = gateway.run(stop.clone().drain_asked(), stop.clone().asked()) => Ok(()),
            error = grid.supervise() => Err(Failure::from(error)),
        }
    };
    let served = served.await;
    grid.stop().await;
    served
}

async fn bind(args: &WebArgs, broker: Broker) -> Result<Gateway, Failure> {
    if let Err(error) = raise_descriptor_limit() {
        warn!(%error, "the limit of open descriptors stays as it is");
    }
    let bounds = Bounds {
        rate: args.rate,
        burst: args.rate.saturating_mul(4),
        requests_per_client: args.requests_per_client as usize,
        requests: args.requests as usize,
        connections: args.connections as usize,
        cache_bytes: args.cache << 20,
        patience: args.patience,
        ..Bounds::default()
    };
    let config = Config {
        broker,
        reconnect_for: args.reconnect_for,
        origins: args.allow_origin.clone(),
        proxies: args.proxies.into(),
        // Whoever reaches another address, or comes through a proxy, may know it by any name.
        hosts: (args.listen.ip().is_loopback() && args.proxies == 0).then(|| args.host.clone()),
        bounds,
    };
    let gateway = Gateway::bind(args.listen, config).await;
    let gateway =
        gateway.with_context(|| format!("--listen: cannot listen on {}; choose another address or port", args.listen))?;
    info!(address = %gateway.address(), "listening");
    Ok(gateway)
}

fn say_ready(gateway: &Gateway) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    let said = writeln!(stdout, "ready http://{}/", gateway.address()).and_then(|()| stdout.flush());
    said.context("cannot say on stdout where it listens")?;
    Ok(())
}
