//! What busy workers give back for better jobs: bands of worse classes that wait in their queues, once nobody has credit.
//!
//! A job of a better class then waits for one running band at the most, and not for queued ones. As many are asked back as the jobs that
//! wait can use, each once, the worst class first, and from each worker one before a second from any. Whoever holds one gives it up unless
//! a thread has begun it, and nobody is blamed.
//!
//! Cost: nothing while no worse class has anything in a queue, which is known by class and kind of worker. Otherwise each worker that is
//! looked at gives back a band or is not looked at again before it is leased another; and at most [`LOOKS_MAX`] jobs are looked at.

use std::collections::{BTreeMap, BTreeSet};

use fractally_proto::{AttemptId, JobId, Priority};

use crate::{
    Core, Effect, WorkerId,
    fleet::KindId,
    job::{Holder, Job, Probe},
    workers::{Held, Worker},
};

/// Jobs that are looked at.
const LOOKS_MAX: usize = 16;

/// Bands that could be asked back, and those that were.
#[derive(Debug, Default)]
pub(crate) struct Way {
    /// Workers that may have bands of a class in their queues, by their kind.
    queued: BTreeMap<(Priority, KindId), BTreeSet<WorkerId>>,
    /// Asked back for a better job, and not answered.
    asked: BTreeSet<AttemptId>,
}

impl Way {
    /// A worker was leased something.
    pub(crate) fn note(&mut self, id: WorkerId, worker: &Worker, attempt: AttemptId) {
        let Some(held) = worker.leases.get(&attempt) else { return };
        if held.priority > Priority::Interactive && may_be_asked(held) {
            self.queued.entry((held.priority, worker.kind)).or_default().insert(id);
        }
    }

    /// A lease came back, in whichever way.
    pub(crate) fn answered(&mut self, attempt: AttemptId) {
        self.asked.remove(&attempt);
    }

    /// A worker is gone.
    pub(crate) fn lose(&mut self, id: WorkerId, worker: &Worker) {
        worker.leases.keys().for_each(|attempt| self.answered(*attempt));
        for class in [Priority::Normal, Priority::Batch] {
            self.strike(class, worker.kind, id);
        }
    }

    /// A worker has nothing more of a class that could be asked back.
    fn strike(&mut self, class: Priority, kind: KindId, worker: WorkerId) {
        if let Some(workers) = self.queued.get_mut(&(class, kind)) {
            workers.remove(&worker);
            if workers.is_empty() {
                self.queued.remove(&(class, kind));
            }
        }
    }
}

/// Whether nobody has begun it, and nobody has asked for it. A mirror comes back with its band.
fn may_be_asked(held: &Held) -> bool {
    held.begun.is_none() && held.progress == 0 && !held.fenced && !held.is_mirror() && (!held.recalled || sabotage!(AskedTwice))
}

impl Core {
    /// Nobody who could take them has credit for the jobs that want workers: what waits for worse ones is asked back.
    pub(crate) fn make_way(&mut self, out: &mut Vec<Effect>) {
        let Some(worst) = self.way.queued.keys().next_back().map(|(class, _)| *class) else { return };
        let better = [Priority::Interactive, Priority::Normal].into_iter().filter(|class| *class < worst);
        let waiting: Vec<JobId> = better.flat_map(|class| self.shares.jobs(class)).take(LOOKS_MAX).collect();
        let mut asked = self.way.asked.len();
        for id in waiting {
            let usable = self.usable(id);
            let need = usable.saturating_sub(asked);
            asked = asked.saturating_sub(usable);
            self.ask_back(id, need, out);
        }
    }

    /// Leases that a job could use now, at the most.
    fn usable(&self, id: JobId) -> usize {
        let Some(job) = self.jobs.get(&id) else { return 0 };
        let probe = usize::from(matches!(job.probe, Probe::Due(_)));
        let strips = job.uncut.end.saturating_sub(job.uncut.start) as usize + job.waiting.len();
        let room = job.room().min(self.config.held_bytes_max.saturating_sub(self.reserved));
        let fit = usize::try_from(room / Job::strip_bytes_max(&job.layout).max(1)).unwrap_or(usize::MAX);
        let next = job.waiting.keys().next().copied().unwrap_or(job.uncut.start);
        strips.min(fit.max(usize::from(job.is_head(next)))) + probe
    }

    fn ask_back(&mut self, id: JobId, mut need: usize, out: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get(&id) else { return };
        let encoding = job.request.encoding;
        let Some(engine) = job.engine.as_deref().or_else(|| self.preferred_engine(encoding)) else { return };
        let queues = self.way.queued.keys().rev().take_while(|(class, _)| *class > job.priority);
        let queues: Vec<_> = queues.filter(|(_, kind)| self.fleet.is_able(*kind, engine, encoding)).copied().collect();
        for (class, kind) in queues {
            while need > 0 && self.way.queued.contains_key(&(class, kind)) {
                let workers = self.way.queued.get(&(class, kind)).into_iter().flatten().take(need);
                for worker in workers.copied().collect::<Vec<_>>() {
                    need -= usize::from(self.ask_one_back(worker, class, kind, out));
                }
            }
        }
    }

    /// Asks a worker for the band that it would come to last. Says whether there was one.
    fn ask_one_back(&mut self, id: WorkerId, class: Priority, kind: KindId, out: &mut Vec<Effect>) -> bool {
        let of_class = |held: &Held| held.priority == class && may_be_asked(held);
        let leases = self.workers.get(&id).map(|worker| &worker.leases);
        let last = leases.and_then(|leases| leases.iter().rfind(|(_, held)| of_class(held)).map(|(&attempt, _)| attempt));
        let Some(band) = last else {
            self.way.strike(class, kind, id);
            return false;
        };
        let mirror = leases.into_iter().flatten().find(|(_, held)| held.mirror_of == Some(band)).map(|(&attempt, _)| attempt);
        self.way.asked.insert(band);
        for attempt in [Some(band), mirror].into_iter().flatten() {
            self.recall(Holder { worker: id, attempt }, out);
        }
        true
    }

    pub(crate) fn check_way(&self) {
        let mut asked = self.way.asked.clone();
        for (&id, worker) in &self.workers {
            for (attempt, held) in &worker.leases {
                assert!(!asked.remove(attempt) || held.recalled, "attempt {attempt} was asked back, and does not know");
                let listed = self.way.queued.get(&(held.priority, worker.kind)).is_some_and(|workers| workers.contains(&id));
                let missed = held.priority > Priority::Interactive && may_be_asked(held) && !listed;
                assert!(!missed, "attempt {attempt} waits at worker {id}, and cannot be asked back");
            }
        }
        assert!(asked.is_empty(), "asked back from nobody: {asked:?}");
        let kinds = |((_, kind), workers): (&(Priority, KindId), &BTreeSet<WorkerId>)| {
            !workers.is_empty() && workers.iter().all(|id| self.workers.get(id).is_some_and(|worker| worker.kind == *kind))
        };
        assert!(self.way.queued.iter().all(kinds), "queues of nobody: {:?}", self.way.queued);
    }
}
