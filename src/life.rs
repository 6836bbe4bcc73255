//! When a process should end, and what is random about it.

use std::{io::Read, thread};

use fractally_proto::{Epoch, JobKey};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

/// Ready when the process is asked to stop: Ctrl-C, SIGTERM, SIGHUP.
pub(crate) async fn stop_signal() {
    let stream = |kind| signal(kind).ok();
    let mut signals = [stream(SignalKind::interrupt()), stream(SignalKind::terminate()), stream(SignalKind::hangup())];
    let each = signals.iter_mut().flatten().map(|signal| Box::pin(signal.recv()));
    futures::future::select_all(each).await;
}

/// Ready when stdin is closed. A parent holds the other end of the pipe, so this is when the parent is gone, however it ended.
pub(crate) async fn stdin_closed() {
    let (closed, is_closed) = oneshot::channel();
    // A thread of its own: a read from stdin cannot be cancelled, and must not keep the runtime from ending.
    thread::spawn(move || {
        let mut stdin = std::io::stdin();
        while !matches!(stdin.read(&mut [0; 64]), Ok(0) | Err(_)) {}
        let _ = closed.send(());
    });
    let _ = is_closed.await;
}

/// Ready on a signal, or when stdin is closed if `with_stdin`.
pub(crate) async fn stop(with_stdin: bool) {
    if with_stdin {
        tokio::select! {
            () = stop_signal() => {}
            () = stdin_closed() => {}
        }
    } else {
        stop_signal().await;
    }
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
