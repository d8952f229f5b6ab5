//! `cargo xtask dist --target windows` on Windows: the driver for both architectures, linked against a WDK, each with its INF in a folder
//! of its own, unsigned, as docs/windows.md sends them to Microsoft. The program is made on Linux ([`super::pack`]).

use std::fs;

use anyhow::Result;

use super::build::{Arch, Tools};
use super::wdk::{self, Kit};
use super::{check, files, inf};
use crate::cross::llvm;
use crate::findings::Finding;
use crate::report::Progress;
use crate::step::Run;
use crate::workspace::Workspace;
use crate::{dist, findings};

/// Builds and checks. Fails if a check does, and leaves no folder then.
pub(super) fn run(workspace: &Workspace, progress: &mut Progress) -> Result<bool> {
    let missing = |missing| anyhow::anyhow!("this machine cannot build the driver: {missing}");
    let tools = Tools::find().map_err(missing)?;
    let objdump = llvm("llvm-objdump").map_err(missing)?;
    let kit = Kit::installed()?;
    let log = workspace.new_log("windows")?;
    progress.begin("dist", "the driver for Windows against its WDK");
    let mut run = Run {
        workspace,
        progress,
        log: &log,
    };
    wdk::make_copy(workspace, "")?;
    let mut drivers = Vec::new();
    let mut found: Vec<Finding> = Vec::new();
    for arch in Arch::ALL {
        let driver = wdk::build(&mut run, &tools, arch, &kit)?;
        found.extend(check::driver(&driver, arch, &objdump, workspace)?);
        drivers.push(driver);
    }
    found.extend(inf::check(workspace, &files(&drivers)));
    run.progress.end();
    let name = format!("truemute-{}-windows-driver", env!("CARGO_PKG_VERSION"));
    let tree = workspace.target.join("dist").join(name);
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    if !findings::say(&found) {
        return Ok(false);
    }
    for (arch, driver) in Arch::ALL.into_iter().zip(&drivers) {
        let folder = tree.join(arch.name());
        dist::copy(&driver.file, &folder.join("truemute.sys"))?;
        dist::copy(&inf::path(workspace), &folder.join("truemute.inf"))?;
    }
    println!(
        "{}\nIt is not signed. docs/windows.md says how Microsoft signs it.",
        tree.display()
    );
    Ok(true)
}
