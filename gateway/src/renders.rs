//! `/api/v1/renders`: ask for a render, look at it, wait for it, give it up.

use std::{convert::Infallible, time::Duration};

use axum::{
    Json,
    extract::{FromRequest, Path, Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use fractally_client::is_over;
use fractally_proto::{ContentId, JobState, ListedJob};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use tokio::time::{Instant, timeout, timeout_at};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    App, Bounds,
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
    let jobs = app.grid.find_all(&[request.content()]).await?;
    // It is on disk, so it is there unless it was forgotten at once, for want of room.
    let job = jobs.into_iter().find(|job| job.job == kept.job);
    Ok(accepted(&job.ok_or_else(|| Problem::unavailable("the broker has no room to keep the render", 5))?))
}

/// 200 where the picture is there, else 202.
fn accepted(job: &ListedJob) -> Response {
    let render = Render::of(job);
    let location = [(header::LOCATION, render.links.this.clone())];
    if job.state == JobState::Done {
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
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))
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
    if wait.is_zero() {
        return Ok(Render::of(&app.grid.get(id).await?));
    }
    let deadline = Instant::now() + wait;
    // Before the first look, so that nothing is missed between.
    let mut news = app.watch.subscribe(id);
    let before = Render::of(&app.grid.get(id).await?);
    let mut render = before.clone();
    while !render.state.is_over() && (until == Until::Done || !render.is_news(&before)) {
        match timeout_at(deadline, news.next()).await {
            Ok(Some(Some(now))) => render = now,
            Ok(Some(None)) => return Err(Problem::not_found("the render was forgotten")),
            Ok(None) | Err(_) => break,
        }
    }
    Ok(render)
}

/// Waits until a picture is complete, and gives its job.
///
/// # Errors
/// 409 where it ends otherwise, 503 after `wait`.
pub(crate) async fn wait_until_done(app: &App, job: ListedJob, wait: Duration) -> Result<ListedJob, Problem> {
    if job.state == JobState::Done {
        return Ok(job);
    }
    let id = job.request.content();
    wait_for(app, id, wait, Until::Done).await?;
    let job = app.grid.get(id).await?;
    match job.state {
        JobState::Done => Ok(job),
        JobState::Failed | JobState::Cancelled => Err(Problem::conflict("the render ended without a picture")),
        JobState::Waiting | JobState::Running | JobState::Paused => {
            Err(Problem::unavailable("this type is made of the whole picture, which is not complete yet", 5))
        }
    }
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
    app.previews.forget(id);
    let jobs = app.grid.find_all(&[id]).await?;
    if jobs.is_empty() {
        return Err(app.grid.get(id).await.err().unwrap_or_else(|| Problem::unavailable("it was asked for just now", 1)));
    }
    // There may be several: jobs of the command line do not join.
    for job in jobs.iter().filter(|job| !is_over(job.state)) {
        app.grid.withdraw(job, &caller).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// The body, or why it could not be read: said after what the headers have wrong.
struct Body(Result<Bytes, Problem>);

impl FromRequest<App> for Body {
    type Rejection = Infallible;

    async fn from_request(request: Request, app: &App) -> Result<Self, Infallible> {
        let Bounds { body_bytes, patience, .. } = app.config.bounds;
        let of = |status, detail| Problem::of_field(status, "body", format!("body: {detail}"));
        let too_large = || of(StatusCode::PAYLOAD_TOO_LARGE, format!("over the limit of {body_bytes} bytes"));
        let announced =
            request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > body_bytes as u64) {
            return Ok(Self(Err(too_large())));
        }
        // All of it in that time: a byte now and then would hold the request's place for hours.
        Ok(Self(match timeout(patience, Bytes::from_request(request, app)).await {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(too_large()),
            Ok(Err(rejection)) => Err(of(rejection.status(), "it cannot be read".to_owned())),
            Err(_) => Err(of(StatusCode::REQUEST_TIMEOUT, format!("it is to be here within {} s", patience.as_secs()))),
        }))
    }
}
