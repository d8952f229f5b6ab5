//! `truemute driver install | remove`: the device node, and the driver for it. What is done in which order, and what its failures mean
//! to a person, is decided here, over [`DeviceManager`]; Windows' own is `SetupApi`.

pub mod service;
#[cfg(windows)]
mod service_control;
#[cfg(windows)]
mod setup_api;

use std::fmt;
use std::path::Path;

use windows_sys::Win32::Devices::DeviceAndDriverInstallation::CM_PROB_UNSIGNED_DRIVER;
use windows_sys::Win32::Foundation::{
    CERT_E_CHAINING, CERT_E_EXPIRED, CERT_E_UNTRUSTEDROOT, ERROR_ACCESS_DENIED,
    ERROR_AUTHENTICODE_DISALLOWED, ERROR_AUTHENTICODE_PUBLISHER_NOT_TRUSTED,
    ERROR_AUTHENTICODE_TRUST_NOT_ESTABLISHED, ERROR_DEVICE_INSTALL_BLOCKED, ERROR_DRIVER_BLOCKED,
    ERROR_DRIVER_INSTALL_BLOCKED, ERROR_ELEVATION_REQUIRED, ERROR_FILE_HASH_NOT_IN_CATALOG,
    ERROR_FILE_NOT_FOUND, ERROR_IN_WOW64, ERROR_INVALID_IMAGE_HASH, ERROR_NO_CATALOG_FOR_OEM_INF,
    ERROR_NO_COMPAT_DRIVERS, ERROR_NO_DRIVER_SELECTED, ERROR_NO_MORE_ITEMS, ERROR_PATH_NOT_FOUND,
    ERROR_PRIVILEGE_NOT_HELD, ERROR_SIGNATURE_OSATTRIBUTE_MISMATCH, ERROR_WRONG_INF_TYPE,
    TRUST_E_NOSIGNATURE, TRUST_E_SUBJECT_NOT_TRUSTED,
};

#[cfg(windows)]
pub use service_control::ServiceControl;
#[cfg(windows)]
pub use setup_api::SetupApi;

/// What the INF's driver is for.
pub const HARDWARE_ID: &str = r"ROOT\TrueMute";

/// "Code 52" in the device manager.
const UNSIGNED: u32 = CM_PROB_UNSIGNED_DRIVER;

/// What checking a signature can come to, as results.
const UNTRUSTED: [i32; 5] = [
    TRUST_E_NOSIGNATURE,
    TRUST_E_SUBJECT_NOT_TRUSTED,
    CERT_E_UNTRUSTEDROOT,
    CERT_E_CHAINING,
    CERT_E_EXPIRED,
];

/// What Windows can do with devices and drivers. Its errors are those of winerror.h and setupapi.h.
pub trait DeviceManager {
    /// A device node of ours.
    type Node;

    /// All nodes with [`HARDWARE_ID`].
    ///
    /// # Errors
    /// The system refuses it.
    fn nodes(&self) -> Result<Vec<Self::Node>, u32>;

    /// Makes one, and registers it. It has no driver.
    ///
    /// # Errors
    /// The system refuses it.
    fn make(&self) -> Result<(), u32>;

    /// Gives all nodes the driver of this INF, as an absolute path. Whether the machine has to be restarted for it.
    ///
    /// # Errors
    /// The system refuses it.
    fn give_driver(&self, inf: &Path) -> Result<bool, u32>;

    /// Removes a node. Whether the machine has to be restarted for it.
    ///
    /// # Errors
    /// The system refuses it.
    fn remove(&self, node: Self::Node) -> Result<bool, u32>;

    /// The number of its problem, if the device manager shows one.
    ///
    /// # Errors
    /// The system refuses it.
    fn problem(&self, node: &Self::Node) -> Result<Option<u32>, u32>;
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// The driver is installed and started.
    Installed {
        /// The machine has to be restarted.
        restart: bool,
    },
    /// There was a device, and now there is none.
    Removed {
        /// The machine has to be restarted.
        restart: bool,
    },
    /// There was none.
    NothingToRemove,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, restart) = match self {
            Self::Installed { restart } => ("The driver is installed.", *restart),
            Self::Removed { restart } => ("The driver's device is removed.", *restart),
            Self::NothingToRemove => ("There is no TrueMute device to remove.", false),
        };
        f.write_str(what)?;
        match restart {
            true => f.write_str(" Restart the machine to finish it."),
            false => Ok(()),
        }
    }
}

/// Why it was not done. A device that was made for it is removed again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// Not an administrator, or not with an administrator's rights.
    #[error(
        "Only an administrator can install or remove a driver. Run this in a terminal that was started with \"Run as administrator\"."
    )]
    NoAdministrator,
    /// No signature that this Windows trusts.
    #[error(
        "Windows does not trust the driver's signature. Use a release whose driver Microsoft has signed; a test-signed one needs `bcdedit /set testsigning on` and a restart, which Secure Boot forbids."
    )]
    Unsigned,
    /// It was installed, and Windows does not load it.
    #[error(
        "Windows does not load the driver, for its signature is a test signature (Code 52). Use a release whose driver Microsoft has signed; or turn Secure Boot off in the firmware, run `bcdedit /set testsigning on`, and restart."
    )]
    NotLoaded,
    /// The INF, or a file that it names, is not there.
    #[error(
        "A file of the driver is not there. Unpack the whole archive, and run this in its folder."
    )]
    NoFile,
    /// The INF is for other machines.
    #[error(
        "This driver is not for this Windows (10 version 2004 and later, x64 or ARM64). Use the archive for this processor, or update Windows."
    )]
    NotForThisWindows,
    /// An administrator's policy.
    #[error("A policy of this machine forbids to install this device. Ask its administrator.")]
    Forbidden,
    /// The device has another problem.
    #[error(
        "The driver is installed, and its device does not start (Code {0}). The device manager says what that means."
    )]
    Problem(u32),
    /// The service beside the driver.
    #[error(
        "The service that listens to Windows' events could not be installed or removed (error {0}). Do it again; `net helpmsg {0}` says what that means. The driver works without it."
    )]
    Service(u32),
    /// Something else.
    #[error(
        "Windows refused it (error 0x{0:08X}). The end of C:\\Windows\\INF\\setupapi.dev.log says why."
    )]
    Other(u32),
}

impl From<u32> for InstallError {
    /// By the numbers of winerror.h and setupapi.h, as `windows-sys` has them.
    fn from(code: u32) -> Self {
        match code {
            ERROR_ACCESS_DENIED | ERROR_ELEVATION_REQUIRED | ERROR_PRIVILEGE_NOT_HELD => {
                Self::NoAdministrator
            }
            ERROR_FILE_NOT_FOUND | ERROR_PATH_NOT_FOUND => Self::NoFile,
            ERROR_INVALID_IMAGE_HASH
            | ERROR_DRIVER_BLOCKED
            | ERROR_NO_CATALOG_FOR_OEM_INF
            | ERROR_FILE_HASH_NOT_IN_CATALOG
            | ERROR_AUTHENTICODE_DISALLOWED
            | ERROR_AUTHENTICODE_TRUST_NOT_ESTABLISHED
            | ERROR_AUTHENTICODE_PUBLISHER_NOT_TRUSTED
            | ERROR_SIGNATURE_OSATTRIBUTE_MISMATCH => Self::Unsigned,
            // UpdateDriverForPlugAndPlayDevices gives ERROR_NO_MORE_ITEMS for an INF without our device.
            ERROR_NO_COMPAT_DRIVERS
            | ERROR_NO_DRIVER_SELECTED
            | ERROR_WRONG_INF_TYPE
            | ERROR_IN_WOW64
            | ERROR_NO_MORE_ITEMS => Self::NotForThisWindows,
            ERROR_DEVICE_INSTALL_BLOCKED | ERROR_DRIVER_INSTALL_BLOCKED => Self::Forbidden,
            code if UNTRUSTED.contains(&code.cast_signed()) => Self::Unsigned,
            code => Self::Other(code),
        }
    }
}

/// Installs the driver of this INF, or brings it up to date: makes the device if there is none, and gives it the driver. Doing it
/// again makes no second device.
///
/// # Errors
/// See [`InstallError`]; what was made is removed again, but for a driver that Windows took and does not load.
pub fn install(manager: &impl DeviceManager, inf: &Path) -> Result<Done, InstallError> {
    let inf = std::path::absolute(inf).map_err(|_| InstallError::NoFile)?;
    if !inf.is_file() {
        return Err(InstallError::NoFile);
    }
    let made = manager.nodes()?.is_empty();
    if made {
        manager.make()?;
    }
    let restart = match manager.give_driver(&inf) {
        Ok(restart) => restart,
        Err(code) => {
            if made {
                for node in manager.nodes().unwrap_or_default() {
                    // What failed is said; that its rest could not be removed either would say nothing more.
                    let _ = manager.remove(node);
                }
            }
            return Err(code.into());
        }
    };
    for node in manager.nodes()? {
        match manager.problem(&node)? {
            None => {}
            // Until the restart it may say anything.
            Some(_) if restart => {}
            Some(UNSIGNED) => return Err(InstallError::NotLoaded),
            Some(problem) => return Err(InstallError::Problem(problem)),
        }
    }
    Ok(Done::Installed { restart })
}

/// Removes every device of ours. The package stays in Windows' driver store, where it does nothing.
///
/// # Errors
/// See [`InstallError`].
pub fn remove(manager: &impl DeviceManager) -> Result<Done, InstallError> {
    let nodes = manager.nodes()?;
    if nodes.is_empty() {
        return Ok(Done::NothingToRemove);
    }
    let mut restart = false;
    for node in nodes {
        restart |= manager.remove(node)?;
    }
    Ok(Done::Removed { restart })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};

    /// A device manager that is made up.
    #[derive(Default)]
    struct Fake {
        /// Nodes, by number, with whether they have a driver.
        nodes: RefCell<Vec<(u32, bool)>>,
        made: Cell<u32>,
        /// What the next call of each kind fails with.
        no_make: Cell<Option<u32>>,
        no_driver: Cell<Option<u32>>,
        problem: Cell<Option<u32>>,
        restart: Cell<bool>,
    }

    impl DeviceManager for Fake {
        type Node = u32;

        fn nodes(&self) -> Result<Vec<u32>, u32> {
            Ok(self.nodes.borrow().iter().map(|(node, _)| *node).collect())
        }

        fn make(&self) -> Result<(), u32> {
            if let Some(code) = self.no_make.get() {
                return Err(code);
            }
            self.made.set(self.made.get() + 1);
            self.nodes.borrow_mut().push((self.made.get(), false));
            Ok(())
        }

        fn give_driver(&self, inf: &Path) -> Result<bool, u32> {
            assert!(inf.is_absolute());
            if let Some(code) = self.no_driver.get() {
                return Err(code);
            }
            for (_, driver) in self.nodes.borrow_mut().iter_mut() {
                *driver = true;
            }
            Ok(self.restart.get())
        }

        fn remove(&self, node: u32) -> Result<bool, u32> {
            self.nodes.borrow_mut().retain(|(other, _)| *other != node);
            Ok(self.restart.get())
        }

        fn problem(&self, _: &u32) -> Result<Option<u32>, u32> {
            Ok(self.problem.get())
        }
    }

    fn inf() -> tempfile::NamedTempFile {
        tempfile::NamedTempFile::new().unwrap()
    }

    #[test]
    fn doing_it_again_makes_no_second_device_and_removing_it_again_is_no_error() {
        let (manager, inf) = (Fake::default(), inf());
        for _ in 0..2 {
            let done = install(&manager, inf.path());
            assert_eq!(done, Ok(Done::Installed { restart: false }));
            assert_eq!(*manager.nodes.borrow(), [(1, true)]);
        }
        manager.restart.set(true);
        assert_eq!(remove(&manager), Ok(Done::Removed { restart: true }));
        assert_eq!(remove(&manager), Ok(Done::NothingToRemove));
        // Who has two, by whatever way, loses both.
        manager.nodes.borrow_mut().extend([(7, true), (8, true)]);
        assert!(remove(&manager).is_ok());
        assert!(manager.nodes.borrow().is_empty());
    }

    #[test]
    fn what_fails_leaves_no_device_behind_and_takes_none_away() {
        let (manager, inf) = (Fake::default(), inf());
        manager.no_driver.set(Some(0xE000_0242));
        assert_eq!(install(&manager, inf.path()), Err(InstallError::Unsigned));
        assert!(manager.nodes.borrow().is_empty());
        // One that was there before stays.
        manager.nodes.borrow_mut().push((9, true));
        assert_eq!(install(&manager, inf.path()), Err(InstallError::Unsigned));
        assert_eq!(*manager.nodes.borrow(), [(9, true)]);
        manager.nodes.borrow_mut().clear();
        manager.no_make.set(Some(5));
        assert_eq!(
            install(&manager, inf.path()),
            Err(InstallError::NoAdministrator)
        );
        let absent = inf.path().with_extension("absent");
        assert_eq!(install(&manager, &absent), Err(InstallError::NoFile));
    }

    #[test]
    fn a_driver_that_windows_takes_and_does_not_load_is_told_with_what_to_do() {
        let (manager, inf) = (Fake::default(), inf());
        manager.problem.set(Some(UNSIGNED));
        let error = install(&manager, inf.path()).unwrap_err();
        assert_eq!(error, InstallError::NotLoaded);
        let text = error.to_string();
        assert!(
            text.contains("Secure Boot") && text.contains("Code 52"),
            "{text}"
        );
        manager.problem.set(Some(10));
        assert_eq!(
            install(&manager, inf.path()),
            Err(InstallError::Problem(10))
        );
        // Before the restart that it needs, a device may have any problem.
        manager.restart.set(true);
        let done = install(&manager, inf.path()).unwrap();
        assert!(done.to_string().contains("Restart"), "{done}");
    }

    #[test]
    fn every_failure_says_what_it_is_and_what_to_do() {
        for (code, part) in [
            (5, "administrator"),
            (740, "administrator"),
            (0x800B_0109, "signature"),
            (0xE000_0248, "policy"),
            (0xE000_024A, "not for this Windows"),
            (0xE000_0228, "not for this Windows"),
            (0x1234, "0x00001234"),
        ] {
            let text = InstallError::from(code).to_string();
            assert!(text.contains(part), "{text} lacks {part}");
            assert!(
                text.matches(". ").count() >= 1 && text.ends_with('.'),
                "{text}"
            );
        }
    }
}
