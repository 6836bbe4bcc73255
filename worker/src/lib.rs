//! A session with the broker, and threads round the kernels.
//!
//! A worker is stateless: each lease carries all that it needs, and what a worker holds when it dies is leased again elsewhere.
//! I/O and compute are kept apart: one task owns the socket and never waits for a pixel; threads own the pixels and never see
//! the socket.
//!
//! Read next: `session.rs` for the life of a connection, `pool.rs` for the threads, `task.rs` for what a lease becomes, `threads.rs` for a
//! picture without a grid, to compare with.

mod pool;
mod session;
mod task;
mod threads;

use std::{fmt, time::Duration};

use fractally_fractal::kernel;
use fractally_proto::{Encoding, Epoch, NO_OP_ENGINE, WorkerHello, limits};
use fractally_transport::Endpoint;

pub use fractally_fractal::{ENGINE_ID, kernel::UnknownKernel};
pub use session::{EndReason, run};
pub use threads::{Threads, ThreadsError, render_on_threads};

/// A kernel of this processor.
#[derive(Clone, Copy)]
pub struct Kernel(&'static dyn kernel::Kernel);

impl Kernel {
    /// The kernel of that name, or the fastest; and why it is this one.
    ///
    /// # Errors
    /// [`UnknownKernel`] where this processor runs none of that name.
    pub fn choose(name: Option<&str>) -> Result<(Self, String), UnknownKernel> {
        kernel::choose(name).map(|(kernel, reason)| (Self(kernel), reason))
    }

    /// Every kernel that this processor runs, the slowest first.
    pub fn all() -> Vec<Self> {
        kernel::all().into_iter().map(Self).collect()
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.0.name()
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kernel({})", self.name())
    }
}

/// How a worker is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// The broker's endpoint for workers.
    pub broker: Endpoint,
    /// Threads that compute, at least 1.
    pub threads: u32,
    /// What computes.
    pub kernel: Kernel,
    /// Whether one of two rows that are mirror images is spared, where both belong to one lease. No bit depends on it.
    pub mirror: bool,
    /// Each band takes so many times as long, at least 1: to see what a slow worker does to a grid.
    pub debug_slow_down: u32,
    /// Bands that it takes at once, at least 1; absent, two a thread.
    pub credit: Option<u32>,
    /// Whether it answers each band at once with a tile that is no picture, as a worker of [`NO_OP_ENGINE`]: to see what a grid costs.
    pub no_op: bool,
    /// What the worker calls itself.
    pub name: String,
    /// Program and version.
    pub agent: String,
    /// This life of the worker.
    pub epoch: Epoch,
    /// How long one try to connect may take.
    pub connect_timeout: Duration,
}

impl Options {
    /// If nothing else was asked for, one band in each thread's hands and one waiting for it, so that no thread waits for a round trip.
    fn credit(&self) -> u32 {
        self.credit.unwrap_or(2 * self.threads).clamp(1, limits::WORKER_CREDIT_MAX)
    }

    /// What the worker says of itself.
    fn hello(&self) -> WorkerHello {
        WorkerHello {
            name: self.name.clone(),
            engine: if self.no_op { NO_OP_ENGINE } else { ENGINE_ID }.to_owned(),
            kernel: if self.no_op { "none" } else { self.kernel.name() }.to_owned(),
            threads: self.threads,
            credit: self.credit(),
            // A strip of counts has a length that is known, so that none could be shorter.
            encodings: if self.no_op { vec![Encoding::Png] } else { vec![Encoding::Png, Encoding::Counts] },
        }
    }
}
