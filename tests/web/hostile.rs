//! What no honest client says: garbage, nonsense in every part of a request, requests in heaps, too much of everything. The answer is a
//! clear problem or a closed connection, and an honest client notices nothing.
//!
//! Those who are slow, or stand still, are in `slow.rs`.

use std::fmt::Write;

use fractally_testkit::{Dice, Raw, Said, eventually, seed_of};
use serde_json::json;

use crate::{
    endless,
    siege::{Siege, expect_clear, expect_clear_answer},
};

/// A well-formed request whose connection the gateway closes.
fn request(method: &str, path: &str, more: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n{more}\r\n")
        .into_bytes()
}

/// The same with a body of JSON.
fn posted(body: &[u8]) -> Vec<u8> {
    let head = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    [request("POST", "/api/v1/renders", &head), body.to_vec()].concat()
}

/// Says each on a connection of its own, all at once, and gives what came back on each before it was closed.
fn said_to_each(siege: &Siege, all: &[Vec<u8>]) -> Vec<Vec<Said>> {
    let mut connections: Vec<_> = all
        .iter()
        .map(|bytes| {
            let mut raw = Raw::to(siege.gateway());
            raw.say(bytes);
            raw
        })
        .collect();
    let said: Vec<_> = connections.iter_mut().map(|raw| Said::all(&raw.rest())).collect();
    for (bytes, said) in all.iter().zip(&said) {
        let start = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
        for one in said {
            expect_clear(&start, one.status, one.header("content-type"), &one.body);
        }
    }
    said
}

#[test]
fn garbage_is_answered_clearly_or_not_at_all() {
    let siege = Siege::lay(&[]);
    let seed = seed_of("FRACTALLY_SEED", 1);
    println!("FRACTALLY_SEED={seed}");
    let mut dice = Dice::new(seed);
    let mut all: Vec<Vec<u8>> = [
        &b"GET /livez\r\n\r\n"[..],
        b"GET / HTTP/0.9\r\n\r\n",
        b"GET / HTTP/3.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\0\0\0\0\r\n\r\n",
        b"GET  /livez  HTTP/1.1\r\n\r\n",
        b"GET\t/livez\tHTTP/1.1\r\n\r\n",
        b"/livez\r\n\r\n",
        b"GET livez HTTP/1.1\r\n\r\n",
        b"GET http:// HTTP/1.1\r\n\r\n",
        b" GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nNo colon\r\n\r\n",
        b"GET / HTTP/1.1\r\n: no name\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: \0\r\n\r\n",
        b"POST /api/v1/renders HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}   ",
        b"POST /api/v1/renders HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/v1/renders HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /api/v1/renders HTTP/1.1\r\nContent-Length: 2, 2\r\n\r\n{}",
        b"POST /api/v1/renders HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST /api/v1/renders HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n",
        b"POST /api/v1/renders HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /api/v1/renders HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    ]
    .into_iter()
    .map(<[u8]>::to_vec)
    .collect();
    for _ in 0..30 {
        let count = dice.pick(1..2000);
        let mut bytes: Vec<u8> = (0..count).map(|_| u8::try_from(dice.pick(0..256)).unwrap()).collect();
        if dice.pick(0..2) == 0 {
            // A request that breaks off into garbage.
            bytes.splice(0..0, *b"GET /livez HTTP/1.1\r\nA: ");
        }
        bytes.extend(b"\r\n\r\n");
        all.push(bytes);
    }
    siege.while_an_honest_client_works(|| said_to_each(&siege, &all));
    siege.lift();
}

#[test]
fn nonsense_in_methods_paths_and_headers_is_a_clear_problem() {
    let siege = Siege::lay(&[]);
    let id = siege.gateway().render(&json!({"size": "40x30"}))["id"].as_str().unwrap().to_owned();
    siege.gateway().finished(&id);
    let image = format!("/api/v1/renders/{id}/image");
    let mut all = Vec::new();
    for method in ["TRACE", "CONNECT", "FOO", "PUT", "PATCH", "OPTIONS", "get", &"M".repeat(3000), "PROPFIND"] {
        for path in ["/livez", &image, "*", "example.org:443", "http://example.org/livez"] {
            all.push(request(method, path, ""));
        }
    }
    let long = "a".repeat(10_000);
    let paths = [
        "/%00",
        "/%ff",
        "/%",
        "/%zz",
        "//",
        "//livez",
        "/..",
        "/../../etc/passwd",
        "/assets/..%2f..%2fCargo.toml",
        "/assets/%00",
        "/assets/",
        "/assets//js",
        "/api/v1/renders/",
        "/api/v1/renders//image",
        "/api/v1/renders/%ff",
        "/api/v1/renders/%00/image",
        "/image/",
        "/image/%ff",
        "/image/..",
        "/tiles/%ff/0/0/0.png",
        "/tiles//0/0/0.png",
        "/tiles/-/0/0/%00.png",
        "/tiles/-/0/0/",
        "/tiles/c=nan/0/0/0.png",
        "/tiles/c=1e999/0/0/0.png",
        "/tiles/width=inf/0/0/0.png",
        "/tiles/width=-0/0/0/0.png",
        "/tiles/center=1e308/0/0/0.png",
        "/tiles/-/4294967296/0/0.png",
        "/tiles/-/22/4194304/0.png",
        "/tiles/-/00/0/0.png",
        "/tiles/iter=99999999999/0/0/0.png",
        "/tiles/a=b=c,,,/0/0/0.png",
        "/?w=99999999999&h=1",
        "/?w=-1",
        "/?w=1&w=2&h=",
        "/?%ff=%00",
        "/?cre=NaN",
        "/?cim=1e400",
        "/?w=1000000&h=1000001",
        "/?&&&",
        "/?=",
        "/api/v1/events?id=",
        "/api/v1/events?id=%ff",
        "/api/v1/events?",
        "/\u{fc}ber",
        "/livez?\u{1f300}",
    ];
    all.extend(paths.iter().map(|path| request("GET", path, "")));
    all.push(request("GET", &format!("/{long}"), ""));
    all.push(request("GET", &format!("/tiles/{long}/0/0/0.png"), ""));
    all.push(request("GET", &format!("/?{long}={long}"), ""));
    all.push(request("GET", &format!("/{}", "/".repeat(9000)), ""));
    for ids in [65, 200] {
        let query = (0..ids).fold(String::new(), |mut query, i| {
            write!(query, "id={i:032x}&").unwrap();
            query
        });
        all.push(request("GET", &format!("/api/v1/events?{query}"), ""));
    }
    let odd = "bytes=0-0,".repeat(900);
    for (name, value) in [
        ("Accept", "\u{fc}"),
        ("Accept", ";;;,,,/,*/"),
        ("Accept", "image/png;q=nan"),
        ("Accept", &"*/*,".repeat(2500)),
        ("If-None-Match", "\u{fc}"),
        ("If-None-Match", &"W/\"a\",".repeat(1500)),
        ("If-None-Match", "*"),
        ("Range", "\u{fc}"),
        ("Range", "bytes=0-18446744073709551616"),
        ("Range", "bytes=18446744073709551615-"),
        ("Range", "bytes=-18446744073709551616"),
        ("Range", "bytes=-0"),
        ("Range", &odd),
        ("If-Range", "\u{fc}"),
        ("X-Request-Id", &long),
        ("X-Request-Id", "\u{fc}"),
        ("X-Request-Id", "a\tb"),
        ("Fractally-Client", &long),
        ("Fractally-Client", "\u{fc}"),
        ("Fractally-Client", "../.."),
        ("Accept-Encoding", &"gzip,".repeat(2000)),
        ("Expect", "a miracle"),
        ("Upgrade", "h2c"),
        ("Transfer-Encoding", "identity"),
        ("Content-Length", "0"),
        ("Origin", "\u{fc}"),
        ("Host", "y"),
        ("Cookie", &long),
    ] {
        all.push(request("GET", &image, &format!("{name}: {value}\r\n")));
    }
    for forwarded in ["\u{fc}", "1.2.3.4.5", &"1.1.1.1,".repeat(1000), "::ffff:::", ",", "[::1]:80", "fe80::1%eth0", &long] {
        all.push(format!("GET {image} HTTP/1.1\r\nX-Forwarded-For: {forwarded}\r\nConnection: close\r\n\r\n").into_bytes());
    }
    let lines = |count: usize| (0..count).map(|i| format!("A{i}: b\r\n")).collect::<String>();
    all.push(request("GET", &image, &lines(65)));
    all.push(request("GET", &image, &lines(1000)));
    all.push(request("GET", &image, &format!("A: {}\r\n", "b".repeat(100_000))));
    let said = siege.while_an_honest_client_works(|| said_to_each(&siege, &all));
    assert!(said.iter().filter(|said| !said.is_empty()).count() > all.len() / 2, "most are answered");
    siege.lift();
}

#[test]
fn nonsense_in_bodies_names_what_is_wrong() {
    let siege = Siege::lay(&[]);
    let deep = |open: &str, close: &str| format!("{{\"c\":{}{}}}", open.repeat(2500), close.repeat(2500));
    let nested = [deep("[", "]"), deep("{\"c\":", "}"), "[".repeat(16_000), format!("{{\"{}\":1}}", "x".repeat(16_000))];
    let mut bodies: Vec<(u16, Vec<u8>)> = [
        (400, &b""[..]),
        (400, b"{"),
        (422, b"null"),
        (422, b"[]"),
        (422, b"7"),
        (422, b"\"c\""),
        (400, b"{\"width\":1e400}"),
        (400, b"{\"width\":NaN}"),
        (400, b"{\"width\":Infinity}"),
        (422, b"{\"width\":1,\"width\":2}"),
        (400, b"\xef\xbb\xbf{}"),
        (400, b"{\"c\":\"\xff\"}"),
        (400, b"{\"cmap\":\"\\ud800\"}"),
        (400, b"{\"cmap\":\"\\ud800\\u0041\"}"),
        (400, b"{} {}"),
        (400, b"{\"width\":0x10}"),
        (400, b"{'width':1}"),
        (422, b"{\"size\":\"99999999999x1\"}"),
        (422, b"{\"size\":[99999999999,1]}"),
        (422, b"{\"size\":[-1,1]}"),
        (422, b"{\"size\":[1.5,1]}"),
        (422, b"{\"size\":{}}"),
        (422, b"{\"size\":null}"),
        (422, b"{\"iter\":-1}"),
        (422, b"{\"iter\":1.5}"),
        (422, b"{\"iter\":18446744073709551616}"),
        (422, b"{\"c\":[1e308,1e308,1]}"),
        (422, b"{\"c\":[null,1]}"),
        (422, b"{\"width\":-0.0}"),
        (422, b"{\"bailout\":1e308}"),
        (422, b"{\"window\":\"1x1+4294967295+4294967295\"}"),
        (422, b"{\"window\":[0,0,0,0]}"),
        (422, b"{\"\\u0000\":1}"),
        (422, b"{\"interior\":\"#\\u00fc\\u00fc\\u00fc\"}"),
    ]
    .map(|(status, body)| (status, body.to_vec()))
    .into();
    bodies.extend(nested.into_iter().zip([422, 422, 422, 422]).map(|(body, status)| (status, body.into_bytes())));
    let all: Vec<_> = bodies.iter().map(|(_, body)| posted(body)).collect();
    let said = siege.while_an_honest_client_works(|| said_to_each(&siege, &all));
    for ((status, body), said) in bodies.iter().zip(&said) {
        let statuses: Vec<_> = said.iter().map(|one| one.status).collect();
        assert_eq!(statuses, [*status], "{}", String::from_utf8_lossy(&body[..body.len().min(200)]));
        let problem: serde_json::Value = serde_json::from_slice(&said[0].body).unwrap();
        assert!(problem["field"].is_string(), "{problem}");
    }
    siege.lift();
}

#[test]
fn bodies_over_the_limit_are_refused_however_they_come() {
    let siege = Siege::lay(&[]);
    let large = vec![b' '; 16 * 1024 + 1];
    let head = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n";
    let chunk = [format!("{:x}\r\n", large.len()).as_bytes(), &large, b"\r\n0\r\n\r\n"].concat();
    let chunked = [request("POST", "/api/v1/renders", head), chunk].concat();
    let announced = request(
        "POST",
        "/api/v1/renders",
        "Content-Type: application/json\r\nContent-Length: 1000000000\r\nExpect: 100-continue\r\n",
    );
    let just_right = [b"{}".to_vec(), vec![b' '; 16 * 1024 - 2]].concat();
    let all = [posted(&large), chunked, announced, posted(&just_right)];
    let said = siege.while_an_honest_client_works(|| said_to_each(&siege, &all));
    let statuses: Vec<Vec<_>> = said.iter().map(|said| said.iter().map(|one| one.status).collect()).collect();
    assert_eq!(statuses[..3], [[413], [413], [413]]);
    assert!(matches!(statuses[3][..], [200 | 202]), "{statuses:?}");
    siege.lift();
}

#[test]
fn requests_one_behind_the_other_are_answered_in_order_and_forgotten_when_their_client_leaves() {
    let siege = Siege::lay(&[]);
    siege.while_an_honest_client_works(|| {
        let mut raw = Raw::to(siege.gateway());
        let names: Vec<_> = (0..50).map(|i| format!("name-{i}")).collect();
        for name in &names {
            raw.say(format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: {name}\r\n\r\n"));
        }
        for name in &names {
            let said = raw.answer().unwrap();
            assert_eq!((said.status, said.header("x-request-id")), (200, name.as_str()));
        }
    });
    // The library that speaks HTTP looks for the end of a connection only where nothing else has come; a second request hid that the
    // client had gone, and the tile of the first was rendered for nobody.
    let fields = "c=-0.390540870218399-0.586787907346969i,center=-0.368684439-0.337745147i,width=0.2,iter=1000000000";
    let mut raw = Raw::to(siege.gateway());
    raw.say([request("GET", &format!("/tiles/{fields}/0/0/0.png"), ""), request("GET", "/livez", "").repeat(1000)].concat());
    eventually("the tile is being rendered", || (!siege.site.is_idle()).then_some(()));
    drop(raw);
    siege.lift();
}

/// What is the same for HEAD and GET: all headers but those that name the moment.
fn lasting(said: &Said) -> Vec<(String, String)> {
    let is_lasting = |name: &str| !["date", "x-request-id"].contains(&name);
    let mut headers: Vec<_> = said.headers.iter().filter(|(name, _)| is_lasting(name)).cloned().collect();
    headers.sort();
    headers
}

#[test]
fn head_has_the_headers_of_get_and_leaves_nothing_running() {
    let siege = Siege::lay(&[]);
    let id = siege.gateway().render(&json!({"size": "300x200"}))["id"].as_str().unwrap().to_owned();
    siege.gateway().finished(&id);
    eventually("its preview is whole", || {
        (!siege.gateway().get(&format!("/api/v1/renders/{id}/preview")).header("etag").is_empty()).then_some(())
    });
    let render = format!("/api/v1/renders/{id}");
    let [image, webp, preview, wrong] = ["image", "image.webp", "preview", "image.gif"].map(|part| format!("{render}/{part}"));
    let (unknown, old) = (format!("/api/v1/renders/{}", "0".repeat(32)), format!("/image/{id}"));
    let paths = [
        &*render,
        &image,
        &webp,
        &preview,
        &wrong,
        &unknown,
        &old,
        "/tiles/-/1/0/0.png",
        "/tiles/-/1/2/0.png",
        "/",
        "/docs",
        "/livez",
        "/nothing",
        "/openapi.json",
        "/api/v1/renders",
        "/api/v1/events",
        "/?w=0",
    ];
    siege.while_an_honest_client_works(|| {
        for path in paths {
            let ask = |method: &str| {
                let mut raw = Raw::to(siege.gateway());
                raw.say(request(method, path, ""));
                let said = if method == "HEAD" { raw.answer_to_head() } else { raw.answer() }.unwrap();
                (said, raw.rest())
            };
            let ((get, _), (head, rest)) = (ask("GET"), ask("HEAD"));
            // The library leaves the length of a body that there is out where only it knows it.
            let told = |said: &Said| lasting(said).into_iter().filter(|(name, _)| name != "content-length").collect::<Vec<_>>();
            assert_eq!((head.status, told(&head)), (get.status, told(&get)), "{path}");
            assert!(rest.is_empty(), "{path}: a body for HEAD: {:?}", String::from_utf8_lossy(&rest));
            let length = head.header("content-length");
            // A render's ages have more digits the later it is asked for.
            let is_right = length.is_empty() || path == render || length == get.header("content-length");
            assert!(is_right, "{path}: {length}");
        }
    });
    // Of a render that goes on for ever, too.
    let id = siege.gateway().render(&endless())["id"].as_str().unwrap().to_owned();
    for path in [format!("/api/v1/renders/{id}/image"), format!("/api/v1/events?id={id}")] {
        let mut raw = Raw::to(siege.gateway());
        raw.say(request("HEAD", &path, ""));
        assert_eq!(raw.answer_to_head().unwrap().status, 200);
        assert!(raw.rest().is_empty());
    }
    eventually("no request is open", || (siege.open() == 0).then_some(()));
    assert_eq!(siege.gateway().delete_as("test", &format!("/api/v1/renders/{id}")).status, 204);
    siege.lift();
}

#[test]
fn a_client_over_its_rate_is_told_when_to_come_back_and_others_notice_nothing() {
    let siege = Siege::lay(&["--rate", "50"]);
    let refused = siege.while_an_honest_client_works(|| {
        let all: Vec<_> = (0..400).map(|_| request("GET", "/favicon.ico", "")).collect();
        let said = said_to_each(&siege, &all).concat();
        assert_eq!(said.len(), all.len());
        let refused: Vec<_> = said.into_iter().filter(|said| said.status != 200).collect();
        for said in &refused {
            assert_eq!(said.status, 429);
            assert!((1..=10).contains(&said.header("retry-after").parse::<u32>().unwrap()), "{said:?}");
        }
        refused.len()
    });
    // Two hundred may come at once, and a few more in the time that it took.
    assert!(refused > 0, "nobody was refused");
    siege.lift();
}

#[test]
fn who_comes_when_all_connections_are_taken_waits_for_one() {
    let siege = Siege::lay(&["--connections", "8"]);
    let mut idle: Vec<_> = (0..8).map(|_| Raw::to(siege.gateway())).collect();
    // Each of the eight says nothing and is shown out.
    siege.while_an_honest_client_works(|| assert!(idle.iter_mut().all(|raw| raw.rest().is_empty())));
    siege.lift();
}

#[test]
fn absurd_renders_are_refused_or_cost_nothing_before_they_are_read() {
    let siege = Siege::lay(&[]);
    let gateway = siege.gateway();
    let [_, before] = gateway.process.memory();
    siege.while_an_honest_client_works(|| {
        for size in ["1000000x1000000", "1000000x1", "1x1000000"] {
            let fields = json!({"size": size, "iter": 1, "priority": "batch", "center": "0.1+0.1i"});
            let answer = gateway.post("/api/v1/renders", &fields);
            expect_clear_answer(size, &answer);
            assert!(matches!(answer.status, 200 | 202 | 422 | 429 | 503), "{size}: {}", answer.text());
            if answer.status >= 400 {
                assert!(answer.text().contains("detail"), "{}", answer.text());
                continue;
            }
            let id = answer.json()["id"].as_str().unwrap().to_owned();
            // Some of it is read, and a preview looked at.
            let mut raw = Raw::stingy(gateway);
            raw.say(request("GET", &format!("/api/v1/renders/{id}/image"), ""));
            let preview = gateway.get(&format!("/api/v1/renders/{id}/preview?width=1024"));
            assert_eq!(preview.status, 200, "{}", preview.text());
            assert_eq!(gateway.delete_as("test", &format!("/api/v1/renders/{id}")).status, 204);
        }
    });
    let [_, after] = gateway.process.memory();
    let grown = (after.saturating_sub(before)) >> 20;
    println!("absurd renders: {grown} MiB more");
    assert!(grown < 192, "{grown} MiB more");
    siege.lift();
}
