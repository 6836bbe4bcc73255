//! Several runs of one grid as one, such as those of a script that adds workers between them.

use std::collections::{BTreeSet, HashMap, HashSet};

use thiserror::Error;

use crate::{Member, Record, Run, Series, run::RECORDS_MAX};

/// The engine of workers that compute nothing, whose bands without work are like any other's.
pub const NO_OP: &str = "no-op";

/// Why runs are not one.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum MergeError {
    /// There is nothing to put together.
    #[error("no run was given")]
    NoRuns,
    /// Figures of two things do not belong in one table.
    #[error(
        "run {number} has the {what} {found:?}, others {expected:?}: their figures cannot be compared, so tell them one by one"
    )]
    Differ {
        /// Of the run, from 1.
        number: usize,
        /// What differs.
        what: &'static str,
        /// In this run.
        found: String,
        /// In the others.
        expected: String,
    },
    /// Times of workers that compute nothing would be points of the curve of those that do.
    #[error("run {number} is of workers that compute nothing, and has records of the series {series}; leave it out")]
    NoWork {
        /// Of the run, from 1.
        number: usize,
        /// The series.
        series: &'static str,
    },
    /// Its samples would count twice.
    #[error(
        "run {number} has no figure that others do not have, too; give each run once, and leave out what was put together from others"
    )]
    Again {
        /// Of the run, from 1.
        number: usize,
    },
    /// Too many records.
    #[error("the runs have {0} records in all; at most {RECORDS_MAX} can be one run")]
    Records(usize),
}

/// One run of all records in the order given: it began when the earliest did, its load before is that run's and its load after
/// the latest's, its workers are all that took part, and its command tells each command once, with how often it ran.
///
/// Engine, program and machine must be the same in all of them, and a grid has the kernels of every smaller one: points of one curve
/// that other kernels made would be compared with one another, or mixed. Runs of workers that compute nothing ([`NO_OP`]) may stand among
/// others, because bands without work say nothing of an engine; the engine is then the one that computes.
///
/// # Errors
/// There is no run, or they differ, or one is there twice, or their records are too many for one.
pub fn merge(runs: &[Run]) -> Result<Run, MergeError> {
    let (first, others) = runs.split_first().ok_or(MergeError::NoRuns)?;
    if others.is_empty() {
        return Ok(first.clone());
    }
    let engine = &runs.iter().find(|run| run.engine != NO_OP).unwrap_or(first).engine;
    for (index, run) in runs.iter().enumerate() {
        fits(run, index + 1, first, engine)?;
    }
    let count = runs.iter().map(|run| run.records.len()).sum();
    if count > RECORDS_MAX {
        return Err(MergeError::Records(count));
    }
    kernels_grow(runs)?;
    each_is_new(runs)?;
    // All are in UTC and in one form, so texts stand as times do.
    let earliest = runs.iter().min_by_key(|run| &run.started).unwrap_or(first);
    let latest = runs.iter().max_by_key(|run| &run.started).unwrap_or(first);
    let mut merged = earliest.clone();
    merged.engine.clone_from(engine);
    merged.command = commands(runs);
    merged.host.load_after = latest.host.load_after;
    merged.workers = united(runs);
    merged.records = runs.iter().flat_map(|run| &run.records).cloned().collect();
    Ok(merged)
}

fn fits(run: &Run, number: usize, first: &Run, engine: &str) -> Result<(), MergeError> {
    let same = |what, found: &str, expected: &str| {
        if found == expected {
            return Ok(());
        }
        Err(MergeError::Differ { number, what, found: found.to_owned(), expected: expected.to_owned() })
    };
    same("program", &run.program, &first.program)?;
    let machine = |run: &Run| format!("{}, {}, {} cores", run.host.name, run.host.processor, run.host.cores);
    same("machine", &machine(run), &machine(first))?;
    if run.engine != NO_OP || engine == NO_OP {
        return same("engine", &run.engine, engine);
    }
    match run.records.iter().find(|record| matches!(record.series, Series::Strong | Series::Weak)) {
        Some(record) => Err(MergeError::NoWork { number, series: record.series.name() }),
        None => Ok(()),
    }
}

/// Whether the kernels of each grid are among those of the next larger one. What computes nothing has none that count.
fn kernels_grow(runs: &[Run]) -> Result<(), MergeError> {
    let kernels = |run: &Run| run.workers.iter().map(|member| member.kernel.clone()).collect::<BTreeSet<_>>();
    let computing = (1..).zip(runs).filter(|(_, run)| run.engine != NO_OP);
    let mut grids: Vec<(usize, BTreeSet<String>)> = computing.map(|(number, run)| (number, kernels(run))).collect();
    grids.sort_by_key(|(_, kernels)| kernels.len());
    match grids.windows(2).find(|pair| !pair[0].1.is_subset(&pair[1].1)) {
        Some([(_, expected), (number, found)]) => {
            let tell = |kernels: &BTreeSet<String>| Vec::from_iter(kernels.iter().map(String::as_str)).join(", ");
            Err(MergeError::Differ { number: *number, what: "kernels", found: tell(found), expected: tell(expected) })
        }
        _ => Ok(()),
    }
}

/// Whether each run has a record that no other has, to the last bit of its samples.
fn each_is_new(runs: &[Run]) -> Result<(), MergeError> {
    let key = |record: &Record| {
        let samples: Vec<u64> = record.samples.iter().map(|sample| sample.to_bits()).collect();
        (record.series, record.what.clone(), record.threads, record.credit, samples)
    };
    let keys: Vec<HashSet<_>> = runs.iter().map(|run| run.records.iter().map(key).collect()).collect();
    let mut have: HashMap<_, usize> = HashMap::new();
    keys.iter().flatten().for_each(|key| *have.entry(key).or_default() += 1);
    let is_again = |keys: &HashSet<_>| !keys.is_empty() && keys.iter().all(|key| have[key] > 1);
    match keys.iter().rposition(is_again) {
        Some(index) => Err(MergeError::Again { number: index + 1 }),
        None => Ok(()),
    }
}

fn commands(runs: &[Run]) -> String {
    let mut places = HashMap::new();
    let mut commands: Vec<(&str, usize)> = Vec::new();
    for run in runs {
        let place = *places.entry(&*run.command).or_insert(commands.len());
        match commands.get_mut(place) {
            Some((_, count)) => *count += 1,
            None => commands.push((&run.command, 1)),
        }
    }
    let tell = |(command, count)| if count == 1 { String::from(command) } else { format!("{command} ({count} times)") };
    commands.into_iter().map(tell).collect::<Vec<_>>().join("; ")
}

/// Each worker as often as it is in the run that has it most often: several may have one name.
fn united(runs: &[Run]) -> Vec<Member> {
    let mut all: Vec<Member> = Vec::new();
    let mut have: HashMap<(&str, &str, u32, &str), usize> = HashMap::new();
    for run in runs {
        let mut seen = HashMap::new();
        for member in &run.workers {
            let key = (&*member.name, &*member.kernel, member.threads, &*member.engine);
            let seen = seen.entry(key).or_insert(0_usize);
            *seen += 1;
            let have = have.entry(key).or_default();
            if *seen > *have {
                *have = *seen;
                all.push(member.clone());
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        curves,
        fixture::{member, record, run},
    };

    fn runs() -> [Run; 3] {
        let at = |minute: u32, names: &[&str], seconds: f64| {
            let threads = u32::try_from(names.len()).unwrap();
            let mut run = run(vec![record(Series::Strong, "a picture", threads, &[seconds])]);
            run.started = format!("2026-11-21T20:{minute:02}:00Z");
            run.host.load_after[0] = f64::from(minute);
            run.workers = names.iter().map(|name| member(name)).collect();
            run
        };
        [at(16, &["a", "b"], 0.5), at(15, &["a"], 1.0), at(17, &["a", "b", "b", "c"], 0.25)]
    }

    #[test]
    fn runs_of_a_growing_grid_are_points_of_one_curve() {
        let merged = merge(&runs()).unwrap();
        let [curve] = &*curves(&merged.records) else { panic!("one curve") };
        assert_eq!(
            curve.points.iter().map(|point| (point.threads, point.efficiency)).collect::<Vec<_>>(),
            [(1, 1.0), (2, 1.0), (4, 1.0)]
        );
        assert_eq!((&*merged.started, merged.host.load_after[0]), ("2026-11-21T20:15:00Z", 17.0));
        assert_eq!(merged.workers.iter().map(|member| &*member.name).collect::<Vec<_>>(), ["a", "b", "b", "c"]);
        assert_eq!(merged.command, "fractally bench strong (3 times)");
        assert_eq!(Run::read(merged.to_json().as_bytes()).unwrap(), merged);
    }

    #[test]
    fn one_run_stays_as_it_is_and_none_is_an_error() {
        let [run, ..] = runs();
        assert_eq!(merge(std::slice::from_ref(&run)), Ok(run));
        assert_eq!(merge(&[]), Err(MergeError::NoRuns));
    }

    #[test]
    fn runs_of_different_things_are_refused_by_name() {
        type Change = fn(&mut Run);
        let changes: [(&str, Change); 4] = [
            ("kernels", |run| run.workers[0].kernel = "other".to_owned()),
            ("engine", |run| run.engine = "other".to_owned()),
            ("program", |run| run.program = "other".to_owned()),
            ("machine", |run| run.host.name = "other".to_owned()),
        ];
        for (what, change) in changes {
            let mut runs = runs();
            change(&mut runs[1]);
            let error = merge(&runs).unwrap_err().to_string();
            assert!(error.starts_with(&format!("run 2 has the {what} ")) && error.contains("other"), "{error}");
        }
    }

    #[test]
    fn kernels_may_come_with_workers() {
        let mut runs = runs();
        runs[2].workers[3].kernel = "other".to_owned();
        assert!(merge(&runs).is_ok());
        // Of workers that compute nothing it does not matter.
        runs[0].workers[0].kernel = "a third one".to_owned();
        assert!(merge(&runs).is_err());
        (runs[0].engine, runs[0].records[0].series) = (NO_OP.to_owned(), Series::Overhead);
        assert!(merge(&runs).is_ok());
    }

    #[test]
    fn no_sample_counts_twice() {
        let runs = runs();
        let [one, two, ..] = &runs;
        assert_eq!(merge(&[one.clone(), two.clone(), one.clone()]), Err(MergeError::Again { number: 3 }));
        let merged = merge(&runs).unwrap();
        assert_eq!(merge(&[one.clone(), merged]), Err(MergeError::Again { number: 1 }));
    }

    #[test]
    fn bands_without_work_may_stand_beside_pictures_and_pictures_without_work_may_not() {
        let mut runs = runs();
        runs[0].engine = NO_OP.to_owned();
        assert_eq!(merge(&runs), Err(MergeError::NoWork { number: 1, series: "strong" }));
        runs[0].records[0].series = Series::Overhead;
        runs[0].command = "fractally bench overhead".to_owned();
        let merged = merge(&runs).unwrap();
        assert_eq!(
            (&*merged.engine, &*merged.command),
            ("fractally-2", "fractally bench overhead; fractally bench strong (2 times)")
        );
        runs.iter_mut().for_each(|run| run.engine = NO_OP.to_owned());
        assert_eq!(merge(&runs).unwrap().engine, NO_OP);
    }

    #[test]
    fn more_records_than_can_be_read_again_are_refused() {
        let mut runs = runs();
        runs[0].records = vec![runs[0].records[0].clone(); RECORDS_MAX - 1];
        assert_eq!(merge(&runs), Err(MergeError::Records(RECORDS_MAX + 1)));
    }
}
