//! Two hundred clients at once, each with a plan of its own: nothing is lost, nothing is mixed up, and who is told to wait and does so is
//! served.

use std::{
    collections::BTreeMap,
    sync::{
        Barrier, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use fractally_testkit::{Answer, Broker, Dice, Gateway, Worker, eventually, seed_of};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    Site,
    siege::{expect_clear_answer, living, open},
};

const CLIENTS: u64 = 200;
/// What each of them does, one after the other.
const DEEDS: u64 = 4;
const PICTURES: u64 = 12;
const TILES: u64 = 6;
/// How often a client comes back; none of those in the plan needs as many.
const TRIES: usize = 60;

/// What a picture must be.
struct Expected {
    fields: Value,
    png: Vec<u8>,
    webp: Vec<u8>,
}

/// What all clients share.
struct Crowd {
    site: Site,
    pictures: Vec<Expected>,
    tiles: Vec<(String, Vec<u8>)>,
    /// Complete previews by picture: the same for all.
    previews: Mutex<BTreeMap<usize, Vec<u8>>>,
    told_to_wait: AtomicUsize,
}

/// Equal bytes have equal digests, which are short to show.
fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Crowd {
    fn gather() -> Self {
        let lab = crate::lab();
        let broker = Broker::keeping(&lab, "state", &[]);
        let worker = Worker::start(&lab, &broker, "w", 2);
        let limits = ["--proxies", "1", "--requests", "100"];
        let args = [&["gateway", "--broker", &broker.clients, "--listen", "127.0.0.1:0"], &limits[..]].concat();
        let gateway = Gateway::start_with(&lab, &args);
        let site = Site { lab, broker, gateway, _worker: worker };
        let pictures = (0..PICTURES).map(|i| expected(&site, i)).collect();
        let tiles = (0..TILES).map(|i| expected_tile(&site, i)).collect();
        Self { site, pictures, tiles, previews: Mutex::default(), told_to_wait: AtomicUsize::new(0) }
    }
}

/// A small picture of its own number: the talk's parameters are enough for it.
fn expected(site: &Site, number: u64) -> Expected {
    let (w, h, iter) = (60 + 10 * number, 50 + 5 * number, 64 + 16 * number);
    let fields = json!({"size": format!("{w}x{h}"), "iter": iter, "cmap": "viridis"});
    let (size, iter) = (format!("{w}x{h}"), iter.to_string());
    let args = ["--size", &size, "--iter", &iter, "--cmap", "viridis"];
    let [png, webp] = ["own.png", "own.webp"].map(|file| site.by_command_line(&args, file));
    Expected { fields, png, webp }
}

fn expected_tile(site: &Site, number: u64) -> (String, Vec<u8>) {
    let (x, y) = (number % 4, number / 4);
    let window = format!("256x256+{}+{}", 256 * x, 256 * y);
    let bytes = site.by_command_line(&["--size", "1024x1024", "--window", &window, "--iter", "99"], "tile.png");
    (format!("/tiles/iter=99/2/{x}/{y}.png"), bytes)
}

/// One of the crowd, known by an address and a name.
struct Client<'a> {
    crowd: &'a Crowd,
    name: String,
    address: String,
}

impl Client<'_> {
    /// Asks until there is another answer than to wait, for as long as it is told to.
    fn patiently(&self, what: &str, ask: impl Fn(&Gateway, &[(&str, &str)]) -> Answer) -> Answer {
        let headers =
            [("X-Forwarded-For", &*self.address), ("Fractally-Client", &*self.name), ("Content-Type", "application/json")];
        for _ in 0..TRIES {
            let answer = ask(&self.crowd.site.gateway, &headers);
            expect_clear_answer(what, &answer);
            if !matches!(answer.status, 429 | 503) {
                return answer;
            }
            self.crowd.told_to_wait.fetch_add(1, Ordering::Relaxed);
            let seconds = answer.header("retry-after").parse().unwrap_or_else(|_| panic!("{what}: {answer:?}"));
            thread::sleep(Duration::from_secs(seconds));
        }
        panic!("{what}: told to wait {TRIES} times");
    }

    fn get_with(&self, path: &str, more: &[(&str, &str)]) -> Answer {
        self.patiently(path, |gateway, headers| gateway.get_with(path, &[headers, more].concat()))
    }

    fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[])
    }

    /// Asks for a picture and gives its path.
    fn ask_for(&self, picture: &Expected) -> String {
        let body = picture.fields.to_string();
        let answer = self.patiently("POST", |gateway, headers| gateway.post_with("/api/v1/renders", headers, body.as_bytes()));
        assert!(matches!(answer.status, 200 | 202), "{}: {}", answer.status, answer.text());
        answer.header("location").to_owned()
    }

    /// The same, once it is there.
    fn have(&self, picture: &Expected) -> String {
        let path = self.ask_for(picture);
        loop {
            let render = self.get(&format!("{path}?wait=5&until=done")).json();
            match render["state"].as_str() {
                Some("done") => return path,
                Some("waiting" | "running" | "paused") => {}
                _ => panic!("{}: {render}", self.name),
            }
        }
    }

    fn expect(&self, what: &str, answer: &Answer, status: u16, expected: &[u8]) {
        assert_eq!(answer.status, status, "{}: {what}: {}", self.name, answer.text());
        assert_eq!(digest(&answer.body), digest(expected), "{}: {what} is something else", self.name);
    }

    /// One deed, and how it is called.
    fn act(&self, dice: &mut Dice) -> &'static str {
        let number = usize::try_from(dice.pick(0..PICTURES)).unwrap();
        let picture = &self.crowd.pictures[number];
        match dice.pick(0..8) {
            0 => self.look_at_file(picture),
            1 => self.look_while_it_comes(picture),
            2 => self.look_at_parts(picture, dice),
            3 => self.look_at_another_type(picture),
            4 => self.look_at_tile(dice),
            5 => self.look_at_preview(picture, number),
            6 => self.give_up_and_ask_again(picture),
            _ if number.is_multiple_of(2) => self.follow(picture),
            _ => self.talk(number, picture),
        }
    }

    fn look_at_file(&self, picture: &Expected) -> &'static str {
        let path = self.have(picture);
        self.expect("a file", &self.get(&format!("{path}/image")), 200, &picture.png);
        "file"
    }

    fn look_while_it_comes(&self, picture: &Expected) -> &'static str {
        let path = self.ask_for(picture);
        self.expect("a stream", &self.get(&format!("{path}/image.png")), 200, &picture.png);
        "stream"
    }

    fn look_at_parts(&self, picture: &Expected, dice: &mut Dice) -> &'static str {
        let path = format!("{}/image", self.have(picture));
        let len = picture.png.len();
        let [one, two] = [(); 2].map(|()| usize::try_from(dice.pick(0..len as u64)).unwrap());
        let (from, to) = (one.min(two), one.max(two));
        let part = self.get_with(&path, &[("Range", &format!("bytes={from}-{to}"))]);
        self.expect("a part", &part, 206, &picture.png[from..=to]);
        "part"
    }

    fn look_at_another_type(&self, picture: &Expected) -> &'static str {
        let path = self.have(picture);
        self.expect("WebP", &self.get(&format!("{path}/image.webp")), 200, &picture.webp);
        "webp"
    }

    fn look_at_tile(&self, dice: &mut Dice) -> &'static str {
        let (path, expected) = &self.crowd.tiles[usize::try_from(dice.pick(0..TILES)).unwrap()];
        self.expect("a tile", &self.get(path), 200, expected);
        "tile"
    }

    fn look_at_preview(&self, picture: &Expected, number: usize) -> &'static str {
        let path = self.ask_for(picture);
        let preview = self.get(&format!("{path}/preview?width=40"));
        assert_eq!((preview.status, &preview.body[..4]), (200, &b"\x89PNG"[..]), "{}", self.name);
        if !preview.header("etag").is_empty() {
            let mut previews = self.crowd.previews.lock().unwrap();
            let first = previews.entry(number).or_insert_with(|| preview.body.clone());
            self.expect("a preview", &preview, 200, first);
        }
        "preview"
    }

    fn give_up_and_ask_again(&self, picture: &Expected) -> &'static str {
        let path = self.ask_for(picture);
        let answer = self.patiently("DELETE", |gateway, headers| gateway.delete_with(&path, headers));
        assert_eq!(answer.status, 204, "{}", answer.text());
        self.look_at_file(picture);
        "deleted"
    }

    fn follow(&self, picture: &Expected) -> &'static str {
        let path = self.ask_for(picture);
        let id = path.rsplit('/').next().unwrap();
        let unknown = "0".repeat(32);
        let stream = self.get(&format!("/api/v1/events?id={id}&id={unknown}"));
        let text = stream.text();
        let told = |data: &str| {
            let data: Value = serde_json::from_str(data).unwrap();
            assert!(data["id"] == id || data["id"] == unknown.as_str() || data == json!({}), "{}: {data}", self.name);
            data["state"] == "done"
        };
        let done = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| told(data)).count();
        assert!(done == 1 && text.ends_with("event: end\ndata: {}\n\n"), "{}: {text}", self.name);
        "events"
    }

    fn talk(&self, number: usize, picture: &Expected) -> &'static str {
        let (w, h, iter) = (60 + 10 * number, 50 + 5 * number, 64 + 16 * number);
        let call = format!("/?w={w}&h={h}&iter={iter}&cre=-0.8&cim=0.156&cmap=viridis");
        let url = self.get_with(&call, &[("Accept", "application/json")]).json()["url"].as_str().unwrap().to_owned();
        let mut answer = self.get(&url);
        for _ in 0..TRIES {
            if answer.status != 202 {
                break;
            }
            thread::sleep(Duration::from_secs(answer.header("retry-after").parse().unwrap()));
            answer = self.get(&url);
        }
        self.expect("the talk's picture", &answer, 200, &picture.png);
        "talk"
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "it tells how long a crowd took")]
fn two_hundred_clients_get_each_what_is_theirs() {
    let seed = seed_of("FRACTALLY_SEED", 7);
    println!("FRACTALLY_SEED={seed}");
    let crowd = Crowd::gather();
    let (begun, start) = (Instant::now(), Barrier::new(usize::try_from(CLIENTS).unwrap()));
    let mut dice = Dice::new(seed);
    let deeds: Vec<&str> = thread::scope(|scope| {
        let clients = (0..CLIENTS).map(|number| {
            let (crowd, start, mut dice) = (&crowd, &start, dice.split());
            scope.spawn(move || {
                let client = Client { crowd, name: format!("client-{number}"), address: format!("10.0.1.{number}") };
                start.wait();
                (0..DEEDS).map(|_| client.act(&mut dice)).collect::<Vec<_>>()
            })
        });
        let clients: Vec<_> = clients.collect();
        clients.into_iter().flat_map(|client| client.join().expect("what it found is above")).collect()
    });
    let mut counts = BTreeMap::new();
    deeds.iter().for_each(|deed| *counts.entry(deed).or_insert(0) += 1);
    let waits = crowd.told_to_wait.load(Ordering::Relaxed);
    println!("{counts:?} in {:?}, told to wait {waits} times", begun.elapsed());
    assert_eq!(deeds.len() as u64, CLIENTS * DEEDS);
    let Site { lab, broker, gateway, _worker } = crowd.site;
    eventually("no request is open", || (open(&gateway) == 0).then_some(()));
    eventually("no job lives", || (living(&broker.status(&lab)) == 0).then_some(()));
    gateway.process.terminate();
    let run = gateway.process.wait();
    assert!(run.status.success() && !run.stderr.contains("panicked"), "{}", run.stderr);
}
