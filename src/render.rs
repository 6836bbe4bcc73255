//! `fractally render`.

use std::{path::Path, time::Duration};

use anyhow::Context;
use fractally_client::{Broker, RenderError, RenderOptions, Rendered, SessionError, WINDOW_BYTES, render};
use fractally_proto::{Limits, Request};
use fractally_transport::Endpoint;
use fractally_worker::Kernel;
use tracing::debug;

use crate::{
    AGENT,
    cli::{Format, Place, RenderArgs},
    exit::{Code, Failure},
    grid::{LocalGrid, Setup},
    life::{self, Stop},
    output::{Output, finish},
    progress::Follow,
    worker,
};

/// How long the reason of a lost connection to the local grid is sought.
const POST_MORTEM: Duration = Duration::from_secs(1);

pub(crate) async fn run(args: RenderArgs, place: Place, log: Option<&str>, stop: Stop) -> Result<(), Failure> {
    let format = format(&args)?;
    let request = args.picture.request(format);
    request.validate(&Limits::default())?;
    format.check(request.window, args.picture.size_option())?;
    let out = Output::open(&args.output, request, format, args.json)
        .with_context(|| format!("--output: cannot write {}", args.output.display()))?;
    let rendered = match place {
        Place::Grid(endpoint) => on_grid(&args, request, &endpoint, out, stop.clone()).await?,
        Place::Local(workers) => {
            let (kernel, _) = Kernel::choose(args.kernel.as_deref()).map_err(worker::unknown_kernel)?;
            let workers = workers.unwrap_or_else(worker::cores);
            let setup = Setup { mirror: !args.no_mirror, log, ..Setup::of(workers, kernel) };
            on_local_grid(&args, request, out, setup, stop.clone()).await?
        }
    };
    let took = rendered_in(&rendered);
    finish(rendered, took, args.quiet, stop).await
}

/// How long the picture took: as we saw it, or where it was there already, as the broker did.
fn rendered_in(rendered: &Rendered<Output>) -> Duration {
    if rendered.cached { Duration::from_millis(rendered.done.elapsed_ms) } else { rendered.elapsed }
}

/// What the file's ending or `--format` asks for.
fn format(args: &RenderArgs) -> Result<Format, Failure> {
    if let Some(format) = args.format {
        return Ok(format);
    }
    if args.output == Path::new("-") {
        return Ok(Format::Png);
    }
    Format::of_path(&args.output).ok_or_else(|| {
        let name = args.output.display();
        Failure::usage(format!(
            "--output: {name} ends in none of .png, .webp, .jpg, .jpeg, .tif, .tiff and .npy; say what to write with --format"
        ))
    })
}

async fn on_local_grid(
    args: &RenderArgs,
    request: Request,
    out: Output,
    setup: Setup<'_>,
    stop: Stop,
) -> Result<Rendered<Output>, Failure> {
    let mut grid = tokio::select! {
        grid = LocalGrid::start(setup) => grid?,
        () = stop.clone().asked() => return Err(Failure::interrupted()),
    };
    debug!("local grid ready");
    let endpoint = grid.client_endpoint().clone();
    let mut rendered = tokio::select! {
        rendered = on_grid(args, request, &endpoint, out, stop) => rendered,
        broken = grid.supervise() => Err(broken.into()),
    };
    // The connection may break a moment before the death of the broker is known, which is the better story.
    if rendered.as_ref().is_err_and(|failure| failure.code == Code::Unreachable)
        && let Ok(broken) = tokio::time::timeout(POST_MORTEM, grid.supervise()).await
    {
        rendered = Err(broken.into());
    }
    debug!("rendered");
    grid.stop().await;
    debug!("local grid down");
    rendered
}

async fn on_grid(
    args: &RenderArgs,
    request: Request,
    endpoint: &Endpoint,
    out: Output,
    stop: Stop,
) -> Result<Rendered<Output>, Failure> {
    let broker = Broker {
        endpoint: endpoint.clone(),
        agent: AGENT.to_owned(),
        account: Some(args.account.clone().unwrap_or_else(life::account)),
        epoch: life::new_epoch(),
        connect_timeout: args.connect_timeout,
        sessions: None,
    };
    let options = RenderOptions {
        broker,
        key: life::new_key(),
        request,
        priority: args.priority.into(),
        request_id: None,
        reconnect_for: args.reconnect_for,
        window_bytes: WINDOW_BYTES,
    };
    let follow = Follow::new(Some(request.window.h), args.quiet);
    let rendered = render(&options, out, |event| follow.on_event(&event), stop.asked()).await;
    follow.clear();
    rendered.map_err(|error| {
        let is_nobody_there = matches!(error, RenderError::Session(SessionError::Connect(_)));
        let mut failure = Failure::from(error);
        if is_nobody_there {
            failure.message += ", or leave --broker out to render on this machine";
        }
        failure
    })
}
