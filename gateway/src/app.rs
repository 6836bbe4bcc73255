//! All routes, what they share, and the description of the interface that is made from them.

use std::{ops::Deref, sync::Arc, time::Duration};

use axum::{Json, Router, extract::DefaultBodyLimit, middleware, response::IntoResponse, routing::get};
use http::{HeaderName, Method, header};
use tokio::sync::Semaphore;
use tower::util::option_layer;
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowOrigin, CorsLayer},
};
use utoipa::openapi;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    Config, described, events,
    grid::Grid,
    health::{self, Ready},
    image,
    metrics::{self, Metrics},
    preview::{self, Previews},
    problem::Problem,
    renders,
    smalls::Smalls,
    talk, tiles, trail,
    turnstile::Turnstile,
    watch::Watch,
};

/// Pictures that are converted at once; each is in memory.
const CONVERSIONS_MAX: usize = 2;
/// MiB of converted pictures in memory: more than two of the largest.
const CONVERTED_MIB_MAX: usize = 512;

/// What every handler may use.
#[derive(Clone)]
pub(crate) struct App(Arc<Parts>);

/// See [`App`].
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) grid: Grid,
    pub(crate) watch: Watch,
    pub(crate) smalls: Smalls,
    pub(crate) previews: Previews,
    pub(crate) ready: Ready,
    pub(crate) turnstile: Turnstile,
    pub(crate) metrics: Metrics,
    pub(crate) conversions: Arc<Semaphore>,
    pub(crate) converted_mib: Arc<Semaphore>,
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl App {
    /// Everything that handlers share. Starts to look at the grid, so it wants a runtime.
    pub(crate) fn new(config: Config) -> Self {
        let grid = Grid::new(&config);
        let metrics = Metrics::new();
        let ready = Ready::start(grid.clone());
        let smalls = Smalls::new(grid.clone(), metrics.clone(), config.bounds.cache_bytes);
        Self(Arc::new(Parts {
            watch: Watch::start(grid.clone()),
            ready,
            previews: Previews::new(grid.clone(), smalls.clone()),
            turnstile: Turnstile::new(config.bounds),
            conversions: Arc::new(Semaphore::new(CONVERSIONS_MAX)),
            converted_mib: Arc::new(Semaphore::new(CONVERTED_MIB_MAX)),
            smalls,
            metrics,
            grid,
            config,
        }))
    }

    /// The whole service.
    pub(crate) fn router(self) -> Router {
        let (api, description) = described().split_for_parts();
        let cors = cors(&self.config);
        let bounds = self.config.bounds;
        api.route("/openapi.json", get(move || async move { Json(description).into_response() }))
            .merge(talk::pages())
            .merge(metrics::routes())
            .fallback(|| async { Problem::of_status(http::StatusCode::NOT_FOUND) })
            .layer(DefaultBodyLimit::max(bounds.body_bytes))
            .layer(CatchPanicLayer::custom(|_| Problem::of_status(http::StatusCode::INTERNAL_SERVER_ERROR).into_response()))
            .layer(middleware::from_fn_with_state(self.clone(), trail::pass))
            // Outside of all, so that pages of others can read refusals too.
            .layer(option_layer(cors))
            .with_state(self)
    }
}

/// The description of the interface, OpenAPI 3.1.
pub fn openapi() -> openapi::OpenApi {
    described().into_openapi()
}

fn described() -> OpenApiRouter<App> {
    let mut router = OpenApiRouter::with_openapi(described::begun())
        .merge(renders::routes())
        .merge(image::routes())
        .merge(preview::routes())
        .merge(events::routes())
        .merge(tiles::routes())
        .merge(talk::routes())
        .merge(health::routes());
    described::complete(router.get_openapi_mut());
    router
}

/// Pages of these origins may use all of the API.
fn cors(config: &Config) -> Option<CorsLayer> {
    if config.origins.is_empty() {
        return None;
    }
    let exposed = [header::LOCATION, header::RETRY_AFTER, header::ETAG, header::CONTENT_RANGE, trail::REQUEST_ID];
    let allowed: [HeaderName; 6] =
        [header::CONTENT_TYPE, header::ACCEPT, header::RANGE, header::IF_NONE_MATCH, trail::CLIENT, trail::REQUEST_ID];
    let layer = CorsLayer::new().allow_origin(AllowOrigin::list(config.origins.iter().cloned()));
    let methods = [Method::GET, Method::HEAD, Method::POST, Method::DELETE];
    Some(layer.allow_methods(methods).allow_headers(allowed).expose_headers(exposed).max_age(Duration::from_secs(3600)))
}
