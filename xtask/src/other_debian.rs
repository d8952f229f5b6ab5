//! Another Debian beside this system, for its PipeWire or its Wine: a debootstrap root that tests run a server or Windows programs from.
//! Needs root. Every mount is made in a mount namespace of the command's own, so none can stay behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::packages::{OTHER_DEBIAN_PACKAGES, WINE_PACKAGES};
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
suite=$1 root=$2 mirror=$3
shift 3
# An older debootstrap does not know the name of a newer release; the steps are the same for all of them.
script=/usr/share/debootstrap/scripts/$suite
[ -e "$script" ] || script=/usr/share/debootstrap/scripts/sid
debootstrap --variant=minbase "$suite" "$root" "$mirror" "$script"
printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
chmod +x "$root/usr/sbin/policy-rc.d"
mount -t proc proc "$root/proc"
DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get install --yes --no-install-recommends "$@"
chroot "$root" apt-get clean
"#;

/// A release with what is tested from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Release {
    /// Debian 13: PipeWire 1.4.
    Trixie,
    /// The release that Debian prepares now, and that changes daily: PipeWire 1.6, for as long as it has that.
    Forky,
    /// Debian 13 without an audio server: Wine 10.
    Wine,
}

impl Release {
    /// Its name for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Trixie => "Debian 13",
            Self::Forky => "Debian forky",
            Self::Wine => "Debian 13 with Wine",
        }
    }

    fn suite(self) -> &'static str {
        match self {
            Self::Trixie | Self::Wine => "trixie",
            Self::Forky => "forky",
        }
    }

    /// Where its root is: in the target directory, or for Debian 13 at TRUEMUTE_DEBIAN13_ROOT.
    fn place(self, workspace: &Workspace) -> PathBuf {
        match (self, std::env::var_os("TRUEMUTE_DEBIAN13_ROOT")) {
            (Self::Trixie, Some(place)) => place.into(),
            (Self::Trixie, None) => workspace.target.join("debian13-root"),
            (Self::Forky, _) => workspace.target.join("forky-root"),
            (Self::Wine, _) => workspace.target.join("wine-root"),
        }
    }

    fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Trixie | Self::Forky => OTHER_DEBIAN_PACKAGES,
            Self::Wine => WINE_PACKAGES,
        }
    }

    /// The list of packages, as the marker holds it.
    fn contents(self) -> String {
        self.packages().join(" ")
    }
}

/// The root, or why this machine has none.
pub(crate) enum Root {
    At(PathBuf),
    /// One sentence: what is in the way.
    Unavailable(String),
}

/// The root, if it is there and whole.
pub(crate) fn whole(workspace: &Workspace, release: Release) -> Option<PathBuf> {
    let root = release.place(workspace);
    fs::read_to_string(root.join(MARKER))
        .is_ok_and(|text| text.trim() == release.contents())
        .then_some(root)
}

/// Tells tests to use the root of this release as the other server, if there is one: a test that does not find it then is
/// broken, not skipped.
pub(crate) fn required(workspace: &Workspace, release: Release, mut command: Command) -> Command {
    if let Some(root) = whole(workspace, release).filter(|_| is_root()) {
        command
            .env("TRUEMUTE_DEBIAN13_ROOT", root)
            .env("TRUEMUTE_REQUIRE_DEBIAN13", "1");
    }
    command
}

/// The version of PipeWire in a root, as far as it says so.
pub(crate) fn pipewire_version(root: &Path) -> Option<String> {
    let output = Command::new("chroot")
        .arg(root)
        .args(["pipewire", "--version"])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.starts_with("Linked with"))?;
    Some(line.split_whitespace().last()?.to_owned())
}

/// Makes the root unless a whole one is there. Fails only when something unexpected went wrong.
pub(crate) fn install(
    workspace: &Workspace,
    release: Release,
    progress: &mut Progress,
) -> Result<Root> {
    if let Some(root) = whole(workspace, release) {
        return Ok(Root::At(root));
    }
    let root = release.place(workspace);
    let unavailable = |why: &str| Ok(Root::Unavailable(why.to_owned()));
    if release == Release::Trixie && setup::is_debian13() {
        return unavailable("this is Debian 13, so its own server is the one to test");
    }
    if !is_root() {
        return unavailable(
            "making the root of another Debian and running a server in it needs root",
        );
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

    let suite = release.suite();
    let name = release.name();
    let log = workspace.new_log(&format!("root-of-{}", name.replace(' ', "-")))?;
    progress.begin(
        &format!("root of {name}"),
        &format!("debootstrap {suite} (once, about two minutes)"),
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
    command
        .arg(suite)
        .arg(&root)
        .arg(MIRROR)
        .args(release.packages());
    let ended = progress.run(command, &log, LIMIT, |_| {})?;
    progress.end();
    if !ended.ok() {
        bail!(
            "cannot make a {} root ({ended}):\n{}",
            release.name(),
            Tail::of(&log)
        );
    }
    fs::write(root.join(MARKER), release.contents())?;
    Ok(Root::At(root))
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
