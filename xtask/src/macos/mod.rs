//! TrueMute for macOS, made and looked at on Linux: [`build`] cross-compiles with a Rust that brings its sources and LLVM's
//! linker, [`bundle`] puts the two bundles together, [`sign`] signs them ad hoc, [`check`] looks at what came out, and [`pack`]
//! makes the archive. Nothing of Apple's is needed: what is linked against is our own text (driver-macos/stubs).

pub(crate) mod build;
mod bundle;
mod check;
mod mach_o;
mod pack;
mod sign;
mod signature;

pub(crate) use pack::run as dist;
pub(crate) use sign::install as install_signer;

use anyhow::Result;

use crate::cross::Grade;
use crate::findings;
use crate::step::Run;
use crate::tally::Tally;
use build::{Arch, Build, Tools};
use bundle::Bundles;

/// The `macos` step: builds the driver for Apple's own processors and looks at it, and has the compiler look at the program. For Intel's
/// as well it would say little more; the rest is for [`test_program`]. From nothing: 198 s of a processor, on a busy machine.
pub(crate) fn test(run: &mut Run<'_>) -> Result<Tally> {
    let mut tally = pack::check_scripts(run)?;
    let tools = match Tools::find() {
        Ok(tools) => tools,
        Err(missing) => {
            tally.add(Tally::skip("the build for macOS", missing));
            return Ok(tally);
        }
    };
    let build = Build::new(run.workspace, &tools, Grade::Quick);
    let driver = bundle::driver(run, &build, &[Arch::Arm64])?;
    findings::count(&mut tally, check::driver(&driver, run.workspace)?);
    let ended = build.check_program(run, Arch::Arm64)?;
    tally.add(Tally::of(ended, "the program compiles for macOS"));
    let ended = build.check_declarations(run, Arch::Arm64)?;
    tally.add(Tally::of(
        ended,
        "the driver's declarations are Apple's, as objc2-core-audio has them",
    ));
    Ok(tally)
}

/// The `macos-program` step: links the program as well, looks at both bundles, and signs them if it can.
pub(crate) fn test_program(run: &mut Run<'_>) -> Result<Tally> {
    let tools = match Tools::find() {
        Ok(tools) => tools,
        Err(missing) => return Ok(Tally::skip("the bundles for macOS", missing)),
    };
    let mut tally = Tally::default();
    let build = Build::new(run.workspace, &tools, Grade::Quick);
    let bundles = Bundles::assemble(run, &build, &[Arch::Arm64])?;
    findings::count(&mut tally, check::all(&bundles, run.workspace)?);
    match sign::installed(run.workspace) {
        Some(signer) => {
            signer.sign(run, &bundles)?;
            findings::count(&mut tally, check::signatures(&bundles)?);
        }
        None => tally.add(Tally::skip(
            "the signatures of the bundles for macOS",
            "rcodesign takes too long to build for every test; after `cargo xtask setup cross macos` it is there",
        )),
    }
    Ok(tally)
}
