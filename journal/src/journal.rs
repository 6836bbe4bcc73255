//! The journal at work: jobs come, grow, end and go. What each call has made durable when it returns stands beside it; `JOURNAL.md` has
//! the order of writes and syncs behind it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use fractally_proto::{JobId, Layout, StripMeta};

use crate::{
    EndRecord, Error, JobRecord, Look, Lost, OpenError, Recovered,
    disk::{Disk, OsDisk},
    error::{At, AtPath},
    files::{FOLDER_BYTES, OpenFiles, Pair, Paths, on_disk},
    index::{Chain, Header, entry_offset},
    open,
    records::KeptEnding,
    recover,
};

/// The jobs on disk. One at a time for each state directory.
#[derive(Debug)]
pub struct Journal {
    pub(crate) disk: Box<dyn Disk>,
    pub(crate) paths: Paths,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    /// Jobs with strips that were appended and not synced.
    dirty: BTreeSet<JobId>,
    open: OpenFiles,
    /// Makes names in `tmp` unique; it was empty at the start.
    temporaries: u64,
}

/// What is known of a job without looking at its files.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) layout: Layout,
    /// The engine of its strips, stored or appended.
    pub(crate) engine: Option<String>,
    /// Stored strips; `None` when there are none.
    pub(crate) stored: Option<Chain>,
    /// Strips appended since.
    pub(crate) pending: Option<Pending>,
    /// The file `index` may hold more than what is stored: a write of it failed.
    pub(crate) index_ahead: bool,
    /// The files of pending strips were synced early, to make room for others, and that failed.
    pub(crate) lost: Option<AtPath>,
    /// Length of the file `job`.
    pub(crate) record_bytes: u64,
    /// Length of the file `end`, where the job has ended.
    pub(crate) end_bytes: Option<u64>,
}

/// Strips that are written and not yet stored.
#[derive(Debug)]
pub(crate) struct Pending {
    chain: Chain,
    /// What goes to the end of the index once they are synced; the header too where the index is empty.
    index: Vec<u8>,
}

/// What is durable of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Strips, counted from the top.
    pub have: u32,
    /// Bytes on disk of all the job's files, each rounded up to blocks of 4 KiB, and of its folder.
    pub bytes: u64,
    /// Encoded bytes of the strips in sum.
    pub strip_bytes: u64,
}

/// Strips read back, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strips {
    /// The engine that rendered them.
    pub engine: String,
    /// Index of the first.
    pub first: u32,
    /// One entry a strip.
    pub metas: Vec<StripMeta>,
    /// The encoded strips one after another.
    pub payload: Bytes,
}

impl Job {
    pub(crate) fn have(&self) -> u32 {
        self.stored.map_or(0, |chain| chain.strips())
    }

    /// Bytes of `strips` that belong to stored strips.
    pub(crate) fn strips_bytes(&self) -> u64 {
        self.stored.map_or(0, |chain| chain.end())
    }

    /// Bytes of `index` that speak of stored strips.
    pub(crate) fn index_bytes(&self) -> u64 {
        self.stored.map_or(0, |chain| entry_offset(chain.strips()))
    }

    pub(crate) fn stored(&self) -> Stored {
        let files = [self.record_bytes, self.strips_bytes(), self.index_bytes(), self.end_bytes.unwrap_or(0)];
        let bytes = FOLDER_BYTES + files.into_iter().map(on_disk).sum::<u64>();
        Stored { have: self.have(), bytes, strip_bytes: self.strips_bytes() }
    }

    /// What was appended is forgotten.
    fn forget_pending(&mut self) {
        (self.pending, self.lost) = (None, None);
        if self.stored.is_none() {
            self.engine = None;
        }
    }
}

impl Journal {
    /// Opens the state directory `dir`, creates it where it is missing, and looks at every job in it: reads records and indices,
    /// cuts off what is not proven to be whole, and moves jobs whose record cannot be read to `damaged/`. Strips are not read.
    ///
    /// # Errors
    /// Another broker has it open, it is none, a newer version wrote it, or the operating system refuses.
    pub fn open(dir: &Path) -> Result<(Self, Vec<Recovered>, Vec<Lost>), OpenError> {
        open::open(Box::new(OsDisk::default()), dir)
    }

    /// Looks at the state directory `dir` without changing anything in it. A broker may have it open.
    ///
    /// # Errors
    /// It is missing or no state directory, a newer version wrote it, or the operating system refuses.
    pub fn look(dir: &Path) -> Result<Look, OpenError> {
        open::look(&OsDisk::default(), dir)
    }

    pub(crate) fn new(disk: Box<dyn Disk>, paths: Paths) -> Self {
        let (jobs, dirty, open) = (BTreeMap::new(), BTreeSet::new(), OpenFiles::default());
        Self { disk, paths, jobs, dirty, open, temporaries: 0 }
    }

    /// What is durable of a job; nothing where it is not kept.
    pub fn stored(&self, job: JobId) -> Option<Stored> {
        self.jobs.get(&job).map(Job::stored)
    }

    /// Keeps a job. It is durable when this returns.
    ///
    /// # Errors
    /// The job is kept already, its record cannot be kept, or the operating system refuses. The job is not kept then.
    pub fn keep(&mut self, record: &JobRecord) -> Result<(), Error> {
        let job = record.job;
        if self.jobs.contains_key(&job) {
            return Err(Error::Exists(job));
        }
        let file = record.encode().map_err(|damage| Error::Invalid { job, what: damage.to_string() })?;
        let (building, home) = (self.temporary(job), self.paths.job(job));
        let jobs = self.paths.jobs();
        if let Err(error) = self.build(&building, &file).and_then(|()| self.disk.rename(&building, &home).at(&home)) {
            // Best effort: tmp/ is emptied at the next start.
            let _ = self.disk.remove(&building);
            return Err(error.into());
        }
        if let Err(error) = self.disk.sync_folder(&jobs).at(&jobs) {
            // Best effort: a job that nobody was told of may come back at the next start, and is whole then. So it is not taken apart
            // before it is gone for certain.
            let gone = self.disk.rename(&home, &building).and_then(|()| self.disk.sync_folder(&jobs));
            let _ = gone.and_then(|()| self.disk.remove(&building));
            return Err(error.into());
        }
        let (layout, record_bytes) = (record.layout(), file.len() as u64);
        self.jobs.insert(
            job,
            Job {
                layout,
                engine: None,
                stored: None,
                pending: None,
                index_ahead: false,
                lost: None,
                record_bytes,
                end_bytes: None,
            },
        );
        Ok(())
    }

    /// Writes the next strips of a job: `payload` is their encoded bytes one after another. They count as stored after the next
    /// [`Self::sync`].
    ///
    /// # Errors
    /// The job is unknown or has ended, `first` is not the next strip, the engine is not that of the strips before, a strip is longer
    /// than it can be, or the operating system refuses. Nothing of this call counts then, and it may be repeated as it was.
    pub fn append(&mut self, job: JobId, engine: &str, first: u32, strips: &[StripMeta], payload: &[u8]) -> Result<(), Error> {
        let kept = self.jobs.get_mut(&job).ok_or(Error::Unknown(job))?;
        let (mut chain, header) = kept.next_chain(job, engine, first)?;
        let offset = chain.end();
        let mut index = header;
        let mut rest = payload;
        for meta in strips {
            let (encoded, behind) = rest.split_at(rest.len().min(meta.encoded_len() as usize));
            rest = behind;
            let entry = chain.push(*meta, encoded).map_err(|damage| Error::Invalid { job, what: damage.to_string() })?;
            index.extend(entry);
        }
        if !rest.is_empty() {
            return Err(Error::Invalid { job, what: format!("{} bytes belong to no strip", rest.len()) });
        }
        if strips.is_empty() {
            return Ok(());
        }
        let ahead = kept.index_ahead.then(|| kept.index_bytes());
        let path = self.paths.strips(job);
        let index_path = self.paths.index(job);
        let pair = self.pair(job)?;
        if let Some(bytes) = ahead {
            // Before the strips that it speaks of are overwritten.
            pair.index.cut(bytes).at(&index_path)?;
        }
        pair.strips.write_at(payload, offset).at(&path)?;
        let kept = self.jobs.get_mut(&job).expect("it was there above");
        kept.index_ahead = false;
        kept.engine.get_or_insert_with(|| engine.to_owned());
        let pending = kept.pending.get_or_insert_with(|| Pending { chain, index: Vec::new() });
        pending.chain = chain;
        pending.index.extend(index);
        self.dirty.insert(job);
        Ok(())
    }

    /// Makes durable what was appended, of every job with appended strips, in the order of their ids.
    ///
    /// Where a job's result is an error, the strips appended since it was last stored are forgotten, and the next [`Self::append`]
    /// begins where the stored ones end: after a failed sync the operating system may have dropped what was written.
    pub fn sync(&mut self) -> Vec<(JobId, Result<Stored, Error>)> {
        let dirty: Vec<JobId> = self.dirty.iter().copied().collect();
        dirty.into_iter().map(|job| (job, self.sync_job(job))).collect()
    }

    /// Keeps how a job ended. It is durable when this returns; strips that were appended and not synced are not, and those of a job that
    /// did not end well are gone. An end that was kept before is replaced.
    ///
    /// # Errors
    /// The job is unknown, it is said to be done and strips are not stored, or the operating system refuses. It may have ended all the
    /// same then, or not; the same call may be repeated.
    pub fn end(&mut self, job: JobId, end: &EndRecord) -> Result<(), Error> {
        let kept = self.jobs.get(&job).ok_or(Error::Unknown(job))?;
        let (have, strips) = (kept.have(), kept.layout.strips());
        if end.ending == KeptEnding::Done && have < strips {
            return Err(Error::Invalid { job, what: format!("it is not done: {have} of {strips} strips are stored") });
        }
        let file = end.encode(job);
        let (building, home, folder) = (self.temporary(job), self.paths.end(job), self.paths.job(job));
        let written = self.write_whole(&building, &file).and_then(|()| self.disk.rename(&building, &home).at(&home));
        if let Err(error) = written {
            // Best effort: tmp/ is emptied at the next start.
            let _ = self.disk.remove(&building);
            return Err(error.into());
        }
        // It has ended from here on, though perhaps not for certain: `cut` must know what to undo.
        self.job_mut(job)?.end_bytes = Some(file.len() as u64);
        self.disk.sync_folder(&folder).at(&folder)?;
        if end.ending != KeptEnding::Done {
            self.cut_strips(job, 0)?;
        }
        Ok(())
    }

    /// Forgets strips from `have` on, stored or appended, and the end record: for damage that [`Self::read`] found. Fewer strips than
    /// `have` are left where the index is damaged before.
    ///
    /// # Errors
    /// The job is unknown, or the operating system refuses. The same call may be repeated then.
    pub fn cut(&mut self, job: JobId, have: u32) -> Result<Stored, Error> {
        self.forget_end(job)?;
        self.cut_strips(job, have)
    }

    fn cut_strips(&mut self, job: JobId, have: u32) -> Result<Stored, Error> {
        self.dirty.remove(&job);
        let kept = self.job_mut(job)?;
        let untouched = kept.stored.is_none() && kept.pending.is_none() && !kept.index_ahead;
        kept.forget_pending();
        if untouched {
            return Ok(kept.stored());
        }
        let (layout, have, lengths) = (kept.layout, have.min(kept.have()), (kept.index_bytes(), kept.strips_bytes()));
        let (strips_path, index_path) = (self.paths.strips(job), self.paths.index(job));
        let pair = self.pair(job)?;
        let stored = recover::scan(&*pair.index, job, layout, lengths, have).at(&index_path)?.chain;
        let kept = self.job_mut(job)?;
        // Forgotten from here on, whatever fails below.
        (kept.stored, kept.index_ahead) = (stored, true);
        kept.engine = kept.engine.take().filter(|_| stored.is_some());
        let pair = self.pair(job)?;
        // The index first: it must never speak of strips that are overwritten.
        pair.index.cut(stored.map_or(0, |chain| entry_offset(chain.strips()))).at(&index_path)?;
        pair.strips.cut(stored.map_or(0, |chain| chain.end())).at(&strips_path)?;
        let kept = self.job_mut(job)?;
        kept.index_ahead = false;
        Ok(kept.stored())
    }

    fn forget_end(&mut self, job: JobId) -> Result<(), Error> {
        if self.job_mut(job)?.end_bytes.is_none() {
            return Ok(());
        }
        let (end, folder) = (self.paths.end(job), self.paths.job(job));
        match self.disk.remove(&end) {
            // Removed by a call that failed after that.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.at(&end)?,
        }
        self.disk.sync_folder(&folder).at(&folder)?;
        self.job_mut(job)?.end_bytes = None;
        Ok(())
    }

    /// Forgets a job and deletes its files, which may take seconds for large ones.
    ///
    /// # Errors
    /// The job is unknown, or the operating system refuses. The job is gone all the same if its folder could be moved; what is left
    /// of it is deleted at the next start.
    pub fn remove(&mut self, job: JobId) -> Result<(), Error> {
        if !self.jobs.contains_key(&job) {
            return Err(Error::Unknown(job));
        }
        let (home, leaving, jobs) = (self.paths.job(job), self.temporary(job), self.paths.jobs());
        match self.disk.rename(&home, &leaving) {
            // Somebody deleted it by hand.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            moved => moved.at(&home)?,
        }
        self.dirty.remove(&job);
        self.open.close(job);
        // Until then it may come back, so it is known until then.
        self.disk.sync_folder(&jobs).at(&jobs)?;
        self.jobs.remove(&job);
        match self.disk.remove(&leaving) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => Ok(removed.at(&leaving)?),
        }
    }

    /// A folder with the record in it, durable but for its name.
    fn build(&self, folder: &Path, record: &[u8]) -> Result<(), AtPath> {
        self.disk.create_folder(folder).at(folder)?;
        self.write_whole(&folder.join("job"), record)?;
        self.disk.sync_folder(folder).at(folder)
    }

    fn sync_job(&mut self, job: JobId) -> Result<Stored, Error> {
        let result = self.try_sync(job);
        self.dirty.remove(&job);
        let kept = self.jobs.get_mut(&job).expect("a job with appended strips is known");
        match result {
            Ok(chain) => {
                (kept.stored, kept.pending) = (Some(chain), None);
                Ok(kept.stored())
            }
            Err(error) => {
                kept.forget_pending();
                kept.index_ahead = true;
                Err(error)
            }
        }
    }

    fn try_sync(&mut self, job: JobId) -> Result<Chain, Error> {
        let kept = self.job_mut(job)?;
        if let Some(lost) = kept.lost.take() {
            return Err(lost.into());
        }
        let pending = kept.pending.take().expect("a job is dirty because strips were appended");
        let (offset, first_time) = (kept.index_bytes(), kept.stored.is_none());
        let (strips_path, index_path, folder) = (self.paths.strips(job), self.paths.index(job), self.paths.job(job));
        let pair = self.pair(job)?;
        pair.strips.sync_data().at(&strips_path)?;
        pair.index.write_at(&pending.index, offset).at(&index_path)?;
        pair.index.sync_data().at(&index_path)?;
        if first_time {
            // The two files are new to their folder.
            self.disk.sync_folder(&folder).at(&folder)?;
        }
        Ok(pending.chain)
    }

    /// The open files of a job. Where too many are open, others are closed, and synced before if they must be.
    pub(crate) fn pair(&mut self, job: JobId) -> Result<&Pair, AtPath> {
        if let Some(other) = self.open.in_the_way_of(job, |job| self.dirty.contains(&job)) {
            if self.dirty.contains(&other) {
                let path = self.paths.strips(other);
                let pair = self.open.of(&*self.disk, &self.paths, other);
                let synced = pair.and_then(|pair| pair.strips.sync_data().at(&path));
                if let (Err(error), Some(kept)) = (synced, self.jobs.get_mut(&other)) {
                    kept.lost.get_or_insert(error);
                }
            }
            self.open.close(other);
        }
        self.open.of(&*self.disk, &self.paths, job)
    }

    fn job_mut(&mut self, job: JobId) -> Result<&mut Job, Error> {
        self.jobs.get_mut(&job).ok_or(Error::Unknown(job))
    }

    fn temporary(&mut self, job: JobId) -> PathBuf {
        self.temporaries += 1;
        self.paths.tmp().join(format!("{job}.{}", self.temporaries))
    }

    /// A new file, durable but for its name.
    fn write_whole(&self, path: &Path, bytes: &[u8]) -> Result<(), AtPath> {
        let file = self.disk.open(path, true).at(path)?;
        file.write_at(bytes, 0).at(path)?;
        file.sync_data().at(path)
    }
}

impl Job {
    /// The chain that the next strips extend, and the header where they are the first.
    fn next_chain(&self, job: JobId, engine: &str, first: u32) -> Result<(Chain, Vec<u8>), Error> {
        if self.end_bytes.is_some() {
            return Err(Error::Ended(job));
        }
        let chain = self.pending.as_ref().map(|pending| pending.chain).or(self.stored);
        let next = chain.map_or(0, |chain| chain.strips());
        if first != next {
            return Err(Error::NotNext { job, first, next });
        }
        match (chain, &self.engine) {
            (Some(_), Some(kept)) if kept != engine => Err(Error::Engine { job, kept: kept.clone(), offered: engine.to_owned() }),
            (Some(chain), _) => Ok((chain, Vec::new())),
            (None, _) => {
                let header = Header { job, engine: engine.to_owned() }.encode();
                let header = header.map_err(|damage| Error::Invalid { job, what: damage.to_string() })?;
                Ok((Chain::new(self.layout, &header), header.to_vec()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use fractally_proto::{JobKey, Priority, Request};

    use super::*;

    /// A broker with little room, which had one small job after another, had a tenth more on disk than it may: each job's folder is a
    /// block that nobody counted.
    #[test]
    fn a_job_counts_for_as_much_as_du_says() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, ..) = Journal::open(dir.path()).unwrap();
        let (job, key, priority, account) = (JobId(1), JobKey([7; 16]), Priority::Normal, "somebody".to_owned());
        journal
            .keep(&JobRecord { job, key, account, priority, accepted_unix_ms: 1, holder: None, request: Request::default() })
            .unwrap();
        let home = journal.paths.job(job);
        let on_disk = |path: &Path| 512 * std::fs::metadata(path).unwrap().blocks();
        let du = on_disk(&home) + on_disk(&home.join("job"));
        assert!(journal.stored(job).unwrap().bytes >= du, "{du}");
        assert_eq!(journal.stored(job).unwrap().bytes, 8192, "its record and its folder");
    }
}
