//! What can go wrong, by cause. Every I/O error names its path.

use std::{
    io,
    path::{Path, PathBuf},
};

use fractally_proto::JobId;
use thiserror::Error;

/// Why a state directory cannot be used.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another broker has it open.
    #[error("the state directory {dir} is in use by another broker; stop that one, or give this one a directory of its own", dir = dir.display())]
    InUse {
        /// The state directory.
        dir: PathBuf,
    },
    /// A newer version of the program wrote it.
    #[error(
        "the state directory {dir} has format {found}, and this version reads formats up to {known}; use the version that wrote it, or another directory",
        dir = dir.display()
    )]
    Newer {
        /// The state directory.
        dir: PathBuf,
        /// The version in its `format`.
        found: u32,
        /// The newest version that is read here.
        known: u32,
    },
    /// It holds something else.
    #[error("{dir} is not a state directory: {why}; give an empty or a new one", dir = dir.display())]
    NotAJournal {
        /// The directory.
        dir: PathBuf,
        /// What was found, or was not.
        why: String,
    },
    /// The operating system refused: a read-only file system, no permission, a disk that is full or broken.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// Why something was not kept.
#[derive(Debug, Error)]
pub enum Error {
    /// The journal has no such job.
    #[error("job {0} is not in the journal")]
    Unknown(JobId),
    /// The journal has this job already.
    #[error("job {0} is in the journal already")]
    Exists(JobId),
    /// Strips are kept in order, each once.
    #[error("job {job}: strip {first} was given, and {next} is the next to keep")]
    NotNext {
        /// The job.
        job: JobId,
        /// The strip that was given.
        first: u32,
        /// The strip that must come next.
        next: u32,
    },
    /// All strips of a job come from one engine.
    #[error("job {job}: its strips come from engine {kept:?}, and one of {offered:?} was given")]
    Engine {
        /// The job.
        job: JobId,
        /// The engine of the strips that are kept.
        kept: String,
        /// The engine of the strips that were given.
        offered: String,
    },
    /// A job that has ended takes no more strips.
    #[error("job {0} has ended")]
    Ended(JobId),
    /// What was given is not what can be kept.
    #[error("job {job}: {what}")]
    Invalid {
        /// The job.
        job: JobId,
        /// What is wrong with it.
        what: String,
    },
    /// The operating system refused.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl Error {
    /// Whether room on the disk, or a quota, is what is missing: the same call may succeed later.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_about_room(source))
    }
}

/// Whether an error says that the disk is full, or a quota.
pub(crate) fn is_about_room(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Why strips were not read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The journal has no such job.
    #[error("job {0} is not in the journal")]
    Unknown(JobId),
    /// The first strip asked for is not stored, or not yet.
    #[error("job {job}: strip {first} is not stored; {have} are")]
    NotStored {
        /// The job.
        job: JobId,
        /// The strip asked for.
        first: u32,
        /// Strips stored, counted from the top.
        have: u32,
    },
    /// A strip is not what was stored. [`crate::Journal::cut`] forgets it and all that follow.
    #[error("job {job}: strip {strip} is damaged: {what}")]
    Damaged {
        /// The job.
        job: JobId,
        /// The strip.
        strip: u32,
        /// What is wrong with it.
        what: String,
    },
    /// The operating system refused.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// An I/O error and where it happened. Each error type has the variant `Io` for it.
#[derive(Debug)]
pub(crate) struct AtPath {
    path: PathBuf,
    source: io::Error,
}

impl AtPath {
    pub(crate) fn of(path: &Path, source: io::Error) -> Self {
        Self { path: path.to_owned(), source }
    }
}

/// Names the path of an I/O error.
pub(crate) trait At<T> {
    fn at(self, path: &Path) -> Result<T, AtPath>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T, AtPath> {
        self.map_err(|source| AtPath::of(path, source))
    }
}

macro_rules! from_io {
    ($($error:ident),+) => {
        $(impl From<AtPath> for $error {
            fn from(AtPath { path, source }: AtPath) -> Self {
                Self::Io { path, source }
            }
        })+
    };
}

from_io!(OpenError, Error, ReadError);
