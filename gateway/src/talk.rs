//! The talk's own calls: `/?w=600&h=400&cre=-0.8&cim=0.156&cmap=inferno` gives a key, `/image/KEY` the picture or "not yet".

use axum::{
    Json, Router,
    extract::{Path, RawQuery, State},
    response::{IntoResponse, Response},
    routing::get,
};
use fractally_proto::{JobState, Priority, Size};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    App, args,
    image::{self, FileType},
    pages,
    picture::{Complex, Picture, Pixels, content_id},
    problem::{Problem, ProblemBody},
    resource::Render,
    schemas,
    trail::Caller,
};

/// Seconds after which "not yet" is worth another question.
const AGAIN_S: u32 = 1;

/// Where the picture will be.
#[derive(Serialize, ToSchema)]
pub(crate) struct Key {
    /// The render's id.
    key: String,
    /// Its picture, sooner or later.
    url: String,
}

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(root)).routes(routes!(image_of))
}

/// Pages that are no part of the interface.
pub(crate) fn pages() -> Router<App> {
    pages::routes().route("/index.html", get(|headers: HeaderMap| async move { pages::file("index.html", &headers) }))
}

/// Ask for a picture by URL, or the page
///
/// With parameters: asks for the picture and answers with a page that has a link to it, or where JSON is accepted, with its key. Without:
/// the page.
#[utoipa::path(
    get, path = "/", tag = "talk",
    params(
        ("w" = Option<u32>, Query, description = "Pixels from left to right", minimum = 1, maximum = 1_000_000, example = 600),
        ("h" = Option<u32>, Query, description = "Pixels from top to bottom", minimum = 1, maximum = 1_000_000, example = 400),
        ("cre" = Option<f64>, Query, description = "Real part of c", minimum = -1e9, maximum = 1e9, example = -0.8),
        ("cim" = Option<f64>, Query, description = "Imaginary part of c", minimum = -1e9, maximum = 1e9, example = 0.156),
        ("cmap" = inline(Option<schemas::Cmap>), Query, description = "Colour map", example = "inferno"),
        ("iter" = Option<u32>, Query, description = "Iteration limit", minimum = 1, maximum = 1_000_000_000),
        ("width" = Option<f64>, Query, description = "Width of the view in plane units", exclusive_minimum = 0, maximum = 1e9),
    ),
    responses(
        (status = 200, description = "A page, or a key", content((String = "text/html"), (Key = "application/json"))),
        (status = 304, description = "The page has not changed"),
        (status = 400, description = "A parameter is wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A parameter is over a limit", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn root(
    State(app): State<App>,
    caller: Caller,
    method: Method,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let pairs = args::pairs(query.as_deref());
    if pairs.is_empty() {
        return pages::file("index.html", &headers);
    }
    let picture = read(&pairs)?;
    let request = picture.request()?;
    // Who looks at the head alone wants no picture.
    if method != Method::HEAD {
        app.grid.keep(request, Priority::Normal, &caller).await?;
    }
    let key = request.content().to_string();
    let url = format!("/image/{key}");
    if wants_json(&headers) {
        return Ok(([(header::VARY, "accept"), (header::CACHE_CONTROL, "no-store")], Json(Key { key, url })).into_response());
    }
    let Size { w, h } = request.size;
    let title = format!("Julia set of z² + ({}), {w}x{h}", Complex(request.c));
    let page = pages::template("talk.html").replace("{{key}}", &key).replace("{{url}}", &url).replace("{{title}}", &title);
    let common =
        [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::VARY, "accept"), (header::CACHE_CONTROL, "no-store")];
    Ok((common, page).into_response())
}

/// The picture of a key
#[utoipa::path(
    get, path = "/image/{key}", tag = "talk",
    params(("key" = String, Path, description = "The key", pattern = "^[0-9a-f]{32}$")),
    responses(
        (status = 200, description = "The picture, or counts", content((Vec<u8> = "image/png"), (Vec<u8> = "application/x-npy"))),
        (status = 202, description = "Not yet; ask again", body = String, content_type = "text/plain",
            headers(("Retry-After" = u32, description = "Seconds"))),
        (status = 206, description = "A part of it", content((Vec<u8> = "image/png"), (Vec<u8> = "application/x-npy"))),
        (status = 304, description = "It has not changed"),
        (status = 404, description = "There is no such key", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It ended without a picture", body = ProblemBody, content_type = "application/problem+json"),
        (status = 416, description = "There is no such range", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn image_of(
    State(app): State<App>,
    Path(key): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let job = app.grid.get(content_id(&key)?).await?;
    match job.state {
        JobState::Done | JobState::Failed | JobState::Cancelled => {
            image::send(&app, &job, FileType::of(job.request.encoding), &method, &headers).await
        }
        JobState::Waiting | JobState::Running | JobState::Paused => {
            let render = Render::of(&job);
            let text = format!("not yet: {} of {} rows\n", render.rows_done, job.request.window.h);
            let mut response = (StatusCode::ACCEPTED, [(header::CACHE_CONTROL, "no-store")], text).into_response();
            // A browser that shows this asks again by itself.
            response.headers_mut().insert(header::REFRESH, HeaderValue::from(AGAIN_S));
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(AGAIN_S));
            Ok(response)
        }
    }
}

fn read(pairs: &[(String, String)]) -> Result<Picture, Problem> {
    let mut picture = Picture { size: Pixels(Size { w: 600, h: 400 }), ..Picture::default() };
    for (name, value) in pairs {
        let wrong = || Problem::malformed(name, format!("{name}: {value:?} cannot be read"));
        let pixels = || value.parse::<u32>().map_err(|_| wrong());
        let number = || value.parse::<f64>().map_err(|_| wrong());
        match name.as_str() {
            "w" => picture.size.0.w = pixels()?,
            "h" => picture.size.0.h = pixels()?,
            "cre" => picture.c.0[0] = number()?,
            "cim" => picture.c.0[1] = number()?,
            "iter" => picture.iter = pixels()?,
            "width" => picture.width = number()?,
            "cmap" => picture.cmap = value.parse().map_err(|error| Problem::malformed(name, format!("{name}: {error}")))?,
            _ => {
                let detail = format!("{name}: there is no such parameter; there are w, h, cre, cim, cmap, iter and width");
                return Err(Problem::malformed(name, detail));
            }
        }
    }
    Ok(picture)
}

fn wants_json(headers: &HeaderMap) -> bool {
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let types: Vec<_> = accept.flat_map(|value| value.split(',')).map(|one| one.split(';').next().unwrap_or("").trim()).collect();
    let at = |wanted: &str| types.iter().position(|one| one.eq_ignore_ascii_case(wanted));
    match (at("application/json"), at("text/html")) {
        (Some(json), Some(html)) => json < html,
        (json, _) => json.is_some(),
    }
}
