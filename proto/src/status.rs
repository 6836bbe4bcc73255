//! What a broker tells about itself: the payloads of STATUS_REPORT, JOB_REPORT and LIST_REPORT.

use serde::{Deserialize, Serialize};

use crate::{AttemptId, Epoch, JobId, Priority, Request};

/// The broker, its workers and its jobs at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The broker itself.
    pub broker: BrokerStatus,
    /// Connected workers, the earliest first.
    pub workers: Vec<WorkerStatus>,
    /// Jobs that it holds, the earliest first.
    pub jobs: Vec<JobStatus>,
}

/// The broker itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BrokerStatus {
    /// Program and version.
    pub agent: String,
    /// Milliseconds since it started.
    pub uptime_ms: u64,
    /// Clients connected now.
    pub clients: u32,
    /// Jobs that ended with a complete picture since it started.
    pub jobs_done: u64,
    /// Jobs that failed or were cancelled since it started.
    pub jobs_lost: u64,
    /// Bytes of tiles held for clients.
    pub held_bytes: u64,
    /// This life of the broker; absent where it does not tell, as those before it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// What has been done since it started; absent where it does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<Totals>,
    /// What went wrong lately, the latest first: a few of each kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// The journal, where the broker keeps one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<JournalStatus>,
}

/// What has been done since a broker started. Nothing of it decreases while its epoch is the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Bands that were leased, each try counted.
    pub leased: u64,
    /// Of these, tries at bands that an earlier try had given back or failed at.
    pub retries: u64,
    /// Of these, second tries at bands that somebody else was late with.
    pub backups: u64,
    /// Tries that ended with the tile.
    pub delivered: u64,
    /// Tries that ended because another was sooner, or the job was over.
    pub withdrawn: u64,
    /// Tries that ended without blame.
    pub given_back: u64,
    /// Tries that failed.
    pub failed: u64,
    /// Iterations of delivered bands.
    pub iterations: u64,
    /// Encoded bytes of delivered bands.
    pub tile_bytes: u64,
    /// Workers that went without goodbye: lost, silent, or sent away.
    pub workers_lost: u64,
    /// Jobs that failed; those that were cancelled are not among them.
    pub jobs_failed: u64,
    /// Requests that were refused.
    pub refused: u64,
}

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Milliseconds since it happened.
    pub ago_ms: u64,
    /// What it was.
    pub kind: FaultKind,
    /// The worker as it calls itself, or the account of the client; empty where nobody is named.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub who: String,
    /// The job that it happened to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// Why, for people.
    pub why: String,
}

/// Kinds of [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// A try at a band failed.
    BandFailed,
    /// A worker went without goodbye.
    WorkerLost,
    /// A worker failed at one band after another, and is leased nothing for a while.
    WorkerBenched,
    /// A job failed.
    JobFailed,
    /// A request was refused.
    Refused,
    /// A client broke the protocol and was sent away.
    ClientExpelled,
    /// One that this version does not know.
    #[serde(other)]
    Other,
}

/// What is kept of detached jobs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournalStatus {
    /// Detached jobs, finished ones included.
    pub jobs: u32,
    /// Bytes on disk.
    pub bytes: u64,
    /// Bytes that it may have.
    pub bytes_max: u64,
    /// Why nothing can be written to it at present; absent where all is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// One connected worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Number of this connection, counted from 1.
    pub worker: u64,
    /// What it calls itself.
    pub name: String,
    /// The kernel it computes with.
    pub kernel: String,
    /// Version of the mathematics it computes.
    pub engine: String,
    /// Threads that compute.
    pub threads: u32,
    /// Bands it holds, the queued ones included.
    pub leases: u32,
    /// Bands it delivered.
    pub bands_done: u64,
    /// Bands that failed on it.
    pub bands_failed: u64,
    /// Iterations it executed for delivered bands.
    pub iterations: u64,
    /// Iterations a second and thread, lately; absent until it delivered a band.
    pub iterations_per_s: Option<f64>,
    /// Milliseconds since it connected.
    pub connected_ms: u64,
    /// Milliseconds since it was last heard from.
    pub silent_ms: u64,
    /// Thread time since it connected in which it had bands to compute, milliseconds: at most `threads` times `connected_ms`. Absent where
    /// the broker does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy_ms: Option<u64>,
    /// Milliseconds for which it is leased nothing, because it failed at one band after another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub benched_ms: Option<u64>,
}

/// One job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobStatus {
    /// Its id.
    pub job: JobId,
    /// Its class.
    pub priority: Priority,
    /// Whom it is counted for.
    #[serde(default)]
    pub account: String,
    /// Whether its client is connected, or where it is detached, any that follows it.
    pub attached: bool,
    /// Whether it is kept in the journal, and lives without a client.
    #[serde(default)]
    pub detached: bool,
    /// Pixels of the picture.
    pub width: u32,
    /// Pixels of the picture.
    pub height: u32,
    /// Rows that the client acknowledged, or that are on disk.
    pub rows_done: u32,
    /// Bands that workers hold.
    pub leases: u32,
    /// Tries so far.
    pub attempts: u64,
    /// Bytes of tiles held for it.
    pub held_bytes: u64,
    /// Workers that hold bands of it.
    #[serde(default)]
    pub workers: u32,
    /// Iterations of its delivered bands, in this life of the broker.
    #[serde(default)]
    pub iterations: u64,
    /// Milliseconds since it was accepted.
    pub age_ms: u64,
    /// Milliseconds that the rest will take, as far as is known.
    pub eta_ms: Option<u64>,
}

/// The detached jobs of a broker, the latest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobList {
    /// At most [`limits::LIST_JOBS_MAX`](crate::limits::LIST_JOBS_MAX).
    pub jobs: Vec<ListedJob>,
    /// Jobs whose record on disk cannot be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<DamagedJob>,
}

/// A detached job of which nothing is known but that it was there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedJob {
    /// Its id.
    pub job: JobId,
    /// What is wrong with its record.
    pub why: String,
}

/// One detached job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListedJob {
    /// Its id.
    pub job: JobId,
    /// Where it is in its life.
    pub state: JobState,
    /// What keeps it, or how it ended, for people; empty where the state says all.
    pub why: String,
    /// Whom it is counted for.
    pub account: String,
    /// Its class.
    pub priority: Priority,
    /// What it draws.
    pub request: Request,
    /// What renders it; empty before anything does.
    pub engine: String,
    /// Rows that are on disk.
    pub rows_done: u32,
    /// Bytes that it takes on disk.
    pub bytes: u64,
    /// Milliseconds since it was accepted.
    pub age_ms: u64,
    /// Milliseconds since it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// Milliseconds that it took to its end, or takes so far in this life of the broker.
    pub elapsed_ms: u64,
    /// Iterations executed for it in that time.
    pub iterations: u64,
    /// Thread time that took, nanoseconds.
    pub compute_ns: u64,
    /// Milliseconds that the rest will take, as far as is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_ms: Option<u64>,
    /// Clients that follow it.
    pub followers: u32,
    /// Workers that hold bands of it; of a job that is over, those that delivered any to it in the life of the broker that ended it.
    #[serde(default)]
    pub workers: u32,
    /// Encoded bytes of all strips on disk in sum, and of nothing else: with `rows_done` they tell the size of a file made of them.
    #[serde(default)]
    pub strip_bytes: u64,
    /// Those who want it, one more where it is held for good; 0 where only those who follow it keep it.
    #[serde(default)]
    pub holders: u32,
}

/// Where a detached job is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// No worker has anything of it.
    Waiting,
    /// Workers have bands of it, or its strips are being written.
    Running,
    /// The journal has no room for its strips.
    Paused,
    /// The picture is complete.
    Done,
    /// It could not be finished.
    Failed,
    /// A client ended it.
    Cancelled,
}

/// What happened to a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobReport {
    /// Absent where the broker knows of no such job, or not any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub story: Option<JobStory>,
}

/// What happened to the bands of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobStory {
    /// Its id.
    pub job: JobId,
    /// How it ended; empty while it lives.
    pub ended: String,
    /// What renders it; empty before anything does.
    pub engine: String,
    /// Strips of the picture.
    pub strips: u32,
    /// Strips that its client acknowledged.
    pub acked: u32,
    /// Milliseconds since it was accepted, or that it took.
    pub age_ms: u64,
    /// Tries at bands so far.
    pub attempts: u64,
    /// Bands that were delivered.
    pub bands: u64,
    /// Tries at bands that somebody else held and was late with.
    pub backups: u64,
    /// Tries that are not told, because there were too many.
    pub forgotten: u64,
    /// The others, by first strip.
    pub tries: Vec<TryStory>,
}

/// One try at a band.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TryStory {
    /// Its id, as the worker's log has it too.
    pub attempt: AttemptId,
    /// Index of the first strip.
    pub first: u32,
    /// How many strips.
    pub strips: u32,
    /// What the worker calls itself.
    pub worker: String,
    /// Milliseconds from the job's acceptance to the lease.
    pub leased_ms: u64,
    /// Microseconds from the lease to its end, or until now.
    pub lasted_us: u64,
    /// How it ended.
    pub end: TryEnd,
    /// Why, for people; empty where the end says all.
    pub why: String,
}

/// How a try at a band ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TryEnd {
    /// It has not.
    Running,
    /// With the tile.
    Delivered,
    /// Another try was sooner, or the job ended.
    Withdrawn,
    /// The worker gave it back, without blame.
    GivenBack,
    /// It failed.
    Failed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Older {
        agent: &'static str,
        uptime_ms: u64,
        clients: u32,
        jobs_done: u64,
        jobs_lost: u64,
        held_bytes: u64,
    }

    #[derive(Serialize)]
    struct Newer {
        ago_ms: u64,
        kind: &'static str,
        why: &'static str,
        depth: u32,
    }

    /// A broker may be older than who asks it, or newer.
    #[test]
    fn what_a_broker_does_not_tell_yet_is_absent_and_what_it_tells_beyond_us_is_no_error() {
        let older = Older { agent: "a", uptime_ms: 1, clients: 0, jobs_done: 0, jobs_lost: 0, held_bytes: 0 };
        let older: BrokerStatus = rmp_serde::from_slice(&rmp_serde::to_vec_named(&older).unwrap()).unwrap();
        assert_eq!((older.epoch, older.totals, older.faults.len()), (None, None, 0));
        let newer = Newer { ago_ms: 5, kind: "flooded", why: "w", depth: 3 };
        let newer: Fault = rmp_serde::from_slice(&rmp_serde::to_vec_named(&newer).unwrap()).unwrap();
        assert_eq!((newer.kind, newer.who.as_str(), newer.job), (FaultKind::Other, "", None));
    }
}
