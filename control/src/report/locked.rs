//! The reply to `lock` and `unlock` for people.

use crate::protocol::Locked;

/// `locked` as text.
pub fn locked(locked: &Locked) -> String {
    let text = match (locked.locked, locked.changed) {
        (true, true) => "Locked and muted. Nothing unmutes until `truemute unlock`.\n",
        (true, false) => "Muted, and locked already.\n",
        (false, true) => {
            "Unlocked, and still muted. `truemute unmute` lets apps hear the microphone.\n"
        }
        (false, false) => "It was not locked.\n",
    };
    text.to_owned()
}
