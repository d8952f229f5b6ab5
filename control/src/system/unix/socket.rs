//! The daemon's Unix socket: its folder, its lock, its mode.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixListener;
pub(crate) use std::os::unix::net::UnixStream as Stream;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::api::SocketError;

/// A socket that belongs to this daemon alone. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Bound {
    listener: UnixListener,
    path: PathBuf,
    /// Held as long as the socket: its lock is what keeps a second daemon away, since a socket file can be stale.
    _lock: File,
}

impl Bound {
    /// Makes the socket at `path`, with mode 0600, and its folder, with mode 0700, if that does not exist. Replaces what a dead
    /// daemon left.
    pub(crate) fn new(path: &Path) -> Result<Self, SocketError> {
        own_folder(path)?;
        let lock = lock_beside(path)?;
        remove_stale(path)?;
        let listener = bind_private(path).map_err(|source| SocketError::Io {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Waits for the next connection.
    pub(crate) fn accept(&self) -> io::Result<Stream> {
        Ok(self.listener.accept()?.0)
    }

    /// Ends every [`Bound::accept`], with an error.
    pub(crate) fn close(&self) {
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!("{} cannot be removed: {error}", self.path.display());
        }
    }
}

/// Whether the peer has closed its connection altogether; one that only sends no more still follows.
pub(crate) fn has_gone(stream: &Stream) -> bool {
    let mut fds = [PollFd::new(stream, PollFlags::empty())];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
        && fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
}

/// Makes the folder of a socket, with mode 0700, if it does not exist; refuses one that others could reach into.
pub(crate) fn own_folder(path: &Path) -> Result<(), SocketError> {
    let folder = path.parent();
    let Some(folder) = folder.filter(|folder| !folder.as_os_str().is_empty()) else {
        return Ok(());
    };
    make_folder(folder).map_err(|source| SocketError::Io {
        path: path.to_owned(),
        source,
    })?;
    check_folder(folder, path)
}

fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(folder)
}

/// Nobody else may put another socket in place of ours: the folder is ours alone, or (with --socket) sticky like /tmp.
fn check_folder(folder: &Path, path: &Path) -> Result<(), SocketError> {
    let metadata = std::fs::metadata(folder).map_err(|source| SocketError::Io {
        path: path.to_owned(),
        source,
    })?;
    let ours = metadata.uid() == rustix::process::geteuid().as_raw();
    let open = metadata.mode() & 0o022 != 0;
    let sticky = metadata.mode() & 0o1000 != 0;
    let root = metadata.uid() == 0;
    if (ours && !open) || (sticky && (ours || root)) {
        Ok(())
    } else {
        Err(SocketError::Untrusted(folder.to_owned()))
    }
}

fn lock_beside(path: &Path) -> Result<File, SocketError> {
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let io_error = |source| SocketError::Io {
        path: PathBuf::from(&lock_path),
        source,
    };
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(&lock_path)
        .map_err(io_error)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(SocketError::Taken(path.to_owned())),
        Err(TryLockError::Error(source)) => Err(io_error(source)),
    }
}

/// With the lock held, a socket file at our path belongs to nobody alive.
fn remove_stale(path: &Path) -> Result<(), SocketError> {
    use std::os::unix::fs::FileTypeExt as _;
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {
            std::fs::remove_file(path).map_err(|source| SocketError::Io {
                path: path.to_owned(),
                source,
            })
        }
        Ok(_) => Err(SocketError::InTheWay(path.to_owned())),
        Err(_) => Ok(()),
    }
}

/// Binds under a name of our own, sets the mode, then renames: at `path` the socket never has a wider mode than 0600.
/// (Whoever finds the other name in between is refused for its uid.)
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut private = path.as_os_str().to_owned();
    private.push(format!(".{}", std::process::id()));
    let private = PathBuf::from(private);
    let _ = std::fs::remove_file(&private);
    let listener = UnixListener::bind(&private)?;
    std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&private, path)?;
    Ok(listener)
}
