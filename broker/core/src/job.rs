//! One job: where each of its strips is, what is reserved for them, and who takes them.
//!
//! Invariants, checked by `invariants`:
//! - every strip is in exactly one of uncut, waiting, leased, arrived, acknowledged; all before `acked` are acknowledged, those in
//!   `uncut` are uncut;
//! - `reserved` is the worst case of every leased band plus what the arrived, unacknowledged strips really take;
//! - `reserved` is at most the reorder bound plus one band: [`Job::room`].
//!
//! Memory is proportional to bands in hand, not to strips: a million strips that nobody has touched are one number.
//! Not here: messages to anybody. The methods move strips about; `schedule`, `answers`, `clients` and `submit` say what follows.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    num::NonZero,
    ops::Range,
    time::Duration,
};

use fractally_proto::{AttemptId, Band, Grid, JobId, JobKey, Layout, Priority, Progress, Request, RequestId, StripMeta};

use crate::{ClientId, Effect, PayloadId, WorkerId, cost::CostModel, shares::Claim, story::Story};

/// Unacknowledged STRIPS messages that a client has at the most.
pub(crate) const MESSAGES_MAX: usize = 64;
/// The largest window that a client gets, unless one strip is larger.
const WINDOW_MAX: u64 = 16 << 20;

/// One request on its way to a picture.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) key: JobKey,
    /// Whom it is counted for.
    pub(crate) account: String,
    pub(crate) priority: Priority,
    pub(crate) request: Request,
    /// What it is called in logs.
    pub(crate) request_id: Option<RequestId>,
    pub(crate) layout: Layout,
    pub(crate) accepted_at: Duration,
    /// What renders it, once anything does.
    pub(crate) engine: Option<String>,
    /// Strips that its first client held already.
    pub(crate) start: u32,
    /// Strips acknowledged, counted from the top.
    pub(crate) acked: u32,
    /// The strips that were never in a band. They are cut from the top; with `mirrors`, from both ends alike.
    pub(crate) uncut: Range<u32>,
    /// Whether a band and its mirror are one piece of work.
    pub(crate) mirrors: bool,
    /// Bands that it is cut into where their cost shall not count.
    pub(crate) equal_bands: Option<NonZero<u32>>,
    /// Strips delivered to anybody, counted from the top.
    pub(crate) reach: u32,
    /// Bands given back, by first strip.
    pub(crate) waiting: BTreeMap<u32, Work>,
    /// Bands that workers hold, by first strip.
    pub(crate) leased: BTreeMap<u32, Leased>,
    /// Tiles with strips that are not acknowledged, by first strip.
    pub(crate) arrived: BTreeMap<u32, Arrived>,
    pub(crate) rows_rendered: u32,
    pub(crate) reserved: u64,
    /// What may be reserved: it grows with the grid and never shrinks.
    pub(crate) reorder_bytes: u64,
    pub(crate) owner: Owner,
    pub(crate) probe: Probe,
    pub(crate) cost: CostModel,
    /// What it has had of the grid, and its turn.
    pub(crate) claim: Claim,
    /// Every try under way.
    pub(crate) living: BTreeMap<AttemptId, Living>,
    pub(crate) story: Story,
    pub(crate) totals: Totals,
    pub(crate) pace: Pace,
}

/// A band and those it failed on, one entry a failure.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) band: Band,
    pub(crate) failed_on: Vec<WorkerId>,
}

impl Work {
    /// A band that nobody had yet.
    pub(crate) fn new(band: Band) -> Self {
        Self { band, failed_on: Vec::new() }
    }
}

/// A band in the hands of one worker, or of two where the first is late.
#[derive(Debug)]
pub(crate) struct Leased {
    pub(crate) work: Work,
    pub(crate) holders: Vec<Holder>,
}

/// Who tries a band.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) worker: WorkerId,
    pub(crate) attempt: AttemptId,
}

#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) band: Band,
    pub(crate) payload: PayloadId,
    pub(crate) strips: Vec<StripMeta>,
}

/// Who takes the strips.
#[derive(Debug)]
pub(crate) enum Owner {
    Attached(ClientId, Delivery),
    /// Nobody since then.
    Adrift(Duration),
    /// The journal, from which clients read.
    Kept(Delivery),
}

/// What whoever takes the strips was sent and has not acknowledged.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) window: u64,
    /// The strip to send next.
    pub(crate) next: u32,
    /// Bytes of the strips sent and not acknowledged, at most `window`.
    pub(crate) in_flight: u64,
    /// The strip after each message that is not wholly acknowledged, at most [`MESSAGES_MAX`].
    pub(crate) messages: VecDeque<u32>,
}

#[derive(Debug)]
pub(crate) enum Probe {
    Due(Grid),
    Leased(WorkerId, AttemptId),
    Over,
}

/// One try under way.
#[derive(Clone, Debug)]
pub(crate) struct Living {
    pub(crate) leased: Duration,
    pub(crate) worker: WorkerId,
    /// What its worker calls itself.
    pub(crate) name: String,
    /// What the job was charged for it, µs of a thread; nothing once that is settled.
    pub(crate) charge: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) iterations: u64,
    pub(crate) compute_ns: u64,
    pub(crate) bands: u64,
    pub(crate) attempts: u64,
    /// Attempts at bands that somebody else held and was late with, and their predicted work.
    pub(crate) backups: u64,
    pub(crate) backup_units: f64,
    /// Those that delivered a band; never more than bands.
    pub(crate) workers: BTreeSet<WorkerId>,
}

/// When the client was last told how far the job is.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    pub(crate) changed: bool,
    /// Somebody has come who was told nothing yet.
    pub(crate) is_followed_anew: bool,
    pub(crate) told: Option<(Duration, Progress)>,
}

/// A slice of an arrived tile, ready to be sent.
#[derive(Debug)]
pub(crate) struct Slice {
    pub(crate) first: u32,
    pub(crate) strips: Vec<StripMeta>,
    pub(crate) payload: PayloadId,
    pub(crate) bytes: Range<usize>,
}

impl Delivery {
    /// Nothing was sent yet; `next` is the strip that comes first.
    pub(crate) fn new(window: u64, next: u32) -> Self {
        Self { window, next, in_flight: 0, messages: VecDeque::new() }
    }
}

/// Bytes of all strips in sum.
pub(crate) fn bytes_of(strips: &[StripMeta]) -> u64 {
    strips.iter().map(|strip| u64::from(strip.encoded_len())).sum()
}

impl Arrived {
    /// The lengths of those of its strips that lie in `range`.
    fn within(&self, range: Range<u32>) -> &[StripMeta] {
        let at = |strip: u32| (strip.clamp(self.band.first, self.band.end()) - self.band.first) as usize;
        &self.strips[at(range.start)..at(range.end)]
    }
}

impl Arrived {
    /// Those of its strips that lie in `range`, as many as `room` takes.
    fn slice(&self, range: Range<u32>, mut room: u64) -> Option<Slice> {
        let first = range.start;
        let fits = |strip: &&StripMeta| {
            let left = room.checked_sub(u64::from(strip.encoded_len()));
            room = left.unwrap_or(room);
            left.is_some()
        };
        let strips = self.within(range).iter().take_while(fits).copied().collect::<Vec<_>>();
        let index = |bytes: u64| usize::try_from(bytes).expect("a tile fits memory");
        let start = index(bytes_of(self.within(0..first)));
        let bytes = start..start + index(bytes_of(&strips));
        (!strips.is_empty()).then_some(Slice { first, strips, payload: self.payload, bytes })
    }
}

impl Slice {
    /// Sends it to a client, as strips of `engine`.
    pub(crate) fn deliver(self, client: ClientId, job: JobId, engine: Option<String>) -> Effect {
        let Self { first, strips, payload, bytes } = self;
        Effect::Deliver { client, job, engine: engine.unwrap_or_default(), first, strips, payload, bytes }
    }

    /// The strip behind its last.
    pub(crate) fn end(&self) -> u32 {
        self.first + u32::try_from(self.strips.len()).expect("a band has few strips")
    }
}

impl Job {
    /// The largest encoded strip.
    pub(crate) fn strip_bytes_max(layout: &Layout) -> u64 {
        layout.strip_len_max()
    }

    /// The largest tile of one band.
    pub(crate) fn band_bytes_max(&self) -> u64 {
        self.layout.tile_len_max(Band { first: 0, strips: self.layout.band_strips_max(0) })
    }

    /// The largest window that a client of it gets.
    pub(crate) fn window_max(layout: &Layout, reorder_bytes_max: u64) -> u64 {
        WINDOW_MAX.min(reorder_bytes_max / 2).max(Self::strip_bytes_max(layout))
    }

    pub(crate) fn delivery(&self) -> Option<&Delivery> {
        match &self.owner {
            Owner::Attached(_, delivery) | Owner::Kept(delivery) => Some(delivery),
            Owner::Adrift(_) => None,
        }
    }

    /// Whether its strips go to the journal.
    pub(crate) fn is_kept(&self) -> bool {
        matches!(self.owner, Owner::Kept(_))
    }

    /// Workers that hold bands of it.
    pub(crate) fn workers(&self) -> u32 {
        let holders = self.leased.values().flat_map(|leased| &leased.holders);
        let workers: BTreeSet<WorkerId> = holders.map(|holder| holder.worker).collect();
        u32::try_from(workers.len()).unwrap_or(u32::MAX)
    }

    /// The client to whom the strips go.
    pub(crate) fn client(&self) -> Option<ClientId> {
        match self.owner {
            Owner::Attached(client, _) => Some(client),
            Owner::Adrift(_) | Owner::Kept(_) => None,
        }
    }

    /// Bytes that arrived and are not acknowledged.
    pub(crate) fn held(&self) -> u64 {
        self.arrived.values().map(|tile| bytes_of(tile.within(self.acked..u32::MAX))).sum()
    }

    /// Bytes that may still be reserved without an exemption.
    ///
    /// The client's window is set aside, so that what is under way to it never counts against what waits its turn. So at most
    /// the bound is reserved, and one band more where [`Self::is_head`] made an exemption.
    pub(crate) fn room(&self) -> u64 {
        let under_way = self.delivery().map_or(0, |delivery| delivery.in_flight);
        self.room_max().saturating_sub(self.reserved - under_way)
    }

    /// [`Self::room`] while nothing is reserved.
    pub(crate) fn room_max(&self) -> u64 {
        self.reorder_bytes.saturating_sub(Self::window_max(&self.layout, self.reorder_bytes))
    }

    /// Whether a band that starts at `first` is what the client waits for. Late, it stalls the job, so it is leased at any bound.
    /// Nothing before it is missing, so no two bands of a job are exempt at the same time.
    pub(crate) fn is_head(&self, first: u32) -> bool {
        !sabotage!(HeadNotExempt) && self.delivery().is_some_and(|delivery| delivery.next == first)
    }

    /// Whether anything of it can be leased now, as far as its own bound goes.
    pub(crate) fn wants_workers(&self) -> bool {
        if matches!(self.probe, Probe::Due(_)) {
            return true;
        }
        let (first, bytes) = match self.waiting.first_key_value() {
            Some((&first, work)) => (first, self.layout.tile_len_max(work.band)),
            None if !self.uncut.is_empty() => (self.uncut.start, self.cut_bytes_min()),
            None => return false,
        };
        self.is_head(first) || bytes <= self.room()
    }

    /// Whether a job of this layout can be cut from both ends: half of the picture then waits for the other half, and may take three
    /// quarters of what may wait at all.
    pub(crate) fn may_mirror(request: &Request, layout: &Layout, reorder_bytes_max: u64) -> bool {
        let room = reorder_bytes_max.saturating_sub(Self::window_max(layout, reorder_bytes_max));
        request.is_its_own_half_turn() && u64::from(layout.strips() / 2) * layout.strip_len_max() <= room / 4 * 3
    }

    /// Bytes that the smallest cut can take.
    pub(crate) fn cut_bytes_min(&self) -> u64 {
        let first = Band { first: self.uncut.start, strips: 1 };
        self.layout.tile_len_max(first) + self.mirror_of(first).map_or(0, |mirror| self.layout.tile_len_max(mirror))
    }

    /// The uncut band that is the mirror of an uncut one at the top.
    fn mirror_of(&self, band: Band) -> Option<Band> {
        let fits = self.mirrors && band.strips <= (self.uncut.end - self.uncut.start) / 2;
        fits.then(|| self.layout.opposite(band))
    }

    /// The next band from the uncut rows, and its mirror where that is part of the work: as many strips as cost at most `units` and
    /// take at most `room` bytes, at least one; without the mirror where not even that fits.
    pub(crate) fn cut(&self, units: f64, room: u64) -> (Band, Option<Band>) {
        let first = self.uncut.start;
        let uncut = self.uncut.end - first;
        let (strips_max, units) = match self.equal_bands {
            Some(bands) => (self.layout.strips_to_next_of(bands, first), f64::INFINITY),
            None => (uncut, units),
        };
        let strips_max =
            strips_max.min(self.layout.band_strips_max(first)).min(if self.mirrors { uncut / 2 } else { uncut }).max(1);
        let fits = |strips: u32| {
            let band = Band { first, strips };
            let mirror = self.mirror_of(band);
            let bytes = self.layout.tile_len_max(band) + mirror.map_or(0, |mirror| self.layout.tile_len_max(mirror));
            bytes <= room && self.cost_of(band, mirror) <= units
        };
        // Both bounds only grow with the band, so the largest that fits is found by halving.
        let (mut strips, mut too_many) = (1, strips_max + 1);
        while strips + 1 < too_many {
            let middle = strips.midpoint(too_many);
            if fits(middle) { strips = middle } else { too_many = middle }
        }
        let band = Band { first, strips };
        (band, self.mirror_of(band).filter(|_| self.cut_bytes_min() <= room))
    }

    /// Units of a band and of its mirror, whose rows need no iterations.
    pub(crate) fn cost_of(&self, band: Band, mirror: Option<Band>) -> f64 {
        let spared = |mirror: Band| self.cost.cost_of_pixels(self.layout.rows_of_band(mirror));
        self.cost.cost(self.layout.rows_of_band(band)) + mirror.map_or(0.0, spared)
    }

    /// Takes a band that was cut, and its mirror, off the uncut strips.
    pub(crate) fn take_cut(&mut self, band: Band, mirror: Option<Band>) {
        self.uncut.start = band.end();
        match mirror {
            Some(mirror) => self.uncut.end = mirror.first,
            // What is left is not its own mirror any more.
            None => self.mirrors = false,
        }
    }

    /// uncut or waiting -> leased
    pub(crate) fn lease(&mut self, work: Work, holder: Holder) {
        let band = work.band;
        self.waiting.remove(&band.first);
        self.reserved += self.layout.tile_len_max(band);
        self.totals.attempts += 1;
        self.leased.insert(band.first, Leased { work, holders: vec![holder] });
    }

    /// A second worker tries a leased band.
    pub(crate) fn back_up(&mut self, band: Band, holder: Holder) {
        let leased = self.leased.get_mut(&band.first).expect("what is late is leased");
        leased.holders.push(holder);
        self.totals.attempts += 1;
        self.totals.backups += 1;
        self.totals.backup_units += self.cost.cost(self.layout.rows_of_band(band));
    }

    /// Whether one more band may be tried twice: the first, and a tenth of all work.
    pub(crate) fn may_back_up(&self, band: Band) -> bool {
        let units = self.totals.backup_units + self.cost.cost(self.layout.rows_of_band(band));
        self.totals.backups == 0 || units <= self.cost_total() / 10.0
    }

    /// One try less. leased -> waiting with the last, and then the work is told. `blame` is the worker that failed at it.
    pub(crate) fn give_back(&mut self, first: u32, attempt: AttemptId, blame: Option<WorkerId>) -> Option<&Work> {
        let leased = self.leased.get_mut(&first).expect("a living attempt stands in its job's leased bands");
        leased.work.failed_on.extend(blame);
        leased.holders.retain(|holder| holder.attempt != attempt);
        if !leased.holders.is_empty() {
            return None;
        }
        let work = self.unlease(first).work;
        Some(self.waiting.entry(first).or_insert(work))
    }

    /// leased -> arrived; gives those who try the band as well.
    pub(crate) fn arrive(&mut self, first: u32, by: AttemptId, payload: PayloadId, strips: Vec<StripMeta>) -> Vec<Holder> {
        let Leased { work, mut holders } = self.unlease(first);
        holders.retain(|holder| holder.attempt != by);
        let band = work.band;
        if sabotage!(ReservedNotCorrected) {
            self.reserved += self.layout.tile_len_max(band);
        } else {
            self.reserved += bytes_of(&strips);
        }
        let rows = self.layout.rows_of_band(band);
        self.rows_rendered += rows.end - rows.start;
        self.arrived.insert(first, Arrived { band, payload, strips });
        holders
    }

    fn unlease(&mut self, first: u32) -> Leased {
        let leased = self.leased.remove(&first).expect("a living attempt stands in its job's leased bands");
        self.reserved -= self.layout.tile_len_max(leased.work.band);
        leased
    }

    /// arrived -> acknowledged, up to the strip `have`; gives the payloads that nobody needs any more.
    pub(crate) fn acknowledge(&mut self, have: u32) -> Vec<PayloadId> {
        let mut released = Vec::new();
        let mut freed = 0;
        while let Some(tile) = self.arrived.first_entry().filter(|tile| tile.get().band.first < have) {
            freed += bytes_of(tile.get().within(self.acked..have));
            if tile.get().band.end() > have {
                break;
            }
            released.push(tile.remove().payload);
        }
        self.acked = have;
        self.reserved -= freed;
        if let Owner::Attached(_, delivery) | Owner::Kept(delivery) = &mut self.owner {
            delivery.in_flight -= freed;
            while delivery.messages.front().is_some_and(|&end| end <= have) {
                delivery.messages.pop_front();
            }
        }
        if sabotage!(PayloadNotReleased) {
            released.pop();
        }
        released
    }

    /// The next slice for whoever takes the strips: whole strips in row order, as many as its window and `room_max` take.
    pub(crate) fn next_slice(&mut self, room_max: u64) -> Option<Slice> {
        let (Owner::Attached(_, delivery) | Owner::Kept(delivery)) = &mut self.owner else { return None };
        if delivery.messages.len() >= MESSAGES_MAX {
            return None;
        }
        let tile = match sabotage!(DeliveryOutOfOrder) {
            true => self.arrived.range(delivery.next..).next().map(|(_, tile)| tile)?,
            false => self.arrived.range(..=delivery.next).next_back().map(|(_, tile)| tile)?,
        };
        let room = if sabotage!(WindowIgnored) { u64::MAX } else { room_max.min(delivery.window - delivery.in_flight) };
        let slice = tile.slice(delivery.next.max(tile.band.first)..u32::MAX, room)?;
        delivery.next = slice.end();
        delivery.in_flight += slice.bytes.len() as u64;
        delivery.messages.push_back(delivery.next);
        self.reach = self.reach.max(delivery.next);
        Some(slice)
    }

    /// Strips that arrived, from the first of `range` on, as many as one tile has and `room` takes.
    pub(crate) fn slice(&self, range: Range<u32>, room: u64) -> Option<Slice> {
        let (_, tile) = self.arrived.range(..=range.start).next_back()?;
        tile.slice(range, room)
    }

    /// Bytes of the next strip, where it is there and the window takes it.
    pub(crate) fn next_takes(&self) -> Option<u64> {
        let delivery = self.delivery().filter(|delivery| delivery.messages.len() < MESSAGES_MAX)?;
        let (_, tile) = self.arrived.range(..=delivery.next).next_back()?;
        let bytes = bytes_of(tile.within(delivery.next..delivery.next + 1));
        (bytes > 0 && bytes <= delivery.window - delivery.in_flight).then_some(bytes)
    }

    /// Units of the strips that no worker has been given, or all that are not rendered.
    pub(crate) fn cost_left(&self, with_leased: bool) -> f64 {
        let of = |band: Band| self.cost.cost(self.layout.rows_of_band(band));
        let uncut = self.layout.rows_before(self.uncut.start)..self.layout.rows_before(self.uncut.end);
        let uncut = if uncut.is_empty() { 0.0 } else { self.cost_of_uncut(uncut) };
        let waiting: f64 = self.waiting.values().map(|work| of(work.band)).sum();
        let leased: f64 = if with_leased { self.leased.values().map(|leased| of(leased.work.band)).sum() } else { 0.0 };
        uncut + waiting + leased
    }

    /// Units of the whole picture, or what is drawn of it in this life.
    pub(crate) fn cost_total(&self) -> f64 {
        self.cost_of_uncut(self.layout.rows_before(self.start)..self.layout.rows())
    }

    /// Units of rows that are cut alike: with mirrors, the lower half needs no iterations.
    fn cost_of_uncut(&self, rows: Range<u32>) -> f64 {
        let middle = rows.start.midpoint(rows.end);
        match self.mirrors {
            true => self.cost.cost(rows.start..middle) + self.cost.cost_of_pixels(middle..rows.end),
            false => self.cost.cost(rows),
        }
    }

    /// Whether predictions rest on measurement. Until the probe is back, tiles tell of the first rows only.
    pub(crate) fn cost_is_known(&self) -> bool {
        self.cost.basis_is_probe() || (self.cost.basis_is_measured() && matches!(self.probe, Probe::Over))
    }

    /// Forgets the engine while nothing of it is anywhere, so that a job does not wait for one that left the grid.
    pub(crate) fn unpin_if_untouched(&mut self) {
        let untouched = self.start == 0 && self.totals.bands == 0 && self.leased.is_empty();
        if untouched && !matches!(self.probe, Probe::Leased(..)) {
            self.engine = None;
        }
    }
}
