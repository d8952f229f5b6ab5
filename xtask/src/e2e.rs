//! The end-to-end steps: builds the test programs of tests/ once and runs them, each with a log and a limit of its own.
//! Every file tests/tests/NAME.rs is one program; its name says which step runs it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::nt;
#[cfg(unix)]
use crate::ordinary_user;
use crate::other_debian::{self, Release};
use crate::step::Run;
use crate::tally::Tally;
use crate::workspace::{is_root, program};

const BUILD_LIMIT: Duration = Duration::from_secs(20 * 60);
/// One test program, all its tests.
const RUN_LIMIT: Duration = Duration::from_secs(15 * 60);

/// A test that does not find them although they are installed is broken, not skipped.
const BROWSERS: [&str; 2] = ["chromium", "firefox-esr"];

/// Which of the test programs a step runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// All others.
    Common,
    /// Real browsers.
    Browsers,
    /// Long ones with random faults.
    Soak,
    /// The driver for Windows.
    Nt,
    /// The same, under Wine.
    Wine,
}

impl Group {
    /// The group of the test program with this name.
    pub(crate) fn of(program: &str) -> Self {
        if program.starts_with("browser") {
            Self::Browsers
        } else if program == "soak" {
            Self::Soak
        } else if program == nt::PROGRAM {
            Self::Nt
        } else if program == "wine" {
            Self::Wine
        } else {
            Self::Common
        }
    }
}

/// A compiled test program.
struct TestProgram {
    name: String,
    file: PathBuf,
}

/// Runs one group as whoever runs this.
pub(crate) fn check(run: &mut Run<'_>, group: Group) -> Result<Tally> {
    let workspace = run.workspace;
    run_group(run, group, |test| {
        let mut command = other_debian::required(workspace, Release::Trixie, Command::new(test));
        if BROWSERS.into_iter().all(|it| program(it).is_some()) {
            command.env("TRUEMUTE_REQUIRE_BROWSERS", "1");
        }
        command
    })
}

/// Runs the common group once more, as an ordinary user.
pub(crate) fn check_as_ordinary_user(run: &mut Run<'_>) -> Result<Tally> {
    if !is_root() {
        return Ok(Tally::skip(
            "all",
            "this is an ordinary user, so step e2e did it already",
        ));
    }
    #[cfg(unix)]
    let reason = match ordinary_user::find(run.workspace)? {
        Ok(user) => return run_group(run, Group::Common, |program| user.command(program)),
        Err(reason) => reason,
    };
    #[cfg(not(unix))]
    let (Run { .. }, reason) = (run, "this system has no such users");
    Ok(Tally::skip("all", reason))
}

/// The series of PipeWire that is wanted of Debian's coming release. Another one is news, not a fault of ours.
const FORKY_SERIES: &str = "1.6.";

/// Runs the common group with Debian's coming release in the place of Debian 13.
pub(crate) fn check_on_forky(run: &mut Run<'_>) -> Result<Tally> {
    let workspace = run.workspace;
    let Some(root) = other_debian::whole(workspace, Release::Forky) else {
        return Ok(Tally::skip(
            "all",
            "its root could not be made; setup says why",
        ));
    };
    let version = other_debian::pipewire_version(&root).unwrap_or_default();
    if !version.starts_with(FORKY_SERIES) {
        let reason = format!("its PipeWire is {version}, and {FORKY_SERIES}x is wanted");
        return Ok(Tally::skip("all", reason));
    }
    run.progress.say(&format!("  PipeWire {version}"));
    run_group(run, Group::Common, |test| {
        other_debian::required(workspace, Release::Forky, Command::new(test))
    })
}

fn run_group(run: &mut Run<'_>, group: Group, command: impl Fn(&Path) -> Command) -> Result<Tally> {
    let workspace = run.workspace;
    let wanted = |program: &str| Group::of(program) == group;
    run_programs(run, |words| workspace.cargo(words), wanted, command)
}

/// Builds with the commands that `cargo` makes of its words, and runs the `wanted` test programs with the commands that
/// `command` makes of their files.
pub(crate) fn run_programs(
    run: &mut Run<'_>,
    cargo: impl Fn(&str) -> Command,
    wanted: impl Fn(&str) -> bool,
    command: impl Fn(&Path) -> Command,
) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut ran = 0;
    for program in build(run, cargo)?
        .iter()
        .filter(|program| wanted(&program.name))
    {
        run.progress.say(&format!("  {}", program.name));
        let folder = run.workspace.root.join("tests");
        let tests = |names: &[String]| {
            let mut command = command(&program.file);
            command
                .arg("--show-output")
                .args(names)
                .env("TRUEMUTE_BUILT", "1")
                .current_dir(&folder);
            if !names.is_empty() {
                command.args(["--exact", "--test-threads=1"]);
            }
            command
        };
        let mut outcome = run.tests(tests(&[]), limit(&program.name)?)?;
        if let Some(names) = outcome.to_try_again() {
            run.progress.say(&format!(
                "  {}: once more, alone: {}",
                program.name,
                names.join(", ")
            ));
            outcome.second_try(&run.tests(tests(&names), RUN_LIMIT)?);
        }
        tally.add(outcome);
        ran += 1;
    }
    if ran == 0 {
        bail!("tests/tests/ has no program for this step");
    }
    Ok(tally)
}

/// How long a test program may run.
fn limit(program: &str) -> Result<Duration> {
    let soak = match std::env::var("SOAK_SECONDS") {
        Ok(text) if Group::of(program) == Group::Soak => text
            .parse()
            .context("SOAK_SECONDS is not a whole number of seconds")?,
        _ => 0,
    };
    Ok(RUN_LIMIT + Duration::from_secs(soak))
}

/// Builds `truemute`, the tools of tests/ and its test programs; returns the latter.
fn build(run: &mut Run<'_>, cargo: impl Fn(&str) -> Command) -> Result<Vec<TestProgram>> {
    let build = cargo("build --package truemute --package truemute-tests --locked");
    let ended = run.command(build, BUILD_LIMIT, |_| {})?;
    if !ended.ok() {
        bail!("cannot build the programs that the tests run ({ended})");
    }
    let build = cargo(
        "test --package truemute-tests --tests --no-run --locked --message-format=json-render-diagnostics",
    );
    let mut programs = Vec::new();
    let ended = run.command(build, BUILD_LIMIT, |line| {
        programs.extend(test_program(line))
    })?;
    if !ended.ok() {
        bail!("cannot build the end-to-end tests ({ended})");
    }
    programs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(programs)
}

/// Reads one of cargo's messages (<https://doc.rust-lang.org/cargo/reference/external-tools.html>).
fn test_program(line: &str) -> Option<TestProgram> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    let target = message.get("target")?;
    if target.get("kind")?.get(0)? != "test" {
        return None;
    }
    Some(TestProgram {
        name: target.get("name")?.as_str()?.to_owned(),
        file: message.get("executable")?.as_str()?.into(),
    })
}
