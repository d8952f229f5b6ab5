//! What is linked for macOS: with LLVM's linker, against our own list of names (driver-macos/stubs).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cross::{Grade, Job, Rust, llvm};
use crate::process::Ended;
use crate::report::Tail;
use crate::step::Run;
use crate::workspace::Workspace;

/// The first macOS with Apple's own processors, and the first that the plug-in is meant for (its Info.plist says the same).
pub(super) const OLDEST_SYSTEM: &str = "11.0";

/// The slowest of the four builds took seven minutes on one core; four times that is a hang.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// What of the workspace the program is.
const PROGRAM: &str = "--package truemute --bin truemute";

/// What of the workspace compares the driver's declarations with Apple's, and does so by compiling.
const DECLARATIONS: &str = "--package truemute-hal --test apple";

/// A kind of processor that Macs have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arch {
    /// Apple's own.
    Arm64,
    /// Intel's.
    X86_64,
}

impl Arch {
    pub(super) const ALL: [Self; 2] = [Self::Arm64, Self::X86_64];

    fn target(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64-apple-darwin",
            Self::X86_64 => "x86_64-apple-darwin",
        }
    }
}

/// What cross-compiling needs of this machine.
pub(super) struct Tools {
    rust: Rust,
    linker: PathBuf,
    lipo: PathBuf,
}

impl Tools {
    /// Finds them; the error says what is missing, as the reason of a skip.
    pub(super) fn find() -> Result<Self, String> {
        Ok(Self {
            rust: Rust::find()?,
            linker: llvm("ld64.lld")?,
            lipo: llvm("llvm-lipo")?,
        })
    }
}

/// One way of building.
pub(super) struct Build<'a> {
    workspace: &'a Workspace,
    tools: &'a Tools,
    grade: Grade,
}

impl<'a> Build<'a> {
    pub(super) fn new(workspace: &'a Workspace, tools: &'a Tools, grade: Grade) -> Self {
        Self {
            workspace,
            tools,
            grade,
        }
    }

    /// What is put together lies here.
    pub(super) fn folder(&self) -> PathBuf {
        self.workspace.target.join("macos")
    }

    /// Builds the plug-in for one architecture. A bundle is what CFBundle loads (ld(1), -bundle), where Rust would make a dylib.
    pub(super) fn plug_in(&self, run: &mut Run<'_>, arch: Arch) -> Result<PathBuf> {
        let made = "libtruemute_hal.dylib";
        self.cargo(
            run,
            arch,
            "--package truemute-hal --lib --crate-type cdylib",
            &["-bundle"],
        )?;
        Ok(self.made(arch, made))
    }

    /// Builds `truemute` for one architecture, with `plist` in its text: so a program outside of its bundle has it too.
    pub(super) fn program(&self, run: &mut Run<'_>, arch: Arch, plist: &Path) -> Result<PathBuf> {
        let plist = plist.to_string_lossy();
        let section = ["-sectcreate", "__TEXT", "__info_plist", &plist];
        self.cargo(run, arch, PROGRAM, &section)?;
        Ok(self.made(arch, "truemute"))
    }

    /// Whether `truemute` compiles for one architecture, and nothing more.
    pub(super) fn check_program(&self, run: &mut Run<'_>, arch: Arch) -> Result<Ended> {
        self.check(run, arch, PROGRAM)
    }

    /// Whether the driver's layouts and codes are those of the bindings that are made from Apple's headers.
    pub(super) fn check_declarations(&self, run: &mut Run<'_>, arch: Arch) -> Result<Ended> {
        self.check(run, arch, DECLARATIONS)
    }

    fn check(&self, run: &mut Run<'_>, arch: Arch, what: &str) -> Result<Ended> {
        let command = self.command(arch, what, Grade::Checked);
        run.command(command, LIMIT, |_| {})
    }

    /// One file for several architectures.
    pub(super) fn universal(&self, parts: &[PathBuf], to: &Path) -> Result<()> {
        if let Some(folder) = to.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let joined = Command::new(&self.tools.lipo)
            .arg("-create")
            .args(parts)
            .arg("-output")
            .arg(to)
            .status()
            .with_context(|| format!("cannot start {}", self.tools.lipo.display()))?;
        if !joined.success() {
            bail!(
                "{} could not make {}",
                self.tools.lipo.display(),
                to.display()
            );
        }
        Ok(())
    }

    fn made(&self, arch: Arch, name: &str) -> PathBuf {
        Rust::made(self.workspace, arch.target(), name)
    }

    fn command(&self, arch: Arch, what: &str, grade: Grade) -> Command {
        let job = Job {
            target: arch.target(),
            library: "std,panic_unwind",
            what,
            linker: Some(&self.tools.linker),
            flags: "-Clinker-flavor=ld64.lld -Zunstable-options",
            grade,
        };
        let mut command = self.tools.rust.cargo(self.workspace, &job);
        command
            // Where it is not set, rustc asks Apple's xcrun.
            .env("SDKROOT", self.workspace.root.join("driver-macos/stubs"))
            .env("MACOSX_DEPLOYMENT_TARGET", OLDEST_SYSTEM)
            // Names of functions stay, for reports of crashes. (To strip, cargo would call a tool that Debian's Rust does not have.)
            .env("CARGO_PROFILE_RELEASE_STRIP", "false");
        command
    }

    fn cargo(&self, run: &mut Run<'_>, arch: Arch, what: &str, link: &[&str]) -> Result<()> {
        let mut command = self.command(arch, what, self.grade);
        command
            // Rust's library asks for libiconv, which nothing here calls.
            .args([
                "--",
                "-Cstrip=none",
                "-Clink-arg=-S",
                "-Clink-arg=-dead_strip_dylibs",
            ])
            .args(link.iter().map(|argument| format!("-Clink-arg={argument}")));
        let ended = run.command(command, LIMIT, |_| {})?;
        if !ended.ok() {
            bail!(
                "the build for {} failed ({ended}):\n{}",
                arch.target(),
                Tail::of(run.log)
            );
        }
        Ok(())
    }
}
