//! The service that listens to Windows' events: where its program lies, and what is done in which order to install and remove it, over
//! [`ServiceManager`]. It runs a copy of the program in a folder that only administrators can write to; of a user's folder anybody who
//! is that user could have it run something else with the rights of a service.

use std::fs;
use std::path::{Path, PathBuf};

use super::InstallError;

/// What Windows calls the service.
pub const NAME: &str = "TrueMuteEvents";

/// What people see.
pub const DISPLAY_NAME: &str = "TrueMute events";

/// What it is for, to people.
pub const DESCRIPTION: &str = "Passes Windows' own events about audio on to TrueMute, which shows from them how often apps are offered sound. Without it these figures are missing, and nothing else.";

/// The arguments with which it starts its program.
pub const ARGUMENTS: [&str; 2] = ["driver", "service"];

/// Its user: one that may listen to events, and little else.
pub const ACCOUNT: &str = r"NT AUTHORITY\LocalService";

/// What of the service is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Absent,
    /// It is installed.
    Stopped,
    /// It runs.
    Running,
}

/// What Windows can do with our service. Its errors are those of winerror.h.
pub trait ServiceManager {
    /// Whether it is there, and runs.
    ///
    /// # Errors
    /// The system refuses it.
    fn state(&self) -> Result<State, u32>;

    /// Makes it, or changes it, so that it starts this program with the machine.
    ///
    /// # Errors
    /// The system refuses it.
    fn set(&self, program: &Path) -> Result<(), u32>;

    /// Starts it, and waits until it runs.
    ///
    /// # Errors
    /// The system refuses it, or it ends at once.
    fn start(&self) -> Result<(), u32>;

    /// Stops it, and waits until it has ended.
    ///
    /// # Errors
    /// The system refuses it, or it does not end.
    fn stop(&self) -> Result<(), u32>;

    /// Removes it.
    ///
    /// # Errors
    /// The system refuses it.
    fn delete(&self) -> Result<(), u32>;

    /// The folder for its program, which only administrators can write to. It may not be there yet.
    ///
    /// # Errors
    /// The system refuses it.
    fn folder(&self) -> Result<PathBuf, u32>;
}

/// Installs the service with a copy of `program`, or brings it up to date, and starts it.
///
/// # Errors
/// [`InstallError::Service`], or no administrator.
pub fn install(manager: &impl ServiceManager, program: &Path) -> Result<(), InstallError> {
    let folder = manager.folder().map_err(failed)?;
    let copy = folder.join("truemute.exe");
    let state = manager.state().map_err(failed)?;
    let mut running = state == State::Running;
    if !same(program, &copy) {
        if running {
            // Windows lets nobody write to a program that runs.
            manager.stop().map_err(failed)?;
            running = false;
        }
        fs::create_dir_all(&folder).map_err(failed_file)?;
        fs::copy(program, &copy).map_err(failed_file)?;
    }
    manager.set(&copy).map_err(failed)?;
    match running {
        true => Ok(()),
        false => manager.start().map_err(failed),
    }
}

/// Removes the service and its program. Whether there was one.
///
/// # Errors
/// [`InstallError::Service`], or no administrator.
pub fn remove(manager: &impl ServiceManager) -> Result<bool, InstallError> {
    let state = manager.state().map_err(failed)?;
    if state == State::Running {
        manager.stop().map_err(failed)?;
    }
    if state != State::Absent {
        manager.delete().map_err(failed)?;
    }
    let folder = manager.folder().map_err(failed)?;
    let copy = folder.join("truemute.exe");
    if copy.exists() {
        fs::remove_file(&copy).map_err(failed_file)?;
        // Others may have put something there.
        let _ = fs::remove_dir(&folder);
    }
    Ok(state != State::Absent)
}

/// Whether both are there and have the same bytes.
fn same(one: &Path, other: &Path) -> bool {
    let read = |path| fs::read(path).ok();
    let same_file =
        fs::canonicalize(one).is_ok_and(|one| fs::canonicalize(other).ok() == Some(one));
    same_file || read(other).is_some_and(|bytes| read(one) == Some(bytes))
}

fn failed(code: u32) -> InstallError {
    match code.into() {
        InstallError::NoAdministrator => InstallError::NoAdministrator,
        _ => InstallError::Service(code),
    }
}

fn failed_file(error: std::io::Error) -> InstallError {
    failed(error.raw_os_error().unwrap_or(0).cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};

    struct Fake {
        folder: tempfile::TempDir,
        state: Cell<State>,
        set: RefCell<Option<PathBuf>>,
        done: RefCell<Vec<&'static str>>,
        fails: Cell<Option<(&'static str, u32)>>,
    }

    impl Fake {
        fn new() -> Self {
            Self {
                folder: tempfile::tempdir().unwrap(),
                state: Cell::new(State::Absent),
                set: RefCell::default(),
                done: RefCell::default(),
                fails: Cell::default(),
            }
        }

        fn did(&self, what: &'static str) -> Result<(), u32> {
            match self.fails.get() {
                Some((this, code)) if this == what => Err(code),
                _ => {
                    self.done.borrow_mut().push(what);
                    Ok(())
                }
            }
        }

        fn copy(&self) -> PathBuf {
            self.folder().unwrap().join("truemute.exe")
        }

        fn taken(&self) -> Vec<&'static str> {
            self.done.take()
        }
    }

    impl ServiceManager for Fake {
        fn state(&self) -> Result<State, u32> {
            Ok(self.state.get())
        }

        fn set(&self, program: &Path) -> Result<(), u32> {
            self.did("set")?;
            assert!(program.is_file(), "it is there before it is started");
            *self.set.borrow_mut() = Some(program.to_owned());
            if self.state.get() == State::Absent {
                self.state.set(State::Stopped);
            }
            Ok(())
        }

        fn start(&self) -> Result<(), u32> {
            self.did("start")?;
            self.state.set(State::Running);
            Ok(())
        }

        fn stop(&self) -> Result<(), u32> {
            self.did("stop")?;
            self.state.set(State::Stopped);
            Ok(())
        }

        fn delete(&self) -> Result<(), u32> {
            self.did("delete")?;
            self.state.set(State::Absent);
            Ok(())
        }

        fn folder(&self) -> Result<PathBuf, u32> {
            Ok(self.folder.path().join("TrueMute"))
        }
    }

    #[test]
    fn it_runs_a_copy_is_left_alone_where_nothing_changed_and_goes_without_a_rest() {
        let manager = Fake::new();
        let program = manager.folder.path().join("download.exe");
        fs::write(&program, "one").unwrap();
        install(&manager, &program).unwrap();
        assert_eq!(manager.taken(), ["set", "start"]);
        assert_eq!(*manager.set.borrow(), Some(manager.copy()));
        assert_eq!(fs::read(manager.copy()).unwrap(), b"one");
        install(&manager, &program).unwrap();
        assert_eq!(manager.taken(), ["set"], "it runs on");
        fs::write(&program, "two").unwrap();
        install(&manager, &program).unwrap();
        assert_eq!(manager.taken(), ["stop", "set", "start"]);
        assert_eq!(fs::read(manager.copy()).unwrap(), b"two");
        // From its own copy: nothing to copy, and nothing to lose.
        install(&manager, &manager.copy()).unwrap();
        assert_eq!(manager.taken(), ["set"]);
        assert_eq!(fs::read(manager.copy()).unwrap(), b"two");
        assert_eq!(remove(&manager), Ok(true));
        assert_eq!(manager.taken(), ["stop", "delete"]);
        assert!(!manager.folder().unwrap().exists());
        assert_eq!(remove(&manager), Ok(false));
        assert!(manager.taken().is_empty());
    }

    #[test]
    fn what_fails_is_said_as_a_failure_of_the_service() {
        let manager = Fake::new();
        let program = manager.folder.path().join("download.exe");
        fs::write(&program, "one").unwrap();
        // ERROR_SERVICE_DISABLED.
        manager.fails.set(Some(("start", 1058)));
        let error = install(&manager, &program).unwrap_err();
        assert_eq!(error, InstallError::Service(1058));
        assert!(error.to_string().contains("1058"), "{error}");
        manager.fails.set(Some(("set", 5)));
        assert_eq!(
            install(&manager, &program),
            Err(InstallError::NoAdministrator)
        );
        manager.fails.set(None);
        assert!(install(&manager, &manager.folder.path().join("absent")).is_err());
    }
}
