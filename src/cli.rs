//! The options of every subcommand. Flag > `FRACTALLY_*` variable > file (`--config`) > default.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZero,
    path::PathBuf,
    time::Duration,
};

use clap::{
    ArgMatches, Args, Parser, Subcommand, ValueEnum,
    builder::{OsStringValueParser, TypedValueParser},
    parser::ValueSource,
};
use fractally_proto::{JobId, Priority, limits};
use fractally_transport::Endpoint;
use tracing_subscriber::EnvFilter;

pub(crate) use self::{
    bench::{BenchAction, BenchArgs, OutputArgs, ReportArgs},
    detached::{AttachArgs, CancelArgs, FetchArgs, FollowArgs, JobName, ListArgs, ReachArgs, SubmitArgs},
    format::Format,
    manual::{CompletionsArgs, ManArgs},
    picture::PictureArgs,
    read::Read,
    top::TopArgs,
    web::{GatewayArgs, UpArgs, WebArgs},
};
use crate::{exit, notation};

mod bench;
mod detached;
mod format;
mod manual;
mod picture;
mod read;
mod top;
mod web;

/// Renders Julia sets on one machine or on every machine of a LAN.
#[derive(Debug, Parser)]
#[command(name = "fractally", version, after_help = exit::HELP, propagate_version = true)]
pub(crate) struct Cli {
    /// What to log to stderr: error, warn, info, debug, or a filter such as `fractally_broker=debug`.
    #[arg(long, global = true, env = "FRACTALLY_LOG", value_name = "FILTER", value_parser = filter)]
    pub(crate) log: Option<String>,
    /// Take options from this TOML file, where neither an option nor a variable sets them; docs/fractally.toml is an example. Paths in it
    /// are relative to the current directory. An empty name is no file.
    #[arg(long, global = true, env = "FRACTALLY_CONFIG", value_name = "FILE", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Render a Julia set into a file.
    Render(RenderArgs),
    /// Take requests, hand out bands, put the pictures together (I/O only).
    Broker(BrokerArgs),
    /// Compute bands for a broker.
    Worker(WorkerArgs),
    /// Hand a broker a job that it keeps on its disk, and leave.
    Submit(SubmitArgs),
    /// Follow a submitted job and write its picture.
    Attach(AttachArgs),
    /// Write the picture of a submitted job if it is complete.
    Fetch(FetchArgs),
    /// End submitted jobs.
    Cancel(CancelArgs),
    /// Show the submitted jobs that a broker keeps.
    List(ListArgs),
    /// Show a broker's workers and jobs.
    Status(StatusArgs),
    /// Watch a broker's workers and jobs in the terminal.
    Top(TopArgs),
    /// Show what this machine computes with, and what stands in the way of a grid.
    Doctor(DoctorArgs),
    /// Start a grid on this machine and put it behind a URL.
    Up(UpArgs),
    /// Put a broker's grid behind a URL: a REST API, pages, map tiles.
    Gateway(GatewayArgs),
    /// Measure a grid: how it scales, what it costs, how soon it answers.
    Bench(Box<BenchArgs>),
    /// Print a script that completes commands and options in a shell.
    Completions(CompletionsArgs),
    /// Print a man page, or write all of them.
    Man(ManArgs),
}

impl Command {
    pub(crate) fn default_log(&self) -> &'static str {
        match self {
            Self::Broker(_) | Self::Worker(_) | Self::Gateway(_) => "info",
            Self::Render(_) | Self::Submit(_) | Self::Attach(_) | Self::Fetch(_) => "warn",
            Self::Cancel(_) | Self::List(_) | Self::Status(_) | Self::Doctor(_) | Self::Up(_) | Self::Bench(_) => "warn",
            Self::Completions(_) | Self::Man(_) => "warn",
            // A line would tear its screen; it shows there what goes wrong.
            Self::Top(_) => "off",
        }
    }

    /// How long the role may finish what it has when it is asked to stop.
    pub(crate) fn drain_timeout(&self) -> Duration {
        match self {
            Self::Broker(args) => args.drain_timeout,
            Self::Worker(args) => args.drain_timeout,
            Self::Up(UpArgs { web, .. }) | Self::Gateway(GatewayArgs { web, .. }) => web.drain_timeout,
            Self::Render(_) | Self::Submit(_) | Self::Attach(_) | Self::Fetch(_) => Duration::ZERO,
            Self::Cancel(_) | Self::List(_) | Self::Status(_) | Self::Doctor(_) | Self::Bench(_) => Duration::ZERO,
            Self::Completions(_) | Self::Man(_) => Duration::ZERO,
            Self::Top(_) => Duration::ZERO,
        }
    }
}

const RENDER_HELP: &str = "\
Without --broker a grid is started on this machine for this one picture, and taken down with it.
An existing FILE is replaced once the picture is complete, and left as it is when it is not.

Examples:
  fractally render -o julia.png
  fractally render -c -0.4+0.6i --size 1920x1080 --width 3.6 --iter 1000 --cmap twilight -o dusk.png
  fractally render -c i --size 800x600 -o counts.npy
  fractally render --size 1600x900 -o julia.webp
  fractally render --broker tcp://127.0.0.1:5555 --json -o julia.png";

/// Options of `render`.
#[derive(Debug, Args)]
#[command(after_help = RENDER_HELP, after_long_help = format!("{RENDER_HELP}\n\n{}", exit::HELP))]
pub(crate) struct RenderArgs {
    #[command(flatten)]
    pub(crate) picture: PictureArgs,
    /// Where the picture goes, as .png, .webp, .jpg, .jpeg, .tif, .tiff or .npy; `-` is standard output.
    #[arg(short, long, value_name = "FILE", default_value = "julia.png")]
    pub(crate) output: PathBuf,
    /// What to write: a picture, or raw counts as u32 (height x width) [default: as the file's ending says, png with `-o -`].
    /// All but png and npy are converted in memory once the picture is complete.
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// Workers of a local grid, one thread each [default: one a core]. Given as an option, it asks for a local grid.
    #[arg(long, value_name = "N", env = "FRACTALLY_WORKERS",
        value_parser = clap::value_parser!(u32).range(1..=512))]
    pub(crate) workers: Option<u32>,
    /// The kernel of a local grid, as `fractally doctor` lists them; all give the same bits [default: the fastest].
    #[arg(long, value_name = "NAME", env = "FRACTALLY_KERNEL")]
    pub(crate) kernel: Option<String>,
    /// Let a local grid compute rows that are mirror images of others too, which gives the same bits later.
    #[arg(long, env = "FRACTALLY_NO_MIRROR")]
    pub(crate) no_mirror: bool,
    /// A running broker's endpoint for clients, as tcp://HOST:5555.
    #[arg(long, value_name = "ENDPOINT", env = "FRACTALLY_BROKER")]
    pub(crate) broker: Option<Endpoint>,
    /// Interactive jobs go before normal ones, and those before batch ones; no class is starved.
    #[arg(long, value_enum, default_value = "interactive")]
    pub(crate) priority: PriorityArg,
    /// Whom the job is counted for: accounts share a running broker's grid [default: user@host].
    #[arg(long, value_name = "NAME", env = "FRACTALLY_ACCOUNT", value_parser = name)]
    pub(crate) account: Option<String>,
    /// How long to wait for a broker to answer, seconds.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) connect_timeout: Duration,
    /// How long to wait for a broker that was there and went away, seconds.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(crate) reconnect_for: Duration,
    /// Print what it took as one line of JSON to stdout (to stderr with `-o -`).
    #[arg(long)]
    pub(crate) json: bool,
    /// No progress and no summary.
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// [`Priority`] as an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PriorityArg {
    Interactive,
    Normal,
    Batch,
}

impl From<PriorityArg> for Priority {
    fn from(arg: PriorityArg) -> Self {
        match arg {
            PriorityArg::Interactive => Self::Interactive,
            PriorityArg::Normal => Self::Normal,
            PriorityArg::Batch => Self::Batch,
        }
    }
}

/// Where a picture is rendered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// On a running broker's grid.
    Grid(Endpoint),
    /// On a grid of this machine, of so many workers if that was said.
    Local(Option<u32>),
}

impl RenderArgs {
    /// Where to render, as [`place`] has it.
    ///
    /// # Errors
    /// Both options stand on the command line.
    pub(crate) fn place(&self, matches: &ArgMatches) -> Result<Place, exit::Failure> {
        place(matches, self.broker.as_ref(), self.workers, &["workers", "kernel", "no_mirror"])
    }
}

/// A running broker's grid or local ones: an option on the command line counts for more than a variable or a file, and of two of those the
/// broker's. `of_local_grid` are the options that a running broker has no use for. `matches` are of the command line and the variables
/// alone, without the file.
///
/// # Errors
/// Options of both stand on the command line.
fn place(
    matches: &ArgMatches,
    broker: Option<&Endpoint>,
    workers: Option<u32>,
    of_local_grid: &[&str],
) -> Result<Place, exit::Failure> {
    let is_flag = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let flag = of_local_grid.iter().find(|id| is_flag(id)).map(|id| id.replace('_', "-"));
    match (broker, is_flag("broker"), flag) {
        (Some(_), true, Some(flag)) => Err(exit::Failure::usage(format!(
            "--{flag}: a running broker has workers of its own; leave out either --{flag} or --broker"
        ))),
        (Some(broker), _, None) => Ok(Place::Grid(broker.clone())),
        (Some(_), false, Some(_)) | (None, ..) => Ok(Place::Local(workers)),
    }
}

const BROKER_HELP: &str = "\
Prints `ready CLIENT_ENDPOINT WORKER_ENDPOINT` to stdout once it listens.

Examples:
  fractally broker
  fractally broker --listen 0.0.0.0 --trust-network
  fractally broker --metrics 127.0.0.1:9464";

/// Options of `broker`.
#[derive(Debug, Args)]
#[command(after_help = BROKER_HELP)]
pub(crate) struct BrokerArgs {
    /// Address to listen on. One that other hosts can reach needs --trust-network.
    #[arg(long, value_name = "ADDRESS", env = "FRACTALLY_LISTEN", default_value = "127.0.0.1")]
    pub(crate) listen: IpAddr,
    /// Port for clients; 0 takes a free one.
    #[arg(long, value_name = "PORT", env = "FRACTALLY_CLIENT_PORT", default_value = "5555")]
    pub(crate) client_port: u16,
    /// Port for workers; 0 takes a free one.
    #[arg(long, value_name = "PORT", env = "FRACTALLY_WORKER_PORT", default_value = "5556")]
    pub(crate) worker_port: u16,
    /// Listen where other hosts can connect. Peers cannot be authenticated yet: everybody who reaches the ports can submit
    /// jobs, see what the grid is at, or pose as a worker and hand in wrong pictures; nobody can stop the broker by what he sends.
    /// For networks whose every host you trust.
    #[arg(long)]
    pub(crate) trust_network: bool,
    /// Serve metrics for Prometheus at http://ADDRESS:PORT/metrics; port 0 takes a free one, which the log tells. They say how much the
    /// grid does, and nothing of who does it. An address that other hosts can reach needs --trust-network.
    #[arg(long, value_name = "ADDRESS:PORT", env = "FRACTALLY_METRICS", value_parser = notation::socket_address)]
    pub(crate) metrics: Option<SocketAddr>,
    /// How long a new connection may take to shake hands, and then to say HELLO, seconds.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = some_seconds)]
    pub(crate) handshake_timeout: Duration,
    /// Listen on Unix sockets in a new private folder, which is removed at the end.
    #[arg(long, hide = true)]
    pub(crate) private: bool,
    /// Most memory for rendered bands of all renders that wait for their turn or their client, MiB. One render takes 64 MiB of it, or 3
    /// MiB for each thread of the grid, at the most.
    #[arg(long, value_name = "MIB", env = "FRACTALLY_MEMORY", default_value = "1024",
        value_parser = clap::value_parser!(u64).range(64..=1_048_576))]
    pub(crate) memory: u64,
    /// Keep detached jobs in this directory, so that they outlive their clients and this broker; it is made where it is missing. Without
    /// it there are no detached jobs.
    #[arg(long, value_name = "DIRECTORY", env = "FRACTALLY_STATE")]
    pub(crate) state: Option<PathBuf>,
    /// Most space for detached jobs on disk, MiB. Jobs that are over are forgotten for it, the earliest first.
    #[arg(long, value_name = "MIB", env = "FRACTALLY_STATE_SIZE", default_value = "16384", requires = "state",
        value_parser = clap::value_parser!(u64).range(1..=1_073_741_824))]
    pub(crate) state_size: u64,
    /// The same for each account [default: as much as for all].
    #[arg(long, value_name = "MIB", env = "FRACTALLY_STATE_SIZE_PER_ACCOUNT", requires = "state",
        value_parser = clap::value_parser!(u64).range(1..=1_073_741_824))]
    pub(crate) state_size_per_account: Option<u64>,
    /// Forget detached jobs so many hours after their end.
    #[arg(long, value_name = "HOURS", env = "FRACTALLY_KEEP_FOR", default_value = "168", requires = "state", value_parser = hours)]
    pub(crate) keep_for: Duration,
    /// Keep detached jobs in a directory that is removed at the end.
    #[arg(long, hide = true, conflicts_with = "state")]
    pub(crate) temporary_state: bool,
    /// Take so many seconds longer for everything that is put on disk, to see what a slow disk does.
    #[arg(long, value_name = "SECONDS", hide = true, default_value = "0", value_parser = seconds)]
    pub(crate) debug_slow_disk: Duration,
    /// Lease bands one by one, not with their mirror images, where a picture is its own half-turn.
    #[arg(long, env = "FRACTALLY_NO_MIRROR")]
    pub(crate) no_mirror: bool,
    /// Cut every render into N bands of as many rows each, whatever they cost, and lease them one by one: to compare with what does.
    #[arg(long, value_name = "N")]
    pub(crate) bands: Option<NonZero<u32>>,
    /// Give renders to workers that compute nothing (`fractally worker --no-op`), to measure what a grid costs: what comes is no picture.
    #[arg(long, conflicts_with = "state")]
    pub(crate) no_op: bool,
    /// What an account gets of the grid where others get 1, from 1 to 1000; once for each such account.
    #[arg(long, value_name = "NAME=W", value_parser = notation::weight)]
    pub(crate) weight: Vec<(String, u32)>,
    /// Most renders at once; who asks for one more is told to come back later.
    #[arg(long, value_name = "N", default_value = "256", value_parser = some_number)]
    pub(crate) jobs_max: usize,
    /// Most renders at once of one account; all who name none are one.
    #[arg(long, value_name = "N", default_value = "64", value_parser = some_number)]
    pub(crate) jobs_per_account: usize,
    /// Most pixels times iterations of all renders at once, as 2e15; the largest picture that can be asked for has 1e18.
    #[arg(long, value_name = "WORK", default_value = "16e18", value_parser = notation::work)]
    pub(crate) work_max: u128,
    /// Most pixels times iterations of one account's renders at once.
    #[arg(long, value_name = "WORK", default_value = "4e18", value_parser = notation::work)]
    pub(crate) work_per_account: u128,
    /// Most clients of one account at once; those who name none are not counted.
    #[arg(long, value_name = "N", default_value = "256", value_parser = some_number)]
    pub(crate) connections_per_account: usize,
    /// Seconds that clients get for the renders in hand when the broker is asked to stop; a second signal stops it at once.
    #[arg(long, value_name = "SECONDS", env = "FRACTALLY_DRAIN_TIMEOUT", default_value = "30", value_parser = seconds)]
    pub(crate) drain_timeout: Duration,
    /// Leave when stdin is closed.
    #[arg(long, hide = true)]
    pub(crate) leave_with_stdin: bool,
}

const WORKER_HELP: &str = "\
A worker that loses its broker looks for it again until it is stopped.

Example:
  fractally worker --broker tcp://127.0.0.1:5556";

/// Options of `worker`.
#[derive(Debug, Args)]
#[command(after_help = WORKER_HELP)]
pub(crate) struct WorkerArgs {
    /// The broker's endpoint for workers.
    #[arg(long, value_name = "ENDPOINT", env = "FRACTALLY_WORKER_BROKER", default_value = "tcp://127.0.0.1:5556")]
    pub(crate) broker: Endpoint,
    /// Threads that compute [default: one a core].
    #[arg(long, value_name = "N", env = "FRACTALLY_THREADS",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(limits::WORKER_THREADS_MAX)))]
    pub(crate) threads: Option<u32>,
    /// The kernel that computes, as `fractally doctor` lists them; all give the same bits [default: the fastest].
    #[arg(long, value_name = "NAME", env = "FRACTALLY_KERNEL")]
    pub(crate) kernel: Option<String>,
    /// Compute rows that are mirror images of others too, which gives the same bits later.
    #[arg(long, env = "FRACTALLY_NO_MIRROR")]
    pub(crate) no_mirror: bool,
    /// Its name in `status` and logs [default: host and process].
    #[arg(long, env = "FRACTALLY_NAME", value_parser = name)]
    pub(crate) name: Option<String>,
    /// Seconds that running bands get when the worker is asked to stop; a second signal hands them back at once.
    #[arg(long, value_name = "SECONDS", env = "FRACTALLY_DRAIN_TIMEOUT", default_value = "10", value_parser = seconds)]
    pub(crate) drain_timeout: Duration,
    /// Bands that it takes at once [default: two a thread, so that none waits for the broker].
    #[arg(long, value_name = "N", env = "FRACTALLY_CREDIT",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(limits::WORKER_CREDIT_MAX)))]
    pub(crate) credit: Option<u32>,
    /// Compute nothing and answer each band at once, to measure what a grid costs. Its broker needs --no-op too.
    #[arg(long)]
    pub(crate) no_op: bool,
    /// Take so many times as long for each band, to see what a slow worker does to a grid.
    #[arg(long, value_name = "FACTOR", hide = true, default_value = "1", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) debug_slow_down: u32,
    /// Leave when stdin is closed.
    #[arg(long, hide = true)]
    pub(crate) leave_with_stdin: bool,
}

/// Options of `status`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  fractally status --broker tcp://127.0.0.1:5555")]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) reach: ReachArgs,
    /// Tell what happened to the bands of one job: each try, by whom, for how long, and why it ended. `render --json` names the job.
    #[arg(long, value_name = "ID", value_parser = job_id)]
    pub(crate) job: Option<JobId>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

const DOCTOR_HELP: &str = "\
Each check says ok, note or bad, and what to do. The exit code is 1 where something is bad. A check that
gets no answer says so after 5 s a step. To ask a broker's endpoint for workers leaves a line in its log.

Examples:
  fractally doctor
  fractally doctor --broker tcp://127.0.0.1:5555 --worker-broker tcp://127.0.0.1:5556
  fractally doctor --config fractally.toml --state jobs";

/// Options of `doctor`.
#[derive(Debug, Args)]
#[command(after_help = DOCTOR_HELP)]
pub(crate) struct DoctorArgs {
    /// The kernel that computes, as `fractally doctor` lists them; all give the same bits [default: the fastest].
    #[arg(long, value_name = "NAME", env = "FRACTALLY_KERNEL")]
    pub(crate) kernel: Option<String>,
    /// Ask the broker at this endpoint for clients how it is.
    #[arg(long, value_name = "ENDPOINT", env = "FRACTALLY_BROKER")]
    pub(crate) broker: Option<Endpoint>,
    /// See whether this is a broker's endpoint for workers.
    #[arg(long, value_name = "ENDPOINT", env = "FRACTALLY_WORKER_BROKER")]
    pub(crate) worker_broker: Option<Endpoint>,
    /// See whether a broker can keep jobs in this directory, or does.
    #[arg(long, value_name = "DIRECTORY", env = "FRACTALLY_STATE")]
    pub(crate) state: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Levels, and filters of single parts of the program.
fn filter(text: &str) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |word: &str| {
        LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word)) || (word.len() == 1 && ("0"..="5").contains(&word))
    };
    // Any other word would be taken for a part of the program: all of that would be told, and of the rest not even errors.
    let mut words = text.split(',').map(str::trim).filter(|word| !word.is_empty() && !word.contains(['=', '[', ']']));
    if let Some(word) = words.find(|word| !is_level(word)) {
        return Err(format!("{word:?} is no level; write {}, or a filter such as fractally_broker=debug", LEVELS.join(", ")));
    }
    EnvFilter::builder().parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.0..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| format!("{text:?} is not a number of seconds from 0 to 86400"))
}

fn hours(text: &str) -> Result<Duration, String> {
    let hours = text.parse::<f64>().ok().filter(|hours| (0.0..=1e6).contains(hours));
    hours
        .map(|hours| Duration::from_secs_f64(3600.0 * hours))
        .ok_or_else(|| format!("{text:?} is not a number of hours from 0 to 1000000"))
}

fn job_id(text: &str) -> Result<JobId, String> {
    let wrong = || format!("{text:?} is not a job id; they look like 59eb2c4b00000001");
    u64::from_str_radix(text, 16).map(JobId).map_err(|_| wrong())
}

fn some_seconds(text: &str) -> Result<Duration, String> {
    seconds(text).and_then(|time| if time.is_zero() { Err("it must be more than 0 seconds".to_owned()) } else { Ok(time) })
}

/// What a report of the broker's state has room for.
fn some_number(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=4096).contains(number));
    number.ok_or_else(|| format!("{text:?} is not a whole number from 1 to 4096"))
}

fn name(name: &str) -> Result<String, String> {
    let max = limits::TEXT_BYTES_MAX;
    if name.is_empty() || name.len() > max { Err(format!("a name has 1 to {max} bytes")) } else { Ok(name.to_owned()) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_options_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_constant_that_begins_with_a_minus_is_taken_as_it_stands() {
        let cli = Cli::try_parse_from(["fractally", "render", "-c", "-0.8+0.156i", "--center", "-1-i"]).unwrap();
        let Command::Render(args) = cli.command else { panic!("render was asked for") };
        assert_eq!((args.picture.c, args.picture.center), ([-0.8, 0.156], [-1.0, -1.0]));
    }

    #[test]
    fn a_filter_that_would_tell_nothing_is_refused() {
        for text in ["", "info", "WARN", "3", "warn,fractally_broker=debug", "[band{job=1}]=trace", "off"] {
            assert_eq!(filter(text).as_deref(), Ok(text));
        }
        for text in ["verbose", "inof", "info,fractally_broker", "fractally_broker=loud", "7"] {
            assert!(filter(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_defaults_are_the_talks_scene() {
        let Command::Render(args) = Cli::try_parse_from(["fractally", "render"]).unwrap().command else { panic!("render") };
        assert_eq!(args.picture.request(Format::Png), fractally_proto::Request::default());
    }
}
