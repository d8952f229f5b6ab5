//! TrueMute for Windows, made and looked at on Linux: [`build`] cross-compiles the driver and the program, [`check`] looks at what came
//! out ([`pe`], [`map`] and [`code`] read it, [`allowed`] has what the driver may import), [`inf`] reads the driver's INF,
//! [`sign`] signs for a test, [`pack`] makes the archive, and [`wine`](mod@wine) has it loaded once. [`wdk`](mod@wdk) links the driver
//! against a Windows Driver Kit, or against what stands in for one ([`stand_in`]); [`release`] does so on Windows.

mod allowed;
mod build;
mod check;
mod code;
mod inf;
mod map;
mod pack;
mod pe;
mod release;
mod sign;
mod stand_in;
mod wdk;
mod wine;

pub(crate) use build::{Arch, Tools, build_driver, mingw};
pub(crate) use wine::test as wine;

use std::path::PathBuf;

use anyhow::Result;

use crate::cross::{Grade, Rust, llvm};
use crate::report::Progress;
use crate::step::Run;
use crate::tally::Tally;
use crate::workspace::Workspace;
use crate::{findings, nt};

/// `cargo xtask dist --target windows`: on Windows the driver against a WDK, elsewhere everything without one.
pub(crate) fn dist(workspace: &Workspace, progress: &mut Progress) -> Result<bool> {
    match cfg!(windows) {
        true => release::run(workspace, progress),
        false => pack::run(workspace, progress),
    }
}

/// The `windows` step: builds the driver for both architectures, and looks at them and at the INF.
pub(crate) fn test(run: &mut Run<'_>) -> Result<Tally> {
    let (tools, objdump) = match (Tools::find(), llvm("llvm-objdump")) {
        (Ok(tools), Ok(objdump)) => (tools, objdump),
        (Err(missing), _) | (_, Err(missing)) => {
            return Ok(Tally::skip("the driver for Windows", missing));
        }
    };
    let mut tally = Tally::default();
    let drivers = drivers(run, &tools)?;
    for (arch, driver) in Arch::ALL.iter().zip(&drivers) {
        let found = check::driver(driver, *arch, &objdump, run.workspace)?;
        findings::count(&mut tally, found);
    }
    findings::count(&mut tally, inf::check(run.workspace, &files(&drivers)));
    Ok(tally)
}

/// The `windows-program` step: builds the program quickly, and looks at it.
pub(crate) fn test_program(run: &mut Run<'_>) -> Result<Tally> {
    let rust = match (Rust::find(), mingw()) {
        (Ok(rust), Ok(_)) => rust,
        (Err(missing), _) | (_, Err(missing)) => {
            return Ok(Tally::skip("the program for Windows", missing));
        }
    };
    let program = build::build_program(run, &rust, Grade::Quick)?;
    let mut tally = Tally::default();
    findings::count(&mut tally, check::program(&program, run.workspace)?);
    Ok(tally)
}

/// The `wdk` step: links the driver against what stands in for a WDK, looks at it, and drives it.
pub(crate) fn test_wdk(run: &mut Run<'_>) -> Result<Tally> {
    let (tools, objdump) = match (Tools::find(), llvm("llvm-objdump"), mingw()) {
        (Ok(tools), Ok(objdump), Ok(_)) => (tools, objdump),
        (Err(missing), ..) | (_, Err(missing), _) | (.., Err(missing)) => {
            return Ok(Tally::skip("the driver against a WDK", missing));
        }
    };
    let kit = stand_in::kit(run)?;
    stand_in::copy(run)?;
    let driver = wdk::build(run, &tools, Arch::X64, &kit)?;
    let mut tally = Tally::default();
    let found = check::driver(&driver, Arch::X64, &objdump, run.workspace)?;
    findings::count(&mut tally, found);
    tally.add(nt::drive(run, &driver.file, "cc")?);
    Ok(tally)
}

/// The drivers, in the order of [`Arch::ALL`].
fn drivers(run: &mut Run<'_>, tools: &Tools) -> Result<Vec<build::Driver>> {
    let built = Arch::ALL.iter().map(|arch| build_driver(run, tools, *arch));
    built.collect()
}

fn files(drivers: &[build::Driver]) -> Vec<(Arch, PathBuf)> {
    let files = drivers.iter().map(|driver| driver.file.clone());
    Arch::ALL.into_iter().zip(files).collect()
}
