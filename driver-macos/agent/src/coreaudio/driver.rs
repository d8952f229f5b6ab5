//! The driver's own custom properties (`driver-macos/plugin/properties.tsv`), asked through Core Audio like any device's: the way
//! to the driver that is left where its socket does not come up.

use std::path::PathBuf;

use super::hal::{self, Address};
use crate::VIRTUAL_MIC;
use crate::diagnosis::Diagnosis;
use truemute_agent::system::SystemError;

/// `diag`, which the device lists among its custom properties.
const DIAG: u32 = u32::from_be_bytes(*b"diag");

/// `sock`, likewise.
const SOCKET: u32 = u32::from_be_bytes(*b"sock");

/// Where the driver listens in a folder of its own; nothing if it does not, or if it cannot be asked.
pub fn socket() -> Option<PathBuf> {
    let device = hal::device(VIRTUAL_MIC).ok()?;
    let path = hal::text(device, Address::global(SOCKET)).ok()?;
    (!path.is_empty()).then(|| path.into())
}

/// What the driver tells about itself. Needs no daemon and no permission.
///
/// # Errors
/// Why it is not to be had: what went wrong, and what to do, as two sentences.
pub fn diagnosis() -> Result<Diagnosis, String> {
    let device = hal::device(VIRTUAL_MIC).map_err(|error| match error {
        SystemError::NoDevice(_) => "Core Audio has no TrueMute Microphone: it has not loaded the driver. Restart the Mac; \
            if that does not help, the system's log says why (`log show --last 10m --predicate 'process CONTAINS \"coreaudio\"'`)."
            .to_owned(),
        error => error.to_string(),
    })?;
    let list =
        hal::property_list(device, Address::global(DIAG)).map_err(|error| error.to_string())?;
    Diagnosis::from_property_list(&list).map_err(|error| error.to_string())
}
