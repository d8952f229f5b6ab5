//! snd-aloop, the kernel's loopback card, as the real mic: what is played into its one end is what TrueMute captures at the
//! other. What is played there is known by its sign: the other card's microphone hears a ramp of positive samples only.

use std::fs;
use std::process::{Child, Command, Stdio};

use truemute_tests::tape::monotonic_ns;

use super::{LIMIT, RESTART, device, live, with_setting};
use crate::before_and_after::Picture;
use crate::card::{BUILT_IN, Microphone};
use crate::ramp;
use crate::recorder::Apps;
use crate::report::{Seen, Trouble};
use crate::wait::wait;

const LOOPBACK: Microphone = Microphone { card: "Loopback" };
/// The driver of the card, which is no hardware.
const DRIVER: &str = "/sys/bus/platform/drivers/snd_aloop";

/// One channel of what is played: ten seconds, so many times, which is longer than the check.
const SOUND: &str = "/var/tmp/truemute-vm-sound";
const LOOPS: usize = 60;

/// Live, all apps have what is played; muted, the kernel says closed, and they have zeros.
pub(crate) fn from_end_to_end() -> Seen {
    let _card = Card::load()?;
    let node = || {
        let nodes = Picture::take().ok()?.nodes;
        let name = |it: &String| it.starts_with("alsa_input") && it.contains("aloop");
        nodes.into_iter().find(name)
    };
    let (node, _) = wait(LIMIT, node).ok_or("the audio server does not show the loopback")?;
    // The ends of the loopback agree on a format with the first that opens one.
    wait(LIMIT, || LOOPBACK.closed().then_some(()))
        .ok_or_else(|| format!("the audio server keeps it open: {:?}", LOOPBACK.told()))?;
    let _player = Player::start()?;
    with_setting(&format!("real_mic = \"{node}\""), RESTART, || {
        let apps = Apps::start()?;
        if !LOOPBACK.closed() {
            return Err("the loopback is open before anybody unmuted".into());
        }
        live(&apps)?;
        if !LOOPBACK.running() || !BUILT_IN.closed() {
            return Err(Trouble::Failed(format!(
                "sound, but the loopback is {:?}, and the other card {:?}",
                LOOPBACK.told(),
                BUILT_IN.told()
            )));
        }
        let now = monotonic_ns();
        for app in apps.iter() {
            let values = app.values(0, now);
            if values.is_empty() || values.iter().any(|(_, value)| *value > 0) {
                return Err(Trouble::Failed(format!(
                    "{} got what was not played: {values:?}",
                    app.name()
                )));
            }
        }
        let closed = device::closes(LOOPBACK, &apps)?;
        Ok(format!(
            "silent until unmuted; live, what aplay played into it in pw-record, parecord and arecord; muted, {closed}; \
             zeros in all apps"
        ))
    })
}

/// The card, for as long as this value lives.
struct Card;

impl Card {
    /// With one substream: a capture device that somebody has is busy for others, as with hardware.
    fn load() -> Result<Self, Trouble> {
        let status = Command::new("modprobe")
            .args(["snd-aloop", "pcm_substreams=1"])
            .status()?;
        if !status.success() {
            return Err(Trouble::Impossible(
                "the kernel has no snd-aloop".to_owned(),
            ));
        }
        Ok(Self)
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        // As a USB card that is pulled out: the module itself cannot go while the audio server still has the card's controls.
        if let Err(error) = fs::write(format!("{DRIVER}/unbind"), "snd_aloop.0") {
            eprintln!("the loopback stays: {error}");
        }
    }
}

/// aplay, which plays the ramp with its sign turned into the loopback's other end until this value goes.
struct Player(Child);

impl Player {
    /// Each channel from a file of its own (-I): both ends must agree on how channels lie in memory, and the audio server takes
    /// them apart (loopback_check_format, sound/drivers/aloop.c: else the capture ends with EIO).
    fn start() -> Result<Self, Trouble> {
        fs::write(SOUND, ramp::below_zero().repeat(LOOPS))?;
        let child = Command::new("aplay")
            .args(["-q", "-I", "-D", "hw:Loopback,1", "-t", "raw"])
            .args(["-f", "S16_LE", "-r", "48000", "-c", "2", SOUND, SOUND])
            .stdin(Stdio::null())
            .spawn()?;
        Ok(Self(child))
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        // It may have ended by itself: then apps got silence, and that was noticed.
        let _ = self.0.kill();
        let _ = self.0.wait();
        let _ = fs::remove_file(SOUND);
    }
}
