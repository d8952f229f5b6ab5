//! The global hotkey. It only reports presses; the daemon's actor decides what they do. The grabbing is done by the crate
//! `global-hotkey`; what each window system needs besides is in [`keys`].

#[cfg(any(target_os = "macos", windows))]
#[path = "event_loop.rs"]
mod keys;
#[cfg(target_os = "linux")]
#[path = "x11.rs"]
mod keys;

use std::collections::BTreeMap;
use std::io::{PipeReader, PipeWriter, Write as _};
use std::sync::{Mutex, Once, PoisonError};
use std::thread::{self, JoinHandle};

use global_hotkey::hotkey::HotKey;
use global_hotkey::{GlobalHotKeyEvent, GlobalHotKeyManager, HotKeyState};

use crate::combo::{self, Unusable};
use crate::daemon::{Handle, Want};
use crate::protocol::Origin;
use crate::system;
use keys::Display;

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
    #[error(transparent)]
    Unusable(#[from] Unusable),
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
        "The X server went away, and the hotkey with it. Restart the daemon: {}.",
        system::RESTART
    )]
    Lost,
}

impl Hotkey {
    /// Grabs `combo` on the display of this session. `on_press` is called once for each press, however long the key is
    /// held, and `on_loss` if the X server goes; both on a thread of the hotkey's own. On Linux any thread but the audio thread
    /// may call this, and it waits for the X server; on macOS the main thread, which must then run an event loop, on
    /// Windows any that does.
    pub fn start(
        combo: &str,
        on_press: impl Fn() + Send + 'static,
        on_loss: impl FnOnce(HotkeyError) + Send + 'static,
    ) -> Result<Self, HotkeyError> {
        let hotkey = combo::parse(combo)?;
        let display = Display::of_session()?;
        let manager = GlobalHotKeyManager::new().map_err(|error| refused(combo, &error))?;
        keys::register(&manager, hotkey, combo)?;

        let presses = listen(hotkey.id()).map_err(|error| refused(combo, &error))?;
        let thread = thread::Builder::new()
            .name("hotkey".into())
            .spawn(move || {
                if display.deliver(presses, on_press) == End::DisplayLost {
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

/// Why presses end.
#[derive(PartialEq, Eq)]
enum End {
    Dropped,
    DisplayLost,
}
