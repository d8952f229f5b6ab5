//! `cargo xtask dist --target macos`: both bundles for both processors, optimised and signed, with the scripts that install and
//! remove them and the papers, as an archive. Where a check fails there is none.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use super::build::{Arch, Build, Tools};
use super::bundle::Bundles;
use super::{check, sign};
use crate::cross::Grade;
use crate::packages::Part;
use crate::report::Progress;
use crate::step::Run;
use crate::tally::Tally;
use crate::workspace::{Workspace, program};
use crate::{dist, findings, setup};

/// What a person runs on the Mac.
const SCRIPTS: [&str; 3] = ["install.sh", "uninstall.sh", "first-day.sh"];

/// Builds, signs, checks and packs. Fails if a check does.
pub(crate) fn run(workspace: &Workspace, progress: &mut Progress) -> Result<bool> {
    setup::packages(
        workspace,
        progress,
        &[Part::Build, Part::Cross, Part::Macos],
    )?;
    let tools = match Tools::find() {
        Ok(tools) => tools,
        Err(missing) => bail!("this machine cannot build for macOS: {missing}"),
    };
    let signer = sign::install(workspace, progress)?;
    let log = workspace.new_log("macos")?;
    progress.begin(
        "dist",
        "bundles for macOS (the first time takes many minutes)",
    );
    let mut run = Run {
        workspace,
        progress,
        log: &log,
    };
    let build = Build::new(workspace, &tools, Grade::Release);
    let bundles = Bundles::assemble(&mut run, &build, &Arch::ALL)?;
    signer.sign(&mut run, &bundles)?;
    let name = format!("truemute-{}-macos", env!("CARGO_PKG_VERSION"));
    let dist = workspace.target.join("dist");
    let tree = dist.join(&name);
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    dist::manuals(&mut run, &tree)?;
    progress.end();
    let mut findings = check::all(&bundles, workspace)?;
    findings.extend(check::signatures(&bundles)?);
    if !findings::say(&findings) {
        return Ok(false);
    }
    for bundle in [&bundles.driver, &bundles.application] {
        if let Some(name) = bundle.path.file_name() {
            dist::copy_tree(&bundle.path, &tree.join(name))?;
        }
    }
    for script in SCRIPTS {
        dist::copy(&scripts(workspace).join(script), &tree.join(script))?;
    }
    dist::papers(&workspace.root, &tree.join("share/doc/truemute"))?;
    let archive = dist::pack(&dist, &name)?;
    println!("{}\n{}", tree.display(), archive.display());
    Ok(true)
}

fn scripts(workspace: &Workspace) -> std::path::PathBuf {
    workspace.root.join("driver-macos/packaging")
}

/// Has shellcheck read the scripts.
pub(super) fn check_scripts(run: &mut Run<'_>) -> Result<Tally> {
    let what = "shellcheck of the scripts for macOS";
    let Some(shellcheck) = program("shellcheck") else {
        return Ok(Tally::skip(what, "there is no shellcheck"));
    };
    let mut command = Command::new(shellcheck);
    command.args(SCRIPTS.map(|script| scripts(run.workspace).join(Path::new(script))));
    let ended = run.command(command, Duration::from_secs(60), |_| {})?;
    Ok(Tally::of(ended, what))
}
