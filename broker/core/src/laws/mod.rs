//! What the broker promises, one law a test. `Grid` hides what does not matter: it carries time, keeps peers alive, remembers what is
//! leased, and checks the invariants after every event.

mod conduct;
mod delivery;
mod failures;
mod hall;
mod helpers;
mod kept;
mod leases;
mod mirrors;
mod peers;
mod scheduling;
mod shares;
mod story;
mod submits;
mod watching;

use std::time::Duration;

use fractally_proto::{
    Ack, AttemptId, Band, BandFailed, BandFailure, BandProgress, Encoding, Epoch, Hello, JobId, JobKey, Layout, Lease, LeaseKind,
    Message, Priority, Request, Size, StripMeta, Submit, Tile, Window, WorkerHello,
};

use crate::{ClientId, ClientSays, Config, Core, Effect, PayloadId, WorkerId, WorkerSays};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A broker under test.
struct Grid {
    core: Core,
    now: Duration,
    payloads: u64,
    /// Leases that were given and not asked for, the earliest first.
    leased: Vec<(WorkerId, Lease)>,
}

/// A picture of `strips` strips of one row and exactly 262,144 bytes each, too small for a probe up to eight of them. It is not its own
/// mirror image.
fn picture(strips: u32) -> Request {
    let (size, center) = (Size { w: 65_536, h: strips }, [0.1, 0.0]);
    let window = Window::whole(size);
    Request { size, window, center, encoding: Encoding::Counts, iterations: 100_000, ..Request::default() }
}

/// Bytes of a strip of [`picture`] at the most.
const STRIP: u64 = 262_144;

fn key(n: u8) -> JobKey {
    JobKey([n; 16])
}

fn hello(worker: Option<WorkerHello>) -> Hello {
    Hello { agent: "test".to_owned(), epoch: Epoch(7), account: None, worker }
}

/// One thread, a credit of one, everything encoded.
fn about() -> WorkerHello {
    WorkerHello {
        name: "w".to_owned(),
        engine: "e1".to_owned(),
        kernel: "k".to_owned(),
        threads: 1,
        credit: 1,
        encodings: vec![Encoding::Png, Encoding::Counts],
    }
}

fn submit(n: u8, strips: u32) -> Submit {
    let request = picture(strips);
    Submit {
        key: key(n),
        priority: Priority::Interactive,
        have: 0,
        engine: None,
        window_bytes: 1 << 30,
        request_id: None,
        request,
    }
}

fn band_of(lease: &Lease) -> Band {
    match lease.kind {
        LeaseKind::Band { first, strips } => Band { first, strips },
        LeaseKind::Probe(_) => panic!("a probe is no band"),
    }
}

impl Grid {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new("broker", Epoch(0xaaaa_bbbb_cccc_dddd));
        config.reorder_bytes_per_thread = 0;
        change(&mut config);
        Self { core: Core::new(config), now: Duration::ZERO, payloads: 0, leased: Vec::new() }
    }

    /// One event, and what came of it.
    fn step(&mut self, event: impl FnOnce(&mut Core, Duration, &mut Vec<Effect>)) -> Vec<Effect> {
        let mut out = Vec::new();
        event(&mut self.core, self.now, &mut out);
        self.core.check_invariants();
        for effect in &out {
            match effect {
                Effect::ToWorker(worker, Message::Lease(lease)) => self.leased.push((*worker, lease.clone())),
                Effect::DropWorker(worker) => self.leased.retain(|(held_by, _)| held_by != worker),
                _ => {}
            }
        }
        out
    }

    fn client_says(&mut self, client: u64, says: ClientSays) -> Vec<Effect> {
        self.step(|core, now, out| core.on_client(now, ClientId(client), says, out))
    }

    fn worker_says(&mut self, worker: u64, says: WorkerSays) -> Vec<Effect> {
        self.step(|core, now, out| core.on_worker(now, WorkerId(worker), says, out))
    }

    fn client(&mut self, client: u64) {
        self.client_says(client, ClientSays::Hello(hello(None)));
    }

    fn worker(&mut self, worker: u64, change: impl FnOnce(&mut WorkerHello)) -> Vec<Effect> {
        let mut about = about();
        change(&mut about);
        self.worker_says(worker, WorkerSays::Hello(hello(Some(about))))
    }

    /// Submits, and gives the job that it became.
    fn submit(&mut self, client: u64, submit: Submit) -> JobId {
        let effects = self.client_says(client, ClientSays::Submit(Box::new(submit)));
        match &effects[..] {
            [Effect::ToClient(_, Message::Accepted(accepted)), ..] => accepted.job,
            other => panic!("not accepted: {other:?}"),
        }
    }

    /// The code and the field of the refusal that a SUBMIT meets.
    fn refusal(&mut self, client: u64, submit: Submit) -> (fractally_proto::RefusalCode, String) {
        let effects = self.client_says(client, ClientSays::Submit(Box::new(submit)));
        match &effects[..] {
            [Effect::ToClient(_, Message::Refused(refused))] => (refused.refusal.code, refused.refusal.field.clone()),
            other => panic!("not refused: {other:?}"),
        }
    }

    /// The earliest lease of a worker that was not asked for yet.
    fn lease(&mut self, worker: u64) -> Lease {
        self.try_lease(worker).unwrap_or_else(|| panic!("worker {worker} was leased nothing"))
    }

    fn try_lease(&mut self, worker: u64) -> Option<Lease> {
        let at = self.leased.iter().position(|(id, _)| *id == WorkerId(worker))?;
        Some(self.leased.remove(at).1)
    }

    /// The right tile, every strip of which has `len` bytes; and its payload.
    fn tile(&mut self, lease: &Lease, len: u32) -> (PayloadId, WorkerSays) {
        let strips = band_of(lease).range().map(|strip| StripMeta(len, strip)).collect::<Vec<_>>();
        let bytes = u64::from(len) * strips.len() as u64;
        let tile =
            Tile { attempt: lease.attempt, iterations: 1_000_000, executed: None, compute_ns: 1_000_000, crc32: 0, strips };
        self.payloads += 1;
        let payload = PayloadId(self.payloads);
        (payload, WorkerSays::Tile { tile, payload, bytes })
    }

    /// A worker renders its earliest lease into strips of `len` bytes.
    fn render(&mut self, worker: u64, len: u32) -> (PayloadId, Vec<Effect>) {
        let lease = self.lease(worker);
        let (payload, says) = self.tile(&lease, len);
        (payload, self.worker_says(worker, says))
    }

    fn ack(&mut self, client: u64, job: JobId, have: u32) -> Vec<Effect> {
        self.client_says(client, ClientSays::Ack(Ack { job, have }))
    }

    fn band_failed(&mut self, worker: u64, attempt: AttemptId, failure: BandFailure) -> Vec<Effect> {
        self.worker_says(worker, WorkerSays::BandFailed(BandFailed { attempt, failure, reason: "because".to_owned() }))
    }

    fn heartbeat(&mut self, worker: u64, bands: &[(AttemptId, u64)]) -> Vec<Effect> {
        let bands = bands.iter().map(|&(attempt, progress)| BandProgress(attempt, progress)).collect();
        self.worker_says(worker, WorkerSays::Heartbeat(bands))
    }

    fn tick(&mut self) -> Vec<Effect> {
        self.step(|core, now, out| core.on_tick(now, out))
    }

    /// Time passes, while all peers show life and nothing else.
    fn pass(&mut self, time: Duration) -> Vec<Effect> {
        self.pass_with(time, &[], true)
    }

    /// Time passes, while no peer shows life.
    fn pass_silently(&mut self, time: Duration) -> Vec<Effect> {
        self.pass_with(time, &[], false)
    }

    /// Time passes; the bands named get on.
    fn pass_with(&mut self, time: Duration, moving: &[(u64, AttemptId)], alive: bool) -> Vec<Effect> {
        let until = self.now + time;
        let mut effects = self.tick();
        while self.now < until {
            self.now = until.min(self.now + 100 * MS);
            let clients: Vec<_> = self.core.clients.keys().map(|id| id.0).filter(|_| alive).collect();
            let workers: Vec<_> = self.core.workers.keys().map(|id| id.0).filter(|_| alive).collect();
            for client in clients {
                effects.extend(self.client_says(client, ClientSays::Heartbeat));
            }
            for worker in workers {
                let progress = u64::try_from(self.now.as_millis()).unwrap();
                let bands: Vec<_> = moving.iter().filter(|(of, _)| *of == worker).map(|(_, id)| (*id, progress)).collect();
                effects.extend(self.heartbeat(worker, &bands));
            }
            effects.extend(self.tick());
        }
        effects
    }
}

/// First strip and number of strips of each delivery.
fn delivered(effects: &[Effect]) -> Vec<(u32, u32)> {
    let of = |effect: &Effect| match effect {
        Effect::Deliver { first, strips, .. } => Some((*first, u32::try_from(strips.len()).unwrap())),
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

fn released(effects: &[Effect]) -> Vec<PayloadId> {
    let of = |effect: &Effect| if let Effect::Release(payload) = effect { Some(*payload) } else { None };
    effects.iter().filter_map(of).collect()
}

fn withdrawn(effects: &[Effect]) -> Vec<(u64, AttemptId)> {
    let of = |effect: &Effect| match effect {
        Effect::ToWorker(worker, Message::Withdraw(withdraw)) => Some((worker.0, withdraw.attempt)),
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

fn dropped_workers(effects: &[Effect]) -> Vec<u64> {
    let of = |effect: &Effect| if let Effect::DropWorker(worker) = effect { Some(worker.0) } else { None };
    effects.iter().filter_map(of).collect()
}

fn dropped_clients(effects: &[Effect]) -> Vec<u64> {
    let of = |effect: &Effect| if let Effect::DropClient(client) = effect { Some(client.0) } else { None };
    effects.iter().filter_map(of).collect()
}

/// What clients are told.
fn told(effects: &[Effect]) -> Vec<&Message> {
    effects.iter().filter_map(|effect| if let Effect::ToClient(_, message) = effect { Some(message) } else { None }).collect()
}

fn failure(effects: &[Effect]) -> Option<&str> {
    told(effects)
        .into_iter()
        .find_map(|message| if let Message::Failed(failed) = message { Some(&failed.reason[..]) } else { None })
}

fn error(effects: &[Effect]) -> Option<fractally_proto::ErrorCode> {
    effects.iter().find_map(|effect| match effect {
        Effect::ToClient(_, Message::Error(error)) | Effect::ToWorker(_, Message::Error(error)) => Some(error.code),
        _ => None,
    })
}

fn layout_of(submit: &Submit) -> Layout {
    Layout::of(&submit.request)
}
