//! What a broker tells about itself: the payload of a STATUS_REPORT.

use serde::{Deserialize, Serialize};

use crate::{JobId, Priority};

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
