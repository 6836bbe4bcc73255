//! Where a picture goes: a file that appears whole or not at all, or a stream.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, BufWriter, Stdout, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use crate::sink::Sink;

const BUFFER_BYTES: usize = 1 << 20;

/// An output that is being written.
///
/// A regular file is written under a temporary name in the same folder and takes its own name in [`OutputFile::commit`];
/// dropped before that, it leaves nothing behind and an older file of that name untouched. Pipes, devices and standard output
/// are written as the picture comes.
pub struct OutputFile(Kind);

enum Kind {
    Temporary { file: BufWriter<NamedTempFile>, path: PathBuf },
    Direct(BufWriter<File>),
    Stdout(BufWriter<Stdout>),
}

impl OutputFile {
    /// Standard output.
    pub fn stdout() -> Self {
        Self(Kind::Stdout(BufWriter::with_capacity(BUFFER_BYTES, io::stdout())))
    }

    /// A file at `path`, or what stands there if it is a pipe or a device. A link is followed. A file that is replaced passes its
    /// permissions on.
    ///
    /// # Errors
    /// The folder does not exist or cannot be written, the name cannot be a file's, or `path` is a folder.
    pub fn create(path: &Path) -> io::Result<Self> {
        let path = follow(path)?;
        let mode = match fs::metadata(&path) {
            Ok(there) if there.is_dir() => return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder")),
            Ok(there) if !there.is_file() => {
                let file = OpenOptions::new().write(true).open(&path)?;
                return Ok(Self(Kind::Direct(BufWriter::with_capacity(BUFFER_BYTES, file))));
            }
            Ok(there) => Some(there.permissions()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let file = tempfile::Builder::new()
            .prefix(".fractally-")
            .suffix(".part")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder)?;
        if let Some(mode) = mode {
            file.as_file().set_permissions(mode)?;
        }
        Ok(Self(Kind::Temporary { file: BufWriter::with_capacity(BUFFER_BYTES, file), path }))
    }

    /// Everything is written: the file takes its name.
    ///
    /// # Errors
    /// The last bytes cannot be written, or the name cannot be taken.
    pub fn commit(self) -> io::Result<()> {
        match self.0 {
            Kind::Temporary { file, path } => {
                let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
                file.persist(path).map_err(|error| error.error)?;
                Ok(())
            }
            Kind::Direct(mut file) => file.flush(),
            Kind::Stdout(mut stdout) => stdout.flush(),
        }
    }
}

/// What a chain of links ends at, whether or not something is there.
fn follow(path: &Path) -> io::Result<PathBuf> {
    /// As many as Linux follows.
    const LINKS_MAX: usize = 40;
    if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "a name that ends in / is a folder's"));
    }
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let Ok(target) = fs::read_link(&path) else { return Ok(path) };
        // A relative target begins at the link's folder; an absolute one replaces it.
        path = path.parent().unwrap_or_else(|| Path::new("")).join(target);
    }
    Err(io::Error::other("too many links"))
}

impl Sink for OutputFile {}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Kind::Temporary { file, .. } => file.write(bytes),
            Kind::Direct(file) => file.write(bytes),
            Kind::Stdout(stdout) => stdout.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Kind::Temporary { file, .. } => file.flush(),
            Kind::Direct(file) => file.flush(),
            Kind::Stdout(stdout) => stdout.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        fs::write(&path, "old").unwrap();
        let mut file = OutputFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        drop(file);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        let mut file = OutputFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        file.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn devices_are_written_and_stay_devices() {
        let mut file = OutputFile::create(Path::new("/dev/null")).unwrap();
        file.write_all(b"gone").unwrap();
        file.commit().unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }

    #[test]
    fn a_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let mut file = OutputFile::create(&link).unwrap();
        file.write_all(b"new").unwrap();
        file.commit().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&target).unwrap(), b"new");
        fs::remove_file(&target).unwrap();
        OutputFile::create(&link).unwrap().commit().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink() && target.is_file(), "also one that leads nowhere yet");
    }

    #[test]
    fn a_replaced_file_passes_its_permissions_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        OutputFile::create(&path).unwrap().commit().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_folder_and_a_missing_folder_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(OutputFile::create(folder.path()).is_err());
        assert!(OutputFile::create(Path::new("a.png/")).is_err());
        assert!(OutputFile::create(&folder.path().join("x".repeat(300))).is_err(), "told before the work, not after it");
        assert!(OutputFile::create(&folder.path().join("no/such/a.png")).is_err());
    }
}
