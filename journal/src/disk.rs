//! The few things that the journal asks of a file system: the one place that touches it, so that a test can stand in its place and
//! cut the power.

use std::{
    ffi::OsString,
    fmt,
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Nothing,
    /// A file of so many bytes.
    File(u64),
    Folder,
    /// A link, a pipe, a device: nothing that the journal made.
    Other,
}

/// A file system.
pub(crate) trait Disk: Send + fmt::Debug {
    /// What stands at `path`, links not followed.
    fn kind(&self, path: &Path) -> io::Result<Kind>;
    /// The names in a folder, sorted.
    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>>;
    /// Opens a file for reading and, where `create` is set, for writing, and creates it where it is missing.
    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn DiskFile>>;
    fn create_folder(&self, path: &Path) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file, or a folder with all that is in it.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes durable what was created, renamed and removed in `folder`.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Makes everything durable that any process has written to the file system on which `folder` lies.
    fn sync_all(&self, folder: &Path) -> io::Result<()>;
    /// Holds the lock file at `path` until the disk is dropped. Whether nobody else holds it.
    fn lock(&mut self, path: &Path) -> io::Result<bool>;
}

/// An open file.
pub(crate) trait DiskFile: Send + fmt::Debug {
    /// Fills the front of `buffer` from `offset`. How many bytes there were.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`, or fails with any part of them written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes what was written durable, and the length that it reaches to.
    fn sync_data(&self) -> io::Result<()>;
    /// Cuts the file, and makes that durable.
    fn cut(&self, bytes: u64) -> io::Result<()>;
}

/// The file system of the operating system.
#[derive(Debug, Default)]
pub(crate) struct OsDisk {
    locked: Option<File>,
}

impl Drop for OsDisk {
    fn drop(&mut self) {
        // Not left to closing the file: a child that another thread is just starting has it open until it runs its own program, and
        // whoever opened the directory next was told that it is in use.
        if let Some(file) = &self.locked {
            // It is closed in any case.
            let _ = file.unlock();
        }
    }
}

impl Disk for OsDisk {
    fn kind(&self, path: &Path) -> io::Result<Kind> {
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_file() => Ok(Kind::File(found.len())),
            Ok(found) if found.is_dir() => Ok(Kind::Folder),
            Ok(_) => Ok(Kind::Other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Kind::Nothing),
            Err(error) => Err(error),
        }
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name()));
        let mut names = names.collect::<io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(create).create(create).truncate(false).open(path)?;
        Ok(Box::new(file))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    #[cfg(target_os = "linux")]
    fn sync_all(&self, folder: &Path) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(folder)?)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn sync_all(&self, _: &Path) -> io::Result<()> {
        rustix::fs::sync();
        Ok(())
    }

    fn lock(&mut self, path: &Path) -> io::Result<bool> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => {
                self.locked = Some(file);
                Ok(true)
            }
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl DiskFile for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match FileExt::read_at(self, &mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        Self::sync_data(self)
    }

    fn cut(&self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)?;
        self.sync_all()
    }
}
