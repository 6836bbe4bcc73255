//! Where the files of a state directory stand, and the few of them that are open.

use std::path::{Path, PathBuf};

use fractally_proto::JobId;

use crate::{
    disk::{Disk, DiskFile},
    error::{At, AtPath},
};

/// Jobs whose files are open at once, two files each. So few in unit tests that it happens.
pub(crate) const OPEN_JOBS_MAX: usize = if cfg!(test) { 2 } else { 32 };
/// What a file takes is counted in blocks of so many bytes.
const BLOCK_BYTES: u64 = 4096;
/// What the folder of a job takes: it has few names.
pub(crate) const FOLDER_BYTES: u64 = BLOCK_BYTES;

/// Bytes that a file of `length` bytes takes on disk.
pub(crate) fn on_disk(length: u64) -> u64 {
    length.next_multiple_of(BLOCK_BYTES)
}

/// The paths of a state directory.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    pub(crate) dir: PathBuf,
}

impl Paths {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    pub(crate) fn format(&self) -> PathBuf {
        self.dir.join("format")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }

    pub(crate) fn tmp(&self) -> PathBuf {
        self.dir.join("tmp")
    }

    pub(crate) fn jobs(&self) -> PathBuf {
        self.dir.join("jobs")
    }

    pub(crate) fn damaged(&self) -> PathBuf {
        self.dir.join("damaged")
    }

    pub(crate) fn job(&self, job: JobId) -> PathBuf {
        self.jobs().join(job.to_string())
    }

    pub(crate) fn strips(&self, job: JobId) -> PathBuf {
        self.job(job).join("strips")
    }

    pub(crate) fn index(&self, job: JobId) -> PathBuf {
        self.job(job).join("index")
    }

    pub(crate) fn end(&self, job: JobId) -> PathBuf {
        self.job(job).join("end")
    }
}

/// The two files of a job that grow.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) strips: Box<dyn DiskFile>,
    pub(crate) index: Box<dyn DiskFile>,
}

/// The pairs that are open, the one that was used last at the end.
#[derive(Debug, Default)]
pub(crate) struct OpenFiles {
    pairs: Vec<(JobId, Pair)>,
}

impl OpenFiles {
    /// The job whose files must be closed before those of `job` are opened: the one used least lately, of those that are not `dirty`
    /// where there is one.
    pub(crate) fn in_the_way_of(&self, job: JobId, dirty: impl Fn(JobId) -> bool) -> Option<JobId> {
        if self.pairs.len() < OPEN_JOBS_MAX || self.pairs.iter().any(|(open, _)| *open == job) {
            return None;
        }
        let mut jobs = self.pairs.iter().map(|(job, _)| *job);
        jobs.clone().find(|job| !dirty(*job)).or_else(|| jobs.next())
    }

    pub(crate) fn close(&mut self, job: JobId) {
        self.pairs.retain(|(open, _)| *open != job);
    }

    /// The files of a job, opened where they are not, and created where they are missing.
    pub(crate) fn of(&mut self, disk: &dyn Disk, paths: &Paths, job: JobId) -> Result<&Pair, AtPath> {
        let pair = match self.pairs.iter().position(|(open, _)| *open == job) {
            Some(at) => self.pairs.remove(at).1,
            None => {
                let open = |path: PathBuf| disk.open(&path, true).at(&path);
                Pair { strips: open(paths.strips(job))?, index: open(paths.index(job))? }
            }
        };
        self.pairs.push((job, pair));
        Ok(&self.pairs.last().expect("it was pushed").1)
    }
}
