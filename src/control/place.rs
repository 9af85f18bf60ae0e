//! Where the socket lies: in the directory, or where a short path leads to, which a note in the
//! directory names.
//!
//! ```text
//! control       the socket
//! control.at    the path of the socket, if it could not be made there
//! ```

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::directory::{DirectoryError, draw_stamp, own_folder, read_bounded, replace};

const SOCKET: &str = "control";
const NOTE: &str = "control.at";
/// The longest path that the system takes for a socket.
const PATH_MAX: usize = 107;

/// A socket that is listened on.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) socket: PathBuf,
    note: Option<PathBuf>,
}

impl Place {
    /// Makes the socket of a directory that is locked, in the place of what a killed process left.
    pub(super) fn listen(directory: &Path) -> Result<(UnixListener, Self), DirectoryError> {
        let directory = &std::path::absolute(directory)
            .map_err(DirectoryError::io("find the path of", directory))?;
        sweep(directory)?;
        let socket = directory.join(SOCKET);
        let inside = bind(&socket);
        let Err(error) = inside else {
            let note = None;
            return inside.map(|listener| (listener, Self { socket, note }));
        };
        // Too long a path, or a file system without sockets.
        let elsewhere = roots().find_map(|root| elsewhere(&root).ok());
        let (listener, socket) = elsewhere.ok_or(error)?;
        let note = directory.join(NOTE);
        replace(&note, socket.as_os_str().as_bytes())?;
        let note = Some(note);
        Ok((listener, Self { socket, note }))
    }

    /// Removes the socket; who stays connected is not touched.
    pub(super) fn remove(&self) {
        // What stays is a leftover, which the next opening replaces.
        let paths = [Some(&self.socket), self.note.as_ref()];
        for path in paths.into_iter().flatten() {
            let _ = fs::remove_file(path);
        }
    }
}

/// Connects to the process that has the directory open; none if none listens there.
pub(super) fn connect(directory: &Path) -> io::Result<Option<UnixStream>> {
    let noted = read_bounded(&directory.join(NOTE), 4096);
    let connected = match noted {
        Ok(path) => UnixStream::connect(PathBuf::from(std::ffi::OsString::from_vec(path))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let socket = directory.join(SOCKET);
            match socket.as_os_str().len() <= PATH_MAX {
                true => UnixStream::connect(socket),
                false => connect_by_descriptor(directory),
            }
        }
        Err(error) => Err(error),
    };
    match connected {
        Ok(stream) => Ok(Some(stream)),
        Err(error) => match error.kind() {
            // Nobody has it open, or a process left it behind when it was killed.
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
            _ => Err(error),
        },
    }
}

/// To a directory that has a longer path here than for the process that listens in it.
fn connect_by_descriptor(directory: &Path) -> io::Result<UnixStream> {
    let directory = File::open(directory)?;
    let number = directory.as_raw_fd();
    UnixStream::connect(format!("/proc/self/fd/{number}/{SOCKET}"))
}

/// Removes what a process that was killed left behind. The caller has the directory's lock.
fn sweep(directory: &Path) -> Result<(), DirectoryError> {
    let note = directory.join(NOTE);
    if let Ok(path) = read_bounded(&note, 4096) {
        let socket = PathBuf::from(std::ffi::OsString::from_vec(path));
        let is_in_own = |folder: &Path| {
            let mut all = roots().filter_map(|root| own_folder(&root).ok());
            all.any(|own| own == folder)
        };
        // A note may say anything, and a copy of the directory names the original's socket: nothing
        // is removed that is not ours, or that somebody listens on.
        let is_left = || is_socket(&socket) && UnixStream::connect(&socket).is_err();
        if socket.parent().is_some_and(is_in_own) && is_left() {
            let _ = fs::remove_file(&socket);
        }
        fs::remove_file(&note).map_err(DirectoryError::io("remove", &note))?;
    }
    let socket = directory.join(SOCKET);
    if is_socket(&socket) {
        fs::remove_file(&socket).map_err(DirectoryError::io("remove", &socket))?;
    }
    Ok(())
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
}

fn bind(socket: &Path) -> Result<UnixListener, DirectoryError> {
    let listener = UnixListener::bind(socket).map_err(DirectoryError::io("listen on", socket))?;
    // Who connects before this is asked who he is, as all are.
    fs::set_permissions(socket, Permissions::from_mode(0o600))
        .map_err(DirectoryError::io("make private", socket))?;
    Ok(listener)
}

/// Where sockets of all users lie.
fn roots() -> impl Iterator<Item = PathBuf> {
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let own = own.filter(|path| path.is_absolute());
    own.into_iter().chain(["/tmp".into(), "/dev/shm".into()])
}

fn elsewhere(root: &Path) -> Result<(UnixListener, PathBuf), DirectoryError> {
    let stamp = draw_stamp().map_err(DirectoryError::io("draw a name in", root))?;
    let socket = own_folder(root)?.join(format!("control-{stamp:016x}"));
    Ok((bind(&socket)?, socket))
}
