//! The options of `fractally bench`.

use std::{num::NonZero, path::PathBuf, time::Duration};

use clap::{ArgMatches, Args, Subcommand, ValueEnum};
use fractally_measure::Series;
use fractally_transport::Endpoint;

use super::{Format, PictureArgs, Place, format, name, place, seconds};
use crate::exit;

const BENCH_HELP: &str = "\
Series:
  strong    the same picture on 1, 2, 3, 4, 8, 16, ... workers of one thread, up to --workers;
            and without a grid, on as many threads of one process
  weak      a picture that grows with the workers: the same view, as many pixels for each
  overhead  bands without work: what each costs on the way, and the broker's CPU time for it
  latency   a job of one band, on an idle grid, and beside a batch job that has every thread
  payload   bytes of counts a second, of a picture that costs nothing to compute
  start     `fractally render` from nothing: to the first bytes of the picture, to the file;
            and a local grid from nothing to its first pixel

Pictures are put together as files are and then forgotten, so no disk is measured but by
`start`. Every repetition is a job of its own, over one connection that is used again.
Without --broker, grids are started on this machine (Unix sockets) and taken down. With
--broker the running grid is measured as it is: `strong` and `weak` give the point of all its
workers, so a script changes the workers, measures again, and puts the runs together.
Measure on a machine that does nothing else, and compare only figures of one run.

Examples:
  fractally bench
  fractally bench strong --workers 2 --json run.json
  fractally bench strong latency --size 800x600 --iter 1000 --runs 3 --csv -
  fractally bench --runs 1 --warm-up 0 --size 200x100 --scale 0.01
  fractally bench report run.json --csv run.csv

A running grid, and one whose workers compute nothing, which `overhead` wants:
  fractally bench strong weak --broker tcp://127.0.0.1:5555 --json two.json
  fractally broker --no-op & fractally worker --no-op & fractally worker --no-op & sleep 1
  fractally bench overhead --broker tcp://127.0.0.1:5555";

/// Options of `bench`.
#[derive(Debug, Args)]
#[command(
    after_help = BENCH_HELP,
    after_long_help = format!("{BENCH_HELP}\n\n{}", exit::HELP),
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    override_usage = "fractally bench [OPTIONS] [SERIES]...\n       fractally bench report [OPTIONS] <RUN.json>..."
)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(crate) action: Option<BenchAction>,
    /// What to measure [default: all that fit].
    #[arg(value_enum, value_name = "SERIES")]
    pub(crate) series: Vec<SeriesArg>,
    #[command(flatten)]
    pub(crate) picture: PictureArgs,
    /// What the pictures of `strong`, `weak` and `start` are: png, or npy for raw counts.
    #[arg(long, value_name = "png|npy", default_value = "png", value_parser = format::of_job)]
    pub(crate) format: Format,
    /// Measurements of each thing that count.
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u32).range(1..=500))]
    pub(crate) runs: u32,
    /// Measurements of each thing before them, which warm caches up and do not count.
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(crate) warm_up: u32,
    /// Size of what has a size of its own, where 1 is 100000 bands a measurement of `overhead`, 256 MiB a measurement of `payload`, and
    /// for `latency` 200 jobs for each of --runs on an idle grid, 12 beside a batch job; from 0.0001 to 10.
    #[arg(long, value_name = "X", default_value = "1", value_parser = scale)]
    pub(crate) scale: f64,
    /// Workers of the largest local grid, one thread each [default: one a core]. Given as an option, it asks for local grids.
    #[arg(long, value_name = "N", env = "FRACTALLY_WORKERS", value_parser = clap::value_parser!(u32).range(1..=512))]
    pub(crate) workers: Option<u32>,
    /// The kernel of local grids, as `fractally doctor` lists them [default: the fastest].
    #[arg(long, value_name = "NAME", env = "FRACTALLY_KERNEL")]
    pub(crate) kernel: Option<String>,
    /// Let local grids compute rows that are mirror images of others too, which gives the same bits later.
    #[arg(long, env = "FRACTALLY_NO_MIRROR")]
    pub(crate) no_mirror: bool,
    /// Let local grids cut the pictures of `strong` and `weak` into N bands of as many rows each, whatever they cost, as
    /// `fractally broker --bands` does.
    #[arg(long, value_name = "N")]
    pub(crate) bands: Option<NonZero<u32>>,
    /// The endpoint for clients of a running broker, whose grid is measured as it is, as tcp://HOST:5555.
    #[arg(long, value_name = "ENDPOINT", env = "FRACTALLY_BROKER")]
    pub(crate) broker: Option<Endpoint>,
    /// Whom the jobs are counted for on a running broker [default: user@host].
    #[arg(long, value_name = "NAME", env = "FRACTALLY_ACCOUNT", value_parser = name)]
    pub(crate) account: Option<String>,
    /// How long to wait for a broker to answer, seconds.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) connect_timeout: Duration,
    #[command(flatten)]
    pub(crate) outputs: OutputArgs,
    /// Neither progress nor the table.
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// What is done instead of measuring.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchAction {
    /// Put several runs together and tell them; nothing is measured.
    Report(ReportArgs),
}

/// Options of `bench report`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  fractally bench report one.json two.json four.json --html all.html")]
pub(crate) struct ReportArgs {
    /// What `fractally bench --json FILE` wrote.
    #[arg(value_name = "RUN.json", required = true)]
    pub(crate) runs: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) outputs: OutputArgs,
    /// No table.
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Where the figures go, apart from the table.
#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// Write everything that was measured, every sample, as JSON; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write a line for each sample as CSV; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
    /// Write a page with tables and curves, complete in itself; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

/// [`Series`] as an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SeriesArg {
    Strong,
    Weak,
    Overhead,
    Latency,
    Payload,
    Start,
}

impl From<SeriesArg> for Series {
    fn from(arg: SeriesArg) -> Self {
        match arg {
            SeriesArg::Strong => Self::Strong,
            SeriesArg::Weak => Self::Weak,
            SeriesArg::Overhead => Self::Overhead,
            SeriesArg::Latency => Self::Latency,
            SeriesArg::Payload => Self::Payload,
            SeriesArg::Start => Self::Start,
        }
    }
}

impl BenchArgs {
    /// The series that were asked for, each once and in the order in which they are told: all where none was named.
    pub(crate) fn asked(&self) -> Vec<Series> {
        let is_asked = |series: &Series| self.series.is_empty() || self.series.iter().any(|&arg| Series::from(arg) == *series);
        Series::ALL.into_iter().filter(is_asked).collect()
    }

    /// Where to measure: as [`RenderArgs::place`](super::RenderArgs::place).
    ///
    /// # Errors
    /// A running broker and options of local grids both stand on the command line.
    pub(crate) fn place(&self, matches: &ArgMatches) -> Result<Place, exit::Failure> {
        place(matches, self.broker.as_ref(), self.workers, &["workers", "kernel", "no_mirror", "bands"])
    }
}

fn scale(text: &str) -> Result<f64, String> {
    let scale = text.parse().ok().filter(|scale| (0.0001..=10.0).contains(scale));
    scale.ok_or_else(|| format!("{text:?} is not a number from 0.0001 to 10"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn read(args: &[&str]) -> Result<BenchArgs, clap::Error> {
        let cli = Cli::try_parse_from([&["fractally", "bench"], args].concat())?;
        let Command::Bench(args) = cli.command else { panic!("bench was asked for") };
        Ok(*args)
    }

    #[test]
    fn series_are_measured_once_and_in_order_and_all_where_none_is_named() {
        assert_eq!(read(&["weak", "strong", "weak", "--runs", "1"]).unwrap().asked(), [Series::Strong, Series::Weak]);
        assert_eq!(read(&[]).unwrap().asked(), Series::ALL);
        assert!(read(&["stronk"]).is_err());
        for series in SeriesArg::value_variants() {
            let name = series.to_possible_value().unwrap();
            assert_eq!(name.get_name(), Series::from(*series).name());
        }
    }

    #[test]
    fn a_report_measures_nothing() {
        let args = read(&["report", "a.json", "b.json", "--csv", "-"]).unwrap();
        assert!(matches!(args.action, Some(BenchAction::Report(ReportArgs { runs, .. })) if runs.len() == 2));
        assert!(read(&["report"]).is_err(), "of nothing");
        assert!(read(&["--runs", "3", "report", "a.json"]).is_err());
    }
}
