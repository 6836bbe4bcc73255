//! `fractally status`.

use std::{fmt::Write, time::Duration};

use anyhow::Context;
use fractally_client::{Broker, status, story};
use fractally_proto::{JobId, JobStatus, JobStory, Priority, Status, TryEnd, TryStory, WorkerStatus};

use crate::{AGENT, cli::StatusArgs, exit::Failure, life, progress::human, render::print_line};

pub(crate) async fn run(args: StatusArgs) -> Result<(), Failure> {
    let broker = Broker {
        endpoint: args.broker,
        agent: AGENT.to_owned(),
        account: None,
        epoch: life::new_epoch(),
        connect_timeout: args.connect_timeout,
    };
    if let Some(job) = args.job {
        return tell_job(&broker, job, args.json).await;
    }
    let status = status(&broker).await?;
    let text = if args.json { serde_json::to_string_pretty(&status).context("cannot write JSON")? } else { describe(&status) };
    print_line(text.trim_end())
}

async fn tell_job(broker: &Broker, job: JobId, json: bool) -> Result<(), Failure> {
    let unknown =
        || format!("--job: the broker knows of no job {job}: it never had it, has forgotten it, or was started again since");
    let story = story(broker, job).await?.ok_or_else(|| Failure::usage(unknown()))?;
    let text = if json { serde_json::to_string_pretty(&story).context("cannot write JSON")? } else { describe_job(&story) };
    print_line(text.trim_end())
}

fn describe_job(story: &JobStory) -> String {
    let JobStory { job, ended, engine, strips, acked, attempts, bands, backups, forgotten, .. } = story;
    let state = if ended.is_empty() { "lives" } else { ended };
    let age = human(Duration::from_millis(story.age_ms));
    let mut text = format!(
        "job {job} {state} after {age}: {acked} of {strips} strips safe, {bands} bands in {attempts} tries ({backups} second tries), {engine}\n"
    );
    if *forgotten > 0 {
        let _ = writeln!(text, "{forgotten} more tries are not shown");
    }
    text.push('\n');
    let rows = story.tries.iter().map(try_row).collect::<Vec<_>>();
    table(&mut text, ["STRIPS", "TRY", "WORKER", "LEASED AT", "LASTED", "END", "WHY"], &rows);
    text
}

fn try_row(tried: &TryStory) -> [String; 7] {
    let last = tried.first + tried.strips.saturating_sub(1);
    let end = match tried.end {
        TryEnd::Running => "running",
        TryEnd::Delivered => "delivered",
        TryEnd::Withdrawn => "withdrawn",
        TryEnd::GivenBack => "given back",
        TryEnd::Failed => "failed",
    };
    [
        if tried.strips == 1 { tried.first.to_string() } else { format!("{}-{last}", tried.first) },
        tried.attempt.to_string(),
        tried.worker.clone(),
        format!("{:.3} s", tried.leased_ms as f64 / 1e3),
        format!("{:.3} s", tried.lasted_us as f64 / 1e6),
        end.to_owned(),
        tried.why.clone(),
    ]
}

fn describe(status: &Status) -> String {
    let broker = &status.broker;
    let mut text = format!(
        "{} up {}, {} clients, {} pictures done, {} lost, {} held\n\n",
        broker.agent,
        human(Duration::from_millis(broker.uptime_ms)),
        broker.clients,
        broker.jobs_done,
        broker.jobs_lost,
        bytes(broker.held_bytes),
    );
    let workers = status.workers.iter().map(worker_row).collect::<Vec<_>>();
    table(&mut text, ["WORKER", "THREADS", "KERNEL", "BANDS HELD", "DONE", "FAILED", "M ITER/S", "CONNECTED", "HEARD"], &workers);
    text.push('\n');
    let jobs = status.jobs.iter().map(job_row).collect::<Vec<_>>();
    table(&mut text, ["JOB", "ACCOUNT", "CLASS", "SIZE", "ROWS", "BANDS HELD", "TRIES", "AGE", "LEFT", "CLIENT"], &jobs);
    text
}

fn worker_row(worker: &WorkerStatus) -> [String; 9] {
    let rate =
        worker.iterations_per_s.map_or_else(|| "-".to_owned(), |rate| format!("{:.0}", rate * f64::from(worker.threads) / 1e6));
    [
        worker.name.clone(),
        worker.threads.to_string(),
        worker.kernel.clone(),
        match worker.benched_ms {
            Some(ms) => format!("benched for {}", human(Duration::from_millis(ms))),
            None => worker.leases.to_string(),
        },
        worker.bands_done.to_string(),
        worker.bands_failed.to_string(),
        rate,
        human(Duration::from_millis(worker.connected_ms)),
        format!("{} ago", human(Duration::from_millis(worker.silent_ms))),
    ]
}

fn job_row(job: &JobStatus) -> [String; 10] {
    let class = match job.priority {
        Priority::Interactive => "interactive",
        Priority::Normal => "normal",
        Priority::Batch => "batch",
    };
    [
        job.job.to_string(),
        job.account.clone(),
        class.to_owned(),
        format!("{}x{}", job.width, job.height),
        format!("{} ({} %)", job.rows_done, u64::from(job.rows_done) * 100 / u64::from(job.height.max(1))),
        job.leases.to_string(),
        job.attempts.to_string(),
        human(Duration::from_millis(job.age_ms)),
        job.eta_ms.map_or_else(|| "?".to_owned(), |ms| human(Duration::from_millis(ms))),
        if job.attached { "attached" } else { "away" }.to_owned(),
    ]
}

/// Rows under their heads, each column as wide as its widest entry.
fn table<const N: usize>(text: &mut String, heads: [&str; N], rows: &[[String; N]]) {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).chain([heads[column].len()]).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let mut line = |cells: [&str; N]| {
        let line = cells.iter().zip(widths).fold(String::new(), |mut line, (cell, width)| {
            let _ = write!(line, "{cell:width$}  ");
            line
        });
        text.push_str(line.trim_end());
        text.push('\n');
    };
    line(heads);
    rows.iter().for_each(|row| line(std::array::from_fn(|column| row[column].as_str())));
    if rows.is_empty() {
        text.push_str("(none)\n");
    }
}

fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{} KiB", count / 1024),
        _ => format!("{} MiB", count / 1_048_576),
    }
}
