//! What a band costs the broker's state machine: `cargo bench -p fractally-broker-core`.
//!
//! A thousand workers hold two bands each; the workers' answers and the client's acknowledgements come in turn, so one band is a TILE, a
//! delivery, an ACK, a release and a lease. Four jobs share the grid. Prints nanoseconds a band, the least and the median of the rounds.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock; the state machine does not")]

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use fractally_broker_core::{ClientId, ClientSays, Config, Core, Effect, PayloadId, WorkerId, WorkerSays};
use fractally_proto::{
    Ack, Encoding, Epoch, Hello, JobKey, LeaseKind, Message, Request, Samples, Size, StripMeta, Submit, Tile, Window, WorkerHello,
};

const WORKERS: u64 = 1_000;
const JOBS: u8 = 4;
const BANDS_PER_ROUND: u32 = 200_000;
const ROUNDS: usize = 7;

struct Bench {
    core: Core,
    now: Duration,
    payloads: u64,
    bands: u32,
    to_broker: VecDeque<Answer>,
    out: Vec<Effect>,
}

enum Answer {
    Worker(WorkerId, WorkerSays),
    Client(ClientId, ClientSays),
}

fn hello(worker: Option<WorkerHello>) -> Hello {
    Hello { agent: "bench".to_owned(), epoch: Epoch(1), account: None, worker }
}

impl Bench {
    fn new() -> Self {
        let mut config = Config::new("bench", Epoch(1));
        (config.reorder_bytes_max, config.held_bytes_max) = (1 << 40, 1 << 42);
        let core = Core::new(config);
        let mut bench = Self { core, now: Duration::ZERO, payloads: 0, bands: 0, to_broker: VecDeque::new(), out: Vec::new() };
        bench.to_broker.push_back(Answer::Client(ClientId(1), ClientSays::Hello(hello(None))));
        for worker in 0..WORKERS {
            let about = WorkerHello {
                name: format!("worker-{worker}"),
                engine: "e".to_owned(),
                kernel: "k".to_owned(),
                threads: 1,
                credit: 2,
                encodings: vec![Encoding::Png, Encoding::Counts],
            };
            bench.to_broker.push_back(Answer::Worker(WorkerId(worker), WorkerSays::Hello(hello(Some(about)))));
        }
        for job in 0..JOBS {
            // A million strips of one row.
            let size = Size { w: 65_536, h: 1_000_000 };
            let window = Window::whole(size);
            let (center, encoding) = ([0.1, 0.0], Encoding::Counts);
            let request = Request { center, size, window, encoding, iterations: 1_000_000, ..Request::default() };
            let (key, priority) = (JobKey([job; 16]), fractally_proto::Priority::Batch);
            let submit = Submit { key, priority, have: 0, engine: None, window_bytes: 16 << 20, request_id: None, request };
            bench.to_broker.push_back(Answer::Client(ClientId(1), ClientSays::Submit(Box::new(submit))));
        }
        bench
    }

    fn run(&mut self, bands: u32) {
        let until = self.bands + bands;
        while self.bands < until {
            self.now += Duration::from_micros(1);
            match self.to_broker.pop_front().expect("somebody always has something to say") {
                Answer::Worker(worker, says) => self.core.on_worker(self.now, worker, says, &mut self.out),
                Answer::Client(client, says) => self.core.on_client(self.now, client, says, &mut self.out),
            }
            if self.core.next_deadline().is_some_and(|at| at <= self.now) {
                self.core.on_tick(self.now, &mut self.out);
            }
            for effect in std::mem::take(&mut self.out) {
                self.answer(effect);
            }
        }
    }

    fn answer(&mut self, effect: Effect) {
        match effect {
            Effect::ToWorker(worker, Message::Lease(lease)) => {
                let attempt = lease.attempt;
                let says = match lease.kind {
                    LeaseKind::Probe(_) => WorkerSays::Samples { samples: Samples { attempt, compute_ns: 1 }, rows: Vec::new() },
                    LeaseKind::Band { first, strips } => {
                        self.bands += 1;
                        self.payloads += 1;
                        let strips: Vec<_> = (first..first + strips).map(|strip| StripMeta(1000, strip)).collect();
                        let bytes = 1000 * strips.len() as u64;
                        // So costly that a band is one strip.
                        let work = (1 << 31) * strips.len() as u64;
                        let tile = Tile { attempt, iterations: work, executed: None, compute_ns: work, crc32: 0, strips };
                        WorkerSays::Tile { tile, payload: PayloadId(self.payloads), bytes }
                    }
                };
                self.to_broker.push_back(Answer::Worker(worker, says));
            }
            Effect::Deliver { client, job, first, strips, .. } => {
                let have = first + u32::try_from(strips.len()).expect("few");
                self.to_broker.push_back(Answer::Client(client, ClientSays::Ack(Ack { job, have })));
            }
            Effect::DropWorker(_) | Effect::DropClient(_) => panic!("nobody misbehaves here"),
            Effect::ToClient(..) | Effect::ToWorker(..) | Effect::ToJournal(_) | Effect::Release(_) | Effect::Note(_) => {}
        }
    }
}

fn main() {
    // Under `cargo test --benches` it only has to run.
    let (bands, rounds) = if std::env::args().any(|arg| arg == "--bench") { (BANDS_PER_ROUND, ROUNDS) } else { (5_000, 1) };
    let mut bench = Bench::new();
    bench.run(bands / 4);
    let mut ns: Vec<f64> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            bench.run(bands);
            start.elapsed().as_secs_f64() * 1e9 / f64::from(bands)
        })
        .collect();
    ns.sort_by(f64::total_cmp);
    println!(
        "{WORKERS} workers, {JOBS} jobs, {bands} bands a round: least {:.0} ns, median {:.0} ns a band",
        ns[0],
        ns[rounds / 2]
    );
    bench.core.check_invariants();
}
