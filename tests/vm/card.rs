//! The sound card, as the kernel sees it.

use std::fs;
use std::path::PathBuf;

use crate::report::Trouble;

const DRIVER: &str = "/sys/bus/pci/drivers/snd_hda_intel";

/// The card on the PCI bus.
pub(crate) struct Card {
    slot: String,
}

impl Card {
    /// The one that the driver for HD audio has taken.
    pub(crate) fn find() -> Result<Self, Trouble> {
        let slot = fs::read_dir(DRIVER)?
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .find(|name| name.contains(':'))
            .ok_or("the driver snd_hda_intel has no card")?;
        Ok(Self { slot })
    }

    /// Takes it away.
    pub(crate) fn unplug(&self) -> Result<(), Trouble> {
        Ok(fs::write(format!("{DRIVER}/unbind"), &self.slot)?)
    }

    /// Gives it back.
    pub(crate) fn plug_in(&self) -> Result<(), Trouble> {
        Ok(fs::write(format!("{DRIVER}/bind"), &self.slot)?)
    }
}

/// What the kernel says of the microphone: "closed", or several lines, the first of which has the state.
pub(crate) fn microphone() -> Result<String, Trouble> {
    let number = fs::read_dir("/proc/asound")?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| fs::read_to_string(path.join("id")).is_ok_and(|id| id.trim() == "Intel"))
        .ok_or("the kernel knows no HD audio card")?;
    let status: PathBuf = number.join("pcm0c/sub0/status");
    Ok(fs::read_to_string(status)?)
}

/// Whether nobody has the microphone open.
pub(crate) fn closed() -> bool {
    microphone().is_ok_and(|text| text.trim() == "closed")
}

/// Whether sound is running from the microphone.
pub(crate) fn running() -> bool {
    microphone().is_ok_and(|text| text.contains("state: RUNNING"))
}
