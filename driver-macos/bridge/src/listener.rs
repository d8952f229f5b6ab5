//! The socket that the plug-in listens at: had at the first path that can be had and at which no other plug-in answers, and
//! again if somebody removes it.

use crate::client::connect_to;
use crate::place::paths;
use rustix::fs::{Mode, chmod, lstat, unlink};
use rustix::io::Errno;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often it is looked at whether the socket is still there.
const LOOK: Duration = Duration::from_secs(5);

pub(crate) struct Listener {
    folder: PathBuf,
    listening: Option<Listening>,
    failed: Vec<(PathBuf, i32)>,
    looked: Option<Instant>,
}

struct Listening {
    socket: UnixListener,
    path: PathBuf,
    /// Device and inode: another file may take the path.
    file: (u64, u64),
}

impl Listening {
    fn is_there(&self) -> bool {
        identity(&self.path) == Ok(self.file)
    }
}

/// Another server may have found that nobody answered, and taken the path for itself: then it is not ours to remove.
impl Drop for Listening {
    fn drop(&mut self) {
        if self.is_there() {
            let _ = unlink(&self.path);
        }
    }
}

// The types differ between the systems.
#[allow(
    clippy::unnecessary_cast,
    reason = "the types of these fields differ between the systems"
)]
fn identity(path: &Path) -> Result<(u64, u64), Errno> {
    let stat = lstat(path)?;
    Ok((stat.st_dev as u64, stat.st_ino as u64))
}

impl Listener {
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            listening: None,
            failed: Vec::new(),
            looked: None,
        }
    }

    pub(crate) fn socket(&self) -> Option<&UnixListener> {
        self.listening.as_ref().map(|it| &it.socket)
    }

    pub(crate) fn path(&self) -> Option<&Path> {
        self.listening.as_ref().map(|it| &*it.path)
    }

    pub(crate) fn failed(&self) -> &[(PathBuf, i32)] {
        &self.failed
    }

    /// Sees to it that it listens. Says whether anything was tried.
    pub(crate) fn listen(&mut self) -> bool {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return false;
        }
        self.looked = Some(Instant::now());
        if self.listening.as_ref().is_some_and(Listening::is_there) {
            return false;
        }
        self.listening = None;
        self.failed.clear();
        for path in paths(&self.folder) {
            match bind(&path) {
                Ok(listening) => {
                    self.listening = Some(listening);
                    break;
                }
                Err(error) => self.failed.push((path, error.raw_os_error())),
            }
        }
        true
    }

    pub(crate) fn accept(&self) -> Result<Option<UnixStream>, Errno> {
        let Some(listening) = &self.listening else {
            return Ok(None);
        };
        match listening.socket.accept() {
            Ok((socket, _)) => Ok(Some(socket)),
            Err(error) => match errno(&error) {
                Errno::AGAIN | Errno::INTR | Errno::CONNABORTED => Ok(None),
                errno => Err(errno),
            },
        }
    }
}

fn bind(path: &Path) -> Result<Listening, Errno> {
    // Another plug-in, say of a helper that is being replaced, would lose its agent. One that hangs does not accept: AGAIN.
    if matches!(connect_to(path), Ok(_) | Err(Errno::AGAIN)) {
        return Err(Errno::ADDRINUSE);
    }
    // What an earlier plug-in left. In a folder with the sticky bit nobody else's file can be removed.
    match unlink(path) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error),
    }
    let socket = UnixListener::bind(path).map_err(|error| errno(&error))?;
    let listening = Listening {
        socket,
        path: path.to_owned(),
        file: identity(path)?,
    };
    // Who may connect is decided by who connects, not by the file.
    chmod(path, Mode::from_raw_mode(0o666))?;
    listening
        .socket
        .set_nonblocking(true)
        .map_err(|error| errno(&error))?;
    Ok(listening)
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_where_another_one_answers_is_left_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let path: Vec<_> = paths(folder.path()).collect();
        // Left by one that was killed.
        drop(UnixListener::bind(&path[0]).unwrap());
        let (mut first, mut second) = (Listener::new(folder.path()), Listener::new(folder.path()));
        assert!(first.listen() && second.listen());
        assert_eq!(
            (first.path(), second.path()),
            (Some(&*path[0]), Some(&*path[1]))
        );
        let in_use = Errno::ADDRINUSE.raw_os_error();
        assert_eq!(second.failed(), [(path[0].clone(), in_use)]);
        // Somebody removes its socket.
        unlink(&path[1]).unwrap();
        second.looked = None;
        assert!(second.listen());
        assert_eq!(
            (first.path(), second.path()),
            (Some(&*path[0]), Some(&*path[1]))
        );
        assert!(first.listening.as_ref().is_some_and(Listening::is_there));
    }
}
