//! `/api/v1/events`: many renders on one stream of server-sent events.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::{RawQuery, State},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use fractally_proto::ContentId;
use futures::{
    Stream, StreamExt,
    stream::{self, BoxStream, SelectAll},
};
use http::header;
use serde_json::json;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    App, args,
    picture::content_id,
    problem::{Problem, ProblemBody},
    resource::Render,
    schemas,
    watch::Subscription,
};

/// Renders on one stream.
const RENDERS_MAX: usize = 64;
/// How often a stream says something, so that proxies see that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(events))
}

/// Follow many renders
///
/// Server-sent events: `render` with a render whenever there is news of it, `gone` with `{"id": …}` where there is no such render, and
/// `end` when all are over; then the stream ends. Each stream begins with how things are, so one that broke is simply opened again.
#[utoipa::path(
    get, path = "/api/v1/events", tag = "renders",
    params(("id" = inline(schemas::Ids), Query, description = "Ids of 1 to 64 renders; once for each", style = Form, explode)),
    responses(
        (status = 200, description = "A stream of such events", body = inline(schemas::Told), content_type = "text/event-stream"),
        (status = 400, description = "A parameter is wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "An id that no render can have", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn events(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let ids = ids(query.as_deref())?;
    let news: Vec<_> = ids.iter().map(|&id| (id, app.watch.subscribe(id))).collect();
    let jobs = app.grid.find_all(&ids).await?;
    let all: SelectAll<BoxStream<'static, Event>> = stream::select_all(news.into_iter().map(|(id, news)| {
        let jobs = jobs.iter().filter(|job| job.request.content() == id).cloned().collect();
        let first = app.grid.best(jobs).as_ref().map(Render::of);
        follow(id, first, news).boxed()
    }));
    let end = stream::once(async { Event::default().event("end").data("{}") });
    let events = all.chain(end).map(Ok::<_, Infallible>);
    let sse = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    // A proxy that collects a stream before it passes it on would spoil it.
    Ok(([(header::CACHE_CONTROL, "no-store"), (header::HeaderName::from_static("x-accel-buffering"), "no")], sse).into_response())
}

fn ids(query: Option<&str>) -> Result<Vec<ContentId>, Problem> {
    let (mut ids, mut named) = (Vec::new(), 0);
    for (name, value) in args::pairs(query) {
        if name != "id" {
            return Err(Problem::malformed(&name, format!("{name}: there is no such parameter; give id, once for each render")));
        }
        // All ids of one stream may also stand in one parameter.
        for id in value.split(',') {
            let id = content_id(id)?;
            named += 1;
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        if named > RENDERS_MAX {
            return Err(Problem::malformed(
                "id",
                format!("id: more than {RENDERS_MAX} renders; open another stream for the rest"),
            ));
        }
    }
    if ids.is_empty() {
        return Err(Problem::malformed("id", format!("id: missing; give 1 to {RENDERS_MAX} ids of renders")));
    }
    Ok(ids)
}

/// What happens to one render, until it is over.
fn follow(id: ContentId, first: Option<Render>, news: Subscription) -> impl Stream<Item = Event> {
    let state = Some((first, news, true));
    stream::unfold(state, move |state| async move {
        let (mut last, mut news, is_first) = state?;
        if !is_first {
            last = next(last, &mut news).await?;
        }
        let event = match &last {
            Some(render) => Event::default().event("render").json_data(render).expect("a render is plain data"),
            None => Event::default().event("gone").data(json!({ "id": id.to_string() }).to_string()),
        };
        let is_over = last.as_ref().is_none_or(|render| render.state.is_over());
        Some((event, (!is_over).then_some((last, news, false))))
    })
}

/// The next state that is news.
async fn next(last: Option<Render>, news: &mut Subscription) -> Option<Option<Render>> {
    loop {
        let now = news.next().await?;
        match (&now, &last) {
            (Some(now), Some(last)) if !now.is_news(last) => {}
            _ => return Some(now),
        }
    }
}
