//! Exit codes, and the one line that goes with each.

use std::{io::Write, process::ExitCode};

use fractally_client::{AssembleError, RenderError, SessionError};
use fractally_proto::{Refusal, RefusalCode};

use crate::table::harmless;

/// How the program ends. Shown in `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    /// Something else went wrong: a file that cannot be written, a port in use, a grid that broke.
    Failure = 1,
    /// The options are wrong, or the request is over a limit.
    Usage = 2,
    /// The broker does not answer.
    Unreachable = 3,
    /// The broker gave the job up, had no room for it, or keeps none.
    JobFailed = 4,
    /// `fetch`: the picture is not complete yet.
    NotDone = 5,
    /// The broker knows of no such detached job.
    NoSuchJob = 6,
    /// Stopped by a signal.
    Interrupted = 130,
}

/// What `--help` says about exit codes.
pub(crate) const HELP: &str = "\
Exit codes:
  0    done
  1    failed: an unwritable file, a port in use, a broken local grid
  2    wrong options, or a request over a limit
  3    no broker answers
  4    the broker gave the job up, had no room for it, or keeps none
  5    fetch: the picture is not complete yet
  6    attach, fetch, cancel: the broker knows of no such job
  130  stopped by Ctrl-C or a signal";

/// A failure with its exit code and a line for people.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { code: Code::Usage, message: message.into() }
    }

    pub(crate) fn interrupted() -> Self {
        Self { code: Code::Interrupted, message: "stopped; the picture is not complete".to_owned() }
    }

    /// Stopped where there is nothing to be left incomplete.
    pub(crate) fn stopped() -> Self {
        Self { code: Code::Interrupted, message: "stopped".to_owned() }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { code: Code::Failure, message: format!("{error:#}") }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal.code {
            RefusalCode::Invalid | RefusalCode::Limit if let Some(flag) = flag_of(&refusal.field) => {
                Self::usage(format!("{flag}: {}", refusal.message))
            }
            RefusalCode::Invalid | RefusalCode::Limit => {
                Self { code: Code::JobFailed, message: format!("the broker refuses: {refusal}") }
            }
            RefusalCode::KeyConflict => Self::usage(format!("--key: {}", refusal.message)),
            RefusalCode::Busy | RefusalCode::Closing | RefusalCode::CannotResume => {
                Self { code: Code::JobFailed, message: format!("the broker refuses: {}", refusal.message) }
            }
        }
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        let hint = match &error {
            SessionError::Connect(_) => "; start one with `fractally broker`",
            SessionError::Silent { .. }
            | SessionError::Unanswered { .. }
            | SessionError::Crowded { .. }
            | SessionError::Link(_)
            | SessionError::Refused(_) => "",
        };
        Self { code: Code::Unreachable, message: format!("{error}{hint}") }
    }
}

impl From<RenderError> for Failure {
    fn from(error: RenderError) -> Self {
        match error {
            RenderError::Session(error) => error.into(),
            RenderError::Refused(refusal) => refusal.into(),
            RenderError::NotDone { .. } => Self { code: Code::NotDone, message: error.to_string() },
            RenderError::Failed(_) | RenderError::NoPicture(_) | RenderError::Assemble(AssembleError::Misfit(_)) => {
                Self { code: Code::JobFailed, message: error.to_string() }
            }
            RenderError::Assemble(AssembleError::Io(_)) => Self { code: Code::Failure, message: error.to_string() },
            RenderError::Stopped => Self::interrupted(),
        }
    }
}

/// The option that sets a field of a request, if it is one's.
fn flag_of(field: &str) -> Option<&'static str> {
    match field {
        "c" => Some("-c"),
        "center" => Some("--center"),
        "width" => Some("--width"),
        "size" => Some("--size"),
        "window" => Some("--window"),
        "iterations" => Some("--iter"),
        "bailout" => Some("--bailout"),
        "priority" => Some("--priority"),
        "encoding" => Some("--format"),
        _ => None,
    }
}

/// A line on stderr. Where nobody listens, saying nothing is all that is left.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Says what went wrong and gives the exit code.
pub(crate) fn report(ended: Result<(), Failure>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Some of it may be a broker's words, which are not to give orders to a terminal.
            let lines: Vec<_> = failure.message.split('\n').map(harmless).collect();
            say(&format!("fractally: {}", lines.join("\n")));
            ExitCode::from(failure.code as u8)
        }
    }
}
