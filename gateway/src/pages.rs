//! The pages and what belongs to them: files of `gateway/web/`, which are part of the program.

use axum::{
    Router,
    extract::Path,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::{
    App,
    conditional::{is_known, strong_etag},
    problem::Problem,
};

#[derive(RustEmbed)]
#[folder = "web"]
struct Web;

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/assets/{*path}", get(asset))
        .route("/docs", get(|headers: HeaderMap| async move { file("docs.html", &headers) }))
        .route("/favicon.ico", get(|headers: HeaderMap| async move { file("favicon.svg", &headers) }))
}

async fn asset(Path(path): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    file(&path, &headers)
}

/// The text of a page.
pub(crate) fn template(name: &str) -> String {
    let file = Web::get(name).expect("the page is part of the program");
    String::from_utf8_lossy(&file.data).into_owned()
}

/// A file, which the client may have already.
pub(crate) fn file(path: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let file = Web::get(path).ok_or_else(|| Problem::of_status(StatusCode::NOT_FOUND))?;
    let etag = etag(&file);
    let common = [(header::CACHE_CONTROL, HeaderValue::from_static("no-cache")), (header::ETAG, etag.clone())];
    if is_known(headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, common).into_response());
    }
    let kind: (HeaderName, String) = (header::CONTENT_TYPE, media_type(path));
    Ok((common, [kind], file.data).into_response())
}

fn media_type(path: &str) -> String {
    let guess = mime_guess::from_path(path).first_or_octet_stream();
    let is_text = guess.type_() == "text" || path.ends_with(".svg");
    if is_text { format!("{guess}; charset=utf-8") } else { guess.to_string() }
}

fn etag(file: &EmbeddedFile) -> HeaderValue {
    let digits: String = file.metadata.sha256_hash()[..12].iter().map(|byte| format!("{byte:02x}")).collect();
    strong_etag(&digits)
}
