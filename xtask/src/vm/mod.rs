//! `cargo xtask vm`: TrueMute on a whole Debian 13 with a sound card, in an emulated machine. What is checked there lies in
//! tests/vm. Here: the order of things; the disk ([`image`]), the machine ([`machine`], [`waking`]) and what came out ([`outcome`]).

mod image;
mod machine;
mod outcome;
mod waking;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::packages::Part;
use crate::report::{Progress, Tail};
use crate::workspace::Workspace;
use crate::{demo, setup};
use outcome::Outcomes;

const BUILD_LIMIT: Duration = Duration::from_secs(30 * 60);

/// Builds what is missing, lets the machine run once, prints what it found and keeps it in docs/reliability.md. Returns
/// whether no check failed.
pub(crate) fn run(workspace: &Workspace, progress: &mut Progress) -> Result<bool> {
    setup::packages(workspace, progress, &[Part::Build, Part::Vm])?;
    let truemute = demo::build_release(workspace, progress)?;
    let checks = build_checks(workspace, progress)?;
    let disk = image::made(workspace, progress)?;

    let started = Instant::now();
    let folder = workspace.target.join("vm/run");
    let payload = payload(&folder, &[&truemute, &checks])?;
    let mut outcomes = Outcomes::default();
    let ended = machine::run(workspace, progress, &disk, &folder, &payload, &mut outcomes)?;
    outcomes.print(started.elapsed());
    println!(
        "Kept in {}: what the machine's kernel and its journal said.",
        folder.display()
    );
    if !outcomes.complete() {
        bail!(
            "the machine ended ({ended}) before its last check. Look at {}",
            folder.join("console.log").display()
        );
    }
    outcomes.keep(
        &workspace.root.join("docs/reliability.md"),
        started.elapsed(),
    )?;
    Ok(!outcomes.any_failed())
}

/// Builds the program that checks, tests/vm.
fn build_checks(workspace: &Workspace, progress: &mut Progress) -> Result<PathBuf> {
    let log = workspace.new_log("vm-checks")?;
    progress.begin("build", "the checks that run inside");
    let command =
        workspace.cargo("build --release --package truemute-tests --bin machine --locked");
    let ended = progress.run(command, &log, BUILD_LIMIT, |_| {})?;
    progress.end();
    if !ended.ok() {
        bail!("the build failed ({ended}):\n{}", Tail::of(&log));
    }
    Ok(workspace.target.join("release/machine"))
}

/// A folder with these programs, empty of what an earlier run left.
fn payload(run: &Path, programs: &[&Path]) -> Result<PathBuf> {
    if run.exists() {
        fs::remove_dir_all(run).with_context(|| format!("cannot empty {}", run.display()))?;
    }
    let folder = run.join("payload");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for program in programs {
        let name = program.file_name().context("a program has a name")?;
        fs::copy(program, folder.join(name))
            .with_context(|| format!("cannot copy {}", program.display()))?;
    }
    Ok(folder)
}
