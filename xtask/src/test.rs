//! `cargo xtask test`: every test that this machine can run, step by step, with a table and one closing line at the end.
//! What a step does lies here when it is a cargo call; larger ones have their own files.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::packages::Part;
use crate::process::interrupted;
use crate::report::{self, Progress, Row};
use crate::tally::Tally;
use crate::workspace::Workspace;
use crate::{deny, fuzz, setup};

/// The steps, in the order in which they run: what fails soonest and says most comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// Formatting is what rustfmt makes of it.
    Fmt,
    /// clippy has nothing to say.
    Clippy,
    /// Licences, sources and known vulnerabilities of dependencies.
    Deny,
    /// Tests beside the code, of all crates.
    Unit,
    /// The documentation builds without warnings, its examples run.
    Docs,
    /// Every interleaving of the lock-free structures.
    Loom,
    /// A minute of fuzzing for each parser of what others wrote
    Fuzz,
}

impl Step {
    fn about(self) -> &'static str {
        match self {
            Self::Fmt => "cargo fmt --check",
            Self::Clippy => "cargo clippy -D warnings",
            Self::Deny => "cargo deny check",
            Self::Unit => "tests beside the code, of all crates",
            Self::Docs => "cargo doc -D warnings, and the examples in it",
            Self::Loom => "every interleaving of the lock-free structures",
            Self::Fuzz => "a minute of fuzzing for each parser of what others wrote",
        }
    }

    /// What must be installed for it.
    fn parts(self) -> &'static [Part] {
        match self {
            Self::Fmt | Self::Deny => &[],
            Self::Fuzz => &[Part::Build, Part::Test],
            Self::Loom | Self::Clippy | Self::Docs => &[Part::Build],
            Self::Unit => &[Part::Build, Part::Run, Part::Test],
        }
    }

    fn run(self, workspace: &Workspace, progress: &mut Progress, log: &Path) -> Result<Tally> {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        match self {
            Self::Fmt => {
                let mut tally = Tally::default();
                for manifest in ["Cargo.toml", "fuzz/Cargo.toml"] {
                    let args = ["fmt", "--all", "--check", "--manifest-path", manifest];
                    tally.add(check(progress, log, workspace.cargo(&args), minutes(2))?);
                }
                Ok(tally)
            }
            Self::Clippy => {
                let args = [
                    "clippy",
                    "--workspace",
                    "--all-targets",
                    "--locked",
                    "--",
                    "-D",
                    "warnings",
                ];
                check(progress, log, workspace.cargo(&args), minutes(20))
            }
            Self::Deny => deny::check(workspace, progress, log),
            Self::Fuzz => fuzz::check(workspace, progress, log),
            Self::Unit => {
                let args = [
                    "test",
                    "--workspace",
                    "--exclude",
                    "truemute-tests",
                    "--locked",
                    "--no-fail-fast",
                ];
                let args = [&args[..], &["--lib", "--bins", "--tests"]].concat();
                cargo_test(progress, log, workspace.cargo(&args), minutes(25))
            }
            Self::Docs => {
                let mut doc = workspace.cargo(&["doc", "--workspace", "--no-deps", "--locked"]);
                doc.env("RUSTDOCFLAGS", "-D warnings");
                let mut tally = check(progress, log, doc, minutes(15))?;
                let args = ["test", "--workspace", "--doc", "--locked", "--no-fail-fast"];
                tally.add(cargo_test(
                    progress,
                    log,
                    workspace.cargo(&args),
                    minutes(15),
                )?);
                Ok(tally)
            }
            Self::Loom => {
                let args = [
                    "test",
                    "--package",
                    "truemute-core",
                    "--release",
                    "--locked",
                    "--test",
                    "loom",
                ];
                let mut command = workspace.cargo(&args);
                // Other flags rebuild everything: a folder of its own keeps the other steps' work.
                command
                    .env("RUSTFLAGS", "--cfg loom")
                    .env("CARGO_TARGET_DIR", workspace.target.join("loom"));
                cargo_test(progress, log, command, minutes(15))
            }
        }
    }
}

/// Runs the chosen steps (none chosen: all). Returns whether nothing failed; the last line printed is the closing line.
pub(crate) fn run(workspace: &Workspace, progress: &mut Progress, chosen: &[Step]) -> Result<bool> {
    let steps: Vec<Step> = Step::value_variants()
        .iter()
        .copied()
        .filter(|step| chosen.is_empty() || chosen.contains(step))
        .collect();
    let started = Instant::now();
    let mut rows = Vec::new();

    let parts: Vec<Part> = Part::value_variants()
        .iter()
        .copied()
        .filter(|part| steps.iter().any(|step| step.parts().contains(part)))
        .collect();
    setup::packages(workspace, progress, &parts)?;

    for (index, step) in steps.iter().enumerate() {
        let name = step
            .to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned());
        let log = workspace.new_log(&name)?;
        progress.begin(
            &format!("[{}/{}] {name}", index + 1, steps.len()),
            step.about(),
        );
        let outcome = step.run(workspace, progress, &log);
        let took = progress.elapsed();
        progress.end();
        if interrupted().load(Ordering::Relaxed) {
            bail!("interrupted. Run it again when you are ready");
        }
        let tally = outcome.unwrap_or_else(|error| Tally::fail(format!("{error:#}")));
        conclude(&name, &tally, took, &log);
        rows.push(Row {
            name,
            took,
            tally,
            log,
        });
    }

    let sum = report::summary(&rows, started.elapsed());
    println!(
        "\n{} passed, {} failed, {} skipped",
        sum.passed,
        sum.failed,
        sum.skipped.len()
    );
    Ok(sum.failed == 0)
}

/// Says how a step ended; of a failed one, the end of its log too.
fn conclude(name: &str, tally: &Tally, took: Duration, log: &Path) {
    let verdict = match (tally.failed, tally.passed) {
        (0, 0) => "skipped",
        (0, _) => "ok",
        _ => "FAILED",
    };
    println!(
        "  {name}: {verdict} in {:.1} s ({} passed, {} failed, {} skipped)",
        took.as_secs_f64(),
        tally.passed,
        tally.failed,
        tally.skipped.len()
    );
    if tally.failed > 0 {
        println!("  the end of {}:\n{}", log.display(), report::tail(log));
    }
}

/// A step that is one check: it passes if the command does.
fn check(progress: &mut Progress, log: &Path, command: Command, limit: Duration) -> Result<Tally> {
    let what = command
        .get_args()
        .next()
        .map_or_else(String::new, |arg| arg.to_string_lossy().into_owned());
    let ended = progress.run(command, log, limit, |_| {})?;
    Ok(Tally::of(ended, &what))
}

/// A step that runs Rust's test runner: its own counts are taken.
pub(crate) fn cargo_test(
    progress: &mut Progress,
    log: &Path,
    mut command: Command,
    limit: Duration,
) -> Result<Tally> {
    let skips = log.with_extension("skips");
    std::fs::write(&skips, "")?;
    command.env("TRUEMUTE_SKIPS", &skips);
    let mut tally = Tally::default();
    let ended = progress.run(command, log, limit, |line| tally.read(line))?;
    tally.correct_by(&std::fs::read_to_string(&skips)?);
    if !ended.ok() && tally.failed == 0 {
        // It did not compile, crashed or hung: no test says "failed", but one did.
        tally.add(Tally::fail(format!("the test run itself: {ended}")));
    } else if tally.results == 0 {
        tally.add(Tally::fail("no test program ran"));
    }
    Ok(tally)
}
