//! The AddressSanitizer steps: `truemute`, the recording clients and everything else of ours that is Rust is built with it
//! and goes through end-to-end tests. libpipewire and the audio server are not instrumented, but what they hand us is
//! looked at where we touch it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::e2e::{self, Group};
use crate::fuzz::{has_address_sanitizer, host};
use crate::other_debian::{self, Release};
use crate::step::Run;
use crate::tally::Tally;

/// The tests that take sound and counts through most of the code that is `unsafe`: what CI has time for.
const CHOSEN: [&str; 6] = [
    "counts",
    "hal",
    "mic_changes",
    "removed_nodes",
    "sample_path",
    "toggles",
];

/// Builds with the sanitizer and runs the chosen tests, or all of the common group.
pub(crate) fn check(run: &mut Run<'_>, all: bool) -> Result<Tally> {
    let workspace = run.workspace;
    let host = host()?;
    if !has_address_sanitizer(&host)? {
        let reason = "this compiler does not bring AddressSanitizer's runtime";
        return Ok(Tally::skip("all", reason));
    }
    let reports = Reports::new()?;
    let cargo = |words: &str| {
        let mut command = workspace.cargo(words);
        // With `--target`, build scripts and macros are spared the flags. The sanitizer's flag counts as unstable; the
        // variable is how a stable compiler is made to take it. Other flags rebuild everything: hence a folder of its own.
        // Otherwise the clients take so long over each sample that the audio is late; for all crates it would take minutes.
        command
            .args(["--config", "profile.dev.package.truemute-tests.opt-level=1"])
            .args(["--target", &host])
            .env("CARGO_TARGET_DIR", workspace.target.join("asan"))
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", "-Zsanitizer=address");
        command
    };
    let wanted = |program: &str| {
        if all {
            Group::of(program) == Group::Common
        } else {
            CHOSEN.contains(&program)
        }
    };
    let mut tally = e2e::run_programs(run, cargo, wanted, |test| {
        let mut command = other_debian::required(workspace, Release::Trixie, Command::new(test));
        command.env("ASAN_OPTIONS", reports.options());
        // The host that loads the macOS plug-in, which brings the runtime that the plug-in needs.
        command.env("TRUEMUTE_HOST_CC", "cc -fsanitize=address");
        command
    })?;
    for report in reports.read()? {
        run.progress.say(&report);
        let first = report.lines().find(|line| line.contains("ERROR"));
        tally.add(Tally::fail(first.unwrap_or("a report of AddressSanitizer")));
    }
    Ok(tally)
}

/// Where the sanitizer writes: a daemon that it ends may otherwise look like one that a test ended. In /tmp, for that is
/// seen from the root of another Debian too.
struct Reports(PathBuf);

impl Reports {
    fn new() -> Result<Self> {
        let folder = PathBuf::from(format!("/tmp/truemute-asan-{}", std::process::id()));
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self(folder))
    }

    /// No search for leaks: it takes place when a program ends in order, which the daemon and the clients of these tests seldom
    /// do, and libpipewire keeps plug-ins and their memory until the process goes, which would be all that it finds. The
    /// bundled SQLite is C, and what two of its variables are called is no concern of ours.
    fn options(&self) -> String {
        let path = self.0.join("report");
        format!(
            "detect_leaks=0:detect_odr_violation=0:log_path={}",
            path.display()
        )
    }

    fn read(&self) -> Result<Vec<String>> {
        let read = |entry: std::io::Result<fs::DirEntry>| -> Result<String> {
            let bytes = fs::read(entry?.path())?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        fs::read_dir(&self.0)?.map(read).collect()
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        // Left in /tmp at worst.
        let _ = fs::remove_dir_all(Path::new(&self.0));
    }
}
