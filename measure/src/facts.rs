//! What was measured with, where and when, for the heads of tables and pages.

use std::collections::HashMap;

use crate::{Member, Run, figure::Measure, text::some};

/// Names and texts, of what is known. Texts are as they were given.
pub(crate) fn facts(run: &Run) -> Vec<(&'static str, String)> {
    let host = &run.host;
    let load = |load: [f64; 3]| load.map(|load| format!("{load:.2}")).join(" ");
    let facts = [
        ("began", began(run)),
        ("command", run.command.clone()),
        ("program", run.program.clone()),
        ("engine", run.engine.clone()),
        ("machine", machine(run)),
        ("system", host.system.clone()),
        ("load", format!("{} before, {} after", load(host.load_before), load(host.load_after))),
        ("workers", workers(run)),
    ];
    facts.into_iter().filter(|(_, text)| !text.is_empty()).collect()
}

/// When it began, without the letters between that are for programs.
pub(crate) fn began(run: &Run) -> String {
    match run.started.strip_suffix('Z').and_then(|time| time.split_once('T')) {
        Some((date, time)) => format!("{date} {time} UTC"),
        None => run.started.clone(),
    }
}

/// Name, processor, cores and memory of the machine, as far as they are known.
pub(crate) fn machine(run: &Run) -> String {
    let host = &run.host;
    let cores = (host.cores > 0).then(|| some(host.cores, "core"));
    let memory = (host.memory_bytes > 0).then(|| Measure::Memory.tell(host.memory_bytes as f64));
    let parts = [Some(host.name.clone()), Some(host.processor.clone()), cores, memory];
    parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

/// That the machine had other things to do, if it had.
pub(crate) fn busy(run: &Run) -> Option<String> {
    run.host.was_busy().then(|| {
        let (load, cores) = (run.host.load_before[0], some(run.host.cores, "core"));
        format!(
            "The machine was busy before the run, with a load of {load:.2} on {cores}: do not trust the times, and measure again."
        )
    })
}

/// Kinds of workers, from the most frequent to the least: by kernel, threads and engine.
pub(crate) fn kinds(members: &[Member]) -> Vec<(usize, &Member)> {
    let mut places = HashMap::new();
    let mut kinds: Vec<(usize, &Member)> = Vec::new();
    for member in members {
        let place = *places.entry((&member.kernel, member.threads, &member.engine)).or_insert(kinds.len());
        match kinds.get_mut(place) {
            Some((count, _)) => *count += 1,
            None => kinds.push((1, member)),
        }
    }
    kinds.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    kinds
}

/// The workers by kind. Of a local grid one stands for all.
fn workers(run: &Run) -> String {
    let most = run.records.iter().map(|record| record.workers).max().unwrap_or(0);
    let of_kind = |(count, kind): (usize, &Member)| {
        let count = match run.workers.len() {
            1 if most > 1 => format!("up to {most}, each"),
            1 => "1".to_owned(),
            _ => count.to_string(),
        };
        let engine = if kind.engine == run.engine { String::new() } else { format!(", engine {}", kind.engine) };
        format!("{count} of {}: {}{engine}", some(kind.threads, "thread"), kind.kernel)
    };
    kinds(&run.workers).into_iter().map(of_kind).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Series,
        fixture::{member, record, run},
    };

    fn fact(run: &Run, name: &str) -> Option<String> {
        facts(run).into_iter().find_map(|(found, text)| (found == name).then_some(text))
    }

    #[test]
    fn what_is_known_of_a_machine_is_told_and_what_is_not_is_left_out() {
        let mut run = run(Vec::new());
        assert_eq!(fact(&run, "machine").as_deref(), Some("lab, A processor, 2 cores, 16.0 GiB"));
        (run.host.cores, run.host.memory_bytes, run.host.system) = (0, 0, String::new());
        assert_eq!(fact(&run, "machine").as_deref(), Some("lab, A processor"));
        assert_eq!(fact(&run, "system"), None);
    }

    #[test]
    fn a_load_of_more_than_a_quarter_of_the_cores_is_a_warning() {
        let mut run = run(Vec::new());
        assert_eq!(busy(&run), None);
        run.host.load_before[0] = 0.5;
        assert_eq!(busy(&run), None);
        run.host.load_before[0] = 0.75;
        assert!(busy(&run).unwrap().contains("a load of 0.75 on 2 cores"));
        run.host.cores = 0;
        assert_eq!(busy(&run), None);
    }

    #[test]
    fn workers_are_told_by_kind() {
        let mut run = run(vec![record(Series::Strong, "a", 8, &[1.0])]);
        assert_eq!(fact(&run, "workers").as_deref(), Some("up to 8, each of 1 thread: avx512"));
        run.workers = vec![Member { threads: 4, ..member("a") }, member("b"), member("c")];
        run.workers[0].engine = "no-op".to_owned();
        assert_eq!(fact(&run, "workers").as_deref(), Some("2 of 1 thread: avx512; 1 of 4 threads: avx512, engine no-op"));
        run.workers.clear();
        assert_eq!(fact(&run, "workers"), None);
    }
}
