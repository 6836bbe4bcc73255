//! `fractally status`.

use std::{fmt::Write, time::Duration};

use anyhow::Context;
use fractally_client::{Broker, status, story};
use fractally_proto::{JobId, JobStatus, JobStory, JournalStatus, Status, TryEnd, TryStory, WorkerStatus};

use crate::{
    cli::StatusArgs,
    exit::Failure,
    output::print_line,
    progress::human,
    table::{bytes, class, harmless, rows_of, table},
};

pub(crate) async fn run(args: StatusArgs) -> Result<(), Failure> {
    let broker = args.reach.broker(None);
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
    // A failure is told in the words of the worker that failed, and an engine is called what a worker calls it.
    let (ended, engine) = (harmless(ended), harmless(engine));
    let state = if ended.is_empty() { "lives" } else { &ended };
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
    let last = tried.first.saturating_add(tried.strips.saturating_sub(1));
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
        "{} up {}, {} clients, {} pictures done, {} lost, {} held\n",
        harmless(&broker.agent),
        human(Duration::from_millis(broker.uptime_ms)),
        broker.clients,
        broker.jobs_done,
        broker.jobs_lost,
        bytes(broker.held_bytes),
    );
    if let Some(journal) = &broker.journal {
        text.push_str(&journal_line(journal));
    }
    text.push('\n');
    let workers = status.workers.iter().map(worker_row).collect::<Vec<_>>();
    table(&mut text, ["WORKER", "THREADS", "KERNEL", "BANDS HELD", "DONE", "FAILED", "M ITER/S", "CONNECTED", "HEARD"], &workers);
    text.push('\n');
    let jobs = status.jobs.iter().map(job_row).collect::<Vec<_>>();
    table(&mut text, ["JOB", "ACCOUNT", "CLASS", "SIZE", "ROWS", "BANDS HELD", "TRIES", "AGE", "LEFT", "CLIENT"], &jobs);
    text
}

fn journal_line(journal: &JournalStatus) -> String {
    let JournalStatus { jobs, bytes: used, bytes_max, trouble } = journal;
    let plural = if *jobs == 1 { "" } else { "s" };
    let trouble = trouble.as_ref().map_or_else(String::new, |trouble| format!("; it cannot be written: {}", harmless(trouble)));
    format!("journal: {jobs} detached job{plural}, {} of {}{trouble}\n", bytes(*used), bytes(*bytes_max))
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
    let client = match (job.detached, job.attached) {
        (false, true) => "attached",
        (false, false) => "away",
        (true, true) => "detached, followed",
        (true, false) => "detached",
    };
    [
        job.job.to_string(),
        job.account.clone(),
        class(job.priority).to_owned(),
        format!("{}x{}", job.width, job.height),
        rows_of(job.rows_done, job.height),
        job.leases.to_string(),
        job.attempts.to_string(),
        human(Duration::from_millis(job.age_ms)),
        job.eta_ms.map_or_else(|| "?".to_owned(), |ms| human(Duration::from_millis(ms))),
        client.to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use fractally_proto::{AttemptId, BrokerStatus};

    use super::*;

    #[test]
    fn what_peers_say_gives_no_orders_to_a_terminal() {
        const ORDER: &str = "\u{1b}[2J\u{202e}";
        let tried = TryStory {
            attempt: AttemptId(1),
            first: u32::MAX,
            strips: 2,
            worker: ORDER.to_owned(),
            leased_ms: 1,
            lasted_us: 1,
            end: TryEnd::Failed,
            why: format!("crashed: {ORDER}"),
        };
        let story = JobStory {
            job: JobId(1),
            ended: format!("failed: crashed: {ORDER}"),
            engine: ORDER.to_owned(),
            strips: 1,
            acked: 0,
            age_ms: 5,
            attempts: 1,
            bands: 0,
            backups: 0,
            forgotten: 0,
            tries: vec![tried],
        };
        let broker = BrokerStatus {
            agent: ORDER.to_owned(),
            uptime_ms: 1,
            clients: 1,
            jobs_done: 0,
            jobs_lost: 0,
            held_bytes: 0,
            epoch: None,
            totals: None,
            faults: vec![],
            journal: Some(JournalStatus { jobs: 0, bytes: 0, bytes_max: 0, trouble: Some(ORDER.to_owned()) }),
        };
        let status = Status { broker, workers: vec![], jobs: vec![] };
        for text in [describe_job(&story), describe(&status)] {
            assert!(text.contains("\u{fffd}[2J\u{fffd}") && !text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
        }
    }

    #[test]
    fn a_journal_in_trouble_says_so() {
        let journal = JournalStatus { jobs: 1, bytes: 3 << 20, bytes_max: 20 << 30, trouble: None };
        assert_eq!(journal_line(&journal), "journal: 1 detached job, 3 MiB of 20.0 GiB\n");
        let journal = JournalStatus { trouble: Some("no space left".to_owned()), ..journal };
        assert_eq!(journal_line(&journal), "journal: 1 detached job, 3 MiB of 20.0 GiB; it cannot be written: no space left\n");
    }
}
