//! Neighbours that mean harm, in plain bytes over TCP: each attack that stops, stalls or bloats a broker on the bare ZeroMQ library,
//! against a broker as users start it, while another client's picture is rendered. The picture must come out the same.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use fractally_proto::{Encoding, Epoch, Heartbeat, Hello, Message, WorkerHello};
use fractally_testkit::{Broker, Lab, Process, Worker, eventually};

use crate::{
    ENDLESS, lab,
    peers::{connect, dealer, greeting, read_to_end, send},
};

/// A broker needs some 20 MB, and for one render of this size little more.
const MEMORY_MAX: u64 = 300 << 20;

const SCENE: [&str; 4] = ["--size", "600x400", "--iter", "2000"];

/// A broker with an honest worker, and the picture that it has to make.
struct Siege {
    broker: Broker,
    worker: Worker,
    picture: serde_json::Value,
    lab: Lab,
}

impl Siege {
    fn lay() -> Self {
        Self::lay_to(Broker::start)
    }

    fn lay_to(start: impl FnOnce(&Lab) -> Broker) -> Self {
        let lab = lab();
        let picture = lab.render(SCENE.iter().chain(&["--workers", "1", "-o", "alone.png"]))["sha256"].clone();
        let broker = start(&lab);
        let worker = Worker::start(&lab, &broker, "honest", 1);
        broker.await_status(&lab, "the worker is there", |status| worker.row(status).is_some());
        Self { broker, worker, picture, lab }
    }

    fn endpoints(&self) -> [&str; 2] {
        [&self.broker.clients, &self.broker.workers]
    }

    /// Another client's render, from its request to its file.
    fn render(&self) {
        let report = self.lab.render(["--broker", &self.broker.clients, "-o", "b.png"].iter().chain(&SCENE));
        assert_eq!(report["sha256"], self.picture);
        assert_eq!(report["workers"], 1);
    }

    /// Renders again and again until the attack is over, and once more.
    fn render_during(&self, attack: impl FnOnce() + Send) {
        thread::scope(|scope| {
            let attack = scope.spawn(attack);
            while !attack.is_finished() {
                self.render();
            }
            attack.join().unwrap();
        });
        self.end();
    }

    /// The broker and its worker are as they were.
    fn end(&self) {
        self.render();
        let status = self.broker.status(&self.lab);
        let worker = self.worker.row(&status).expect("the worker is still there");
        assert_eq!(worker["bands_failed"], 0);
        let [_, peak] = self.broker.process.memory();
        assert!(peak < MEMORY_MAX, "the broker has held {peak} bytes");
    }
}

fn hello(endpoint: &str, worker: Option<WorkerHello>) -> TcpStream {
    let mut stream = dealer(endpoint);
    say(&mut stream, &Message::Hello(Hello { agent: "attacker".to_owned(), epoch: Epoch(1), account: None, worker }));
    stream
}

fn say(stream: &mut TcpStream, message: &Message) {
    let frames = message.encode();
    send(stream, &frames).expect("the broker takes it");
}

/// A worker that is not leased anything: it can do no PNG. One that is can spoil the picture as it likes, whatever stands in front.
fn idle_worker() -> WorkerHello {
    WorkerHello {
        name: "idle".to_owned(),
        engine: "none".to_owned(),
        kernel: "none".to_owned(),
        threads: 1,
        credit: 1,
        encodings: vec![Encoding::Counts],
    }
}

/// The head of a long frame.
fn head(flags: u8, bytes: u64) -> Vec<u8> {
    [&[flags | 2][..], &bytes.to_be_bytes()].concat()
}

/// Writes until the broker has had enough, which it must at some time.
fn write_until_ended(stream: &mut TcpStream, bytes: &[u8]) {
    for _ in 0..1_000_000 {
        if let Err(error) = stream.write_all(bytes) {
            assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "the broker neither reads nor ends it");
            return;
        }
    }
    panic!("the broker takes everything");
}

/// On the bare library one such length, before or after READY, aborts the broker.
#[test]
fn lengths_that_lie() {
    let siege = Siege::lay();
    siege.render_during(|| {
        for endpoint in siege.endpoints() {
            for power in 38..=62 {
                for flags in [0, 1, 4] {
                    let mut before_ready = connect(endpoint);
                    before_ready.write_all(&[&greeting()[..], &head(flags, 1 << power)].concat()).unwrap();
                    read_to_end(before_ready);
                    let mut first = dealer(endpoint);
                    first.write_all(&head(flags, 1 << power)).unwrap();
                    read_to_end(first);
                    let worker = (endpoint == siege.broker.workers).then(idle_worker);
                    let mut later = hello(endpoint, worker);
                    later.write_all(&head(flags, 1 << power)).unwrap();
                    assert!(read_to_end(later).contains("malformed"));
                }
            }
        }
    });
}

/// On the bare library they fill the memory.
#[test]
fn endless_frames_of_one_message() {
    let siege = Siege::lay();
    siege.render_during(|| {
        let frames = [1, 200].into_iter().chain([0; 200]).collect::<Vec<u8>>().repeat(50);
        for endpoint in siege.endpoints() {
            write_until_ended(&mut dealer(endpoint), &frames);
            let worker = (endpoint == siege.broker.workers).then(idle_worker);
            write_until_ended(&mut hello(endpoint, worker), &frames);
        }
    });
}

/// On the bare library they stay for ever.
#[test]
fn three_hundred_half_greetings() {
    let siege =
        Siege::lay_to(|lab| Broker::start_with(lab, &["--client-port", "0", "--worker-port", "0", "--handshake-timeout", "1"]));
    for endpoint in siege.endpoints() {
        let before = siege.broker.process.descriptors();
        let mut half: Vec<_> = (0..300).map(|_| connect(endpoint)).collect();
        for (index, stream) in half.iter_mut().enumerate() {
            // Those that were ended already refuse it.
            let _ = stream.write_all(&greeting()[..index % 64]);
        }
        siege.render();
        for stream in half {
            read_to_end(stream);
        }
        eventually("their descriptors are free", || (siege.broker.process.descriptors() <= before + 3).then_some(()));
    }
    siege.end();
}

#[test]
fn garbage_and_other_protocols() {
    let siege = Siege::lay();
    siege.render_during(|| {
        let mut state = 1_u64;
        let mut noise = |len: usize| -> Vec<u8> {
            let next = |_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                state.to_be_bytes()[0]
            };
            (0..len).map(next).collect()
        };
        for endpoint in siege.endpoints() {
            for len in 1..100 {
                for mut bytes in
                    [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), noise(len), [&greeting()[..], &noise(len)].concat()]
                {
                    // A first byte that is no greeting's, or a frame that cannot follow one.
                    if bytes[0] == 0xff && bytes.len() < 64 {
                        bytes[0] = 0;
                    }
                    let mut stream = connect(endpoint);
                    // It may have been ended already.
                    let _ = stream.write_all(&bytes);
                    let _ = stream.shutdown(Shutdown::Write);
                    read_to_end(stream);
                }
                let mut stream = dealer(endpoint);
                let _ = stream.write_all(&[&[0xf8][..], &noise(len)].concat());
                read_to_end(stream);
            }
        }
    });
}

/// On the bare library 1.5 GB pile up for a peer that never reads, and then everybody waits for it.
#[test]
fn a_peer_that_asks_and_never_reads() {
    let siege = Siege::lay();
    siege.render_during(|| {
        let mut stream = hello(&siege.broker.clients, None);
        let mut questions = Vec::new();
        for _ in 0..100 {
            questions.extend(b"\x01\x05FRLY\x01\x01\x01\x20\x00\x01\x80");
        }
        write_until_ended(&mut stream, &questions);
    });
}

/// On the bare library the newest holder of an identity takes the place of the one before, and gets what was meant for it.
#[test]
fn the_identity_of_another() {
    let siege = Siege::lay();
    siege.render_during(|| {
        for endpoint in siege.endpoints() {
            let mut stream = connect(endpoint);
            let ready = b"\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\x06victim";
            stream.write_all(&[&greeting()[..], &[4, u8::try_from(ready.len()).unwrap()], ready].concat()).unwrap();
            let said = read_to_end(stream);
            assert!(said.contains("identity"), "{said:?}");
        }
    });
}

/// On the bare library a peer of libzmq with heartbeats on is thrown out, again and again.
#[test]
fn heartbeats_of_zmtp_are_answered() {
    let siege = Siege::lay();
    for endpoint in siege.endpoints() {
        let mut stream = dealer(endpoint);
        stream.write_all(b"\x04\x0a\x04PING\x00\x64xyz").unwrap();
        let mut pong = [0; 10];
        stream.read_exact(&mut pong).unwrap();
        assert_eq!(&pong, b"\x04\x08\x04PONGxyz");
        let worker = (endpoint == siege.broker.workers).then(idle_worker);
        say(&mut stream, &Message::Hello(Hello { agent: "pinger".to_owned(), epoch: Epoch(1), account: None, worker }));
        stream.write_all(b"\x04\x0a\x04PING\x00\x64abc").unwrap();
        let (mut said, mut buffer) = (Vec::new(), [0; 1000]);
        while !said.windows(7).any(|bytes| bytes == b"PONGabc") || !said.windows(5).any(|bytes| bytes == b"agent") {
            let bytes = stream.read(&mut buffer).unwrap();
            assert!(bytes > 0, "it is thrown out: {}", String::from_utf8_lossy(&said));
            said.extend_from_slice(&buffer[..bytes]);
        }
    }
    siege.end();
}

/// On the bare library the accept loop takes a whole core when no descriptor is left.
#[test]
fn no_descriptor_left() {
    let siege = Siege::lay();
    let process = &siege.broker.process;
    process.limit_descriptors(Some(process.descriptors()));
    let waiting: Vec<_> = siege.endpoints().iter().flat_map(|endpoint| (0..40).map(|_| connect(endpoint))).collect();
    let cpu = process.cpu_time();
    // A spinning loop shows in time alone. It takes all the time of a core that it gets, which is little on a busy machine.
    thread::sleep(Duration::from_secs(2));
    let spent = process.cpu_time() - cpu;
    assert!(spent < Duration::from_millis(200), "the broker has spent {spent:?} in two seconds");
    drop(waiting);
    process.limit_descriptors(None);
    siege.end();
}

#[test]
fn more_connections_than_there_may_be() {
    let siege = Siege::lay_to(|lab| Broker::start_with_descriptors(lab, 128));
    let args = ["render", "--json", "--broker", &siege.broker.clients, "--iter", "6000", "-o", "long.png"];
    let long = siege.lab.start(siege.lab.command(args.iter().chain(&ENDLESS)));
    siege.broker.await_status(&siege.lab, "it works", |status| siege.worker.holds_a_band(status));
    let mut refused = 0;
    let crowd: Vec<_> = siege
        .endpoints()
        .iter()
        .flat_map(|endpoint| {
            let worker = (*endpoint == siege.broker.workers).then(idle_worker);
            // Each stays, and so does one that has said nothing.
            (0..60).map(move |_| [hello(endpoint, worker.clone()), connect(endpoint)])
        })
        .collect();
    assert!(siege.broker.process.descriptors() < 128);
    for [settled, _] in &crowd {
        let mut said = Vec::new();
        settled.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        let _ = { settled }.read_to_end(&mut said);
        refused += u32::from(String::from_utf8_lossy(&said).contains("full"));
    }
    assert!(refused > 0, "nobody was sent away");
    assert_eq!(long.wait().report()["workers"], 1);
    drop(crowd);
    eventually("there is room again", || {
        let args = ["status", "--json", "--broker", &siege.broker.clients];
        (siege.lab.run(args).status.success()).then_some(())
    });
    siege.end();
    let log = stop(siege.broker.process);
    assert!(log.contains("refused") && !log.contains("cannot be accepted"), "{log}");
    assert!(log.lines().count() < 100, "the log is flooded: {log}");
}

fn stop(process: Process) -> String {
    process.terminate();
    process.wait().stderr
}

/// On the bare library a flood of small messages made others wait a thousand times as long.
#[test]
fn a_flood_of_small_messages() {
    let siege = Siege::lay();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let flood = || {
            let mut one = Vec::new();
            for frame in Message::Heartbeat(Heartbeat::default()).encode() {
                one.extend([u8::from(frame[0] & 0xf0 != 0x80), u8::try_from(frame.len()).unwrap()]);
                one.extend_from_slice(&frame);
            }
            let many = one.repeat(1000);
            let mut stream = hello(&siege.broker.clients, None);
            while !is_over.load(Ordering::Relaxed) {
                // It is thrown out now and then for reading nothing.
                if stream.write_all(&many).is_err() {
                    stream = hello(&siege.broker.clients, None);
                }
            }
        };
        scope.spawn(flood);
        siege.render();
        siege.render();
        is_over.store(true, Ordering::Relaxed);
    });
    siege.end();
}

#[test]
fn halves_of_large_messages() {
    let siege = Siege::lay();
    siege.render_during(|| {
        let mut halves = Vec::new();
        for _ in 0..8 {
            let mut stream = hello(&siege.broker.workers, Some(idle_worker()));
            stream.write_all(b"\x01\x05FRLY\x01\x01\x01\x31\x01\x01\x80").unwrap();
            stream.write_all(&[&head(0, 8 << 20)[..], &vec![0; 4 << 20]].concat()).unwrap();
            halves.push(stream);
        }
        for stream in halves {
            read_to_end(stream);
        }
    });
}
