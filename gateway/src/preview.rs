//! A small picture of a render before it is complete: the rows that are there, scaled down, over a coarse picture of the whole.
//!
//! A painter follows each render that is looked at and adds its rows to a canvas, so that a look costs no more than the canvas. Painters
//! are few; one that nobody has looked at for a while goes.

use std::{
    collections::HashMap,
    io::{self, BufReader, Read, Seek, SeekFrom},
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use axum::{
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use fractally_proto::{ContentId, Encoding, JobId, JobState, Limits, ListedJob, Request, Size, Window};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use png::{Decoder, DecodingError};
use serde::Deserialize;
use tokio::{
    runtime::Handle,
    sync::{oneshot, watch},
    task::AbortHandle,
    time::{Instant, sleep, timeout},
};
use tracing::{Instrument, debug};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    App,
    args::Args,
    canvas::{Canvas, decode, encode},
    conditional::{is_known, strong_etag},
    grid::{Following, Grid, Small},
    picture::content_id,
    problem::{Problem, ProblemBody},
    smalls::Smalls,
    trail::Caller,
};

/// Pixels of a preview, from left to right.
const WIDTH_DEFAULT: u32 = 512;
const WIDTH_MIN: u32 = 16;
const WIDTH_MAX: u32 = 1024;
/// Rows of one, however tall its picture is.
const HEIGHT_MAX: u32 = 2048;
/// Iterations of a coarse picture: it is there to be soon.
const COARSE_ITERATIONS: u32 = 5_000;
/// Renders that are painted at once.
const PAINTERS_MAX: usize = 8;
/// How long a painter goes on when nobody looks.
const UNSEEN: Duration = Duration::from_secs(20);
/// How long a look waits for the coarse picture, and for a painter who has all that he needs.
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(preview))
}

/// How large the preview is.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Pixels from left to right, 16 to 1024; no more than the picture has.
    #[param(minimum = 16, maximum = 1024, default = 512)]
    width: Option<u32>,
}

/// A small picture of a render
///
/// The rows that are rendered, scaled down, over a coarse picture of the whole. Ask again for how it goes on.
#[utoipa::path(
    get, path = "/api/v1/renders/{id}/preview", tag = "renders",
    params(("id" = String, Path, description = "The render's id", pattern = "^[0-9a-f]{32}$"), Wanted),
    responses(
        (status = 200, description = "The picture as it is", body = Vec<u8>, content_type = "image/png"),
        (status = 304, description = "It is complete and has not changed"),
        (status = 400, description = "A parameter is wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such render", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn preview(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Args(wanted): Args<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = content_id(&id)?;
    let width = wanted.width.unwrap_or(WIDTH_DEFAULT);
    if !(WIDTH_MIN..=WIDTH_MAX).contains(&width) {
        return Err(Problem::malformed("width", format!("width: {width}; give {WIDTH_MIN} to {WIDTH_MAX} pixels")));
    }
    let job = app.grid.get(id).await?;
    let size = scaled(job.request.window, width);
    let etag = strong_etag(&format!("{id}-{}-{}x{}", job.engine, size.w, size.h));
    if job.state == JobState::Done && is_known(&headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let (png, is_whole) = app.previews.look(&job, size, &caller).await?;
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("image/png"));
    if is_whole {
        let caching = (header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        return Ok(([kind, caching, (header::ETAG, etag)], png).into_response());
    }
    Ok(([kind, (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], png).into_response())
}

/// A window scaled down to a width and to the most rows, never up.
fn scaled(window: Window, width: u32) -> Size {
    let (w, h) = (u64::from(window.w), u64::from(window.h));
    let narrow = u64::from(width).min(w).min((w * u64::from(HEIGHT_MAX) / h).max(1));
    let tall = (h * narrow).div_ceil(w).min(h.min(HEIGHT_MAX.into()));
    let pixels = |side: u64| u32::try_from(side).expect("it is no longer than the picture's");
    Size { w: pixels(narrow), h: pixels(tall) }
}

/// See the module's words.
#[derive(Clone)]
pub(crate) struct Previews {
    inner: Arc<Inner>,
}

struct Inner {
    grid: Grid,
    smalls: Smalls,
    painters: Mutex<HashMap<Key, Painter>>,
}

/// A picture at a size. The job is named since a picture that was given up may begin again.
type Key = (ContentId, JobId, u32, u32);

/// A canvas that is painted, and a coarse picture that is sought, for as long as this stands in the map.
struct Painter {
    easel: Easel,
    seen_at: Instant,
    fetching: AbortHandle,
    _stop: oneshot::Sender<()>,
}

/// What a painter is at.
#[derive(Clone)]
struct Easel {
    canvas: Arc<Mutex<Canvas>>,
    /// Whether all is painted that ever will be.
    ended: watch::Receiver<bool>,
    /// The pixels of the whole, once they are there.
    coarse: watch::Receiver<Option<Vec<u8>>>,
}

impl Easel {
    /// Whether it will never be whole, though rows can be had.
    fn has_failed(&self) -> bool {
        let canvas = self.canvas.lock().expect("nobody panics with it");
        *self.ended.borrow() && canvas.is_painted && canvas.rows < canvas.size.h
    }
}

impl Drop for Painter {
    fn drop(&mut self) {
        self.fetching.abort();
    }
}

impl Previews {
    pub(crate) fn new(grid: Grid, smalls: Smalls) -> Self {
        let inner = Arc::new(Inner { grid, smalls, painters: Mutex::default() });
        tokio::spawn(sweep(Arc::downgrade(&inner)));
        Self { inner }
    }

    /// Stops painting these renders. A painter follows them, which would keep them alive when nobody wants them any more.
    pub(crate) fn forget(&self, content: ContentId) {
        self.inner.painters.lock().expect("nobody panics with it").retain(|key, _| key.0 != content);
    }

    /// The picture as it is now, and whether it will stay so.
    async fn look(&self, job: &ListedJob, size: Size, caller: &Caller) -> Result<(Bytes, bool), Problem> {
        let easel = match job.state {
            JobState::Failed | JobState::Cancelled => None,
            JobState::Waiting | JobState::Running | JobState::Paused | JobState::Done => self.easel(job, size, caller),
        };
        let (rows, mut pixels) = match &easel {
            Some(easel) => painted(job, easel.clone()).await,
            None => Default::default(),
        };
        let is_whole = rows == size.h;
        if !is_whole {
            let coarse = match easel {
                Some(Easel { mut coarse, .. }) => {
                    let there = timeout(PATIENCE, coarse.wait_for(Option::is_some)).await;
                    there.ok().and_then(|there| there.ok()?.clone()).unwrap_or_default()
                }
                None => timeout(PATIENCE, self.coarse(&job.request, size, caller)).await.unwrap_or_default(),
            };
            pixels.extend_from_slice(coarse.get(pixels.len()..).unwrap_or(&[]));
        }
        // What is not known yet is dark.
        pixels.resize(3 * size.w as usize * size.h as usize, 16);
        let made = tokio::task::spawn_blocking(move || encode(size, &pixels)).await;
        let png = made.map_err(|error| Problem::unavailable(format!("cannot draw the preview: {error}"), 1))?;
        Ok((png, is_whole))
    }

    /// What the painter of a picture is at; one is called if there is room for one more.
    fn easel(&self, job: &ListedJob, size: Size, caller: &Caller) -> Option<Easel> {
        let now = Instant::now();
        let key = (job.request.content(), job.job, size.w, size.h);
        let mut painters = self.inner.painters.lock().expect("nobody panics with it");
        // One who stopped half way, as when the broker went away, begins again.
        painters.retain(|at, painter| *at != key || !painter.easel.has_failed());
        if !painters.contains_key(&key) {
            if painters.len() >= PAINTERS_MAX {
                // One that is done loses nothing that cannot be had again.
                let done = painters.iter().filter(|(_, painter)| *painter.easel.ended.borrow());
                let oldest = done.min_by_key(|(_, painter)| painter.seen_at).map(|(key, _)| *key)?;
                painters.remove(&oldest);
            }
            painters.insert(key, self.call(job, size, caller, now));
        }
        let painter = painters.get_mut(&key)?;
        painter.seen_at = now;
        Some(painter.easel.clone())
    }

    fn call(&self, job: &ListedJob, size: Size, caller: &Caller, now: Instant) -> Painter {
        let canvas = Arc::new(Mutex::new(Canvas::new(job.request.window, size, job.request.encoding == Encoding::Png)));
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = watch::channel(false);
        // Counts have no colours; a coarse picture is all there is to see.
        if job.request.encoding == Encoding::Png {
            let following = self.inner.grid.follow_as_painter(job);
            let strips = Strips { handle: Handle::current(), following, stopped, here: Bytes::new() };
            let to_paint = Arc::clone(&canvas);
            tokio::task::spawn_blocking(move || {
                if let Err(error) = paint(&to_paint, strips) {
                    debug!(%error, "a painter stops");
                }
                end.send_replace(true);
            });
        } else {
            end.send_replace(true);
        }
        let (tell, coarse) = watch::channel(None);
        let (this, request, caller) = (self.clone(), job.request, caller.clone());
        let fetch = async move {
            tell.send_replace(Some(this.coarse(&request, size, &caller).await));
        };
        let fetching = tokio::spawn(fetch.in_current_span()).abort_handle();
        Painter { easel: Easel { canvas, ended, coarse }, seen_at: now, fetching, _stop: stop }
    }

    /// The pixels of the whole at this size; none where they cannot be had.
    async fn coarse(&self, request: &Request, size: Size, caller: &Caller) -> Vec<u8> {
        let request = coarse_request(request, size);
        if request.validate(&Limits::default()).is_err() {
            return Vec::new();
        }
        let small = self.inner.smalls.get(request, caller).await;
        small.ok().and_then(|Small { bytes, .. }| decode(&bytes)).unwrap_or_default()
    }
}

/// Sends painters away when nobody has looked for a while: they follow renders, which would never end for them.
async fn sweep(inner: Weak<Inner>) {
    loop {
        sleep(UNSEEN / 4).await;
        let Some(inner) = inner.upgrade() else { return };
        let now = Instant::now();
        inner.painters.lock().expect("nobody panics with it").retain(|_, painter| now - painter.seen_at < UNSEEN);
    }
}

/// How many rows of the canvas are complete, and their pixels.
async fn painted(job: &ListedJob, mut easel: Easel) -> (u32, Vec<u8>) {
    if job.state == JobState::Done {
        // All of it is there; it only has to be read.
        let _ = timeout(PATIENCE, easel.ended.wait_for(|ended| *ended)).await;
    }
    let canvas = easel.canvas.lock().expect("nobody panics with it");
    (canvas.rows, canvas.pixels())
}

/// The same view in fewer pixels.
fn coarse_request(request: &Request, size: Size) -> Request {
    let step = request.width / f64::from(request.size.w);
    let middle = |first: u32, count: u32, all: u32| f64::from(first) + f64::from(count) / 2.0 - f64::from(all) / 2.0;
    let Window { x, y, w, h } = request.window;
    let center =
        [request.center[0] + middle(x, w, request.size.w) * step, request.center[1] - middle(y, h, request.size.h) * step];
    Request {
        center,
        width: step * f64::from(w),
        size,
        window: Window::whole(size),
        iterations: request.iterations.min(COARSE_ITERATIONS),
        encoding: Encoding::Png,
        ..*request
    }
}

fn paint(canvas: &Mutex<Canvas>, strips: Strips) -> Result<(), DecodingError> {
    let mut reader = Decoder::new(BufReader::with_capacity(64 * 1024, strips)).read_info()?;
    let mut row = 0;
    while let Some(pixels) = reader.next_row()? {
        canvas.lock().expect("nobody panics with it").add(row, pixels.data());
        row += 1;
    }
    Ok(())
}

/// A picture's bytes as they come, for a decoder on a thread of its own.
struct Strips {
    handle: Handle,
    following: Following,
    stopped: oneshot::Receiver<()>,
    here: Bytes,
}

impl Read for Strips {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.here.is_empty() {
            let Self { handle, following, stopped, .. } = self;
            let next = handle.block_on(async {
                tokio::select! {
                    next = following.next() => next,
                    _ = stopped => Err(Problem::unavailable("nobody looks any more", 1)),
                }
            });
            self.here = next.map_err(|_| io::Error::other("the picture is not complete"))?.unwrap_or_default();
        }
        let count = into.len().min(self.here.len());
        into[..count].copy_from_slice(&self.here.split_to(count));
        Ok(count)
    }
}

/// The decoder asks for it and does not use it while rows are read in their order.
impl Seek for Strips {
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_is_never_larger_than_its_picture_and_never_empty() {
        let size = |w, h, width| scaled(Window { x: 0, y: 0, w, h }, width);
        assert_eq!(size(4000, 2000, 512), Size { w: 512, h: 256 });
        assert_eq!(size(30, 20, 512), Size { w: 30, h: 20 });
        assert_eq!(size(1_000_000, 1, 512), Size { w: 512, h: 1 });
        assert_eq!(size(1, 1_000_000, 512), Size { w: 1, h: HEIGHT_MAX });
        assert_eq!(size(1000, 5000, 512), Size { w: 409, h: 2045 });
    }

    #[test]
    fn a_coarse_picture_shows_the_same_view() {
        let whole = Request::default();
        let size = Size { w: 512, h: 256 };
        let coarse = coarse_request(&whole, size);
        assert_eq!((coarse.center, coarse.width), (whole.center, whole.width));
        let part = Request { window: Window { x: 0, y: 1000, w: 1000, h: 500 }, ..whole };
        let coarse = coarse_request(&part, size);
        assert_eq!(coarse.width, 1.0);
        assert_eq!(coarse.center, [-1.5, -0.25]);
    }
}
