//! The one figure of each series that people ask for first.

use crate::{
    Series, Unit,
    figure::Measure,
    group::{Group, Row},
    text::some,
};

/// A figure, and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Headline {
    pub(crate) label: &'static str,
    pub(crate) figure: String,
    pub(crate) meaning: String,
    pub(crate) what: String,
}

/// At most one figure for each series: of the first thing that was measured in it, and of the largest grid or the best way.
pub(crate) fn headlines(groups: &[Group]) -> Vec<Headline> {
    groups.chunk_by(|a, b| a.series == b.series).filter_map(of_series).collect()
}

fn of_series(groups: &[Group]) -> Option<Headline> {
    let first = groups.iter().find(|group| !group.is_reference()).or_else(|| groups.first())?;
    let fastest = groups.iter().find(|group| matches!(group.unit, Unit::BandsPerSecond | Unit::BytesPerSecond)).unwrap_or(first);
    match first.series {
        Series::Strong => of_curve(first, "Strong scaling", |row| {
            let scaling = row.scaling?;
            // On one line or the other, but whole.
            let efficiency = Measure::Share.tell(scaling.efficiency?).replace(' ', "\u{a0}");
            Some((
                Measure::Times.tell(scaling.speed_up?),
                format!("as fast on {}: {efficiency} efficiency", some(row.threads, "thread")),
            ))
        }),
        Series::Weak => of_curve(first, "Weak scaling", |row| {
            let efficiency = Measure::Share.tell(row.scaling?.efficiency?);
            Some((efficiency, format!("efficiency on {}", some(row.threads, "thread"))))
        }),
        Series::Overhead => Some(of_row("Overhead", fastest, best(fastest)?)),
        Series::Latency => Some(of_row("Latency", first, first.rows.first()?)),
        Series::Payload => Some(of_row("Payload", fastest, best(fastest)?)),
        Series::Start => Some(of_row("Start", first, first.rows.first()?)),
    }
}

fn of_curve(group: &Group, label: &'static str, scaled: impl Fn(&Row) -> Option<(String, String)>) -> Option<Headline> {
    let largest = group.rows.last()?;
    let headline = of_row(label, group, largest);
    Some(match scaled(largest) {
        Some((figure, meaning)) => Headline { figure, meaning, ..headline },
        None => headline,
    })
}

fn of_row(label: &'static str, group: &Group, row: &Row) -> Headline {
    let size = match group.label(row) {
        label if label.is_empty() => some(row.threads, "thread"),
        label => label,
    };
    let figure = Measure::Of(group.unit).tell(row.spread.median);
    Headline { label, figure, meaning: format!("median, {size}"), what: group.what.clone() }
}

/// The row with the most of what is better when it is more, or the least of what is better when it is less.
fn best(group: &Group) -> Option<&Row> {
    let better = |a: &&Row, b: &&Row| a.spread.median.total_cmp(&b.spread.median);
    match group.unit {
        Unit::BandsPerSecond | Unit::BytesPerSecond => group.rows.iter().max_by(better),
        Unit::Seconds | Unit::MicrosecondsPerBand => group.rows.iter().min_by(better),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ON_THREADS, Record, fixture::record, group::groups};

    fn told(records: &[Record]) -> Vec<(&'static str, String, String)> {
        headlines(&groups(records)).into_iter().map(|headline| (headline.label, headline.figure, headline.meaning)).collect()
    }

    #[test]
    fn the_largest_grid_is_told_and_not_what_it_is_compared_with() {
        let records = [
            record(Series::Strong, &format!("a picture{ON_THREADS}"), 4, &[0.3]),
            record(Series::Strong, "a picture", 1, &[1.0]),
            record(Series::Strong, "a picture", 2, &[0.5]),
        ];
        assert_eq!(
            told(&records),
            [("Strong scaling", "2.00×".to_owned(), "as fast on 2 threads: 100\u{a0}% efficiency".to_owned())]
        );
        assert_eq!(told(&records[1..2]), [("Strong scaling", "1.00 s".to_owned(), "median, 1 thread".to_owned())]);
    }

    #[test]
    fn of_rates_the_greatest_is_told_and_of_times_the_first() {
        let with = |unit, credit, value| Record { unit, credit: Some(credit), ..record(Series::Overhead, "bands", 2, &[value]) };
        let records = [
            with(Unit::MicrosecondsPerBand, 1, 20.0),
            with(Unit::BandsPerSecond, 1, 50_000.0),
            with(Unit::BandsPerSecond, 4, 80_000.0),
            record(Series::Latency, "idle", 1, &[0.001]),
            record(Series::Latency, "busy", 1, &[0.0005]),
        ];
        let expected = [("Overhead", "80,000 bands/s", "median, credit 4"), ("Latency", "1.00 ms", "median, 1 thread")];
        assert_eq!(told(&records), expected.map(|(label, figure, meaning)| (label, figure.to_owned(), meaning.to_owned())));
    }
}
