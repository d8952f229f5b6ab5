//! A Debian 13 beside this system, for its PipeWire: a debootstrap root that the end-to-end tests run a server from.
//! Needs root. Every mount is made in a mount namespace of the command's own, so none can stay behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::packages::DEBIAN13_PACKAGES;
use crate::report::{Progress, Tail};
use crate::setup;
use crate::workspace::{Workspace, is_root, program};

const MIRROR: &str = "http://deb.debian.org/debian";
/// 1.5 minutes measured; a slow mirror may need much longer.
const LIMIT: Duration = Duration::from_secs(15 * 60);
/// Written last, with the list of packages: without it, or with another list, the root is made again.
const MARKER: &str = "truemute-root-complete";

/// Root, mirror, packages. apt installs the packages, for debootstrap's own choice among alternative dependencies leaves
/// some unmet; policy-rc.d keeps it from starting services.
const SCRIPT: &str = r#"
root=$1 mirror=$2
shift 2
debootstrap --variant=minbase trixie "$root" "$mirror"
printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
chmod +x "$root/usr/sbin/policy-rc.d"
mount -t proc proc "$root/proc"
DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get install --yes --no-install-recommends "$@"
chroot "$root" apt-get clean
"#;

/// The root, or why this machine has none.
pub(crate) enum Debian13 {
    Root(PathBuf),
    /// One sentence: what is in the way.
    Unavailable(String),
}

/// Where the root is: TRUEMUTE_DEBIAN13_ROOT, or a folder in the target directory.
fn place(workspace: &Workspace) -> PathBuf {
    std::env::var_os("TRUEMUTE_DEBIAN13_ROOT")
        .map_or_else(|| workspace.target.join("debian13-root"), PathBuf::from)
}

/// The list of packages, as the marker holds it.
fn contents() -> String {
    DEBIAN13_PACKAGES.join(" ")
}

/// The root, if it is there and whole.
fn whole(workspace: &Workspace) -> Option<PathBuf> {
    let root = place(workspace);
    fs::read_to_string(root.join(MARKER))
        .is_ok_and(|text| text.trim() == contents())
        .then_some(root)
}

/// Tells tests where the root is, if there is one: a test that does not find it then is broken, not skipped.
pub(crate) fn required(workspace: &Workspace, mut command: Command) -> Command {
    if let Some(root) = whole(workspace).filter(|_| is_root()) {
        command
            .env("TRUEMUTE_DEBIAN13_ROOT", root)
            .env("TRUEMUTE_REQUIRE_DEBIAN13", "1");
    }
    command
}

/// Makes the root unless a whole one is there. Fails only when something unexpected went wrong.
pub(crate) fn install(workspace: &Workspace, progress: &mut Progress) -> Result<Debian13> {
    if let Some(root) = whole(workspace) {
        return Ok(Debian13::Root(root));
    }
    let root = place(workspace);
    let unavailable = |why: &str| Ok(Debian13::Unavailable(why.to_owned()));
    if setup::is_debian13() {
        return unavailable("this is Debian 13, so its own server is the one to test");
    }
    if !is_root() {
        return unavailable("making a Debian 13 root and running a server in it needs root");
    }
    if program("debootstrap").is_none() {
        return unavailable("debootstrap is not installed");
    }
    if !Command::new("unshare")
        .args(["--mount", "true"])
        .output()?
        .status
        .success()
    {
        return unavailable(
            "this machine allows no mount namespace (a chroot, or a container without CAP_SYS_ADMIN)",
        );
    }
    remove(&root)?;

    let log = workspace.new_log("debian13-root")?;
    progress.begin(
        "debian13-root",
        "debootstrap trixie (once, about two minutes)",
    );
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-ec",
        SCRIPT,
        "sh",
    ]);
    command.arg(&root).arg(MIRROR).args(DEBIAN13_PACKAGES);
    let ended = progress.run(command, &log, LIMIT, |_| {})?;
    progress.end();
    if !ended.ok() {
        bail!(
            "cannot make a Debian 13 root ({ended}):\n{}",
            Tail::of(&log)
        );
    }
    fs::write(root.join(MARKER), contents())?;
    Ok(Debian13::Root(root))
}

/// Removes what an interrupted run left; never reaches through a mount.
fn remove(root: &Path) -> Result<()> {
    if !root.exists() {
        return Ok(());
    }
    let root = root.canonicalize()?;
    let mounts =
        fs::read_to_string("/proc/self/mounts").context("cannot read this process's mounts")?;
    if mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .any(|at| Path::new(at).starts_with(&root))
    {
        bail!(
            "something is mounted in {}. Unmount it, then try again",
            root.display()
        );
    }
    fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))
}
