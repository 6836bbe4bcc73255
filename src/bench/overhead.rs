//! `overhead`: bands without work, so that all that is left is what the grid itself costs.

use fractally_measure::{Record, Series, Unit};
use fractally_proto::Priority;

use super::{
    Bench, Here, Setup, Site,
    grids::{Grid, on_local_grids},
    machine::processor_time,
    picture::rows_as_strips,
};
use crate::exit::Failure;

/// Bands of one measurement.
const BANDS: u32 = 100_000;
/// Workers of a local grid, a process each.
const WORKERS: u32 = 2;
/// Bands that a worker takes at once, for each grid.
const CREDITS: [u32; 4] = [1, 2, 4, 8];

/// One grid's samples.
#[derive(Default)]
struct Taken {
    wall_us: Vec<f64>,
    bands_per_s: Vec<f64>,
    /// The broker's processor time; left empty where it is not known.
    processor_us: Vec<f64>,
}

pub(super) async fn measure(bench: &Bench<'_>) -> Result<Vec<Record>, Failure> {
    match &bench.site {
        Site::Running(grid) => take(bench, std::slice::from_ref(grid), &[None]).await,
        Site::Here(here) => {
            let setups = CREDITS.map(|credit| no_op(here, credit)).to_vec();
            on_local_grids(setups, &bench.stop, async |grids: &[Grid]| take(bench, grids, &CREDITS.map(Some)).await).await
        }
    }
}

fn no_op<'a>(here: &'a Here<'_>, credit: u32) -> Setup<'a> {
    Setup { no_op: true, credit: Some(credit), ..here.setup(WORKERS) }
}

async fn take(bench: &Bench<'_>, grids: &[Grid], credits: &[Option<u32>]) -> Result<Vec<Record>, Failure> {
    let request = rows_as_strips(bench.scaled(BANDS));
    let count = u32::try_from(grids.len()).unwrap_or(u32::MAX);
    bench.tell.begin(Series::Overhead, bench.rounds() * count, &format!("{} bands without work", request.size.h));
    let mut all: Vec<_> = grids.iter().map(|_| Taken::default()).collect();
    for round in 0..bench.rounds() {
        for (grid, taken) in grids.iter().zip(&mut all) {
            grid.look().await?;
            let time = || grid.broker_process.and_then(processor_time);
            let before = time();
            let sample = grid.job(&request, Priority::Interactive, bench.stop.clone().asked()).await?;
            let spent = time().zip(before).map(|(after, before)| after.saturating_sub(before));
            if bench.counts(round) {
                let (bands, seconds) = (sample.done.bands as f64, sample.took.as_secs_f64());
                taken.wall_us.push(seconds * 1e6 / bands);
                taken.bands_per_s.push(bands / seconds);
                // None where the system's clock is too coarse for so few bands.
                taken.processor_us.extend(spent.filter(|spent| !spent.is_zero()).map(|spent| spent.as_secs_f64() * 1e6 / bands));
            }
            bench.tell.step();
        }
    }
    let mut records = Vec::new();
    for ((grid, taken), &credit) in grids.iter().zip(all).zip(credits) {
        let mut tell = |what: &str, unit: Unit, samples: Vec<f64>| {
            if !samples.is_empty() {
                records.push(Record { credit, ..grid.record(Series::Overhead, what, unit, samples) });
            }
        };
        tell("a band without work", Unit::MicrosecondsPerBand, taken.wall_us);
        tell("bands without work", Unit::BandsPerSecond, taken.bands_per_s);
        tell("a band without work, the broker's processor time", Unit::MicrosecondsPerBand, taken.processor_us);
    }
    Ok(records)
}
