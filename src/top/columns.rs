//! What stands in the tables of the page, column by column.

use fractally_proto::{Fault, FaultKind, JobStatus, Priority, TryEnd, TryStory, WorkerStatus};

use super::{
    looks::WorkerFigures,
    model::Sort,
    paint::{Cell, Column, EXTRA, Look},
    text::{bar, bytes, count, figure, percent, short, short_ms},
};
use crate::table::class;

/// Characters of the bars in `BUSY` and `ROWS`, without their percentages.
const BUSY_BAR: usize = 5;
const ROWS_BAR: usize = 5;
/// A worker that was silent for so long is late with its heartbeats, of which it sends one a second.
const LATE_MS: u64 = 2500;

const fn left(head: &'static str, width: [u16; 2], rank: u8) -> Column {
    Column { head, width, is_right: false, rank }
}

const fn right(head: &'static str, width: [u16; 2], rank: u8) -> Column {
    Column { head, width, is_right: true, rank }
}

pub(crate) const WORKERS: [Column; 12] = [
    left("NAME", [10, 40], 0),
    left("KERNEL", [9, 14], 5),
    right("THREADS", [7, 7], 4),
    right("BANDS", [5, 5], 3),
    right("ITER/S", [6, 6], 1),
    left("BUSY", [10, 10], 2),
    right("DONE", [5, 6], 6),
    right("FAILED", [6, 6], 7),
    right("HEARD", [6, 6], 5),
    right("HERE", [6, 6], EXTRA),
    right("/THREAD", [7, 7], EXTRA + 1),
    left("ENGINE", [11, 16], EXTRA + 2),
];

/// The column that a sort goes by.
pub(crate) fn sorted_column(sort: Sort) -> usize {
    match sort {
        Sort::Name => 0,
        Sort::Threads => 2,
        Sort::Bands => 3,
        Sort::Rate => 4,
        Sort::Busy => 5,
        Sort::Done => 6,
        Sort::Failed => 7,
        Sort::Heard => 8,
    }
}

fn unknown() -> String {
    "-".to_owned()
}

pub(crate) fn worker_row(worker: &WorkerStatus, figures: WorkerFigures) -> Vec<Cell> {
    let busy = match worker.benched_ms {
        Some(ms) => Cell::new(format!("off {}", short_ms(ms)), Look::Bad),
        None => figures.busy.map_or_else(
            || unknown().into(),
            |busy| {
                let look = if worker.leases == 0 { Look::Faint } else { Look::Good };
                Cell::new(format!("{} {:>4}", bar(busy, BUSY_BAR), percent(busy)), look)
            },
        ),
    };
    let failed = if worker.bands_failed > 0 { Look::Odd } else { Look::Plain };
    let heard = if worker.silent_ms > LATE_MS { Look::Odd } else { Look::Plain };
    let per_thread = worker.iterations_per_s.map_or_else(unknown, figure);
    vec![
        worker.name.as_str().into(),
        worker.kernel.as_str().into(),
        worker.threads.to_string().into(),
        worker.leases.to_string().into(),
        figures.iterations.map_or_else(unknown, figure).into(),
        busy,
        count(worker.bands_done).into(),
        Cell::new(count(worker.bands_failed), failed),
        Cell::new(short_ms(worker.silent_ms), heard),
        short_ms(worker.connected_ms).into(),
        per_thread.into(),
        worker.engine.as_str().into(),
    ]
}

pub(crate) const JOBS: [Column; 12] = [
    // The last digits: the first are those of all jobs in one life of a broker.
    left("JOB", [8, 8], 0),
    left("ACCOUNT", [8, 32], 4),
    left("CLASS", [6, 11], 6),
    left("SIZE", [11, 15], 7),
    left("ROWS", [10, 10], 0),
    right("WORKERS", [7, 7], 5),
    right("ITER/S", [6, 6], 2),
    right("LEFT", [6, 6], 1),
    right("AGE", [6, 6], 3),
    left("STATE", [8, 8], EXTRA),
    right("TRIES", [5, 6], EXTRA + 1),
    right("HELD", [7, 7], EXTRA + 2),
];

pub(crate) fn job_row(job: &JobStatus, rate: Option<f64>) -> Vec<Cell> {
    let share = f64::from(job.rows_done) / f64::from(job.height.max(1));
    let class = match job.priority {
        // It would not fit the narrow column.
        Priority::Interactive => "interactive",
        Priority::Normal | Priority::Batch => class(job.priority),
    };
    let (state, look) = match (job.leases, job.attached, job.detached) {
        (_, false, false) => ("adrift", Look::Odd),
        (0, ..) => ("waits", Look::Odd),
        (_, _, true) => ("detached", Look::Plain),
        (_, true, false) => ("attached", Look::Plain),
    };
    let digits = job.job.to_string();
    vec![
        digits[digits.len() - 8..].to_owned().into(),
        job.account.as_str().into(),
        class.into(),
        format!("{}x{}", job.width, job.height).into(),
        Cell::new(format!("{} {:>4}", bar(share, ROWS_BAR), percent(share)), Look::Good),
        job.workers.to_string().into(),
        rate.map_or_else(unknown, figure).into(),
        job.eta_ms.map_or_else(|| "?".to_owned(), short_ms).into(),
        short_ms(job.age_ms).into(),
        Cell::new(state, look),
        count(job.attempts).into(),
        bytes(job.held_bytes as f64).into(),
    ]
}

pub(crate) const FAULTS: [Column; 5] = [
    right("AGO", [6, 6], 1),
    left("WHAT", [14, 14], 0),
    left("WHO", [12, 24], 3),
    left("JOB", [8, 8], 4),
    left("WHY", [12, u16::MAX], 2),
];

pub(crate) fn fault_row(fault: &Fault) -> Vec<Cell> {
    let (what, look) = match fault.kind {
        FaultKind::BandFailed => ("band failed", Look::Odd),
        FaultKind::WorkerLost => ("worker lost", Look::Odd),
        FaultKind::WorkerBenched => ("worker benched", Look::Bad),
        FaultKind::JobFailed => ("job failed", Look::Bad),
        FaultKind::Refused => ("refused", Look::Plain),
        FaultKind::ClientExpelled => ("client expelled", Look::Odd),
        FaultKind::Other => ("fault", Look::Odd),
    };
    let job = fault.job.map(|job| job.to_string());
    vec![
        short_ms(fault.ago_ms).into(),
        Cell::new(what, look),
        fault.who.as_str().into(),
        job.map_or_else(String::new, |digits| digits[digits.len() - 8..].to_owned()).into(),
        fault.why.as_str().into(),
    ]
}

pub(crate) const TRIES: [Column; 6] = [
    left("END", [10, 10], 0),
    left("STRIPS", [9, 13], 1),
    left("WORKER", [10, 40], 2),
    right("LEASED", [7, 8], 4),
    right("LASTED", [7, 8], 3),
    left("WHY", [12, u16::MAX], 5),
];

pub(crate) fn try_row(tried: &TryStory) -> Vec<Cell> {
    let (end, look) = match tried.end {
        TryEnd::Running => ("running", Look::Good),
        TryEnd::Delivered => ("delivered", Look::Plain),
        TryEnd::Withdrawn => ("withdrawn", Look::Faint),
        TryEnd::GivenBack => ("given back", Look::Faint),
        TryEnd::Failed => ("failed", Look::Bad),
    };
    let last = tried.first.saturating_add(tried.strips.saturating_sub(1));
    let lasted = std::time::Duration::from_micros(tried.lasted_us);
    vec![
        Cell::new(end, look),
        if tried.strips == 1 { tried.first.to_string() } else { format!("{}-{last}", tried.first) }.into(),
        tried.worker.as_str().into(),
        short_ms(tried.leased_ms).into(),
        short(lasted).into(),
        tried.why.as_str().into(),
    ]
}
