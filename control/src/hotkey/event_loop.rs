//! Keys on macOS and Windows, where an event loop of the thread that asked for them brings them (`system::wait_beside_keys`).
//! macOS: Carbon's RegisterEventHotKey, which needs no permission; the main thread. Media keys are the exception: the crate listens
//! for them by an event tap, which the user must allow under Accessibility. Windows: RegisterHotKey (winuser.h), in the session of
//! the user.

use std::io::{PipeReader, Read as _};

use global_hotkey::GlobalHotKeyManager;
use global_hotkey::hotkey::HotKey;

use super::{End, HotkeyError, refused};

/// There is nothing to connect to that could go.
pub(super) struct Display;

impl Display {
    /// Always there.
    pub(super) fn of_session() -> Result<Self, HotkeyError> {
        Ok(Self)
    }

    /// Calls `on_press` for each byte in `presses` until the pipe ends.
    pub(super) fn deliver(&self, mut presses: PipeReader, on_press: impl Fn()) -> End {
        let mut byte = [0];
        while let Ok(1) = presses.read(&mut byte) {
            on_press();
        }
        End::Dropped
    }
}

/// Takes it. On macOS another program can have the same combination: then both are told.
pub(super) fn register(
    manager: &GlobalHotKeyManager,
    hotkey: HotKey,
    combo: &str,
) -> Result<(), HotkeyError> {
    manager
        .register(hotkey)
        .map_err(|error| refused(combo, &error))
}
