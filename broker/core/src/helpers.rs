//! What idle workers take over from busy ones, when no job has anything left for them.
//!
//! Two things. A band that waits in another worker's queue is asked back: whoever holds it gives it up unless a thread has begun it,
//! and it is leased again. And the lowest band of a job, once it is late, is tried by a second worker as well: the first valid tile
//! wins, and the other try is withdrawn. Only the lowest band can stall a job, so only it is tried twice, and all such tries together
//! are at most one band or a tenth of the job's work.
//!
//! Cost: nothing while all are busy. An idle worker looks at the lowest [`LOOKS_MAX`] leased bands of each job.

use std::time::Duration;

use fractally_proto::{AttemptId, Band, Encoding, JobId, Message, Withdraw};

use crate::{
    Core, Effect, WorkerId,
    fleet::speed_after,
    job::{Holder, Job, Leased},
    schedule::To,
    timers::Timer,
};

/// Leased bands of a job that are looked at.
const LOOKS_MAX: usize = 32;
/// A waiting band whose holder needs less for it is left where it is: asking costs a round trip.
const RECALL_MIN: Duration = Duration::from_millis(2);
/// A band is late after so many times what it should take, and [`LATE_MIN`] more.
const LATE_AFTER: f64 = 1.5;
const LATE_MIN: Duration = Duration::from_millis(5);
/// The same where nothing tells what it should take.
const LATE_UNKNOWN: Duration = Duration::from_millis(250);

/// What an idle worker can do about one job.
enum Help {
    Recall(Holder),
    BackUp(WorkerId, Band),
    /// Nothing before then.
    Later(Duration),
}

impl Core {
    /// Some workers have credit and no job has a band to cut: they take over what others are late with.
    pub(crate) fn help(&mut self, now: Duration, out: &mut Vec<Effect>) {
        let jobs: Vec<JobId> = self.jobs.iter().filter(|(_, job)| !job.leased.is_empty()).map(|(&id, _)| id).collect();
        for id in jobs {
            while let Some(help) = self.find_help(now, id) {
                match help {
                    Help::Recall(holder) => self.recall(holder, out),
                    Help::BackUp(worker, band) => self.back_up(now, id, worker, band, out),
                    Help::Later(at) => {
                        self.timers.arm(Timer::Late, at);
                        break;
                    }
                }
            }
        }
    }

    fn find_help(&self, now: Duration, id: JobId) -> Option<Help> {
        let job = self.jobs.get(&id)?;
        let engine = job.engine.as_deref()?;
        let idle = |but: &dyn Fn(WorkerId) -> bool| self.idle_worker(engine, job.request.encoding, but);
        // Without anybody idle there is no need to look at bands.
        idle(&|_| true)?;
        let recall = job.leased.values().take(LOOKS_MAX).find_map(|leased| {
            let holder = self.waiting_holder(job, leased)?;
            idle(&|worker| worker != holder.worker && !leased.work.failed_on.contains(&worker))?;
            Some(Help::Recall(holder))
        });
        if recall.is_some() {
            return recall;
        }
        let head = job.leased.values().next()?;
        let [holder] = head.holders[..] else { return None };
        let worker = idle(&|worker| worker != holder.worker && !head.work.failed_on.contains(&worker))?;
        let late_at = self.late_at(job, head.work.band, holder)?;
        if now < late_at {
            return Some(Help::Later(late_at));
        }
        job.may_back_up(head.work.band).then_some(Help::BackUp(worker, head.work.band))
    }

    /// A worker with a thread that has nothing to do.
    fn idle_worker(&self, engine: &str, encoding: Encoding, may: &dyn Fn(WorkerId) -> bool) -> Option<WorkerId> {
        let worker = self.fleet.idlest(engine, encoding, may)?;
        self.workers.get(&worker).filter(|idlest| idlest.is_idle()).map(|_| worker)
    }

    /// Who holds a band that nobody has begun, where it is worth to be asked back.
    fn waiting_holder(&self, job: &Job, leased: &Leased) -> Option<Holder> {
        let [holder] = leased.holders[..] else { return None };
        let worker = self.workers.get(&holder.worker)?;
        let held = worker.leases.get(&holder.attempt)?;
        let waits = held.begun.is_none() && held.progress == 0 && !held.recalled && !held.is_mirror();
        (waits && self.takes(job, leased.work.band, holder.worker)? >= RECALL_MIN).then_some(holder)
    }

    /// How long a worker should need for a band.
    fn takes(&self, job: &Job, band: Band, worker: WorkerId) -> Option<Duration> {
        let worker = self.workers.get(&worker)?;
        let engine = job.engine.as_deref()?;
        let speed = worker.speed.unwrap_or_else(|| self.fleet.crew(engine, job.request.encoding).speed_mean);
        let us = job.cost.cost(job.layout.rows_of_band(band)) / speed.max(1) as f64;
        Some(Duration::from_micros(crate::whole(us)))
    }

    /// When the band should have been there for a while.
    fn late_at(&self, job: &Job, band: Band, holder: Holder) -> Option<Duration> {
        let worker = self.workers.get(&holder.worker)?;
        // One that waits is late with its worker's next answer, or will be asked back.
        let begun = worker.leases.get(&holder.attempt)?.begun.unwrap_or(worker.moved);
        let patience = match self.takes(job, band, holder.worker)? {
            takes if job.cost_is_known() => takes.mul_f64(LATE_AFTER).saturating_add(LATE_MIN),
            takes => takes.mul_f64(LATE_AFTER).max(LATE_UNKNOWN),
        };
        Some(begun.saturating_add(patience))
    }

    pub(crate) fn recall(&mut self, Holder { worker, attempt }: Holder, out: &mut Vec<Effect>) {
        if let Some(held) = self.workers.get_mut(&worker).and_then(|worker| worker.leases.get_mut(&attempt)) {
            held.recalled = true;
            out.push(Effect::ToWorker(worker, Message::Withdraw(Withdraw { attempt, if_waiting: true })));
        }
    }

    fn back_up(&mut self, now: Duration, id: JobId, worker: WorkerId, band: Band, out: &mut Vec<Effect>) {
        let attempt = self.next_attempt();
        let Some(class) = self.change(id, |job| {
            job.back_up(band, Holder { worker, attempt });
            job.priority
        }) else {
            return;
        };
        self.hold(now, To { worker, class }, id, (attempt, band.into()), None, out);
    }

    /// Another was sooner with a band of so many units: so this worker is not as fast as it was thought to be.
    pub(crate) fn outrun(&mut self, now: Duration, id: WorkerId, attempt: AttemptId, units: f64) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let Some(begun) = worker.leases.get(&attempt).and_then(|held| held.begun) else { return };
        let ns = u64::try_from(now.saturating_sub(begun).as_nanos()).unwrap_or(u64::MAX);
        if let (Some(old), Some(speed)) = (worker.speed, speed_after(worker.speed, units, ns))
            && speed < old
        {
            self.fleet.set_speed(worker.kind, worker.speed, speed);
            worker.speed = Some(speed);
        }
    }
}
