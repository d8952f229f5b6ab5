//! The `nt` step: builds the driver for Windows on x64 and drives it, unchanged, by the host in C (tests/nt-host), once as it is and
//! once with the host under AddressSanitizer.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::e2e;
use crate::report::Progress;
use crate::step::Run;
use crate::tally::Tally;
use crate::windows::{Arch, Tools, build_driver, mingw};
use crate::workspace::Workspace;

/// The test program; no other step runs it.
pub(crate) const PROGRAM: &str = "nt";

/// Where tests/src/nt_host.rs looks for the driver.
pub(crate) const DRIVER: &str = "TRUEMUTE_WINDOWS_DRIVER";
/// And for the compiler of the host.
const COMPILER: &str = "TRUEMUTE_HOST_CC";

/// The driver for the benchmark, or what its build lacks.
pub(crate) fn driver(
    workspace: &Workspace,
    progress: &mut Progress,
) -> Result<Result<PathBuf, String>> {
    let tools = match Tools::find() {
        Ok(tools) => tools,
        Err(missing) => return Ok(Err(missing)),
    };
    let log = workspace.new_log("driver")?;
    progress.begin("build", "the driver for Windows");
    let mut run = Run {
        workspace,
        progress,
        log: &log,
    };
    let built = build_driver(&mut run, &tools, Arch::X64);
    progress.end();
    Ok(Ok(built?.file))
}

pub(crate) fn check(run: &mut Run<'_>) -> Result<Tally> {
    // The host's own checks are tested with a driver in C.
    let tools = match (Tools::find(), mingw()) {
        (Ok(tools), Ok(_)) => tools,
        (Err(missing), _) | (_, Err(missing)) => return Ok(Tally::skip("all", missing)),
    };
    let driver = build_driver(run, &tools, Arch::X64)?;
    let mut tally = Tally::default();
    for compiler in ["cc", "cc -fsanitize=address"] {
        run.progress
            .say(&format!("  the host compiled by {compiler}"));
        tally.add(drive(run, &driver.file, compiler)?);
    }
    Ok(tally)
}

/// Drives a driver by the host, as this compiler makes it.
pub(crate) fn drive(run: &mut Run<'_>, driver: &Path, compiler: &str) -> Result<Tally> {
    let workspace = run.workspace;
    e2e::run_programs(
        run,
        |words| workspace.cargo(words),
        |program| program == PROGRAM,
        |test| {
            let mut command = Command::new(test);
            command.env(DRIVER, driver).env(COMPILER, compiler);
            command
        },
    )
}
