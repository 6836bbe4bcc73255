//! `fractally list` and `fractally cancel`, and which job a few digits mean.

use std::time::Duration;

use anyhow::Context;
use fractally_client::{Broker, Cancelled, cancel, is_over, list};
use fractally_proto::{DamagedJob, JobId, JobList, JobState, ListedJob};
use serde_json::Value;

use crate::{
    cli::{CancelArgs, JobName, ListArgs, ReachArgs},
    exit::{Code, Failure, say},
    life::Stop,
    output::print_line,
    progress::human,
    table::{bytes, class, harmless, rows_of, table},
};

/// For how long a job that is over is shown without being asked for.
const RECENT: Duration = Duration::from_secs(86_400);
/// Jobs that an ambiguous name is explained with.
const CANDIDATES_MAX: usize = 4;
/// Characters of an account's name in a table.
const ACCOUNT_CHARS_MAX: usize = 32;

pub(crate) async fn run_list(args: ListArgs) -> Result<(), Failure> {
    let JobList { mut jobs, damaged } = list(&args.reach.broker(None)).await?;
    jobs.sort_by_key(|job| job.age_ms);
    let all = jobs.len();
    jobs.retain(|job| is_wanted(&args, job));
    let is_filtered = !args.state.is_empty() || args.account.is_some();
    for DamagedJob { job, why } in damaged.iter().filter(|_| !is_filtered) {
        say(&format!("job {job} is damaged on the broker's disk, and lost: {}; submit it again", harmless(why)));
    }
    if args.json {
        let jobs = jobs.iter().map(as_json).collect::<Result<Vec<_>, _>>().context("cannot write JSON")?;
        return print_line(&serde_json::to_string_pretty(&jobs).context("cannot write JSON")?);
    }
    print_line(describe(&jobs).trim_end())?;
    let hidden = all - jobs.len();
    if hidden > 0 && !is_filtered {
        say(&format!("{hidden} older jobs are not shown; `fractally list --all{}` shows them", args.reach.again()));
    }
    Ok(())
}

fn is_wanted(args: &ListArgs, job: &ListedJob) -> bool {
    let is_recent = !is_over(job.state) || job.ended_ms.is_none_or(|ms| Duration::from_millis(ms) <= RECENT);
    let by_state =
        if args.state.is_empty() { args.all || is_recent } else { args.state.iter().any(|&state| job.state == state.into()) };
    by_state && args.account.as_ref().is_none_or(|account| *account == job.account)
}

/// As the protocol has it, but for the id, which is a text: few programs keep all digits of such numbers.
fn as_json(job: &ListedJob) -> Result<Value, serde_json::Error> {
    let mut value = serde_json::to_value(job)?;
    if let Some(id) = value.get_mut("job") {
        *id = Value::String(job.job.to_string());
    }
    Ok(value)
}

fn describe(jobs: &[ListedJob]) -> String {
    let heads = ["JOB", "STATE", "CLASS", "ACCOUNT", "SIZE", "ROWS", "M ITER/S", "AGE", "LEFT", "BYTES", "WHY"];
    let mut text = String::new();
    table(&mut text, heads, &jobs.iter().map(row).collect::<Vec<_>>());
    text
}

fn row(job: &ListedJob) -> [String; 11] {
    let window = job.request.window;
    let left = match job.eta_ms {
        _ if is_over(job.state) => "-".to_owned(),
        Some(ms) => human(Duration::from_millis(ms)),
        None => "?".to_owned(),
    };
    [
        job.job.to_string(),
        state_name(job.state).to_owned(),
        class(job.priority).to_owned(),
        shortened(&job.account),
        format!("{}x{}", window.w, window.h),
        rows_of(job.rows_done, window.h),
        // Iterations a millisecond are thousands a second.
        if job.elapsed_ms == 0 { "-".to_owned() } else { format!("{:.0}", job.iterations as f64 / job.elapsed_ms as f64 / 1e3) },
        human(Duration::from_millis(job.age_ms)),
        left,
        bytes(job.bytes),
        why_more(job.state, &job.why).to_owned(),
    ]
}

fn shortened(account: &str) -> String {
    if account.chars().count() <= ACCOUNT_CHARS_MAX {
        return account.to_owned();
    }
    account.chars().take(ACCOUNT_CHARS_MAX - 1).chain(['…']).collect()
}

/// A state as it is written in options.
pub(crate) fn state_name(state: JobState) -> &'static str {
    match state {
        JobState::Waiting => "waiting",
        JobState::Running => "running",
        JobState::Paused => "paused",
        JobState::Done => "done",
        JobState::Failed => "failed",
        JobState::Cancelled => "cancelled",
    }
}

/// A reason, where it says more than the state.
fn why_more(state: JobState, why: &str) -> &str {
    if why == state_name(state) { "" } else { why }
}

pub(crate) async fn run_cancel(args: CancelArgs, stop: Stop) -> Result<(), Failure> {
    let broker = args.reach.broker(None);
    let mut unknown = Vec::new();
    for name in &args.jobs {
        let ended = async {
            let job = resolve(&broker, &args.reach, name).await?;
            Ok::<_, Failure>((job, cancel(&broker, job).await?))
        };
        let ended = tokio::select! {
            ended = ended => ended,
            () = stop.clone().asked() => {
                let message = "stopped; what was said to be cancelled is, the others may be".to_owned();
                return Err(Failure { code: Code::Interrupted, message });
            }
        };
        match ended {
            Ok((job, Cancelled::Now)) => print_line(&format!("job {job} is cancelled"))?,
            Ok((job, Cancelled::Before { state, why })) => {
                let why = match why_more(state, &why) {
                    "" => String::new(),
                    why => format!(" ({})", harmless(why)),
                };
                print_line(&format!("job {job} was over already: {}{why}", state_name(state)))?;
            }
            Ok((job, Cancelled::Unknown)) => unknown.push(no_such_job(&job.to_string(), &args.reach)),
            Err(failure) if failure.code == Code::NoSuchJob => unknown.push(failure.message),
            Err(failure) => return Err(failure),
        }
    }
    if unknown.is_empty() { Ok(()) } else { Err(Failure { code: Code::NoSuchJob, message: unknown.join("\nfractally: ") }) }
}

/// What is said of a job that the broker does not know.
pub(crate) fn no_such_job(name: &str, reach: &ReachArgs) -> String {
    format!("the broker knows of no detached job {name}; `fractally list --all{}` shows those that there are", reach.again())
}

/// The job that a name means. Only a part of an id needs the broker's list.
///
/// # Errors
/// The broker does not answer, or not exactly one job has those digits.
pub(crate) async fn resolve(broker: &Broker, reach: &ReachArgs, name: &JobName) -> Result<JobId, Failure> {
    match name {
        JobName::Whole(job) => Ok(*job),
        JobName::Part(digits) => {
            let no_such_job = || Failure { code: Code::NoSuchJob, message: no_such_job(digits, reach) };
            only_match(digits, &list(broker).await?.jobs)?.ok_or_else(no_such_job)
        }
    }
}

/// The job with these digits first or last, if there is one.
fn only_match(digits: &str, jobs: &[ListedJob]) -> Result<Option<JobId>, Failure> {
    let has_digits = |id: &String| id.starts_with(digits) || id.ends_with(digits);
    let matches: Vec<_> = jobs.iter().map(|job| (job.job, job.job.to_string())).filter(|(_, id)| has_digits(id)).collect();
    match matches.as_slice() {
        [] => Ok(None),
        [(job, _)] => Ok(Some(*job)),
        several => {
            let named: Vec<_> = several.iter().take(CANDIDATES_MAX).map(|(_, id)| id.as_str()).collect();
            let more = if several.len() > CANDIDATES_MAX { ", …" } else { "" };
            Err(Failure::usage(format!("{digits} may be any of {} jobs: {}{more}", several.len(), named.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fractally_proto::{Priority, Request};

    fn job(id: u64, state: JobState) -> ListedJob {
        ListedJob {
            job: JobId(id),
            state,
            why: String::new(),
            account: "mara@studio".to_owned(),
            priority: Priority::Normal,
            request: Request::default(),
            engine: "fractally-2".to_owned(),
            rows_done: 1500,
            bytes: 5 << 20,
            age_ms: 3_723_000,
            ended_ms: None,
            elapsed_ms: 2000,
            iterations: 5_000_000_000,
            compute_ns: 1,
            eta_ms: Some(75_000),
            followers: 0,
            workers: 0,
            strip_bytes: 0,
            holders: 1,
        }
    }

    fn over(id: u64, state: JobState, ended_ms: u64) -> ListedJob {
        ListedJob { ended_ms: Some(ended_ms), eta_ms: None, ..job(id, state) }
    }

    #[test]
    fn a_table_tells_what_each_job_is_at() {
        let failed = ListedJob {
            why: "band 3 failed three times".to_owned(),
            account: "x".repeat(200),
            priority: Priority::Batch,
            rows_done: 0,
            bytes: 0,
            age_ms: 90,
            elapsed_ms: 0,
            ..over(0x59eb_2c4b_0000_0002, JobState::Failed, 5)
        };
        let text = describe(&[job(0x59eb_2c4b_0000_0001, JobState::Running), failed]);
        let lines: Vec<_> = text.lines().collect();
        let squeezed = |line: &str| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>().join("|");
        assert_eq!(squeezed(lines[0]), "JOB|STATE|CLASS|ACCOUNT|SIZE|ROWS|M ITER/S|AGE|LEFT|BYTES|WHY");
        assert_eq!(
            squeezed(lines[1]),
            "59eb2c4b00000001|running|normal|mara@studio|4000x2000|1500 (75 %)|2500|1 h 02 min|1 min 15 s|5 MiB"
        );
        let account = "x".repeat(31) + "…";
        assert_eq!(
            squeezed(lines[2]),
            format!("59eb2c4b00000002|failed|batch|{account}|4000x2000|0 (0 %)|-|90 ms|-|0 B|band 3 failed three times")
        );
        let columns = |line: &str, cell: &str| line.find(cell).map(|at| line[..at].chars().count());
        assert_eq!(columns(lines[0], "WHY"), columns(lines[2], "band 3"), "{text}");
        assert!(describe(&[]).ends_with("(none)\n"));
    }

    #[test]
    fn old_jobs_are_shown_where_they_are_asked_for() {
        let wanted = |options: &[&str]| {
            use clap::Parser as _;
            let line = ["fractally", "list"].iter().chain(options);
            let crate::cli::Command::List(args) = crate::cli::Cli::try_parse_from(line).unwrap().command else { panic!("list") };
            let other = ListedJob { account: "other".to_owned(), ..job(3, JobState::Paused) };
            let jobs = [over(1, JobState::Done, 86_400_001), over(2, JobState::Done, 5), other];
            jobs.iter().filter(|job| is_wanted(&args, job)).map(|job| job.job.0).collect::<Vec<_>>()
        };
        assert_eq!(wanted(&[]), [2, 3]);
        assert_eq!(wanted(&["--all"]), [1, 2, 3]);
        assert_eq!(wanted(&["--state", "done,failed"]), [1, 2]);
        assert_eq!(wanted(&["--account", "other"]), [3]);
        assert_eq!(wanted(&["--state", "done", "--account", "other"]), [0; 0]);
    }

    #[test]
    fn programs_get_the_names_of_the_protocol_and_the_id_as_a_text() {
        let value = as_json(&job(0x59eb_2c4b_0000_0001, JobState::Running)).unwrap();
        assert_eq!((&value["job"], &value["state"]), (&"59eb2c4b00000001".into(), &"running".into()));
        assert_eq!((&value["rows_done"], &value["request"]["size"]["w"]), (&1500.into(), &4000.into()));
    }

    #[test]
    fn a_few_digits_name_a_job_where_only_one_has_them() {
        let jobs = [0x59eb_2c4b_0000_0001, 0x59eb_2c4b_0000_0002, 0xa000_0000_0000_0003].map(|id| job(id, JobState::Running));
        assert_eq!(only_match("a000", &jobs).unwrap(), Some(JobId(0xa000_0000_0000_0003)));
        assert_eq!(only_match("0002", &jobs).unwrap(), Some(JobId(0x59eb_2c4b_0000_0002)));
        let several = only_match("59eb", &jobs).unwrap_err();
        assert_eq!(several.code, Code::Usage);
        assert!(several.message.contains("59eb2c4b00000001, 59eb2c4b00000002"), "{}", several.message);
        assert_eq!(only_match("bbbb", &jobs).unwrap(), None);
    }
}
