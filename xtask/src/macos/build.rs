//! Cross-compiling: which tools can do it, and the calls of cargo. Rust's standard library is built too, for no Debian has it
//! for Apple's systems; that wants the library's sources, and a flag that a stable compiler takes only with RUSTC_BOOTSTRAP.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::report::Tail;
use crate::step::Run;
use crate::workspace::{Workspace, program};

/// The first macOS with Apple's own processors, and the first that the plug-in is meant for (its Info.plist says the same).
pub(super) const OLDEST_SYSTEM: &str = "11.0";

/// The oldest compiler that this workspace takes.
const OLDEST_RUST: &str = env!("CARGO_PKG_RUST_VERSION");

/// The slowest of the four builds took seven minutes on one core; four times that is a hang.
const LIMIT: Duration = Duration::from_secs(30 * 60);

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

/// How much effort the compiler makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grade {
    /// Only to be looked at.
    Quick,
    /// To be used.
    Release,
}

/// What cross-compiling needs of this machine.
pub(super) struct Tools {
    cargo: PathBuf,
    rustc: PathBuf,
    linker: PathBuf,
    lipo: PathBuf,
    /// Where the sources of the standard library are.
    library: PathBuf,
}

impl Tools {
    /// Finds them; the error says what is missing, as the reason of a skip.
    pub(super) fn find() -> Result<Self, String> {
        let llvm = |name: &str| {
            // The unversioned name, then Debian's with the version of LLVM.
            let versions = (16..40).rev().map(|version| format!("{name}-{version}"));
            std::iter::once(name.to_owned())
                .chain(versions)
                .find_map(|name| program(&name))
                .ok_or_else(|| {
                    format!("there is no {name} (Debian 12: the packages lld-22 and llvm-22)")
                })
        };
        let (linker, lipo) = (llvm("ld64.lld")?, llvm("llvm-lipo")?);
        // Debian's compiler, since a toolchain of rustup's may come first on the PATH, without the library's sources.
        let in_path = || Some((program("cargo")?, program("rustc")?));
        let candidates = [
            Some(("/usr/bin/cargo".into(), "/usr/bin/rustc".into())),
            in_path(),
        ];
        candidates
            .into_iter()
            .flatten()
            .find_map(|(cargo, rustc)| {
                let library = library_of(&rustc)?;
                Some((cargo, rustc, library))
            })
            .map(|(cargo, rustc, library)| Self {
                cargo,
                rustc,
                linker,
                lipo,
                library,
            })
            .ok_or_else(|| {
                format!("there is no Rust {OLDEST_RUST} or newer with the sources of its library (Debian 12: the packages rustc-web, cargo-web and rust-web-src; rustup: the component rust-src)")
            })
    }
}

/// Where the sources of a compiler's library are, if it is new enough and has them.
fn library_of(rustc: &Path) -> Option<PathBuf> {
    let ask = |arguments: &[&str]| {
        let output = Command::new(rustc).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let version = ask(&["--version"])?;
    let number = |text: &str| -> Option<(u32, u32)> {
        let mut parts = text.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    };
    let found = number(version.strip_prefix("rustc ")?)?;
    if found < number(OLDEST_RUST)? {
        return None;
    }
    let library = Path::new(&ask(&["--print", "sysroot"])?).join("lib/rustlib/src/rust/library");
    library.join("std/Cargo.toml").exists().then_some(library)
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

    /// What is built and put together lies here, away from the other builds, whose flags differ.
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
        self.cargo(run, arch, "--package truemute --bin truemute", &section)?;
        Ok(self.made(arch, "truemute"))
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
        self.folder().join(arch.target()).join("release").join(name)
    }

    fn cargo(&self, run: &mut Run<'_>, arch: Arch, what: &str, link: &[&str]) -> Result<()> {
        let target = arch.target();
        let upper = target.replace('-', "_").to_uppercase();
        let mut command = Command::new(&self.tools.cargo);
        command
            .current_dir(&self.workspace.root)
            .args(["rustc", "--release", "--locked", "--target", target])
            .arg("-Zbuild-std=std,panic_unwind")
            .args(what.split_whitespace())
            .env("CARGO_TARGET_DIR", self.folder())
            .env("CARGO_TERM_COLOR", "never")
            .env("CARGO_TERM_PROGRESS_WHEN", "never")
            .env("RUSTC", &self.tools.rustc)
            .env("RUSTC_BOOTSTRAP", "1")
            // The toolchain of rustup that runs this would be preferred to the compiler named here.
            .env_remove("RUSTUP_TOOLCHAIN")
            .env_remove("CARGO")
            // Where it is not set, rustc asks Apple's xcrun.
            .env("SDKROOT", self.workspace.root.join("driver-macos/stubs"))
            .env("MACOSX_DEPLOYMENT_TARGET", OLDEST_SYSTEM)
            .env(format!("CARGO_TARGET_{upper}_LINKER"), &self.tools.linker)
            .env(format!("CARGO_TARGET_{upper}_RUSTFLAGS"), self.flags());
        match self.grade {
            Grade::Quick => {
                command
                    .args(["--config", "profile.release.package.\"*\".opt-level=1"])
                    .args(["--config", "profile.release.package.truemute.opt-level=1"])
                    .env("CARGO_PROFILE_RELEASE_LTO", "off")
                    .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
                    .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
            }
            Grade::Release => {}
        }
        command
            // Mach-O keeps what a debugger needs in object files, which nobody gets: it would only name our folders. Names of
            // functions stay, for reports of crashes. (To strip, cargo would call a tool that Debian's Rust does not have.)
            .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
            .env("CARGO_PROFILE_RELEASE_STRIP", "false")
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
                "the build for {target} failed ({ended}):\n{}",
                Tail::of(run.log)
            );
        }
        Ok(())
    }

    /// No path of this machine is to be in what users get: panics name their source files.
    fn flags(&self) -> String {
        let registry = std::env::var_os("CARGO_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(std::env::home_dir()?.join(".cargo")))
            .unwrap_or_default();
        let names = [
            (self.workspace.root.as_path(), "truemute"),
            (&registry, "cargo"),
            (&self.tools.library, "rust"),
        ];
        let mut flags = "-Clinker-flavor=ld64.lld -Zunstable-options".to_owned();
        for (folder, name) in names {
            flags += &format!(" --remap-path-prefix={}={name}", folder.display());
            // Debian's sources are behind a link, and the compiler names where it leads.
            if let Ok(real) = folder.canonicalize()
                && real != folder
            {
                flags += &format!(" --remap-path-prefix={}={name}", real.display());
            }
        }
        flags
    }
}
