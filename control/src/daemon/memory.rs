//! The file in which the daemon remembers its gate, `gate.json` beside the history: read once at the start, written anew at
//! each change by a thread of its own, for a disk can take seconds. Always whole: the former content or the next.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use truemute_core::observed::MutedApp;

use super::lock_file::{LOCK_FILE, LockFile};
use super::remembered::{Forgotten, Remembered};
use crate::own_file;
use crate::protocol::GateState;
use crate::system;

/// Pause before a write that failed is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// Where the daemon remembers its gate.
#[derive(Clone, Debug)]
pub struct Memory {
    path: PathBuf,
    boot: String,
}

impl Memory {
    /// Remembers in the file `path`, which need not exist.
    pub fn at(path: PathBuf) -> Memory {
        Memory {
            path,
            boot: system::boot(),
        }
    }

    /// The machine's present boot.
    pub(super) fn boot(&self) -> &str {
        &self.boot
    }

    /// The lock's own file, beside this one.
    pub(super) fn lock(&self) -> LockFile {
        LockFile::at(self.path.with_file_name(LOCK_FILE))
    }

    /// What was remembered.
    pub(super) fn recall(&self) -> Result<Remembered, Forgotten> {
        let unusable = |why: &str| Forgotten::Unusable(format!("{}: {why}", self.path.display()));
        let bytes = own_file::read(&self.path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Forgotten::Missing,
            _ if system::is_link(&error) => unusable("it is a symbolic link"),
            _ => unusable(&error.to_string()),
        })?;
        Remembered::parse(&bytes).map_err(|why| unusable(&why))
    }

    /// Starts the thread that writes. `told` is called from it, with a sentence when writing fails, with none when it works
    /// again.
    pub(super) fn keep(self, told: impl Fn(Option<String>) + Send + 'static) -> io::Result<Keeper> {
        let (states, received) = channel();
        let thread = std::thread::Builder::new().name("memory".into()).spawn({
            let path = self.path;
            move || write_each(&path, &received, told)
        })?;
        Ok(Keeper {
            boot: self.boot,
            states: Some(states),
            thread: Some(thread),
        })
    }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    make_directory(path)?;
    own_file::replace(path, bytes, 0o600)
}

/// Makes the directory of the file `path`, for its user alone.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    system::make_directory(path.parent().unwrap_or(Path::new("/")))
}

/// The actor's end of the writing thread. Dropping it waits until the last state is written, or could not be.
pub(super) struct Keeper {
    boot: String,
    states: Option<Sender<Remembered>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Remembers this from now on. Does not wait.
    pub(super) fn remember(&self, gate: GateState, ended: bool, muted_apps: &[MutedApp]) {
        if let Some(states) = &self.states {
            let (boot, apps) = (self.boot.clone(), muted_apps.to_vec());
            let _ = states.send(Remembered::new(gate, ended, boot, apps));
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.states = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write_each(path: &Path, states: &Receiver<Remembered>, told: impl Fn(Option<String>)) {
    let mut failed: Option<Remembered> = None;
    loop {
        let next = match &failed {
            None => states.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(_) => states.recv_timeout(AGAIN),
        };
        let state = match (next, &failed) {
            // Only the newest counts.
            (Ok(state), _) => states.try_iter().last().unwrap_or(state),
            (Err(RecvTimeoutError::Timeout), Some(state)) => state.clone(),
            (Err(_), _) => return,
        };
        match replace(path, &state.to_bytes()) {
            Ok(()) if failed.take().is_some() => told(None),
            Ok(()) => {}
            Err(error) => {
                // What stands there is out of date, and can say "live". A full disk does not hinder this.
                let _ = fs::remove_file(path);
                if failed.replace(state).is_none() {
                    told(Some(format!(
                        "{} cannot be written ({error}), so that TrueMute will start muted. Make space, or set the permissions right.",
                        path.display()
                    )));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    /// A directory, and a memory in a folder of it that is not there yet.
    fn memory() -> (tempfile::TempDir, Memory) {
        let dir = tempfile::tempdir().unwrap();
        let memory = Memory::at(dir.path().join("truemute/gate.json"));
        (dir, memory)
    }

    fn remember(memory: &Memory, gate: GateState, ended: bool) -> Vec<Option<String>> {
        let (told, said) = channel();
        let keeper = memory
            .clone()
            .keep(move |text| told.send(text).unwrap())
            .unwrap();
        keeper.remember(gate, ended, &[]);
        drop(keeper);
        said.iter().collect()
    }

    #[test]
    fn the_last_of_many_is_remembered_and_nothing_else_is_left() {
        let (_dir, memory) = memory();
        assert_eq!(memory.recall(), Err(Forgotten::Missing));
        let keeper = memory.clone().keep(|text| panic!("{text:?}")).unwrap();
        for round in 0..200 {
            let gate = [GateState::Live, GateState::Muted][round % 2];
            keeper.remember(gate, false, &[]);
        }
        keeper.remember(GateState::Live, true, &[]);
        drop(keeper);
        let wanted = Remembered::new(GateState::Live, true, memory.boot().to_owned(), Vec::new());
        assert_eq!(memory.recall(), Ok(wanted));
        assert_eq!(memory.boot().len(), 36, "{:?}", memory.boot());
        let folder = memory.path.parent().unwrap();
        let names: Vec<_> = fs::read_dir(folder).unwrap().flatten().collect();
        assert_eq!(names.len(), 1, "{names:?}");
        assert_eq!(names[0].metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(folder).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn what_cannot_be_believed_is_said() {
        let (dir, memory) = memory();
        let whole = Remembered::new(GateState::Live, true, String::new(), Vec::new()).to_bytes();
        let elsewhere = dir.path().join("elsewhere");
        fs::write(&elsewhere, &whole).unwrap();
        fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o600)).unwrap();
        fs::create_dir(dir.path().join("truemute")).unwrap();
        let path = &memory.path;
        let refused = |part: &str| match memory.recall() {
            Err(Forgotten::Unusable(why)) => assert!(why.contains(part), "{why} lacks {part}"),
            other => panic!("{part}: {other:?}"),
        };
        symlink(&elsewhere, path).unwrap();
        refused("symbolic link");
        // Written, it is a file of its own, and what it led to is as it was.
        assert_eq!(remember(&memory, GateState::Muted, false), []);
        assert!(memory.recall().is_ok());
        assert_eq!(fs::read(&elsewhere).unwrap(), whole);

        fs::set_permissions(path, fs::Permissions::from_mode(0o620)).unwrap();
        refused("others");
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
        refused("no file");
        fs::remove_dir(path).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).unwrap();
        refused("no file");
        fs::remove_file(path).unwrap();
        fs::write(path, vec![b' '; own_file::MAX_BYTES as usize + 1]).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        refused("too long");
        fs::write(path, "{}").unwrap();
        refused("damaged");
    }

    #[test]
    fn what_cannot_be_written_is_said_once_and_the_old_state_is_gone() {
        let (_dir, memory) = memory();
        assert_eq!(remember(&memory, GateState::Live, true), []);
        // Nothing can be made where the next content would be written.
        fs::create_dir(own_file::next(&memory.path)).unwrap();
        let (told, said) = channel();
        let keeper = memory
            .clone()
            .keep(move |text| told.send(text).unwrap())
            .unwrap();
        keeper.remember(GateState::Muted, false, &[]);
        let text = said.recv().unwrap().unwrap();
        assert!(text.contains("gate.json cannot be written"), "{text}");
        assert_eq!(memory.recall(), Err(Forgotten::Missing));
        keeper.remember(GateState::Muted, false, &[]);
        assert!(said.recv_timeout(Duration::from_millis(50)).is_err());
        fs::remove_dir(own_file::next(&memory.path)).unwrap();
        keeper.remember(GateState::Muted, true, &[]);
        assert_eq!(said.recv().unwrap(), None);
        drop(keeper);
        assert!(memory.recall().unwrap().ended);
    }
}
