//! Reads TOML files and says, in words, what is wrong and in which line.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::system;

/// No configuration needs more; a larger file is a mistake.
const MAX_BYTES: u64 = 64 * 1024;

/// Why a configuration or a policy cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{} cannot be read: {source}. Check the path and its permissions.", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is too large or no text.
    #[error("{} is not a configuration: {why}. Start again from the commented example config.toml.", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// A line is wrong.
    #[error("{}:{line}: {message}. Correct this line; docs/configuration.md lists every key and its values.", path.display())]
    Fault {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// Others than root could have written the policy.
    #[error("{} could have been changed by others than root. Make it and its folder owned by root and writable by root only (chown root:root, chmod go-w).", path.display())]
    Untrusted {
        /// The file or folder.
        path: PathBuf,
    },
}

/// What is wrong in a text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there: one sentence without its full stop.
    pub message: String,
}

impl Fault {
    /// The same, for the file that it is in.
    pub fn in_file(self, path: &Path) -> ConfigError {
        ConfigError::Fault {
            path: path.to_owned(),
            line: self.line,
            message: self.message,
        }
    }
}

/// Reads a whole small text file.
pub(super) fn read(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    };
    read_from(open(path).map_err(unreadable)?, path)
}

/// Opens a file to read. A pipe is not waited for: that could last for ever, and nobody would know why.
pub(super) fn open(path: &Path) -> std::io::Result<std::fs::File> {
    system::no_wait(std::fs::OpenOptions::new().read(true)).open(path)
}

/// Reads the open file; `path` is for the error only.
pub(super) fn read_from(file: std::fs::File, path: &Path) -> Result<String, ConfigError> {
    let not_text = |why| ConfigError::NotText {
        path: path.to_owned(),
        why,
    };
    let unreadable = |source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let metadata = file.metadata().map_err(unreadable)?;
    if system::is_pipe(metadata.file_type()) {
        return Err(not_text("it is a pipe"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(not_text("it is longer than 64 KiB"));
    }
    String::from_utf8(bytes).map_err(|_| not_text("it is not UTF-8 text"))
}

/// Reads `text` strictly: unknown keys and wrong types are faults.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Fault> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start).min(text.len());
        let line = 1 + text.as_bytes()[..start]
            .iter()
            .filter(|b| **b == b'\n')
            .count();
        let message = error.message().replace('\n', ", ");
        Fault { line, message }
    })
}
