//! What is linked for Windows: the driver with LLVM's linker and against nothing (raw-dylib makes its imports; [`super::wdk`] links it
//! against a WDK), the program with mingw-w64's linker and libraries.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cross::{Grade, Job, Rust, llvm};
use crate::report::Tail;
use crate::step::Run;
use crate::workspace::{Workspace, program};

/// Four times what the slowest build took on one core of a busy machine is a hang.
pub(super) const LIMIT: Duration = Duration::from_secs(30 * 60);

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
    linker: Option<PathBuf>,
}

impl Tools {
    /// Finds them; the error says what is missing, as the reason of a skip.
    pub(crate) fn find() -> Result<Self, String> {
        // On Windows the compiler finds Microsoft's linker by itself.
        let linker = match cfg!(windows) {
            true => None,
            false => Some(llvm("lld-link")?),
        };
        Ok(Self {
            rust: Rust::find()?,
            linker,
        })
    }
}

/// The driver of one architecture, as it is shipped but for the signature.
pub(crate) struct Driver {
    /// `truemute.sys`.
    pub(crate) file: PathBuf,
    /// What the linker says is in it, name by name.
    pub(super) map: PathBuf,
    /// What it exports besides its entry, which is of no use to anybody.
    pub(super) exports: &'static [&'static str],
}

/// What the linker is told for a driver of the kernel: no library of user mode, the native subsystem of Windows 10, and the entry that the
/// system calls.
const LINKED: [&str; 7] = [
    "/NODEFAULTLIB",
    "/SUBSYSTEM:NATIVE,10.00",
    "/DRIVER:WDM",
    "/ENTRY:DriverEntry",
    "/DYNAMICBASE",
    "/NXCOMPAT",
    // No time of day in it: the same sources make the same file.
    "/Brepro",
];

/// A package whose library is a driver.
pub(super) struct Package<'a> {
    pub(super) name: &'a str,
    /// The workspace that it is built in, and where cargo puts what it makes of it; else ours.
    pub(super) elsewhere: Option<(&'a Path, &'a Path)>,
    /// More for the linker.
    pub(super) linked: &'a [&'a str],
    /// More for the environment.
    pub(super) environment: &'a [(&'a str, &'a str)],
    pub(super) exports: &'static [&'static str],
}

/// Builds the driver, optimised: only so is it known that no way to panic is left in it.
pub(crate) fn build_driver(run: &mut Run<'_>, tools: &Tools, arch: Arch) -> Result<Driver> {
    let package = Package {
        name: "truemute-miniport",
        elsewhere: None,
        linked: &[],
        environment: &[],
        exports: &[],
    };
    let made = folder(run.workspace).join(arch.name());
    link_driver(run, tools, arch, &package, &made)
}

/// Builds a driver into the folder `made`.
pub(super) fn link_driver(
    run: &mut Run<'_>,
    tools: &Tools,
    arch: Arch,
    package: &Package<'_>,
    made: &Path,
) -> Result<Driver> {
    std::fs::create_dir_all(made).with_context(|| format!("cannot make {}", made.display()))?;
    let map = made.join("truemute.map");
    let target = arch.kernel_target();
    let job = Job {
        target,
        library: "core,compiler_builtins",
        what: &format!("--package {} --lib --crate-type cdylib", package.name),
        linker: tools.linker.as_deref(),
        flags: "",
        grade: Grade::Release,
    };
    let mut command = tools.rust.cargo(run.workspace, &job);
    command
        .arg("-Zbuild-std-features=compiler-builtins-mem")
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
        .env("CARGO_PROFILE_RELEASE_LTO", "fat")
        .envs(package.environment.iter().copied());
    let mut built = Rust::folder(run.workspace);
    if let Some((workspace, target)) = package.elsewhere {
        command
            .current_dir(workspace)
            .env("CARGO_TARGET_DIR", target);
        built = target.to_owned();
    } else {
        // Where the rest is made small, ways to panic stay that a better optimised library has not.
        command.args(["--config", "profile.release.package.\"*\".opt-level=3"]);
    }
    command
        .arg("--")
        .arg(format!("-Clink-arg=/MAP:{}", map.display()));
    for argument in package.linked.iter().chain(&LINKED) {
        command.arg(format!("-Clink-arg={argument}"));
    }
    ended_well(run, command, &format!("the driver's build for {target}"))?;
    let file = made.join("truemute.sys");
    let linked = format!("{}.dll", package.name.replace('-', "_"));
    let linked = built.join(target).join("release").join(linked);
    std::fs::copy(&linked, &file).with_context(|| format!("{} is missing", linked.display()))?;
    Ok(Driver {
        file,
        map,
        exports: package.exports,
    })
}

/// Runs a command of a build, and fails if it does.
pub(super) fn ended_well(run: &mut Run<'_>, command: Command, what: &str) -> Result<()> {
    let ended = run.command(command, LIMIT, |_| {})?;
    if !ended.ok() {
        bail!("{what} failed ({ended}):\n{}", Tail::of(run.log));
    }
    Ok(())
}

/// Builds `truemute.exe`.
pub(super) fn build_program(run: &mut Run<'_>, rust: &Rust, grade: Grade) -> Result<PathBuf> {
    let linker = mingw().map_err(anyhow::Error::msg)?;
    let target = "x86_64-pc-windows-gnu";
    let job = Job {
        target,
        library: "std,panic_unwind",
        what: "--package truemute --bin truemute",
        linker: Some(&linker),
        flags: "",
        grade,
    };
    let mut command = rust.cargo(run.workspace, &job);
    command.env("CARGO_PROFILE_RELEASE_STRIP", "symbols");
    ended_well(run, command, &format!("the build for {target}"))?;
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
