//! A gateway before a broker, as a user would start it, and an HTTP client that tells what it got.

use std::{
    io::{BufRead, BufReader, Read},
    process::Stdio,
    time::Duration,
};

use serde_json::Value;
use ureq::{Agent, Body, http, http::Response};

use crate::{Lab, Process};

/// A running gateway.
pub struct Gateway {
    /// The process.
    pub process: Process,
    /// Where it listens, without a slash at the end.
    pub url: String,
    agent: Agent,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: http::HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Gateway {
    /// Starts a gateway before the broker at `endpoint`, on a free port.
    pub fn start(lab: &Lab, endpoint: &str) -> Self {
        Self::start_with(lab, &["gateway", "--broker", endpoint, "--listen", "127.0.0.1:0"])
    }

    /// Starts `fractally` with these arguments, which make it a gateway.
    pub fn start_with(lab: &Lab, args: &[&str]) -> Self {
        let mut command = lab.command(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Process::of(command.spawn().expect("the gateway starts"));
        let stdout = process.child().stdout.take().expect("its stdout is piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("what it says can be read");
        let Some(url) = line.trim().strip_prefix("ready ") else {
            panic!("the gateway does not start: {line:?}, {:?}", process.wait());
        };
        let url = url.trim_end_matches('/').to_owned();
        Self::behind(process, &url)
    }

    /// Gateways behind a proxy, which this process is.
    pub fn behind(process: Process, url: &str) -> Self {
        let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(120)));
        let config = config.max_idle_connections_per_host(16);
        Self { process, url: url.to_owned(), agent: config.build().into() }
    }

    /// GET with these headers.
    pub fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let request = self.agent.get(format!("{}{path}", self.url));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Answer::of(request.call().unwrap_or_else(|error| panic!("GET {path}: {error}")))
    }

    /// GET.
    pub fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[])
    }

    /// The same, where the gateway may be away.
    pub fn try_get(&self, path: &str) -> Option<Answer> {
        self.agent.get(format!("{}{path}", self.url)).call().ok().map(Answer::of)
    }

    /// POST of any bytes with these headers.
    pub fn post_with(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let request = self.agent.post(format!("{}{path}", self.url));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Answer::of(request.send(body).unwrap_or_else(|error| panic!("POST {path}: {error}")))
    }

    /// POST of a JSON body, by a client of this name.
    pub fn post_as(&self, client: &str, path: &str, body: &Value) -> Answer {
        let headers = [("Fractally-Client", client), ("Content-Type", "application/json")];
        self.post_with(path, &headers, body.to_string().as_bytes())
    }

    /// POST of a JSON body.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_as("test", path, body)
    }

    /// DELETE by a client of this name.
    pub fn delete_as(&self, client: &str, path: &str) -> Answer {
        self.delete_with(path, &[("Fractally-Client", client)])
    }

    /// DELETE with these headers.
    pub fn delete_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let request = self.agent.delete(format!("{}{path}", self.url));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Answer::of(request.call().unwrap_or_else(|error| panic!("DELETE {path}: {error}")))
    }

    /// Asks for a render, which is accepted, and gives its resource.
    pub fn render(&self, body: &Value) -> Value {
        let answer = self.post("/api/v1/renders", body);
        assert!(matches!(answer.status, 200 | 202), "{answer:?}");
        answer.json()
    }

    /// The render's resource once it is over.
    pub fn finished(&self, id: &str) -> Value {
        loop {
            let render = self.get(&format!("/api/v1/renders/{id}?wait=30&until=done")).json();
            if let Some("done" | "failed" | "cancelled") = render["state"].as_str() {
                return render;
            }
        }
    }
}

impl Answer {
    fn of(mut response: Response<Body>) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut body = Vec::new();
        response.body_mut().as_reader().read_to_end(&mut body).expect("the body can be read");
        Self { status, headers, body }
    }

    /// A header as text; empty where it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The problem that the answer is, whose field and status are these.
    pub fn expect_problem(&self, status: u16, field: Option<&str>) -> Value {
        assert_eq!((self.status, self.header("content-type")), (status, "application/problem+json"), "{}", self.text());
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert_eq!(problem["field"].as_str(), field, "{problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{problem}");
        assert_eq!(problem["request_id"].as_str(), Some(self.header("x-request-id")), "{problem}");
        problem
    }
}
