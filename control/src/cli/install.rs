//! `truemute install` and `truemute uninstall`: one line for each thing that is done.

use super::{Failure, output};
use crate::install::{self, InstallError, Options};

pub(super) fn install(options: Options) -> Result<(), Failure> {
    run(|say| install::install(options, say))
}

pub(super) fn uninstall(options: Options) -> Result<(), Failure> {
    run(|say| install::uninstall(options, say))
}

fn run(work: impl FnOnce(&mut dyn FnMut(&str)) -> Result<(), InstallError>) -> Result<(), Failure> {
    let mut printed = Ok(());
    work(&mut |line| {
        // What is being done is finished also when nobody reads on.
        if printed.is_ok() {
            printed = output::text(&format!("{line}\n"));
        }
    })
    .map_err(|error| Failure::new(error.to_string()))?;
    printed
}
