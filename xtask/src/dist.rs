//! `cargo xtask dist`: the release build with manual pages, completions, the systemd user unit and papers, as a tree
//! that fits under /usr or ~/.local, and as an archive of it. What the archive for macOS has in common with it is here too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::packages::Part;
use crate::report::{Progress, Tail};
use crate::step::Run;
use crate::workspace::Workspace;
use crate::{demo, setup};

/// The systems that it can be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// The system that this runs on.
    Linux,
    /// Both kinds of Mac, cross-compiled.
    Macos,
    /// Cross-compiled, too: the driver for both kinds of processor, the program for one.
    Windows,
}

const LIMIT: Duration = Duration::from_secs(20 * 60);
const UNIT: &str = "share/systemd/user/truemute.service";

/// Builds the tree and its archive; with `install`, copies the tree to ~/.local.
pub(crate) fn run(workspace: &Workspace, progress: &mut Progress, install: bool) -> Result<bool> {
    setup::packages(workspace, progress, &[Part::Build])?;
    let program = demo::build_release(workspace, progress)?;
    let name = format!(
        "truemute-{}-{}-{}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        std::env::consts::OS
    );
    let dist = workspace.target.join("dist");
    let tree = dist.join(&name);
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    let log = workspace.new_log("dist")?;
    progress.begin("dist", "manual pages, completions, papers");
    fill(
        &mut Run {
            workspace,
            progress,
            log: &log,
        },
        &tree,
        &program,
    )?;
    progress.end();
    let archive = pack(&dist, &name)?;
    println!("{}\n{}", tree.display(), archive.display());
    if install {
        self::install(&tree)?;
    }
    Ok(true)
}

/// Makes NAME.tar.gz of the folder NAME in `dist`.
pub(crate) fn pack(dist: &Path, name: &str) -> Result<PathBuf> {
    let archive = dist.join(format!("{name}.tar.gz"));
    let packed = Command::new("tar")
        .args([
            "--sort=name",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
            "--gzip",
            "--create",
            "--file",
        ])
        .arg(&archive)
        .arg("--directory")
        .arg(dist)
        .arg(name)
        .status()
        .context("cannot start tar")?;
    if !packed.success() {
        bail!("tar could not pack {}", dist.join(name).display());
    }
    Ok(archive)
}

/// The program, what is generated from it, and what the repository has.
fn fill(run: &mut Run<'_>, tree: &Path, program: &Path) -> Result<()> {
    let root = &run.workspace.root;
    copy(program, &tree.join("bin/truemute"))?;
    manuals(run, tree)?;
    copy(
        &root.join("control/packaging/systemd/truemute.service"),
        &tree.join(UNIT),
    )?;
    // Where polkit looks if the tree is copied to /usr; below ~/.local it is for root to put there.
    copy(
        &root.join("control/packaging/polkit/org.truemute.policy"),
        &tree.join("share/polkit-1/actions/org.truemute.policy"),
    )?;
    papers(root, &tree.join("share/doc/truemute"))
}

/// What is generated from the program's arguments.
pub(crate) fn manuals(run: &mut Run<'_>, tree: &Path) -> Result<()> {
    generate(run, "man", &tree.join("share/man/man1"))?;
    let completions = run.workspace.target.join("dist/completions");
    generate(run, "completions", &completions)?;
    for (file, place) in [
        (
            "truemute.bash",
            "share/bash-completion/completions/truemute",
        ),
        ("_truemute", "share/zsh/site-functions/_truemute"),
        (
            "truemute.fish",
            "share/fish/vendor_completions.d/truemute.fish",
        ),
    ] {
        copy(&completions.join(file), &tree.join(place))?;
    }
    Ok(())
}

/// What people read.
pub(crate) fn papers(root: &Path, papers: &Path) -> Result<()> {
    for file in [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CITATION.cff",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "control/config.toml",
    ] {
        let from = root.join(file);
        copy(
            &from,
            &papers.join(from.file_name().context("a file has a name")?),
        )?;
    }
    copy_tree(&root.join("docs"), &papers.join("docs"))
}

/// Copies the tree to ~/.local, where a user's programs, manual pages and units are looked for without any setting.
fn install(tree: &Path) -> Result<()> {
    let home =
        std::env::var_os("HOME").context("HOME is not set, so there is no place to install to")?;
    let prefix = Path::new(&home).join(".local");
    let program = prefix.join("bin/truemute");
    if program.exists() {
        // A running program cannot be written to, but its name can be given to another.
        fs::remove_file(&program)?;
    }
    copy_tree(tree, &prefix)?;
    // The unit in the tree is a package's; `truemute install` writes the user's own, and removes it again.
    fs::remove_file(prefix.join(UNIT))?;
    println!(
        "Installed in {}. Have it start at each login, and apps get silence without it:\n  truemute install --restart",
        prefix.display()
    );
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|folder| folder == prefix.join("bin")) {
        println!(
            "{} is not on your PATH: log in again, or add it.",
            prefix.join("bin").display()
        );
    }
    Ok(())
}

/// Has control/examples/generate.rs write one kind of file into a folder.
fn generate(run: &mut Run<'_>, kind: &str, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let args = format!("run --package truemute --example generate --locked -- {kind}");
    let mut command = run.workspace.cargo(&args);
    command.arg(folder);
    let ended = run.progress.run(command, run.log, LIMIT, |_| {})?;
    if !ended.ok() {
        bail!("cannot generate {kind} ({ended}):\n{}", Tail::of(run.log));
    }
    Ok(())
}

/// Copies a file, and makes the folders above it.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = to
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::copy(from, to));
    copied.with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

/// Copies a folder with all that is in it.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let entries = fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?;
    for entry in entries {
        let (source, target): (PathBuf, PathBuf) =
            entry.map(|it| (it.path(), to.join(it.file_name())))?;
        if source.is_dir() {
            copy_tree(&source, &target)?
        } else {
            copy(&source, &target)?
        }
    }
    Ok(())
}
