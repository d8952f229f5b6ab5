//! Keys on X11. Three traits of the crate's version 0.9 there shape this file (its platform_impl/x11/mod.rs): its thread looks
//! for keys every 50 ms, so a press takes up to 50 ms longer than a command; it reports success although its thread could
//! not reach the X server; and it says nothing when the server goes. So a connection of our own is opened first, and watched.

use std::env;
use std::io::{PipeReader, Read as _};

use global_hotkey::GlobalHotKeyManager;
use global_hotkey::hotkey::HotKey;
use rustix::event::{PollFd, PollFlags, poll};
use x11rb::connection::Connection as _;
use x11rb::rust_connection::RustConnection;

use super::{End, HotkeyError, refused};

/// What the environment tells about the session.
struct Session {
    wayland: bool,
    display: bool,
}

impl Session {
    fn of_process() -> Self {
        let set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
        Self {
            wayland: set("WAYLAND_DISPLAY")
                || env::var("XDG_SESSION_TYPE").is_ok_and(|kind| kind == "wayland"),
            display: set("DISPLAY"),
        }
    }

    /// Under Wayland there often is an X server too (Xwayland), but it sees keys only while a window of its own has the
    /// focus: a hotkey there would fail just when it is needed.
    fn check(&self) -> Result<(), HotkeyError> {
        match (self.wayland, self.display) {
            (true, _) => Err(HotkeyError::Wayland),
            (false, false) => Err(HotkeyError::NoDisplay {
                why: "DISPLAY is not set".into(),
            }),
            (false, true) => Ok(()),
        }
    }
}

/// A connection of our own to the X server.
pub(super) struct Display(RustConnection);

impl Display {
    /// Waits for the X server.
    pub(super) fn of_session() -> Result<Self, HotkeyError> {
        Session::of_process().check()?;
        match RustConnection::connect(None) {
            Ok((display, _)) => Ok(Self(display)),
            Err(error) => Err(HotkeyError::NoDisplay {
                why: error.to_string(),
            }),
        }
    }

    /// Calls `on_press` for each byte in `presses` until the pipe ends or the X server does.
    pub(super) fn deliver(&self, mut presses: PipeReader, on_press: impl Fn()) -> End {
        loop {
            let mut ready = [
                PollFd::new(&presses, PollFlags::IN),
                PollFd::new(self.0.stream(), PollFlags::IN),
            ];
            match poll(&mut ready, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return End::DisplayLost,
            }
            let [pressed, news] = ready.map(|fd| !fd.revents().is_empty());
            if pressed {
                let mut byte = [0];
                match presses.read(&mut byte) {
                    Ok(1) => on_press(),
                    _ => return End::Dropped,
                }
            }
            if news && !answers(&self.0) {
                return End::DisplayLost;
            }
        }
    }
}

/// Grabs it.
pub(super) fn register(
    manager: &GlobalHotKeyManager,
    hotkey: HotKey,
    combo: &str,
) -> Result<(), HotkeyError> {
    match manager.register(hotkey) {
        Ok(()) => {}
        Err(global_hotkey::Error::AlreadyRegistered(_)) => {
            return Err(HotkeyError::Taken {
                combo: combo.into(),
            });
        }
        Err(error) => return Err(refused(combo, &error)),
    }
    // A manager whose thread has ended says `Ok` to everything; a live one knows that it has this one already.
    match manager.register(hotkey) {
        Err(global_hotkey::Error::AlreadyRegistered(_)) => Ok(()),
        Err(error) => Err(refused(combo, &error)),
        Ok(()) => Err(refused(
            combo,
            &"the X server lacks the XKEYBOARD extension",
        )),
    }
}

/// Whether the X server is still there. It sends a few events unasked (a new keyboard mapping); they mean nothing here.
fn answers(display: &RustConnection) -> bool {
    loop {
        match display.poll_for_event() {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wayland_is_refused_even_with_an_x_display() {
        let session = Session {
            wayland: true,
            display: true,
        };
        assert_eq!(session.check(), Err(HotkeyError::Wayland));
    }

    #[test]
    fn without_a_display_it_says_so() {
        let session = Session {
            wayland: false,
            display: false,
        };
        let message = session.check().expect_err("no display").to_string();
        assert!(
            message.contains("DISPLAY is not set") && message.contains("truemute toggle"),
            "{message}"
        );
    }
}
