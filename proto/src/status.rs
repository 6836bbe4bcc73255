//! What a broker tells about itself: the payloads of STATUS_REPORT and JOB_REPORT.

use serde::{Deserialize, Serialize};

use crate::{AttemptId, JobId, Priority};

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
    /// Whether its client is connected.
    pub attached: bool,
    /// Pixels of the picture.
    pub width: u32,
    /// Pixels of the picture.
    pub height: u32,
    /// Rows that the client acknowledged.
    pub rows_done: u32,
    /// Bands that workers hold.
    pub leases: u32,
    /// Tries so far.
    pub attempts: u64,
    /// Bytes of tiles held for it.
    pub held_bytes: u64,
    /// Milliseconds since it was accepted.
    pub age_ms: u64,
    /// Milliseconds that the rest will take, as far as is known.
    pub eta_ms: Option<u64>,
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
