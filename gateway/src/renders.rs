//! `/api/v1/renders`: ask for a render, look at it, wait for it, give it up.

use std::time::Duration;

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use fractally_proto::{ContentId, ListedJob};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use tokio::time::{Instant, timeout, timeout_at};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    App,
    args::Args,
    picture::{Picture, content_id},
    problem::{Problem, ProblemBody},
    resource::Render,
    trail::Caller,
};

/// Seconds that a client may wait for an answer.
const WAIT_MAX_S: f64 = 60.0;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(ask)).routes(routes!(look, give_up))
}

/// Ask for a render
///
/// The render goes on whether or not anybody waits for it. The same fields are the same render, whoever asks: asking again joins it,
/// and starts it again where it was given up or has failed.
#[utoipa::path(
    post, path = "/api/v1/renders", tag = "renders", request_body = Picture,
    responses(
        (status = 200, description = "The picture is there already", body = Render, headers(("Location" = String, description = "The render"))),
        (status = 202, description = "It is being rendered", body = Render,
            headers(("Location" = String, description = "The render"), ("Retry-After" = u32, description = "Seconds"))),
        (status = 400, description = "The body is not JSON", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is of another type", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is wrong or over a limit", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn ask(State(app): State<App>, caller: Caller, headers: HeaderMap, Body(body): Body) -> Result<Response, Problem> {
    check_json(&headers)?;
    let picture = Picture::from_json(&body?)?;
    let request = picture.request()?;
    let kept = app.grid.keep(request, picture.priority.into(), &caller).await?;
    // It is on disk, so it is there unless its time was over at once.
    let job = app.grid.get(request.content()).await?;
    debug_assert!(kept.cached || job.request == request);
    Ok(accepted(&job))
}

/// 200 where the picture is there, else 202.
fn accepted(job: &ListedJob) -> Response {
    let render = Render::of(job);
    let location = [(header::LOCATION, render.links.this.clone())];
    if render.state.is_over() {
        (StatusCode::OK, location, Json(render)).into_response()
    } else {
        (StatusCode::ACCEPTED, location, [(header::RETRY_AFTER, "1")], Json(render)).into_response()
    }
}

fn check_json(headers: &HeaderMap) -> Result<(), Problem> {
    let is_json = |value: &HeaderValue| {
        let essence = value.to_str().unwrap_or("").split(';').next().unwrap_or("").trim();
        essence.eq_ignore_ascii_case("application/json")
    };
    if headers.get(header::CONTENT_TYPE).is_some_and(is_json) {
        return Ok(());
    }
    let detail = "send the fields as JSON, with the header Content-Type: application/json";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type", detail))
}

/// A body that could not be read.
pub(crate) struct Unread(StatusCode);

impl From<Unread> for Problem {
    fn from(unread: Unread) -> Self {
        Self::of_status(unread.0)
    }
}

/// What to wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Until {
    /// More rows, or another state.
    #[default]
    News,
    /// Its end.
    Done,
}

/// How long to wait for an answer, and for what.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Waiting {
    /// Seconds to wait for news, 0 to 60; without it the answer comes at once.
    #[param(minimum = 0, maximum = 60)]
    wait: Option<f64>,
    /// Wait for any news, or until the render is over.
    #[param(inline)]
    until: Option<Until>,
}

/// Look at a render
///
/// With `wait` the answer comes when there is news, or after that time as things are then.
#[utoipa::path(
    get, path = "/api/v1/renders/{id}", tag = "renders",
    params(("id" = String, Path, description = "The render's id", pattern = "^[0-9a-f]{32}$"), Waiting),
    responses(
        (status = 200, description = "How far it is", body = Render),
        (status = 400, description = "A parameter is wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such render", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn look(State(app): State<App>, Path(id): Path<String>, Args(waiting): Args<Waiting>) -> Result<Response, Problem> {
    let id = content_id(&id)?;
    let wait = waiting.wait.unwrap_or(0.0);
    if !(0.0..=WAIT_MAX_S).contains(&wait) {
        return Err(Problem::malformed("wait", format!("wait: {wait}; give seconds from 0 to {WAIT_MAX_S}")));
    }
    let render = wait_for(&app, id, Duration::from_secs_f64(wait), waiting.until.unwrap_or_default()).await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(render)).into_response())
}

/// The render as soon as there is news of it, or as it is when the time is over.
async fn wait_for(app: &App, id: ContentId, wait: Duration, until: Until) -> Result<Render, Problem> {
    let deadline = Instant::now() + wait;
    // Before the first look, so that nothing is missed between.
    let mut news = app.watch.subscribe(id);
    let mut render = Render::of(&app.grid.get(id).await?);
    let before = render.clone();
    let is_enough = |render: &Render| match until {
        Until::News => render.is_news(&before),
        Until::Done => false,
    };
    while !wait.is_zero() && !render.state.is_over() && !is_enough(&render) {
        match timeout_at(deadline, news.changed()).await {
            Ok(Ok(())) => match news.borrow_and_update().clone() {
                Some(Some(now)) => render = now,
                Some(None) => return Err(Problem::not_found("the render was forgotten")),
                None => {}
            },
            Ok(Err(_)) | Err(_) => break,
        }
    }
    Ok(render)
}

/// Give a render up
///
/// Withdraws this client's interest. The work stops when nobody is left who asked for it. Asking again starts it again.
#[utoipa::path(
    delete, path = "/api/v1/renders/{id}", tag = "renders",
    params(("id" = String, Path, description = "The render's id", pattern = "^[0-9a-f]{32}$")),
    responses(
        (status = 204, description = "This client is no longer interested"),
        (status = 404, description = "There is no such render", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn give_up(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let id = content_id(&id)?;
    let job = app.grid.get(id).await?;
    app.previews.forget(id);
    app.grid.withdraw(&job, &caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl axum::extract::FromRequest<App> for Body {
    type Rejection = std::convert::Infallible;

    async fn from_request(request: axum::extract::Request, app: &App) -> Result<Self, Self::Rejection> {
        let bounds = app.config.bounds;
        let announced =
            request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > bounds.body_bytes as u64) {
            return Ok(Self(Err(Unread(StatusCode::PAYLOAD_TOO_LARGE))));
        }
        // All of it in that time: a byte now and then would hold the request's place for hours.
        let read = timeout(bounds.patience, Bytes::from_request(request, app)).await;
        Ok(Self(match read {
            Ok(read) => read.map_err(|rejection| Unread(rejection.into_response().status())),
            Err(_) => Err(Unread(StatusCode::REQUEST_TIMEOUT)),
        }))
    }
}

/// The body, or why it could not be read: said after what the headers have wrong.
struct Body(Result<Bytes, Unread>);
