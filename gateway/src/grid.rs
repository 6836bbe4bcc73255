//! The grid as the gateway sees it: finds renders, asks for them, gives them up, and gets their bytes.
//!
//! It keeps nothing of its own about a render: what there is, the broker knows, so any gateway serves any id.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use fractally_client::{
    AttachOptions, Broker, KeepOptions, Kept, PipeReader, RenderError, RenderOptions, SessionError, Sessions, Withdrawn, attach,
    find, keep, pipe, render, status, withdraw,
};
use fractally_proto::{ContentId, JobKey, JobState, ListedJob, Priority, Request, Status};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tracing::{Instrument, debug};

use crate::{Config, problem::Problem, trail::Caller};

/// Bytes of a picture that wait for a reader, and bytes that the broker sends ahead of him.
const PIPE_BYTES: usize = 256 * 1024;
const WINDOW_BYTES: u64 = 1024 * 1024;
/// How often a broker that is away is asked again.
const RETRY: Duration = Duration::from_millis(100);

/// Connections for one account, and for what the gateway asks in its own name.
const SESSIONS_PER_CLIENT: usize = 48;
const SESSIONS_OWN: usize = 160;
/// Of the latter, those that pictures may hold for as long as their readers take; the others are for questions, which are short.
const FOLLOWED_MAX: usize = 128;
/// How long a reader waits for another to leave.
const FOLLOW_WAIT: Duration = Duration::from_secs(2);
/// Accounts whose connections are kept for their next request.
const ACCOUNTS_MAX: usize = 256;

/// See the module's words.
#[derive(Clone)]
pub(crate) struct Grid {
    /// What the gateway asks in its own name.
    own: Broker,
    /// Who asks for renders, by account.
    accounts: Arc<Mutex<HashMap<String, Broker>>>,
    /// Pictures that are followed.
    followed: Arc<Semaphore>,
    /// What all workers compute with, as far as is known.
    engine: Arc<Mutex<Option<Engine>>>,
    reconnect_for: Duration,
    patience: Duration,
}

/// A picture whose bytes come from the grid; when it is dropped, nobody follows any more.
pub(crate) struct Following {
    reader: PipeReader,
    progress: Arc<Reading>,
}

/// How a reader gets on.
#[derive(Default)]
struct Reading {
    /// He waits for bytes, so it is not him who stands still.
    is_hungry: AtomicBool,
    has_moved: AtomicBool,
}

/// A small picture, whole.
#[derive(Clone, Debug)]
pub(crate) struct Small {
    pub(crate) bytes: Bytes,
    pub(crate) engine: Engine,
}

/// The version of the mathematics that renders something.
pub(crate) type Engine = Arc<str>;

impl Grid {
    pub(crate) fn new(config: &Config) -> Self {
        let own = Broker { sessions: Some(Sessions::new(SESSIONS_OWN)), ..config.broker.clone() };
        Self {
            own,
            accounts: Arc::default(),
            followed: Arc::new(Semaphore::new(FOLLOWED_MAX)),
            engine: Arc::default(),
            reconnect_for: config.reconnect_for,
            patience: config.bounds.patience,
        }
    }

    /// All that the broker knows of these contents, the latest first. A broker that is away is waited for.
    pub(crate) async fn find_all(&self, contents: &[ContentId]) -> Result<Vec<ListedJob>, Problem> {
        self.patiently(|| find(&self.own, contents)).await
    }

    /// The render of this content that is to be shown.
    pub(crate) async fn find(&self, content: ContentId) -> Result<Option<ListedJob>, Problem> {
        Ok(self.best(self.find_all(&[content]).await?))
    }

    /// What is to be shown of several of one content, the latest first: a picture that is done, one that is being rendered, a picture of
    /// another engine, one that came to nothing.
    pub(crate) fn best(&self, jobs: Vec<ListedJob>) -> Option<ListedJob> {
        let engine = self.engine();
        jobs.into_iter().min_by_key(|job| match job.state {
            JobState::Done if engine.as_ref().is_none_or(|engine| **engine == *job.engine) => 0,
            JobState::Waiting | JobState::Running | JobState::Paused => 1,
            JobState::Done => 2,
            JobState::Failed | JobState::Cancelled => 3,
        })
    }

    /// What the grid computes with, where all of it does the same.
    pub(crate) fn engine(&self) -> Option<Engine> {
        self.engine.lock().expect("nobody panics with it").clone()
    }

    /// The same, of a render that must be there.
    pub(crate) async fn get(&self, content: ContentId) -> Result<ListedJob, Problem> {
        self.find(content).await?.ok_or_else(|| {
            Problem::not_found("nobody has asked for this render, or it was forgotten; POST its fields to /api/v1/renders")
        })
    }

    /// Asks for a render that outlives its client, or joins one that draws the same.
    pub(crate) async fn keep(&self, request: Request, priority: Priority, caller: &Caller) -> Result<Kept, Problem> {
        let options = KeepOptions {
            broker: self.broker_of(caller),
            key: JobKey(random()),
            request,
            priority,
            holder: Some(caller.holder.clone()),
            request_id: Some(caller.request_id.clone()),
            reconnect_for: self.reconnect_for,
        };
        self.patiently(|| keep(&options, |_| (), std::future::pending())).await
    }

    /// Gives up the caller's interest.
    pub(crate) async fn withdraw(&self, job: &ListedJob, caller: &Caller) -> Result<Withdrawn, Problem> {
        Ok(withdraw(&self.own, job.job, &caller.holder, Some(job.request.content())).await?)
    }

    /// The broker, its workers and its jobs; not waited for.
    pub(crate) async fn status(&self) -> Result<Status, SessionError> {
        let status = status(&self.own).await;
        let workers = status.as_ref().map(|status| &status.workers[..]).unwrap_or_default();
        let first = workers.first().map(|worker| &worker.engine);
        let common = first.filter(|engine| workers.iter().all(|worker| worker.engine == **engine));
        *self.engine.lock().expect("nobody panics with it") = common.map(|engine| engine.as_str().into());
        status
    }

    /// Follows a detached job: its file's bytes, from the first on, as they are there.
    ///
    /// # Errors
    /// 503 where so many are followed that there is no room for one more.
    pub(crate) async fn follow(&self, job: &ListedJob) -> Result<Following, Problem> {
        let room = timeout(FOLLOW_WAIT, Arc::clone(&self.followed).acquire_owned()).await;
        let room = room
            .ok()
            .and_then(Result::ok)
            .ok_or_else(|| Problem::unavailable(format!("{FOLLOWED_MAX} pictures are being sent, which is the limit"), 2))?;
        Ok(self.follow_in(Some(room), job))
    }

    /// The same for one of those few who need no room, since there are never more of them.
    pub(crate) fn follow_as_painter(&self, job: &ListedJob) -> Following {
        self.follow_in(None, job)
    }

    fn follow_in(&self, room: Option<OwnedSemaphorePermit>, job: &ListedJob) -> Following {
        let options = AttachOptions {
            broker: self.own.clone(),
            job: job.job,
            only_if_done: false,
            request: Some(job.request),
            reconnect_for: self.reconnect_for,
            window_bytes: WINDOW_BYTES,
        };
        let (writer, reader) = pipe(PIPE_BYTES);
        let progress = Arc::new(Reading::default());
        let (reading, abandoned) = (Arc::clone(&progress), writer.abandoned());
        let patience = self.patience;
        let following = async move {
            let stop = async {
                tokio::select! {
                    () = abandoned => {}
                    () = stalled(&reading, patience) => debug!("a reader stands still"),
                }
            };
            match attach(&options, |_| Ok(writer), |_| (), stop).await {
                Ok(rendered) => rendered.out.finish(),
                // The reader sees that the writer is gone.
                Err(error) => debug!(%error, "following ended"),
            }
            drop(room);
        };
        tokio::spawn(following.in_current_span());
        Following { reader, progress }
    }

    /// Renders a small picture in memory for somebody who waits for it. Ready `stop` cancels it at the broker.
    pub(crate) async fn render(
        &self,
        request: Request,
        caller: &Caller,
        stop: impl Future<Output = ()> + Clone + Send,
    ) -> Result<Small, Problem> {
        let options = RenderOptions {
            broker: self.broker_of(caller),
            key: JobKey(random()),
            request,
            priority: Priority::Interactive,
            reconnect_for: self.reconnect_for,
            request_id: Some(caller.request_id.clone()),
            window_bytes: WINDOW_BYTES,
        };
        let rendered = self.patiently(|| render(&options, Vec::new(), |_| (), stop.clone())).await?;
        Ok(Small { bytes: rendered.out.into(), engine: rendered.done.engine.into() })
    }

    /// The broker, as it is asked for this account.
    fn broker_of(&self, caller: &Caller) -> Broker {
        let mut accounts = self.accounts.lock().expect("nobody panics with it");
        if let Some(broker) = accounts.get(&caller.account) {
            return broker.clone();
        }
        if accounts.len() >= ACCOUNTS_MAX {
            // Who uses a connection now holds on to the pool himself.
            accounts.retain(|_, broker| broker.sessions.as_ref().is_some_and(|sessions| sessions.in_use() + sessions.idle() > 0));
        }
        let (account, sessions) = (Some(caller.account.clone()), Some(Sessions::new(SESSIONS_PER_CLIENT)));
        let broker = Broker { account, sessions, ..self.own.clone() };
        if accounts.len() < ACCOUNTS_MAX {
            accounts.insert(caller.account.clone(), broker.clone());
        }
        broker
    }

    /// Asks again while the broker is away.
    async fn patiently<T, E: Passing, F: Future<Output = Result<T, E>>>(&self, ask: impl Fn() -> F) -> Result<T, Problem> {
        let give_up = tokio::time::sleep(self.reconnect_for);
        tokio::pin!(give_up);
        loop {
            match ask().await {
                Ok(answer) => return Ok(answer),
                Err(error) if error.is_passing() => tokio::select! {
                    () = &mut give_up => return Err(error.into()),
                    () = tokio::time::sleep(RETRY) => {}
                },
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// What went wrong at the broker, and whether it may be otherwise soon.
trait Passing: Into<Problem> {
    fn is_passing(&self) -> bool;
}

impl Passing for SessionError {
    fn is_passing(&self) -> bool {
        self.is_passing()
    }
}

impl Passing for RenderError {
    fn is_passing(&self) -> bool {
        matches!(self, Self::Session(error) if error.is_passing())
    }
}

impl Following {
    /// The next bytes; nothing after the last.
    ///
    /// # Errors
    /// The picture will not be complete.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        self.progress.is_hungry.store(true, Ordering::Relaxed);
        let next = self.reader.next().await;
        self.progress.is_hungry.store(false, Ordering::Relaxed);
        self.progress.has_moved.store(true, Ordering::Relaxed);
        next.transpose().map_err(|_| Problem::unavailable("the render ended before its picture was complete", 1))
    }
}

/// Ready when a reader has taken nothing for that long, though there was something.
async fn stalled(reading: &Reading, patience: Duration) {
    loop {
        reading.has_moved.store(false, Ordering::Relaxed);
        tokio::time::sleep(patience).await;
        if !reading.has_moved.load(Ordering::Relaxed) && !reading.is_hungry.load(Ordering::Relaxed) {
            return;
        }
    }
}

fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    bytes
}
