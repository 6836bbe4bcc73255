//! Clients that take their time: heads and bodies that drip, uploads that break off, readers that stand still.
//!
//! All of them are shown out after the gateway's patience, which is short here, and hold nothing afterwards.

use std::time::{Duration, Instant};

use fractally_testkit::{Gateway, Raw, eventually};
use serde_json::json;

use crate::{
    endless,
    siege::{PATIENCE_S, Siege},
};

/// Much longer than patience, much shorter than the shortest time in which a drip would be through.
const SOON: Duration = Duration::from_secs(PATIENCE_S * 15);
const DRIP: Duration = Duration::from_millis(100);

fn head(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")
}

#[test]
fn heads_and_bodies_that_drip_are_cut_off() {
    let siege = Siege::lay(&[]);
    let post =
        "POST /api/v1/renders HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 6.6.6.6\r\nContent-Type: application/json\r\n";
    let starts = [
        String::new(),
        "GET /livez HTTP/1.1\r\nA: ".to_owned(),
        // After a request that was answered, too.
        format!("{}GET /livez HTTP/1.1\r\nA: ", head("/livez")),
        format!("{post}Content-Length: 10000\r\n\r\n"),
        format!("{post}Transfer-Encoding: chunked\r\n\r\n1000\r\n"),
    ];
    siege.while_an_honest_client_works(|| {
        std::thread::scope(|scope| {
            for start in &starts {
                for _ in 0..10 {
                    let gateway = siege.gateway();
                    scope.spawn(move || {
                        let mut raw = Raw::to(gateway);
                        raw.say(start);
                        let took = raw.drip(DRIP);
                        assert!(took < SOON, "{start:?} dripped for {took:?}");
                    });
                }
            }
        });
    });
    siege.lift();
}

#[test]
fn a_body_that_takes_too_long_is_told_so_and_one_that_breaks_off_leaves_nothing() {
    let siege = Siege::lay(&[]);
    let half = "POST /api/v1/renders HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 6.6.6.6\r\nContent-Type: application/json\r\n\
                Content-Length: 100\r\n\r\n{\"size\": ";
    siege.while_an_honest_client_works(|| {
        let mut raw = Raw::to(siege.gateway());
        raw.say(half);
        let said = raw.answer().unwrap();
        assert_eq!((said.status, said.header("content-type")), (408, "application/problem+json"));
        assert!(raw.rest().is_empty());
        for _ in 0..100 {
            Raw::to(siege.gateway()).say(half);
        }
        // Who says nothing after an answer is shown out as well.
        let mut raw = Raw::to(siege.gateway());
        raw.say(head("/livez"));
        assert_eq!(raw.answer().unwrap().status, 200);
        assert!(raw.rest().is_empty());
    });
    siege.lift();
}

/// A render of raw counts whose upper rows, some 80 MB of them, cost nothing, and whose lower ones never end.
fn much_and_then_endless() -> serde_json::Value {
    json!({
        "c": "-0.390540870218399-0.586787907346969i",
        "center": "5i",
        "width": 4,
        "size": "3000x9000",
        "iter": 1_000_000_000,
        "format": "npy",
    })
}

/// A render that is over, and its file.
fn finished(gateway: &Gateway, fields: &serde_json::Value) -> (String, Vec<u8>) {
    let id = gateway.render(fields)["id"].as_str().unwrap().to_owned();
    assert_eq!(gateway.finished(&id)["state"], "done");
    let file = gateway.get(&format!("/api/v1/renders/{id}/image")).body;
    (id, file)
}

/// Readers of a path who take the head and nothing more.
fn stand_still(gateway: &Gateway, path: &str, count: usize) -> Vec<Raw> {
    let connect = |_| {
        let mut raw = Raw::stingy(gateway);
        raw.say(head(path));
        raw
    };
    (0..count).map(connect).collect()
}

/// Lets fifty readers of a path stand still until they are cut off, and tells by how many MiB the gateway grew.
fn memory_of_fifty(siege: &Siege, known: (&str, &[u8]), path: &str) -> u64 {
    let gateway = siege.gateway();
    let descriptors = gateway.process.descriptors();
    let [before, _] = gateway.process.memory();
    let mut most = before;
    let readers = siege.while_an_honest_client_looks(known, || {
        let readers = stand_still(gateway, path, 50);
        eventually("all are being answered", || (siege.open() >= 50).then_some(()));
        eventually("all are cut off", || {
            most = most.max(gateway.process.memory()[0]);
            (siege.open() < 10).then_some(())
        });
        readers
    });
    eventually("their connections to the broker are closed", || (gateway.process.descriptors() < descriptors + 20).then_some(()));
    for mut reader in readers {
        // The rest of what the system had taken; then the end.
        assert!(reader.rest().len() < 64 << 20);
    }
    (most - before) >> 20
}

#[test]
fn readers_who_stand_still_are_cut_off_and_cost_little_until_then() {
    let siege = Siege::lay(&[]);
    let gateway = siege.gateway();
    let (known, file) = finished(gateway, &json!({"size": "80x60"}));
    let known = (known.as_str(), &file[..]);
    let id = gateway.render(&much_and_then_endless())["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/renders/{id}");
    eventually("much of it is there", || (gateway.get(&path).json()["rows_done"].as_u64() > Some(5000)).then_some(()));
    let grown = memory_of_fifty(&siege, known, &format!("{path}/image"));
    println!("50 readers of a render that goes on: {grown} MiB");
    assert!(grown < 50 * 4, "{grown} MiB");
    assert_eq!(gateway.delete_as("test", &path).status, 204);

    let done = json!({"size": "5000x5000", "iter": 2, "center": "0.1+0.1i", "format": "npy"});
    let id = gateway.render(&done)["id"].as_str().unwrap().to_owned();
    assert_eq!(gateway.finished(&id)["state"], "done");
    let grown = memory_of_fifty(&siege, known, &format!("/api/v1/renders/{id}/image"));
    println!("50 readers of a file of 100 MB: {grown} MiB");
    assert!(grown < 50 * 4, "{grown} MiB");
    siege.lift();
}

/// So many pictures were followed that no connection was left for questions, and every other request waited for its turn for ever.
#[test]
fn readers_who_wait_leave_room_for_others() {
    let siege = Siege::lay(&["--requests-per-client", "400"]);
    let gateway = siege.gateway();
    let id = gateway.render(&endless())["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/renders/{id}");
    eventually("it is being rendered", || (gateway.get(&path).json()["state"] == "running").then_some(()));
    let (mut served, mut refused) = (Vec::new(), 0);
    for mut reader in stand_still(gateway, &format!("{path}/image"), 170) {
        let said = reader.answer_to_head().unwrap();
        match said.status {
            200 => served.push(reader),
            status => {
                assert_eq!((status, said.header("retry-after")), (503, "2"));
                refused += 1;
            }
        }
    }
    assert!(refused >= 30, "{refused} were refused");
    assert_eq!(gateway.get(&path).json()["state"], "running");
    drop(served);
    assert_eq!(gateway.delete_as("test", &path).status, 204);
    siege.lift();
}

#[test]
#[expect(clippy::disallowed_methods, reason = "it tells how long the end took")]
fn it_ends_in_time_whoever_stands_still() {
    let siege = Siege::lay(&["--drain-timeout", "0.5"]);
    let id = siege.gateway().render(&endless())["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/renders/{id}/image");
    let _readers = stand_still(siege.gateway(), &path, 10);
    eventually("all are being answered", || (siege.open() >= 10).then_some(()));
    let begun = Instant::now();
    siege.site.gateway.process.terminate();
    let run = siege.site.gateway.process.wait();
    assert!(run.status.success() && !run.stderr.contains("panicked"), "{run:?}");
    assert!(begun.elapsed() < SOON, "it took {:?} to end", begun.elapsed());
}

/// Without descriptors nobody new is let in, and it is as before once there are some.
#[test]
fn a_gateway_without_descriptors_serves_again_when_there_are_some() {
    let siege = Siege::lay(&[]);
    let gateway = siege.gateway();
    let used = gateway.process.descriptors();
    gateway.process.limit_descriptors(Some(used + 8));
    let mut waiting: Vec<_> = (0..40).map(|_| Raw::to(gateway)).collect();
    for raw in &mut waiting {
        raw.say(head("/livez"));
    }
    // Each is shown out after its answer, and the next one let in.
    for raw in &mut waiting {
        assert_eq!(raw.answer().unwrap().status, 200);
    }
    gateway.process.limit_descriptors(None);
    siege.while_an_honest_client_works(|| ());
    siege.lift();
}
