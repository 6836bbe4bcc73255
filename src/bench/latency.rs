//! `latency`: how long somebody waits for a job of one band, on a grid that has nothing else to do, and beside a batch job that has every
//! thread. Every job is a sample.

use std::{pin::pin, time::Duration};

use fractally_measure::{Record, Series, Unit};
use fractally_proto::{Priority, Status};
use tokio::{sync::oneshot, time::timeout};

use super::{
    Bench,
    grids::{Grid, on_one_grid},
    picture::{endless, one_pixel},
};
use crate::{
    exit::{Code, Failure},
    life::Stop,
};

/// Jobs on an idle grid, and beside a batch job, for each run.
const IDLE: u32 = 200;
const BESIDE: u32 = 12;
/// The longest pause before a job beside a batch job: it may fall at any time of a band, which lasts a second at the most.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long the batch job may take to its end when it is cancelled.
const END_WITHIN: Duration = Duration::from_secs(5);

pub(super) async fn measure(bench: &Bench<'_>) -> Result<Vec<Record>, Failure> {
    on_one_grid(bench, async |grid: &Grid| take(bench, grid).await).await
}

async fn take(bench: &Bench<'_>, grid: &Grid) -> Result<Vec<Record>, Failure> {
    let idle = idle(bench, grid).await?;
    let beside = beside(bench, grid).await?;
    let record = |what: &str, samples: Vec<f64>| grid.record(Series::Latency, what, Unit::Seconds, samples);
    Ok(vec![record("a job of one band, idle grid", idle), record("a job of one band, beside a batch job", beside)])
}

async fn idle(bench: &Bench<'_>, grid: &Grid) -> Result<Vec<f64>, Failure> {
    let (warm_up, jobs) = (bench.scaled(IDLE).div_ceil(10), bench.runs * bench.scaled(IDLE));
    bench.tell.begin(Series::Latency, warm_up + jobs, &format!("{jobs} jobs of one band on an idle grid"));
    let mut samples = Vec::new();
    for nth in 0..warm_up + jobs {
        let sample = grid.measure(&one_pixel(), Priority::Interactive, &bench.stop).await?;
        if nth >= warm_up {
            samples.push(sample.took.as_secs_f64());
        }
        bench.tell.step();
    }
    Ok(samples)
}

async fn beside(bench: &Bench<'_>, grid: &Grid) -> Result<Vec<f64>, Failure> {
    let jobs = bench.runs * bench.scaled(BESIDE);
    bench.tell.begin(Series::Latency, jobs, &format!("{jobs} jobs of one band beside a batch job"));
    let (end, ended) = oneshot::channel();
    let mut batch = pin!(batch(grid, ended, bench.stop.clone()));
    let measured = tokio::select! {
        measured = small_jobs(bench, grid, jobs) => measured,
        // It does not end before it is told to, unless it cannot go on.
        batch = &mut batch => return Err(batch.err().unwrap_or_else(Failure::interrupted)),
    };
    // Nobody listens any more where it has been stopped.
    let _ = end.send(());
    // What the broker does not cancel in time it cancels once we are gone.
    let _ = timeout(END_WITHIN, batch).await;
    measured
}

/// Keeps all threads at work, until `ended` or `stop` say that it is enough.
async fn batch(grid: &Grid, ended: oneshot::Receiver<()>, stop: Stop) -> Result<(), Failure> {
    let mut enough = pin!(async {
        tokio::select! {
            _ = ended => {}
            () = stop.asked() => {}
        }
    });
    loop {
        // A grid that is large enough comes to the end of it.
        match grid.job(&endless(), Priority::Batch, enough.as_mut()).await {
            Ok(_) => {}
            Err(failure) if failure.code == Code::Interrupted => return Ok(()),
            Err(failure) => return Err(failure),
        }
    }
}

async fn small_jobs(bench: &Bench<'_>, grid: &Grid, jobs: u32) -> Result<Vec<f64>, Failure> {
    await_batch(bench, grid).await?;
    let mut samples = Vec::new();
    for nth in 0..jobs {
        pause(spread_out(nth), &bench.stop).await?;
        samples.push(grid.measure(&one_pixel(), Priority::Interactive, &bench.stop).await?.took.as_secs_f64());
        bench.tell.step();
    }
    Ok(samples)
}

/// Waits until the batch job's first bands are done, one for each thread: from them the broker learns how long the others take.
async fn await_batch(bench: &Bench<'_>, grid: &Grid) -> Result<(), Failure> {
    let done = |status: &Status| status.workers.iter().map(|worker| worker.bands_done).sum::<u64>();
    let before = done(&grid.look().await?);
    while done(&grid.look().await?) < before + u64::from(grid.threads()) {
        pause(Duration::from_millis(20), &bench.stop).await?;
    }
    Ok(())
}

async fn pause(pause: Duration, stop: &Stop) -> Result<(), Failure> {
    tokio::select! {
        () = tokio::time::sleep(pause) => Ok(()),
        () = stop.clone().asked() => Err(Failure::interrupted()),
    }
}

/// The pause before the `nth` job: multiples of the golden ratio, without their whole parts, leave no gap among them.
fn spread_out(nth: u32) -> Duration {
    const GOLDEN: f64 = 0.618_033_988_749_895;
    PAUSE_MAX.mul_f64((f64::from(nth) * GOLDEN).fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_fall_everywhere_alike() {
        let mut pauses: Vec<_> = (0..60).map(spread_out).collect();
        pauses.sort();
        let gaps = pauses.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(gaps.max().unwrap() < PAUSE_MAX / 20 && pauses[59] > PAUSE_MAX * 9 / 10);
    }
}
