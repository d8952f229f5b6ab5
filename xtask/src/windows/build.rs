//! What is linked for Windows: the driver with LLVM's linker and against nothing (raw-dylib makes its imports, driver-windows/miniport
//! says how it is linked), the program with mingw-w64's linker and libraries.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cross::{Grade, Job, Rust, llvm};
use crate::report::Tail;
use crate::step::Run;
use crate::workspace::{Workspace, program};

/// Four times what the slowest build took on one core of a busy machine is a hang.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// A kind of processor that Windows has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arch {
    /// AMD's and Intel's.
    X64,
    /// ARM's.
    Arm64,
}

impl Arch {
    pub(super) const ALL: [Self; 2] = [Self::X64, Self::Arm64];

    /// Its name in the archive and in the driver's INF.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::X64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    fn kernel_target(self) -> &'static str {
        match self {
            Self::X64 => "x86_64-pc-windows-msvc",
            Self::Arm64 => "aarch64-pc-windows-msvc",
        }
    }
}

/// What building the driver needs of this machine.
pub(crate) struct Tools {
    pub(super) rust: Rust,
    linker: PathBuf,
}

impl Tools {
    /// Finds them; the error says what is missing, as the reason of a skip.
    pub(crate) fn find() -> Result<Self, String> {
        Ok(Self {
            rust: Rust::find()?,
            linker: llvm("lld-link")?,
        })
    }
}

/// The driver of one architecture, as it is shipped but for the signature.
pub(crate) struct Driver {
    /// `truemute.sys`.
    pub(crate) file: PathBuf,
    /// What the linker says is in it, name by name.
    pub(super) map: PathBuf,
}

/// Builds the driver, optimised: only so is it known that no way to panic is left in it.
pub(crate) fn build_driver(run: &mut Run<'_>, tools: &Tools, arch: Arch) -> Result<Driver> {
    let made = folder(run.workspace).join(arch.name());
    std::fs::create_dir_all(&made).with_context(|| format!("cannot make {}", made.display()))?;
    let map = made.join("truemute.map");
    let job = Job {
        target: arch.kernel_target(),
        library: "core,compiler_builtins",
        what: "--package truemute-miniport --lib --crate-type cdylib",
        linker: &tools.linker,
        flags: "",
        grade: Grade::Release,
    };
    let mut command = tools.rust.cargo(run.workspace, &job);
    command
        .arg("-Zbuild-std-features=compiler-builtins-mem")
        // Where the rest is made small, ways to panic stay that a better optimised library has not.
        .args(["--config", "profile.release.package.\"*\".opt-level=3"])
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
        .env("CARGO_PROFILE_RELEASE_LTO", "fat")
        .arg("--")
        // No time of day in it: the same sources make the same file.
        .arg("-Clink-arg=/Brepro")
        .arg(format!("-Clink-arg=/MAP:{}", map.display()));
    let target = arch.kernel_target();
    let ended = run.command(command, LIMIT, |_| {})?;
    if !ended.ok() {
        bail!(
            "the driver's build for {target} failed ({ended}):\n{}",
            Tail::of(run.log)
        );
    }
    let file = made.join("truemute.sys");
    let linked = Rust::made(run.workspace, target, "truemute_miniport.dll");
    std::fs::copy(&linked, &file).with_context(|| format!("{} is missing", linked.display()))?;
    Ok(Driver { file, map })
}

/// Builds `truemute.exe`.
pub(super) fn build_program(run: &mut Run<'_>, rust: &Rust, grade: Grade) -> Result<PathBuf> {
    let linker = mingw().map_err(anyhow::Error::msg)?;
    let target = "x86_64-pc-windows-gnu";
    let job = Job {
        target,
        library: "std,panic_unwind",
        what: "--package truemute --bin truemute",
        linker: &linker,
        flags: "",
        grade,
    };
    let mut command = rust.cargo(run.workspace, &job);
    command.env("CARGO_PROFILE_RELEASE_STRIP", "symbols");
    let ended = run.command(command, LIMIT, |_| {})?;
    if !ended.ok() {
        bail!(
            "the build for {target} failed ({ended}):\n{}",
            Tail::of(run.log)
        );
    }
    Ok(Rust::made(run.workspace, target, "truemute.exe"))
}

/// The linker for programs; the error says what is missing, as the reason of a skip.
pub(crate) fn mingw() -> Result<PathBuf, String> {
    let name = "x86_64-w64-mingw32-gcc";
    program(name).ok_or_else(|| {
        format!("there is no {name} (Debian: the package gcc-mingw-w64-x86-64-win32)")
    })
}

/// What is put together lies here.
pub(super) fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target.join("windows")
}
