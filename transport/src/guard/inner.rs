//! The way from the guard to the ROUTER: a Unix socket that nobody else can reach.
//!
//! It is made in a fresh folder that only this user can enter, and loses its name at once; connections go through a descriptor of
//! the nameless socket. So nothing is left when the process is killed, unless that happens in the instant between.

use std::{
    fs::Permissions,
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{
            fs::PermissionsExt,
            net::{UnixListener, UnixStream as StdUnixStream},
        },
    },
};

use rustix::fs::{Mode, OFlags, open};
use tokio::net::UnixStream;

/// The nameless socket. Whoever runs as the same user can reach it through `/proc`, and could as well do anything else to the
/// process.
#[derive(Debug)]
pub(super) struct InnerAddress {
    socket: OwnedFd,
}

/// A listener for the ROUTER, and the only way to it.
///
/// # Errors
/// There is no folder for temporary files, or no `/proc`.
pub(super) fn inner_socket() -> io::Result<(UnixListener, InnerAddress)> {
    let folder = tempfile::Builder::new().prefix("fractally-").permissions(Permissions::from_mode(0o700)).tempdir()?;
    // Through its descriptor the folder's path is short, whatever it is: that of a Unix socket must be.
    let folder_fd = open(folder.path(), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let listener = UnixListener::bind(format!("/proc/self/fd/{}/router", folder_fd.as_raw_fd()))?;
    let socket = open(folder.path().join("router"), OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    folder.close()?;
    let address = InnerAddress { socket };
    // Better to learn now than at the first peer that a nameless socket cannot be reached here.
    let probe = StdUnixStream::connect(address.path())?;
    drop((listener.accept()?, probe));
    Ok((listener, address))
}

impl InnerAddress {
    fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.socket.as_raw_fd())
    }

    /// A new connection to the ROUTER.
    pub(super) async fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(self.path()).await
    }
}
