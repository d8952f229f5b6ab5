//! Signing ad hoc with rcodesign (crate apple-codesign), which is built from crates.io once a version. Ad hoc means without a
//! certificate: it seals the bundles and carries the hardened runtime and the entitlements, and says nothing of who made them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use super::bundle::{self, Bundle, Bundles};
use crate::report::{Progress, Tail};
use crate::step::Run;
use crate::workspace::Workspace;

const VERSION: &str = "0.29.0";
/// It has some 400 dependencies.
const BUILD_LIMIT: Duration = Duration::from_secs(60 * 60);
const SIGN_LIMIT: Duration = Duration::from_secs(120);

/// The signing program.
pub(crate) struct Signer(PathBuf);

/// It, if it was built already.
pub(super) fn installed(workspace: &Workspace) -> Option<Signer> {
    let program = home(workspace).join("bin/rcodesign");
    program.exists().then_some(Signer(program))
}

/// Builds it unless this version of it is there.
pub(crate) fn install(workspace: &Workspace, progress: &mut Progress) -> Result<Signer> {
    if let Some(signer) = installed(workspace) {
        return Ok(signer);
    }
    let log = workspace.new_log("rcodesign")?;
    progress.begin(
        "rcodesign",
        "cargo install apple-codesign (once, eight minutes of a processor)",
    );
    let build = workspace.tools().join("build-rcodesign");
    // Without the upload to Apple for notarisation, which has a tool of Apple's own.
    let mut command = workspace.cargo(&format!(
        "install apple-codesign --locked --version {VERSION} --no-default-features --root"
    ));
    command.arg(home(workspace)).env("CARGO_TARGET_DIR", &build);
    let ended = progress.run(command, &log, BUILD_LIMIT, |_| {})?;
    progress.end();
    if !ended.ok() {
        bail!("cannot build rcodesign ({ended}):\n{}", Tail::of(&log));
    }
    fs::remove_dir_all(&build)?;
    Ok(Signer(home(workspace).join("bin/rcodesign")))
}

fn home(workspace: &Workspace) -> PathBuf {
    workspace.tools().join(format!("apple-codesign-{VERSION}"))
}

impl Signer {
    /// Signs both bundles in their places.
    pub(super) fn sign(&self, run: &mut Run<'_>, bundles: &Bundles) -> Result<()> {
        self.sign_one(run, &bundles.driver, false)?;
        self.sign_one(run, &bundles.application, true)
    }

    fn sign_one(&self, run: &mut Run<'_>, bundle: &Bundle, entitled: bool) -> Result<()> {
        let mut command = Command::new(&self.0);
        command.args(["sign", "--code-signature-flags", "runtime"]);
        if entitled {
            command
                .arg("--entitlements-xml-file")
                .arg(bundle::entitlements(run.workspace));
        }
        command.arg(&bundle.path);
        let ended = run.command(command, SIGN_LIMIT, |_| {})?;
        if !ended.ok() {
            bail!(
                "{} could not be signed ({ended}):\n{}",
                bundle.path.display(),
                Tail::of(run.log)
            );
        }
        Ok(())
    }
}
