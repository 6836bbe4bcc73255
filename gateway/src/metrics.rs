//! What the gateway counts, for Prometheus.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, Method, StatusCode, header};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::App;

/// Buckets of answers, seconds.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

/// Counters that every part of the gateway shares.
#[derive(Clone)]
pub(crate) struct Metrics {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    answers: Family<AnswerLabels, Counter>,
    seconds: Family<PathLabels, Histogram, fn() -> Histogram>,
    bytes: Counter,
    smalls: Family<SmallLabels, Counter>,
    inside: Gauge,
}

/// Paths are those of the routes, never what a client wrote, so that there are few.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    method: &'static str,
    path: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PathLabels {
    path: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SmallLabels {
    cached: &'static str,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("fractally_gateway");
        let answers = Family::default();
        registry.register("requests", "Requests that were answered, by route and status", answers.clone());
        let seconds: Family<PathLabels, Histogram, fn() -> Histogram> = Family::new_with_constructor(|| Histogram::new(SECONDS));
        let about = "From a request's head to its answer's head, by route";
        registry.register_with_unit("request_duration", about, Unit::Seconds, seconds.clone());
        let bytes = Counter::default();
        registry.register_with_unit("sent", "Bodies that were sent", Unit::Bytes, bytes.clone());
        let smalls = Family::default();
        registry.register("small_pictures", "Tiles and coarse pictures that were asked for", smalls.clone());
        let inside = Gauge::default();
        registry.register("requests_open", "Requests that are being answered", inside.clone());
        Self { inner: Arc::new(Inner { registry, answers, seconds, bytes, smalls, inside }) }
    }

    pub(crate) fn on_answer(&self, method: &Method, path: &str, status: StatusCode, took: Duration) {
        let labels = AnswerLabels { method: name_of(method), path: path.to_owned(), status: status.as_u16() };
        self.inner.answers.get_or_create(&labels).inc();
        self.inner.seconds.get_or_create(&PathLabels { path: path.to_owned() }).observe(took.as_secs_f64());
    }

    pub(crate) fn on_bytes(&self, bytes: usize) {
        self.inner.bytes.inc_by(bytes as u64);
    }

    pub(crate) fn on_small(&self, cached: bool) {
        self.inner.smalls.get_or_create(&SmallLabels { cached: if cached { "yes" } else { "no" } }).inc();
    }
}

/// Methods that there are; a client may invent others.
fn name_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

pub(crate) fn routes() -> Router<App> {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics(State(app): State<App>, headers: HeaderMap) -> Response {
    let inner = &app.metrics.inner;
    inner.inside.set(i64::try_from(app.turnstile.inside()).unwrap_or(i64::MAX));
    let mut text = String::new();
    encode(&mut text, &inner.registry).expect("text takes what is written to it");
    let (media_type, text) = fractally_metrics::negotiate(&headers, text);
    ([(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, "no-store")], text).into_response()
}
