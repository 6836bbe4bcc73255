//! What is told: PROGRESS to a job's client, and the whole state to whoever asks.

use std::time::Duration;

use fractally_proto::{BrokerStatus, JobId, JobStatus, Message, Progress, Status, Totals, WorkerStatus};

use crate::{ClientId, Core, Effect, Tally, WorkerId, fleet::Crew, job::Job, millis, timers::Timer, workers::Worker};

impl Core {
    /// Something about a job changed that its client wants to know.
    pub(crate) fn touch(&mut self, now: Duration, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let has_listener = if job.is_kept() { self.kept.has_reader(id) } else { job.client().is_some() };
        if !has_listener || std::mem::replace(&mut job.pace.changed, true) {
            return;
        }
        let due = job.pace.told.map_or(now, |(at, _)| at.saturating_add(self.config.progress_every).max(now));
        self.timers.arm(Timer::Job(id), due);
    }

    /// The number of workers changed.
    pub(crate) fn touch_all(&mut self, now: Duration) {
        let jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        jobs.into_iter().for_each(|job| self.touch(now, job));
    }

    /// Tells the client of a job how far it is, unless it knows.
    pub(crate) fn tell_progress(&mut self, now: Duration, id: JobId, out: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get(&id) else { return };
        let due = job.pace.told.map_or(now, |(at, _)| at.saturating_add(self.config.progress_every));
        if now < due && job.pace.changed {
            return self.timers.arm(Timer::Job(id), due);
        }
        let listeners: Vec<ClientId> =
            if job.is_kept() { self.kept.readers_of(id).collect() } else { job.client().into_iter().collect() };
        if !job.pace.changed {
            return;
        }
        let progress = self.progress(id, job);
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.pace.changed = false;
        let is_news = std::mem::take(&mut job.pace.is_followed_anew);
        if is_news || job.pace.told.is_none_or(|(_, told)| told != progress) {
            job.pace.told = Some((now, progress));
            out.extend(listeners.into_iter().map(|client| Effect::ToClient(client, Message::Progress(progress))));
        }
    }

    fn progress(&self, id: JobId, job: &Job) -> Progress {
        let crew = self.crew_of(job);
        Progress {
            job: id,
            rows: job.rows_rendered,
            workers: job.workers(),
            workers_all: crew.workers,
            eta_ms: eta_ms(job, crew),
        }
    }

    /// Everybody who can work for a job.
    pub(crate) fn crew_of(&self, job: &Job) -> Crew {
        let encoding = job.request.encoding;
        let engine = job.engine.as_deref().or_else(|| self.preferred_engine(encoding));
        engine.map_or_else(Crew::default, |engine| self.fleet.crew(engine, encoding))
    }

    pub(crate) fn eta_ms(&self, job: &Job) -> Option<u64> {
        eta_ms(job, self.crew_of(job))
    }

    pub(crate) fn report(&self, now: Duration) -> Status {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Status {
            broker: BrokerStatus {
                agent: self.config.agent.clone(),
                uptime_ms: millis(now),
                clients: count(self.clients.len()),
                jobs_done: self.jobs_done,
                jobs_lost: self.jobs_lost,
                held_bytes: self.jobs.values().map(Job::held).sum(),
                epoch: Some(self.config.epoch),
                totals: Some(totals(&self.tally)),
                faults: self.faults.report(now),
                journal: self.journal_status(),
            },
            workers: self.workers.iter().map(|(&id, worker)| worker_status(now, id, worker)).collect(),
            jobs: self
                .jobs
                .iter()
                .map(|(&id, job)| job_status(now, id, job, self.crew_of(job), job.client().is_some() || self.kept.has_reader(id)))
                .collect(),
        }
    }
}

/// Milliseconds for what is not rendered, if the job had all workers to itself; nothing while nothing is measured.
fn eta_ms(job: &Job, crew: Crew) -> Option<u64> {
    if !job.cost_is_known() || crew.threads == 0 {
        return None;
    }
    let units_per_ms = crew.speed_mean as f64 * 1000.0 * crew.threads as f64;
    Some(crate::whole(job.cost_left(true) / units_per_ms.max(1.0)))
}

fn totals(tally: &Tally) -> Totals {
    Totals {
        leased: tally.leased,
        retries: tally.retries,
        backups: tally.backups,
        delivered: tally.delivered,
        withdrawn: tally.withdrawn,
        given_back: tally.given_back,
        failed: tally.failed,
        iterations: tally.iterations,
        tile_bytes: tally.tile_bytes,
        workers_lost: tally.workers_lost,
        jobs_failed: tally.jobs_failed,
        refused: tally.refused,
    }
}

fn worker_status(now: Duration, id: WorkerId, worker: &Worker) -> WorkerStatus {
    WorkerStatus {
        worker: id.0,
        name: worker.about.name.clone(),
        kernel: worker.about.kernel.clone(),
        engine: worker.about.engine.clone(),
        threads: worker.about.threads,
        leases: u32::try_from(worker.leases.len()).unwrap_or(u32::MAX),
        bands_done: worker.bands_done,
        bands_failed: worker.bands_failed,
        iterations: worker.iterations,
        iterations_per_s: worker.iterations_per_s,
        connected_ms: millis(now.saturating_sub(worker.joined)),
        silent_ms: millis(now.saturating_sub(worker.heard)),
        busy_ms: Some(millis(worker.busy.until(now))),
        benched_ms: worker.conduct.benched_until.map(|until| millis(until.saturating_sub(now))),
    }
}

fn job_status(now: Duration, id: JobId, job: &Job, crew: Crew, attached: bool) -> JobStatus {
    JobStatus {
        job: id,
        priority: job.priority,
        account: job.account.clone(),
        attached,
        detached: job.is_kept(),
        width: job.request.window.w,
        height: job.request.window.h,
        rows_done: job.layout.rows_before(job.acked),
        leases: u32::try_from(job.leased.len()).unwrap_or(u32::MAX),
        attempts: job.totals.attempts,
        held_bytes: job.held(),
        workers: job.workers(),
        iterations: job.totals.iterations,
        age_ms: millis(now.saturating_sub(job.accepted_at)),
        eta_ms: eta_ms(job, crew),
    }
}
