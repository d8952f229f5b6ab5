//! The `deny` step: licences, sources, duplicates and known vulnerabilities of everything we depend on.
//! cargo-deny is built from crates.io once a version: no Debian has it, and nothing else can be reached from CI.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::fuzz;
use crate::report::{Progress, Tail};
use crate::step::Run;
use crate::tally::Tally;
use crate::workspace::Workspace;

/// The workspaces whose dependencies are checked.
const MANIFESTS: &[&str] = &[
    "Cargo.toml",
    "fuzz/Cargo.toml",
    "driver-windows/wdk/Cargo.toml",
];
const VERSION: &str = "0.20.2";
/// 3.3 minutes measured on 2 busy cores; four times that is a hang.
const BUILD_LIMIT: Duration = Duration::from_secs(15 * 60);
const CHECK_LIMIT: Duration = Duration::from_secs(5 * 60);
/// The advisory database lies on GitHub, which is not reachable from everywhere: do not wait long for it.
const FETCH_LIMIT: Duration = Duration::from_secs(40);

/// Builds cargo-deny unless this version of it is there.
pub(crate) fn install(workspace: &Workspace, progress: &mut Progress) -> Result<PathBuf> {
    let home = workspace.tools().join(format!("cargo-deny-{VERSION}"));
    let program = home.join("bin/cargo-deny");
    if program.exists() {
        return Ok(program);
    }
    let log = workspace.new_log("cargo-deny")?;
    progress.begin(
        "cargo-deny",
        "cargo install cargo-deny (once, a few minutes)",
    );
    let build = workspace.tools().join("build");
    let mut command = workspace.cargo(&format!(
        "install cargo-deny --locked --version {VERSION} --root"
    ));
    command.arg(&home).env("CARGO_TARGET_DIR", &build);
    let ended = progress.run(command, &log, BUILD_LIMIT, |_| {})?;
    progress.end();
    if !ended.ok() {
        bail!("cannot build cargo-deny ({ended}):\n{}", Tail::of(&log));
    }
    // Half a gigabyte that nobody needs again.
    fs::remove_dir_all(&build)?;
    Ok(program)
}

/// Checks the dependencies of the workspaces.
pub(crate) fn check(run: &mut Run<'_>) -> Result<Tally> {
    let program = install(run.workspace, run.progress)?;
    fuzz::lock(run.workspace)?;
    let root = &run.workspace.root;
    let deny = |manifest: &str, args: &str| {
        let mut command = Command::new(&program);
        command
            .args(["--color=never", "--manifest-path", manifest])
            .args(args.split_whitespace());
        command.current_dir(root);
        command
    };
    let fetched = run
        .progress
        .run(deny("Cargo.toml", "fetch db"), run.log, FETCH_LIMIT, |_| {})?;
    let mut tally = Tally::default();
    for manifest in MANIFESTS {
        let ended = run.command(
            deny(manifest, "check bans licenses sources"),
            CHECK_LIMIT,
            |_| {},
        )?;
        tally.add(Tally::of(
            ended,
            &format!("bans, licenses and sources of {manifest}"),
        ));
        if fetched.ok() {
            let ended = run.command(
                deny(manifest, "check --disable-fetch advisories"),
                CHECK_LIMIT,
                |_| {},
            )?;
            tally.add(Tally::of(ended, &format!("advisories of {manifest}")));
        } else {
            let reason = format!("the database on GitHub cannot be fetched from here ({fetched})");
            tally.add(Tally::skip(format!("advisories of {manifest}"), reason));
        }
    }
    Ok(tally)
}
