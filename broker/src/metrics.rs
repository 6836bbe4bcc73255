//! What a broker counts for monitors, in OpenMetrics text.
//!
//! The loop writes and a scraper's thread reads; everything between them is an atomic number, so that neither ever waits for the other.
//! Labels are few and fixed: nothing that a peer says becomes one. Who serves the text is not known here.

use std::{
    fmt,
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use fractally_broker_core::{Census, Ending, JobsNow, Note, Tally};
use fractally_proto::RefusalCode;
use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet, text::encode},
    metrics::{MetricType, counter, gauge, info::Info},
    registry::{Registry, Unit},
};

type Counter = counter::Counter<u64, AtomicU64>;
type Gauge = gauge::Gauge<u64, AtomicU64>;
type Seconds = gauge::Gauge<f64, AtomicU64>;

/// Upper bounds of the buckets of durations: from 1 ms to 1 h, three a decade or so.
const BUCKETS: [Duration; 14] = [
    Duration::from_millis(1),
    Duration::from_millis(3),
    Duration::from_millis(10),
    Duration::from_millis(30),
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(100),
    Duration::from_secs(300),
    Duration::from_secs(1000),
    Duration::from_secs(3600),
];

const ENDINGS: [&str; 3] = ["done", "failed", "cancelled"];
const REFUSALS: [&str; 6] = ["invalid", "limit", "key_conflict", "busy", "closing", "cannot_resume"];
const TRY_ENDS: [&str; 4] = ["delivered", "withdrawn", "given_back", "failed"];
/// Kinds of living jobs, and what becomes of them.
const JOBS: [[(&str, &str); 2]; 6] = [
    [("kind", "attached"), ("state", "waiting")],
    [("kind", "attached"), ("state", "running")],
    [("kind", "attached"), ("state", "adrift")],
    [("kind", "detached"), ("state", "waiting")],
    [("kind", "detached"), ("state", "running")],
    [("kind", "detached"), ("state", "paused")],
];

/// All that is counted. Totals are those of the loop's last turn, gauges at most a heartbeat old.
pub struct Metrics {
    registry: Registry,
    started: Instant,
    uptime: Seconds,
    jobs: Labelled<Gauge, 2, 6>,
    jobs_ended: Labelled<Counter, 1, 3>,
    refusals: Labelled<Counter, 1, 6>,
    bands: Labelled<Counter, 1, 4>,
    band_retries: Counter,
    backup_attempts: Counter,
    iterations: Counter,
    compute: counter::Counter<f64, AtomicU64>,
    tile_bytes: Counter,
    strip_bytes_sent: Counter,
    band_seconds: Durations,
    job_seconds: Durations,
    workers: Gauge,
    worker_threads: Gauge,
    clients: Gauge,
    held_bytes: Gauge,
    journal: Option<JournalGauges>,
}

#[derive(Default)]
struct JournalGauges {
    jobs: Gauge,
    bytes: Gauge,
    bytes_max: Gauge,
    trouble: Gauge,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Nothing is counted yet. `engine` is the one that the broker computes names of pictures with, if it does.
    pub(crate) fn new(started: Instant, version: &str, engine: Option<&str>, has_journal: bool) -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("fractally"),
            started,
            uptime: Seconds::default(),
            jobs: Labelled::new(JOBS),
            jobs_ended: Labelled::new(ENDINGS.map(|how| [("how", how)])),
            refusals: Labelled::new(REFUSALS.map(|code| [("code", code)])),
            bands: Labelled::new(TRY_ENDS.map(|end| [("end", end)])),
            band_retries: Counter::default(),
            backup_attempts: Counter::default(),
            iterations: Counter::default(),
            compute: counter::Counter::default(),
            tile_bytes: Counter::default(),
            strip_bytes_sent: Counter::default(),
            band_seconds: Durations::default(),
            job_seconds: Durations::default(),
            workers: Gauge::default(),
            worker_threads: Gauge::default(),
            clients: Gauge::default(),
            held_bytes: Gauge::default(),
            journal: has_journal.then(JournalGauges::default),
        };
        metrics.register(version, engine);
        metrics
    }

    /// Names and help texts. The library adds a full stop to these, and to the names their units and `_total`.
    fn register(&mut self, version: &str, engine: Option<&str>) {
        let registry = &mut self.registry;
        let mut about = vec![("version", version.to_owned())];
        about.extend(engine.map(|engine| ("engine", engine.to_owned())));
        registry.register("build", "What runs here", Info::new(about));
        registry.register_with_unit("uptime", "Time since the broker started", Unit::Seconds, self.uptime.clone());
        let help = "Living jobs: attached ones need a client, detached ones are kept in the journal";
        registry.register("jobs", help, self.jobs.clone());
        registry.register("jobs_ended", "Jobs that have ended", self.jobs_ended.clone());
        registry.register_with_unit("job", "From a job's acceptance to its end", Unit::Seconds, self.job_seconds.clone());
        registry.register("refusals", "Requests that were refused", self.refusals.clone());
        let help = "Tries at bands that have ended: with the tile, because it was not wanted any more, undone, or in a failure";
        registry.register("bands", help, self.bands.clone());
        let help = "Tries at bands that an earlier try had given back or failed at";
        registry.register("band_retries", help, self.band_retries.clone());
        registry.register("backup_attempts", "Second tries at bands that somebody is late with", self.backup_attempts.clone());
        let help = "From a band's lease to its tile, time in the worker's queue included";
        registry.register_with_unit("band", help, Unit::Seconds, self.band_seconds.clone());
        registry.register("iterations", "Iterations of delivered bands", self.iterations.clone());
        let help = "Thread time of delivered bands, as their workers measured it";
        registry.register_with_unit("compute", help, Unit::Seconds, self.compute.clone());
        registry.register_with_unit("tile", "Bytes of tiles that came in", Unit::Bytes, self.tile_bytes.clone());
        registry.register("strip_bytes_sent", "Bytes of strips that were sent to clients", self.strip_bytes_sent.clone());
        registry.register("workers", "Connected workers", self.workers.clone());
        registry.register("worker_threads", "Threads of connected workers", self.worker_threads.clone());
        registry.register("clients", "Connected clients", self.clients.clone());
        let help = "Bytes of tiles that wait for their turn, their client or the disk";
        registry.register_with_unit("held", help, Unit::Bytes, self.held_bytes.clone());
        if let Some(journal) = &self.journal {
            registry.register("journal_jobs", "Detached jobs on disk, those that are over included", journal.jobs.clone());
            registry.register_with_unit("journal", "Bytes of detached jobs on disk", Unit::Bytes, journal.bytes.clone());
            registry.register("journal_bytes_max", "Bytes that they may have", journal.bytes_max.clone());
            registry.register("journal_trouble", "Whether the journal cannot be written at present", journal.trouble.clone());
        }
    }

    /// All of it as OpenMetrics text. Waits for nobody.
    pub fn render(&self) -> String {
        self.uptime.set(self.started.elapsed().as_secs_f64());
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a string takes whatever is written");
        text
    }

    pub(crate) fn on_note(&self, note: &Note) {
        match note {
            Note::BandRendered { took, .. } => self.band_seconds.observe(*took),
            Note::JobEnded { ending, lasted, .. } => {
                let how = match ending {
                    Ending::Done => 0,
                    Ending::Failed(_) => 1,
                    Ending::Cancelled(_) => 2,
                };
                self.jobs_ended.at(how).inc();
                self.job_seconds.observe(*lasted);
            }
            Note::ClientJoined { .. }
            | Note::ClientGone { .. }
            | Note::WorkerJoined { .. }
            | Note::WorkerGone { .. }
            | Note::JobAccepted { .. }
            | Note::JobAttached { .. }
            | Note::JobAdrift { .. }
            | Note::JobKept { .. }
            | Note::JobResumed { .. }
            | Note::JobDamaged { .. }
            | Note::JobForgotten { .. }
            | Note::JournalTrouble(_)
            | Note::WorkerBenched { .. }
            | Note::BandLeased { .. }
            | Note::JobJoined { .. }
            | Note::BandRequeued { .. } => {}
        }
    }

    pub(crate) fn on_refusal(&self, code: RefusalCode) {
        let code = match code {
            RefusalCode::Invalid => 0,
            RefusalCode::Limit => 1,
            RefusalCode::KeyConflict => 2,
            RefusalCode::Busy => 3,
            RefusalCode::Closing => 4,
            RefusalCode::CannotResume => 5,
        };
        self.refusals.at(code).inc();
    }

    pub(crate) fn on_tile(&self, bytes: u64) {
        self.tile_bytes.inc_by(bytes);
    }

    pub(crate) fn on_strips_sent(&self, bytes: u64) {
        self.strip_bytes_sent.inc_by(bytes);
    }

    pub(crate) fn on_tally(&self, tally: &Tally) {
        let Tally { retries, backups, delivered, withdrawn, given_back, failed, iterations, compute_ns, .. } = *tally;
        let ends =
            [delivered, withdrawn, given_back, failed].into_iter().enumerate().map(|(end, tries)| (self.bands.at(end), tries));
        let rest = [(&self.band_retries, retries), (&self.backup_attempts, backups), (&self.iterations, iterations)];
        for (counter, value) in ends.chain(rest) {
            counter.inner().store(value, Relaxed);
        }
        self.compute.inner().store((compute_ns as f64 / 1e9).to_bits(), Relaxed);
    }

    pub(crate) fn on_census(&self, census: &Census) {
        let of = |JobsNow { waiting, running, paused }| [waiting, running, paused];
        for (index, jobs) in of(census.attached).into_iter().chain(of(census.detached)).enumerate() {
            self.jobs.at(index).set(jobs);
        }
        self.workers.set(census.workers);
        self.worker_threads.set(census.worker_threads);
        self.clients.set(census.clients);
        self.held_bytes.set(census.held_bytes);
        if let (Some(gauges), Some(journal)) = (&self.journal, &census.journal) {
            gauges.jobs.set(journal.jobs.into());
            gauges.bytes.set(journal.bytes);
            gauges.bytes_max.set(journal.bytes_max);
            gauges.trouble.set(journal.trouble.is_some().into());
        }
    }
}

/// One metric for each of a fixed set of labels, in their order. The library's own families lock.
#[derive(Clone, Debug)]
struct Labelled<M, const LABELS: usize, const N: usize>([([(&'static str, &'static str); LABELS], M); N]);

impl<M: Default, const LABELS: usize, const N: usize> Labelled<M, LABELS, N> {
    fn new(labels: [[(&'static str, &'static str); LABELS]; N]) -> Self {
        Self(labels.map(|labels| (labels, M::default())))
    }

    fn at(&self, index: usize) -> &M {
        &self.0[index].1
    }
}

impl<M: EncodeMetric, const LABELS: usize, const N: usize> EncodeMetric for Labelled<M, LABELS, N> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(labels, metric)| metric.encode(encoder.encode_family(labels)?))
    }

    fn metric_type(&self) -> MetricType {
        self.0[0].1.metric_type()
    }
}

/// A histogram of durations. The library's own locks.
#[derive(Clone, Debug, Default)]
struct Durations(Arc<DurationsInner>);

#[derive(Debug, Default)]
struct DurationsInner {
    /// How many there were in each of [`BUCKETS`], and beyond the last.
    counts: [AtomicU64; BUCKETS.len() + 1],
    sum_ns: AtomicU64,
}

impl Durations {
    fn observe(&self, duration: Duration) {
        let bucket = BUCKETS.partition_point(|bound| *bound < duration);
        self.0.counts[bucket].fetch_add(1, Relaxed);
        self.0.sum_ns.fetch_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }
}

impl EncodeMetric for Durations {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let bounds = BUCKETS.iter().map(Duration::as_secs_f64).chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(self.0.counts.iter().map(|count| count.load(Relaxed))).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.0.sum_ns.load(Relaxed) as f64 / 1e9;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use fractally_broker_core::WorkerId;
    use fractally_proto::{AttemptId, Band, JobId, JournalStatus};

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "how long it was up is not looked at")]
    fn metrics(has_journal: bool) -> Metrics {
        Metrics::new(Instant::now(), "1.2.3", Some("engine-4"), has_journal)
    }

    fn has(text: &str, lines: &[&str]) {
        for line in lines {
            assert!(text.lines().any(|there| there == *line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn what_happened_stands_in_the_text() {
        let metrics = metrics(true);
        let tally = Tally {
            delivered: 5,
            withdrawn: 1,
            retries: 2,
            backups: 3,
            iterations: 70,
            compute_ns: 1_500_000_000,
            ..Tally::default()
        };
        metrics.on_tally(&tally);
        metrics.on_refusal(RefusalCode::KeyConflict);
        metrics.on_tile(100);
        metrics.on_tile(20);
        metrics.on_strips_sent(7);
        let (job, lasted) = (JobId(1), Duration::from_millis(30));
        metrics.on_note(&Note::JobEnded { job, ending: Ending::Cancelled("why"), request_id: None, lasted });
        let jobs = JobsNow { waiting: 1, running: 2, paused: 3 };
        let journal = JournalStatus { jobs: 9, bytes: 10, bytes_max: 11, trouble: Some("full".to_owned()) };
        let census = Census { attached: jobs, workers: 4, worker_threads: 8, journal: Some(journal), ..Census::default() };
        metrics.on_census(&census);
        has(
            &metrics.render(),
            &[
                "# TYPE fractally_build info",
                "fractally_build_info{version=\"1.2.3\",engine=\"engine-4\"} 1",
                "# HELP fractally_jobs_ended Jobs that have ended.",
                "# TYPE fractally_jobs_ended counter",
                "fractally_jobs_ended_total{how=\"done\"} 0",
                "fractally_jobs_ended_total{how=\"cancelled\"} 1",
                "fractally_refusals_total{code=\"key_conflict\"} 1",
                "fractally_refusals_total{code=\"busy\"} 0",
                "fractally_bands_total{end=\"delivered\"} 5",
                "fractally_bands_total{end=\"withdrawn\"} 1",
                "fractally_bands_total{end=\"given_back\"} 0",
                "fractally_band_retries_total 2",
                "fractally_backup_attempts_total 3",
                "fractally_iterations_total 70",
                "# UNIT fractally_compute_seconds seconds",
                "fractally_compute_seconds_total 1.5",
                "fractally_tile_bytes_total 120",
                "fractally_strip_bytes_sent_total 7",
                "fractally_jobs{kind=\"attached\",state=\"adrift\"} 3",
                "fractally_jobs{kind=\"detached\",state=\"paused\"} 0",
                "fractally_workers 4",
                "fractally_worker_threads 8",
                "fractally_held_bytes 0",
                "fractally_journal_jobs 9",
                "fractally_journal_bytes 10",
                "fractally_journal_bytes_max 11",
                "fractally_journal_trouble 1",
                "fractally_job_seconds_count 1",
                "fractally_job_seconds_sum 0.03",
                "# EOF",
            ],
        );
    }

    #[test]
    fn a_duration_counts_in_the_buckets_that_reach_it() {
        let metrics = metrics(false);
        let band = Band { first: 0, strips: 1 };
        for took in [Duration::ZERO, Duration::from_millis(1), Duration::from_micros(1001), Duration::from_secs(3601)] {
            metrics.on_note(&Note::BandRendered {
                job: JobId(1),
                band,
                worker: WorkerId(1),
                attempt: AttemptId(1),
                request_id: None,
                took,
            });
        }
        let text = metrics.render();
        has(
            &text,
            &[
                "fractally_band_seconds_bucket{le=\"0.001\"} 2",
                "fractally_band_seconds_bucket{le=\"0.003\"} 3",
                "fractally_band_seconds_bucket{le=\"3600.0\"} 3",
                "fractally_band_seconds_bucket{le=\"+Inf\"} 4",
                "fractally_band_seconds_count 4",
            ],
        );
        assert!(!text.contains("fractally_journal"), "there is none");
    }
}
