//! A render, as the interface shows it.

use fractally_proto::{ContentId, Encoding, JobState, ListedJob, Request};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    picture::{Complex, Picture, Rgb},
    tiles,
};

/// A render: what it draws, and how far it is.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Render {
    /// What it draws, as 32 hexadecimal digits: the same picture has the same id, whoever asks for it.
    #[schema(example = "0c8a4e1f3b5d7f90a1b2c3d4e5f60718", pattern = "^[0-9a-f]{32}$")]
    pub(crate) id: String,
    /// Where it is in its life.
    pub(crate) state: State,
    /// What keeps it, or how it ended, for people; empty where the state says all.
    why: String,
    /// Rows of the picture.
    rows: u32,
    /// Rows that are on the broker's disk, from the top.
    pub(crate) rows_done: u32,
    /// Milliseconds that the rest will take, as far as is known.
    eta_ms: Option<u64>,
    /// Workers that have parts of it now; of one that is over, those that took part.
    workers: u32,
    /// Iterations executed for it.
    iterations: u64,
    /// Thread time that took, milliseconds.
    compute_ms: f64,
    /// Milliseconds that it took, or takes so far.
    elapsed_ms: u64,
    /// Milliseconds since it was accepted.
    age_ms: u64,
    /// Version of the mathematics that renders it; absent before anything does.
    #[serde(skip_serializing_if = "Option::is_none")]
    engine: Option<String>,
    /// The broker's id of the job, as its command line has it.
    job: String,
    /// What it draws. Can be sent as it stands.
    request: Picture,
    /// Where to go on.
    pub(crate) links: Links,
}

/// Where a render's parts are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Links {
    /// The render.
    #[serde(rename = "self")]
    pub(crate) this: String,
    /// Its file.
    image: String,
    /// A small picture of it, before it is complete.
    preview: String,
    /// Its progress as server-sent events.
    events: String,
    /// A map of it, as a template with {z}, {x} and {y}; absent where it has no colours.
    #[serde(skip_serializing_if = "Option::is_none")]
    tiles: Option<String>,
}

/// Where a render is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// No worker has anything of it.
    Waiting,
    /// It is being rendered.
    Running,
    /// The broker has no room for it at present.
    Paused,
    /// The picture is complete.
    Done,
    /// It could not be finished.
    Failed,
    /// Nobody wants it any more.
    Cancelled,
}

impl State {
    /// Whether nothing more comes of it.
    pub(crate) fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

impl From<JobState> for State {
    fn from(state: JobState) -> Self {
        match state {
            JobState::Waiting => Self::Waiting,
            JobState::Running => Self::Running,
            JobState::Paused => Self::Paused,
            JobState::Done => Self::Done,
            JobState::Failed => Self::Failed,
            JobState::Cancelled => Self::Cancelled,
        }
    }
}

impl Render {
    pub(crate) fn of(job: &ListedJob) -> Self {
        let id = job.request.content();
        Self {
            id: id.to_string(),
            state: job.state.into(),
            why: job.why.clone(),
            rows: job.request.window.h,
            rows_done: job.rows_done,
            eta_ms: job.eta_ms,
            workers: job.workers,
            iterations: job.iterations,
            compute_ms: job.compute_ns as f64 / 1e6,
            elapsed_ms: job.elapsed_ms,
            age_ms: job.age_ms,
            engine: Some(job.engine.clone()).filter(|engine| !engine.is_empty()),
            job: job.job.to_string(),
            request: Picture::of(&job.request, job.priority),
            links: Links::of(id, &job.request),
        }
    }

    /// Whether somebody who saw `before` would want to see this.
    pub(crate) fn is_news(&self, before: &Self) -> bool {
        let key = |render: &Self| (render.state, render.rows_done, render.workers, render.why.clone(), render.job.clone());
        key(self) != key(before)
    }
}

impl Links {
    pub(crate) fn of(id: ContentId, request: &Request) -> Self {
        let this = format!("/api/v1/renders/{id}");
        let tiles = (request.encoding == Encoding::Png).then(|| {
            let Request { c, center, width, iterations, bailout, colour, .. } = request;
            let (c, center, interior) = (Complex(*c), Complex(*center), Rgb(colour.interior));
            // `#` begins a URL's fragment.
            let interior = interior.to_string().replace('#', "");
            let cmap = colour.map;
            let fields = format!(
                "c={c},center={center},width={width:?},iter={iterations},bailout={bailout:?},cmap={cmap},interior={interior}"
            );
            tiles::template(&fields)
        });
        let [image, preview] = ["image", "preview"].map(|part| format!("{this}/{part}"));
        Self { image, preview, events: format!("/api/v1/events?id={id}"), tiles, this }
    }
}
