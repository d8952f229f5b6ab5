//! What a child does to itself between fork and exec: limits, another release's root filesystem, another user.

use std::io;
use std::path::PathBuf;

use rustix::mount::{MountPropagationFlags, mount_bind, mount_bind_recursive, mount_change};
use rustix::process::{Gid, Resource, Rlimit, Uid, chdir, chroot, getrlimit, setrlimit};
use rustix::thread::{
    UnshareFlags, set_thread_gid, set_thread_groups, set_thread_uid, unshare_unsafe,
};

use super::place::BASE;
use super::server::{ServerOptions, User};

/// What a server program does to itself between fork and exec.
pub(super) struct Confinement {
    root: Option<(PathBuf, [PathBuf; 2])>,
    user: Option<User>,
    open_files: Option<u64>,
}

impl Confinement {
    pub(super) fn new(options: &ServerOptions) -> Self {
        Self {
            root: options.root.as_ref().map(|root| {
                let root = root.path();
                (root.to_owned(), [root.join("tmp"), root.join("proc")])
            }),
            user: options.user,
            open_files: options.open_files,
        }
    }

    /// Called in the child: system calls only, no allocation.
    pub(super) fn enter(&self) -> io::Result<()> {
        if let Some(limit) = self.open_files {
            let maximum = getrlimit(Resource::Nofile).maximum;
            let limit = Rlimit {
                current: Some(limit),
                maximum: maximum.map(|maximum| maximum.max(limit)),
            };
            setrlimit(Resource::Nofile, limit)?;
        }
        if let Some((root, [tmp, proc])) = &self.root {
            // The mounts live in a namespace of this process and go with it: nothing to clean up.
            // SAFETY: a freshly forked child has one thread, and NEWNS leaves file descriptors alone.
            unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
            mount_change(
                "/",
                MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
            )?;
            // With what is mounted in it: a test may have given the server a disk of its own.
            mount_bind_recursive(BASE, tmp)?;
            mount_bind("/proc", proc)?;
            chroot(root)?;
        }
        chdir("/")?;
        self.user.map_or(Ok(()), become_user)
    }
}

/// Called in the child: system calls only.
pub(super) fn become_user(user: User) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    set_thread_groups(&[gid])?;
    set_thread_gid(gid)?;
    set_thread_uid(uid)?;
    Ok(())
}
