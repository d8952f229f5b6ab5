//! `cargo xtask dist --target windows`: the driver for both architectures with its INF, test-signed, the program, the script for the first
//! day and the papers, as a zip, which Windows can open by itself. Where a check fails there is none.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::build::{Arch, Tools};
use super::sign::Signer;
use super::{build, check, drivers, files, inf};
use crate::cross::{Grade, llvm};
use crate::findings::Finding;
use crate::packages::Part;
use crate::report::{Progress, Tail};
use crate::step::Run;
use crate::workspace::{Workspace, program};
use crate::{dist, findings, setup};

const ZIP_LIMIT: Duration = Duration::from_secs(120);

/// Builds, signs, checks and packs. Fails if a check does.
pub(crate) fn run(workspace: &Workspace, progress: &mut Progress) -> Result<bool> {
    setup::packages(
        workspace,
        progress,
        &[Part::Build, Part::Cross, Part::Windows],
    )?;
    let missing = |missing| anyhow::anyhow!("this machine cannot build for Windows: {missing}");
    let tools = Tools::find().map_err(missing)?;
    let objdump = llvm("llvm-objdump").map_err(missing)?;
    let log = workspace.new_log("windows")?;
    progress.begin(
        "dist",
        "driver and program for Windows (the first time takes many minutes)",
    );
    let mut run = Run {
        workspace,
        progress,
        log: &log,
    };
    let drivers = drivers(&mut run, &tools)?;
    let program = build::build_program(&mut run, &tools.rust, Grade::Release)?;
    let mut found: Vec<Finding> = check::program(&program, workspace)?;
    for (arch, driver) in Arch::ALL.into_iter().zip(&drivers) {
        found.extend(check::driver(driver, arch, &objdump, workspace)?);
    }
    found.extend(inf::check(workspace, &files(&drivers)));
    let signer = Signer::new(&mut run, &build::folder(workspace).join("signature"))?;
    for driver in &drivers {
        signer.sign(&mut run, &driver.file)?;
        found.push((
            "the driver's test signature",
            signer.verify_well(&driver.file),
        ));
    }
    let name = format!("truemute-{}-windows", env!("CARGO_PKG_VERSION"));
    let dist = workspace.target.join("dist");
    let tree = dist.join(&name);
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    for (arch, driver) in Arch::ALL.into_iter().zip(&drivers) {
        let folder = tree.join(match arch {
            // Where `truemute driver install` looks.
            Arch::X64 => "driver",
            Arch::Arm64 => "driver-arm64",
        });
        dist::copy(&driver.file, &folder.join("truemute.sys"))?;
        dist::copy(&inf::path(workspace), &folder.join("truemute.inf"))?;
    }
    dist::copy(&signer.certificate, &tree.join("truemute-test.cer"))?;
    signer.forget()?;
    dist::copy(&program, &tree.join("truemute.exe"))?;
    dist::copy(
        &workspace
            .root
            .join("driver-windows/packaging/first-day.ps1"),
        &tree.join("first-day.ps1"),
    )?;
    dist::papers(&workspace.root, &tree.join("doc"))?;
    run.progress.end();
    if !findings::say(&found) {
        return Ok(false);
    }
    let archive = zip(&mut run, &dist, &name)?;
    println!("{}\n{}", tree.display(), archive.display());
    Ok(true)
}

/// Makes NAME.zip of the folder NAME in `dist`.
fn zip(run: &mut Run<'_>, dist: &Path, name: &str) -> Result<PathBuf> {
    let archive = dist.join(format!("{name}.zip"));
    if archive.exists() {
        // zip would add to it.
        fs::remove_file(&archive)?;
    }
    let zip = program("zip").context("there is no zip (Debian: the package zip)")?;
    let mut command = Command::new(zip);
    command
        .current_dir(dist)
        .args(["-q", "-X", "-r"])
        .arg(&archive)
        .arg(name);
    let ended = run.command(command, ZIP_LIMIT, |_| {})?;
    if !ended.ok() {
        bail!(
            "zip could not pack {name} ({ended}):\n{}",
            Tail::of(run.log)
        );
    }
    Ok(archive)
}
