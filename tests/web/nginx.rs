//! Two gateways behind nginx, by the very file that the README names.
//!
//! Where nginx is missing this says so and passes, unless `FRACTALLY_NGINX=required` is set.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    path::Path,
    process::Command,
};

use fractally_testkit::{Broker, Gateway, Lab, Worker, eventually, lasting_ports};
use serde_json::json;

use crate::{endless, lab};

/// nginx before two gateways of one broker.
struct Front {
    nginx: Gateway,
    gateways: Vec<Gateway>,
    broker: Broker,
    lab: Lab,
    _worker: Worker,
}

impl Front {
    /// None where there is no nginx.
    fn start() -> Option<Self> {
        // Debian keeps it where not everybody looks.
        let path = format!("{}:/usr/sbin:/usr/local/sbin", env::var("PATH").unwrap_or_default());
        let program = env::split_paths(&path).map(|folder| folder.join("nginx")).find(|file| file.is_file());
        let Some(program) = program else {
            assert!(env::var("FRACTALLY_NGINX").as_deref() != Ok("required"), "FRACTALLY_NGINX=required, but there is none");
            eprintln!("\n{0}\n  NOT TESTED: docs/nginx.conf; nginx is not installed\n{0}\n", "=".repeat(78));
            return None;
        };
        let lab = lab();
        let broker = Broker::keeping(&lab, "state", &[]);
        let worker = Worker::start(&lab, &broker, "w", 2);
        let ([first, second], [front, _]) = (lasting_ports(), lasting_ports());
        let gateways = [&first, &second].map(|port| {
            let listen = format!("127.0.0.1:{port}");
            Gateway::start_with(&lab, &["gateway", "--broker", &broker.clients, "--listen", &listen, "--proxies", "1"])
        });
        let file = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/nginx.conf")).unwrap();
        let file = [("8080", &front), ("8081", &first), ("8082", &second)].iter().fold(file, |file, (old, new)| {
            let (old, new) = (format!("127.0.0.1:{old}"), format!("127.0.0.1:{new}"));
            assert!(file.contains(&old), "{old} is not in docs/nginx.conf");
            file.replace(&old, &new)
        });
        let folder = lab.path("front");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("nginx.conf"), file).unwrap();
        // Nobody else can enter the lab, so root's nginx must not become somebody else.
        let user = if is_root() { " user root root;" } else { "" };
        let mut command = Command::new(program);
        command.arg("-p").arg(&folder).arg("-c").arg(folder.join("nginx.conf"));
        command.args(["-g", &format!("daemon off;{user}")]).env("TMPDIR", lab.temporary());
        let nginx = Gateway::behind(lab.start(command), &format!("http://127.0.0.1:{front}"));
        eventually("nginx serves", || nginx.try_get("/livez"));
        Some(Self { nginx, gateways: gateways.into(), broker, lab, _worker: worker })
    }

    /// What nginx noted of the requests of this name: for each, who answered it.
    fn answered(&self, name: &str) -> Vec<String> {
        let log = fs::read_to_string(self.lab.path("front/access.log")).unwrap();
        let lines = log.lines().filter(|line| line.split(' ').nth(1) == Some(name));
        lines.map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // Killed outright, it would leave its workers.
        self.nginx.process.terminate();
        eventually("nginx has gone", || (!self.nginx.process.is_running()).then_some(()));
    }
}

fn is_root() -> bool {
    // The owner of one's own process.
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").unwrap().uid() == 0
}

#[test]
fn two_gateways_behind_nginx_are_one() {
    let Some(mut front) = Front::start() else { return };
    let nginx = &front.nginx;
    let id = nginx.render(&json!({"size": "300x200"}))["id"].as_str().unwrap().to_owned();
    assert_eq!(nginx.finished(&id)["state"], "done");
    let path = format!("/api/v1/renders/{id}");

    // In turn, each request by its name.
    for _ in 0..6 {
        let answer = nginx.get_with(&path, &[("X-Request-Id", "turn-1")]);
        assert_eq!((answer.status, answer.header("x-request-id")), (200, "turn-1"));
    }
    let mut who = eventually("nginx has noted them", || Some(front.answered("turn-1")).filter(|who| who.len() == 6));
    who.sort();
    who.dedup();
    assert_eq!(who.len(), 2, "{who:?}");
    let odd = nginx.get_with(&path, &[("X-Request-Id", "a b")]);
    assert_eq!(odd.header("x-request-id").len(), 32, "nginx names what has no name");

    // Files: tags and parts.
    let file = nginx.get(&format!("{path}/image"));
    let etag = file.header("etag");
    assert!(etag.contains(&id) && file.body.starts_with(b"\x89PNG"), "{etag}");
    assert_eq!(nginx.get_with(&format!("{path}/image"), &[("If-None-Match", etag)]).status, 304);
    let part = nginx.get_with(&format!("{path}/image"), &[("Range", "bytes=10-19")]);
    assert_eq!((part.status, &part.body[..]), (206, &file.body[10..20]));

    // Tiles: the second time from nginx, under the name of its own request.
    let tile = |name: &str| nginx.get_with("/tiles/-/3/4/4.png", &[("X-Request-Id", name)]);
    let (first, second) = (tile("tile-1"), tile("tile-2"));
    assert_eq!([first.header("x-cache"), second.header("x-cache")], ["MISS", "HIT"]);
    assert_eq!([first.header("x-request-id"), second.header("x-request-id")], ["tile-1", "tile-2"]);
    assert!(first.body == second.body && !first.header("etag").is_empty());
    assert_eq!(nginx.get_with("/tiles/-/3/4/4.png", &[("If-None-Match", first.header("etag"))]).status, 304);
    nginx.get("/tiles/-/99/0/0.png").expect_problem(404, None);
    assert_eq!(nginx.get("/metrics").status, 404);

    // One is killed: the other serves, whatever is asked.
    let mut lost = front.gateways.remove(0);
    lost.process.kill();
    eventually("it is gone", || (!lost.process.is_running()).then_some(()));
    for i in 0..8 {
        assert_eq!(front.nginx.get(&path).status, 200);
        assert_eq!(front.nginx.post("/api/v1/renders", &json!({"size": "30x20", "iter": 50 + i})).status / 100, 2);
    }
    drop(lost);
}

#[test]
fn events_pass_nginx_as_they_come_and_renders_are_counted_for_who_is_before_it() {
    let Some(front) = Front::start() else { return };
    let fields = endless();
    // Another client of this machine, who says that he is somebody else again.
    let mut curl = Command::new("curl");
    curl.args(["-sf", "--interface", "127.0.0.7", "-H", "X-Forwarded-For: 203.0.113.9", "--noproxy", "*", "--json"]);
    curl.args([fields.to_string(), format!("{}/api/v1/renders", front.nginx.url)]);
    let run = front.lab.start(curl).wait();
    let id = run.report()["id"].as_str().unwrap().to_owned();
    let job = front.broker.jobs(&front.lab).remove(0);
    assert_eq!(job["account"], "web:127.0.0.7", "{job}");

    // It is never done, so what comes has come as it was said.
    let mut stream = TcpStream::connect(front.nginx.url.strip_prefix("http://").unwrap()).unwrap();
    write!(stream, "GET /api/v1/events?id={id} HTTP/1.1\r\nHost: x\r\nX-Request-Id: stream-1\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.eq_ignore_ascii_case("content-type: text/event-stream")));
    assert!(lines.any(|line| line == "event: render"));
    let data = lines.next().unwrap();
    assert!(data.starts_with("data: ") && data.contains(&id), "{data}");
    // And its end as soon as it is given up, by the interest of the same client.
    let mut curl = Command::new("curl");
    curl.args(["-sf", "--interface", "127.0.0.7", "--noproxy", "*", "-X", "DELETE"]);
    curl.arg(format!("{}/api/v1/renders/{id}", front.nginx.url));
    assert!(front.lab.start(curl).wait().status.success());
    assert!(lines.any(|line| line == "event: end"));
}
