//! `fractally attach` and `fractally fetch`: the picture of a detached job, now or when it is complete.

use std::{cell::RefCell, io, path::PathBuf, time::Duration};

use fractally_client::{AttachOptions, Broker, RenderError, WINDOW_BYTES, attach, is_over, list};
use fractally_proto::{Encoding, JobId, ListedJob, Request};

use crate::{
    cli::{FollowArgs, Format},
    exit::{Code, Failure},
    jobs::{no_such_job, resolve, state_name},
    life::Stop,
    output::{Output, finish},
    progress::{Follow, human},
};

/// Follows the job; leaves at once where `only_if_done` and it is not.
pub(crate) async fn run(args: FollowArgs, only_if_done: bool, stop: Stop) -> Result<(), Failure> {
    let broker = args.reach.broker(None);
    let job = stop.clone().or(resolve(&broker, &args.reach, &args.job)).await?;
    let reconnect_for = args.reconnect_for;
    let options = AttachOptions { broker, job, only_if_done, reconnect_for, request: None, window_bytes: WINDOW_BYTES };
    let follow = Follow::new(None, args.quiet);
    // What a job draws is known once the broker has answered, and so is what can be written of it.
    let unfit = RefCell::new(None);
    let open = |request: &Request| match format(&args, request) {
        Ok(format) => open(&args, job, request, format),
        Err(failure) => {
            let error = io::Error::other(failure.message.clone());
            unfit.replace(Some(failure));
            Err(error)
        }
    };
    let attached = attach(&options, open, |event| follow.on_event(&event), stop.clone().asked()).await;
    follow.clear();
    if let Some(failure) = unfit.take() {
        return Err(failure);
    }
    match attached {
        Ok(rendered) => {
            let took = Duration::from_millis(rendered.done.elapsed_ms);
            finish(rendered, took, args.quiet, stop).await
        }
        Err(error) => Err(explain(error, &args, &options.broker, job).await),
    }
}

/// What is to be written of what the job draws.
fn format(args: &FollowArgs, request: &Request) -> Result<Format, Failure> {
    let by_name = args.output.as_deref().and_then(Format::of_path);
    let (option, asked) = match args.format {
        Some(format) => ("--format", format),
        None => ("--output", by_name.unwrap_or_else(|| Format::of(request.encoding))),
    };
    match (request.encoding, asked.encoding()) {
        (Encoding::Png, Encoding::Counts) => {
            Err(Failure::usage(format!("{option}: the job draws a picture, in which there are no counts; write a .png")))
        }
        (Encoding::Counts, Encoding::Png) => {
            Err(Failure::usage(format!("{option}: the job draws raw counts, which are no picture; write an .npy")))
        }
        (Encoding::Png, Encoding::Png) | (Encoding::Counts, Encoding::Counts) => {
            asked.check(request.window, option)?;
            Ok(asked)
        }
    }
}

/// The file that was asked for, or one named after the job.
fn open(args: &FollowArgs, job: JobId, request: &Request, format: Format) -> io::Result<Output> {
    let by_job = || PathBuf::from(format!("{job}.{}", format.ending()));
    let path = args.output.clone().unwrap_or_else(by_job);
    Output::open(&path, *request, format, args.json)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// What a failure means for the job, as far as the broker's list tells.
async fn explain(error: RenderError, args: &FollowArgs, broker: &Broker, job: JobId) -> Failure {
    let again = args.reach.again();
    let (code, message) = match error {
        RenderError::Stopped => {
            let message = format!("stopped; job {job} is untouched, and `fractally attach {job}{again}` follows it again");
            (Code::Interrupted, message)
        }
        RenderError::NotDone { rows, rows_all } => {
            let standing = listed(broker, job).await.map_or_else(|| "not done".to_owned(), |listed| standing(&listed));
            let message = format!(
                "job {job} is {standing}; {rows} of {rows_all} rows are there, and `fractally attach {job}{again}` waits for all"
            );
            (Code::NotDone, message)
        }
        RenderError::NoPicture(reason) => match list(broker).await {
            Ok(list) if !list.jobs.iter().any(|listed| listed.job == job) && !list.damaged.iter().any(|lost| lost.job == job) => {
                (Code::NoSuchJob, no_such_job(&job.to_string(), &args.reach))
            }
            Ok(_) | Err(_) => (Code::JobFailed, format!("job {job} has no picture: {reason}")),
        },
        RenderError::Failed(reason) => (Code::JobFailed, format!("job {job} has ended: {reason}")),
        error => return error.into(),
    };
    Failure { code, message }
}

async fn listed(broker: &Broker, job: JobId) -> Option<ListedJob> {
    list(broker).await.ok()?.jobs.into_iter().find(|listed| listed.job == job)
}

/// State, reason and time left in one line.
fn standing(listed: &ListedJob) -> String {
    let mut text = state_name(listed.state).to_owned();
    if !listed.why.is_empty() {
        text += &format!(" ({})", listed.why);
    }
    if let Some(ms) = listed.eta_ms.filter(|_| !is_over(listed.state)) {
        text += &format!(", {} left", human(Duration::from_millis(ms)));
    }
    text
}
