//! Statuses made by hand, for the tests of the rooms beside.

use fractally_proto::{BrokerStatus, Epoch, JobId, JobStatus, Priority, Status, Totals, WorkerStatus};

pub(crate) fn status(uptime_ms: u64) -> Status {
    let broker = BrokerStatus {
        agent: "fractally 0.1.0".to_owned(),
        uptime_ms,
        clients: 1,
        jobs_done: 5,
        jobs_lost: 2,
        held_bytes: 3 << 20,
        epoch: Some(Epoch(0x1234_5678_9abc_def0)),
        totals: Some(Totals::default()),
        faults: vec![],
        journal: None,
    };
    Status { broker, workers: vec![], jobs: vec![] }
}

pub(crate) fn worker(number: u64, name: &str) -> WorkerStatus {
    WorkerStatus {
        worker: number,
        name: name.to_owned(),
        kernel: "avx512".to_owned(),
        engine: "fractally-4".to_owned(),
        threads: 1,
        leases: 2,
        bands_done: 10,
        bands_failed: 0,
        iterations: 0,
        iterations_per_s: Some(1e9),
        connected_ms: 60_000,
        silent_ms: 120,
        busy_ms: Some(0),
        benched_ms: None,
    }
}

pub(crate) fn job(number: u64) -> JobStatus {
    JobStatus {
        job: JobId(number),
        priority: Priority::Normal,
        account: "ada@studio".to_owned(),
        attached: true,
        detached: false,
        width: 4000,
        height: 2000,
        rows_done: 500,
        leases: 3,
        attempts: 40,
        held_bytes: 1 << 20,
        workers: 2,
        iterations: 0,
        age_ms: 65_000,
        eta_ms: Some(184_000),
    }
}
