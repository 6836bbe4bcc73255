//! The workers as the scheduler sees them: grouped by what they can render, those with credit ordered by load, and how fast they are.
//!
//! Hundreds of workers usually make one group, so that a question about all of them costs one look. Speeds are whole numbers, so that
//! sums stay exact however often workers come and go.

use std::collections::{BTreeMap, BTreeSet};

use fractally_proto::{Encoding, NO_OP_ENGINE};

use crate::WorkerId;

/// Leases per thread, as a fraction of 2^-20.
pub(crate) type Load = u64;

/// Speed in units of work per microsecond and thread, within [`SPEED_MIN`] and [`SPEED_MAX`].
pub(crate) type Speed = u64;

/// Speed of a worker of which nothing is known, where nothing is known of any other.
pub(crate) const SPEED_DEFAULT: Speed = 1_000;
const SPEED_MIN: Speed = 10;
const SPEED_MAX: Speed = 1_000_000;

/// Which group a worker belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KindId(u32);

/// What a worker can render.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Skill {
    pub(crate) engine: String,
    pub(crate) png: bool,
    pub(crate) counts: bool,
}

impl Skill {
    pub(crate) fn of(engine: String, encodings: &[Encoding]) -> Self {
        Self { engine, png: encodings.contains(&Encoding::Png), counts: encodings.contains(&Encoding::Counts) }
    }

    fn encodes(&self, encoding: Encoding) -> bool {
        match encoding {
            Encoding::Png => self.png,
            Encoding::Counts => self.counts,
        }
    }
}

/// Workers of one skill.
#[derive(Debug)]
struct Kind {
    skill: Skill,
    workers: u32,
    threads: u64,
    /// Those with credit, the least loaded first.
    ready: BTreeSet<(Load, WorkerId)>,
    speeds: u64,
    speeds_known: u64,
}

/// All workers that can work for one job, in sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Crew {
    pub(crate) workers: u32,
    pub(crate) threads: u64,
    pub(crate) speed_mean: Speed,
}

/// All workers.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    kinds: BTreeMap<KindId, Kind>,
    kinds_ever: u32,
    ready: usize,
}

impl Fleet {
    /// One more worker of that skill; it has no credit yet.
    pub(crate) fn join(&mut self, skill: Skill, threads: u32) -> KindId {
        let known = self.kinds.iter().find(|(_, kind)| kind.skill == skill).map(|(&id, _)| id);
        let id = known.unwrap_or_else(|| {
            self.kinds_ever = self.kinds_ever.wrapping_add(1);
            KindId(self.kinds_ever)
        });
        let empty = || Kind { skill, workers: 0, threads: 0, ready: BTreeSet::new(), speeds: 0, speeds_known: 0 };
        let kind = self.kinds.entry(id).or_insert_with(empty);
        kind.workers += 1;
        kind.threads += u64::from(threads);
        id
    }

    /// A worker is gone, which has no credit any more.
    pub(crate) fn leave(&mut self, id: KindId, threads: u32, speed: Option<Speed>) {
        let Some(kind) = self.kinds.get_mut(&id) else { return };
        kind.workers -= 1;
        kind.threads -= u64::from(threads);
        if let Some(speed) = speed {
            kind.speeds -= speed;
            kind.speeds_known -= 1;
        }
        if kind.workers == 0 {
            self.kinds.remove(&id);
        }
    }

    /// Moves a worker among those with credit; `None` is none.
    pub(crate) fn set_load(&mut self, id: KindId, worker: WorkerId, old: Option<Load>, new: Option<Load>) {
        let Some(kind) = self.kinds.get_mut(&id) else { return };
        if let Some(old) = old {
            kind.ready.remove(&(old, worker));
            self.ready -= 1;
        }
        if let Some(new) = new {
            kind.ready.insert((new, worker));
            self.ready += 1;
        }
    }

    /// Counts a worker's latest speed in place of an older one.
    pub(crate) fn set_speed(&mut self, id: KindId, old: Option<Speed>, new: Speed) {
        let Some(kind) = self.kinds.get_mut(&id) else { return };
        match old {
            Some(old) => kind.speeds -= old,
            None => kind.speeds_known += 1,
        }
        kind.speeds += new;
    }

    /// Threads of all workers.
    pub(crate) fn threads(&self) -> u64 {
        self.kinds.values().map(|kind| kind.threads).sum()
    }

    pub(crate) fn nobody_is_ready(&self) -> bool {
        self.ready == 0
    }

    pub(crate) fn engine(&self, id: KindId) -> &str {
        self.kinds.get(&id).map_or("", |kind| &kind.skill.engine)
    }

    /// The engine for a new job: our own where a worker of it encodes so; else the one with the most threads, and of several with as many
    /// the one that came first. What a worker says of its threads is its word, so a stranger's never counts beside our own. Workers that
    /// compute nothing are taken where they are our own only.
    pub(crate) fn preferred_engine(&self, encoding: Encoding, own: Option<&str>) -> Option<&str> {
        let of_ours = |kind: &&Kind| Some(kind.skill.engine.as_str()) == own && kind.skill.encodes(encoding);
        if let Some(kind) = self.kinds.values().find(of_ours) {
            return Some(&kind.skill.engine);
        }
        let able = || self.kinds.values().filter(|kind| kind.skill.encodes(encoding) && kind.skill.engine != NO_OP_ENGINE);
        // One pass over the groups: hostile workers can make as many as they are.
        let mut threads = BTreeMap::<&str, u64>::new();
        for kind in able() {
            *threads.entry(&kind.skill.engine).or_default() += kind.threads;
        }
        let most = threads.values().max()?;
        able().map(|kind| kind.skill.engine.as_str()).find(|engine| threads.get(engine) == Some(most))
    }

    /// All that run this engine and encode so.
    pub(crate) fn crew(&self, engine: &str, encoding: Encoding) -> Crew {
        let (mut workers, mut threads, mut speeds, mut known) = (0, 0, 0, 0);
        for kind in self.able(engine, encoding) {
            workers += kind.workers;
            threads += kind.threads;
            speeds += kind.speeds;
            known += kind.speeds_known;
        }
        Crew { workers, threads, speed_mean: speeds.checked_div(known).unwrap_or(SPEED_DEFAULT) }
    }

    /// The least loaded worker with credit that `may` take it.
    pub(crate) fn idlest(&self, engine: &str, encoding: Encoding, may: impl Fn(WorkerId) -> bool) -> Option<WorkerId> {
        let firsts = self.able(engine, encoding).filter_map(|kind| kind.ready.iter().find(|(_, worker)| may(*worker)));
        firsts.min().map(|&(_, worker)| worker)
    }

    /// Whether a group runs this engine and encodes so.
    pub(crate) fn is_able(&self, id: KindId, engine: &str, encoding: Encoding) -> bool {
        self.kinds.get(&id).is_some_and(|kind| kind.skill.engine == engine && kind.skill.encodes(encoding))
    }

    fn able(&self, engine: &str, encoding: Encoding) -> impl Iterator<Item = &Kind> {
        self.kinds.values().filter(move |kind| kind.skill.engine == engine && kind.skill.encodes(encoding))
    }

    /// What the workers themselves say must be what is counted here.
    pub(crate) fn check(&self, workers: impl Iterator<Item = Standing>) {
        let mut counted = BTreeMap::<KindId, (u32, u64, u64, u64, BTreeSet<(Load, WorkerId)>)>::new();
        for standing in workers {
            let (workers, threads, speeds, known, ready) = counted.entry(standing.kind).or_default();
            *workers += 1;
            *threads += u64::from(standing.threads);
            *speeds += standing.speed.unwrap_or(0);
            *known += u64::from(standing.speed.is_some());
            ready.extend(standing.load.map(|load| (load, standing.worker)));
        }
        let ready: usize = counted.values().map(|(.., ready)| ready.len()).sum();
        assert_eq!(self.ready, ready, "workers with credit");
        assert!(self.kinds.keys().eq(counted.keys()), "groups of workers");
        for (id, kind) in &self.kinds {
            let (workers, threads, speeds, known, ready) = &counted[id];
            assert_eq!((kind.workers, kind.threads), (*workers, *threads), "workers and threads of {id:?}");
            assert_eq!((kind.speeds, kind.speeds_known), (*speeds, *known), "speeds of {id:?}");
            assert_eq!(&kind.ready, ready, "workers of {id:?} with credit");
        }
    }
}

/// One worker as it should be counted.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) worker: WorkerId,
    pub(crate) kind: KindId,
    pub(crate) threads: u32,
    pub(crate) load: Option<Load>,
    pub(crate) speed: Option<Speed>,
}

/// A speed after one more measurement; one that cannot be is passed over.
pub(crate) fn speed_after(old: Option<Speed>, units: f64, compute_ns: u64) -> Option<Speed> {
    if compute_ns == 0 {
        return old;
    }
    let seen = crate::whole(units * 1000.0 / compute_ns as f64).clamp(SPEED_MIN, SPEED_MAX);
    Some(old.map_or(seen, |old| (3 * old + seen) / 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_speed_is_clamped_or_passed_over() {
        assert_eq!(speed_after(None, 1e9, 0), None);
        assert_eq!(speed_after(Some(7_000), 1e9, 0), Some(7_000));
        assert_eq!(speed_after(None, 1e21, 1), Some(SPEED_MAX));
        assert_eq!(speed_after(None, 1.0, u64::MAX), Some(SPEED_MIN));
        assert_eq!(speed_after(Some(SPEED_MAX), 1e21, 1), Some(SPEED_MAX));
        assert_eq!(speed_after(Some(SPEED_MIN), 1.0, u64::MAX), Some(SPEED_MIN));
    }

    #[test]
    fn the_engine_with_the_most_threads_is_preferred() {
        let mut fleet = Fleet::default();
        assert_eq!(fleet.preferred_engine(Encoding::Png, None), None);
        fleet.join(Skill::of("a".to_owned(), &[Encoding::Png]), 4);
        fleet.join(Skill::of("b".to_owned(), &[Encoding::Png]), 3);
        fleet.join(Skill::of("b".to_owned(), &[Encoding::Png, Encoding::Counts]), 3);
        assert_eq!(fleet.preferred_engine(Encoding::Png, None), Some("b"));
        assert_eq!(fleet.preferred_engine(Encoding::Counts, None), Some("b"));
        assert_eq!(fleet.preferred_engine(Encoding::Png, Some("a")), Some("a"), "our own, however few");
        assert_eq!(fleet.preferred_engine(Encoding::Counts, Some("a")), Some("b"), "ours cannot do that here");
        assert_eq!(fleet.crew("b", Encoding::Counts), Crew { workers: 1, threads: 3, speed_mean: SPEED_DEFAULT });
    }

    #[test]
    fn the_least_loaded_worker_is_the_idlest() {
        let mut fleet = Fleet::default();
        let kind = fleet.join(Skill::of("a".to_owned(), &[Encoding::Png]), 1);
        fleet.join(Skill::of("a".to_owned(), &[Encoding::Png]), 1);
        fleet.set_load(kind, WorkerId(1), None, Some(5));
        fleet.set_load(kind, WorkerId(2), None, Some(4));
        assert_eq!(fleet.idlest("a", Encoding::Png, |_| true), Some(WorkerId(2)));
        assert_eq!(fleet.idlest("a", Encoding::Png, |worker| worker != WorkerId(2)), Some(WorkerId(1)));
        assert_eq!(fleet.idlest("a", Encoding::Counts, |_| true), None);
        assert_eq!(fleet.idlest("b", Encoding::Png, |_| true), None);
    }
}
