//! `truemute trace`: connects to the daemon and lets [`crate::trace`] write until Ctrl-C.

use std::net::Shutdown;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Failure, output};
use crate::api::{Client, ClientError};
use crate::protocol::Call;
use crate::system::Ends;
use crate::trace::{self, Target};

pub(super) fn run(socket: &Path, out: PathBuf, force: bool) -> Result<(), Failure> {
    // First: a Ctrl-C at any later moment ends the trace in order.
    let mut ends = Ends::new().map_err(ClientError::Broken)?;
    let mut client = Client::connect(socket)?;
    client.call(Call::Trace)?;
    let lines = client.into_lines()?;
    let stop = Arc::new(AtomicBool::new(false));
    let connection = lines.get_ref().try_clone().map_err(ClientError::Broken)?;
    std::thread::spawn({
        let stop = stop.clone();
        move || {
            if ends.wait().is_some() {
                stop.store(true, Ordering::Release);
                // Wakes the reader: a quiet daemon may send nothing for long.
                let _ = connection.shutdown(Shutdown::Read);
            }
        }
    });
    let target = Target::new(out, force);
    let summary = trace::write_file(lines, &target, &stop)
        .map_err(|error| Failure::new(error.to_string()))?;
    // Not to standard output: the trace itself may go there.
    output::note(&format!(
        "{} pulls, {} lines lost.",
        summary.pulls, summary.lost
    ));
    Ok(())
}
