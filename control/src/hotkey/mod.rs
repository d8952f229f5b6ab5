//! The global hotkey on X11. It only reports presses; the daemon's actor decides what they do.
//!
//! The grabbing is done by the crate `global-hotkey`. Three traits of its version 0.9 on X11 shape this file (its
//! platform_impl/x11/mod.rs): its thread looks for keys every 50 ms, so a press takes up to 50 ms longer than a command;
//! it reports success although its thread could not reach the X server; and it says nothing when the server goes. So a
//! connection of our own is opened first, and watched.

mod combo;
#[cfg(fuzzing)]
pub use combo::fuzz as fuzz_combo;

use std::collections::BTreeMap;
use std::env;
use std::io::{PipeReader, PipeWriter, Read as _, Write as _};
use std::sync::{Mutex, Once, PoisonError};
use std::thread::{self, JoinHandle};

use global_hotkey::hotkey::HotKey;
use global_hotkey::{GlobalHotKeyEvent, GlobalHotKeyManager, HotKeyState};
use rustix::event::{PollFd, PollFlags, poll};
use x11rb::connection::Connection as _;
use x11rb::rust_connection::RustConnection;

use crate::daemon::{Handle, Want};
use crate::protocol::Origin;

/// A global hotkey; given back when it is dropped.
pub struct Hotkey {
    hotkey: HotKey,
    manager: GlobalHotKeyManager,
    thread: Option<JoinHandle<()>>,
}

/// Why there is no hotkey. The daemon goes on without; `status` shows it as a warning.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HotkeyError {
    /// Not a combination of keys that could be a hotkey.
    #[error(
        "\"{combo}\" cannot be the hotkey: {why}. Use something like ctrl+alt+m, super+shift+F9 or Pause."
    )]
    Unusable {
        /// What was configured.
        combo: String,
        /// What is wrong with it.
        why: String,
    },
    /// On Wayland only the compositor sees all keys.
    #[error(
        "A Wayland session lets no program have a global hotkey of its own. Bind a key to `truemute toggle` in the \
         settings of your desktop; docs/hotkeys.md has the steps."
    )]
    Wayland,
    /// No X server answers.
    #[error(
        "There is no X display for the hotkey ({why}). Start the daemon within the graphical session, or bind a key to \
         `truemute toggle` in the settings of your desktop."
    )]
    NoDisplay {
        /// What happened.
        why: String,
    },
    /// Another program has grabbed it.
    #[error(
        "The hotkey {combo} belongs to another program. Choose another one in the configuration."
    )]
    Taken {
        /// The combination.
        combo: String,
    },
    /// The X server refused, or the keyboard has no such key.
    #[error("The hotkey {combo} could not be had: {why}. Choose another one in the configuration.")]
    Refused {
        /// The combination.
        combo: String,
        /// What the X server or the crate said.
        why: String,
    },
    /// The X server went away.
    #[error(
        "The X server went away, and the hotkey with it. Restart the daemon: systemctl --user restart truemute."
    )]
    Lost,
}

/// Whether `combo` could be a hotkey at all, on any display.
pub fn check(combo: &str) -> Result<(), HotkeyError> {
    combo::parse(combo).map(|_| ())
}

impl Hotkey {
    /// Grabs `combo` on the display of this session. `on_press` is called once for each press, however long the key is
    /// held, and `on_loss` if the X server goes; both on a thread of the hotkey's own. Any thread but the audio thread may
    /// call this; it waits for the X server.
    pub fn start(
        combo: &str,
        on_press: impl Fn() + Send + 'static,
        on_loss: impl FnOnce(HotkeyError) + Send + 'static,
    ) -> Result<Self, HotkeyError> {
        let hotkey = combo::parse(combo)?;
        Session::of_process().check()?;
        let display = connect()?;
        let manager = GlobalHotKeyManager::new().map_err(|error| refused(combo, &error))?;
        register(&manager, hotkey, combo)?;

        let presses = listen(hotkey.id()).map_err(|error| refused(combo, &error))?;
        let thread = thread::Builder::new()
            .name("hotkey".into())
            .spawn(move || {
                if deliver(presses, &display, on_press) == End::DisplayLost {
                    on_loss(HotkeyError::Lost);
                }
            })
            .map_err(|error| refused(combo, &error))?;
        Ok(Self {
            hotkey,
            manager,
            thread: Some(thread),
        })
    }

    /// Binds `combo` to the daemon's toggle. Without a hotkey the daemon goes on, and its status has a warning.
    pub fn of_daemon(combo: &str, daemon: &Handle) -> Option<Self> {
        let (toggled, lost) = (daemon.clone(), daemon.clone());
        let on_press = move || {
            if let Err(error) = toggled.switch(Want::Toggle, Origin::Hotkey) {
                tracing::warn!("hotkey: {} {}", error.message, error.remedy);
            }
        };
        match Self::start(combo, on_press, move |error| lost.warn(error.to_string())) {
            Ok(hotkey) => Some(hotkey),
            Err(error) => {
                daemon.warn(error.to_string());
                None
            }
        }
    }
}

impl Drop for Hotkey {
    fn drop(&mut self) {
        // The server may be gone already, and its grabs with it.
        let _ = self.manager.unregister(self.hotkey);
        listeners().remove(&self.hotkey.id());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

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

fn connect() -> Result<RustConnection, HotkeyError> {
    match RustConnection::connect(None) {
        Ok((display, _)) => Ok(display),
        Err(error) => Err(HotkeyError::NoDisplay {
            why: error.to_string(),
        }),
    }
}

fn register(manager: &GlobalHotKeyManager, hotkey: HotKey, combo: &str) -> Result<(), HotkeyError> {
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

fn refused(combo: &str, why: &dyn std::fmt::Display) -> HotkeyError {
    HotkeyError::Refused {
        combo: combo.into(),
        why: why.to_string().trim_end_matches('.').into(),
    }
}

/// Where presses go, by the crate's number for the combination. The crate has one handler in a process.
static LISTENERS: Mutex<BTreeMap<u32, PipeWriter>> = Mutex::new(BTreeMap::new());
static HANDLER: Once = Once::new();

fn listeners() -> std::sync::MutexGuard<'static, BTreeMap<u32, PipeWriter>> {
    LISTENERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One byte for each press comes out of the pipe; it ends when the listener is removed.
fn listen(id: u32) -> std::io::Result<PipeReader> {
    let (reader, writer) = std::io::pipe()?;
    listeners().insert(id, writer);
    HANDLER.call_once(|| {
        GlobalHotKeyEvent::set_event_handler(Some(|event: GlobalHotKeyEvent| {
            if event.state() == HotKeyState::Pressed
                && let Some(writer) = listeners().get_mut(&event.id())
            {
                // The reader is gone only if the display is: then there are no presses either.
                let _ = writer.write_all(&[1]);
            }
        }));
    });
    Ok(reader)
}

#[derive(PartialEq, Eq)]
enum End {
    Dropped,
    DisplayLost,
}

/// Calls `on_press` for each byte in `presses` until the pipe ends or the X server does.
fn deliver(mut presses: PipeReader, display: &RustConnection, on_press: impl Fn()) -> End {
    loop {
        let mut ready = [
            PollFd::new(&presses, PollFlags::IN),
            PollFd::new(display.stream(), PollFlags::IN),
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
        if news && !answers(display) {
            return End::DisplayLost;
        }
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
