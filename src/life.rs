//! When a process should end, and what is random about it.

use std::{fs, io::Read, process, thread, time::Duration};

use anyhow::{Context, Result};
use fractally_proto::{Epoch, JobKey};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};
use tokio::sync::watch;

use crate::exit::Code;

/// How long stopping in good order may take. What blocks it is outside: a pipe that nobody reads, a disk that does not answer.
const PATIENCE: Duration = Duration::from_secs(8);

/// Whether this process was asked to end. Clones see the same.
#[derive(Clone)]
pub(crate) struct Stop {
    asked: watch::Receiver<bool>,
}

impl Stop {
    /// Listens for Ctrl-C, SIGTERM and SIGHUP from now on, but for those that the parent had set to be ignored (`nohup`).
    ///
    /// A thread of its own listens, so that a process that is stuck in a write ends as well: after 8 s, or at the second signal.
    pub(crate) fn on_signals() -> Result<Self> {
        let wanted = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|&signal| !is_ignored(signal));
        let mut signals = Signals::new(wanted).context("cannot listen for signals")?;
        let (ask, asked) = watch::channel(false);
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                for _ in signals.forever() {
                    if ask.send_replace(true) {
                        process::exit(Code::Interrupted as i32);
                    }
                    thread::spawn(|| {
                        thread::sleep(PATIENCE);
                        process::exit(Code::Interrupted as i32);
                    });
                }
            })
            .context("cannot listen for signals")?;
        Ok(Self { asked })
    }

    /// Ready when it is asked to end, also if that was before.
    pub(crate) async fn asked(mut self) {
        if self.asked.wait_for(|&asked| asked).await.is_err() {
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
