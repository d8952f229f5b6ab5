//! Tells when PipeWire's socket appears: a server that comes back is found at once, and while there is none nothing has to
//! look for it.

use std::ffi::OsString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};

/// Calls `came` each time a socket is made where a client would look for `remote` (`None`: for the session's own server), from
/// a thread of its own that lasts as long as the process. Nobody may listen on the socket yet, for some microseconds.
///
/// # Errors
/// There is no runtime directory, or it cannot be watched: then look again from time to time.
pub fn on_arrival(remote: Option<&str>, came: impl Fn() + Send + 'static) -> io::Result<()> {
    let socket = socket(remote, std::env::var_os)
        .ok_or_else(|| io::Error::other("XDG_RUNTIME_DIR is not set"))?;
    watch(&socket, came)
}

fn watch(socket: &Path, came: impl Fn() + Send + 'static) -> io::Result<()> {
    let (Some(folder), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Err(io::Error::other("the server's socket has no name"));
    };
    let inotify = init(CreateFlags::CLOEXEC)?;
    add_watch(&inotify, folder, WatchFlags::CREATE | WatchFlags::MOVED_TO)?;
    let name = name.to_owned();
    let thread = std::thread::Builder::new().name("server-watch".into());
    thread.spawn(move || report(inotify, name, came))?;
    Ok(())
}

fn report(inotify: OwnedFd, name: OsString, came: impl Fn()) {
    let mut space = [MaybeUninit::uninit(); 4096];
    let mut events = Reader::new(inotify, &mut space);
    loop {
        match events.next() {
            Ok(event) => {
                let made = event.file_name();
                if made.is_some_and(|made| made.to_bytes() == name.as_encoded_bytes()) {
                    came();
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            // The folder is gone: no server can come there.
            Err(_) => return,
        }
    }
}

/// Where libpipewire looks for the socket (`get_remote` and `get_runtime_dir` in module-protocol-native/local-socket.c, 0.3.65 and
/// 1.4.2).
fn socket(
    remote: Option<&str>,
    variable: impl Fn(&'static str) -> Option<OsString>,
) -> Option<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    let name = remote
        .map(OsString::from)
        .or_else(|| set("PIPEWIRE_REMOTE"))
        .unwrap_or_else(|| "pipewire-0".into());
    let name = PathBuf::from(name);
    if name.is_absolute() {
        return Some(name);
    }
    let folder = set("PIPEWIRE_RUNTIME_DIR").or_else(|| set("XDG_RUNTIME_DIR"))?;
    Some(PathBuf::from(folder).join(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::net::UnixListener;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    #[test]
    fn a_socket_that_comes_is_told_and_others_are_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pipewire-0");
        let (tell, told) = channel();
        watch(&path, move || tell.send(()).expect("the test listens")).expect("inotify");
        fs::write(folder.path().join("pipewire-0.lock"), "").expect("a file");
        let other = UnixListener::bind(folder.path().join("pulse"));
        assert!(told.recv_timeout(Duration::from_millis(100)).is_err());
        for _ in 0..2 {
            let socket = UnixListener::bind(&path).expect("a socket");
            assert_eq!(told.recv_timeout(Duration::from_secs(20)), Ok(()));
            drop(socket);
            fs::remove_file(&path).expect("it is there");
        }
        drop(other);
    }

    #[test]
    fn the_socket_is_where_libpipewire_looks() {
        let with = |set: &'static [(&str, &str)]| {
            move |name: &'static str| {
                let found = set.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| OsString::from(value))
            }
        };
        let run = with(&[("XDG_RUNTIME_DIR", "/run/user/1"), ("PIPEWIRE_REMOTE", "")]);
        assert_eq!(socket(None, run), Some("/run/user/1/pipewire-0".into()));
        assert_eq!(socket(Some("x"), run), Some("/run/user/1/x".into()));
        assert_eq!(socket(Some("/a/b"), run), Some("/a/b".into()));
        let other = with(&[
            ("XDG_RUNTIME_DIR", "/run/user/1"),
            ("PIPEWIRE_RUNTIME_DIR", "/p"),
            ("PIPEWIRE_REMOTE", "y"),
        ]);
        assert_eq!(socket(None, other), Some("/p/y".into()));
        assert_eq!(socket(None, with(&[])), None);
    }
}
