//! `cargo xtask faults`: builds everything in release mode and runs the faults of tests/, which break whatever can break
//! and say what reached the clients. What is broken, and how it is judged, lies there.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context, Result};

use crate::other_debian::{self, Release};
use crate::packages::Part;
use crate::report::Progress;
use crate::workspace::Workspace;
use crate::{bench, demo, setup};

/// Installs what is missing, builds, and inflicts the faults with these arguments. Returns whether all that had to be
/// silent was.
pub(crate) fn run(
    workspace: &Workspace,
    progress: &mut Progress,
    arguments: &[OsString],
) -> Result<bool> {
    setup::packages(workspace, progress, &[Part::Build, Part::Run, Part::Test])?;
    other_debian::install(workspace, Release::Trixie, progress)?;
    demo::build_release(workspace, progress)?;
    bench::build_tools(workspace, progress)?;
    let program = workspace.target.join("release/faults");
    let status = other_debian::required(workspace, Release::Trixie, Command::new(&program))
        .args(arguments)
        .current_dir(&workspace.root)
        .status()
        .with_context(|| format!("cannot start {}", program.display()))?;
    Ok(status.success())
}
