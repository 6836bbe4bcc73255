//! Serves the metrics of a process over HTTP: `GET /metrics`, and nothing else.
//!
//! It has a thread and a runtime of its own, so that no scraper, however slow, delays what is measured. What a scraper may take is
//! bounded: connections, the size of a question, and the time for all of it. What is measured, and how it is written, is the caller's
//! business: it gives OpenMetrics text, as the library `prometheus-client` writes it.
//!
//! Read next: `text.rs` for the older format, which scrapers get that do not ask for OpenMetrics.

mod text;

use std::{convert::Infallible, io, net, sync::Arc, thread, time::Duration};

use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ACCEPT, ALLOW, CONTENT_TYPE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tracing::{debug, warn};

/// Where the metrics are.
pub const PATH: &str = "/metrics";
/// Media type of OpenMetrics text.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Media type of the older text format.
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";
/// How long nothing is accepted after the system refused, for want of descriptors most likely.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What scrapers may take.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Connections at once; more wait in the system's queue.
    connections_max: usize,
    /// Time for a whole question.
    question_timeout: Duration,
    /// Time for all of a connection, the answer included.
    connection_timeout: Duration,
    /// Bytes of a question.
    question_bytes_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections_max: 16,
            question_timeout: Duration::from_secs(5),
            connection_timeout: Duration::from_secs(10),
            question_bytes_max: 8192,
        }
    }
}

/// Answers scrapers on `listener` with what `render` gives, OpenMetrics text, for as long as the process lives. `render` is called on
/// the server's own thread.
///
/// # Errors
/// The system has no thread or no descriptors left.
pub fn serve(listener: net::TcpListener, render: impl Fn() -> String + Send + Sync + 'static) -> io::Result<()> {
    serve_within(Bounds::default(), listener, render)
}

fn serve_within(
    bounds: Bounds,
    listener: net::TcpListener,
    render: impl Fn() -> String + Send + Sync + 'static,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    listener.set_nonblocking(true)?;
    let listener = {
        let _inside = runtime.enter();
        TcpListener::from_std(listener)?
    };
    let serve = move || runtime.block_on(accept(bounds, listener, Arc::new(render)));
    thread::Builder::new().name("metrics".to_owned()).spawn(serve)?;
    Ok(())
}

async fn accept<F: Fn() -> String + Send + Sync + 'static>(bounds: Bounds, listener: TcpListener, render: Arc<F>) {
    let places = Arc::new(Semaphore::new(bounds.connections_max));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, scraper)) => {
                let render = Arc::clone(&render);
                tokio::spawn(async move {
                    match timeout(bounds.connection_timeout, talk(bounds, stream, &*render)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => debug!(%scraper, %error, "scraper gone"),
                        Err(_) => debug!(%scraper, "scraper too slow"),
                    }
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "no scraper can be accepted at present");
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// One question and its answer.
async fn talk(bounds: Bounds, stream: TcpStream, render: &impl Fn() -> String) -> hyper::Result<()> {
    let answer = service_fn(|request| async move { Ok::<_, Infallible>(answer(&request, render)) });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.question_timeout)
        .max_buf_size(bounds.question_bytes_max)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer)
        .await
}

/// Media type and text for a scraper with these headers, of OpenMetrics text: that, or the older format.
pub fn negotiate(headers: &HeaderMap, open: String) -> (&'static str, String) {
    let mut accept = headers.get_all(ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    if accept.any(text::asks_for_open_metrics) { (OPEN_METRICS, open) } else { (CLASSIC, text::classic(&open)) }
}

fn answer(request: &Request<Incoming>, render: &impl Fn() -> String) -> Response<String> {
    let answer = Response::builder();
    let answer = match (request.uri().path(), request.method()) {
        (PATH, &Method::GET | &Method::HEAD) => {
            let (media_type, text) = negotiate(request.headers(), render());
            answer.header(CONTENT_TYPE, media_type).body(text)
        }
        (PATH, _) => answer.status(StatusCode::METHOD_NOT_ALLOWED).header(ALLOW, "GET, HEAD").body("GET it\n".to_owned()),
        _ => answer.status(StatusCode::NOT_FOUND).body(format!("the metrics are at {PATH}\n")),
    };
    answer.expect("its parts are constants")
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        sync::atomic::{AtomicU32, Ordering},
    };

    use super::*;

    const METRICS: &str = "# HELP a_band Bands.\n# TYPE a_band counter\na_band_total 1\n# EOF\n";

    /// Serves [`METRICS`] within these bounds and gives the address.
    fn served(bounds: Bounds) -> net::SocketAddr {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        serve_within(bounds, listener, || METRICS.to_owned()).unwrap();
        address
    }

    /// What stands in the answer to `question`, to the end of the connection.
    fn ask(address: net::SocketAddr, question: &str) -> String {
        let mut stream = net::TcpStream::connect(address).unwrap();
        stream.write_all(question.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn metrics_are_given_in_the_format_that_was_asked_for() {
        let address = served(Bounds::default());
        let plain = ask(address, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(plain.starts_with("HTTP/1.1 200 ") && plain.contains("text/plain; version=0.0.4"), "{plain}");
        assert!(plain.ends_with("# HELP a_band_total Bands.\n# TYPE a_band_total counter\na_band_total 1\n"), "{plain}");
        let open = ask(address, "GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\nAccept: application/openmetrics-text;q=0.9\r\n\r\n");
        assert!(open.contains("application/openmetrics-text; version=1.0.0") && open.ends_with(METRICS), "{open}");
        let head = ask(address, "HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    }

    #[test]
    fn nothing_else_is_served() {
        let address = served(Bounds::default());
        for (question, status) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "404"),
            ("GET /metrics/ HTTP/1.1\r\nHost: a\r\n\r\n", "404"),
            ("POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "405"),
            ("nonsense\r\n\r\n", "400"),
        ] {
            let answer = ask(address, question);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{question:?}: {answer}");
        }
        let long = format!("GET /metrics HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(100_000));
        let mut stream = net::TcpStream::connect(address).unwrap();
        // The server may hang up before all of it is said.
        let _ = stream.write_all(long.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    }

    #[test]
    fn who_says_nothing_is_hung_up_on_and_makes_room() {
        let short = Duration::from_millis(200);
        let address = served(Bounds { connections_max: 2, question_timeout: short, ..Bounds::default() });
        let mute: Vec<_> = (0..5).map(|_| net::TcpStream::connect(address).unwrap()).collect();
        // It stands behind all of those.
        assert!(ask(address, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").starts_with("HTTP/1.1 200 "));
        drop(mute);
    }

    #[test]
    fn who_does_not_end_is_hung_up_on() {
        let short = Duration::from_millis(200);
        let address = served(Bounds { connection_timeout: short, ..Bounds::default() });
        let mut stream = net::TcpStream::connect(address).unwrap();
        stream.write_all(b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nx").unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    }

    #[test]
    fn each_scrape_sees_what_there_is_then() {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let scrapes = AtomicU32::new(0);
        serve(listener, move || format!("a {}\n", scrapes.fetch_add(1, Ordering::Relaxed))).unwrap();
        for scrape in 0..3 {
            let answer = ask(address, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
            assert!(answer.ends_with(&format!("\r\n\r\na {scrape}\n")), "{answer}");
        }
    }
}
