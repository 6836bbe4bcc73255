//! Kernels: the same escape times as [`crate::escape`], faster.
//!
//! A kernel takes a [`Lattice`], the points at every x of some columns and every y of some rows, and writes counts, or counts
//! and the points past escape. All kernels write the same bits; they differ in the instructions they use. [`best`] is the
//! fastest one that this processor runs, [`all`] lists every one that it runs.
//!
//! Kernels share nothing and take no locks: a worker runs one per thread. While they run they look at a [`Watch`].

mod lanes;
mod portable;
mod scalar;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use thiserror::Error;

use crate::escape::Rule;

/// The points of one call: every x of `columns` at every y of `rows`, row by row.
///
/// The coordinates are finite, and there are fewer than 2^32 points.
#[derive(Debug, Clone, Copy)]
pub struct Lattice<'a> {
    /// What happens to the points.
    pub rule: Rule,
    /// Real parts, one a column.
    pub columns: &'a [f64],
    /// Imaginary parts, one a row.
    pub rows: &'a [f64],
}

impl Lattice<'_> {
    /// Number of points.
    #[must_use]
    pub fn len(&self) -> usize {
        self.columns.len() * self.rows.len()
    }

    /// Whether there are no points.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty() || self.rows.is_empty()
    }
}

/// What a kernel found of each point, one array a quantity, in the order of the points.
#[derive(Debug, Clone, Default)]
pub struct Escapes {
    /// Escape times; the limit where a point did not escape.
    pub counts: Vec<u32>,
    /// Real parts of the points past escape; see [`crate::escape::Escape::z`].
    pub re: Vec<f64>,
    /// Imaginary parts of the same.
    pub im: Vec<f64>,
}

impl Escapes {
    /// Holds `len` points from here on; old values are left as they are.
    pub fn resize(&mut self, len: usize) {
        self.counts.resize(len, 0);
        self.re.resize(len, 0.0);
        self.im.resize(len, 0.0);
    }
}

/// The line between a kernel and the threads around it: they may stop it, and see how far it is.
#[derive(Default)]
pub struct Watch {
    cancelled: AtomicBool,
    iterations: AtomicU64,
    late: Option<Box<dyn Fn() -> bool + Send + Sync>>,
}

impl Watch {
    /// A watch that is not cancelled and has counted nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A watch that cancels itself once `late` says so. Kernels ask every 5 ms or sooner; the clock is the caller's.
    #[must_use]
    pub fn until(late: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { late: Some(Box::new(late)), ..Self::default() }
    }

    /// Asks the kernels that look at this watch to stop; they do so within 5 ms, also inside a single point.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether [`Watch::cancel`] was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Iterations executed under this watch so far. It never falls, lags by less than 5 ms of work, and is exact when the call
    /// that it watches has returned a result.
    #[must_use]
    pub fn iterations(&self) -> u64 {
        self.iterations.load(Ordering::Relaxed)
    }

    /// Adds executed iterations.
    ///
    /// # Errors
    /// [`Cancelled`] where the work is no longer wanted.
    pub(crate) fn tick(&self, iterations: u64) -> Result<(), Cancelled> {
        self.iterations.fetch_add(iterations, Ordering::Relaxed);
        if self.late.as_ref().is_some_and(|late| late()) {
            self.cancel();
        }
        if self.is_cancelled() { Err(Cancelled) } else { Ok(()) }
    }
}

/// The work was cancelled; its outputs hold nothing of meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("cancelled")]
pub struct Cancelled;

/// Finds escape times. Implementations agree bit for bit (NaNs count as equal).
pub trait Kernel: Send + Sync {
    /// A short name for logs and benchmarks, such as `portable-avx2`.
    fn name(&self) -> &'static str;

    /// Writes the escape time of each point and returns their sum, the iterations executed.
    ///
    /// `counts` has as many entries as `lattice` has points.
    ///
    /// # Errors
    /// [`Cancelled`] within 5 ms of [`Watch::cancel`].
    fn counts(&self, lattice: &Lattice<'_>, watch: &Watch, counts: &mut [u32]) -> Result<u64, Cancelled>;

    /// Writes the escape time of each point and the point past escape, and returns the sum of the former.
    ///
    /// `escapes` is resized to the points of `lattice`. A point that did not escape has z = 0.
    ///
    /// # Errors
    /// [`Cancelled`] within 5 ms of [`Watch::cancel`].
    fn escapes(&self, lattice: &Lattice<'_>, watch: &Watch, escapes: &mut Escapes) -> Result<u64, Cancelled>;
}

/// The kernels that this processor runs, slowest first. The first is the scalar definition.
#[must_use]
pub fn all() -> Vec<&'static dyn Kernel> {
    let mut kernels: Vec<&'static dyn Kernel> = vec![&scalar::Scalar];
    kernels.extend(portable::available());
    kernels
}

/// The fastest kernel that this processor runs.
#[must_use]
pub fn best() -> &'static dyn Kernel {
    portable::available().last().copied().unwrap_or(&scalar::Scalar)
}

/// The kernel of that name, if this processor runs it.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static dyn Kernel> {
    all().into_iter().find(|kernel| kernel.name() == name)
}
