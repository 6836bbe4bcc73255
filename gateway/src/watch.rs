//! Watches renders for all who wait for news of them, so that a hundred waiters cost the broker no more than one.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fractally_proto::{ContentId, ListedJob};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep},
};
use tracing::debug;

use crate::{grid::Grid, resource::Render};

/// Contents that one question names.
const ASK_MAX: usize = 128;
/// The broker is asked soon after something has changed, and then less and less often.
const SOONEST: Duration = Duration::from_millis(4);
const LATEST: Duration = Duration::from_millis(250);

/// What the broker said of a render, if it has such a render.
#[derive(Clone, Default)]
struct News {
    /// The number of the question that this is the answer to, from 1 on; 0 before there is any.
    round: u64,
    render: Option<Render>,
}

/// News of one render, for one who waits.
pub(crate) struct Subscription {
    news: watch::Receiver<News>,
    /// The last question that was asked before.
    after: u64,
}

impl Subscription {
    /// The next news: the render, or nothing where there is no such render any more. Nothing at all when nobody watches any more.
    pub(crate) async fn next(&mut self) -> Option<Option<Render>> {
        loop {
            self.news.changed().await.ok()?;
            let news = self.news.borrow_and_update();
            // What was asked before may be older than what is known already.
            if news.round > self.after {
                return Some(news.render.clone());
            }
        }
    }
}

/// See the module's words.
#[derive(Clone)]
pub(crate) struct Watch {
    inner: Arc<Inner>,
}

struct Inner {
    watched: Mutex<HashMap<ContentId, watch::Sender<News>>>,
    /// Questions that were asked so far.
    rounds: AtomicU64,
    /// Somebody waits for something new.
    woken: Notify,
}

impl Watch {
    /// Starts watching, for as long as the runtime lives.
    pub(crate) fn start(grid: Grid) -> Self {
        let inner = Arc::new(Inner { watched: Mutex::default(), rounds: AtomicU64::new(0), woken: Notify::new() });
        tokio::spawn(keep_looking(Arc::clone(&inner), grid));
        Self { inner }
    }

    /// News of a render, of questions that are asked after this call.
    pub(crate) fn subscribe(&self, content: ContentId) -> Subscription {
        let mut watched = self.inner.watched.lock().expect("nobody panics with it");
        let news = watched.entry(content).or_default().subscribe();
        self.inner.woken.notify_one();
        Subscription { news, after: self.inner.rounds.load(Ordering::SeqCst) }
    }
}

async fn keep_looking(inner: Arc<Inner>, grid: Grid) {
    let mut changed_at = Instant::now();
    loop {
        let contents = inner.wanted();
        if contents.is_empty() {
            inner.woken.notified().await;
            changed_at = Instant::now();
            continue;
        }
        for contents in contents.chunks(ASK_MAX) {
            let round = inner.rounds.fetch_add(1, Ordering::SeqCst) + 1;
            match grid.find_all(contents).await {
                Ok(jobs) => {
                    if inner.tell(&grid, round, contents, jobs) {
                        changed_at = Instant::now();
                    }
                }
                // Those who wait go on waiting; their own patience ends it.
                Err(problem) => debug!(?problem, "the broker is away"),
            }
        }
        let pause = (changed_at.elapsed() / 4).clamp(SOONEST, LATEST);
        let woken = pin!(inner.woken.notified());
        tokio::select! {
            () = sleep(pause) => {}
            () = woken => changed_at = Instant::now(),
        }
    }
}

impl Inner {
    /// What somebody still waits for.
    fn wanted(&self) -> Vec<ContentId> {
        let mut watched = self.watched.lock().expect("nobody panics with it");
        watched.retain(|_, sender| sender.receiver_count() > 0);
        watched.keys().copied().collect()
    }

    /// Hands out what the broker said, and tells whether it was new.
    fn tell(&self, grid: &Grid, round: u64, contents: &[ContentId], jobs: Vec<ListedJob>) -> bool {
        let mut found: HashMap<ContentId, Vec<ListedJob>> = HashMap::new();
        for job in jobs {
            found.entry(job.request.content()).or_default().push(job);
        }
        let watched = self.watched.lock().expect("nobody panics with it");
        let mut is_new = false;
        for content in contents {
            let Some(sender) = watched.get(content) else { continue };
            let render = found.remove(content).and_then(|jobs| grid.best(jobs)).as_ref().map(Render::of);
            is_new |= sender.send_if_modified(|news| {
                let is_news = match (&news.render, &render) {
                    (Some(before), Some(now)) => now.is_news(before),
                    (None, None) => news.round == 0,
                    (Some(_), None) | (None, Some(_)) => true,
                };
                *news = News { round, render };
                is_news
            });
        }
        is_new
    }
}
