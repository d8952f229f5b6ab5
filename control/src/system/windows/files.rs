//! Files as Windows has them. Who may read and write a file follows from its folder's access list: those of the user's profile
//! leave other users out, so modes have no counterpart here.

use std::fs::{DirBuilder, FileType, Metadata, OpenOptions};
use std::io;
use std::os::windows::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use windows_sys::Win32::Storage::FileSystem::FILE_FLAG_OPEN_REPARSE_POINT;

use super::security;

/// Where the administrator's policy is. Not looked up: a user could change the variable that names the folder.
pub(crate) const POLICY_PATH: &str = r"C:\ProgramData\TrueMute\policy.toml";

/// Where the daemon keeps what outlives it.
pub(crate) fn state_directory() -> Option<PathBuf> {
    absolute("LOCALAPPDATA")
}

/// Where the configuration is.
pub(crate) fn config_directory() -> Option<PathBuf> {
    absolute("APPDATA")
}

fn absolute(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    Some(path.filter(|path| path.is_absolute())?.join("TrueMute"))
}

/// Modes have no counterpart.
pub(crate) fn with_mode(options: &mut OpenOptions, _: u32) -> &mut OpenOptions {
    options
}

/// A link is not followed: what is opened is the link, which is no file.
pub(crate) fn no_link(options: &mut OpenOptions) -> &mut OpenOptions {
    options.custom_flags(FILE_FLAG_OPEN_REPARSE_POINT)
}

/// A link is not followed; opening never waits.
pub(crate) fn no_link_no_wait(options: &mut OpenOptions) -> &mut OpenOptions {
    no_link(options)
}

/// Opening never waits.
pub(crate) fn no_wait(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// Opening with [`no_link`] does not fail.
pub(crate) fn is_link(_: &io::Error) -> bool {
    false
}

/// Pipes have a place of their own, not among files.
pub(crate) fn is_pipe(_: FileType) -> bool {
    false
}

/// The folder sees to it.
pub(crate) fn is_ours_alone(_: &Metadata) -> bool {
    true
}

/// Whether nobody but the administrators and the system could have written what lies at `path`. What cannot be told counts as no.
pub(crate) fn is_administrators(path: &Path, _: &Metadata, _owner: u32) -> bool {
    security::only_administrators_write(path).unwrap_or(false)
}

/// Makes a directory and those above it where they are missing.
pub(crate) fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).create(path)
}

/// NTFS keeps a journal of names; nothing can be waited for without being an administrator.
pub(crate) fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Modes have no counterpart.
pub(crate) fn narrow(_: &Path, _: u32) -> io::Result<()> {
    Ok(())
}

/// Which file of this machine it is: when it was made. An open database cannot be moved or deleted here anyway.
pub(crate) fn identity(found: &Metadata) -> (u64, u64) {
    (found.creation_time(), 0)
}
