//! Watches renders for all who wait for news of them, so that a hundred waiters cost the broker no more than one.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use fractally_proto::{ContentId, ListedJob};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep},
};
use tracing::debug;

use crate::{
    grid::{Grid, best},
    resource::Render,
};

/// Contents that one question names.
const ASK_MAX: usize = 128;
/// The broker is asked soon after something has changed, and then less and less often.
const SOONEST: Duration = Duration::from_millis(4);
const LATEST: Duration = Duration::from_millis(250);

/// What is known of a render: nothing before the first answer, then what the broker says, if it has such a render.
pub(crate) type News = Option<Option<Render>>;

/// See the module's words.
#[derive(Clone)]
pub(crate) struct Watch {
    inner: Arc<Inner>,
}

struct Inner {
    watched: Mutex<HashMap<ContentId, watch::Sender<News>>>,
    /// Somebody waits for something new.
    woken: Notify,
}

impl Watch {
    /// Starts watching, for as long as the runtime lives.
    pub(crate) fn start(grid: Grid) -> Self {
        let inner = Arc::new(Inner { watched: Mutex::default(), woken: Notify::new() });
        tokio::spawn(keep_looking(Arc::clone(&inner), grid));
        Self { inner }
    }

    /// News of a render, from an answer that is given after this call on.
    pub(crate) fn subscribe(&self, content: ContentId) -> watch::Receiver<News> {
        let mut watched = self.inner.watched.lock().expect("nobody panics with it");
        let receiver = watched.entry(content).or_insert_with(|| watch::Sender::new(None)).subscribe();
        self.inner.woken.notify_one();
        receiver
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
            match grid.find_all(contents).await {
                Ok(jobs) => {
                    if inner.tell(contents, jobs) {
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
    fn tell(&self, contents: &[ContentId], jobs: Vec<ListedJob>) -> bool {
        let mut found: HashMap<ContentId, Vec<ListedJob>> = HashMap::new();
        for job in jobs {
            found.entry(job.request.content()).or_default().push(job);
        }
        let watched = self.watched.lock().expect("nobody panics with it");
        let mut is_new = false;
        for content in contents {
            let Some(sender) = watched.get(content) else { continue };
            let render = found.remove(content).and_then(best).as_ref().map(Render::of);
            is_new |= sender.send_if_modified(|news| {
                let is_news = match (&*news, &render) {
                    (Some(Some(before)), Some(now)) => now.is_news(before),
                    (Some(None), None) => false,
                    (None | Some(_), _) => true,
                };
                *news = Some(render);
                is_news
            });
        }
        is_new
    }
}
