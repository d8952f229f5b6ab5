//! A socket that the plug-in listens at: had at the first path that can be had and at which no other plug-in answers, and
//! again if somebody removes it. In a folder of its own, or by the names that everybody knows.

use crate::client::connect_to;
use crate::place::{OWN, own_folder, own_socket, paths};
use rustix::fs::{FileType, Mode, RawMode, chmod, lstat, mkdir, unlink};
use rustix::io::Errno;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often it is looked at whether the socket is still there.
const LOOK: Duration = Duration::from_secs(5);

pub(crate) struct Listener {
    places: Vec<PathBuf>,
    // Before the folder, which only goes when it is empty.
    listening: Option<Listening>,
    /// A folder that it makes, and removes.
    own: Option<Own>,
    failed: Vec<(PathBuf, i32)>,
    looked: Option<Instant>,
}

struct Own {
    folder: PathBuf,
    /// It was not there before: nobody else has a hand in it.
    made: bool,
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

/// Whether it is a folder, not a link to one, and this user's. In a folder with the sticky bit nobody else can put something in the
/// place of one that is.
#[allow(
    clippy::unnecessary_cast,
    reason = "the types of these fields differ between the systems"
)]
fn is_own_folder(path: &Path) -> Result<bool, Errno> {
    let stat = lstat(path)?;
    let is_folder = FileType::from_raw_mode(stat.st_mode as RawMode) == FileType::Directory;
    Ok(is_folder && stat.st_uid == rustix::process::geteuid().as_raw())
}

impl Own {
    /// Everybody may look up a name in it, and only this user may make or remove one.
    fn make(&mut self) -> Result<(), Errno> {
        match mkdir(&self.folder, Mode::RWXU) {
            Ok(()) => self.made = true,
            // The name is known by now: once it was removed, anybody may have put something in its place, say a link to a folder
            // that only this user can change.
            Err(Errno::EXIST) if self.made && is_own_folder(&self.folder)? => {}
            Err(error) => return Err(error),
        }
        chmod(&self.folder, Mode::from_raw_mode(0o711))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if self.made {
            let _ = rmdir(&self.folder);
        }
    }
}

/// Removes the own folders that plug-ins of this user left which were killed. What somebody answers in, or what is not ours, stays.
fn sweep(folder: &Path) {
    let own = rustix::process::geteuid().as_raw();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let named = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(OWN));
        let ours = || lstat(&path).is_ok_and(|stat| stat.st_uid == own);
        let socket = own_socket(&path);
        let left = || matches!(connect_to(&socket), Err(Errno::CONNREFUSED | Errno::NOENT));
        if named && ours() && left() {
            let _ = unlink(&socket);
            let _ = rmdir(&path);
        }
    }
}

/// Only an empty folder goes.
fn rmdir(folder: &Path) -> std::io::Result<()> {
    std::fs::remove_dir(folder)
}

impl Listener {
    /// At the first of the names in `folder` that everybody knows.
    pub(crate) fn by_rule(folder: &Path) -> Self {
        Self::at(paths(folder).collect(), None)
    }

    /// In a folder of its own, which is made in `folder` under a name with this number: nobody may have been able to guess it.
    pub(crate) fn in_own_folder(folder: &Path, number: u64) -> Self {
        sweep(folder);
        let own = own_folder(folder, number);
        let made = false;
        Self::at(vec![own_socket(&own)], Some(Own { folder: own, made }))
    }

    fn at(places: Vec<PathBuf>, own: Option<Own>) -> Self {
        Self {
            listening: None,
            places,
            own,
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
        if let Some(own) = &mut self.own
            && let Err(error) = own.make()
        {
            self.failed.push((own.folder.clone(), error.raw_os_error()));
            return true;
        }
        for path in &self.places {
            match bind(path) {
                Ok(listening) => {
                    self.listening = Some(listening);
                    break;
                }
                Err(error) => self.failed.push((path.clone(), error.raw_os_error())),
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
        let listener = || Listener::by_rule(folder.path());
        let (mut first, mut second) = (listener(), listener());
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

    #[test]
    fn a_folder_of_its_own_is_made_and_removed_and_never_shared() {
        let folder = tempfile::tempdir().unwrap();
        let mut listener = Listener::in_own_folder(folder.path(), 7);
        assert!(listener.listen());
        let own = own_folder(folder.path(), 7);
        assert_eq!(listener.path(), Some(&*own_socket(&own)));
        assert_eq!(lstat(&own).unwrap().st_mode & 0o7777, 0o711);
        // Somebody cleans up: it comes again, in the same place.
        std::fs::remove_dir_all(&own).unwrap();
        listener.looked = None;
        assert!(listener.listen());
        assert!(listener.path().is_some() && connect_to(&own_socket(&own)).is_ok());
        // Another one does not take over what is there.
        let mut other = Listener::in_own_folder(folder.path(), 7);
        assert!(other.listen());
        let exists = Errno::EXIST.raw_os_error();
        assert_eq!(
            (other.path(), other.failed()),
            (None, &[(own.clone(), exists)][..])
        );
        drop(other);
        assert!(connect_to(&own_socket(&own)).is_ok());
        drop(listener);
        assert!(!own.exists());
    }

    #[test]
    fn what_somebody_put_in_the_place_of_its_folder_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let mut listener = Listener::in_own_folder(folder.path(), 7);
        assert!(listener.listen());
        let own = own_folder(folder.path(), 7);
        let precious = folder.path().join("precious");
        mkdir(&precious, Mode::RWXU).unwrap();
        let rights = || lstat(&precious).unwrap().st_mode & 0o7777;
        let exists = (own.clone(), Errno::EXIST.raw_os_error());
        std::fs::remove_dir_all(&own).unwrap();
        std::os::unix::fs::symlink(&precious, &own).unwrap();
        listener.looked = None;
        assert!(listener.listen());
        assert_eq!((listener.path(), rights()), (None, 0o700));
        assert_eq!(listener.failed(), std::slice::from_ref(&exists));
        assert!(!own_socket(&precious).exists());
        unlink(&own).unwrap();
        std::fs::write(&own, "").unwrap();
        listener.looked = None;
        assert!(listener.listen());
        assert_eq!((listener.path(), listener.failed()), (None, &[exists][..]));
        // Only root can make a folder another user's.
        if rustix::process::geteuid().is_root() {
            unlink(&own).unwrap();
            mkdir(&own, Mode::RWXU).unwrap();
            std::os::unix::fs::chown(&own, Some(65534), None).unwrap();
            listener.looked = None;
            assert!(listener.listen());
            assert_eq!(listener.path(), None);
            assert_eq!(lstat(&own).unwrap().st_mode & 0o7777, 0o700);
            std::fs::remove_dir(&own).unwrap();
        } else {
            unlink(&own).unwrap();
        }
        // Gone again: its own comes back.
        listener.looked = None;
        assert!(listener.listen());
        assert_eq!(listener.path(), Some(&*own_socket(&own)));
    }

    #[test]
    fn what_killed_ones_left_is_removed_and_what_others_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let make = |number| {
            let own = own_folder(folder.path(), number);
            std::fs::create_dir(&own).unwrap();
            own
        };
        let (dead, alive, empty, full) = (make(1), make(2), make(3), make(4));
        drop(UnixListener::bind(own_socket(&dead)).unwrap());
        let _socket = UnixListener::bind(own_socket(&alive)).unwrap();
        std::fs::write(full.join("other"), "").unwrap();
        sweep(folder.path());
        let there = [dead, alive, empty, full].map(|own| own.exists());
        assert_eq!(there, [false, true, false, true]);
    }
}
