//! `fractally worker`.

use std::{num::NonZero, thread::available_parallelism, time::Duration};

use fractally_proto::limits;
use fractally_worker::{EndReason, Kernel, Options, UnknownKernel};
use tracing::info;

use crate::{
    AGENT,
    cli::WorkerArgs,
    exit::{Code, Failure},
    life::{self, Stop},
};

/// How long one try to connect may take; tries follow one another until the worker is stopped.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) async fn run(args: WorkerArgs, stop: Stop) -> Result<(), Failure> {
    let (kernel, reason) = Kernel::choose(args.kernel.as_deref()).map_err(unknown_kernel)?;
    let options = Options {
        broker: args.broker,
        threads: args.threads.unwrap_or_else(cores),
        kernel,
        mirror: !args.no_mirror,
        debug_slow_down: args.debug_slow_down,
        credit: args.credit,
        no_op: args.no_op,
        name: args.name.unwrap_or_else(host_and_process),
        agent: AGENT.to_owned(),
        epoch: life::new_epoch(),
        connect_timeout: CONNECT_TIMEOUT,
    };
    info!(broker = %options.broker, threads = options.threads, kernel = kernel.name(), reason, "worker starts");
    let drain = stop.clone().drain_asked();
    match fractally_worker::run(options, drain, stop.asked_or_left(args.leave_with_stdin)).await {
        EndReason::Stopped => Ok(()),
        reason @ (EndReason::Refused(_) | EndReason::NoThreads(..)) => {
            Err(Failure { code: Code::Failure, message: reason.to_string() })
        }
    }
}

/// The line for a kernel that is not here.
pub(crate) fn unknown_kernel(error: UnknownKernel) -> Failure {
    Failure::usage(format!("--kernel: {error}"))
}

/// Cores that this process may use, as threads of one worker.
pub(crate) fn cores() -> u32 {
    let cores = available_parallelism().map_or(1, NonZero::get);
    u32::try_from(cores).unwrap_or(u32::MAX).min(limits::WORKER_THREADS_MAX)
}

fn host_and_process() -> String {
    let uname = rustix::system::uname();
    let mut host = uname.nodename().to_string_lossy().into_owned();
    host.truncate(host.floor_char_boundary(64));
    format!("{host}:{}", std::process::id())
}
