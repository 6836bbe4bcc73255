//! A broker, as a client or a worker of this machine would find it: its name, its port, its words, its workers.

use std::{
    net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs},
    os::unix::net::UnixStream,
    time::Duration,
};

use fractally_client::{Broker, SessionError, Sessions, status};
use fractally_proto::{ErrorCode, Hello, Message, Status, VERSION};
use fractally_transport::{Endpoint, Link, LinkError};
use fractally_worker::ENGINE_ID;

use super::{LIMIT, in_time, read_clock, report::Finding};
use crate::{AGENT, life, table::bytes};

/// How long a broker may take to connect: less than the whole step, so that the reason is told.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);
const FIREWALL: &str = "is the host up, and does a firewall let the port pass?";
const START: &str = "start one there with `fractally broker`, for other hosts with --listen 0.0.0.0 --trust-network";

/// How a broker is with clients.
pub(super) fn clients(endpoint: &Endpoint) -> Vec<Finding> {
    const TOPIC: &str = "broker";
    let mut findings = Vec::new();
    let Some(reached) = reach(TOPIC, endpoint, &mut findings) else { return findings };
    let asked = in_time(move || in_runtime(ask(reached)));
    match asked {
        Some(Ok(Ok((status, round_trip)))) => findings.extend(describe(&status, round_trip)),
        Some(Ok(Err(error))) => findings.push(refused(TOPIC, endpoint, &error)),
        Some(Err(error)) => findings.push(Finding::bad(TOPIC, error, "try again")),
        None => findings.push(silent(TOPIC, endpoint)),
    }
    findings
}

/// How a broker is with workers. It says HELLO as a client would, which that socket refuses by name: so nothing is leased to it.
pub(super) fn workers(endpoint: &Endpoint) -> Vec<Finding> {
    const TOPIC: &str = "worker-broker";
    let mut findings = Vec::new();
    let Some(reached) = reach(TOPIC, endpoint, &mut findings) else { return findings };
    findings.push(match in_time(move || in_runtime(first_word(reached))) {
        Some(Ok(Ok(Message::Error(error)))) if error.code == ErrorCode::Unexpected => {
            Finding::ok(TOPIC, format!("{endpoint} takes workers, by protocol {VERSION}"))
        }
        Some(Ok(Ok(Message::Welcome(_)))) => Finding::bad(
            TOPIC,
            format!("{endpoint} is a broker's endpoint for clients"),
            "workers have one of their own, by default at port 5556; `ready` of the broker names both",
        ),
        Some(Ok(Ok(Message::Error(error)))) => {
            Finding::bad(TOPIC, format!("{endpoint} refuses: {}", error.message), "see the broker's log")
        }
        Some(Ok(Ok(other))) => {
            Finding::bad(TOPIC, format!("{endpoint} answers {}", other.name()), "is it a broker of this protocol?")
        }
        Some(Ok(Err(error))) => {
            Finding::bad(TOPIC, format!("{endpoint}: {error}"), "is it a broker, of the same protocol as this program?")
        }
        Some(Err(error)) => Finding::bad(TOPIC, error, "try again"),
        None => silent(TOPIC, endpoint),
    });
    findings
}

fn silent(topic: &'static str, endpoint: &Endpoint) -> Finding {
    let text = format!("{endpoint} is connected but says nothing within {} s", LIMIT.as_secs());
    Finding::bad(topic, text, "something else may listen there, or the broker stands still; look at its log")
}

/// Finds the address of a broker and connects to it. What comes of it stands in `findings`; the endpoint has no name any more.
fn reach(topic: &'static str, endpoint: &Endpoint, findings: &mut Vec<Finding>) -> Option<Endpoint> {
    let (host, port) = match endpoint {
        Endpoint::Tcp { host, port } => (host, *port),
        Endpoint::Ipc(path) => {
            return match UnixStream::connect(path) {
                Ok(_) => Some(endpoint.clone()),
                Err(error) => {
                    findings.push(Finding::bad(topic, format!("{endpoint}: {error}"), START));
                    None
                }
            };
        }
    };
    let addresses =
        if host.parse::<IpAddr>().is_ok() { addresses(host, port).ok() } else { resolve(topic, host, port, findings) }?;
    let began = read_clock();
    let mut last = None;
    let each = LIMIT / u32::try_from(addresses.len()).unwrap_or(1).max(1);
    for address in addresses {
        match TcpStream::connect_timeout(&address, each) {
            Ok(_) => {
                let took = millis(began.elapsed());
                findings.push(Finding::ok(topic, format!("{address} accepts connections ({took})")));
                return Some(address.into());
            }
            Err(error) => last = Some((address, error)),
        }
    }
    if let Some((address, error)) = last {
        let is_refused = error.kind() == std::io::ErrorKind::ConnectionRefused;
        let advice = if is_refused { START } else { FIREWALL };
        findings.push(Finding::bad(topic, format!("{address} cannot be connected to: {error}"), advice));
    }
    None
}

fn addresses(host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
    (host, port).to_socket_addrs().map(Iterator::collect)
}

fn resolve(topic: &'static str, host: &str, port: u16, findings: &mut Vec<Finding>) -> Option<Vec<SocketAddr>> {
    const ADVICE: &str = "correct the name, add it to /etc/hosts, or give the address itself";
    let began = read_clock();
    let name = host.to_owned();
    match in_time(move || addresses(&name, port)) {
        Some(Ok(found)) if !found.is_empty() => {
            let mut hosts: Vec<_> = found.iter().map(|address| address.ip().to_string()).collect();
            hosts.dedup();
            findings.push(Finding::ok(topic, format!("{host} is {} ({})", hosts.join(", "), millis(began.elapsed()))));
            Some(found)
        }
        Some(Ok(_)) => {
            findings.push(Finding::bad(topic, format!("{host} has no address"), ADVICE));
            None
        }
        Some(Err(error)) => {
            findings.push(Finding::bad(topic, format!("{host}: {error}"), ADVICE));
            None
        }
        None => {
            findings.push(Finding::bad(
                topic,
                format!("no name server tells what {host} is within {} s", LIMIT.as_secs()),
                ADVICE,
            ));
            None
        }
    }
}

/// Runs a future on this thread, with a runtime of its own: one that waits for a name server could not be left.
fn in_runtime<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map(|runtime| runtime.block_on(future)).map_err(|error| error.to_string())
}

/// The broker's status, and how long an answer takes over a connection that stands.
async fn ask(endpoint: Endpoint) -> Result<(Status, Duration), SessionError> {
    let broker = Broker {
        endpoint,
        agent: AGENT.to_owned(),
        account: None,
        epoch: life::new_epoch(),
        connect_timeout: ANSWER_WITHIN,
        sessions: Some(Sessions::new(1)),
    };
    status(&broker).await?;
    let began = read_clock();
    let told = status(&broker).await?;
    let round_trip = began.elapsed();
    if let Some(sessions) = &broker.sessions {
        sessions.close_idle().await;
    }
    Ok((told, round_trip))
}

/// What a broker says first to somebody who calls himself a client.
async fn first_word(endpoint: Endpoint) -> Result<Message, String> {
    let mut link = Link::connect(&endpoint, ANSWER_WITHIN).await.map_err(|error| error.to_string())?;
    let hello = Hello { agent: AGENT.to_owned(), epoch: life::new_epoch(), account: None, worker: None };
    let first = async {
        link.send(&Message::Hello(hello)).await?;
        link.next().await
    };
    first.await.map_err(|error: LinkError| error.to_string())
}

fn refused(topic: &'static str, endpoint: &Endpoint, error: &SessionError) -> Finding {
    let advice = match error {
        SessionError::Refused(_) => "is this its endpoint for clients, by default at port 5555? Its log tells why it refused",
        SessionError::Link(LinkError::Malformed(_)) => "use one version of this program on all hosts",
        SessionError::Connect(_) | SessionError::Link(_) => "what listens there is no broker, or stands still; look at its log",
        SessionError::Silent { .. } | SessionError::Unanswered { .. } | SessionError::Crowded { .. } => {
            "look at the broker's log"
        }
    };
    let text = match error {
        SessionError::Refused(_) | SessionError::Link(_) | SessionError::Crowded { .. } => format!("{endpoint}: {error}"),
        // They name it.
        SessionError::Connect(_) | SessionError::Silent { .. } | SessionError::Unanswered { .. } => error.to_string(),
    };
    Finding::bad(topic, text, advice)
}

fn describe(status: &Status, round_trip: Duration) -> Vec<Finding> {
    const TOPIC: &str = "broker";
    let broker = &status.broker;
    let speaks = format!("{} speaks protocol {VERSION}, and answers within {}", broker.agent, millis(round_trip));
    let speaks = if broker.agent == AGENT {
        Finding::ok(TOPIC, speaks)
    } else {
        Finding::note(TOPIC, format!("{speaks}; this is {AGENT}"), "use one version of this program on all hosts")
    };
    vec![speaks, workers_of(status), journal_of(status)]
}

fn workers_of(status: &Status) -> Finding {
    const TOPIC: &str = "broker";
    let (count, threads) = (status.workers.len(), status.workers.iter().map(|worker| u64::from(worker.threads)).sum::<u64>());
    // One client is this process.
    let (clients, jobs) = (status.broker.clients.saturating_sub(1), status.jobs.len());
    let text = format!("workers: {count}, their threads: {threads}, other clients: {clients}, jobs: {jobs}");
    let others: Vec<_> = status.workers.iter().filter(|worker| worker.engine != ENGINE_ID).collect();
    match others.first() {
        _ if count == 0 => {
            Finding::note(TOPIC, text, "nothing is rendered before a worker comes: `fractally worker --broker ENDPOINT`")
        }
        None => Finding::ok(TOPIC, format!("{text}; every engine is {ENGINE_ID}, as here")),
        Some(first) => Finding::note(
            TOPIC,
            format!(
                "{text}; {} compute another engine than {ENGINE_ID}, as {} does ({})",
                others.len(),
                first.name,
                first.engine
            ),
            "pictures of two engines may differ; use one version of this program on all hosts",
        ),
    }
}

fn journal_of(status: &Status) -> Finding {
    const TOPIC: &str = "broker";
    match &status.broker.journal {
        None => {
            Finding::note(TOPIC, "it keeps no detached jobs", "for `submit` and `gateway`, give the broker --state DIRECTORY")
        }
        Some(journal) => match &journal.trouble {
            Some(trouble) => {
                Finding::bad(TOPIC, format!("its journal cannot be written: {trouble}"), "make room on the broker's disk")
            }
            None => {
                let (used, max) = (bytes(journal.bytes), bytes(journal.bytes_max));
                Finding::ok(TOPIC, format!("detached jobs that it keeps: {}, {used} of {max}", journal.jobs))
            }
        },
    }
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", 1e3 * time.as_secs_f64())
}
