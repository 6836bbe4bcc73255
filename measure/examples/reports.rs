//! Writes reports of made-up runs into a folder, to look at them: `cargo run -p fractally-measure --example reports -- FOLDER`.

use std::{fs, io, path::Path};

use fractally_measure::{FORMAT, Host, Member, ON_THREADS, Record, Run, Series, Spread, Unit, csv, html, table};

fn main() -> io::Result<()> {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("say into which folder");
        std::process::exit(2);
    };
    let runs = [
        ("two", two_threads()),
        ("many", many_workers()),
        ("one", run(vec![strong("the talk's scene, png", 64, 0.081, 93_000_000)], 64)),
        ("curves", curves()),
        ("absurd", absurd()),
        ("nothing", run(Vec::new(), 1)),
    ];
    for (name, run) in runs {
        let write = |ending: &str, text: String| fs::write(Path::new(&folder).join(format!("{name}.{ending}")), text);
        write("html", html(&run))?;
        write("csv", csv(&run))?;
        write("txt", table(&run))?;
        write("json", run.to_json())?;
    }
    Ok(())
}

fn run(records: Vec<Record>, workers: u32) -> Run {
    let member = |index| Member {
        name: format!("node{:02}-{index}", index / 8),
        kernel: "avx512".to_owned(),
        threads: 1,
        engine: "fractally-2".to_owned(),
    };
    Run {
        format: FORMAT,
        program: "fractally 0.1.0".to_owned(),
        engine: "fractally-2".to_owned(),
        command: "fractally bench strong weak overhead latency payload start --runs 5 --html report.html".to_owned(),
        started: "2026-11-21T20:15:00Z".to_owned(),
        host: Host {
            name: "lab1".to_owned(),
            system: "Linux 6.1.0-18-amd64".to_owned(),
            processor: "AMD EPYC 9B14 96-Core Processor".to_owned(),
            cores: 2,
            memory_bytes: 16_744_000_000,
            load_before: [0.08, 0.2, 0.31],
            load_after: [1.9, 1.2, 0.8],
        },
        workers: (0..workers).map(member).collect(),
        records,
    }
}

fn record(series: Series, what: &str, threads: u32, unit: Unit, samples: &[f64]) -> Record {
    Record {
        series,
        what: what.to_owned(),
        workers: threads,
        threads,
        credit: None,
        bands: None,
        work: None,
        unit,
        samples: samples.to_vec(),
        spread: Spread::of(samples),
    }
}

/// Samples round a number, always the same.
fn about(value: f64) -> [f64; 5] {
    [1.0, 0.985, 1.031, 1.002, 0.991].map(|factor| value * factor)
}

fn strong(what: &str, threads: u32, seconds: f64, work: u64) -> Record {
    Record { work: Some(work), ..record(Series::Strong, what, threads, Unit::Seconds, &about(seconds)) }
}

fn two_threads() -> Run {
    let scene = "the talk's scene, 1280x853, png";
    let weak = |threads: u32, seconds| Record {
        series: Series::Weak,
        ..strong(scene, threads, seconds, 93_000_000 * u64::from(threads))
    };
    let mut records = vec![strong(scene, 1, 0.0812, 93_000_000), strong(scene, 2, 0.0428, 93_000_000)];
    records.extend(
        [(1, 0.0788), (2, 0.0402)]
            .map(|(threads, seconds)| strong(&format!("{scene}{ON_THREADS}"), threads, seconds, 93_000_000)),
    );
    records.extend([weak(1, 0.0812), weak(2, 0.0839)]);
    rest(&mut records);
    run(records, 2)
}

fn rest(records: &mut Vec<Record>) {
    for (credit, rate, cpu) in [(1, 41_200.0, 11.2), (2, 62_300.0, 9.8), (4, 78_400.0, 8.9), (8, 81_234.0, 8.7)] {
        let overhead = |what, unit, value| Record {
            credit: Some(credit),
            bands: Some(100_000),
            ..record(Series::Overhead, what, 2, unit, &about(value))
        };
        records.push(overhead("bands without work", Unit::BandsPerSecond, rate));
        records.push(overhead("bands without work, wall time", Unit::MicrosecondsPerBand, 1e6 / rate));
        records.push(overhead("bands without work, broker's processor time", Unit::MicrosecondsPerBand, cpu));
    }
    let jobs = |typical: f64| {
        (0..500).map(|i| typical * (1.0 + f64::from(i * 7919 % 100) / 400.0)).chain([typical * 40.0]).collect::<Vec<_>>()
    };
    records.push(record(Series::Latency, "a job of one band, on an idle grid", 2, Unit::Seconds, &jobs(0.000_31)));
    records.push(record(
        Series::Latency,
        "a job of one band, beside a batch job that saturates the grid",
        2,
        Unit::Seconds,
        &jobs(0.0042),
    ));
    let payload = Record {
        work: Some(400_000_000),
        ..record(Series::Payload, "counts, 10000x10000", 2, Unit::BytesPerSecond, &about(1.31e9))
    };
    records.push(payload);
    records.push(record(Series::Start, "fractally render, to the first pixel", 2, Unit::Seconds, &about(0.187)));
    records.push(record(Series::Start, "fractally render, to the file", 2, Unit::Seconds, &about(0.241)));
}

fn many_workers() -> Run {
    let mut records = Vec::new();
    for threads in [1, 2, 3, 4, 8, 16, 32, 48, 64] {
        let n = f64::from(threads);
        let seconds = 60.0 / n + 0.02 * n;
        records.push(strong("a minute of work, 8192x8192, counts", threads, seconds, 60_000_000_000));
        let weak = strong("a minute of work for each thread", threads, 60.0 + 0.11 * n, 60_000_000_000 * u64::from(threads));
        records.push(Record { series: Series::Weak, ..weak });
        records.push(record(
            Series::Latency,
            "a job of one band, on an idle grid",
            threads,
            Unit::Seconds,
            &about(0.0003 + 0.00001 * n),
        ));
        records.push(Record {
            work: Some(400_000_000),
            ..record(Series::Payload, "counts, 10000x10000", threads, Unit::BytesPerSecond, &about(1.3e9))
        });
    }
    let mut run = run(records, 64);
    run.host.load_before[0] = 4.98;
    run.command =
        "fractally bench strong weak latency payload --broker tcp://10.77.0.1:5555 --json run.json (9 times)".to_owned();
    run
}

fn curves() -> Run {
    let scenes = [
        "the talk's scene, png",
        "a dendrite, 20,000 iterations, png",
        "the unit disc, all interior, counts",
        "Douady's rabbit, png",
        "dust, npy",
        "a Siegel disc of the golden mean, in twilight, webp",
        "one too many",
    ];
    let mut records = Vec::new();
    let mut one = 0.05;
    for (loss, scene) in (1_u32..).zip(scenes) {
        records.extend((1..=8).map(|threads| {
            let n = f64::from(threads);
            strong(scene, threads, one / n + 0.002 * one * n * f64::from(loss), 1_000_000_000)
        }));
        one *= 3.0;
    }
    records.extend(
        (1..=8).map(|threads| strong(&format!("{}{ON_THREADS}", scenes[1]), threads, 0.14 / f64::from(threads), 1_000_000_000)),
    );
    run(records, 8)
}

fn absurd() -> Run {
    let name = "</title><script>alert(1)</script> \u{202e}\u{1b}[2J a name that has no end, ".repeat(6);
    let wide = |threads, seconds: f64| Record {
        work: Some(1),
        ..record(Series::Strong, &name, threads, Unit::Seconds, &[seconds, seconds * 30.0, seconds / 30.0])
    };
    let mut records = vec![wide(1, 1e-12), wide(1_000_000, 1e12), wide(7, 1.0), wide(u32::MAX, f64::MAX / 100.0)];
    records.push(record(Series::Payload, &"日本語の名前".repeat(20), 1, Unit::BytesPerSecond, &[1e300, f64::MIN_POSITIVE]));
    records.push(record(Series::Payload, "tiny", 1, Unit::BytesPerSecond, &[1e-30]));
    let credits = (1..=64).map(|credit| Record {
        credit: Some(credit),
        ..record(Series::Overhead, "bands", 1_000_000, Unit::BandsPerSecond, &[f64::from(credit)])
    });
    records.extend(credits);
    let mut run = run(records, 64);
    run.workers.iter_mut().for_each(|worker| worker.name.clone_from(&name));
    run.command = "x".repeat(500);
    run
}
