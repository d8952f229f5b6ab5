//! Where the socket is, who may own it, and who may speak on it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::process::RawPid;

use crate::system::{self, PeerProcess};

/// Why the daemon cannot have its socket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// There is no runtime directory to put it in.
    #[error("{} with --socket or TRUEMUTE_SOCKET.", system::NO_SOCKET_PLACE)]
    NoRuntimeDir,
    /// Another daemon has it.
    #[error("Another daemon already serves {}. Use that one, or end it first ({}).", .0.display(), system::STOP)]
    Taken(PathBuf),
    /// Others could reach into its folder.
    #[error("The folder {} belongs to somebody else or is open to others. Remove it, or name another socket with --socket.", .0.display())]
    Untrusted(PathBuf),
    /// Something else is where the socket should be.
    #[error("{} is no socket. Move it away, or name another socket with --socket.", .0.display())]
    InTheWay(PathBuf),
    /// The system said no.
    #[error("The socket {} cannot be made: {source}. Check the folder and its permissions.", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Where the socket is by default: `$XDG_RUNTIME_DIR/truemute/api.sock` on Linux, `~/.local/state/truemute/api.sock` on macOS.
pub fn default_path() -> Result<PathBuf, SocketError> {
    system::socket_path().ok_or(SocketError::NoRuntimeDir)
}

/// A socket that belongs to this daemon alone. Dropping it removes it.
#[derive(Debug)]
pub struct OwnSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Held as long as the socket: its lock is what keeps a second daemon away, since a socket file can be stale.
    _lock: File,
}

impl OwnSocket {
    /// Makes the socket at `path`, with mode 0600, and its folder, with mode 0700, if that does not exist. Replaces what a dead
    /// daemon left.
    pub fn bind(path: &Path) -> Result<OwnSocket, SocketError> {
        let io_error = |source| SocketError::Io {
            path: path.to_owned(),
            source,
        };
        own_folder(path)?;
        let lock = lock_beside(path)?;
        remove_stale(path)?;
        let listener = bind_private(path).map_err(io_error)?;
        Ok(OwnSocket {
            listener,
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// What to accept connections from.
    pub fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for OwnSocket {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!("{} cannot be removed: {error}", self.path.display());
        }
    }
}

/// The process at the other end of a connection, as the kernel vouches for it.
pub(super) struct Peer(PeerProcess);

impl Peer {
    pub(super) fn of(stream: &UnixStream) -> io::Result<Peer> {
        system::peer(stream).map(Peer)
    }

    /// Its number; 0 if it is not visible from here.
    pub(super) fn process(&self) -> RawPid {
        self.0.process
    }

    /// Whether it is of our own user. Root is no exception, on either side: one rule without exceptions, and root can become
    /// the user (`runuser -u USER truemute ...`).
    pub(super) fn is_same_user(&self) -> bool {
        self.0.user == rustix::process::geteuid()
    }
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
