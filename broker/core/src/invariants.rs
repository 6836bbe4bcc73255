//! What must hold after every event. Cost: everything that lives is looked at once; for tests and simulations.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use fractally_proto::JobId;

use crate::{
    Core,
    answers::FAILURES_MAX,
    bounds::work_of,
    job::{Holder, Job, MESSAGES_MAX, Owner, Probe, bytes_of},
    timers::Timer,
    workers::{Held, What},
};

impl Core {
    pub(crate) fn check(&self) {
        self.check_leases();
        self.check_jobs();
        self.check_timers();
        self.check_kept();
        self.shares.check(self.jobs.values().map(|job| {
            let charges = job.living.values().map(|living| living.charge).sum();
            (&job.claim, job.wants_workers(), charges)
        }));
        self.check_way();
        self.fleet.check(self.workers.iter().map(|(&id, worker)| worker.standing(id)));
        // Detached jobs that were found on disk, or are mended, are jobs whatever the bounds.
        let attached = || self.jobs.values().filter(|job| !job.is_kept());
        let bounds = [
            ("jobs", attached().count(), self.config.jobs_max),
            ("clients", self.clients.len(), self.config.clients_max),
            ("workers", self.workers.len(), self.config.workers_max),
        ];
        for (what, held, max) in bounds {
            assert!(held <= max, "{held} {what}, of which {max} may be");
        }
        let mut of_accounts = BTreeMap::<&str, (usize, u128)>::new();
        for job in attached() {
            let (jobs, work) = of_accounts.entry(&job.account).or_default();
            (*jobs, *work) = (*jobs + 1, *work + work_of(&job.request));
        }
        for (account, (jobs, work)) in of_accounts {
            assert!(jobs <= self.config.jobs_per_account_max, "{jobs} jobs of {account}");
            assert!(work <= self.config.work_per_account_max, "work {work} of {account}");
        }
    }

    /// A living lease stands at its worker and in its job, under one attempt. Nobody holds more than its credit.
    fn check_leases(&self) {
        let mut living = BTreeMap::new();
        for (&id, worker) in &self.workers {
            let (held, credit) = (worker.credit_used(), worker.about.credit);
            assert!(held <= u64::from(credit), "worker {id} holds {held} bands with a credit of {credit}");
            let (busy, threads) = (worker.busy.threads(), worker.about.threads);
            assert!(busy <= threads, "worker {id} computes with {busy} of {threads} threads");
            for (&attempt, Held { job, what, fenced, .. }) in &worker.leases {
                if !fenced {
                    living.insert((*job, attempt), (id, *what));
                }
            }
        }
        for (&id, job) in &self.jobs {
            for (&first, leased) in &job.leased {
                assert_eq!(first, leased.work.band.first, "job {id}: a band lies under another's strip");
                assert!((1..=2).contains(&leased.holders.len()), "job {id}: {} try one band", leased.holders.len());
                for &Holder { worker, attempt } in &leased.holders {
                    let at_worker = living.remove(&(id, attempt));
                    let in_job = (worker, What::Band(leased.work.band));
                    assert_eq!(at_worker, Some(in_job), "job {id}: attempt {attempt} is not what its worker holds");
                }
            }
            let holders = job.leased.values().flat_map(|leased| &leased.holders).map(|holder| holder.attempt);
            let held: BTreeSet<_> = holders.collect();
            assert!(job.living.keys().eq(&held), "job {id}: living tries {:?}, held {held:?}", job.living);
            if let Probe::Leased(worker, attempt) = job.probe {
                assert_eq!(living.remove(&(id, attempt)), Some((worker, What::Probe)), "job {id}: the probe's worker");
            }
        }
        assert!(living.is_empty(), "living leases that no job knows: {living:?}");
        let (tally, under_way) = (self.tally, self.jobs.values().map(|job| job.living.len() as u64).sum::<u64>());
        assert_eq!(tally.leased, tally.ended() + under_way, "tries under way: {under_way}, of {tally:?}");
        assert!(tally.retries + tally.backups <= tally.leased, "{tally:?}");
    }

    fn check_jobs(&self) {
        assert_eq!(self.reserved, self.jobs.values().map(|job| job.reserved).sum::<u64>(), "reserved over all jobs");
        let attached = self.jobs.iter().filter(|(_, job)| !job.is_kept()).map(|(&id, job)| (job.key, id));
        let keys: BTreeMap<_, _> = attached.chain(self.kept.keys()).collect();
        assert_eq!(self.keys, keys, "keys of jobs");
        let mut payloads = BTreeSet::new();
        let mut exempt = 0;
        for (&id, job) in &self.jobs {
            check_strips(id, job);
            self.check_bytes(id, job);
            self.check_owner(id, job);
            assert!(job.waiting.values().all(|work| work.failed_on.len() < FAILURES_MAX), "job {id}: a band failed too often");
            for tile in job.arrived.values() {
                assert!(payloads.insert(tile.payload), "payload {} is held twice", tile.payload);
            }
            exempt += Job::window_max(&job.layout, job.reorder_bytes) + job.band_bytes_max();
        }
        let max = self.config.held_bytes_max + exempt;
        assert!(self.reserved <= max, "{} bytes reserved over all jobs, of which {max} may be", self.reserved);
        let attached: usize = self.jobs.values().filter(|job| job.client().is_some()).count();
        assert_eq!(attached, self.clients.values().map(|client| client.jobs.len()).sum::<usize>(), "attached jobs");
    }

    fn check_bytes(&self, id: JobId, job: &Job) {
        let leased: u64 = job.leased.values().map(|leased| job.layout.tile_len_max(leased.work.band)).sum();
        assert_eq!(job.reserved, leased + job.held(), "job {id}: reserved");
        let bound = job.reorder_bytes.max(Job::window_max(&job.layout, job.reorder_bytes));
        let max = bound + job.band_bytes_max();
        assert!(job.reserved <= max, "job {id}: {} bytes reserved, of which {max} may be", job.reserved);
    }

    fn check_owner(&self, id: JobId, job: &Job) {
        if let Some(client) = job.client() {
            let client = self.clients.get(&client);
            assert!(client.is_some_and(|client| client.jobs.contains(&id)), "job {id}: its client does not know it");
        }
        let Some(delivery) = job.delivery() else { return };
        let under_way: u64 = (job.acked..delivery.next).map(|strip| u64::from(strip_len(job, strip))).sum();
        assert_eq!(delivery.in_flight, under_way, "job {id}: bytes under way to its client");
        assert!(delivery.in_flight <= delivery.window, "job {id}: the window is {} bytes", delivery.window);
        assert!(delivery.messages.len() <= MESSAGES_MAX, "job {id}: {} messages under way", delivery.messages.len());
        assert!(job.acked <= delivery.next && delivery.next <= job.reach, "job {id}: what was delivered");
    }

    /// No timer is late, and nobody has one who does not live.
    fn check_timers(&self) {
        let (dead_after, lease) = (self.config.dead_after, self.config.lease);
        let by = |timer: Timer, at: Duration| {
            assert!(self.timers.armed(timer).is_some_and(|armed| armed <= at), "{timer:?} is not looked at by {at:?}");
        };
        for (&id, client) in &self.clients {
            by(Timer::Client(id), client.heard.saturating_add(dead_after));
        }
        for (&id, worker) in &self.workers {
            by(Timer::Worker(id), worker.deadline(dead_after, lease));
        }
        let late = [Timer::Late, Timer::Expiry].into_iter().filter(|&timer| self.timers.armed(timer).is_some()).count();
        let mut jobs = 0;
        for (&id, job) in &self.jobs {
            jobs += usize::from(self.timers.armed(Timer::Job(id)).is_some());
            match job.owner {
                Owner::Adrift(since) => by(Timer::Job(id), since.saturating_add(self.config.client_grace)),
                Owner::Attached(..) | Owner::Kept(_) if job.pace.changed => by(Timer::Job(id), Duration::MAX),
                Owner::Attached(..) | Owner::Kept(_) => {}
            }
        }
        assert_eq!(self.timers.len(), self.clients.len() + self.workers.len() + jobs + late, "timers of nobody");
    }
}

fn strip_len(job: &Job, strip: u32) -> u32 {
    let (_, tile) = job.arrived.range(..=strip).next_back().expect("what is under way to a client is held");
    tile.strips[(strip - tile.band.first) as usize].encoded_len()
}

/// Every strip is in exactly one place, and the places are what the counts say.
fn check_strips(id: JobId, job: &Job) {
    let strips = job.layout.strips();
    let uncut = &job.uncut;
    assert!(
        job.start <= job.acked && (uncut.is_empty() || job.acked <= uncut.start) && uncut.end <= strips,
        "job {id}: where it is"
    );
    assert!(!job.mirrors || uncut.start == strips - uncut.end, "job {id}: what is uncut is not its own mirror");
    let waiting = job.waiting.values().map(|work| ("waiting", work.band));
    let leased = job.leased.values().map(|leased| ("leased", leased.work.band));
    let arrived = job.arrived.values().map(|tile| ("arrived", tile.band));
    let mut places: Vec<_> = waiting.chain(leased).chain(arrived).collect();
    places.sort_unstable_by_key(|(_, band)| *band);
    let mut next = job.acked;
    let past_uncut = |strip: u32| if strip == uncut.start { uncut.end } else { strip };
    for (rank, &(place, band)) in places.iter().enumerate() {
        let acknowledged_partly = rank == 0 && place == "arrived" && band.first < next && next < band.end();
        let is_next = band.first == next || band.first == past_uncut(next);
        assert!(is_next || acknowledged_partly, "job {id}: strip {next} is nowhere or twice: {places:?}");
        next = band.end();
    }
    assert_eq!(past_uncut(next), strips, "job {id}: the strips after the last, {places:?}");
    let rows: u32 = job
        .arrived
        .values()
        .map(|tile| {
            assert_eq!(tile.strips.len(), tile.band.strips as usize, "job {id}: strips of a tile");
            assert!(bytes_of(&tile.strips) <= job.layout.tile_len_max(tile.band), "job {id}: bytes of a tile");
            let rows = job.layout.rows_of_band(tile.band);
            rows.end - rows.start.max(job.layout.rows_before(job.acked))
        })
        .sum();
    assert_eq!(job.rows_rendered, rows + job.layout.rows_before(job.acked), "job {id}: rows rendered");
}
