//! Ask for a render, look at it, wait for it, give it up; problems that name the field.

use std::time::{Duration, Instant};

use fractally_testkit::{Gateway, eventually};
use serde_json::json;

use crate::{Site, endless, long};

#[test]
fn a_render_is_accepted_waited_for_and_there_the_next_time() {
    let site = Site::start();
    let fields = json!({"size": "300x200", "cmap": "twilight", "c": "-0.4+0.6i"});
    let answer = site.gateway.post("/api/v1/renders", &fields);
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(answer.header("retry-after"), "1");
    let render = answer.json();
    let id = render["id"].as_str().unwrap();
    assert_eq!(answer.header("location"), format!("/api/v1/renders/{id}"));
    let done = site.gateway.finished(id);
    assert_eq!((&done["state"], &done["rows_done"], &done["rows"]), (&json!("done"), &json!(200), &json!(200)));
    assert!(done["iterations"].as_u64() > Some(0) && done["workers"] == 1, "{done}");
    // What it shows can be sent as it stands, and is the same render.
    let again = site.gateway.post("/api/v1/renders", &done["request"]);
    assert_eq!((again.status, again.json()["id"].as_str()), (200, Some(id)));
    let file = site.gateway.get(done["links"]["image"].as_str().unwrap());
    assert_eq!(file.header("content-type"), "image/png");
    let own = site.by_command_line(&["--size", "300x200", "--cmap", "twilight", "-c", "-0.4+0.6i"], "own.png");
    assert!(file.body == own, "the gateway's file is not the command line's");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "it tells how long an answer was waited for")]
fn news_come_as_soon_as_there_are_any_and_not_before() {
    let site = Site::start();
    let id = site.gateway.render(&endless())["id"].as_str().unwrap().to_owned();
    // Nothing comes of it, but the time is over.
    let waited = Instant::now();
    let render = site.gateway.get(&format!("/api/v1/renders/{id}?wait=1.5&until=done")).json();
    assert!(waited.elapsed() >= Duration::from_millis(1500) && render["state"] == "running", "{render}");
    assert_eq!(site.gateway.delete_as("test", &format!("/api/v1/renders/{id}")).status, 204);
    let render = site.gateway.get(&format!("/api/v1/renders/{id}?wait=30&until=done")).json();
    assert_eq!(render["state"], "cancelled");
}

#[test]
fn work_stops_when_the_last_who_asked_has_given_it_up_and_begins_again_when_asked() {
    let site = Site::start();
    let gateway = &site.gateway;
    let ask = |client: &str| gateway.post_as(client, "/api/v1/renders", &endless());
    let id = ask("ada").json()["id"].as_str().unwrap().to_owned();
    assert_eq!(ask("bob").json()["id"].as_str(), Some(id.as_str()));
    let path = format!("/api/v1/renders/{id}");
    assert_eq!(gateway.delete_as("ada", &path).status, 204);
    assert_eq!(gateway.delete_as("ada", &path).status, 204);
    assert_eq!(gateway.delete_as("eve", &path).status, 204);
    assert_eq!(gateway.get(&path).json()["state"], "running");
    assert_eq!(gateway.delete_as("bob", &path).status, 204);
    assert_eq!(gateway.get(&path).json()["state"], "cancelled");
    eventually("the workers are free", || site.is_idle().then_some(()));
    gateway.get(&format!("{path}/image")).expect_problem(409, None);
    let again = ask("bob");
    assert_eq!((again.status, again.json()["id"].as_str()), (202, Some(id.as_str())));
    eventually("it is rendered again", || (gateway.get(&path).json()["state"] == "running").then_some(()));
    assert_eq!(gateway.delete_as("bob", &path).status, 204);
}

#[test]
fn what_the_command_line_submitted_is_not_ended_from_the_web() {
    let site = Site::start();
    let fields = endless();
    let text = |name: &str| fields[name].as_str().unwrap().to_owned();
    let (c, center, size) = (text("c"), text("center"), text("size"));
    let args = ["-c", &c, "--center", &center, "--width", "0.2", "--size", &size, "--iter", "1000000000"];
    let job = site.broker.submit(&site.lab, &args);
    let render = site.gateway.render(&fields);
    assert_eq!(render["job"].as_str(), Some(job.as_str()), "it joins the job that is there");
    assert_eq!(site.gateway.delete_as("test", render["links"]["self"].as_str().unwrap()).status, 204);
    assert_eq!(site.broker.job(&site.lab, &job).unwrap()["state"], "running");
    assert!(site.broker.ask(&site.lab, "cancel", &[&job]).status.success());
}

/// Two jobs may draw the same, since those of the command line do not join: once a DELETE withdrew from the later one alone.
#[test]
fn giving_up_reaches_every_job_that_draws_the_picture() {
    let site = Site::start();
    let fields = endless();
    let render = site.gateway.render(&fields);
    let first = render["job"].as_str().unwrap();
    let text = |name: &str| fields[name].as_str().unwrap().to_owned();
    let (c, center, size) = (text("c"), text("center"), text("size"));
    let args = ["-c", &c, "--center", &center, "--width", "0.2", "--size", &size, "--iter", "1000000000"];
    let second = site.broker.submit(&site.lab, &args);
    assert_ne!(first, second);
    assert_eq!(site.gateway.delete_as("test", render["links"]["self"].as_str().unwrap()).status, 204);
    assert_eq!(site.broker.job(&site.lab, first).unwrap()["state"], "cancelled");
    assert_eq!(site.broker.job(&site.lab, &second).unwrap()["state"], "running");
    assert!(site.broker.ask(&site.lab, "cancel", &[&second]).status.success());
}

#[test]
fn an_address_is_nobodys_name() {
    let site = Site::start();
    let body = endless().to_string();
    // By address, not by name.
    let posted = site.gateway.post_with("/api/v1/renders", &[("Content-Type", "application/json")], body.as_bytes()).json();
    let path = posted["links"]["self"].as_str().unwrap();
    assert_eq!(site.gateway.delete_as("127.0.0.1", path).status, 204);
    assert_eq!(site.gateway.get(path).json()["state"], "running");
    assert_eq!(site.gateway.delete_with(path, &[]).status, 204);
    eventually("nobody is left", || (site.gateway.get(path).json()["state"] == "cancelled").then_some(()));
}

/// Who looks at a preview through one gateway must not keep alive what was given up through another.
#[test]
fn a_preview_elsewhere_keeps_nothing_alive() {
    let site = Site::start();
    let other = Gateway::start(&site.lab, &site.broker.clients);
    let path = site.gateway.render(&endless())["links"]["self"].as_str().unwrap().to_owned();
    assert_eq!(other.get(&format!("{path}/preview?width=64")).status, 200);
    assert_eq!(site.gateway.delete_as("test", &path).status, 204);
    eventually("nobody is left", || (site.gateway.get(&path).json()["state"] == "cancelled").then_some(()));
}

#[test]
fn one_client_has_only_so_many_renders_at_once_and_others_have_theirs() {
    let lab = crate::lab();
    let broker = fractally_testkit::Broker::keeping(&lab, "state", &["--jobs-per-account", "2"]);
    let gateway =
        Gateway::start_with(&lab, &["gateway", "--broker", &broker.clients, "--listen", "127.0.0.1:0", "--proxies", "1"]);
    let ask = |address: &str, iter: u32| {
        let headers = [("Content-Type", "application/json"), ("X-Forwarded-For", address)];
        gateway.post_with("/api/v1/renders", &headers, json!({"iter": iter}).to_string().as_bytes())
    };
    // No worker: none of them ends.
    assert_eq!([ask("10.0.0.1", 1).status, ask("10.0.0.1", 2).status], [202, 202]);
    let third = ask("10.0.0.1", 3);
    assert_eq!(third.header("retry-after"), "2");
    let problem = third.expect_problem(429, Some("account"));
    assert!(problem["detail"].as_str().unwrap().contains("--jobs-per-account"), "{problem}");
    assert_eq!(ask("10.0.0.2", 3).status, 202);
    // What is there already may be joined.
    assert_eq!(ask("10.0.0.1", 3).status, 202);
}

#[test]
fn any_gateway_serves_any_render() {
    let site = Site::start();
    let other = Gateway::start(&site.lab, &site.broker.clients);
    let id = site.gateway.render(&long())["id"].as_str().unwrap().to_owned();
    let seen = other.get(&format!("/api/v1/renders/{id}")).json();
    assert_eq!(seen["id"].as_str(), Some(id.as_str()));
    // Both ask at once: it is one job.
    assert_eq!(other.render(&long())["job"], seen["job"]);
    let [one, two] = [&site.gateway, &other].map(|gateway| gateway.get(&format!("/api/v1/renders/{id}/image")).body);
    assert!(one == two && one.starts_with(b"\x89PNG"));
    assert_eq!(other.finished(&id)["state"], "done");
}

#[test]
fn many_renders_are_followed_on_one_stream() {
    let site = Site::start();
    let ids: Vec<_> = (1..=3)
        .map(|i| site.gateway.render(&json!({"size": "200x100", "iter": 100 + i}))["id"].as_str().unwrap().to_owned())
        .collect();
    let unknown = "0".repeat(32);
    let stream = site.gateway.get(&format!("/api/v1/events?id={}&id={},{}&id={unknown}", ids[0], ids[1], ids[2]));
    assert_eq!(stream.header("content-type"), "text/event-stream");
    let text = stream.text();
    for id in &ids {
        let done = text.lines().filter_map(|line| line.strip_prefix("data: ")).any(|data| {
            let data: serde_json::Value = serde_json::from_str(data).unwrap();
            data["id"] == id.as_str() && data["state"] == "done"
        });
        assert!(done, "{id} in {text}");
    }
    assert!(text.contains(&format!("event: gone\ndata: {{\"id\":\"{unknown}\"}}")), "{text}");
    assert!(text.ends_with("event: end\ndata: {}\n\n"), "{text}");
    site.gateway.get("/api/v1/events").expect_problem(400, Some("id"));
    site.gateway.get("/api/v1/events?id=x").expect_problem(404, None);
    site.gateway.get(&format!("/api/v1/events?ids={unknown}")).expect_problem(400, Some("ids"));
}

#[test]
fn what_is_wrong_is_named_with_its_limit_and_costs_nothing() {
    let site = Site::start();
    let gateway = &site.gateway;
    for (fields, field, told) in [
        (json!({"size": "0x5"}), "size", "from 1 to"),
        (json!({"size": "2000000x1"}), "size", "1000000x1000000"),
        (json!({"size": [1]}), "size", "[w, h]"),
        (json!({"c": "zero"}), "c", "-0.8+0.156i"),
        (json!({"width": -1}), "width", "above 0"),
        (json!({"width": 1e-13, "center": "-0.9+0.4i"}), "width", "double precision"),
        (json!({"iter": 2_000_000_000}), "iter", "1000000000"),
        (json!({"bailout": 1}), "bailout", "from 2"),
        (json!({"cmap": "jet"}), "cmap", "inferno"),
        (json!({"interior": "#12"}), "interior", "#RRGGBB"),
        (json!({"window": "5x5+5000+0"}), "window", "inside"),
        (json!({"format": "gif"}), "format", "png"),
        (json!({"priority": "first"}), "priority", "interactive"),
        (json!({"colour": "red"}), "colour", "unknown field"),
    ] {
        let problem = gateway.post("/api/v1/renders", &fields).expect_problem(422, Some(field));
        assert!(problem["detail"].as_str().unwrap().contains(told), "{fields}: {problem}");
    }
    assert!(site.broker.jobs(&site.lab).is_empty());
    gateway.get("/api/v1/renders/xyz").expect_problem(404, None);
    gateway.get(&format!("/api/v1/renders/{}", "a".repeat(32))).expect_problem(404, None);
    gateway.get("/api/v1/nothing").expect_problem(404, None);
    let id = gateway.render(&json!({"size": "20x10"}))["id"].as_str().unwrap().to_owned();
    gateway.get(&format!("/api/v1/renders/{id}?wait=61")).expect_problem(400, Some("wait"));
    gateway.get(&format!("/api/v1/renders/{id}?wait=x")).expect_problem(400, Some("wait"));
    gateway.get(&format!("/api/v1/renders/{id}?until=never")).expect_problem(400, Some("until"));
    gateway.get(&format!("/api/v1/renders/{id}?for=1")).expect_problem(400, Some("for"));
    gateway.delete_as("test", "/api/v1/renders").expect_problem(405, None);
    gateway.get("/api/v1/renders").expect_problem(405, None);
}

#[test]
fn a_request_has_one_name_from_the_header_to_the_kernels_log() {
    let lab = crate::lab();
    let mut command = lab.command(["--log", "debug", "broker", "--client-port", "0", "--worker-port", "0", "--state", "state"]);
    command.stdin(std::process::Stdio::null());
    let broker = fractally_testkit::Broker::start_by(command);
    let worker = lab.start(lab.command(["--log", "debug", "worker", "--broker", &broker.workers, "--threads", "1"]));
    let gateway =
        Gateway::start_with(&lab, &["--log", "debug", "gateway", "--broker", &broker.clients, "--listen", "127.0.0.1:0"]);
    let headers = [("Content-Type", "application/json"), ("X-Request-Id", "thumbnail.42-b")];
    let answer = gateway.post_with("/api/v1/renders", &headers, json!({"size": "300x200", "iter": 321}).to_string().as_bytes());
    assert_eq!(answer.header("x-request-id"), "thumbnail.42-b");
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(gateway.finished(&id)["state"], "done");
    for process in [&gateway.process, &worker] {
        process.terminate();
    }
    let told = |text: &str| text.lines().filter(|line| line.contains("request_id=thumbnail.42-b")).count();
    let (gateway, worker, broker) = (gateway.process.wait().stderr, worker.wait().stderr, broker.die());
    assert!(told(&gateway) > 0, "{gateway}");
    assert!(told(&broker) > 0, "{broker}");
    assert!(worker.lines().any(|line| line.contains("request_id=thumbnail.42-b") && line.contains("kernel")), "{worker}");
}
