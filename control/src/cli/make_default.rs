//! `truemute use`: makes the virtual mic the default input. Needs no daemon.

use super::{Failure, output};
use crate::backend;

pub(super) fn run() -> Result<(), Failure> {
    backend::make_default().map_err(Failure::new)?;
    output::text(&format!(
        "{} is chosen as the default input.\n",
        backend::SHOWN_AS
    ))
}
