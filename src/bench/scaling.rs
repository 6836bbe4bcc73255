//! A picture on grids of more and more workers: what `strong` and `weak` have in common. Sizes take turns, so that a slow moment of the
//! machine strikes all of them alike.

use std::thread;

use anyhow::Context;
use fractally_client::Assembler;
use fractally_measure::{ON_THREADS, Record, Series, Spread, Unit};
use fractally_proto::{Priority, Request, StripMeta};
use fractally_worker::{Threads, render_on_threads};
use tokio::sync::oneshot;

use super::{
    Bench, Here, Setup, Site,
    grids::{Counted, GRIDS_MAX, Grid, on_local_grids},
    machine::read_clock,
};
use crate::exit::Failure;

/// A picture for each size of the grid.
pub(super) struct Scaling<F> {
    pub(super) series: Series,
    pub(super) what: String,
    /// The picture for so many threads.
    pub(super) picture: F,
    /// Whether it is measured without a grid, too: on as many threads of one process.
    pub(super) without_grid: bool,
}

/// What was measured at one size.
#[derive(Default)]
struct Point {
    seconds: Vec<f64>,
    /// Without a grid, where that is measured.
    alone: Vec<f64>,
    /// Iterations that the picture asks for.
    work: u64,
}

impl<F: Fn(u32) -> Request> Scaling<F> {
    /// Its records, from the smallest grid to the largest; then those without a grid.
    pub(super) async fn measure(&self, bench: &Bench<'_>) -> Result<Vec<Record>, Failure> {
        let (mut records, mut without_grid) = (Vec::new(), Vec::new());
        match &bench.site {
            Site::Running(grid) => self.take(bench, std::slice::from_ref(grid), None, &mut records, &mut without_grid).await?,
            Site::Here(here) => {
                for sizes in together(&sizes(here.workers)) {
                    let setups = sizes.iter().map(|&workers| Setup { bands: here.bands, ..here.setup(workers) });
                    let body = async |grids: &[Grid]| self.take(bench, grids, Some(here), &mut records, &mut without_grid).await;
                    on_local_grids(setups.collect(), &bench.stop, body).await?;
                }
            }
        }
        records.append(&mut without_grid);
        Ok(records)
    }

    /// Measures these grids in turn.
    async fn take(
        &self,
        bench: &Bench<'_>,
        grids: &[Grid],
        here: Option<&Here<'_>>,
        records: &mut Vec<Record>,
        without_grid: &mut Vec<Record>,
    ) -> Result<(), Failure> {
        let sizes: Vec<_> = grids.iter().map(|grid| grid.workers().to_string()).collect();
        let count = u32::try_from(grids.len()).unwrap_or(u32::MAX);
        let plural = if sizes == ["1"] { "" } else { "s" };
        bench.tell.begin(self.series, bench.rounds() * count, &format!("{} on {} worker{plural}", self.what, sizes.join(", ")));
        let mut points: Vec<_> = grids.iter().map(|_| Point::default()).collect();
        for round in 0..bench.rounds() {
            for (grid, point) in grids.iter().zip(&mut points) {
                let request = (self.picture)(grid.threads());
                let sample = grid.measure(&request, Priority::Interactive, &bench.stop).await?;
                point.work = sample.done.iterations;
                if bench.counts(round) {
                    point.seconds.push(sample.took.as_secs_f64());
                }
                if let Some(here) = here.filter(|_| self.without_grid) {
                    let threads = Threads { count: grid.threads(), kernel: here.kernel, mirror: here.mirrors(&request) };
                    let alone = on_threads(request, threads, bench).await?;
                    if (alone.bytes, alone.iterations) != (sample.bytes, sample.done.iterations) {
                        let message = "a grid and threads of one process have drawn different pictures; do not trust the figures";
                        return Err(Failure::from(anyhow::anyhow!(message)));
                    }
                    if bench.counts(round) {
                        point.alone.push(alone.seconds);
                    }
                }
                bench.tell.step();
            }
        }
        for (grid, Point { seconds, alone, work }) in grids.iter().zip(points) {
            let bands = here.and_then(|here| here.bands).map(u32::from);
            let record = Record { bands, work: Some(work), ..grid.record(self.series, &self.what, Unit::Seconds, seconds) };
            if !alone.is_empty() {
                let what = format!("{}{ON_THREADS}", self.what);
                let spread = Spread::of(&alone);
                without_grid.push(Record { what, workers: 1, bands: None, samples: alone, spread, ..record.clone() });
            }
            records.push(record);
        }
        Ok(())
    }
}

/// What a picture takes without a grid.
struct Alone {
    seconds: f64,
    bytes: u64,
    iterations: u64,
}

/// On threads of this process, put together as a grid's picture is.
async fn on_threads(request: Request, threads: Threads, bench: &Bench<'_>) -> Result<Alone, Failure> {
    let (tell, told) = oneshot::channel();
    // A thread of its own, which nobody waits for at the end: who stops it does not wait for the picture.
    let draw = move || {
        let started = read_clock();
        let drawn = draw(&request, threads);
        let seconds = started.elapsed().as_secs_f64();
        // Who does not listen any more was stopped.
        let _ = tell.send(drawn.map(|(bytes, iterations)| Alone { seconds, bytes, iterations }));
    };
    thread::Builder::new().name("without-grid".to_owned()).spawn(draw).context("cannot start a thread")?;
    tokio::select! {
        told = told => Ok(told.context("a picture without a grid has failed")??),
        () = bench.stop.clone().asked() => Err(Failure::interrupted()),
    }
}

/// Bytes of the file and iterations.
fn draw(request: &Request, threads: Threads) -> anyhow::Result<(u64, u64)> {
    let mut file = Assembler::begin(request, Counted::default())?;
    let append = |index: u32, meta: StripMeta, strip: &[u8]| file.append(index, &[meta], strip).map_err(std::io::Error::other);
    let iterations = render_on_threads(request, threads, append)?;
    Ok((file.finish()?.bytes, iterations))
}

/// Sizes of the grids: every number up to 4, then doubled again and again, and the largest.
fn sizes(most: u32) -> Vec<u32> {
    let doubled = std::iter::successors(Some(8_u32), |size| size.checked_mul(2));
    let mut sizes: Vec<_> = (1..=4).chain(doubled).take_while(|&size| size < most).collect();
    sizes.push(most);
    sizes
}

/// Which sizes are up at once: all, or where they are too many, one after another.
fn together(sizes: &[u32]) -> impl Iterator<Item = &[u32]> {
    sizes.chunks(if sizes.len() <= GRIDS_MAX { sizes.len() } else { 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_close_together_at_first_and_end_with_the_largest() {
        assert_eq!(sizes(1), [1]);
        assert_eq!(sizes(2), [1, 2]);
        assert_eq!(sizes(4), [1, 2, 3, 4]);
        assert_eq!(sizes(6), [1, 2, 3, 4, 6]);
        assert_eq!(sizes(8), [1, 2, 3, 4, 8]);
        assert_eq!(sizes(100), [1, 2, 3, 4, 8, 16, 32, 64, 100]);
    }

    #[test]
    fn grids_are_up_together_unless_they_are_too_many() {
        assert_eq!(together(&sizes(64)).map(<[u32]>::len).collect::<Vec<_>>(), [8]);
        assert_eq!(together(&sizes(100)).map(<[u32]>::len).collect::<Vec<_>>(), [1; 9]);
    }
}
