//! `cargo xtask test`: installs what is missing, runs the steps in order, and ends with a table and one closing line.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::other_debian::{self, Release, Root};
use crate::packages::Part;
use crate::process::interrupted;
use crate::report::{self, Progress, Row};
use crate::step::{Run, Step};
use crate::tally::Tally;
use crate::workspace::Workspace;
use crate::{deny, setup};

/// Runs the chosen steps (none chosen: the usual ones). Returns whether nothing failed; the last line printed is the closing line.
pub(crate) fn run(workspace: &Workspace, progress: &mut Progress, chosen: &[Step]) -> Result<bool> {
    let chosen = |step: &&Step| chosen.contains(step) || (chosen.is_empty() && step.is_usual());
    let steps: Vec<Step> = Step::value_variants()
        .iter()
        .filter(chosen)
        .copied()
        .collect();
    let started = Instant::now();
    let mut rows = vec![prepare(workspace, progress, &steps)?];
    for (index, step) in steps.iter().enumerate() {
        let name = step.name();
        let log = workspace.new_log(&name)?;
        progress.begin(
            &format!("[{}/{}] {name}", index + 1, steps.len()),
            &step.about(),
        );
        let outcome = step.run(&mut Run {
            workspace,
            progress,
            log: &log,
        });
        let took = progress.elapsed();
        progress.end();
        if interrupted().load(Ordering::Relaxed) {
            bail!("interrupted. Run it again when you are ready");
        }
        let tally = outcome.unwrap_or_else(|error| Tally::fail(format!("{error:#}")));
        conclude(&name, &tally, took);
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

/// Installs what the steps need. What only some tests need is no reason to run none.
fn prepare(workspace: &Workspace, progress: &mut Progress, steps: &[Step]) -> Result<Row> {
    let started = Instant::now();
    let needed = |part: &&Part| steps.iter().any(|step| step.parts().contains(part));
    let parts: Vec<Part> = Part::value_variants()
        .iter()
        .filter(needed)
        .copied()
        .collect();
    setup::packages(workspace, progress, &parts)?;
    if steps.contains(&Step::Deny) {
        deny::install(workspace, progress)?;
    }
    let mut tally = Tally::default();
    if parts.contains(&Part::Run) {
        match other_debian::install(workspace, Release::Trixie, progress) {
            Ok(Root::At(_)) => {}
            Ok(Root::Unavailable(why)) => println!("No Debian 13 root: {why}."),
            Err(error) => {
                println!("{error:#}");
                tally = Tally::fail("the Debian 13 root");
            }
        }
    }
    // What only these steps need is a reason for them to skip, which they say.
    for (step, release) in [
        (Step::E2eForky, Release::Forky),
        (Step::Wine, Release::Wine),
    ] {
        if !steps.contains(&step) {
            continue;
        }
        match other_debian::install(workspace, release, progress) {
            Ok(Root::At(_)) => {}
            Ok(Root::Unavailable(why)) => println!("No root of {}: {why}.", release.name()),
            Err(error) => println!("{error:#}"),
        }
    }
    Ok(Row {
        name: "setup".to_owned(),
        took: started.elapsed(),
        tally,
        log: workspace.log("root-of-Debian-13"),
    })
}

/// Says how a step ended, and what of it failed.
fn conclude(name: &str, tally: &Tally, took: Duration) {
    let verdict = match (tally.failed, tally.passed) {
        (0, 0) => "skipped",
        (0, _) => "ok",
        _ => "FAILED",
    };
    let (passed, failed, skipped) = (tally.passed, tally.failed, tally.skipped.len());
    let seconds = took.as_secs_f64();
    println!(
        "  {name}: {verdict} in {seconds:.1} s ({passed} passed, {failed} failed, {skipped} skipped)"
    );
    for failure in &tally.failures {
        println!("    failed: {failure}");
    }
}
