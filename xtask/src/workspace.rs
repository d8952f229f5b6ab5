//! Where things are: the sources, what cargo builds, our logs and tools. Nothing outside these folders is written.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// The folders of this clone.
pub(crate) struct Workspace {
    /// The folder with the workspace's Cargo.toml.
    pub(crate) root: PathBuf,
    /// Cargo's target directory, also when CARGO_TARGET_DIR or a configuration file moved it.
    pub(crate) target: PathBuf,
}

impl Workspace {
    pub(crate) fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask lies in the workspace's folder")?
            .to_owned();
        // This program is TARGET/debug/xtask: so no guess about configuration is needed.
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let target = program
            .ancestors()
            .nth(2)
            .context("xtask must be started by cargo")?
            .to_owned();
        Ok(Self { root, target })
    }

    /// `cargo` in the workspace's folder, with the words of `args`, without colours: its output goes to a log.
    pub(crate) fn cargo(&self, args: &str) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command
            .current_dir(&self.root)
            .args(args.split_whitespace())
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_TERM_COLOR", "never")
            .env("CARGO_TERM_PROGRESS_WHEN", "never");
        command
    }

    /// The log of one step.
    pub(crate) fn log(&self, step: &str) -> PathBuf {
        self.target.join("test-logs").join(format!("{step}.log"))
    }

    /// The log of one step, empty.
    pub(crate) fn new_log(&self, step: &str) -> Result<PathBuf> {
        let log = self.log(step);
        let folder = self.target.join("test-logs");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::write(&log, "").with_context(|| format!("cannot write {}", log.display()))?;
        Ok(log)
    }

    /// The folder of tools that are built here, kept by version.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }
}

/// Whether this process may do what only root may.
pub(crate) fn is_root() -> bool {
    #[cfg(unix)]
    return rustix::process::geteuid().is_root();
    #[cfg(not(unix))]
    false
}

/// Where a program is, if it is on the PATH (and in the system folders that an ordinary user's PATH leaves out).
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let name = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(&name))
        .find(|file| file.is_file() && may_be_executed(file))
}

fn may_be_executed(_file: &Path) -> bool {
    #[cfg(unix)]
    return rustix::fs::access(_file, rustix::fs::Access::EXEC_OK).is_ok();
    #[cfg(not(unix))]
    true
}
