//! The sound card, and microphones, as the kernel sees them.

use std::fs;

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

/// A card's first capture device, as the kernel tells of it.
#[derive(Clone, Copy)]
pub(crate) struct Microphone {
    /// The name by which the kernel and ALSA know the card.
    pub(crate) card: &'static str,
}

/// That of the card on the PCI bus.
pub(crate) const BUILT_IN: Microphone = Microphone { card: "Intel" };

impl Microphone {
    /// What the kernel says: "closed", or several lines, the first of which has the state.
    pub(crate) fn told(self) -> Result<String, Trouble> {
        let status = format!("/proc/asound/{}/pcm0c/sub0/status", self.card);
        fs::read_to_string(&status)
            .map_err(|error| Trouble::Failed(format!("cannot read {status}: {error}")))
    }

    /// Whether nobody has it open.
    pub(crate) fn closed(self) -> bool {
        self.told().is_ok_and(|text| text.trim() == "closed")
    }

    /// Whether sound is running from it.
    pub(crate) fn running(self) -> bool {
        self.is("RUNNING")
    }

    /// Whether it is open in this state; the kernel's word.
    pub(crate) fn is(self, state: &str) -> bool {
        let line = format!("state: {state}");
        self.told()
            .is_ok_and(|text| text.lines().any(|it| it == line))
    }
}
