//! Files as POSIX has them: modes, owners, links and pipes.

use std::fs::{self, DirBuilder, File, FileType, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _,
    PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

/// Where the administrator's policy is.
pub(crate) const POLICY_PATH: &str = "/etc/truemute/policy.toml";

/// Where the daemon keeps what outlives it: below `$XDG_STATE_HOME`, or `~/.local/state` where that is not set or not absolute (XDG
/// Base Directory Specification 0.8).
pub(crate) fn state_directory() -> Option<PathBuf> {
    let base = match absolute("XDG_STATE_HOME") {
        Some(path) => path,
        None => std::env::home_dir()?.join(".local/state"),
    };
    Some(base.join("truemute"))
}

/// Where the configuration is: below `$XDG_CONFIG_HOME`, or `~/.config`; absent if neither variable is an absolute path.
pub(crate) fn config_directory() -> Option<PathBuf> {
    let base = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")));
    Some(base?.join("truemute"))
}

fn absolute(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    path.filter(|path| path.is_absolute())
}

/// A file that is made gets this mode, less what the process's umask takes.
pub(crate) fn with_mode(options: &mut OpenOptions, mode: u32) -> &mut OpenOptions {
    options.mode(mode)
}

/// A link is not followed: [`is_link`] tells by the error.
pub(crate) fn no_link(options: &mut OpenOptions) -> &mut OpenOptions {
    options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
}

/// A link is not followed, and a pipe not waited for.
pub(crate) fn no_link_no_wait(options: &mut OpenOptions) -> &mut OpenOptions {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    options.custom_flags(flags.bits().cast_signed())
}

/// A pipe is not waited for.
pub(crate) fn no_wait(options: &mut OpenOptions) -> &mut OpenOptions {
    options.custom_flags(OFlags::NONBLOCK.bits().cast_signed())
}

/// Whether opening failed because of [`no_link`].
pub(crate) fn is_link(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}

/// Whether it is a pipe.
pub(crate) fn is_pipe(kind: FileType) -> bool {
    kind.is_fifo()
}

/// Whether nobody but this user could have written the open file.
pub(crate) fn is_ours_alone(found: &Metadata) -> bool {
    found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o022 == 0
}

/// Whether nobody but the administrators could have written what lies at `path`, where it was `found`. They are the user `owner`: 0,
/// but in tests.
pub(crate) fn is_administrators(_path: &Path, found: &Metadata, owner: u32) -> bool {
    found.uid() == owner && found.mode() & 0o022 == 0
}

/// Makes a directory and those above it where they are missing, closed to everybody else.
pub(crate) fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Waits until what was made, renamed or removed in a directory is on the disk.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Takes away permissions beyond `mode`.
pub(crate) fn narrow(path: &Path, mode: u32) -> io::Result<()> {
    let now = fs::metadata(path)?.permissions().mode() & 0o7777;
    if now & !mode != 0 {
        fs::set_permissions(path, Permissions::from_mode(now & mode))?;
    }
    Ok(())
}

/// Which file of this machine it is: device and inode.
pub(crate) fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}
