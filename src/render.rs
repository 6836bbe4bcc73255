//! `fractally render`.

use std::{
    io::{self, Write},
    path::Path,
    time::Duration,
};

use anyhow::Context;
use fractally_client::{Broker, OutputFile, RenderOptions, Rendered, render};
use fractally_proto::{Limits, Request};
use fractally_transport::Endpoint;
use fractally_worker::Kernel;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tracing::debug;

use crate::{
    AGENT,
    cli::{Format, Place, RenderArgs},
    exit::{Code, Failure, say},
    grid::{LocalGrid, Setup},
    life::{self, Stop},
    progress::{Follow, human},
    worker,
};

/// How long the reason of a lost connection to the local grid is sought.
const POST_MORTEM: Duration = Duration::from_secs(1);

pub(crate) async fn run(args: RenderArgs, place: Place, log: Option<&str>, stop: Stop) -> Result<(), Failure> {
    let request = args.request(format(&args)?);
    request.validate(&Limits::default())?;
    let file = open(&args.output)?;
    let out = Counted { file, bytes: 0, sha256: args.json.then(Sha256::new) };
    let rendered = match place {
        Place::Grid(endpoint) => on_grid(&args, request, &endpoint, out, stop).await?,
        Place::Local(workers) => {
            let (kernel, _) = Kernel::choose(args.kernel.as_deref()).map_err(worker::unknown_kernel)?;
            let workers = workers.unwrap_or_else(worker::cores);
            let setup = Setup { workers, kernel, mirror: !args.no_mirror, log };
            on_local_grid(&args, request, out, setup, stop).await?
        }
    };
    finish(&args, request, rendered)
}

/// What the file's ending or `--format` asks for.
fn format(args: &RenderArgs) -> Result<Format, Failure> {
    if let Some(format) = args.format {
        return Ok(format);
    }
    if args.output == Path::new("-") {
        return Ok(Format::Png);
    }
    let ending = args.output.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    match ending.as_deref() {
        Some("png") => Ok(Format::Png),
        Some("npy") => Ok(Format::Npy),
        _ => {
            let name = args.output.display();
            Err(Failure::usage(format!("--output: {name} ends neither in .png nor in .npy; say which with --format")))
        }
    }
}

fn open(path: &Path) -> Result<OutputFile, Failure> {
    if path == Path::new("-") {
        return Ok(OutputFile::stdout());
    }
    OutputFile::create(path).with_context(|| format!("--output: cannot write {}", path.display())).map_err(Failure::from)
}

async fn on_local_grid(
    args: &RenderArgs,
    request: Request,
    out: Counted,
    setup: Setup<'_>,
    stop: Stop,
) -> Result<Rendered<Counted>, Failure> {
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
    out: Counted,
    stop: Stop,
) -> Result<Rendered<Counted>, Failure> {
    let broker = Broker {
        endpoint: endpoint.clone(),
        agent: AGENT.to_owned(),
        account: Some(args.account.clone().unwrap_or_else(life::account)),
        epoch: life::new_epoch(),
        connect_timeout: args.connect_timeout,
    };
    let options = RenderOptions {
        broker,
        key: life::new_key(),
        request,
        priority: args.priority.into(),
        reconnect_for: args.reconnect_for,
    };
    let follow = Follow::new(request.window.h, args.quiet);
    let rendered = render(&options, out, |event| follow.on_event(&event), stop.asked()).await;
    follow.clear();
    Ok(rendered?)
}

/// What a render took, for programs.
#[derive(Serialize)]
struct Report<'a> {
    file: &'a str,
    bytes: u64,
    sha256: String,
    width: u32,
    height: u32,
    seconds: f64,
    iterations: u64,
    compute_seconds: f64,
    bands: u64,
    attempts: u64,
    workers: u32,
    engine: &'a str,
    job: String,
    reconnects: u32,
}

fn finish(args: &RenderArgs, request: Request, rendered: Rendered<Counted>) -> Result<(), Failure> {
    let Rendered { out, done, elapsed, reconnects } = rendered;
    let Counted { file, bytes, sha256 } = out;
    let name = args.output.to_string_lossy();
    file.commit().with_context(|| format!("--output: cannot write {name}"))?;
    debug!("file complete");
    let (width, height) = (request.window.w, request.window.h);
    if let Some(sha256) = sha256 {
        let sha256: String = sha256.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let compute_seconds = done.compute_ns as f64 / 1e9;
        let report = Report {
            file: &name,
            bytes,
            sha256,
            width,
            height,
            seconds: elapsed.as_secs_f64(),
            iterations: done.iterations,
            compute_seconds,
            bands: done.bands,
            attempts: done.attempts,
            workers: done.workers,
            engine: &done.engine,
            job: done.job.to_string(),
            reconnects,
        };
        let line = serde_json::to_string(&report).context("cannot write JSON")?;
        if name == "-" { say(&line) } else { print_line(&line)? }
    } else if !args.quiet {
        let rate = done.iterations as f64 / elapsed.as_secs_f64() / 1e9;
        let (workers, plural) = (done.workers, if done.workers == 1 { "" } else { "s" });
        say(&format!("{name}: {width}x{height}, {} on {workers} worker{plural}, {rate:.2} G iterations/s", human(elapsed)));
    }
    Ok(())
}

/// A line on stdout; a reader that has left is not our failure.
pub(crate) fn print_line(line: &str) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::from(error).context("cannot write to stdout").into())
        }
        _ => Ok(()),
    }
}

/// A writer that counts, and hashes where the hash is asked for.
struct Counted {
    file: OutputFile,
    bytes: u64,
    sha256: Option<Sha256>,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.bytes += written as u64;
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(&bytes[..written]);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
