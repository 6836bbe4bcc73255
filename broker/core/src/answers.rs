//! What workers send back: tiles, samples, bands undone. And blame: a band that failed three times fails its job, and no other.
//!
//! An answer to an attempt that is over gives its credit back and is otherwise forgotten: that is the fence. An answer to an attempt
//! that the worker does not hold, or of the wrong sort, costs it the connection.

use std::time::Duration;

use fractally_proto::{AttemptId, Band, BandFailed, BandFailure, JobId, RowSample, Samples, StripMeta, Tile, TryEnd};

use crate::{
    Core, Effect, Ending, Note, PayloadId, Why, WorkerId,
    faults::clipped,
    fleet::speed_after,
    job::{Holder, Work, bytes_of},
    shares::Spent,
    workers::{Held, What},
};

/// One try at a band.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Try {
    pub(crate) job: JobId,
    pub(crate) band: Band,
    pub(crate) worker: WorkerId,
    pub(crate) attempt: AttemptId,
}

/// Failures of one band that fail its job.
pub(crate) const FAILURES_MAX: usize = 3;

impl Core {
    pub(crate) fn on_tile(&mut self, now: Duration, from: WorkerId, tile: Tile, held: (PayloadId, u64), out: &mut Vec<Effect>) {
        let (payload, bytes) = held;
        let Some(lease) = self.answer(now, from, tile.attempt) else {
            out.push(Effect::Release(payload));
            return self.expel_worker(now, from, "a TILE for an attempt that it does not hold", out);
        };
        if lease.fenced && !sabotage!(FenceOff) {
            return out.push(Effect::Release(payload));
        }
        let What::Band(band) = lease.what else {
            out.push(Effect::Release(payload));
            self.probe_over(lease.job);
            return self.expel_worker(now, from, "a TILE for a probe", out);
        };
        let tried = Try { job: lease.job, band, worker: from, attempt: tile.attempt };
        match self.check_tile(tried, &tile.strips, bytes) {
            Ok(()) => self.accept_tile(now, tried, lease.is_mirror(), (tile, payload), out),
            Err(wrong) => {
                out.push(Effect::Release(payload));
                self.give_back(now, tried, Why::WrongTile(wrong.clone()), true, out);
                self.expel_worker(now, from, &wrong, out);
            }
        }
    }

    /// Takes the lease off its worker, whose threads get on.
    fn answer(&mut self, now: Duration, from: WorkerId, attempt: AttemptId) -> Option<Held> {
        let held = self.relieve(from, attempt)?;
        if let Some(worker) = self.workers.get_mut(&from) {
            worker.moved = now;
            worker.mark_begun(now);
        }
        Some(held)
    }

    fn check_tile(&self, Try { job, band, .. }: Try, strips: &[StripMeta], bytes: u64) -> Result<(), String> {
        let Some(job) = self.jobs.get(&job) else { return Ok(()) };
        if sabotage!(TileNotChecked) {
            return Ok(());
        }
        if strips.len() != band.strips as usize {
            return Err(format!("a TILE of {} strips for a band of {}", strips.len(), band.strips));
        }
        for (strip, meta) in band.range().zip(strips) {
            let (len, max) = (u64::from(meta.encoded_len()), job.layout.encoded_len_max(strip));
            if len == 0 || len > max {
                return Err(format!("a TILE with {len} bytes for strip {strip}, which takes from 1 to {max}"));
            }
        }
        if bytes_of(strips) != bytes {
            return Err(format!("a TILE of {bytes} bytes whose strips have {}", bytes_of(strips)));
        }
        Ok(())
    }

    fn accept_tile(
        &mut self,
        now: Duration,
        Try { job: id, band, worker: from, .. }: Try,
        is_mirror: bool,
        (tile, payload): (Tile, PayloadId),
        out: &mut Vec<Effect>,
    ) {
        let Some(job) = self.jobs.get(&id) else {
            out.push(Effect::Release(payload));
            return;
        };
        let rows = job.layout.rows_of_band(band);
        let pixels = u64::from(rows.end - rows.start) * u64::from(job.request.window.w);
        let iterations = job.cost.credible(pixels, tile.iterations);
        let executed = tile.executed.unwrap_or(iterations).min(iterations);
        let units = job.cost.cost_of_tile(pixels, executed);
        self.count_tile(from, iterations);
        self.tally.iterations = self.tally.iterations.saturating_add(iterations);
        self.tally.compute_ns = self.tally.compute_ns.saturating_add(tile.compute_ns);
        self.tally.tile_bytes = self.tally.tile_bytes.saturating_add(bytes_of(&tile.strips));
        // A mirror tells nothing of the rows beside it, nor how fast its worker iterates.
        if !is_mirror {
            self.learn_speed(from, units, iterations, tile.compute_ns);
        }
        self.settle(now, id, tile.attempt, Spent::Computed(tile.compute_ns));
        let took = self.tell_try(now, id, tile.attempt, band, TryEnd::Delivered, String::new());
        let request_id = self.request_id(id);
        out.push(Effect::Note(Note::BandRendered { job: id, band, worker: from, attempt: tile.attempt, took, request_id }));
        let also = self.change(id, |job| {
            if !is_mirror {
                job.cost.learn_from_tile(pixels, executed);
            }
            job.totals.iterations = job.totals.iterations.saturating_add(iterations);
            job.totals.compute_ns = job.totals.compute_ns.saturating_add(tile.compute_ns);
            job.totals.bands += 1;
            job.totals.workers.insert(from);
            job.arrive(band.first, tile.attempt, payload, tile.strips)
        });
        for Holder { worker, attempt } in also.into_iter().flatten() {
            // Whoever has only to copy a band is sooner than anybody.
            if !is_mirror {
                self.outrun(now, worker, attempt, units);
            }
            self.settle(now, id, attempt, Spent::InVain);
            self.tell_try(now, id, attempt, band, TryEnd::Withdrawn, "another try was sooner".to_owned());
            if !sabotage!(LoserNotWithdrawn) {
                self.withdraw(worker, attempt, out);
            }
        }
        self.deliver(id, out);
        self.touch(now, id);
    }

    fn count_tile(&mut self, from: WorkerId, iterations: u64) {
        if let Some(worker) = self.workers.get_mut(&from) {
            worker.bands_done += 1;
            worker.conduct.deliver();
            worker.rank(from, &mut self.fleet);
            worker.iterations = worker.iterations.saturating_add(iterations);
        }
    }

    fn learn_speed(&mut self, from: WorkerId, units: f64, iterations: u64, compute_ns: u64) {
        let Some(worker) = self.workers.get_mut(&from) else { return };
        let speed = speed_after(worker.speed, units, compute_ns);
        if let Some(speed) = speed {
            self.fleet.set_speed(worker.kind, worker.speed, speed);
        }
        worker.speed = speed;
        if compute_ns > 0 {
            let seen = iterations as f64 * 1e9 / compute_ns as f64;
            worker.iterations_per_s = Some(worker.iterations_per_s.map_or(seen, |old| (3.0 * old + seen) / 4.0));
        }
    }

    pub(crate) fn on_samples(
        &mut self,
        now: Duration,
        from: WorkerId,
        samples: Samples,
        rows: Vec<RowSample>,
        out: &mut Vec<Effect>,
    ) {
        match self.answer(now, from, samples.attempt) {
            None => self.expel_worker(now, from, "SAMPLES for an attempt that it does not hold", out),
            Some(held) if held.fenced => {}
            Some(Held { what: What::Probe, job, .. }) => {
                self.settle_probe(job, samples.compute_ns);
                self.change(job, |job| job.cost.learn_from_probe(rows));
                self.probe_over(job);
                self.touch(now, job);
            }
            Some(Held { what: What::Band(band), job, .. }) => {
                let wrong = "SAMPLES for a band";
                let tried = Try { job, band, worker: from, attempt: samples.attempt };
                self.give_back(now, tried, Why::WrongTile(wrong.to_owned()), true, out);
                self.expel_worker(now, from, wrong, out);
            }
        }
    }

    pub(crate) fn on_band_failed(&mut self, now: Duration, from: WorkerId, failed: BandFailed, out: &mut Vec<Effect>) {
        let attempt = failed.attempt;
        if sabotage!(CreditLeakedAtWithdraw) && failed.failure == BandFailure::Withdrawn {
            return;
        }
        let Some(held) = self.answer(now, from, attempt) else {
            return self.expel_worker(now, from, "BAND_FAILED for an attempt that it does not hold", out);
        };
        if held.fenced {
            return;
        }
        let What::Band(band) = held.what else { return self.probe_over(held.job) };
        let reason = clipped(&failed.reason);
        let (why, blamed) = match failed.failure {
            BandFailure::Crashed => (Why::Crashed(reason), true),
            BandFailure::Declined => (Why::Declined(reason), true),
            BandFailure::Withdrawn => (Why::GivenBack, false),
        };
        self.give_back(now, Try { job: held.job, band, worker: from, attempt }, why, blamed, out);
    }

    /// Offers a band again, unless it has failed too often.
    pub(crate) fn give_back(&mut self, now: Duration, tried: Try, why: Why, blamed: bool, out: &mut Vec<Effect>) {
        let Try { job: id, band, worker, attempt } = tried;
        let blamed = blamed && !sabotage!(BlameForgotten);
        if blamed {
            self.count_failure(now, worker, id, band, out);
        }
        let (end, spent) = if blamed { (TryEnd::Failed, Spent::InVain) } else { (TryEnd::GivenBack, Spent::Undone) };
        self.settle(now, id, attempt, spent);
        let told = if why == Why::GivenBack { String::new() } else { why.to_string() };
        self.tell_try(now, id, attempt, band, end, told);
        let work = self.change(id, |job| {
            let work = job.give_back(band.first, attempt, blamed.then_some(worker)).cloned();
            job.unpin_if_untouched();
            work
        });
        // While somebody else tries it, nothing is lost yet.
        let failed = work.flatten().filter(|work| work.failed_on.len() >= FAILURES_MAX);
        let reason = failed.map(|work| self.story_of_failure(id, &work, &why));
        let request_id = self.request_id(id);
        out.push(Effect::Note(Note::BandRequeued { job: id, band, worker, attempt, why, blamed, request_id }));
        match reason {
            Some(reason) => self.end_job(now, id, Ending::Failed(reason), out),
            None => self.touch(now, id),
        }
    }

    fn story_of_failure(&self, id: JobId, work: &Work, why: &Why) -> String {
        let rows = self.jobs.get(&id).map(|job| job.layout.rows_of_band(work.band)).unwrap_or_default();
        let workers: Vec<_> = work.failed_on.iter().map(ToString::to_string).collect();
        let (last, times) = (rows.end.saturating_sub(1), work.failed_on.len());
        format!("rows {} to {last} failed {times} times, on workers {}; the last: {why}", rows.start, workers.join(", "))
    }
}
