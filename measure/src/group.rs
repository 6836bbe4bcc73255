//! Records as they are told: of one series, about one thing, in one unit, one row for each size of the grid.

use std::collections::{BTreeMap, HashMap};

use crate::{
    Curve, ON_THREADS, Record, Series, Spread, Unit, curves,
    figure::{Measure, NONE, thousands},
    text::some,
};

/// Samples from which on it is told what all but a hundredth of them are below.
const SAMPLES_FOR_P99: usize = 100;

/// Rows that stand in one table.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) series: Series,
    pub(crate) what: String,
    pub(crate) unit: Unit,
    /// From the smallest grid to the largest; at least one.
    pub(crate) rows: Vec<Row>,
}

/// What was measured on one grid in one way.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) workers: u32,
    pub(crate) threads: u32,
    pub(crate) credit: Option<u32>,
    pub(crate) bands: Option<u32>,
    pub(crate) work: Option<u64>,
    /// How many there are.
    pub(crate) samples: usize,
    pub(crate) spread: Spread,
    /// A hundredth of the samples is more than this, where there are enough of them.
    pub(crate) p99: Option<f64>,
    /// What follows from the others of its curve.
    pub(crate) scaling: Option<Scaling>,
}

/// How a grid scales.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scaling {
    /// Both from the curve: none where it has one point, which is then compared with nothing.
    pub(crate) speed_up: Option<f64>,
    pub(crate) efficiency: Option<f64>,
    /// The time of as many threads of one process over that of the grid.
    pub(crate) of_threads: Option<f64>,
}

/// The figures of a group as texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sheet {
    /// What is true of all rows.
    pub(crate) notes: String,
    pub(crate) heads: Vec<&'static str>,
    /// As many cells each as there are heads; the first names the row.
    pub(crate) rows: Vec<Vec<String>>,
}

/// All records, each in one group, by series and then in the order in which they were measured. Records of one size count as one.
pub(crate) fn groups(records: &[Record]) -> Vec<Group> {
    let mut places = HashMap::new();
    let mut found: Vec<(Series, &str, Unit, Vec<&Record>)> = Vec::new();
    for record in records {
        let place = *places.entry((record.series, &*record.what, record.unit.name())).or_insert(found.len());
        match found.get_mut(place) {
            Some((.., records)) => records.push(record),
            None => found.push((record.series, &record.what, record.unit, vec![record])),
        }
    }
    let curves = curves(records);
    let by_name: HashMap<_, _> = curves.iter().map(|curve| ((curve.series, &*curve.what), curve)).collect();
    let group = |(series, what, unit, records): (Series, &str, Unit, Vec<&Record>)| {
        let curve = by_name.get(&(series, what)).copied().filter(|_| unit == Unit::Seconds);
        let reference = by_name.get(&(series, &*format!("{what}{ON_THREADS}"))).copied();
        let rows = rows(&records, curve, reference);
        Group { series, what: what.to_owned(), unit, rows }
    };
    let mut groups: Vec<_> = found.into_iter().map(group).collect();
    groups.sort_by_key(|group| group.series);
    groups
}

fn rows(records: &[&Record], curve: Option<&Curve>, reference: Option<&Curve>) -> Vec<Row> {
    // What makes a row another one: of a curve the size alone, or a point would have several rows.
    let key = |record: &Record| match curve {
        Some(_) => (record.threads, record.workers, None, None, None),
        None => (record.threads, record.workers, record.credit, record.bands, record.work),
    };
    let mut sizes: BTreeMap<_, Vec<&Record>> = BTreeMap::new();
    for record in records {
        sizes.entry(key(record)).or_default().push(record);
    }
    sizes.into_values().map(|records| row(&records, curve, reference)).collect()
}

fn row(records: &[&Record], curve: Option<&Curve>, reference: Option<&Curve>) -> Row {
    let &Record { workers, threads, credit, bands, work, .. } = records[0];
    let mut samples: Vec<f64> = records.iter().flat_map(|record| &record.samples).copied().collect();
    samples.sort_by(f64::total_cmp);
    let spread = Spread::of(&samples);
    let p99 = (samples.len() >= SAMPLES_FOR_P99).then(|| samples[(samples.len() * 99).div_ceil(100) - 1]);
    let scaling = curve.map(|curve| {
        let point = curve.points.iter().find(|point| (point.threads, point.workers) == (threads, workers));
        let point = point.filter(|_| curve.points.len() > 1);
        let of_reference = reference.and_then(|curve| curve.points.iter().find(|point| point.threads == threads));
        Scaling {
            speed_up: point.map(|point| point.speed_up),
            efficiency: point.map(|point| point.efficiency),
            of_threads: of_reference.map(|reference| reference.seconds.median / spread.median),
        }
    });
    Row { workers, threads, credit, bands, work, samples: samples.len(), spread, p99, scaling }
}

impl Group {
    /// Whether its curve has more points than one.
    pub(crate) fn scales(&self) -> bool {
        self.rows.iter().any(|row| row.scaling.is_some_and(|scaling| scaling.speed_up.is_some()))
    }

    /// Whether it is what a grid is compared with.
    pub(crate) fn is_reference(&self) -> bool {
        self.what.ends_with(ON_THREADS)
    }

    /// What tells a row from the others of this group, for the side of a bar.
    pub(crate) fn label(&self, row: &Row) -> String {
        let differs = |of: &dyn Fn(&Row) -> Option<u64>| self.rows.iter().any(|other| of(other) != of(row));
        let mut parts = Vec::new();
        if let Some(credit) = row.credit.filter(|_| differs(&|row| row.credit.map(u64::from))) {
            parts.push(format!("credit {credit}"));
        }
        if let Some(bands) = row.bands.filter(|_| differs(&|row| row.bands.map(u64::from))) {
            parts.push(some(bands, "band"));
        }
        if let Some(work) = row.work.filter(|_| differs(&|row| row.work)) {
            parts.push(self.work_in_words(work));
        }
        if self.rows.iter().any(|row| row.workers != row.threads) && differs(&|row| Some(row.workers.into())) {
            parts.push(some(row.workers, "worker"));
        }
        if differs(&|row| Some(row.threads.into())) {
            parts.push(some(row.threads, "thread"));
        }
        parts.join(", ")
    }

    /// Work, without the word for it: iterations, or the bytes of a result.
    fn work(&self, work: u64) -> String {
        let measure = if self.unit == Unit::BytesPerSecond { Measure::Bytes } else { Measure::Count };
        measure.tell(work as f64)
    }

    /// Work, with the word for it.
    fn work_in_words(&self, work: u64) -> String {
        format!("{}{}", self.work(work), if self.unit == Unit::BytesPerSecond { "" } else { " iterations" })
    }

    /// Its figures.
    pub(crate) fn sheet(&self) -> Sheet {
        let (mut notes, mut columns) = self.conditions();
        let of_unit = |of: fn(&Row) -> f64| self.rows.iter().map(|row| Measure::Of(self.unit).cell(of(row))).collect::<Vec<_>>();
        columns.push(("median", of_unit(|row| row.spread.median)));
        columns.push(("least", of_unit(|row| row.spread.least)));
        columns.push(("most", of_unit(|row| row.spread.most)));
        let mut where_known = |head, measure: Measure, of: &dyn Fn(&Row) -> Option<f64>| {
            if self.rows.iter().any(|row| of(row).is_some()) {
                let cells = self.rows.iter().map(|row| of(row).map_or_else(|| NONE.to_owned(), |value| measure.cell(value)));
                columns.push((head, cells.collect()));
            }
        };
        where_known("p99", Measure::Of(self.unit), &|row| row.p99);
        where_known("speed-up", Measure::Times, &|row| row.scaling.and_then(|scaling| scaling.speed_up));
        where_known("efficiency", Measure::Share, &|row| row.scaling.and_then(|scaling| scaling.efficiency));
        where_known("of threads", Measure::Share, &|row| row.scaling.and_then(|scaling| scaling.of_threads));
        if let Some(first) = self.rows.first().filter(|row| self.scales() && row.threads > 1) {
            notes.push(format!("compared with {} threads, the fewest that were measured", first.threads));
        }
        if self.rows.iter().any(|row| row.scaling.is_some_and(|scaling| scaling.of_threads.is_some())) {
            notes.push("of threads: the time of one process with as many, over the grid's".to_owned());
        }
        let (heads, cells): (Vec<_>, Vec<Vec<String>>) = columns.into_iter().unzip();
        let rows = (0..self.rows.len()).map(|row| cells.iter().map(|column| column[row].clone()).collect()).collect();
        Sheet { notes: notes.join("; "), heads, rows }
    }

    /// Under which conditions the rows were measured: columns where they differ, notes where they do not.
    fn conditions(&self) -> (Vec<String>, Vec<(&'static str, Vec<String>)>) {
        let differs = |of: &dyn Fn(&Row) -> Option<u64>| self.rows.windows(2).any(|pair| of(&pair[0]) != of(&pair[1]));
        let credit = |row: &Row| row.credit.map(u64::from);
        let bands = |row: &Row| row.bands.map(u64::from);
        let work = |row: &Row| row.work;
        let samples = |row: &Row| Some(row.samples as u64);
        // Something must name the rows: threads, unless something else does and they are the same everywhere.
        let are_threads_told = differs(&|row| Some(row.threads.into())) || !(differs(&credit) || differs(&bands));
        let are_workers_told = are_threads_told && self.rows.iter().any(|row| row.workers != row.threads);

        let mut columns = Vec::new();
        let mut column = |head, is_told: bool, of: &dyn Fn(&Row) -> Option<u64>, tell: &dyn Fn(u64) -> String| {
            if is_told {
                let cell = |row| of(row).map_or_else(|| NONE.to_owned(), tell);
                columns.push((head, self.rows.iter().map(cell).collect()));
            }
        };
        let whole = |number: u64| thousands(&number.to_string());
        column("credit", differs(&credit), &credit, &whole);
        column("bands", differs(&bands), &bands, &whole);
        column("workers", are_workers_told, &|row| Some(row.workers.into()), &whole);
        column("threads", are_threads_told, &|row| Some(row.threads.into()), &whole);
        column("work", differs(&work), &work, &|number| self.work(number));
        column("n", differs(&samples), &samples, &whole);

        let mut notes = Vec::new();
        if let Some(row) = self.rows.first() {
            let same = |of: &dyn Fn(&Row) -> Option<u64>| of(row).filter(|_| !differs(of));
            notes.extend(Measure::Of(self.unit).per().map(str::to_owned));
            notes.extend(same(&samples).map(|samples| format!("median of {}", some(samples, "sample"))));
            notes
                .extend((!are_threads_told).then(|| format!("{}, {}", some(row.workers, "worker"), some(row.threads, "thread"))));
            notes.extend(same(&credit).map(|credit| format!("credit {credit}")));
            notes.extend(same(&bands).map(|bands| some(bands, "band")));
            notes.extend(same(&work).map(|work| self.work_in_words(work)));
        }
        (notes, columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::record;

    fn sheet_of(records: &[Record]) -> Sheet {
        let [group] = &*groups(records) else { panic!("one group") };
        group.sheet()
    }

    #[test]
    fn groups_stand_by_series_and_then_as_they_were_measured() {
        let records = [
            record(Series::Start, "b", 1, &[1.0]),
            record(Series::Strong, "z", 1, &[1.0]),
            record(Series::Strong, "a", 1, &[1.0]),
            record(Series::Strong, "z", 2, &[1.0]),
        ];
        let names: Vec<_> = groups(&records).iter().map(|group| (group.series, group.what.clone(), group.rows.len())).collect();
        let expected = [(Series::Strong, "z", 2), (Series::Strong, "a", 1), (Series::Start, "b", 1)];
        assert_eq!(names, expected.map(|(series, what, rows)| (series, what.to_owned(), rows)));
    }

    #[test]
    fn what_differs_is_a_column_and_what_does_not_is_a_note() {
        let with = |credit, sample| Record {
            credit: Some(credit),
            bands: Some(1000),
            ..record(Series::Overhead, "bands", 2, &[sample])
        };
        let sheet = sheet_of(&[with(8, 10.0), with(1, 20.0)]);
        assert_eq!(sheet.notes, "median of 1 sample; 2 workers, 2 threads; 1,000 bands");
        assert_eq!(sheet.heads, ["credit", "median", "least", "most"]);
        assert_eq!(sheet.rows, [["1", "20.0 s", "20.0 s", "20.0 s"], ["8", "10.0 s", "10.0 s", "10.0 s"]]);
    }

    #[test]
    fn records_of_one_size_are_one_row_and_every_sample_counts() {
        let records = [record(Series::Latency, "a job", 1, &[1.0, 5.0]), record(Series::Latency, "a job", 1, &[2.0])];
        assert_eq!(sheet_of(&records).rows, [["1", "2.00 s", "1.00 s", "5.00 s"]]);
    }

    #[test]
    fn of_many_samples_it_is_told_what_the_worst_hundredth_is_above() {
        let samples: Vec<f64> = (1..=200).map(f64::from).collect();
        let sheet = sheet_of(&[record(Series::Latency, "a job", 1, &samples)]);
        assert_eq!((*sheet.heads.last().unwrap(), &**sheet.rows[0].last().unwrap()), ("p99", "3.30 min"));
        assert!(!sheet_of(&[record(Series::Latency, "a job", 1, &samples[..99])]).heads.contains(&"p99"));
    }

    #[test]
    fn one_size_is_compared_with_nothing() {
        let sheet = sheet_of(&[record(Series::Strong, "a picture", 4, &[1.0])]);
        assert_eq!(sheet.heads, ["threads", "median", "least", "most"]);
        let two = sheet_of(&[record(Series::Strong, "a picture", 4, &[1.0]), record(Series::Strong, "a picture", 8, &[0.5])]);
        assert_eq!(&two.heads[4..], ["speed-up", "efficiency"]);
        assert!(two.notes.ends_with("compared with 4 threads, the fewest that were measured"), "{}", two.notes);
    }

    #[test]
    fn a_grid_is_compared_with_as_many_threads_of_one_process() {
        let threads = format!("a picture{ON_THREADS}");
        let records = [
            record(Series::Strong, "a picture", 1, &[1.0]),
            record(Series::Strong, "a picture", 2, &[0.5]),
            record(Series::Strong, &threads, 2, &[0.45]),
        ];
        let groups = groups(&records);
        let sheet = groups[0].sheet();
        assert_eq!(sheet.heads.last(), Some(&"of threads"));
        assert_eq!(sheet.rows.iter().map(|row| &**row.last().unwrap()).collect::<Vec<_>>(), ["–", "90.0 %"]);
        assert!(groups[1].is_reference() && !groups[0].is_reference());
    }
}
