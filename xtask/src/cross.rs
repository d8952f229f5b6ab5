//! Cross-compiling, whatever the other system: which Rust can do it, LLVM's tools, and the calls of cargo. Rust's standard library
//! is built too, for no Debian has it for other systems; that wants the library's sources, and a flag that a stable compiler
//! takes only with RUSTC_BOOTSTRAP. What is linked, and with what, is each system's own affair (`macos`, `windows`).

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workspace::{Workspace, program};

/// The oldest compiler that this workspace takes.
const OLDEST_RUST: &str = env!("CARGO_PKG_RUST_VERSION");

/// How much effort the compiler makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grade {
    /// Not even linked: whether it compiles. It takes what is built of Rust's library for [`Grade::Quick`].
    Checked,
    /// Only to be looked at.
    Quick,
    /// To be used.
    Release,
}

/// What is to be built, and how.
pub(crate) struct Job<'a> {
    /// Rust's name of the system and processor.
    pub(crate) target: &'a str,
    /// Which parts of Rust's library, as cargo's `-Zbuild-std` takes them.
    pub(crate) library: &'a str,
    /// Packages and kinds, as `cargo rustc` takes them.
    pub(crate) what: &'a str,
    /// None: the one that the compiler finds by itself.
    pub(crate) linker: Option<&'a Path>,
    /// More flags for the compiler, for everything that is compiled.
    pub(crate) flags: &'a str,
    pub(crate) grade: Grade,
}

/// A compiler with the sources of its library.
pub(crate) struct Rust {
    cargo: PathBuf,
    rustc: PathBuf,
    library: PathBuf,
}

impl Rust {
    /// Finds one; the error says what is missing, as the reason of a skip.
    pub(crate) fn find() -> Result<Self, String> {
        // Debian's first, since a toolchain of rustup's may come first on the PATH, without the library's sources.
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
                Some(Self { cargo, rustc, library })
            })
            .ok_or_else(|| {
                format!("there is no Rust {OLDEST_RUST} or newer with the sources of its library (Debian 12: the packages rustc-web, cargo-web and rust-web-src; rustup: the component rust-src)")
            })
    }

    /// Where everything for other systems is built, away from what Rust of this system's builds. It is one folder for all of them, so that
    /// what runs here during a build (procedural macros, build scripts) is compiled once.
    pub(crate) fn folder(workspace: &Workspace) -> PathBuf {
        workspace.target.join("cross")
    }

    /// Where a job leaves what it makes.
    pub(crate) fn made(workspace: &Workspace, target: &str, name: &str) -> PathBuf {
        let folder = Self::folder(workspace).join(target);
        folder.join("release").join(name)
    }

    /// `cargo rustc` for a job, or `cargo check`; arguments for cargo can follow, and for `rustc`, after `--`, such for the compiler of
    /// the last crate.
    pub(crate) fn cargo(&self, workspace: &Workspace, job: &Job<'_>) -> Command {
        let verb = match job.grade {
            Grade::Checked => "check",
            Grade::Quick | Grade::Release => "rustc",
        };
        let mut command = Command::new(&self.cargo);
        command
            .current_dir(&workspace.root)
            .args([verb, "--release", "--locked", "--target", job.target])
            .arg(format!("-Zbuild-std={}", job.library))
            .args(job.what.split_whitespace())
            .env("CARGO_TARGET_DIR", Self::folder(workspace))
            .env("CARGO_TERM_COLOR", "never")
            .env("CARGO_TERM_PROGRESS_WHEN", "never")
            .env("RUSTC", &self.rustc)
            .env("RUSTC_BOOTSTRAP", "1")
            // The toolchain of rustup that runs this would be preferred to the compiler named here.
            .env_remove("RUSTUP_TOOLCHAIN")
            .env_remove("CARGO")
            // Flags stand between these, so that folders may have spaces. What runs during the build does not get them.
            .env(
                "CARGO_ENCODED_RUSTFLAGS",
                self.flags(workspace, job).join("\u{1f}"),
            )
            // What a debugger needs nobody gets, and it would name our folders.
            .env("CARGO_PROFILE_RELEASE_DEBUG", "0");
        if let Some(linker) = job.linker {
            let upper = job.target.replace('-', "_").to_uppercase();
            command.env(format!("CARGO_TARGET_{upper}_LINKER"), linker);
        }
        match job.grade {
            Grade::Checked | Grade::Quick => {
                command
                    .args(["--config", "profile.release.package.\"*\".opt-level=0"])
                    .args(["--config", "profile.release.package.truemute.opt-level=0"])
                    // Without the reading of debuggers' data for backtraces, which is a seventh of the library.
                    .arg("-Zbuild-std-features=panic-unwind")
                    .env("CARGO_PROFILE_RELEASE_LTO", "off")
                    .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
                    .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
            }
            Grade::Release => {}
        }
        command
    }

    /// The job's flags, and that no path of this machine is to be in what users get: panics name their source files.
    fn flags(&self, workspace: &Workspace, job: &Job<'_>) -> Vec<String> {
        let registry = std::env::var_os("CARGO_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(std::env::home_dir()?.join(".cargo")))
            .unwrap_or_default();
        let names = [
            (workspace.root.as_path(), "truemute"),
            (&registry, "cargo"),
            (&self.library, "rust"),
        ];
        let mut flags: Vec<String> = job.flags.split_whitespace().map(str::to_owned).collect();
        for (folder, name) in names {
            flags.push(format!("--remap-path-prefix={}={name}", folder.display()));
            // Debian's sources are behind a link, and the compiler names where it leads.
            if let Ok(real) = folder.canonicalize()
                && real != folder
            {
                flags.push(format!("--remap-path-prefix={}={name}", real.display()));
            }
        }
        flags
    }
}

/// One of LLVM's tools, by Debian's name with the version of LLVM, the newest first, or by its plain name; the error names Debian's packages.
pub(crate) fn llvm(name: &str) -> Result<PathBuf, String> {
    let versions = (16..40).rev().map(|version| format!("{name}-{version}"));
    versions
        .chain([name.to_owned()])
        .find_map(|name| program(&name))
        .ok_or_else(|| format!("there is no {name} (Debian 12: the packages lld-22 and llvm-22; Windows: LLVM's installer, with its programs on the PATH)"))
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
