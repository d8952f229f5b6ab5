//! Runs a program as an ordinary user when this runs as root. The user is `nobody`, whom every Debian has: nothing is
//! added to the machine. Where that user cannot reach this clone (it lies in /root, say), the program sees the clone at its
//! own path through a mount namespace; no permission of any file is changed.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::workspace::{Workspace, program};

const NAME: &str = "nobody";

/// What Debian's pipewire package grants its group in limits.d: real-time priority 95, nice -19. On a desktop rtkit grants
/// the like to everybody. Without it a busy machine delays every cycle. (setrlimit(2): nice is counted from 20 down.)
const LIMITS: [&str; 3] = ["prlimit", "--rtprio=95", "--nice=39"];

/// Arguments: the folders to show, "--", the folders in the way, "--", the command.
/// Everything is mounted in the namespace that `unshare` made, over folders that every Debian has, and ends with it.
const SCRIPT: &str = r#"
each() { # SECTION FUNCTION ARGUMENTS: calls the function with each argument of the section
    section=0 wanted=$1 function=$2
    shift 2
    for argument do
        if [ "$argument" = -- ]; then section=$((section + 1)); continue; fi
        if [ "$section" = "$wanted" ]; then "$function" "$argument"; fi
    done
}
keep() { mkdir -p "/mnt$1"; mount --rbind "$1" "/mnt$1"; }
cover() { mount -t tmpfs -o mode=755 tmpfs "$1"; }
show() { mkdir -p "$1"; mount --rbind "/mnt$1" "$1"; }
cover /mnt
each 0 keep "$@"
each 1 cover "$@"
each 0 show "$@"
while [ "$1" != -- ]; do shift; done
shift
while [ "$1" != -- ]; do shift; done
shift
exec "$@"
"#;

/// Somebody to run tests as.
pub(crate) struct OrdinaryUser {
    uid: u32,
    gid: u32,
    /// [`LIMITS`], or nothing where root may not raise limits.
    limits: &'static [&'static str],
    /// A home of their own, removed with this value.
    home: PathBuf,
    /// What the user must be able to read.
    shown: Vec<PathBuf>,
    /// Folders on the way there that the user may not pass.
    blocked: Vec<PathBuf>,
}

/// The user, or one sentence on why this machine cannot do it.
pub(crate) fn find(workspace: &Workspace) -> Result<Result<OrdinaryUser, String>> {
    if program("setpriv").is_none() || program("unshare").is_none() {
        return Ok(Err(
            "setpriv and unshare (util-linux) are not installed".to_owned()
        ));
    }
    let passwd = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    let ids = passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.first() == Some(&NAME))
            .then(|| Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?)))?
    });
    let Some((uid, gid)) = ids else {
        return Ok(Err(format!("there is no user {NAME}")));
    };
    let shown = vec![
        workspace.root.canonicalize()?,
        workspace.target.canonicalize()?,
    ];
    let mut blocked: Vec<PathBuf> = shown
        .iter()
        .filter_map(|folder| first_blocked(folder))
        .collect();
    blocked.dedup();
    if !blocked.is_empty()
        && !Command::new("unshare")
            .args(["--mount", "true"])
            .status()?
            .success()
    {
        let folders: Vec<String> = blocked
            .iter()
            .map(|folder| folder.display().to_string())
            .collect();
        return Ok(Err(format!(
            "another user cannot enter {}, and this machine allows no mount namespace",
            folders.join(" or ")
        )));
    }
    let home = PathBuf::from(format!("/tmp/truemute-user-{}", std::process::id()));
    fs::create_dir(&home).with_context(|| format!("cannot make {}", home.display()))?;
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700))?;
    std::os::unix::fs::chown(&home, Some(uid), Some(gid))?;
    let may_raise = Command::new(LIMITS[0])
        .args(&LIMITS[1..])
        .arg("true")
        .output()
        .is_ok_and(|output| output.status.success());
    Ok(Ok(OrdinaryUser {
        limits: if may_raise { &LIMITS } else { &[] },
        uid,
        gid,
        home,
        shown,
        blocked,
    }))
}

/// The first folder on the way to `folder` that others may not enter.
fn first_blocked(folder: &Path) -> Option<PathBuf> {
    let mut way: Vec<&Path> = folder.ancestors().collect();
    way.reverse();
    let blocked = |folder: &&&Path| fs::metadata(folder).is_ok_and(|it| it.mode() & 0o001 == 0);
    way.iter().find(blocked).map(|folder| (*folder).to_owned())
}

impl OrdinaryUser {
    /// `program` as this user, with an environment of its own.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = if self.blocked.is_empty() {
            Command::new("env")
        } else {
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
                .args(&self.shown)
                .arg("--")
                .args(&self.blocked)
                .arg("--")
                .arg("env");
            command
        };
        command
            .args(self.limits)
            .arg("setpriv")
            .args([
                format!("--reuid={}", self.uid),
                format!("--regid={}", self.gid),
            ])
            .args(["--clear-groups", "--inh-caps=-all", "--bounding-set=-all"])
            .arg(program);
        command
            .env("HOME", &self.home)
            .env("USER", NAME)
            .env("LOGNAME", NAME)
            .env_remove("SUDO_USER");
        for variable in [
            "XDG_RUNTIME_DIR",
            "XDG_CONFIG_HOME",
            "XDG_STATE_HOME",
            "XDG_CACHE_HOME",
            "XDG_DATA_HOME",
        ] {
            command.env_remove(variable);
        }
        command
    }
}

impl Drop for OrdinaryUser {
    fn drop(&mut self) {
        // Left in /tmp at worst.
        let _ = fs::remove_dir_all(&self.home);
    }
}
