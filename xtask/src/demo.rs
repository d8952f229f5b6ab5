//! `cargo xtask demo`: builds `truemute` as people use it and lets it show itself on a private audio server.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::packages::Part;
use crate::report::{Progress, Tail};
use crate::setup;
use crate::workspace::Workspace;

/// 3 to 5 minutes on 2 cores with nothing compiled before.
const BUILD_LIMIT: Duration = Duration::from_secs(30 * 60);

/// Installs what is missing, builds, and becomes `truemute demo`. Returns only when that is not possible.
pub(crate) fn run(workspace: &Workspace, progress: &mut Progress) -> Result<bool> {
    setup::packages(workspace, progress, &[Part::Build, Part::Run])?;
    let program = build_release(workspace, progress)?;
    println!("Running {} demo\n", program.display());
    // Ctrl-C and the exit code are the demo's own: no process of ours stays between it and the person.
    become_program(Command::new(program).arg("demo"))
}

#[cfg(unix)]
fn become_program(command: &mut Command) -> Result<bool> {
    use std::os::unix::process::CommandExt;
    Err(command.exec().into())
}

#[cfg(not(unix))]
fn become_program(_command: &mut Command) -> Result<bool> {
    bail!("there is no demo on this system. Run it on Linux")
}

/// Builds `truemute` in release mode; returns the program.
pub(crate) fn build_release(workspace: &Workspace, progress: &mut Progress) -> Result<PathBuf> {
    let log = workspace.new_log("release")?;
    progress.begin(
        "build",
        "cargo build --release (the first time takes a few minutes)",
    );
    let command = workspace.cargo("build --release --package truemute --locked");
    let ended = progress.run(command, &log, BUILD_LIMIT, |_| {})?;
    progress.end();
    if !ended.ok() {
        bail!("the build failed ({ended}):\n{}", Tail::of(&log));
    }
    Ok(workspace.target.join("release/truemute"))
}
