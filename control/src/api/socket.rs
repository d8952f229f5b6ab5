//! Where the socket is, who may own it, and who may speak on it.

use std::io;
use std::path::{Path, PathBuf};

use crate::system::{self, Bound, PeerProcess, Stream};

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

/// Where the socket is by default: `$XDG_RUNTIME_DIR/truemute/api.sock` on Linux, `~/.local/state/truemute/api.sock` on
/// macOS, a named pipe with the user's name in it on Windows.
pub fn default_path() -> Result<PathBuf, SocketError> {
    system::socket_path().ok_or(SocketError::NoRuntimeDir)
}

/// A socket that belongs to this daemon alone. Dropping it removes it.
#[derive(Debug)]
pub struct OwnSocket {
    bound: Bound,
    path: PathBuf,
}

impl OwnSocket {
    /// Makes the socket at `path`, for this user alone (on Windows a named pipe, for administrators too). Replaces what a dead
    /// daemon left.
    pub fn bind(path: &Path) -> Result<OwnSocket, SocketError> {
        Ok(OwnSocket {
            bound: Bound::new(path)?,
            path: path.to_owned(),
        })
    }

    /// Waits for the next connection.
    pub(super) fn accept(&self) -> io::Result<Stream> {
        self.bound.accept()
    }

    /// Ends every [`OwnSocket::accept`], with an error.
    pub(super) fn close(&self) {
        self.bound.close();
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The process at the other end of a connection, as the kernel vouches for it.
pub(super) struct Peer(PeerProcess);

impl Peer {
    pub(super) fn of(stream: &Stream) -> io::Result<Peer> {
        system::peer(stream).map(Peer)
    }

    /// Its number; 0 if it is not visible from here.
    pub(super) fn process(&self) -> u32 {
        self.0.process
    }

    /// Whether it is of our own user.
    pub(super) fn is_same_user(&self) -> bool {
        self.0.is_same_user
    }
}
