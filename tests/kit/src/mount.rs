//! File systems of a test's own: small ones that a test can fill, and ones that take nothing.
//!
//! They need root. Where that is missing [`Mount::of_mib`] says so on stderr and gives nothing, unless `FRACTALLY_REQUIRE_MOUNTS=1` asks
//! for a failure.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What the sources of all our mounts begin with; the process that made them follows.
const PREFIX: &str = "fractally-test-";

/// A file system in memory. It is gone when this is dropped; what a killed test left is removed by the next.
pub struct Mount {
    path: PathBuf,
}

impl Mount {
    /// A file system of so many MiB in the folder `path`, which is made; or nothing where this machine does not let us.
    pub fn of_mib(path: &Path, mib: u32) -> Option<Self> {
        remove_what_dead_processes_left();
        fs::create_dir_all(path).expect("a folder to mount at");
        let source = format!("{PREFIX}{}", std::process::id());
        let size = format!("size={mib}m");
        match run("mount", ["-t".as_ref(), "tmpfs".as_ref(), "-o".as_ref(), size.as_ref(), source.as_ref(), path.as_os_str()]) {
            Ok(()) => Some(Self { path: path.to_owned() }),
            Err(reason) => {
                let is_required = std::env::var_os("FRACTALLY_REQUIRE_MOUNTS").is_some_and(|value| value == "1");
                assert!(!is_required, "FRACTALLY_REQUIRE_MOUNTS=1, but nothing can be mounted: {reason}");
                eprintln!("SKIPPED: mounting needs root: {reason}");
                None
            }
        }
    }

    /// From now on nothing can be written to it.
    pub fn make_read_only(&self) {
        run("mount", ["-o".as_ref(), "remount,ro".as_ref(), self.path.as_os_str()]).expect("what was mounted can be again");
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: processes of the test may still stand in it.
        if let Err(error) = run("umount", ["-l".as_ref(), self.path.as_os_str()]) {
            eprintln!("{} stays mounted: {error}", self.path.display());
        }
    }
}

fn run<'a>(program: &str, args: impl IntoIterator<Item = &'a OsStr>) -> Result<(), String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}

fn remove_what_dead_processes_left() {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for line in mounts.lines() {
        let mut words = line.split(' ');
        let id = words.next().and_then(|source| source.strip_prefix(PREFIX));
        if let (Some(id), Some(path)) = (id, words.next())
            && !Path::new("/proc").join(id).exists()
        {
            // Somebody else may be quicker.
            let _ = run("umount", ["-l".as_ref(), path.as_ref()]);
        }
    }
}
