//! `fractally submit`.

use anyhow::Context;
use fractally_client::{KeepOptions, Kept, RenderError, keep};
use fractally_proto::{JobKey, Limits};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    cli::SubmitArgs,
    exit::{Code, Failure, say},
    life::{self, Stop},
    output::print_line,
    progress::Follow,
};

pub(crate) async fn run(args: SubmitArgs, stop: Stop) -> Result<(), Failure> {
    let request = args.picture.request(args.format);
    request.validate(&Limits::default())?;
    let key = args.key.as_deref().map_or_else(life::new_key, key_of);
    let broker = args.reach.broker(Some(args.account.clone().unwrap_or_else(life::account)));
    let (priority, reconnect_for) = (args.priority.into(), args.reconnect_for);
    let options = KeepOptions { broker, key, request, priority, reconnect_for, holder: None, request_id: None };
    let follow = Follow::new(None, args.quiet);
    let kept = keep(&options, |event| follow.on_event(&event), stop.asked()).await;
    follow.clear();
    let kept = kept.map_err(|error| explain(error, &args))?;
    tell(&args, key, kept)
}

/// The idempotency key that a text stands for: the first half of its SHA-256.
fn key_of(text: &str) -> JobKey {
    let digest = Sha256::digest(text);
    JobKey(std::array::from_fn(|i| digest[i]))
}

/// A job that was submitted, for programs.
#[derive(Serialize)]
struct Report {
    job: String,
    cached: bool,
    key: String,
    width: u32,
    height: u32,
    reconnects: u32,
}

fn tell(args: &SubmitArgs, key: JobKey, kept: Kept) -> Result<(), Failure> {
    let Kept { job, cached, reconnects } = kept;
    if args.json {
        let window = args.picture.request(args.format).window;
        let (job, key) = (job.to_string(), key.to_string());
        let report = Report { job, cached, key, width: window.w, height: window.h, reconnects };
        print_line(&serde_json::to_string(&report).context("cannot write JSON")?)?;
    } else {
        print_line(&job.to_string())?;
    }
    if !args.quiet {
        let again = args.reach.again();
        say(&if cached {
            format!("job {job} has drawn this picture already; `fractally fetch {job}{again}` writes it")
        } else {
            format!("job {job} is accepted; `fractally attach {job}{again}` follows it")
        });
    }
    Ok(())
}

/// What a failure leaves open.
fn explain(error: RenderError, args: &SubmitArgs) -> Failure {
    let again = args.reach.again();
    match error {
        RenderError::Stopped => Failure {
            code: Code::Interrupted,
            message: format!("stopped before the broker answered; `fractally list{again}` tells whether it has the job"),
        },
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_gives_the_same_key_for_ever() {
        assert_eq!(key_of("abc").to_string(), "ba7816bf8f01cfea414140de5dae2223");
        assert_ne!(key_of("abc "), key_of("abc"));
    }
}
