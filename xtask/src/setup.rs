//! `cargo xtask setup`: installs what is missing, and only that. Debian's packages here; the Debian 13 root and
//! cargo-deny have their own files.

use std::collections::HashSet;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::packages::{PACKAGES, Package, Part, Probe};
use crate::process::interrupted;
use crate::report::{Progress, Tail};
use crate::workspace::{Workspace, is_root, program};

/// A slow mirror and two browsers: still no reason to wait longer.
const APT_LIMIT: Duration = Duration::from_secs(20 * 60);

/// The system that this runs on, as far as package names go.
enum System {
    /// Debian of a version whose package names are known here: "12" or "13".
    Debian(String),
    /// Anything else, by the name it gives itself.
    Other(String),
}

/// Installs the packages of `parts` that are missing. Fails if a package of [`Part::Build`] or [`Part::Run`] cannot be
/// had; a missing package of the others is only said ([`Part::is_extra`]), since what needs it says so itself.
pub(crate) fn packages(
    workspace: &Workspace,
    progress: &mut Progress,
    parts: &[Part],
) -> Result<()> {
    let mut wanted: Vec<&Package> = PACKAGES
        .iter()
        .filter(|package| parts.contains(&package.part))
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let missing = match system() {
        System::Debian(version) => {
            wanted.retain(|package| package.only_in.is_none_or(|only| only == version));
            missing_on_debian(&wanted)?
        }
        System::Other(name) => return check_elsewhere(progress, &name, &wanted),
    };
    if missing.is_empty() {
        progress.say(&format!("All {} Debian packages are there.", wanted.len()));
        return Ok(());
    }
    progress.say("Missing Debian packages:");
    for package in &missing {
        progress.say(&format!("  {:<26} {}", package.name, package.why));
    }
    let Err(error) = install(workspace, progress, &missing) else {
        return Ok(());
    };
    let (extra, needed): (Vec<&Package>, Vec<&Package>) =
        missing.iter().partition(|package| package.part.is_extra());
    if extra.is_empty()
        || interrupted().load(Ordering::Relaxed)
        || (!needed.is_empty() && !is_root())
    {
        return Err(error);
    }
    progress.say(&format!(
        "{error:#}.\nGoing on: tests that need one of these packages will be skipped."
    ));
    if is_root() {
        // One that cannot be had must not keep the others away.
        install(workspace, progress, &needed)?;
        for package in extra {
            if let Err(error) = install(workspace, progress, &[package]) {
                progress.say(&format!("{error:#}"));
            }
        }
    }
    Ok(())
}

/// Brings apt's lists up to date and installs: as root at once, else through sudo after asking.
fn install(workspace: &Workspace, progress: &mut Progress, packages: &[&Package]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = packages.iter().map(|package| package.name).collect();
    // One unreachable source of several makes `update` fail; what is needed may still be there.
    let line = format!(
        "apt-get update; DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends {}",
        names.join(" ")
    );
    if is_root() {
        let log = workspace.new_log("apt")?;
        let mut command = Command::new("sh");
        command.args(["-c", &line]);
        progress.begin("packages", &line);
        let ended = progress.run(command, &log, APT_LIMIT, |_| {})?;
        progress.end();
        if !ended.ok() {
            bail!(
                "`{line}` failed ({ended}):\n{}Run it by hand to see more",
                Tail::of(&log)
            );
        }
        return Ok(());
    }
    let whole = format!("sudo sh -c '{line}'");
    ask(&whole)?;
    let status = Command::new("sudo")
        .args(["sh", "-c", &line])
        .status()
        .with_context(|| format!("cannot start sudo; as root, run: {line}"))?;
    if !status.success() {
        bail!("`{whole}` failed ({status}). Run it by hand to see more");
    }
    Ok(())
}

/// Asks before anything is done as root.
pub(crate) fn ask(line: &str) -> Result<()> {
    if !io::stdin().is_terminal() {
        bail!(
            "packages are missing, and there is nobody to ask about sudo. Run this, then try again:\n  {line}"
        );
    }
    print!("Run this now?\n  {line}\n[y/N] ");
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    if !matches!(answer.trim(), "y" | "Y" | "yes") {
        bail!("packages are missing. Run this yourself, then try again:\n  {line}");
    }
    Ok(())
}

/// Whether this system is the other Debian that tests want.
pub(crate) fn is_debian13() -> bool {
    matches!(system(), System::Debian(version) if version == "13")
}

fn system() -> System {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |key: &str| {
        text.lines()
            .find_map(|line| {
                Some(
                    line.strip_prefix(key)?
                        .strip_prefix('=')?
                        .trim_matches('"')
                        .to_owned(),
                )
            })
            .unwrap_or_default()
    };
    match (field("ID").as_str(), field("VERSION_ID").as_str()) {
        ("debian", version @ ("12" | "13")) => System::Debian(version.to_owned()),
        (_, _) => System::Other(field("PRETTY_NAME")),
    }
}

fn missing_on_debian<'a>(wanted: &[&'a Package]) -> Result<Vec<&'a Package>> {
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"])
        .args(wanted.iter().map(|package| package.name))
        .output()
        .context("cannot run dpkg-query, which every Debian has")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let there: HashSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_suffix(" installed"))
        .collect();
    Ok(wanted
        .iter()
        .copied()
        .filter(|package| !there.contains(package.name))
        .collect())
}

/// On a system whose package names are not known: looks for what the packages give, and goes on if all is there.
fn check_elsewhere(progress: &Progress, system: &str, wanted: &[&Package]) -> Result<()> {
    let missing: Vec<&&Package> = wanted
        .iter()
        .filter(|package| !is_there(package.probe))
        .collect();
    if missing.is_empty() {
        progress.say(&format!(
            "{system}: no package is installed here, but all that is needed was found."
        ));
        return Ok(());
    }
    progress.say(&format!(
        "{system}: packages are installed on Debian 12 and 13 only. Install what gives the same as these Debian packages:"
    ));
    for package in &missing {
        progress.say(&format!("  {:<26} {}", package.name, package.why));
    }
    if missing.iter().any(|package| !package.part.is_extra()) {
        bail!("packages are missing that building or running needs. Install them, then try again");
    }
    progress.say("Going on: tests that need one of these will be skipped.");
    Ok(())
}

fn is_there(probe: Probe) -> bool {
    match probe {
        Probe::Program(name) => program(name).is_some(),
        Probe::PkgConfig(module) => Command::new("pkg-config")
            .args(["--exists", module])
            .status()
            .is_ok_and(|status| status.success()),
        Probe::Library(file) => library_folders()
            .iter()
            .any(|folder| folder.join(file).exists()),
    }
}

fn library_folders() -> Vec<std::path::PathBuf> {
    let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
    let mut folders: Vec<_> = ["/usr/lib", "/usr/lib64"]
        .iter()
        .map(|folder| Path::new(folder).to_owned())
        .collect();
    folders.push(Path::new("/usr/lib").join(triplet));
    // LLVM keeps a folder for each of its versions: /usr/lib/llvm-14/lib/libclang.so.
    if let Ok(entries) = fs::read_dir("/usr/lib") {
        folders.extend(
            entries
                .flatten()
                .filter(|entry| entry.file_name().to_string_lossy().starts_with("llvm"))
                .map(|entry| entry.path().join("lib")),
        );
    }
    folders
}
