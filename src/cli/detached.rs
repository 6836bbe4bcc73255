//! The options of the subcommands for detached jobs, which a broker keeps on its disk.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use fractally_client::Broker;
use fractally_proto::{JobId, JobState};
use fractally_transport::Endpoint;

use super::{Format, PictureArgs, PriorityArg, format, name, seconds};
use crate::{AGENT, exit, life};

/// What a broker listens at where nothing else is said.
const BROKER_DEFAULT: &str = "tcp://127.0.0.1:5555";

/// Which broker, and for how long it is waited for.
#[derive(Debug, Args)]
pub(crate) struct ReachArgs {
    /// The broker's endpoint for clients.
    #[arg(long, value_name = "ENDPOINT", env = "FRACTALLY_BROKER", default_value = BROKER_DEFAULT)]
    pub(crate) broker: Endpoint,
    /// How long to wait for the broker to answer, seconds.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) connect_timeout: Duration,
}

impl ReachArgs {
    /// The broker, as asked by this process for `account`.
    pub(crate) fn broker(&self, account: Option<String>) -> Broker {
        Broker {
            endpoint: self.broker.clone(),
            agent: AGENT.to_owned(),
            account,
            epoch: life::new_epoch(),
            connect_timeout: self.connect_timeout,
            sessions: None,
        }
    }

    /// What a command line needs to reach the same broker: nothing for the default one.
    pub(crate) fn again(&self) -> String {
        let broker = self.broker.to_string();
        if broker == BROKER_DEFAULT { String::new() } else { format!(" --broker {broker}") }
    }
}

const SUBMIT_HELP: &str = "\
Prints the job's id alone to stdout once the job is on the broker's disk. From then on it
outlives this client and the broker, which must keep a journal.

Examples:
  fractally submit -c i --size 20000x10000 --iter 1000
  fractally submit --key 'poster, second try' --priority batch --size 60000x30000
  job=$(fractally submit) && fractally attach $job -o julia.png";

/// Options of `submit`.
#[derive(Debug, Args)]
#[command(after_help = SUBMIT_HELP, after_long_help = format!("{SUBMIT_HELP}\n\n{}", exit::HELP))]
pub(crate) struct SubmitArgs {
    #[command(flatten)]
    pub(crate) picture: PictureArgs,
    /// What to draw: png, a picture, or npy, raw counts as u32 (height x width). Other formats are made from a png by who takes it:
    /// `fractally fetch JOB -o FILE.webp` converts.
    #[arg(long, value_name = "png|npy", default_value = "png", value_parser = format::of_job)]
    pub(crate) format: Format,
    /// Interactive jobs go before normal ones, and those before batch ones; no class is starved.
    #[arg(long, value_enum, default_value = "normal")]
    pub(crate) priority: PriorityArg,
    /// Whom the job is counted for: accounts share the broker's grid [default: user@host].
    #[arg(long, value_name = "NAME", env = "FRACTALLY_ACCOUNT", value_parser = name)]
    pub(crate) account: Option<String>,
    /// A name of your own for the job, any text: said again with the same options it is the same job and gives the same id, however
    /// often it is submitted. With other options it is refused. It holds for as long as the broker keeps the job, unless that failed or was
    /// cancelled; a picture that another job has drawn already is given under that job's id, and leaves the key free.
    #[arg(long, value_name = "TEXT")]
    pub(crate) key: Option<String>,
    /// Print one line of JSON to stdout instead of the id.
    #[arg(long)]
    pub(crate) json: bool,
    /// Say nothing on stderr.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) reach: ReachArgs,
    /// How long to wait for a broker that was there and went away, seconds.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(crate) reconnect_for: Duration,
}

const ATTACH_HELP: &str = "\
Ctrl-C leaves; the job goes on, and can be attached to again. Several may follow one job.
An existing FILE is replaced once the picture is complete, and left as it is when it is not.

Example:
  fractally attach $(fractally submit) -o julia.png";

const FETCH_HELP: &str = "\
Where the picture is not complete, tells how far it is and ends with exit code 5.

Examples:
  job=$(fractally submit); until fractally fetch $job -o julia.png || [ $? -ne 5 ]; do sleep 2; done
  fractally fetch $job -o julia.webp";

/// Options of `attach`.
#[derive(Debug, Args)]
#[command(after_help = ATTACH_HELP, after_long_help = format!("{ATTACH_HELP}\n\n{}", exit::HELP))]
pub(crate) struct AttachArgs {
    #[command(flatten)]
    pub(crate) follow: FollowArgs,
}

/// Options of `fetch`.
#[derive(Debug, Args)]
#[command(after_help = FETCH_HELP, after_long_help = format!("{FETCH_HELP}\n\n{}", exit::HELP))]
pub(crate) struct FetchArgs {
    #[command(flatten)]
    pub(crate) follow: FollowArgs,
}

/// Which job goes where.
#[derive(Debug, Args)]
pub(crate) struct FollowArgs {
    /// The job's id, or its first or last digits (4 at least) where only one job has them.
    #[arg(value_name = "JOB", value_parser = job_name)]
    pub(crate) job: JobName,
    /// Where the picture goes, as .png, .webp, .jpg, .jpeg, .tif or .tiff, or .npy where the job draws counts; `-` is standard output
    /// [default: JOB.png or JOB.npy, as the job draws].
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// What to write [default: as the file's ending says, else as the job draws]. All but png and npy are converted in memory once the
    /// picture is complete.
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// Print what it took as one line of JSON to stdout (to stderr with `-o -`).
    #[arg(long)]
    pub(crate) json: bool,
    /// No progress and no summary.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) reach: ReachArgs,
    /// How long to wait for a broker that was there and went away, seconds.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(crate) reconnect_for: Duration,
}

const CANCEL_HELP: &str = "\
A job that is over already stays as it is, and that is no error.

Example:
  fractally cancel $(fractally submit)";

/// Options of `cancel`.
#[derive(Debug, Args)]
#[command(after_help = CANCEL_HELP, after_long_help = format!("{CANCEL_HELP}\n\n{}", exit::HELP))]
pub(crate) struct CancelArgs {
    /// The jobs' ids, or their first or last digits (4 at least) where only one job has them.
    #[arg(value_name = "JOB", required = true, value_parser = job_name)]
    pub(crate) jobs: Vec<JobName>,
    #[command(flatten)]
    pub(crate) reach: ReachArgs,
}

const LIST_HELP: &str = "\
Shows the jobs that are not over, and those that ended within a day, the newest first.

Examples:
  fractally list
  fractally list --state running,paused
  fractally list --all --json";

/// Options of `list`.
#[derive(Debug, Args)]
#[command(after_help = LIST_HELP)]
pub(crate) struct ListArgs {
    /// Show every job that the broker keeps, whenever it ended.
    #[arg(long, conflicts_with = "state")]
    pub(crate) all: bool,
    /// Show jobs in these states only, whenever they ended.
    #[arg(long, value_name = "STATE", value_enum, value_delimiter = ',')]
    pub(crate) state: Vec<StateArg>,
    /// Show the jobs of one account only.
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<String>,
    /// Print an array of objects, with the names of LIST_REPORT in the protocol; `job` is the id as other commands take it.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) reach: ReachArgs,
}

/// [`JobState`] as an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StateArg {
    Waiting,
    Running,
    Paused,
    Done,
    Failed,
    Cancelled,
}

impl From<StateArg> for JobState {
    fn from(arg: StateArg) -> Self {
        match arg {
            StateArg::Waiting => Self::Waiting,
            StateArg::Running => Self::Running,
            StateArg::Paused => Self::Paused,
            StateArg::Done => Self::Done,
            StateArg::Failed => Self::Failed,
            StateArg::Cancelled => Self::Cancelled,
        }
    }
}

/// How somebody names a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JobName {
    /// With all 16 digits.
    Whole(JobId),
    /// With its first or last digits, in lower case.
    Part(String),
}

fn job_name(text: &str) -> Result<JobName, String> {
    let digits = text.to_ascii_lowercase();
    if !(4..=16).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(format!(
            "{text:?} is no job's id; they have 16 digits, as 59eb2c4b00000001, of which the first or last 4 may do"
        ));
    }
    let whole = u64::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 16);
    Ok(whole.map_or(JobName::Part(digits), |id| JobName::Whole(JobId(id))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_named_by_all_its_digits_or_by_four_at_least() {
        assert_eq!(job_name("59EB2C4B00000001"), Ok(JobName::Whole(JobId(0x59eb_2c4b_0000_0001))));
        assert_eq!(job_name("0001"), Ok(JobName::Part("0001".to_owned())));
        for text in ["", "001", "+0001", "59eb2c4b000000012", "59eb2c4g00000001", "ééé"] {
            assert!(job_name(text).is_err(), "{text}");
        }
    }
}
