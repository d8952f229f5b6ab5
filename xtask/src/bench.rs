//! `cargo xtask bench`: builds everything in release mode and runs the benchmark of tests/, which measures TrueMute
//! beside pw-loopback and module-remap-source. What is measured, and how, lies there.

use std::ffi::OsString;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::packages::Part;
use crate::report::{Progress, Tail};
use crate::workspace::Workspace;
use crate::{demo, nt, setup};

const BUILD_LIMIT: Duration = Duration::from_secs(30 * 60);

/// Installs what is missing, builds, and runs the benchmark with these arguments. Returns whether it was content.
pub(crate) fn run(
    workspace: &Workspace,
    progress: &mut Progress,
    arguments: &[OsString],
) -> Result<bool> {
    setup::packages(workspace, progress, &[Part::Build, Part::Run])?;
    demo::build_release(workspace, progress)?;
    build_tools(workspace, progress)?;
    let program = workspace.target.join("release/bench");
    let mut command = Command::new(&program);
    match nt::driver(workspace, progress)? {
        Ok(driver) => {
            command.env(nt::DRIVER, driver);
        }
        Err(missing) => progress.say(&format!("the Windows driver is not measured: {missing}")),
    }
    let status = command
        .args(arguments)
        .current_dir(&workspace.root)
        .status()
        .with_context(|| format!("cannot start {}", program.display()))?;
    Ok(status.success())
}

/// Builds the programs of tests/ in release mode.
pub(crate) fn build_tools(workspace: &Workspace, progress: &mut Progress) -> Result<()> {
    let log = workspace.new_log("tools")?;
    progress.begin("build", "the programs of tests/");
    let command = workspace.cargo("build --release --package truemute-tests --bins --locked");
    let ended = progress.run(command, &log, BUILD_LIMIT, |_| {})?;
    progress.end();
    if !ended.ok() {
        bail!("the build failed ({ended}):\n{}", Tail::of(&log));
    }
    Ok(())
}
