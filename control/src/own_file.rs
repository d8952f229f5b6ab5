//! Small files of ours in the user's directories: read with suspicion, replaced whole. What is in them is their owners' matter.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::system;

/// Nothing that we keep comes near it.
pub(crate) const MAX_BYTES: u64 = 1 << 20;

/// Reads a small file that is ours alone. A link is not followed and a pipe not waited for.
///
/// # Errors
/// It is not there, cannot be read, is too long, is no file, or others could have written it.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = system::no_link_no_wait(OpenOptions::new().read(true)).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    if !system::is_ours_alone(&found) {
        return Err(io::Error::other("others could have written it"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("it is too long"));
    }
    Ok(bytes)
}

/// Puts `bytes` in place of the file: whoever reads finds the former content or this, also after a loss of power. Waits for the
/// disk. The directory must exist.
///
/// # Errors
/// It cannot be written; the former content is still there.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let next = next(path);
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    let mut file = system::with_mode(&mut options, mode).open(&next)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&next, path)?;
    sync_directory(path)
}

/// Removes the file, which need not exist. Waits for the disk.
///
/// # Errors
/// It is still there.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_directory(path),
    }
}

/// Where the next content of `path` is written: one place, so that a crash leaves one file at most.
pub(crate) fn next(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

fn sync_directory(path: &Path) -> io::Result<()> {
    system::sync_directory(path.parent().unwrap_or(Path::new("/")))
}
