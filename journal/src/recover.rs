//! Looking at one job when the directory is opened: whether its record can be read, how many of its strips the index proves, and how
//! it ended. What is not proven is cut off.

use std::{ffi::OsStr, io, path::Path};

use fractally_proto::{JobId, Layout};

use crate::{
    Damage, EndRecord, JobRecord, KeptEnding, OpenError, Recovered,
    disk::{Disk, DiskFile, Kind},
    error::{At, AtPath, is_about_room},
    files::Paths,
    index::{Chain, ENTRY_BYTES, HEADER_BYTES, Header, entry_offset},
    journal::{Job, Stored},
    seal::SEALED_BYTES_MAX,
};

/// Entries of an index that are read at once.
const ENTRIES_READ: usize = 4096;

/// The id that a folder is named after: 16 lower-case hex digits.
pub(crate) fn id_of(name: &str) -> Option<JobId> {
    u64::from_str_radix(name, 16).ok().map(JobId).filter(|job| job.to_string() == name)
}

/// A file that may have at most [`SEALED_BYTES_MAX`] bytes, and why it is none: the outer error stops the start, the inner one is
/// about this file alone.
fn read_small(disk: &dyn Disk, path: &Path) -> Result<Result<Vec<u8>, String>, OpenError> {
    let length = match disk.kind(path).at(path)? {
        Kind::File(length) => length,
        Kind::Nothing => return Ok(Err("it is missing".to_owned())),
        Kind::Folder | Kind::Other => return Ok(Err("it is not a file".to_owned())),
    };
    // One byte too many is seen as such.
    let room = usize::try_from(length).unwrap_or(usize::MAX).min(SEALED_BYTES_MAX + 1);
    let mut bytes = vec![0; room];
    let read = disk.open(path, false).and_then(|file| file.read_at(&mut bytes, 0));
    match read {
        Ok(filled) => bytes.truncate(filled),
        Err(error) if is_of_the_medium(&error) => return Ok(Err(error.to_string())),
        Err(error) => return Err(AtPath::of(path, error).into()),
    }
    Ok(Ok(bytes))
}

/// Whether an error says that what is on the disk cannot be read, and not that nobody may.
pub(crate) fn is_of_the_medium(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    // What Linux says of a file system that is inconsistent, and of a checksum of its own that fails.
    const EUCLEAN: i32 = 117;
    const EBADMSG: i32 = 74;
    matches!(error.raw_os_error(), Some(EIO | EUCLEAN | EBADMSG))
}

pub(crate) fn read_record(
    disk: &dyn Disk,
    folder: &Path,
    job: Option<JobId>,
) -> Result<Result<(JobRecord, u64), String>, OpenError> {
    let Some(job) = job else { return Ok(Err("its name is not that of a job".to_owned())) };
    if disk.kind(folder).at(folder)? != Kind::Folder {
        return Ok(Err("it is not a folder".to_owned()));
    }
    let read = read_small(disk, &folder.join("job"))?.and_then(|bytes| {
        let record = JobRecord::decode(&bytes).map_err(|damage| damage.to_string())?;
        Ok((record, bytes.len() as u64))
    });
    let own = read.and_then(|(record, bytes)| match record.job == job {
        true => Ok((record, bytes)),
        false => Err(format!("it belongs to job {}", record.job)),
    });
    Ok(own.map_err(|why| format!("its record `job` cannot be read: {why}")))
}

/// The job in the folder `name`, or why it is lost.
pub(crate) fn recover(disk: &dyn Disk, paths: &Paths, name: &OsStr) -> Result<Result<(Job, Recovered), String>, OpenError> {
    let id = name.to_str().and_then(id_of);
    let (record, record_bytes) = match read_record(disk, &paths.jobs().join(name), id)? {
        Ok(read) => read,
        Err(why) => return Ok(Err(why)),
    };
    let (job, layout) = (record.job, record.layout());
    let mut healed = Vec::new();
    let (engine, stored) = match recover_strips(disk, paths, job, layout, &mut healed)? {
        Some((engine, chain)) => (Some(engine), Some(chain)),
        None => (None, None),
    };
    let have = stored.map_or(0, |chain| chain.strips());
    let end = recover_end(disk, paths, job, have == layout.strips(), &mut healed)?;
    if let Some(chain) = stored.filter(|_| end.as_ref().is_none_or(|(end, _)| end.ending != KeptEnding::Done)) {
        write_again(disk, &paths.index(job), entry_offset(chain.strips()))?;
    }
    let end_bytes = end.as_ref().map(|(_, bytes)| *bytes);
    let kept =
        Job { layout, engine: engine.clone(), stored, pending: None, index_ahead: false, lost: None, record_bytes, end_bytes };
    let Stored { bytes, strip_bytes, .. } = kept.stored();
    let healed = (!healed.is_empty()).then(|| healed.join("; "));
    Ok(Ok((kept, Recovered { record, engine, have, bytes, strip_bytes, end: end.map(|(end, _)| end), healed })))
}

/// Cuts `index` and `strips` to what the chain of entries proves. The engine and the chain, where it proves anything.
fn recover_strips(
    disk: &dyn Disk,
    paths: &Paths,
    job: JobId,
    layout: Layout,
    healed: &mut Vec<String>,
) -> Result<Option<(String, Chain)>, OpenError> {
    let (strips_path, index_path) = (paths.strips(job), paths.index(job));
    let mut length_of = |path: &Path| -> Result<u64, OpenError> {
        match disk.kind(path).at(path)? {
            Kind::File(length) => Ok(length),
            Kind::Nothing => Ok(0),
            Kind::Folder | Kind::Other => {
                healed.push(format!("{} is not a file", path.display()));
                disk.remove(path).at(path)?;
                Ok(0)
            }
        }
    };
    let (index_bytes, strips_bytes) = (length_of(&index_path)?, length_of(&strips_path)?);
    let mut scan = Scan::default();
    if index_bytes > 0 {
        let index = disk.open(&index_path, true).at(&index_path)?;
        scan = self::scan(&*index, job, layout, (index_bytes, strips_bytes), layout.strips()).at(&index_path)?;
        let whole = scan.chain.map_or(0, |chain| entry_offset(chain.strips()));
        if whole < index_bytes {
            let why = scan.why.as_deref().unwrap_or("they speak of no strip");
            healed.push(format!("{} bytes of index are cut off: {why}", index_bytes - whole));
            index.cut(whole).at(&index_path)?;
        }
    }
    let whole = scan.chain.map_or(0, |chain| chain.end());
    if whole < strips_bytes {
        healed.push(format!("{} bytes of strips are cut off, which the index does not vouch for", strips_bytes - whole));
        disk.open(&strips_path, true).and_then(|strips| strips.cut(whole)).at(&strips_path)?;
    }
    Ok(scan.engine.zip(scan.chain))
}

/// Writes an index over itself, and makes that durable. Where its last sync failed and the broker died before it could cut it, the
/// operating system shows entries that are not on disk, and no longer means to write them.
fn write_again(disk: &dyn Disk, path: &Path, index_bytes: u64) -> Result<(), OpenError> {
    let again = || -> io::Result<()> {
        let index = disk.open(path, true)?;
        let mut buffer = vec![0; buffer_bytes(index_bytes)];
        let mut offset = 0;
        while offset < index_bytes {
            let filled = read_front(&*index, &mut buffer, offset, index_bytes)?;
            if filled == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            index.write_at(&buffer[..filled], offset)?;
            offset += filled as u64;
        }
        index.sync_data()
    };
    match again() {
        // Jobs can only be removed from a full disk once the broker has started.
        Err(error) if is_about_room(&error) => Ok(()),
        done => Ok(done.at(path)?),
    }
}

/// Room for the entries of an index, no more than a read takes: there may be ten thousand jobs.
fn buffer_bytes(index_bytes: u64) -> usize {
    let entries = usize::try_from(index_bytes).unwrap_or(usize::MAX) / ENTRY_BYTES + 1;
    entries.min(ENTRIES_READ) * ENTRY_BYTES
}

/// What an index proves.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Present with `chain`.
    pub(crate) engine: Option<String>,
    /// The strips, where there is at least one.
    pub(crate) chain: Option<Chain>,
    /// What is wrong with the first entry that does not count.
    pub(crate) why: Option<String>,
}

/// Reads an index from its header up to strip `strips_max`, or to the first entry that is wrong. `bytes` are the lengths of
/// `index` and of `strips`.
pub(crate) fn scan(index: &dyn DiskFile, job: JobId, layout: Layout, bytes: (u64, u64), strips_max: u32) -> io::Result<Scan> {
    let (index_bytes, strips_bytes) = bytes;
    let mut header = [0; HEADER_BYTES];
    let length = read_front(index, &mut header, 0, index_bytes)?;
    let refused = |damage: Damage| Scan { why: Some(format!("its header: {damage}")), ..Scan::default() };
    let engine = match Header::decode(&header[..length]) {
        Ok(found) if found.job != job => return Ok(refused(Damage::Content(format!("it belongs to job {}", found.job)))),
        Ok(found) => found.engine,
        Err(damage) => return Ok(refused(damage)),
    };
    let mut chain = Chain::new(layout, &header);
    let mut buffer = vec![0; buffer_bytes(index_bytes)];
    let mut why = None;
    while why.is_none() && chain.strips() < strips_max {
        let filled = read_front(index, &mut buffer, entry_offset(chain.strips()), index_bytes)?;
        let (entries, torn) = buffer[..filled].as_chunks::<ENTRY_BYTES>();
        for entry in entries.iter().take((strips_max - chain.strips()) as usize) {
            if let Err(damage) = chain.read(entry, strips_bytes) {
                why = Some(damage.to_string());
                break;
            }
        }
        if why.is_none() && filled < buffer.len() {
            why = (!torn.is_empty()).then(|| "a torn entry".to_owned());
            break;
        }
    }
    let any = chain.strips() > 0;
    Ok(Scan { engine: any.then_some(engine), chain: any.then_some(chain), why })
}

/// Fills the front of `buffer` with what can be read before `end`: a bad sector ends it as the end of the file does.
fn read_front(file: &dyn DiskFile, buffer: &mut [u8], offset: u64, end: u64) -> io::Result<usize> {
    let room = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX).min(buffer.len());
    match file.read_at(&mut buffer[..room], offset) {
        Err(error) if is_of_the_medium(&error) => Ok(0),
        read => read,
    }
}

/// How the job ended, and the length of the file. One that cannot be read is dropped, and so is that of a job that is said to be
/// done and is not.
fn recover_end(
    disk: &dyn Disk,
    paths: &Paths,
    job: JobId,
    all_stored: bool,
    healed: &mut Vec<String>,
) -> Result<Option<(EndRecord, u64)>, OpenError> {
    let path = paths.end(job);
    if disk.kind(&path).at(&path)? == Kind::Nothing {
        return Ok(None);
    }
    let read = read_small(disk, &path)?.and_then(|bytes| {
        let end = EndRecord::decode(job, &bytes).map_err(|damage| damage.to_string())?;
        if end.ending == KeptEnding::Done && !all_stored {
            return Err("it says done, and strips are missing".to_owned());
        }
        Ok((end, bytes.len() as u64))
    });
    match read {
        Ok(found) => Ok(Some(found)),
        Err(why) => {
            healed.push(format!("its end is dropped: {why}"));
            disk.remove(&path).at(&path)?;
            disk.sync_folder(&paths.job(job)).at(&paths.job(job))?;
            Ok(None)
        }
    }
}
