//! Speed-up and efficiency, against the rate of one thread that the same run measured.

use std::collections::HashMap;

use crate::{Record, Series, Spread, Unit};

/// The end of the name of a curve that was measured without a grid, on threads of one process: what stands before it names the
/// grid's curve that is compared with it.
pub const ON_THREADS: &str = ", on threads of one process";

/// What a picture takes on grids of different sizes.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Strong or weak.
    pub series: Series,
    /// What was measured.
    pub what: String,
    /// From the fewest threads to the most, each number once.
    pub points: Vec<Point>,
}

/// One size of the grid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Workers.
    pub workers: u32,
    /// Threads of all of them.
    pub threads: u32,
    /// Seconds.
    pub seconds: Spread,
    /// Iterations a second over those of one thread, which is the one with the fewest threads, over their number.
    pub speed_up: f64,
    /// Speed-up over threads: 1 where nothing is lost.
    pub efficiency: f64,
}

/// The curves of some records, in the order of their first points. Of several records of one size, as runs that were put together have,
/// all samples count.
pub fn curves(records: &[Record]) -> Vec<Curve> {
    let mut places = HashMap::new();
    let mut curves: Vec<(Series, &str, Vec<&Record>)> = Vec::new();
    let scales = |record: &&Record| matches!(record.series, Series::Strong | Series::Weak) && record.unit == Unit::Seconds;
    for record in records.iter().filter(scales) {
        let place = *places.entry((record.series, &*record.what)).or_insert(curves.len());
        match curves.get_mut(place) {
            Some((_, _, points)) => points.push(record),
            None => curves.push((record.series, &record.what, vec![record])),
        }
    }
    curves.into_iter().map(|(series, what, records)| Curve { series, what: what.to_owned(), points: points(records) }).collect()
}

fn points(mut records: Vec<&Record>) -> Vec<Point> {
    records.sort_by_key(|record| (record.threads, record.workers));
    let sizes = records.chunk_by(|a, b| (a.threads, a.workers) == (b.threads, b.workers));
    let seconds = |size: &[&Record]| Spread::of(&size.iter().flat_map(|record| &record.samples).copied().collect::<Vec<_>>());
    let rate = |size: &[&Record]| size[0].work.unwrap_or(1) as f64 / seconds(size).median;
    let of_one = sizes.clone().next().map_or(1.0, |size| rate(size) / f64::from(size[0].threads));
    let point = |size: &[&Record]| {
        let (workers, threads) = (size[0].workers, size[0].threads);
        let speed_up = rate(size) / of_one;
        Point { workers, threads, seconds: seconds(size), speed_up, efficiency: speed_up / f64::from(threads) }
    };
    sizes.map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(series: Series, threads: u32, work: u64, samples: &[f64]) -> Record {
        Record {
            series,
            what: "a picture".to_owned(),
            workers: threads,
            threads,
            credit: None,
            bands: None,
            work: Some(work),
            unit: Unit::Seconds,
            samples: samples.to_vec(),
            spread: Spread::of(samples),
        }
    }

    #[test]
    fn half_the_time_on_two_threads_loses_nothing() {
        let records = [record(Series::Strong, 2, 100, &[0.5]), record(Series::Strong, 1, 100, &[1.0])];
        let [curve] = &*curves(&records) else { panic!("one curve") };
        assert_eq!(
            curve.points.iter().map(|point| (point.threads, point.speed_up, point.efficiency)).collect::<Vec<_>>(),
            [(1, 1.0, 1.0), (2, 2.0, 1.0)]
        );
    }

    #[test]
    fn twice_the_work_in_the_same_time_on_two_threads_loses_nothing_either() {
        let records = [record(Series::Weak, 1, 100, &[1.0]), record(Series::Weak, 2, 200, &[1.25])];
        let [curve] = &*curves(&records) else { panic!("one curve") };
        assert_eq!((curve.points[1].speed_up, curve.points[1].efficiency), (1.6, 0.8));
    }

    #[test]
    fn a_grid_that_was_never_of_one_thread_is_measured_by_its_smallest() {
        let records = [record(Series::Strong, 4, 100, &[1.0]), record(Series::Strong, 8, 100, &[0.5])];
        let [curve] = &*curves(&records) else { panic!("one curve") };
        assert_eq!((curve.points[0].efficiency, curve.points[1].speed_up), (1.0, 8.0));
    }

    #[test]
    fn samples_of_one_size_are_put_together_wherever_they_were_taken() {
        let records = [record(Series::Strong, 1, 100, &[1.0, 3.0]), record(Series::Strong, 1, 100, &[2.0])];
        let [curve] = &*curves(&records) else { panic!("one curve") };
        assert_eq!(curve.points[0].seconds, Spread { median: 2.0, least: 1.0, most: 3.0 });
    }
}
