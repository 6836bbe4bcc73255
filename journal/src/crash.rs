//! Brokers that crash at every step, on disks that fail: what a journal has promised is there afterwards, and nothing that is read was never
//! written.
//!
//! `FRACTALLY_SEED` replays one seed, `FRACTALLY_JOURNAL_CRASHES` sets how many are tried (1,000).

#![allow(clippy::cast_possible_truncation, reason = "a test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    thread,
};

use fractally_proto::{Encoding, JobId, JobKey, Priority, Request, Size, StripMeta, Window};

use crate::{
    EndRecord, JobRecord, Journal, KeptEnding, ReadError, Totals, open,
    sim::{FOLDER, Rng, SimDisk},
};

const STRIPS: u32 = 40;
const JOBS: u64 = 4;
const ENGINES: [&str; 2] = ["fractally-2", "another"];

/// What the test knows of a job.
#[derive(Clone, Debug)]
struct Known {
    /// Whether `keep` has returned.
    is_kept: bool,
    /// Whether `remove` was called: the job may be there or not.
    is_leaving: bool,
    /// Every content that was ever given for a strip, the last one at the end.
    given: Vec<Vec<(StripMeta, Vec<u8>)>>,
    /// Strips that were reported as stored.
    have: u32,
    appended: u32,
    engine: &'static str,
    end: Option<EndRecord>,
    /// An `end` or a `cut` failed: the end may be there or not.
    end_is_open: bool,
}

struct Test {
    seed: u64,
    rng: Rng,
    disk: SimDisk,
    known: BTreeMap<JobId, Known>,
    next_job: u64,
}

impl Drop for Test {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("FRACTALLY_SEED={} replays it", self.seed);
        }
    }
}

fn record(job: JobId) -> JobRecord {
    // Strips of one row, which may be encoded in any number of bytes.
    let size = Size { w: 87_382, h: STRIPS };
    let request = Request { size, window: Window::whole(size), encoding: Encoding::Png, ..Request::default() };
    let (key, priority) = (JobKey([7; 16]), Priority::Batch);
    JobRecord { job, key, account: format!("account of {job}"), priority, accepted_unix_ms: job.0, holder: None, request }
}

fn ending(ending: KeptEnding) -> EndRecord {
    EndRecord { ended_unix_ms: 5, ending, totals: Totals { iterations: 7, ..Totals::default() } }
}

impl Test {
    fn path(&self) -> PathBuf {
        PathBuf::from(FOLDER).join("state")
    }

    fn open(&mut self) -> Result<Journal, crate::OpenError> {
        let (journal, recovered, lost) = open::open(Box::new(self.disk.clone()), &self.path())?;
        assert!(lost.is_empty(), "{lost:?}");
        let mut found = BTreeSet::new();
        for job in recovered {
            let id = job.record.job;
            assert!(found.insert(id));
            assert_eq!(job.record, record(id));
            let known = self.known.get_mut(&id).unwrap_or_else(|| panic!("job {id} comes from nowhere"));
            assert!(job.have >= known.have, "{} of {} stored strips of {id} are there", job.have, known.have);
            assert!(job.have <= STRIPS);
            if !known.end_is_open {
                assert_eq!(job.end, known.end, "{id}");
            }
            if job.have > 0 && known.have > 0 {
                assert_eq!(job.engine.as_deref(), Some(known.engine));
            }
            known.is_kept = true;
            known.engine = ENGINES.into_iter().find(|engine| job.engine.as_deref() == Some(engine)).unwrap_or(known.engine);
            (known.end, known.end_is_open, known.appended) = (job.end, false, job.have);
        }
        self.known.retain(|job, known| {
            let is_there = found.contains(job);
            assert!(is_there || known.is_leaving || !known.is_kept, "job {job} is gone");
            is_there
        });
        Ok(journal)
    }

    /// Reads everything that is stored, and takes it for stored from now on.
    fn check(&mut self, journal: &mut Journal) {
        for (job, known) in &mut self.known {
            let mut strip = 0;
            while strip < known.appended {
                let read = journal.read(*job, strip, 1 + strip % 7, 3000).unwrap();
                assert_eq!((read.first, read.engine.as_str()), (strip, known.engine));
                let mut payload = &read.payload[..];
                for meta in read.metas {
                    let (encoded, rest) = payload.split_at(meta.encoded_len() as usize);
                    let given = &mut known.given[strip as usize];
                    let is_this = |given: &(StripMeta, Vec<u8>)| *given == (meta, encoded.to_vec());
                    if strip < known.have {
                        assert!(given.last().is_some_and(is_this), "strip {strip} of {job} is not what was stored");
                    } else {
                        let at =
                            given.iter().rposition(is_this).unwrap_or_else(|| panic!("strip {strip} of {job} was never given"));
                        let last = given.swap_remove(at);
                        given.push(last);
                    }
                    (payload, strip) = (rest, strip + 1);
                }
            }
            assert!(matches!(journal.read(*job, strip, 1, 1), Err(ReadError::NotStored { .. })));
            known.have = strip;
        }
    }

    fn some_job(&mut self) -> Option<JobId> {
        let at = self.rng.below(JOBS) as usize;
        self.known.keys().nth(at).copied()
    }

    /// One call. What it promised is noted; a call that failed has promised nothing.
    fn act(&mut self, journal: &mut Journal) {
        let choice = self.rng.below(20);
        if choice == 0 && self.known.len() < JOBS as usize {
            return self.keep(journal);
        }
        let Some(job) = self.some_job() else { return };
        match choice {
            1..=11 => self.append(journal, job),
            12..=16 => self.sync(journal),
            17 => self.end(journal, job),
            18 => self.cut(journal, job),
            _ => self.remove(journal, job),
        }
    }

    fn keep(&mut self, journal: &mut Journal) {
        self.next_job += 1;
        let job = JobId(self.next_job);
        let is_kept = journal.keep(&record(job)).is_ok();
        let given = vec![Vec::new(); STRIPS as usize];
        let engine = ENGINES[0];
        let known = Known { is_kept, is_leaving: false, given, have: 0, appended: 0, engine, end: None, end_is_open: false };
        self.known.insert(job, known);
    }

    fn append(&mut self, journal: &mut Journal, job: JobId) {
        let (known, rng) = (self.known.get_mut(&job).unwrap(), &mut self.rng);
        if !known.is_kept || known.is_leaving || known.end.is_some() || known.end_is_open || known.appended == STRIPS {
            return;
        }
        let first = known.appended;
        let strips: Vec<_> = (first..STRIPS.min(first + 1 + rng.below(4) as u32))
            .map(|_| {
                let count = 1 + rng.below(900);
                let bytes = rng.bytes(count);
                (StripMeta(bytes.len() as u32, rng.bits() as u32), bytes)
            })
            .collect();
        let engine = if first == 0 { ENGINES[rng.below(2) as usize] } else { known.engine };
        let metas: Vec<_> = strips.iter().map(|(meta, _)| *meta).collect();
        let payload: Vec<_> = strips.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        let mut appended = journal.append(job, engine, first, &metas, &payload);
        if appended.is_err() && rng.chance(70) {
            appended = journal.append(job, engine, first, &metas, &payload);
        }
        if appended.is_ok() {
            known.engine = engine;
            for (strip, content) in (first as usize..).zip(strips) {
                known.given[strip].push(content);
                known.appended += 1;
            }
        }
    }

    fn sync(&mut self, journal: &mut Journal) {
        let dirty: Vec<_> = self
            .known
            .iter()
            .filter(|(_, known)| known.appended > known.have && !known.is_leaving)
            .map(|(job, _)| *job)
            .collect();
        let synced = journal.sync();
        assert!(dirty.iter().all(|job| synced.iter().any(|(synced, _)| job == synced)), "{dirty:?} {synced:?}");
        for (job, result) in synced {
            let known = self.known.get_mut(&job).unwrap();
            match result {
                Ok(stored) => {
                    assert_eq!(stored.have, known.appended);
                    known.have = stored.have;
                }
                Err(_) => known.appended = known.have,
            }
        }
    }

    fn end(&mut self, journal: &mut Journal, job: JobId) {
        let known = self.known.get_mut(&job).unwrap();
        if known.is_leaving || !known.is_kept || known.appended > known.have {
            return;
        }
        let end = if known.have == STRIPS { KeptEnding::Done } else { KeptEnding::Cancelled("a whim".to_owned()) };
        if self.rng.chance(50) && known.have < STRIPS {
            return;
        }
        if end != KeptEnding::Done {
            // Its strips go with its end, and may be gone where that fails.
            known.have = 0;
        }
        let end = ending(end);
        match journal.end(job, &end) {
            Ok(()) => (known.end, known.end_is_open, known.appended) = (Some(end), false, known.have),
            Err(_) => {
                (known.end_is_open, known.appended) = (true, known.have);
                // It is tried again until it succeeds, or the power goes.
                for _ in 0..20 {
                    if journal.end(job, &end).is_ok() {
                        (known.end, known.end_is_open, known.appended) = (Some(end), false, known.have);
                        return;
                    }
                }
            }
        }
    }

    fn cut(&mut self, journal: &mut Journal, job: JobId) {
        let known = self.known.get_mut(&job).unwrap();
        if known.is_leaving || !known.is_kept {
            return;
        }
        let have = self.rng.below(u64::from(known.have) + 1) as u32;
        known.have = have;
        match journal.cut(job, have) {
            Ok(stored) => {
                // A part of the index that cannot be read takes more with it.
                assert!(stored.have == have || stored.have < have && self.disk.world().failing_percent > 0);
                (known.have, known.appended) = (stored.have, stored.have);
                (known.end, known.end_is_open) = (None, false);
            }
            Err(_) => {
                (known.end_is_open, known.appended) = (true, have);
                self.repeat_cut(journal, job);
            }
        }
    }

    /// A cut that failed is repeated until it succeeds, or the power goes.
    fn repeat_cut(&mut self, journal: &mut Journal, job: JobId) {
        let known = self.known.get_mut(&job).unwrap();
        for _ in 0..20 {
            if let Ok(stored) = journal.cut(job, known.have) {
                (known.have, known.appended) = (stored.have, stored.have);
                (known.end, known.end_is_open) = (None, false);
                return;
            }
        }
        // Until the next start it is left alone.
        known.is_leaving = true;
    }

    fn remove(&mut self, journal: &mut Journal, job: JobId) {
        let known = self.known.get_mut(&job).unwrap();
        if !known.is_kept || known.is_leaving || self.rng.chance(50) {
            return;
        }
        known.is_leaving = true;
        if journal.remove(job).is_ok() {
            self.known.remove(&job);
        }
    }
}

fn one_life_after_another(seed: u64) {
    let mut rng = Rng(seed);
    let disk = SimDisk::new(rng.bits());
    let mut test = Test { seed, rng, disk, known: BTreeMap::new(), next_job: 0 };
    for _ in 0..4 {
        // Sometimes the power goes while the journal is being opened.
        test.disk.world().fuse = test.rng.chance(30).then(|| test.rng.below(60));
        if let Ok(mut journal) = test.open() {
            test.disk.world().fuse = None;
            test.check(&mut journal);
            let fuse = 1 + test.rng.below(400);
            test.disk.world().fuse = Some(fuse);
            test.disk.world().failing_percent = [0, 0, 5, 20][test.rng.below(4) as usize];
            for _ in 0..200 {
                test.act(&mut journal);
            }
        }
        if test.rng.chance(70) {
            test.disk.lose_power();
        } else {
            test.disk.kill();
        }
        for known in test.known.values_mut() {
            // Of a cut that was left alone, and of a removal, anything may be there.
            known.have = if known.is_leaving { 0 } else { known.have };
            known.end_is_open |= known.is_leaving;
        }
    }
    let mut journal = test.open().unwrap();
    test.check(&mut journal);
}

#[test]
fn what_was_promised_survives_every_crash() {
    let count = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seeds = match count("FRACTALLY_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..count("FRACTALLY_JOURNAL_CRASHES").unwrap_or(1000),
    };
    seeds.for_each(one_life_after_another);
}

#[test]
fn a_sector_that_cannot_be_read_costs_what_it_held() {
    let disk = SimDisk::new(1);
    let dir = PathBuf::from(FOLDER).join("state");
    let opened = || open::open(Box::new(disk.clone()), &dir).unwrap();
    let job = JobId(1);
    let store = |journal: &mut Journal| {
        let (metas, payload) = (vec![StripMeta(10, 5); STRIPS as usize], vec![3; 10 * STRIPS as usize]);
        journal.append(job, ENGINES[0], 0, &metas, &payload).unwrap();
        assert_eq!(journal.sync()[0].1.as_ref().unwrap().have, STRIPS);
        journal.end(job, &ending(KeptEnding::Done)).unwrap();
    };
    let fails_with = |name: &'static str| {
        disk.world().bad_sectors = Some(name);
        disk.kill();
        opened()
    };
    let mut journal = opened().0;
    journal.keep(&record(job)).unwrap();
    store(&mut journal);
    drop(journal);

    let (mut journal, recovered, _) = fails_with("strips");
    assert_eq!((recovered[0].have, &recovered[0].healed), (STRIPS, &None));
    assert!(matches!(journal.read(job, 4, 1, 1), Err(ReadError::Damaged { strip: 4, .. })));
    assert_eq!(journal.cut(job, 4).unwrap().have, 4);
    let (_, recovered, _) = fails_with("end");
    assert_eq!((recovered[0].have, &recovered[0].end), (4, &None));
    let (mut journal, recovered, _) = fails_with("index");
    assert_eq!((recovered[0].have, &recovered[0].engine), (0, &None));
    assert!(recovered[0].healed.as_ref().unwrap().contains("index"));
    disk.world().bad_sectors = None;
    store(&mut journal);
    let (_, recovered, _) = fails_with("end");
    assert!(recovered[0].end.is_none() && recovered[0].healed.as_ref().unwrap().contains("end"));
    let (_, recovered, lost) = fails_with("job");
    assert_eq!((recovered.len(), lost.len(), lost[0].job), (0, 1, Some(job)));
}
