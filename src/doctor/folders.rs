//! The folders that roles write to: sockets of a local grid, temporary files, a broker's state directory.

use std::{
    fs, io,
    io::Write,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
};

use fractally_broker::{Look, State};
use rustix::fs::{Access, access, statvfs};

use super::{default_of, report::Finding};
use crate::{
    broker::{FOLDER_PATH_MAX, private_folder},
    table::bytes,
};

/// Free space below which a picture may not fit.
const ROOM_LITTLE: u64 = 1 << 30;

/// Where a local grid has its Unix sockets, whose paths must be short.
pub(super) fn sockets() -> Finding {
    let folder = match private_folder() {
        Ok(folder) => folder,
        Err(failure) => {
            return Finding::bad("sockets", failure.message, "set TMPDIR to a folder of your own with a short path");
        }
    };
    let base = folder.path().parent().unwrap_or_else(|| Path::new("/")).display().to_string();
    let temporary = std::env::temp_dir();
    if temporary.as_os_str().len() > FOLDER_PATH_MAX {
        let text = format!("{} is too long for a socket's path, so {base} is taken", temporary.display());
        return Finding::note("sockets", text, format!("nothing, or set TMPDIR to a path of {FOLDER_PATH_MAX} bytes at most"));
    }
    match UnixListener::bind(folder.path().join("clients")) {
        Ok(_) => Finding::ok("sockets", format!("a local grid's go into a private folder in {base}")),
        Err(error) => Finding::bad(
            "sockets",
            format!("none can be made in {base}: {error}"),
            "set TMPDIR to a local folder of yours, as /tmp",
        ),
    }
}

/// Where temporary files go.
pub(super) fn temporary() -> Finding {
    let folder = std::env::temp_dir();
    let shown = folder.display();
    if let Err(error) = try_to_write(&folder) {
        let advice = "set TMPDIR to a folder that you may write to, with room";
        return Finding::bad("temporary", format!("{shown} cannot be written: {error}"), advice);
    }
    room("temporary", &folder, format!("{shown} can be written"), "`fractally up` keeps its renders there unless it has --state")
}

/// A broker's state directory. Nothing in it is changed, so a broker may be using it.
pub(super) fn state(directory: &Path) -> Finding {
    let shown = directory.display();
    let folder = match fs::metadata(directory) {
        Ok(found) if found.is_dir() => directory.to_owned(),
        Ok(_) => return Finding::bad("state", format!("{shown} is no directory"), "name a directory, or what may become one"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return missing(directory),
        Err(error) => return Finding::bad("state", format!("{shown}: {error}"), "name a directory that you may use"),
    };
    let Look { is_new, jobs, damaged } = match State::look(directory) {
        Ok(look) => look,
        Err(error) => return Finding::bad("state", error.to_string(), "a broker that is given it will not start"),
    };
    if let Err(error) =
        access(&folder, Access::WRITE_OK | Access::EXEC_OK).map_err(io::Error::from).and_then(|()| try_to_write(&folder))
    {
        return Finding::bad(
            "state",
            format!("{shown} cannot be written: {error}"),
            "give it to the user who runs the broker, and make room",
        );
    }
    let text = if is_new {
        format!("{shown} is empty and can be used")
    } else {
        format!("{shown} can be read and written, jobs: {jobs}")
    };
    if damaged > 0 {
        let folder = directory.join("damaged");
        let advice = format!("submit them again, and delete {} then", folder.display());
        return Finding::note("state", format!("{text}, damaged ones: {damaged}"), advice);
    }
    room("state", &folder, text, "a broker pauses jobs when it is full; make room, or give --state-size")
}

/// A directory that a broker would make.
fn missing(directory: &Path) -> Finding {
    let shown = directory.display();
    let above = directory.ancestors().skip(1).map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let above = above.map(PathBuf::from).find(|folder| folder.exists()).unwrap_or_else(|| PathBuf::from("/"));
    match try_to_write(&above) {
        Ok(()) => {
            room("state", &above, format!("{shown} is not there yet; a broker makes it"), "make room, or give --state-size")
        }
        Err(error) => {
            let text = format!("{shown} is not there and cannot be made in {}: {error}", above.display());
            Finding::bad("state", text, "make it, and give it to the user who runs the broker")
        }
    }
}

/// Writes to a file without a name.
fn try_to_write(folder: &Path) -> io::Result<()> {
    let mut file = tempfile::tempfile_in(folder)?;
    file.write_all(&[0; 4096])?;
    file.sync_data()
}

/// How much room there is, told behind `text`.
fn room(topic: &'static str, folder: &Path, text: String, advice: &str) -> Finding {
    let Ok(system) = statvfs(folder) else { return Finding::ok(topic, text) };
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    let wanted = default_of("broker", "state_size").and_then(|mib| mib.parse::<u64>().ok()).unwrap_or(0) << 20;
    let text = format!("{text}, {} free", bytes(free));
    match topic {
        "state" if free < wanted => {
            Finding::note(topic, format!("{text}, less than the {} of --state-size", bytes(wanted)), advice)
        }
        _ if free < ROOM_LITTLE => Finding::note(topic, text, advice),
        _ => Finding::ok(topic, text),
    }
}
