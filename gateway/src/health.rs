//! `/livez`, `/readyz`: whether the gateway lives, and whether it could render something.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use fractally_proto::Status;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use tokio::{sync::watch, time::sleep};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{App, grid::Grid, trail::AsItIs};

/// How often the broker's state is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Whether the grid can render.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// Whether a render would begin now.
    ready: bool,
    /// Whether the broker answers.
    broker: bool,
    /// Workers that are connected to it.
    workers: usize,
    /// Threads that they compute with.
    threads: u64,
    /// Whether the broker keeps renders on its disk.
    journal: bool,
    /// What is missing, for people; empty where nothing is.
    why: String,
}

/// The broker's state, as it was less than a second ago.
#[derive(Clone)]
pub(crate) struct Ready {
    seen: watch::Receiver<Option<Readiness>>,
}

impl Ready {
    /// Starts looking, for as long as the runtime lives.
    pub(crate) fn start(grid: Grid) -> Self {
        let (tell, seen) = watch::channel(None);
        let ready = Self { seen };
        tokio::spawn(async move {
            loop {
                let readiness = match grid.status().await {
                    Ok(status) => Readiness::of(&status),
                    Err(error) => Readiness::without_broker(error.to_string()),
                };
                if tell.send(Some(readiness)).is_err() {
                    return;
                }
                sleep(LOOK_EVERY).await;
            }
        });
        ready
    }

    async fn now(&self) -> Readiness {
        let mut seen = self.seen.clone();
        let now = seen.wait_for(Option::is_some).await.ok().and_then(|now| now.clone());
        now.unwrap_or_else(|| Readiness::without_broker("the gateway is stopping".to_owned()))
    }
}

impl Readiness {
    fn of(status: &Status) -> Self {
        let workers = status.workers.len();
        let journal = status.broker.journal.is_some();
        let why = match (workers, journal) {
            (0, _) => "no worker is connected to the broker",
            (_, false) => "the broker keeps no renders; it was started without --state",
            (_, true) => "",
        };
        let threads = status.workers.iter().map(|worker| u64::from(worker.threads)).sum();
        Self { ready: why.is_empty(), broker: true, workers, threads, journal, why: why.to_owned() }
    }

    fn without_broker(why: String) -> Self {
        Self { ready: false, broker: false, workers: 0, threads: 0, journal: false, why }
    }
}

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(live)).routes(routes!(ready))
}

/// Whether the gateway lives
#[utoipa::path(get, path = "/livez", tag = "health", responses((status = 200, description = "It does", body = String, content_type = "text/plain")))]
async fn live() -> &'static str {
    "ok\n"
}

/// Whether the grid can render
///
/// Ready means that the broker answers, keeps renders, and has at least one worker.
#[utoipa::path(
    get, path = "/readyz", tag = "health",
    responses(
        (status = 200, description = "It can", body = Readiness),
        (status = 503, description = "Something is missing; the body says what", body = Readiness),
    )
)]
async fn ready(State(app): State<App>) -> Response {
    let readiness = app.ready.now().await;
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut response = (status, [(header::CACHE_CONTROL, "no-store")], Json(readiness)).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        response.extensions_mut().insert(AsItIs);
    }
    response
}
