//! Opening a state directory: whose it is, and which jobs are there. `recover.rs` looks at each.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use fractally_proto::JobId;

use crate::{
    EndRecord, JobRecord, Journal, OpenError,
    disk::{Disk, Kind},
    error::At,
    files::Paths,
    recover::{id_of, read_record, recover},
    seal::u32_at,
};

const FORMAT_MAGIC: &[u8; 8] = b"FRLY-fmt";
/// The version of the whole directory.
pub(crate) const FORMAT_VERSION: u32 = 1;
const FORMAT_BYTES: usize = 16;

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
    /// Encoded bytes of the strips in sum.
    pub strip_bytes: u64,
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

/// A state directory as somebody sees it who changes nothing in it, and takes no lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// It is empty: the first broker makes it a state directory.
    pub is_new: bool,
    /// Jobs in it, whatever their state.
    pub jobs: usize,
    /// Jobs that were set aside because their record could not be read.
    pub damaged: usize,
}

pub(crate) fn look(disk: &dyn Disk, dir: &Path) -> Result<Look, OpenError> {
    let paths = Paths::new(dir);
    let is_new = !check_format(disk, &paths)?;
    let names_in = |folder: PathBuf| match disk.kind(&folder).at(&folder)? {
        Kind::Folder => Ok(disk.names(&folder).at(&folder)?.len()),
        Kind::Nothing | Kind::File(_) | Kind::Other => Ok::<_, OpenError>(0),
    };
    Ok(Look { is_new, jobs: names_in(paths.jobs())?, damaged: names_in(paths.damaged())? })
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
    // A broker that was killed left what it wrote in the memory of the operating system, where this one sees it: what is reported below
    // must be durable.
    disk.sync_all(dir).at(dir)?;
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

/// Deletes what was being built or deleted when the last broker stopped. A job that left `jobs/` is gone from there for certain by now.
fn empty_tmp(disk: &dyn Disk, paths: &Paths) -> Result<(), OpenError> {
    let tmp = paths.tmp();
    let names = disk.names(&tmp).at(&tmp)?;
    for name in names {
        let path = tmp.join(name);
        disk.remove(&path).at(&path)?;
    }
    Ok(())
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
