//! `start`: how long somebody waits who has nothing running: for `fractally render`, and for a local grid.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context, anyhow};
use fractally_measure::{Record, Series, Spread, Unit};
use fractally_proto::{Encoding, Priority, Request};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
};

use super::{
    Bench, Here, Site,
    grids::Grid,
    machine::read_clock,
    picture::{one_pixel, options, title},
};
use crate::{exit::Failure, grid::LocalGrid, life::Stop};

pub(super) async fn measure(bench: &Bench<'_>) -> Result<Vec<Record>, Failure> {
    // A running grid has started already, so that it was left out.
    let Site::Here(here) = &bench.site else { return Ok(Vec::new()) };
    let picture = title(&bench.request);
    bench.tell.begin(
        Series::Start,
        3 * bench.rounds(),
        &format!("`fractally render` of {picture}, and a local grid, from nothing"),
    );
    let folder = tempfile::Builder::new().prefix("fractally-bench-").tempdir().context("cannot make a folder; set TMPDIR")?;
    let file = folder.path().join("picture");
    let mut taken: [Vec<f64>; 3] = Default::default();
    for round in 0..bench.rounds() {
        let first = render(here, &bench.request, None, &bench.stop).await?;
        bench.tell.step();
        let whole = render(here, &bench.request, Some(&file), &bench.stop).await?;
        bench.tell.step();
        let pixel = first_pixel(here, &bench.stop).await?;
        bench.tell.step();
        if bench.counts(round) {
            taken.iter_mut().zip([first, whole, pixel]).for_each(|(taken, now)| taken.push(now.as_secs_f64()));
        }
    }
    let titles = [
        format!("`fractally render` of {picture}, to the first bytes of the picture"),
        format!("`fractally render` of {picture}, to the file"),
        "a local grid, to its first pixel".to_owned(),
    ];
    let workers = here.workers;
    let record = |(what, samples): (String, Vec<f64>)| {
        let spread = Spread::of(&samples);
        let (series, threads, unit) = (Series::Start, workers, Unit::Seconds);
        Record { series, what, workers, threads, credit: None, bands: None, work: None, unit, samples, spread }
    };
    Ok(titles.into_iter().zip(taken).map(record).collect())
}

/// From nothing to a grid that has rendered, whichever of its workers came first.
async fn first_pixel(here: &Here<'_>, stop: &Stop) -> Result<Duration, Failure> {
    let started = read_clock();
    let mut grid = tokio::select! {
        grid = LocalGrid::start(here.setup(here.workers)) => grid?,
        () = stop.clone().asked() => return Err(Failure::interrupted()),
    };
    let (client, pixel) = (Grid::unseen(grid.client_endpoint().clone()), one_pixel());
    let rendered = tokio::select! {
        rendered = client.job(&pixel, Priority::Interactive, stop.clone().asked()) => rendered,
        broken = grid.supervise() => Err(broken.into()),
    };
    let took = started.elapsed();
    grid.stop().await;
    rendered.map(|_| took)
}

/// Runs `fractally render`, as a user would: until its file is there, or without one, until it writes the first of the picture's bytes to
/// a pipe. Returns how long that took, once it has ended.
async fn render(here: &Here<'_>, request: &Request, file: Option<&Path>, stop: &Stop) -> Result<Duration, Failure> {
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command.arg("render").args(args(here, request)).arg("--output").arg(file.unwrap_or_else(|| Path::new("-")));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FRACTALLY_")) {
        command.env_remove(name);
    }
    // In a process group of its own: Ctrl-C reaches this process alone, which tells it.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let started = read_clock();
    let mut child = command.spawn().context("cannot start `fractally render`")?;
    let read = async {
        let (mut stdout, mut stderr) = (child.stdout.take().context("it is piped")?, child.stderr.take().context("it is piped")?);
        let mut said = String::new();
        let (first, _) = tokio::try_join!(first_of(&mut stdout, head_len(request)), stderr.read_to_string(&mut said))?;
        anyhow::Ok((first, said))
    };
    let read = tokio::select! {
        read = read => read,
        () = stop.clone().asked() => {
            end(&mut child).await;
            return Err(Failure::interrupted());
        }
    };
    let status = child.wait().await.context("cannot wait for `fractally render`")?;
    let ended = started.elapsed();
    let (first, said) = read.context("cannot read from `fractally render`")?;
    if !status.success() {
        return Err(anyhow!("`fractally render` has failed ({status}): {}", said.trim()).into());
    }
    Ok(if file.is_some() { ended } else { first.map_or(ended, |first| first - started) })
}

fn args(here: &Here<'_>, request: &Request) -> Vec<String> {
    let mut args = options(request);
    args.extend(["--quiet", "--workers", &here.workers.to_string(), "--kernel", here.kernel.name()].map(str::to_owned));
    if !here.mirror {
        args.push("--no-mirror".to_owned());
    }
    args
}

/// Bytes before those of the first strip.
fn head_len(request: &Request) -> usize {
    match request.encoding {
        // Signature, IHDR, and the head of the first chunk of pixels.
        Encoding::Png => 8 + 25 + 8,
        // The head of an .npy.
        Encoding::Counts => 128,
    }
}

/// When the first byte after `head` came, if one did; reads on to the end, so that the writer is not stopped.
async fn first_of(stdout: &mut (impl AsyncReadExt + Unpin), head: usize) -> std::io::Result<Option<std::time::Instant>> {
    let (mut all, mut first, mut buffer) = (0, None, vec![0; 1 << 16]);
    loop {
        let read = stdout.read(&mut buffer).await?;
        if read == 0 {
            return Ok(first);
        }
        all += read;
        if all > head {
            first.get_or_insert_with(read_clock);
        }
    }
}

/// Asks it to stop, and waits until it has: it takes its own grid down.
async fn end(child: &mut Child) {
    if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
        // It fails when the process has gone, which is as good.
        let _ = kill_process(id, Signal::TERM);
    }
    let _ = child.wait().await;
}
