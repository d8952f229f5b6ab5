//! The machine's disk, its kernel and its initrd: made once by image.sh (root needed), kept in the target directory, and
//! made again when anything that goes into them has changed. Runs write to a copy that vanishes with them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::packages::VM_PACKAGES;
use crate::report::{Progress, Tail};
use crate::setup;
use crate::workspace::{Workspace, is_root};

const MIRROR: &str = "http://deb.debian.org/debian";
/// 2 minutes measured; a slow mirror may need much longer.
const LIMIT: Duration = Duration::from_secs(20 * 60);
const SCRIPT: &str = include_str!("image.sh");

/// What the machine boots from.
pub(super) struct Image {
    pub(super) disk: PathBuf,
    pub(super) kernel: PathBuf,
    pub(super) initrd: PathBuf,
}

/// The image, made first if there is none or it is of other ingredients.
pub(super) fn made(workspace: &Workspace, progress: &mut Progress) -> Result<Image> {
    let folder = workspace.target.join("vm/image");
    let files = workspace.root.join("tests/vm/root");
    let image = Image {
        disk: folder.join("disk"),
        kernel: folder.join("vmlinuz"),
        initrd: folder.join("initrd"),
    };
    // Written last: without it, or with another text, the image is made again.
    let marker = folder.join("ingredients");
    let ingredients = ingredients(&files)?;
    if fs::read_to_string(&marker).is_ok_and(|text| text == ingredients) {
        return Ok(image);
    }

    let log = workspace.new_log("vm-image")?;
    let mut words = vec!["unshare", "--mount", "--propagation", "private", "sh", "-c"];
    if !is_root() {
        setup::ask("sudo debootstrap, in a folder of the target directory")?;
        words.insert(0, "sudo");
    }
    progress.begin("image", "debootstrap trixie (once, about two minutes)");
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args([SCRIPT, "image.sh"]);
    command.arg(&folder).arg(MIRROR).arg(&files);
    command.args(VM_PACKAGES);
    let ended = progress.run(command, &log, LIMIT, |_| {})?;
    progress.end();
    if !ended.ok() {
        bail!(
            "cannot make the machine's disk ({ended}):\n{}",
            Tail::of(&log)
        );
    }
    fs::write(&marker, ingredients).context("cannot mark the image as complete")?;
    Ok(image)
}

/// All that decides what is in the image, but for the versions that the mirror has.
fn ingredients(files: &Path) -> Result<String> {
    let mut text = format!("{}\n{SCRIPT}", VM_PACKAGES.join(" "));
    let mut folders = vec![files.to_owned()];
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<PathBuf> = fs::read_dir(&folder)
            .and_then(|entries| entries.map(|it| it.map(|it| it.path())).collect())
            .with_context(|| format!("cannot read {}", folder.display()))?;
        entries.sort();
        for entry in entries {
            if entry.is_dir() {
                folders.push(entry);
            } else {
                // As it is called in the machine: a clone of the repository elsewhere has the same ingredients.
                let name = entry.strip_prefix(files)?;
                text.push_str(&format!("{}\n", name.display()));
                text.push_str(&fs::read_to_string(&entry)?);
            }
        }
    }
    Ok(text)
}
