//! The command line.

use std::{path::PathBuf, str::FromStr};

use clap::{Args, Parser, Subcommand};
use fractally_proto::Size;
use fractally_simulator::{Change, Event, Host, Scenario, Scene};

const HELP: &str = "\
Columns:
  makespan       from SUBMIT to DONE, virtual seconds
  efficiency     work that reached the file, over all that the workers could have done until then
  tail           from the first worker that gets nothing more to do, to the end
  extra work     compute that did not reach the file, over that which did; the probe is part of it
  attempts/bands leases of bands, and bands of the file
  broker         share of the time in which the broker was busy
  held, reserved most MiB that waited at the broker; the same with what was reserved for leases

Examples:
  fractally-simulator slow-worker
  fractally-simulator grids --seconds 2 --json
  fractally-simulator run --workers 1,2,8,64 --latency-us 100,1000,5000
  fractally-simulator run --workers 8 --slow 3:0.25@15 --dies 5@10+4 --freezes 6@2+1
  fractally-simulator compare --binary target/release/fractally --workers 2";

/// Runs the broker's scheduler in virtual time, with simulated workers on measured row costs. The same options give the same figures.
#[derive(Debug, Parser)]
#[command(name = "fractally-simulator", version, after_help = HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// One scenario, or one for each of several numbers of workers and latencies.
    Run(RunArgs),
    /// One worker of eight at a quarter of the speed: known, unknown, and from the middle on.
    SlowWorker,
    /// Grids of 1 to 10,000 workers, latencies, scenes, unequal speeds.
    Grids,
    /// Slow, dead, frozen and stuck workers, and a slow client.
    Failures,
    /// Measures the scenes and prints the table of their rows (simulator/src/rows.txt).
    Rows,
    /// Renders with the real grid, and prints prediction and measurement.
    Compare(CompareArgs),
}

/// What all scenarios share.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Where the costs of rows come from: talk, boundary, interior or even.
    #[arg(long, global = true, default_value = "boundary")]
    scene: Scene,
    /// How long the job takes on a grid that loses nothing; 0 draws the scene as it is.
    #[arg(long, global = true, value_name = "SECONDS", default_value = "30")]
    seconds: f64,
    /// Pixels of the picture [default: as many as the seconds ask for, up to 16,000 rows or 128 strips a thread].
    #[arg(long, global = true, value_name = "WxH", value_parser = size)]
    size: Option<Size>,
    /// A job of so many seconds goes before, so that the broker knows its workers.
    #[arg(long, global = true, value_name = "SECONDS")]
    warm_up: Option<f64>,
    /// Workers compute rows that are mirror images of others too.
    #[arg(long, global = true)]
    no_mirror: bool,
    /// Threads of a worker.
    #[arg(long, global = true, default_value = "1")]
    threads: u32,
    /// Bands that a worker takes at once, for each of its threads.
    #[arg(long, global = true, default_value = "2")]
    credit: u32,
    /// Speeds differ by up to this fraction either way.
    #[arg(long, global = true, value_name = "FRACTION", default_value = "0")]
    spread: f64,
    /// Bands take longer or shorter by up to this fraction.
    #[arg(long, global = true, value_name = "FRACTION", default_value = "0")]
    noise: f64,
    /// Nanoseconds of a thread for one iteration of one pixel.
    #[arg(long, global = true, value_name = "NS", default_value_t = Host::default().ns_per_iteration)]
    ns_per_iteration: f64,
    /// Nanoseconds of a thread for the colour and the encoding of a pixel.
    #[arg(long, global = true, value_name = "NS", default_value_t = Host::default().ns_per_pixel)]
    ns_per_pixel: f64,
    /// The broker's time for a band, microseconds (`cargo bench --bench grid` measures it).
    #[arg(long, global = true, value_name = "US", default_value = "13")]
    broker_us: f64,
    /// Megabytes a second to the client [default: without limit].
    #[arg(long, global = true, value_name = "MB")]
    client_mb_per_s: Option<f64>,
    /// The client acknowledges after so many STRIPS at the latest; 0 is never for their number.
    #[arg(long, global = true, value_name = "N", default_value = "32")]
    ack_messages: u32,
    /// Bytes of a job that may wait or be leased, MiB [default: the broker's].
    #[arg(long, global = true, value_name = "MIB")]
    reorder_mib: Option<u32>,
    /// All that is left to chance.
    #[arg(long, global = true, default_value = "1")]
    seed: u64,
    /// One JSON object a line in place of the table.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

impl Common {
    /// The scenario that they describe, with whatever the command adds.
    pub(crate) fn scenario(&self) -> anyhow::Result<Scenario> {
        Ok(Scenario {
            scene: self.scene,
            size: self.size,
            seconds: (self.seconds != 0.0).then_some(self.seconds),
            warm_up: self.warm_up,
            mirror: !self.no_mirror,
            threads: self.threads,
            credit: self.credit,
            spread: self.spread,
            noise: self.noise,
            host: Host { ns_per_iteration: self.ns_per_iteration, ns_per_pixel: self.ns_per_pixel },
            broker_us: self.broker_us,
            client_bytes_per_s: self.client_mb_per_s.map(|mb| mb * 1e6),
            ack_messages: (self.ack_messages > 0).then_some(self.ack_messages),
            reorder_bytes_max: self.reorder_mib.map(|mib| u64::from(mib) << 20),
            seed: self.seed,
            ..Scenario::default()
        })
    }
}

/// Options of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// How many workers.
    #[arg(long, value_delimiter = ',', default_value = "8")]
    workers: Vec<u32>,
    /// One way, microseconds.
    #[arg(long, value_delimiter = ',', value_name = "US", default_value = "100")]
    latency_us: Vec<f64>,
    /// A worker's speed is so many times its own, from the start or from a second of the job on; 0 stops its threads.
    #[arg(long, value_name = "WORKER:FACTOR[@SECOND]", value_parser = slow)]
    slow: Vec<Event>,
    /// A worker's process ends, and is started again after so many seconds.
    #[arg(long, value_name = "WORKER@SECOND[+SECONDS]", value_parser = stretch)]
    dies: Vec<Stretch>,
    /// A worker's process stands still for so many seconds.
    #[arg(long, value_name = "WORKER@SECOND[+SECONDS]", value_parser = stretch)]
    freezes: Vec<Stretch>,
}

impl RunArgs {
    /// One for each number of workers and each latency.
    pub(crate) fn scenarios(&self, base: &Scenario) -> Vec<Scenario> {
        let mut events = self.slow.clone();
        for (stretches, first, last) in
            [(&self.dies, Change::Dies, Change::Returns), (&self.freezes, Change::Freezes, Change::Thaws)]
        {
            for &Stretch { worker, from, until } in stretches {
                events.push(Event { worker, at: Some(from), change: first });
                events.extend(until.map(|at| Event { worker, at: Some(at), change: last }));
            }
        }
        let with = |&workers: &u32, &latency_us: &f64| {
            let name = format!("latency {} ms", latency_us / 1000.0);
            Scenario { name, workers, latency_us, events: events.clone(), ..base.clone() }
        };
        self.workers.iter().flat_map(|workers| self.latency_us.iter().map(move |latency| with(workers, latency))).collect()
    }
}

/// Options of `compare`.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// The program that renders.
    #[arg(long, value_name = "FILE", default_value = "target/release/fractally")]
    pub(crate) binary: PathBuf,
    /// How many workers to predict.
    #[arg(long, default_value = "2")]
    pub(crate) workers: u32,
    /// Times that each number of workers renders; the least time counts.
    #[arg(long, default_value = "3", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
}

/// A worker, and from when to when.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stretch {
    worker: u32,
    from: f64,
    until: Option<f64>,
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text:?} is not a number that fits here"))
}

fn size(text: &str) -> Result<Size, String> {
    let (w, h) = text.split_once('x').ok_or("give WIDTHxHEIGHT, as 4000x2000")?;
    Ok(Size { w: number(w)?, h: number(h)? })
}

fn slow(text: &str) -> Result<Event, String> {
    let (worker, rest) = text.split_once(':').ok_or("give WORKER:FACTOR or WORKER:FACTOR@SECOND, as 3:0.25@15")?;
    let (factor, at) = match rest.split_once('@') {
        Some((factor, at)) => (factor, Some(number(at)?)),
        None => (rest, None),
    };
    Ok(Event { worker: number(worker)?, at, change: Change::Speed(number(factor)?) })
}

fn stretch(text: &str) -> Result<Stretch, String> {
    let (worker, rest) = text.split_once('@').ok_or("give WORKER@SECOND or WORKER@SECOND+SECONDS, as 3@10+5")?;
    let (from, lasts) = match rest.split_once('+') {
        Some((from, lasts)) => (number::<f64>(from)?, Some(number::<f64>(lasts)?)),
        None => (number(rest)?, None),
    };
    Ok(Stretch { worker: number(worker)?, from, until: lasts.map(|lasts| from + lasts) })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn events_are_read() {
        let event = |at| Event { worker: 3, at, change: Change::Speed(0.25) };
        assert_eq!((slow("3:0.25"), slow("3:0.25@15")), (Ok(event(None)), Ok(event(Some(15.0)))));
        assert_eq!(stretch("5@10+4"), Ok(Stretch { worker: 5, from: 10.0, until: Some(14.0) }));
        assert!(slow("3").is_err() && slow("a:1").is_err() && stretch("5").is_err() && size("4000").is_err());
    }
}
