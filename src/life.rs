//! When a process should end, and what is random about it.

use std::{fs, io::Read, process, sync::Arc, thread, time::Duration};

use anyhow::{Context, Result};
use fractally_proto::{Epoch, JobKey, limits};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};
use tokio::sync::watch;

use crate::exit::{Code, Failure};

/// How long stopping in good order may take. What blocks it is outside: a pipe that nobody reads, a disk that does not answer.
const PATIENCE: Duration = Duration::from_secs(8);

/// How much it was asked: to finish what it has and take nothing new, or to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    GoOn,
    Drain,
    End,
}

/// Whether this process was asked to end. Clones see the same.
#[derive(Clone)]
pub(crate) struct Stop {
    level: watch::Receiver<Level>,
}

impl Stop {
    /// Listens for Ctrl-C, SIGTERM and SIGHUP from now on, but for those that the parent had set to be ignored (`nohup`).
    ///
    /// The first signal asks to drain where there is time for that, and after that time to end; the next one asks to end; one more
    /// ends the process. A thread of its own listens, so that a process that is stuck in a write ends as well: 8 s after it was asked to.
    pub(crate) fn on_signals(drain: Duration) -> Result<Self> {
        let wanted = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|&signal| !is_ignored(signal));
        let mut signals = Signals::new(wanted).context("cannot listen for signals")?;
        let (ask, level) = watch::channel(Level::GoOn);
        let ask = Arc::new(ask);
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                for _ in signals.forever() {
                    let level = *ask.borrow();
                    match level {
                        Level::GoOn if !drain.is_zero() => {
                            ask.send_replace(Level::Drain);
                            let ask = Arc::clone(&ask);
                            thread::spawn(move || {
                                thread::sleep(drain);
                                end(&ask);
                            });
                        }
                        Level::GoOn | Level::Drain => {
                            let ask = Arc::clone(&ask);
                            thread::spawn(move || end(&ask));
                        }
                        Level::End => process::exit(Code::Interrupted as i32),
                    }
                }
            })
            .context("cannot listen for signals")?;
        Ok(Self { level })
    }

    /// Ready when it is asked to end, also if that was before.
    pub(crate) async fn asked(self) {
        self.reached(Level::End).await;
    }

    /// What comes of `work`, unless it is asked to end before: then `work` is dropped.
    ///
    /// # Errors
    /// Those of `work`, and [`Failure::stopped`].
    pub(crate) async fn or<T>(self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::select! {
            done = work => done,
            () = self.asked() => Err(Failure::stopped()),
        }
    }

    /// Ready when it is asked to finish what it has, or to end.
    pub(crate) async fn drain_asked(self) {
        self.reached(Level::Drain).await;
    }

    async fn reached(mut self, wanted: Level) {
        if self.level.wait_for(|&level| level >= wanted).await.is_err() {
            // Nobody can ask any more.
            std::future::pending().await
        }
    }

    /// The same, or stdin is closed if `with_stdin`.
    pub(crate) async fn asked_or_left(self, with_stdin: bool) {
        if with_stdin {
            tokio::select! {
                () = self.asked() => {}
                () = stdin_closed() => {}
            }
        } else {
            self.asked().await;
        }
    }
}

/// Asks to end, and ends the process when that takes too long.
fn end(ask: &watch::Sender<Level>) {
    ask.send_replace(Level::End);
    thread::sleep(PATIENCE);
    process::exit(Code::Interrupted as i32);
}

/// Whether the parent has set a signal to be ignored, which a child is to respect.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

/// Ready when stdin is closed. A parent holds the other end of the pipe, so this is when the parent is gone, however it ended.
async fn stdin_closed() {
    let (closed, is_closed) = tokio::sync::oneshot::channel();
    // A thread of its own: a read from stdin cannot be cancelled, and must not keep the runtime from ending.
    thread::spawn(move || {
        let mut stdin = std::io::stdin();
        while !matches!(stdin.read(&mut [0; 64]), Ok(0) | Err(_)) {}
        let _ = closed.send(());
    });
    let _ = is_closed.await;
}

/// A new life of this process.
pub(crate) fn new_epoch() -> Epoch {
    Epoch(u64::from_ne_bytes(random()))
}

/// A new idempotency key.
pub(crate) fn new_key() -> JobKey {
    JobKey(random())
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    bytes
}

/// Whom jobs are counted for where nothing else is said: who runs this, and on which host.
pub(crate) fn account() -> String {
    let named = ["USER", "LOGNAME"].into_iter().filter_map(|name| std::env::var(name).ok()).find(|name| !name.is_empty());
    let user = named.unwrap_or_else(|| format!("uid{}", rustix::process::getuid().as_raw()));
    let mut account = format!("{user}@{}", rustix::system::uname().nodename().to_string_lossy());
    account.truncate(account.floor_char_boundary(limits::TEXT_BYTES_MAX));
    account
}
