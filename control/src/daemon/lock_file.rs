//! The lock's own file, `locked` beside the gate's: while it is there, the daemon starts locked. So nothing that goes wrong
//! with a write can end a lock, and whatever else lies there counts as one. Who may lock and unlock is [`crate::lock`]'s matter.

use std::io;
#[cfg(target_os = "linux")]
use std::path::Path;
use std::path::PathBuf;

use super::memory::make_directory;
use crate::lock::{Verdict, verdict};
use crate::own_file;
use crate::protocol::{ErrorCode, ErrorObject};
use crate::system;

/// Its name.
pub(crate) const LOCK_FILE: &str = "locked";

const CONTENT: &[u8] = b"locked\n";

/// Where the lock outlives the daemon.
#[derive(Clone, Debug)]
pub(crate) struct LockFile {
    path: PathBuf,
}

/// What is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing: not locked.
    Nothing,
    /// The lock.
    Lock,
    /// Something else, or it cannot be told; a sentence.
    Doubtful(String),
}

impl LockFile {
    /// The file `path`.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// What is there.
    pub(crate) fn look(&self) -> Found {
        let why = match own_file::read(&self.path) {
            Ok(bytes) if bytes == CONTENT => return Found::Lock,
            Ok(_) => "it is damaged".to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Found::Nothing,
            Err(error) => error.to_string(),
        };
        let path = self.path.display();
        Found::Doubtful(format!(
            "Whether TrueMute was locked cannot be read from {path} ({why})."
        ))
    }

    /// From now on each start is locked. Waits for the disk.
    pub(super) fn write(&self) -> Result<(), ErrorObject> {
        make_directory(&self.path)
            .and_then(|()| own_file::replace(&self.path, CONTENT, 0o600))
            .map_err(|error| {
                self.failed(
                    "Locked, but only until the daemon ends",
                    &error,
                    "lock again",
                )
            })
    }

    /// From now on no start is locked. Waits for the disk.
    pub(super) fn remove(&self) -> Result<(), ErrorObject> {
        own_file::remove(&self.path).map_err(|error| {
            self.failed(
                "Unlocked, but only until the daemon ends",
                &error,
                "run `truemute unlock` again",
            )
        })
    }

    fn failed(&self, what: &str, error: &io::Error, again: &str) -> ErrorObject {
        let path = self.path.display();
        ErrorObject {
            code: ErrorCode::Failed,
            message: format!("{what}: {path} cannot be written or removed ({error})."),
            remedy: format!("Make space, or set the permissions right, and {again}."),
        }
    }
}

/// Whether there is a file at `path`, or it cannot be told.
#[cfg(target_os = "linux")]
pub(crate) fn may_hold(path: &Path) -> bool {
    LockFile::at(path.to_owned()).look() != Found::Nothing
}

/// Whether what was `found` locks, and what has to be said about it. In doubt it locks, unless nobody could unlock then; that
/// is what `can_be_ended` tells.
pub(super) fn holds(found: &Found, can_be_ended: impl FnOnce() -> bool) -> (bool, Option<String>) {
    match found {
        Found::Nothing => (false, None),
        Found::Lock => (true, None),
        Found::Doubtful(why) => match can_be_ended() {
            true => (
                true,
                Some(format!("{why} So it is locked. Run `truemute unlock`.")),
            ),
            false => (
                false,
                Some(format!(
                    "{why} It is muted, and not locked, for without polkit nobody could unlock it. Remove that file."
                )),
            ),
        },
    }
}

/// Whether there is an authority that could let somebody unlock.
pub(super) fn can_be_ended() -> bool {
    let verdict = verdict(std::process::id(), system::own_user(), false);
    !matches!(verdict, Verdict::Nobody(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn only_where_nothing_lies_it_is_not_locked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("truemute/locked");
        let file = LockFile::at(path.clone());
        assert_eq!(file.look(), Found::Nothing);
        file.remove().unwrap();
        file.write().unwrap();
        file.write().unwrap();
        assert_eq!(file.look(), Found::Lock);
        let doubtful = || {
            let found = file.look();
            assert!(matches!(found, Found::Doubtful(_)), "{found:?}");
            found
        };
        fs::write(&path, "").unwrap();
        doubtful();
        file.remove().unwrap();
        assert_eq!(file.look(), Found::Nothing);
        std::os::unix::fs::symlink("nowhere", &path).unwrap();
        doubtful();
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let found = doubtful();
        let (locked, warning) = holds(&found, || true);
        assert!(locked && warning.unwrap().contains("truemute unlock"));
        let (locked, warning) = holds(&found, || false);
        assert!(!locked && warning.unwrap().contains("Remove that file"));
    }

    #[test]
    fn what_cannot_be_written_leaves_the_lock_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let file = LockFile::at(dir.path().join("locked"));
        file.write().unwrap();
        fs::create_dir(own_file::next(&file.path)).unwrap();
        let error = file.write().unwrap_err();
        assert!(error.message.contains("only until"), "{error:?}");
        assert_eq!(file.look(), Found::Lock);
    }
}
