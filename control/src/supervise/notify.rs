//! The socket on which the daemon tells its supervisor that it is ready, lives and ends: datagrams of lines `NAME=VALUE`
//! (sd_notify(3)). It lies in a folder that nobody else can write to, so that whoever speaks on it is of our own user.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::api::SocketError;
use crate::system::own_folder;

/// Longer messages than this are not ours.
const MAX_BYTES: usize = 4096;

/// What the daemon told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It serves.
    Ready,
    /// It lives.
    Watchdog,
    /// It ends.
    Stopping,
    /// It may be silent for this long from now on.
    Patience(Duration),
}

/// The supervisor's end. Dropping it removes the socket.
pub(super) struct NotifySocket {
    socket: UnixDatagram,
    path: PathBuf,
}

impl NotifySocket {
    /// Makes it beside the API's socket.
    pub(super) fn bind(api: &Path) -> Result<Self, SocketError> {
        let path = api.with_file_name(format!("supervise-{}.sock", std::process::id()));
        own_folder(&path)?;
        let bind = || {
            // Left by a killed supervisor that had our number.
            let _ = std::fs::remove_file(&path);
            UnixDatagram::bind(&path)
        };
        let socket = bind().map_err(|source| SocketError::Io {
            path: path.clone(),
            source,
        })?;
        Ok(Self { socket, path })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What reads from it, for another thread.
    pub(super) fn reader(&self) -> io::Result<Reader> {
        self.socket.try_clone().map(Reader)
    }
}

/// Reads what the daemon sends.
pub(super) struct Reader(UnixDatagram);

impl Reader {
    /// Waits for the next message.
    pub(super) fn next(&self) -> io::Result<Vec<Told>> {
        let mut bytes = [0; MAX_BYTES];
        loop {
            match self.0.recv(&mut bytes) {
                Ok(count) => return Ok(parse(&bytes[..count])),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// What of a message concerns us.
pub(super) fn parse(message: &[u8]) -> Vec<Told> {
    let lines = message.split(|byte| *byte == b'\n');
    lines
        .filter_map(|line| match line {
            b"READY=1" => Some(Told::Ready),
            b"WATCHDOG=1" => Some(Told::Watchdog),
            b"STOPPING=1" => Some(Told::Stopping),
            _ => patience(line),
        })
        .collect()
}

fn patience(line: &[u8]) -> Option<Told> {
    let microseconds = line.strip_prefix(b"WATCHDOG_USEC=")?;
    let microseconds: u32 = str::from_utf8(microseconds).ok()?.parse().ok()?;
    let patience = Duration::from_micros(microseconds.into());
    Some(Told::Patience(patience))
}

/// For fuzzing: a message on the supervisor's socket, to which every process of the user can write.
#[cfg(fuzzing)]
pub fn fuzz(message: &[u8]) {
    let lines = message.split(|byte| *byte == b'\n').count();
    assert!(parse(message).len() <= lines);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_told_apart() {
        let message = b"STATUS=x\nREADY=1\nWATCHDOG=1\nREADY=0\n WATCHDOG=1\nSTOPPING=1\nWATCHDOG_USEC=1500\nWATCHDOG_USEC=-1";
        let patience = Told::Patience(Duration::from_micros(1500));
        let told = [Told::Ready, Told::Watchdog, Told::Stopping, patience];
        assert_eq!(parse(message), told);
        assert_eq!(parse(b""), []);
    }

    proptest! {
        #[test]
        fn garbage_is_left_out(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(parse(&bytes).is_empty());
        }
    }

    #[test]
    fn what_the_daemon_sends_arrives_and_nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let socket = NotifySocket::bind(&dir.path().join("truemute/api.sock")).unwrap();
        let path = socket.path().to_owned();
        let daemon = UnixDatagram::unbound().unwrap();
        daemon.send_to(b"WATCHDOG=1\n", &path).unwrap();
        assert_eq!(socket.reader().unwrap().next().unwrap(), [Told::Watchdog]);
        drop(socket);
        assert!(!path.exists());
    }
}
