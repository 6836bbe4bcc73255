//! The talk's own calls, the pages, health and the description of the interface.

use fractally_testkit::{Broker, Gateway, Worker, eventually};

use crate::Site;

const CALL: &str = "/?w=600&h=400&cre=-0.8&cim=0.156&cmap=inferno";

#[test]
fn a_key_is_given_and_leads_to_the_picture_sooner_or_later() {
    let lab = crate::lab();
    let broker = Broker::keeping(&lab, "state", &[]);
    let gateway = Gateway::start(&lab, &broker.clients);
    let answer = gateway.get_with(CALL, &[("Accept", "application/json")]);
    let key = answer.json()["key"].as_str().unwrap().to_owned();
    assert_eq!(answer.json()["url"], format!("/image/{key}"));
    // Nobody renders it yet.
    let not_yet = gateway.get(&format!("/image/{key}"));
    assert_eq!((not_yet.status, not_yet.header("retry-after"), not_yet.header("refresh")), (202, "1", "1"));
    assert!(not_yet.text().starts_with("not yet"), "{}", not_yet.text());
    let page = gateway.get_with(CALL, &[("Accept", "text/html")]);
    assert!(page.header("content-type").starts_with("text/html") && page.text().contains(&format!("href=\"/image/{key}\"")));
    let _worker = Worker::start(&lab, &broker, "w", 1);
    let picture =
        eventually("the picture is there", || Some(gateway.get(&format!("/image/{key}"))).filter(|answer| answer.status == 200));
    assert_eq!(picture.header("content-type"), "image/png");
    let run = lab.run(["render", "--size", "600x400", "--workers", "1", "-q", "-o", "own.png"]);
    assert!(run.status.success());
    assert!(picture.body == std::fs::read(lab.path("own.png")).unwrap());
    gateway.get("/?w=600&h=x").expect_problem(400, Some("h"));
    gateway.get("/?w=600&size=3").expect_problem(400, Some("size"));
    gateway.get("/?w=0").expect_problem(422, Some("size"));
    gateway.get("/?cmap=%3Cscript%3E").expect_problem(400, Some("cmap"));
}

#[test]
fn pages_are_sent_with_what_they_need_and_may_do_nothing_else() {
    let site = Site::start();
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/docs", "text/html; charset=utf-8"),
        ("/assets/style.css", "text/css; charset=utf-8"),
        ("/assets/js/main.js", "text/javascript; charset=utf-8"),
        ("/openapi.json", "application/json"),
    ] {
        let answer = site.gateway.get(path);
        assert_eq!((answer.status, answer.header("content-type")), (200, kind), "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'; script-src 'self'"));
    }
    let page = site.gateway.get("/");
    assert_eq!(site.gateway.get_with("/", &[("If-None-Match", page.header("etag"))]).status, 304);
    // Whatever a page names is there.
    for page in ["/", "/docs"] {
        let text = site.gateway.get(page).text();
        for asset in text.split(['"', '\'']).filter(|word| word.starts_with("/assets/")) {
            assert_eq!(site.gateway.get(asset).status, 200, "{asset}");
        }
    }
    site.gateway.get("/assets/../Cargo.toml").expect_problem(404, None);
    site.gateway.get("/assets/%2e%2e/Cargo.toml").expect_problem(404, None);
}

#[test]
fn readiness_tells_what_is_missing() {
    let lab = crate::lab();
    let broker = Broker::keeping(&lab, "state", &[]);
    let gateway = Gateway::start(&lab, &broker.clients);
    assert_eq!((gateway.get("/livez").status, gateway.get("/livez").text().as_str()), (200, "ok\n"));
    let ready = |gateway: &Gateway| {
        let answer = gateway.get("/readyz");
        (answer.status, answer.json())
    };
    let (status, body) = ready(&gateway);
    assert_eq!((status, &body["broker"], &body["workers"]), (503, &true.into(), &0.into()), "{body}");
    assert!(body["why"].as_str().unwrap().contains("no worker"), "{body}");
    let worker = Worker::start(&lab, &broker, "w", 1);
    eventually("it is ready", || (ready(&gateway).0 == 200).then_some(()));
    broker.die();
    let (_, body) = eventually("it is not ready any more", || Some(ready(&gateway)).filter(|(status, _)| *status == 503));
    assert_eq!(body["broker"], false, "{body}");
    drop(worker);
}

#[test]
fn those_who_run_it_are_answered_however_busy_it_is() {
    let site = Site::start();
    let args = ["gateway", "--broker", &site.broker.clients, "--listen", "127.0.0.1:0", "--requests", "1"];
    let gateway = Gateway::start_with(&site.lab, &args);
    let id = gateway.render(&crate::endless())["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/renders/{id}");
    std::thread::scope(|scope| {
        // It may meet the other's question and be sent away.
        let wait = || Some(gateway.get(&format!("{path}?wait=5&until=done"))).filter(|answer| answer.status == 200);
        let waiting = scope.spawn(move || eventually("it waits", wait));
        eventually("it is full", || (gateway.get(&path).status == 503).then_some(()));
        for path in ["/livez", "/readyz", "/metrics"] {
            assert_eq!(gateway.get(path).status, 200, "{path}");
        }
        assert_eq!(waiting.join().unwrap().status, 200);
    });
    assert_eq!(gateway.delete_as("test", &path).status, 204);
}

#[test]
fn pages_of_others_cannot_make_a_visitor_spend_the_grid() {
    let site = Site::start();
    let from = |headers: &[(&str, &str)]| site.gateway.get_with(CALL, headers);
    from(&[("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")]).expect_problem(403, None);
    from(&[("Host", "evil.example")]).expect_problem(421, None);
    assert!(site.broker.jobs(&site.lab).is_empty());
    // A link in another page is followed by its reader.
    assert_eq!(from(&[("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate")]).status, 200);
    let args = ["gateway", "--broker", &site.broker.clients, "--listen", "127.0.0.1:0", "--host", "fractal.ly"];
    let named = Gateway::start_with(&site.lab, &args);
    assert_eq!(named.get_with("/livez", &[("Host", "fractal.ly")]).status, 200);
    assert_eq!(named.get_with(CALL, &[("Host", "fractal.ly")]).status, 200);
}

#[test]
fn only_origins_that_are_allowed_may_call_from_a_browser() {
    let site = Site::start();
    let args = ["gateway", "--broker", &site.broker.clients, "--listen", "127.0.0.1:0", "--allow-origin", "https://example.org"];
    let gateway = Gateway::start_with(&site.lab, &args);
    let allowed = |gateway: &Gateway, origin| {
        gateway.get_with("/livez", &[("Origin", origin)]).header("access-control-allow-origin").to_owned()
    };
    assert_eq!(allowed(&gateway, "https://example.org"), "https://example.org");
    assert_eq!(allowed(&gateway, "https://example.com"), "");
    assert_eq!(allowed(&site.gateway, "https://example.org"), "");
}
