//! `truemute doctor`: prints what was found; fails if something is wrong.

use std::path::Path;

use super::{Failure, output};
use crate::doctor;
use crate::report::{self, Page, Verdict};

pub(super) fn run(socket: &Path) -> Result<(), Failure> {
    let findings = doctor::examine(socket);
    output::text(&report::findings(&findings, &Page::of_stdout()))?;
    if findings
        .iter()
        .any(|finding| finding.verdict == Verdict::Bad)
    {
        return Err(Failure::new(
            "Something is wrong. Do what stands beside it, and run `truemute doctor` again.",
        ));
    }
    Ok(())
}
