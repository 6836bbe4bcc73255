//! Prediction beside measurement: the real grid renders a picture with one worker, from which the host's speed follows, and with
//! several, which the simulation has predicted.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use fractally_fractal::kernel;
use fractally_proto::Request;
use fractally_simulator::{Host, Profile, Report, Scenario, run};
use serde::{Deserialize, Serialize};

use crate::args::CompareArgs;

/// What `fractally render --json` tells.
#[derive(Debug, Deserialize)]
struct Measured {
    seconds: f64,
    compute_seconds: f64,
    bands: u64,
}

#[derive(Serialize)]
struct Comparison {
    workers: u32,
    ns_per_iteration: f64,
    one_worker_measured_s: f64,
    one_worker_predicted_s: f64,
    measured_s: f64,
    predicted_s: f64,
    off: f64,
    off_at_its_pace: f64,
    /// Time that a thread waits for a core counts as compute. So a busy machine makes the seconds worse, and a wrong model this.
    measured_busy: f64,
    predicted_busy: f64,
    measured_bands: u64,
    predicted_bands: u64,
}

pub(crate) fn compare(out: &mut impl Write, base: &Scenario, args: &CompareArgs, json: bool) -> anyhow::Result<()> {
    let size = base.size.unwrap_or_else(|| base.scene.request().size);
    let request = Request { size, window: fractally_proto::Window::whole(size), ..base.scene.request() };
    let (mut one, mut several) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        one.push(render(args, &request, 1)?);
        several.push(render(args, &request, args.workers)?);
    }
    let (one, several) = (least(one), least(several));
    let profile = Profile::measure(kernel::best(), &request);
    let host = calibrated(base.host, &request, &profile, one.compute_seconds)?;
    let scenario = |workers: u32| Scenario {
        picture: Some((request, profile.clone())),
        size: None,
        seconds: None,
        warm_up: None,
        mirror: false,
        threads: 1,
        events: Vec::new(),
        workers,
        host,
        ..base.clone()
    };
    let (alone, together): (Report, Report) = (run(&scenario(1))?, run(&scenario(args.workers))?);
    let measured_busy = several.compute_seconds / (f64::from(args.workers) * several.seconds);
    let comparison = Comparison {
        workers: args.workers,
        ns_per_iteration: host.ns_per_iteration,
        one_worker_measured_s: one.seconds,
        one_worker_predicted_s: alone.makespan_s,
        measured_s: several.seconds,
        predicted_s: together.makespan_s,
        off: several.seconds / together.makespan_s - 1.0,
        off_at_its_pace: together.efficiency / measured_busy - 1.0,
        measured_busy,
        predicted_busy: together.efficiency,
        measured_bands: several.bands,
        predicted_bands: together.bands,
    };
    tell(out, &comparison, json)
}

fn tell(out: &mut impl Write, comparison: &Comparison, json: bool) -> anyhow::Result<()> {
    if json {
        return Ok(writeln!(out, "{}", serde_json::to_string(comparison).context("cannot write JSON")?)?);
    }
    let Comparison { workers, ns_per_iteration, off, off_at_its_pace, .. } = comparison;
    writeln!(out, "calibrated: {ns_per_iteration:.3} ns an iteration, from the compute time of one worker")?;
    let row = |workers: u32, predicted: String, measured: String| format!("{workers:>7}  {predicted:<24}  {measured}");
    writeln!(out, "workers  predicted                 measured")?;
    let (predicted, measured) = (comparison.one_worker_predicted_s, comparison.one_worker_measured_s);
    writeln!(out, "{}", row(1, format!("{predicted:.3} s"), format!("{measured:.3} s")))?;
    let cell = |seconds: f64, busy: f64, bands: u64| format!("{seconds:.3} s, {:.1} %, {bands}", 100.0 * busy);
    let predicted = cell(comparison.predicted_s, comparison.predicted_busy, comparison.predicted_bands);
    let measured = cell(comparison.measured_s, comparison.measured_busy, comparison.measured_bands);
    writeln!(out, "{}", row(*workers, predicted, measured))?;
    writeln!(out, "Columns: seconds, share of the time in which workers compute, bands.")?;
    let (off, at_its_pace) = (100.0 * off, 100.0 * off_at_its_pace);
    writeln!(out, "The render took {off:+.1} % against the prediction, {at_its_pace:+.1} % at the pace that its workers had.")?;
    Ok(())
}

/// The quickest of several: what disturbed it least.
fn least(mut of: Vec<Measured>) -> Measured {
    of.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    of.pop().expect("there is at least one round")
}

fn render(args: &CompareArgs, request: &Request, workers: u32) -> anyhow::Result<Measured> {
    let complex = |of: [f64; 2]| format!("{}{:+}i", of[0], of[1]);
    let output = Command::new(&args.binary)
        .args(["render", "--quiet", "--json", "--no-mirror", "--output", "-", "--workers", &workers.to_string()])
        .args([format!("-c={}", complex(request.c)), format!("--center={}", complex(request.center))])
        .args(["--width", &request.width.to_string(), "--iter", &request.iterations.to_string()])
        .args(["--size", &format!("{}x{}", request.size.w, request.size.h)])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .with_context(|| format!("--binary: cannot run {}", args.binary.display()))?;
    // With the picture on stdout, the JSON is the last line of stderr.
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} failed: {}", args.binary.display(), text.trim());
    let line = text.lines().rfind(|line| line.contains('{')).context("the render told nothing in JSON")?;
    let json = &line[line.find('{').unwrap_or(0)..];
    serde_json::from_str(json).with_context(|| format!("cannot read what the render told: {json}"))
}

/// The host on which the picture's compute takes as long as was measured.
fn calibrated(host: Host, request: &Request, profile: &Profile, compute_seconds: f64) -> anyhow::Result<Host> {
    let pixels = request.pixels() as f64;
    let mean = profile.iterations.iter().sum::<f64>() / profile.iterations.len() as f64;
    let ns_per_iteration = (compute_seconds * 1e9 - pixels * host.ns_per_pixel) / (pixels * mean);
    ensure!(
        ns_per_iteration > 0.0,
        "{compute_seconds} s are less than what {pixels} pixels take at {} ns; give a smaller --ns-per-pixel",
        host.ns_per_pixel
    );
    Ok(Host { ns_per_iteration, ..host })
}
