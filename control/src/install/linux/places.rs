//! Where a user's files are (XDG Base Directory Specification 0.8).

use std::path::PathBuf;

use super::parts::Base;
use crate::daemon::lock_file::LOCK_FILE;
use crate::store;

/// The base directories of the user who runs this program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Places {
    config: PathBuf,
    data: PathBuf,
    /// WirePlumber's state.
    pub(super) wireplumber: PathBuf,
    /// What the daemon remembers of its gate.
    pub(super) gate: PathBuf,
    /// Where the daemon's lock outlives it.
    pub(super) lock: PathBuf,
    /// Our record of what was installed.
    pub(super) record: PathBuf,
}

impl Places {
    /// From the environment; nothing if there is no home directory.
    pub(super) fn of_user() -> Option<Self> {
        let home = std::env::home_dir()?;
        let base = |variable: &str, usual: &str| {
            std::env::var_os(variable)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
                .unwrap_or_else(|| home.join(usual))
        };
        let ours = store::state_directory()?;
        Some(Self {
            config: base("XDG_CONFIG_HOME", ".config"),
            data: base("XDG_DATA_HOME", ".local/share"),
            wireplumber: ours.parent()?.join("wireplumber"),
            gate: ours.join("gate.json"),
            lock: ours.join(LOCK_FILE),
            record: ours.join("install.json"),
        })
    }

    /// A base directory.
    pub(super) fn base(&self, base: Base) -> &PathBuf {
        match base {
            Base::Config => &self.config,
            Base::Data => &self.data,
        }
    }
}
