//! `truemute supervise`.

use std::path::PathBuf;

use super::Failure;
use super::daemon::log_to_stderr;
use crate::supervise::{self, Options};

pub(super) fn run(config: Option<PathBuf>, socket: PathBuf) -> Result<(), Failure> {
    log_to_stderr();
    supervise::run(&Options { config, socket }).map_err(|error| Failure::new(error.to_string()))
}
