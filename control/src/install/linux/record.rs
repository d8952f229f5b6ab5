//! What an installation changed, so that it can be undone later, also by another version: `install.json` in our state directory.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::disk;

/// What was changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    /// Files that were written.
    pub(super) files: BTreeSet<PathBuf>,
    /// Directories that were made for them.
    pub(super) directories: BTreeSet<PathBuf>,
    /// The default source that the user had chosen before ours: known if we changed it.
    pub(super) default_source: Option<Before>,
}

/// What the user had chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Before {
    /// `node.name`; none if nothing was chosen.
    pub(super) name: Option<String>,
}

impl Record {
    /// Reads it; empty if there is none, or none that can be read: what is known of an installation without it is enough to
    /// remove its files.
    pub(super) fn read(path: &Path) -> Record {
        Self::parse(&std::fs::read(path).unwrap_or_default())
    }

    fn parse(text: &[u8]) -> Record {
        serde_json::from_slice(text).unwrap_or_default()
    }

    /// For fuzzing: a file that something else may have written; what is read survives being written.
    #[cfg(fuzzing)]
    pub(crate) fn fuzz(text: &[u8]) {
        let record = Self::parse(text);
        if let Ok(written) = serde_json::to_vec(&record) {
            assert_eq!(Self::parse(&written), record);
        }
    }

    /// Writes it.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(io::Error::other)?;
        disk::write(path, &(text + "\n")).map(drop)
    }
}
