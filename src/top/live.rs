//! The loop: keys, answers and signals come in, pages go out. The broker is asked by a task of its own, so that one that does not answer
//! keeps no key waiting.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use fractally_client::{Monitor, SessionError};
use fractally_proto::{JobId, JobStory, Status};
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    model::{Model, View, Wanted, Wish},
    page::draw,
    screen::Screen,
};
use crate::{exit::Failure, life::Stop};

/// How often a page is drawn where nothing happens: silences grow longer.
const REDRAW: Duration = Duration::from_secs(1);
/// How soon and how late a broker that does not answer is asked again.
const AGAIN_MIN: Duration = Duration::from_millis(500);
const AGAIN_MAX: Duration = Duration::from_secs(5);
/// How long goodbye may take.
const FAREWELL: Duration = Duration::from_millis(500);
/// Answers and keys that wait for the loop.
const WAITING_MAX: usize = 16;

/// What the asking task tells.
enum News {
    Status(Box<Status>),
    Story(JobId, Option<JobStory>),
    Lost(SessionError),
}

/// Shows `model` and what becomes of it, until a key or a signal ends it.
pub(crate) async fn run(monitor: Monitor, mut model: Model, every: Duration, stop: Stop) -> Result<(), Failure> {
    let has_colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let started = read_clock();
    let mut view = View::default();
    let (want, wanted) = watch::channel(view.wanted());
    let (tell, mut news) = mpsc::channel(WAITING_MAX);
    let mut screen = Screen::take().context("cannot use the terminal")?;
    let mut events = listen().context("cannot read keys")?;
    let asking = tokio::spawn(ask(monitor, every, wanted, tell));
    let mut redraw = interval(REDRAW);
    redraw.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stopped = stop.asked();
    tokio::pin!(stopped);
    let ended = loop {
        let now = started.elapsed();
        if let Err(error) = screen.show(|buffer| draw(buffer, &model, &view, now, true, has_colours)) {
            break Err(gone(error));
        }
        tokio::select! {
            () = &mut stopped => break Err(Failure::stopped()),
            told = news.recv() => match told {
                Some(told) => on_news(&mut model, started.elapsed(), told),
                None => break Err(anyhow::anyhow!("what asks the broker has failed").into()),
            },
            event = events.recv() => {
                let mut next = event.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()));
                // Of keys that are held down, the page of the last is enough.
                let wish = loop {
                    let wish = on_event(next, &mut view, &model);
                    let Ok(Wish::GoOn) = wish else { break wish };
                    let Ok(event) = events.try_recv() else { break wish };
                    next = event;
                };
                let done = match wish {
                    Ok(Wish::Quit) => break Ok(()),
                    Ok(Wish::Suspend) => screen.suspend(),
                    Ok(Wish::Redraw) => screen.clear(),
                    Ok(Wish::GoOn) => Ok(()),
                    Err(error) => Err(error),
                };
                if let Err(error) = done {
                    break Err(gone(error));
                }
                want.send_if_modified(|wanted| std::mem::replace(wanted, view.wanted()) != view.wanted());
            }
            _ = redraw.tick() => {}
        }
    };
    drop(screen);
    drop(news);
    // A broker that does not hear goodbye notices anyway.
    let _ = timeout(FAREWELL, asking).await;
    ended
}

fn gone(error: io::Error) -> Failure {
    anyhow::Error::from(error).context("the terminal is gone").into()
}

fn on_news(model: &mut Model, now: Duration, told: News) {
    match told {
        News::Status(status) => model.on_status(now, *status),
        News::Story(job, story) => model.on_story(now, job, story),
        // The page names the endpoint already, and says that nobody answers.
        News::Lost(SessionError::Connect(error)) => model.on_lost(error.reason),
        News::Lost(error) => model.on_lost(error.to_string()),
    }
}

fn on_event(event: io::Result<Event>, view: &mut View, model: &Model) -> io::Result<Wish> {
    match event? {
        Event::Key(key) if key.kind != KeyEventKind::Release => Ok(view.on_key(key, model)),
        // The next page has the new size.
        Event::Resize(..) | Event::Key(_) | Event::Mouse(_) | Event::FocusGained | Event::FocusLost | Event::Paste(_) => {
            Ok(Wish::GoOn)
        }
    }
}

/// Keys and changes of size, read by a thread: a read from a terminal cannot be cancelled.
fn listen() -> io::Result<mpsc::Receiver<io::Result<Event>>> {
    let (tell, events) = mpsc::channel(WAITING_MAX);
    thread::Builder::new().name("keys".to_owned()).spawn(move || {
        loop {
            let event = event::read();
            let is_last = event.is_err();
            if tell.blocking_send(event).is_err() || is_last {
                break;
            }
        }
    })?;
    Ok(events)
}

/// Asks the broker, again and again, for as long as anybody listens.
async fn ask(mut monitor: Monitor, every: Duration, mut wanted: watch::Receiver<Wanted>, tell: mpsc::Sender<News>) {
    // The first look was taken before.
    let mut pause = every;
    loop {
        let is_paused = wanted.borrow_and_update().paused;
        let lost = tokio::select! {
            () = sleep(pause), if !is_paused => None,
            lost = monitor.keep() => Some(lost),
            changed = wanted.changed() => match changed {
                Ok(()) => None,
                Err(_) => break,
            },
            () = tell.closed() => break,
        };
        let is_lost = lost.is_some();
        if let Some(error) = lost
            && tell.send(News::Lost(error)).await.is_err()
        {
            break;
        }
        let asked = *wanted.borrow_and_update();
        if asked.paused && is_lost {
            // It is looked for when it is wanted again.
            continue;
        }
        let answered = tokio::select! {
            answered = look(&mut monitor, asked, &tell) => answered,
            () = tell.closed() => break,
        };
        pause = every;
        if let Err(error) = answered {
            pause = every.clamp(AGAIN_MIN, AGAIN_MAX);
            if tell.send(News::Lost(error)).await.is_err() {
                break;
            }
        }
    }
    monitor.close().await;
}

/// One look, at what is wanted.
async fn look(monitor: &mut Monitor, wanted: Wanted, tell: &mpsc::Sender<News>) -> Result<(), SessionError> {
    if !wanted.paused {
        let status = monitor.status().await?;
        // Who does not listen any more is noticed by the caller.
        let _ = tell.send(News::Status(Box::new(status))).await;
    }
    if let Some(job) = wanted.story {
        let story = monitor.story(job).await?;
        let _ = tell.send(News::Story(job, story)).await;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "how long a silence lasts is told by the clock of who listens")]
fn read_clock() -> Instant {
    Instant::now()
}
