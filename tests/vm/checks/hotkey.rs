//! The global hotkey, pressed on a keyboard that the kernel knows.

use super::{gate, ms};
use crate::keyboard::Keyboard;
use crate::person;
use crate::recorder::Apps;
use crate::report::{Seen, Trouble};

const KEYS: [&str; 3] = ["KEY_LEFTCTRL", "KEY_LEFTALT", "KEY_M"];

/// It unmutes and mutes; what the apps get follows.
pub(crate) fn toggles() -> Seen {
    let warnings = person::status().map_or(String::new(), |it| it["warnings"].to_string());
    if warnings.contains("hotkey") {
        return Err(Trouble::Failed(format!(
            "the daemon has no hotkey: {warnings}"
        )));
    }
    let apps = Apps::start()?;
    super::muted(&apps)?;
    let keyboard = Keyboard::plug_in()?;
    // The X server learns of a new keyboard from udev: presses before that go nowhere.
    let mut unmuted = None;
    for _ in 0..5 {
        keyboard.press(&KEYS)?;
        if let Ok(took) = gate("live") {
            unmuted = Some(took);
            break;
        }
    }
    let unmuted = unmuted.ok_or("five presses of ctrl+alt+m did not unmute")?;
    apps.sound()?;
    keyboard.press(&KEYS)?;
    let muted = gate("muted")?;
    apps.silence()?;
    Ok(format!(
        "uinput, kernel, X server, daemon: live {} after the press, muted {} after the next",
        ms(unmuted),
        ms(muted)
    ))
}
