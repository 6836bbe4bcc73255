//! Who is served next: the better class first, in a class the account that has had least for its weight, of its jobs the one that has had
//! least. That is weighted fair queueing, twice: what somebody was charged, over its weight, is its time, and the least time is next.
//!
//! Charged is the time of threads, so that accounts share what the grid has of it, whichever kernels and scenes it is spent on. A lease is
//! charged with what the cost model predicts for its worker; when it ends, with what its thread really took instead. What was handed back
//! undone costs nothing, what ran in vain at most what was predicted.
//!
//! A class that was passed over for [`PATIENCE`] gets one part in [`PARTS`] of what is leased, until the better ones leave it room.
//!
//! Invariants, checked by `invariants`:
//! - what is outstanding of a job is the sum of what its living leases are charged, and that of an account the sum of its jobs: so every
//!   charge is settled exactly once;
//! - jobs that want workers have a turn at their account, accounts with a turn have one in their class, each under its present time;
//! - an account is known while it has jobs, or is ahead of its class.
//!
//! Cost: a few look-ups in ordered maps for a lease, however many accounts and jobs there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use fractally_proto::{AttemptId, Band, JobId, Priority};

use crate::{Core, cost::PROBE_BUDGET_MS, fleet::Fleet, job::Job, workers::Worker};

/// A class that wants workers and sees only better ones served waits for so long before it has a right to its part. Short enough that
/// nobody takes a batch job for dead, long enough that a picture that somebody looks at is usually done by then.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
/// Such a class then gets one part in so many of the work leased: little enough not to be felt by whoever waits for a picture, and enough
/// that a job which takes an hour of an empty grid is done within the day.
pub(crate) const PARTS: i64 = 16;
/// What such a class may have to get at the most, µs of a thread: one band of the longest. So it does not save up while it can take nothing.
const ARREARS_MAX: i64 = 1_000_000;
/// Accounts without jobs that are remembered because they had more than their share; of one more, that is forgotten.
const AHEAD_MAX: usize = 1024;
/// The better first.
const CLASSES: [Priority; 3] = [Priority::Interactive, Priority::Normal, Priority::Batch];

/// One account in one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AccountId(u64);

/// What somebody was charged, µs of threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    /// For leases that are over.
    pub(crate) settled: u64,
    /// For living leases, as predicted.
    pub(crate) outstanding: u64,
    /// Time that others had while it wanted nothing, and that counts as had.
    lifted: u64,
}

impl Ledger {
    /// What it has had for its weight.
    fn time(&self, weight: u64) -> u64 {
        self.lifted.saturating_add(self.settled.saturating_add(self.outstanding) / weight)
    }

    /// It begins to want something: neither first for a long time, nor last.
    fn lift(&mut self, weight: u64, level: u64) {
        self.lifted = self.lifted.saturating_add(level.saturating_sub(self.time(weight)));
    }

    fn charge(&mut self, us: u64) {
        self.outstanding = self.outstanding.saturating_add(us);
    }

    fn settle(&mut self, charged: u64, spent: u64) {
        self.outstanding = self.outstanding.saturating_sub(charged);
        self.settled = self.settled.saturating_add(spent);
    }
}

/// A job's place among those of its account: the smallest is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn {
    time: u64,
    job: JobId,
}

/// What one job has of the grid.
#[derive(Debug)]
pub(crate) struct Claim {
    class: Priority,
    account: AccountId,
    job: JobId,
    pub(crate) ledger: Ledger,
    /// While it wants workers.
    pub(crate) turn: Option<Turn>,
}

/// A job that is to be served.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Next {
    pub(crate) job: JobId,
    pub(crate) class: Priority,
    /// Before better classes, because these have passed it over for long.
    pub(crate) by_right: bool,
}

#[derive(Debug)]
struct Account {
    name: String,
    weight: u64,
    ledger: Ledger,
    /// Jobs that live.
    jobs: usize,
    /// Those that want workers.
    turns: BTreeSet<Turn>,
    /// The most that a job had when its turn came.
    level: u64,
    /// Its place in its class, while any of its jobs wants workers.
    at: Option<u64>,
}

/// How a class waits while better ones are served.
#[derive(Clone, Copy, Debug)]
struct Passed {
    since: Duration,
    /// It was seen to want nothing then, and has not wanted anything since.
    content_since: Option<Duration>,
    /// It has waited for [`PATIENCE`], and counts what it is owed.
    is_owed: bool,
    /// What others had since less [`PARTS`] - 1 times what it had itself: its turn comes at 0.
    arrears: i64,
}

#[derive(Debug, Default)]
struct Class {
    ids: BTreeMap<String, AccountId>,
    accounts: BTreeMap<AccountId, Account>,
    /// Accounts with jobs that want workers, by their time.
    turns: BTreeSet<(u64, AccountId)>,
    /// Accounts without jobs that had more than the level.
    ahead: BTreeSet<(u64, AccountId)>,
    /// The most that an account had when its turn came: where one begins that wanted nothing.
    level: u64,
    passed: Option<Passed>,
}

/// All classes.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    classes: [Class; CLASSES.len()],
    accounts_ever: u64,
}

impl Class {
    /// Puts an account at its place after anything about it changed.
    fn place(&mut self, id: AccountId) {
        let Some(account) = self.accounts.get_mut(&id) else { return };
        let wants = !account.turns.is_empty();
        if wants && account.at.is_none() {
            account.ledger.lift(account.weight, self.level);
        }
        let at = wants.then(|| account.ledger.time(account.weight));
        if at == account.at || (sabotage!(AccountNotMoved) && account.at.is_some() && wants) {
            return;
        }
        // In this order a set of one keeps its memory.
        at.map(|at| self.turns.insert((at, id)));
        std::mem::replace(&mut account.at, at).map(|old| self.turns.remove(&(old, id)));
    }

    /// It was an account's turn at that time.
    fn rise(&mut self, time: u64) {
        self.level = self.level.max(time);
        while let Some(&(time, id)) = self.ahead.first().filter(|(time, _)| *time <= self.level) {
            self.ahead.remove(&(time, id));
            self.forget(id);
        }
    }

    fn forget(&mut self, id: AccountId) {
        if let Some(account) = self.accounts.remove(&id) {
            self.ids.remove(&account.name);
        }
    }

    fn jobs(&self) -> impl Iterator<Item = JobId> {
        let accounts = self.turns.iter().filter_map(|(_, id)| self.accounts.get(id));
        accounts.flat_map(|account| account.turns.iter().map(|turn| turn.job))
    }

    /// Others were leased so much more, or less, and it was.
    fn count(&mut self, others: i64, own: i64) {
        let wants = !self.turns.is_empty();
        if let Some(passed) = self.passed.as_mut().filter(|passed| passed.is_owed) {
            let others = if wants { others } else { 0 };
            let arrears = passed.arrears.saturating_add(others).saturating_sub(own.saturating_mul(PARTS - 1));
            passed.arrears = arrears.min(ARREARS_MAX * (PARTS - 1));
        }
    }

    /// A better class is served.
    fn pass(&mut self, now: Duration) {
        let has_waited = |since: Duration| now.saturating_sub(since) >= PATIENCE;
        if self.turns.is_empty() {
            if let Some(passed) = &mut self.passed
                && has_waited(*passed.content_since.get_or_insert(now))
            {
                self.passed = None;
            }
            return;
        }
        let passed = self.passed.get_or_insert(Passed { since: now, content_since: None, is_owed: false, arrears: 0 });
        passed.content_since = None;
        passed.is_owed |= has_waited(passed.since);
    }
}

impl Shares {
    /// A job of an account begins.
    pub(crate) fn join(&mut self, class: Priority, name: &str, weight: u32, job: JobId) -> Claim {
        let members = &mut self.classes[class as usize];
        let account = members.ids.get(name).copied().unwrap_or_else(|| {
            self.accounts_ever += 1;
            AccountId(self.accounts_ever)
        });
        let known = members.accounts.entry(account).or_insert_with(|| Account {
            name: name.to_owned(),
            weight: u64::from(weight.max(1)),
            ledger: Ledger::default(),
            jobs: 0,
            turns: BTreeSet::new(),
            level: 0,
            at: None,
        });
        if known.jobs == 0 {
            members.ids.insert(name.to_owned(), account);
            members.ahead.remove(&(known.ledger.time(known.weight), account));
        }
        known.jobs += 1;
        Claim { class, account, job, ledger: Ledger::default(), turn: None }
    }

    /// A job is over, and nothing of it is outstanding.
    pub(crate) fn leave(&mut self, claim: &Claim) {
        let class = &mut self.classes[claim.class as usize];
        let Some(account) = class.accounts.get_mut(&claim.account) else { return };
        if let Some(turn) = claim.turn {
            account.turns.remove(&turn);
        }
        account.jobs -= 1;
        let (jobs, time) = (account.jobs, account.ledger.time(account.weight));
        class.place(claim.account);
        if jobs > 0 {
            return;
        }
        if time > class.level && class.ahead.len() < AHEAD_MAX {
            class.ahead.insert((time, claim.account));
        } else {
            class.forget(claim.account);
        }
    }

    /// A job goes on in another class, as one that has just come there; what is outstanding of it goes with it.
    pub(crate) fn promote(&mut self, claim: &mut Claim, class: Priority, name: &str, weight: u32) {
        let outstanding = claim.ledger.outstanding;
        if let Some(account) = self.classes[claim.class as usize].accounts.get_mut(&claim.account) {
            account.ledger.settle(outstanding, 0);
        }
        self.leave(claim);
        *claim = self.join(class, name, weight, claim.job);
        claim.ledger.charge(outstanding);
        if let Some(account) = self.classes[class as usize].accounts.get_mut(&claim.account) {
            account.ledger.charge(outstanding);
        }
        self.classes[class as usize].place(claim.account);
    }

    /// Puts a job at its place among those that want workers, or takes it away, after anything about it changed.
    pub(crate) fn place(&mut self, claim: &mut Claim, wants: bool) {
        let class = &mut self.classes[claim.class as usize];
        let Some(account) = class.accounts.get_mut(&claim.account) else { return };
        if wants && claim.turn.is_none() {
            claim.ledger.lift(1, account.level);
        }
        let turn = wants.then(|| Turn { time: claim.ledger.time(1), job: claim.job });
        if turn != claim.turn {
            turn.map(|turn| account.turns.insert(turn));
            std::mem::replace(&mut claim.turn, turn).map(|old| account.turns.remove(&old));
        }
        class.place(claim.account);
    }

    /// A job is leased what should take so long.
    pub(crate) fn charge(&mut self, claim: &mut Claim, us: u64) {
        claim.ledger.charge(us);
        if let Some(account) = self.classes[claim.class as usize].accounts.get_mut(&claim.account) {
            account.ledger.charge(us);
        }
        self.count(claim.class, signed(us));
        self.place(claim, claim.turn.is_some());
    }

    /// A lease that was charged so much is over, and took so much.
    fn settle(&mut self, claim: &mut Claim, charged: u64, spent: u64) {
        claim.ledger.settle(charged, spent);
        if let Some(account) = self.classes[claim.class as usize].accounts.get_mut(&claim.account) {
            account.ledger.settle(charged, spent);
            if sabotage!(AccountPaysTwice) {
                account.ledger.settle(charged, spent);
            }
        }
        self.count(claim.class, signed(spent).saturating_sub(signed(charged)));
        self.place(claim, claim.turn.is_some());
    }

    fn count(&mut self, of: Priority, us: i64) {
        for class in CLASSES {
            let own = class == of;
            self.classes[class as usize].count(if own { 0 } else { us }, if own { us } else { 0 });
        }
    }

    /// Jobs that want workers, in the order in which they are served.
    pub(crate) fn order(&self, now: Duration) -> impl Iterator<Item = Next> {
        let by_right = CLASSES.into_iter().filter(move |class| self.is_due(*class, now)).map(|class| (class, true));
        let all = by_right.chain(CLASSES.into_iter().map(|class| (class, false)));
        all.flat_map(|(class, by_right)| self.jobs(class).map(move |job| Next { job, class, by_right }))
    }

    /// Jobs of one class that want workers, in the order in which they are served.
    pub(crate) fn jobs(&self, class: Priority) -> impl Iterator<Item = JobId> {
        self.classes[class as usize].jobs()
    }

    /// Whether a class that was passed over for long has its turn before those that did.
    fn is_due(&self, class: Priority, now: Duration) -> bool {
        let [better @ .., this] = &self.classes[..=class as usize] else { return false };
        let waits = |passed: &Passed| passed.arrears >= 0 && now.saturating_sub(passed.since) >= PATIENCE;
        this.passed.as_ref().is_some_and(waits) && better.iter().any(|class| !class.turns.is_empty())
    }

    /// It is the turn of a job, which is about to be leased something.
    pub(crate) fn serve(&mut self, now: Duration, next: Next, claim: &Claim) {
        let class = &mut self.classes[next.class as usize];
        if let (Some(turn), Some(account)) = (claim.turn, class.accounts.get_mut(&claim.account)) {
            account.level = account.level.max(turn.time);
            let at = account.at.unwrap_or(0);
            class.rise(at);
        }
        match &mut class.passed {
            // Nobody better could use what it gets.
            passed if !next.by_right => *passed = None,
            Some(passed) => passed.is_owed = true,
            None => {}
        }
        self.classes[next.class as usize + 1..].iter_mut().for_each(|worse| worse.pass(now));
    }

    #[cfg(test)]
    pub(crate) fn nobody_waits(&self) -> bool {
        self.classes.iter().all(|class| class.turns.is_empty() && class.accounts.values().all(|account| account.jobs == 0))
    }

    /// What jobs and their leases say must be what is counted here. Of each job: what it has, whether it wants workers, and what its living
    /// leases were charged.
    pub(crate) fn check<'a>(&self, jobs: impl Iterator<Item = (&'a Claim, bool, u64)>) {
        let mut counted = BTreeMap::<(Priority, AccountId), (usize, u64, BTreeSet<Turn>)>::new();
        for (claim, wants, leased) in jobs {
            let id = claim.job;
            assert_eq!(claim.ledger.outstanding, leased, "job {id}: what its leases are charged");
            assert_eq!(claim.turn.is_some(), wants, "job {id}: wants workers");
            let turn = claim.turn.is_none_or(|turn| turn == Turn { time: claim.ledger.time(1), job: id });
            assert!(turn, "job {id}: its turn is not at its time: {claim:?}");
            let (jobs, outstanding, turns) = counted.entry((claim.class, claim.account)).or_default();
            *jobs += 1;
            *outstanding += leased;
            turns.extend(claim.turn);
        }
        for class in CLASSES {
            let members = &self.classes[class as usize];
            for (&id, account) in &members.accounts {
                let (jobs, outstanding, turns) = counted.remove(&(class, id)).unwrap_or_default();
                let name = &account.name;
                assert_eq!((account.jobs, &account.turns), (jobs, &turns), "jobs of {name}");
                assert_eq!(account.ledger.outstanding, outstanding, "what the leases of {name} are charged");
                let time = account.ledger.time(account.weight);
                let at = (!turns.is_empty()).then_some(time);
                assert_eq!(account.at, at, "the turn of {name}");
                assert_eq!(members.turns.contains(&(time, id)), at.is_some(), "the turn of {name} in its class");
                assert_eq!(members.ahead.contains(&(time, id)), jobs == 0, "whether {name} is ahead");
                assert_eq!(members.ids.get(name), Some(&id), "the id of {name}");
            }
            let turns = members.accounts.values().filter(|account| account.at.is_some()).count();
            let ahead = members.accounts.values().filter(|account| account.jobs == 0).count();
            assert_eq!((members.turns.len(), members.ahead.len()), (turns, ahead), "turns of nobody");
            assert_eq!(members.ids.len(), members.accounts.len(), "names of nobody");
            assert!(members.ahead.iter().all(|(time, _)| *time > members.level) && ahead <= AHEAD_MAX, "who is ahead");
        }
        assert!(counted.is_empty(), "jobs of nobody: {counted:?}");
    }
}

fn signed(us: u64) -> i64 {
    i64::try_from(us).unwrap_or(i64::MAX)
}

/// What a lease that is over has taken of a thread.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Spent {
    /// What its worker says, nanoseconds; 0 is no measurement.
    Computed(u64),
    /// Nothing came of it, though it may have run.
    InVain,
    /// It was handed back, and nobody else is to blame.
    Undone,
}

impl Core {
    /// Puts a job at its place among those that want workers, or takes it away, after anything about it changed.
    pub(crate) fn retake_turn(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let wants = job.wants_workers();
        // What it was charged has moved its turn already.
        if wants != job.claim.turn.is_some() {
            self.shares.place(&mut job.claim, wants);
        }
    }

    /// A living try is over: what it was charged makes room for what it took.
    pub(crate) fn settle(&mut self, now: Duration, id: JobId, attempt: AttemptId, spent: Spent) {
        let Some(living) = self.jobs.get_mut(&id).and_then(|job| job.living.get_mut(&attempt)) else { return };
        let (charged, leased, worker) = (std::mem::take(&mut living.charge), living.leased, living.worker);
        let held = || self.workers.get(&worker).and_then(|worker| worker.leases.get(&attempt));
        let begun = || held().map_or(Some(leased), |held| held.begun);
        let spent = match spent {
            Spent::Computed(0) => charged,
            // A thread has not computed for longer than it had the lease, whatever its worker says.
            Spent::Computed(ns) => micros(Duration::from_nanos(ns).min(now.saturating_sub(leased))).max(1),
            Spent::InVain => begun().map_or(0, |begun| micros(now.saturating_sub(begun)).min(charged)),
            Spent::Undone => 0,
        };
        if sabotage!(ChargeOfUndoneKept) && spent == 0 {
            return;
        }
        if let Some(job) = self.jobs.get_mut(&id) {
            self.shares.settle(&mut job.claim, charged, spent);
        }
    }

    /// A probe is over. It is paid for only now, or a new job would wait for its own; and it counts for no more than it may take.
    pub(crate) fn settle_probe(&mut self, id: JobId, compute_ns: u64) {
        let budget = Duration::from_millis(PROBE_BUDGET_MS.into());
        if let Some(job) = self.jobs.get_mut(&id) {
            self.shares.settle(&mut job.claim, 0, micros(Duration::from_nanos(compute_ns).min(budget)));
        }
    }
}

/// How long a worker should need for a band, or for one that it reads off another, µs of a thread.
pub(crate) fn price(fleet: &Fleet, job: &Job, worker: &Worker, (band, is_mirror): (Band, bool)) -> u64 {
    let rows = job.layout.rows_of_band(band);
    let units = if is_mirror { job.cost.cost_of_pixels(rows) } else { job.cost.cost(rows) };
    let crew = || job.engine.as_deref().map(|engine| fleet.crew(engine, job.request.encoding).speed_mean);
    crate::whole(units / worker.speed.or_else(crew).unwrap_or(1).max(1) as f64).max(1)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
