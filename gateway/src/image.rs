//! A render's file: streamed while it is assembled, or from what is on disk; in other formats once it is whole.

use std::{ops::Range, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use fractally_client::{PictureFormat, convert, file_len};
use fractally_proto::{Encoding, JobState, ListedJob};
use futures::stream;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    App,
    conditional::{Wanted, is_known, liking, strong_etag, wanted},
    grid::Following,
    picture::content_id,
    problem::{Problem, ProblemBody},
    renders::wait_until_done,
};

/// How long a request for another type waits for the picture to be complete, and for its turn.
const WHOLE_WAIT: Duration = Duration::from_secs(60);
const CONVERT_WAIT: Duration = Duration::from_secs(10);
/// Bytes that are handed to the connection at once.
const PIECE_BYTES: usize = 64 * 1024;

/// What a file can be sent as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileType {
    Picture(PictureFormat),
    Counts,
}

impl FileType {
    const ALL: [Self; 5] = [
        Self::Picture(PictureFormat::Png),
        Self::Picture(PictureFormat::Webp),
        Self::Picture(PictureFormat::Jpeg),
        Self::Picture(PictureFormat::Tiff),
        Self::Counts,
    ];

    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Picture(format) => format.media_type(),
            Self::Counts => "application/x-npy",
        }
    }

    fn ending(self) -> &'static str {
        match self {
            Self::Picture(format) => format.endings()[0],
            Self::Counts => "npy",
        }
    }

    fn by_ending(ending: &str) -> Option<Self> {
        match ending {
            "npy" => Some(Self::Counts),
            ending => PictureFormat::of_ending(ending).map(Self::Picture),
        }
    }

    /// What the strips of a job are.
    pub(crate) fn of(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Png => Self::Picture(PictureFormat::Png),
            Encoding::Counts => Self::Counts,
        }
    }

    /// Whether a job of this encoding can be sent so.
    fn is_made_of(self, encoding: Encoding) -> bool {
        matches!((self, encoding), (Self::Picture(_), Encoding::Png) | (Self::Counts, Encoding::Counts))
    }
}

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(image)).routes(routes!(image_as))
}

/// The file of a render
///
/// Streamed as it is assembled: rows come as soon as they are rendered. Of a render that is done it has a length, a strong ETag, and takes
/// ranges. `Accept` chooses between PNG (preferred), WebP, JPEG and TIFF, which are made of whole pictures only.
#[utoipa::path(
    get, path = "/api/v1/renders/{id}/image", tag = "renders",
    params(("id" = String, Path, description = "The render's id", pattern = "^[0-9a-f]{32}$")),
    responses(
        (status = 200, description = "The file", content((Vec<u8> = "image/png"), (Vec<u8> = "image/webp"), (Vec<u8> = "image/jpeg"),
            (Vec<u8> = "image/tiff"), (Vec<u8> = "application/x-npy"))),
        (status = 206, description = "A part of it", content((Vec<u8> = "image/png"), (Vec<u8> = "application/x-npy"))),
        (status = 304, description = "It has not changed"),
        (status = 404, description = "There is no such render", body = ProblemBody, content_type = "application/problem+json"),
        (status = 406, description = "It is not to be had in that type", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It ended without a picture", body = ProblemBody, content_type = "application/problem+json"),
        (status = 416, description = "There is no such range", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "Too large for that type", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn image(State(app): State<App>, Path(id): Path<String>, method: Method, headers: HeaderMap) -> Result<Response, Problem> {
    let job = app.grid.get(content_id(&id)?).await?;
    let kind = chosen(&headers, job.request.encoding)?;
    send(&app, &job, kind, &method, &headers).await
}

/// The file of a render, in one type
///
/// As `image`, in the type that the ending names.
#[utoipa::path(
    get, path = "/api/v1/renders/{id}/{file}", tag = "renders",
    params(
        ("id" = String, Path, description = "The render's id", pattern = "^[0-9a-f]{32}$"),
        ("file" = String, Path, description = "`image.png`, `image.webp`, `image.jpg`, `image.tiff`, or `image.npy` for raw counts",
            pattern = r"^image\.(png|webp|jpg|jpeg|tif|tiff|npy)$", example = "image.webp"),
    ),
    responses(
        (status = 200, description = "The file", content((Vec<u8> = "image/png"), (Vec<u8> = "image/webp"), (Vec<u8> = "image/jpeg"),
            (Vec<u8> = "image/tiff"), (Vec<u8> = "application/x-npy"))),
        (status = 206, description = "A part of it", content((Vec<u8> = "image/png"), (Vec<u8> = "application/x-npy"))),
        (status = 304, description = "It has not changed"),
        (status = 404, description = "There is no such render or file", body = ProblemBody, content_type = "application/problem+json"),
        (status = 406, description = "It is not to be had in that type", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It ended without a picture", body = ProblemBody, content_type = "application/problem+json"),
        (status = 416, description = "There is no such range", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "Too large for that type", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn image_as(
    State(app): State<App>,
    Path((id, file)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = content_id(&id)?;
    let kind = file.strip_prefix("image.").and_then(FileType::by_ending).ok_or_else(|| {
        Problem::not_found("there is no such file; there are image.png, image.webp, image.jpg, image.tiff and image.npy")
    })?;
    let job = app.grid.get(id).await?;
    if !kind.is_made_of(job.request.encoding) {
        let own = FileType::of(job.request.encoding).ending();
        let detail = format!("image.{}: this render is to be had as image.{own}; its field format says so", kind.ending());
        return Err(Problem::new(StatusCode::NOT_ACCEPTABLE, detail));
    }
    send(&app, &job, kind, &method, &headers).await
}

/// The type that the client likes best; of those that he likes equally, the one that costs least.
fn chosen(headers: &HeaderMap, encoding: Encoding) -> Result<FileType, Problem> {
    let accept: Vec<_> = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let wishes = accept.join(",");
    let made = FileType::ALL.into_iter().filter(|kind| kind.is_made_of(encoding));
    if wishes.trim().is_empty() {
        return Ok(FileType::of(encoding));
    }
    let liked = made.map(|kind| (liking(&wishes, kind.media_type()), kind)).filter(|(liking, _)| *liking > 0);
    // The first of the greatest.
    let best = liked.reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.map(|(_, kind)| kind).ok_or_else(|| {
        let all: Vec<_> = FileType::ALL.into_iter().filter(|kind| kind.is_made_of(encoding)).map(FileType::media_type).collect();
        let detail = format!("Accept: this render is to be had as {}", all.join(", "));
        Problem::new(StatusCode::NOT_ACCEPTABLE, detail)
    })
}

/// Sends the file of a job in a type that can be made of it.
pub(crate) async fn send(
    app: &App,
    job: &ListedJob,
    kind: FileType,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    match job.state {
        JobState::Failed | JobState::Cancelled => {
            let how = if job.state == JobState::Failed { "has failed" } else { "was given up" };
            let why = if job.why.is_empty() { String::new() } else { format!(" ({})", job.why) };
            return Err(Problem::conflict(format!("the render {how}{why}; POST its fields to start it again")));
        }
        JobState::Waiting | JobState::Running | JobState::Paused | JobState::Done => {}
    }
    let is_own = kind == FileType::of(job.request.encoding);
    if let FileType::Picture(format) = kind
        && !is_own
    {
        format
            .check(job.request.window.w, job.request.window.h)
            .map_err(|error| Problem::invalid("size", format!("size: {error}")))?;
    }
    let etag = (job.state == JobState::Done).then(|| etag(job, kind));
    if let Some(etag) = &etag
        && is_known(headers, etag)
    {
        return Ok((StatusCode::NOT_MODIFIED, common(job, kind, Some(etag))).into_response());
    }
    let common = common(job, kind, etag.as_ref());
    if !is_own {
        let (len, body) = converted(app, job, kind).await?;
        return Ok((common, [(header::CONTENT_LENGTH, len)], body).into_response());
    }
    if etag.is_none() {
        return Ok((common, body_of(app.grid.follow(job).await?, None)).into_response());
    }
    let len = file_len(&job.request, job.strip_bytes);
    // Ranges are a thing of GET.
    let part = if method == Method::GET { wanted(headers, etag.as_ref(), len) } else { Wanted::All };
    match part {
        Wanted::All => {
            let length = [(header::CONTENT_LENGTH, len.to_string())];
            Ok((common, [(header::ACCEPT_RANGES, "bytes")], length, body_of(app.grid.follow(job).await?, None)).into_response())
        }
        Wanted::Part(part) => {
            let place = format!("bytes {}-{}/{len}", part.start, part.end - 1);
            let length = [(header::CONTENT_LENGTH, (part.end - part.start).to_string()), (header::CONTENT_RANGE, place)];
            let body = body_of(app.grid.follow(job).await?, Some(part));
            Ok((StatusCode::PARTIAL_CONTENT, common, [(header::ACCEPT_RANGES, "bytes")], length, body).into_response())
        }
        Wanted::Nothing => {
            let problem = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, format!("the file has {len} bytes"));
            Ok(([(header::CONTENT_RANGE, format!("bytes */{len}"))], problem).into_response())
        }
    }
}

/// The strong ETag of a finished file: the content, what rendered it, and the type.
fn etag(job: &ListedJob, kind: FileType) -> HeaderValue {
    strong_etag(&format!("{}-{}.{}", job.request.content(), job.engine, kind.ending()))
}

/// Headers of every answer with the file.
fn common(job: &ListedJob, kind: FileType, etag: Option<&HeaderValue>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind.media_type()));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    // Another engine may render it one day: each use is worth a question, which the ETag makes a short one.
    let caching = if etag.is_some() { "no-cache" } else { "no-store" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    let name = format!("inline; filename=\"julia-{}.{}\"", &job.request.content().to_string()[..8], kind.ending());
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_str(&name).expect("an id has digits"));
    if let Some(etag) = etag {
        headers.insert(header::ETAG, etag.clone());
    }
    headers
}

/// The bytes of a file, or a part of them.
fn body_of(following: Following, part: Option<Range<u64>>) -> Body {
    let part = part.unwrap_or(0..u64::MAX);
    let state = (following, 0u64, part);
    Body::from_stream(stream::try_unfold(state, |(mut following, mut at, part)| async move {
        while at < part.end {
            let Some(bytes) = following.next().await.map_err(|_| std::io::Error::other("the picture is not complete"))? else {
                return Ok(None);
            };
            let here = at..at + bytes.len() as u64;
            at = here.end;
            let (start, end) = (here.start.max(part.start), here.end.min(part.end));
            if start < end {
                let index = |place: u64| usize::try_from(place - here.start).expect("it lies in the bytes that are here");
                return Ok::<_, std::io::Error>(Some((bytes.slice(index(start)..index(end)), (following, at, part))));
            }
        }
        Ok(None)
    }))
}

/// Length and bytes of the whole picture in another type. Few are made at once, and what is made takes room until it is sent.
async fn converted(app: &App, job: &ListedJob, kind: FileType) -> Result<(u64, Body), Problem> {
    let FileType::Picture(format) = kind else { unreachable!("counts are sent as they are") };
    let job = wait_until_done(app, job.clone(), WHOLE_WAIT).await?;
    let crowded = |_| Problem::unavailable("many pictures are being converted; ask again, or take the PNG", 5);
    let mib = u32::try_from((3 * job.request.pixels()).div_ceil(1 << 20)).unwrap_or(u32::MAX);
    let room = Arc::clone(&app.converted_mib).acquire_many_owned(mib);
    let room = timeout(CONVERT_WAIT, room).await.map_err(crowded)?.expect("it is never closed");
    let turn = Arc::clone(&app.conversions).acquire_owned();
    let turn = timeout(CONVERT_WAIT, turn).await.map_err(crowded)?.expect("it is never closed");
    let png = whole(app.grid.follow(&job).await?).await?;
    let made = tokio::task::spawn_blocking(move || convert(&png, format)).await;
    drop(turn);
    match made {
        Ok(Ok(bytes)) => Ok((bytes.len() as u64, in_pieces(bytes.into(), room))),
        Ok(Err(error)) => Err(Problem::invalid("size", format!("size: {error}"))),
        Err(error) => Err(Problem::unavailable(format!("cannot convert the picture: {error}"), 1)),
    }
}

/// Bytes that are handed out as they are taken, and hold their room until the last of them is.
fn in_pieces(bytes: Bytes, room: OwnedSemaphorePermit) -> Body {
    Body::from_stream(stream::unfold((bytes, room), |(mut bytes, room)| async move {
        let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
        (!piece.is_empty()).then_some((Ok::<_, std::convert::Infallible>(piece), (bytes, room)))
    }))
}

/// A whole file in memory.
pub(crate) async fn whole(mut following: Following) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    while let Some(more) = following.next().await? {
        bytes.extend_from_slice(&more);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(value))])
    }

    #[test]
    fn the_type_that_is_liked_best_is_sent_and_png_where_all_are_equal() {
        let chosen = |value| chosen(&accept(value), Encoding::Png).ok().map(FileType::media_type);
        assert_eq!(chosen("*/*"), Some("image/png"));
        assert_eq!(chosen(""), Some("image/png"));
        // What a browser sends for <img>.
        assert_eq!(chosen("image/avif,image/webp,image/apng,image/*,*/*;q=0.8"), Some("image/png"));
        assert_eq!(chosen("image/webp"), Some("image/webp"));
        assert_eq!(chosen("image/png;q=0.5, image/jpeg;q=0.6"), Some("image/jpeg"));
        assert_eq!(chosen("image/*;q=0.5, image/tiff"), Some("image/tiff"));
        assert_eq!(chosen("image/png;q=0, image/*;q=0.1"), Some("image/webp"));
        assert_eq!(chosen("text/html"), None);
        assert_eq!(super::chosen(&accept("image/png"), Encoding::Counts).ok(), None);
        assert_eq!(super::chosen(&accept("*/*"), Encoding::Counts).ok(), Some(FileType::Counts));
    }
}
