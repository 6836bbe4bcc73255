//! Opening a state directory: whose it is, which jobs are there, and how much of each is proven to be whole.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
};

use fractally_proto::{JobId, Layout};

use crate::{
    Damage, EndRecord, JobRecord, Journal, KeptEnding, OpenError,
    disk::{Disk, DiskFile, Kind},
    error::{At, AtPath},
    files::Paths,
    index::{Chain, ENTRY_BYTES, HEADER_BYTES, Header, entry_offset},
    journal::Job,
    seal::{SEALED_BYTES_MAX, u32_at},
};

const FORMAT_MAGIC: &[u8; 8] = b"FRLY-fmt";
/// The version of the whole directory.
pub(crate) const FORMAT_VERSION: u32 = 1;
const FORMAT_BYTES: usize = 16;
/// Entries of an index that are read at once.
const ENTRIES_READ: usize = 4096;

/// A job as it was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Recovered {
    /// What was accepted.
    pub record: JobRecord,
    /// The engine of its strips, where there are any.
    pub engine: Option<String>,
    /// Strips stored, counted from the top.
    pub have: u32,
    /// Bytes on disk of all its files, each rounded up to blocks of 4 KiB, and of its folder.
    pub bytes: u64,
    /// How it ended. One that is done has all its strips.
    pub end: Option<EndRecord>,
    /// What was cut off or dropped, in one line for the log.
    pub healed: Option<String>,
}

/// A job whose record cannot be read. It lies in `damaged/`, and is told of at every start until somebody deletes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Its id, where the name of its folder is one.
    pub job: Option<JobId>,
    /// Where it lies now.
    pub path: PathBuf,
    /// What is wrong, in one line for people.
    pub why: String,
}

pub(crate) fn open(mut disk: Box<dyn Disk>, dir: &Path) -> Result<(Journal, Vec<Recovered>, Vec<Lost>), OpenError> {
    let paths = Paths::new(dir);
    disk.create_folder(dir).at(dir)?;
    // Before the lock, so that nothing is written to a directory of somebody else, and again behind it.
    check_format(&*disk, &paths)?;
    if !disk.lock(&paths.lock()).at(&paths.lock())? {
        return Err(OpenError::InUse { dir: dir.to_owned() });
    }
    let is_new = !check_format(&*disk, &paths)?;
    for folder in [paths.tmp(), paths.jobs(), paths.damaged()] {
        disk.create_folder(&folder).at(&folder)?;
    }
    empty_tmp(&*disk, &paths)?;
    if is_new {
        create_format(&*disk, &paths)?;
    }
    let mut lost = lost_before(&*disk, &paths)?;
    let mut journal = Journal::new(disk, paths);
    let mut recovered = Vec::new();
    let names = journal.disk.names(&journal.paths.jobs()).at(&journal.paths.jobs())?;
    for name in names {
        match recover(&*journal.disk, &journal.paths, &name)? {
            Ok((job, found)) => {
                journal.jobs.insert(found.record.job, job);
                recovered.push(found);
            }
            Err(why) => lost.push(set_aside(&*journal.disk, &journal.paths, &name, why)?),
        }
    }
    Ok((journal, recovered, lost))
}

/// Whether the directory has a format, which must be ours. One without must be empty but for what comes before [`create_format`].
fn check_format(disk: &dyn Disk, paths: &Paths) -> Result<bool, OpenError> {
    let path = paths.format();
    let refused = |why: &str| OpenError::NotAJournal { dir: paths.dir.clone(), why: why.to_owned() };
    match disk.kind(&path).at(&path)? {
        Kind::File(_) => {}
        Kind::Nothing => return check_empty(disk, paths).map(|()| false),
        Kind::Folder | Kind::Other => return Err(refused("its `format` is not a file")),
    }
    let mut bytes = [0; FORMAT_BYTES];
    let file = disk.open(&path, false).at(&path)?;
    let length = file.read_at(&mut bytes, 0).at(&path)?;
    if length < FORMAT_BYTES || bytes[..8] != FORMAT_MAGIC[..] {
        return Err(refused("its file `format` is not that of a state directory"));
    }
    if crc32fast::hash(&bytes[..12]) != u32_at(&bytes, 12) {
        return Err(refused("its file `format` is damaged"));
    }
    match u32_at(&bytes, 8) {
        FORMAT_VERSION => Ok(true),
        found if found > FORMAT_VERSION => Err(OpenError::Newer { dir: paths.dir.clone(), found, known: FORMAT_VERSION }),
        found => Err(refused(&format!("its format {found} was never used"))),
    }
}

fn check_empty(disk: &dyn Disk, paths: &Paths) -> Result<(), OpenError> {
    let refused = |name: &Path| OpenError::NotAJournal {
        dir: paths.dir.clone(),
        why: format!("it has no file `format`, and holds {}", name.display()),
    };
    // What a start that was interrupted may have left, and what a file system has of its own.
    let known = ["lock", "tmp", "jobs", "damaged", "lost+found"];
    for name in disk.names(&paths.dir).at(&paths.dir)? {
        if !known.iter().any(|known| OsStr::new(known) == name) {
            return Err(refused(Path::new(&name)));
        }
    }
    for folder in [paths.jobs(), paths.damaged()] {
        if disk.kind(&folder).at(&folder)? == Kind::Folder
            && let Some(name) = disk.names(&folder).at(&folder)?.first()
        {
            return Err(refused(&folder.join(name)));
        }
    }
    Ok(())
}

/// The last file of a new directory: where it is, the rest is.
fn create_format(disk: &dyn Disk, paths: &Paths) -> Result<(), OpenError> {
    let mut bytes = [&FORMAT_MAGIC[..], &FORMAT_VERSION.to_le_bytes()].concat();
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    let building = paths.tmp().join("format");
    let file = disk.open(&building, true).at(&building)?;
    file.write_at(&bytes, 0).at(&building)?;
    file.sync_data().at(&building)?;
    // The folders must be there before the format is.
    disk.sync_folder(&paths.dir).at(&paths.dir)?;
    disk.rename(&building, &paths.format()).at(&paths.format())?;
    disk.sync_folder(&paths.dir).at(&paths.dir)?;
    let parent = paths.dir.parent().map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent });
    // The root of a file system has none.
    Ok(parent.map_or(Ok(()), |parent| disk.sync_folder(parent).at(parent))?)
}

/// Deletes what was being built or deleted when the last broker stopped.
fn empty_tmp(disk: &dyn Disk, paths: &Paths) -> Result<(), OpenError> {
    let tmp = paths.tmp();
    let names = disk.names(&tmp).at(&tmp)?;
    if !names.is_empty() {
        // A job that left jobs/ must be gone from there for certain before it is taken apart.
        disk.sync_folder(&paths.jobs()).at(&paths.jobs())?;
    }
    for name in names {
        let path = tmp.join(name);
        disk.remove(&path).at(&path)?;
    }
    Ok(())
}

/// The id that a folder is named after: 16 lower-case hex digits.
fn id_of(name: &str) -> Option<JobId> {
    u64::from_str_radix(name, 16).ok().map(JobId).filter(|job| job.to_string() == name)
}

fn lost_before(disk: &dyn Disk, paths: &Paths) -> Result<Vec<Lost>, OpenError> {
    let folder = paths.damaged();
    let names = disk.names(&folder).at(&folder)?;
    let told = names.into_iter().map(|name| {
        let path = folder.join(&name);
        let job = name.to_str().and_then(|name| id_of(name.get(..16)?));
        let why = match read_record(disk, &path, job)? {
            Ok(_) => "it was set aside before".to_owned(),
            Err(why) => why,
        };
        Ok(Lost { job, path, why })
    });
    told.collect()
}

fn set_aside(disk: &dyn Disk, paths: &Paths, name: &OsStr, why: String) -> Result<Lost, OpenError> {
    let (from, folder) = (paths.jobs().join(name), paths.damaged());
    let mut path = folder.join(name);
    let mut copy = 1;
    while disk.kind(&path).at(&path)? != Kind::Nothing {
        copy += 1;
        let mut numbered = name.to_owned();
        numbered.push(format!(".{copy}"));
        path = folder.join(numbered);
    }
    disk.rename(&from, &path).at(&from)?;
    disk.sync_folder(&folder).at(&folder)?;
    disk.sync_folder(&paths.jobs()).at(&paths.jobs())?;
    Ok(Lost { job: name.to_str().and_then(id_of), path, why })
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

fn read_record(disk: &dyn Disk, folder: &Path, job: Option<JobId>) -> Result<Result<(JobRecord, u64), String>, OpenError> {
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
fn recover(disk: &dyn Disk, paths: &Paths, name: &OsStr) -> Result<Result<(Job, Recovered), String>, OpenError> {
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
    let end_bytes = end.as_ref().map(|(_, bytes)| *bytes);
    let kept =
        Job { layout, engine: engine.clone(), stored, pending: None, index_ahead: false, lost: None, record_bytes, end_bytes };
    let bytes = kept.stored().bytes;
    let healed = (!healed.is_empty()).then(|| healed.join("; "));
    Ok(Ok((kept, Recovered { record, engine, have, bytes, end: end.map(|(end, _)| end), healed })))
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
    let mut buffer = vec![0; ENTRIES_READ * ENTRY_BYTES];
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
