//! `payload`: how many bytes of results pass through a grid in a second: raw counts that cost nothing to compute.

use fractally_measure::{Record, Series, Unit};
use fractally_proto::Priority;

use super::{
    Bench,
    grids::{Grid, on_one_grid},
    picture::cheap_counts,
};
use crate::exit::Failure;

/// Rows of 32 KiB: 256 MiB.
const ROWS: u32 = 8192;

pub(super) async fn measure(bench: &Bench<'_>) -> Result<Vec<Record>, Failure> {
    on_one_grid(bench, async |grid: &Grid| take(bench, grid).await).await
}

async fn take(bench: &Bench<'_>, grid: &Grid) -> Result<Vec<Record>, Failure> {
    let request = cheap_counts(bench.scaled(ROWS));
    let what = format!("counts of {}x{}", request.size.w, request.size.h);
    bench.tell.begin(Series::Payload, bench.rounds(), &what);
    let (mut samples, mut bytes) = (Vec::new(), 0);
    for round in 0..bench.rounds() {
        let sample = grid.measure(&request, Priority::Interactive, &bench.stop).await?;
        bytes = sample.bytes;
        if bench.counts(round) {
            samples.push(bytes as f64 / sample.took.as_secs_f64());
        }
        bench.tell.step();
    }
    Ok(vec![Record { work: Some(bytes), ..grid.record(Series::Payload, what, Unit::BytesPerSecond, samples) }])
}
