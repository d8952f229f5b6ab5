//! What the daemon asks of a backend, on any operating system. The Linux one lives in `truemute-pipewire`, those
//! of macOS and Windows in `truemute-agent` over `truemute-macos` and `truemute-windows`; what it tells on its own ([`Event`]) goes where it is told at its start.
//! Nothing here decides anything: the mute state lives in the daemon's actor, the last word in the backend's gate.

mod agent;
#[cfg(target_os = "macos")]
mod coreaudio;
#[cfg(target_os = "linux")]
mod pipewire;
#[cfg(windows)]
mod wasapi;

use std::sync::Arc;
use std::time::Instant;

use crate::config::Settings;
pub use agent::AgentFactory;
#[cfg(target_os = "linux")]
pub use pipewire::{PipewireFactory, muted_mics_path};
use truemute_core::observed::{AppSwitched, Applied, Event, MutedApp, Snapshot};

/// What makes virtual mics on this operating system.
pub(crate) fn of_system(settings: &Settings) -> Box<dyn BackendFactory> {
    #[cfg(target_os = "linux")]
    return Box::new(PipewireFactory::new(settings));
    #[cfg(target_os = "macos")]
    return Box::new(coreaudio::of_system(settings));
    #[cfg(windows)]
    return Box::new(wasapi::of_system(settings));
}

/// The backend of this operating system, and its virtual mic, as a status names them while there is no connection.
#[cfg(target_os = "linux")]
pub(crate) const OF_SYSTEM: [&str; 2] = ["pipewire", truemute_pipewire::VIRTUAL_MIC];
/// The backend of this operating system, and its virtual mic, as a status names them while there is no connection.
#[cfg(target_os = "macos")]
pub(crate) const OF_SYSTEM: [&str; 2] = ["coreaudio", truemute_macos::VIRTUAL_MIC];
/// The backend of this operating system, and its virtual mic, as a status names them while there is no connection.
#[cfg(windows)]
pub(crate) const OF_SYSTEM: [&str; 2] = ["wasapi", truemute_windows::VIRTUAL_MIC];

/// What apps list the virtual mic as.
pub(crate) const SHOWN_AS: &str = if cfg!(windows) {
    "Microphone (TrueMute)"
} else {
    "TrueMute Microphone"
};

/// Makes the virtual mic this user's default input.
///
/// # Errors
/// Why it is not: what went wrong, and what to do, as two sentences.
pub(crate) fn make_default() -> Result<(), String> {
    #[cfg(target_os = "linux")]
    return crate::install::choose_virtual_mic().map_err(|why| {
        format!("The default input was not changed: {why}. Choose TrueMute Microphone in the desktop's sound settings.")
    });
    #[cfg(target_os = "macos")]
    return truemute_agent::make_default(&truemute_macos::coreaudio::CoreAudio)
        .map_err(|error| error.to_string());
    #[cfg(windows)]
    return truemute_agent::make_default(&truemute_windows::wasapi::Wasapi::default())
        .map_err(|error| error.to_string());
}

/// Where a backend's events go. It never blocks; any thread but the audio thread may call it.
pub type EventSink = Box<dyn Fn(Event) + Send + Sync>;

/// Makes backends: the real one, or a test's.
pub trait BackendFactory: Send {
    /// Starts a backend whose gate is silent until [`Backend::unmute`]. Waits a few seconds at most.
    fn start(&mut self, events: EventSink) -> Result<Arc<dyn Backend>, BackendError>;

    /// Calls `came` from any thread whenever a server may have come. Called once, before the first start. Without it, starts
    /// are tried from time to time.
    fn on_arrival(&mut self, came: Box<dyn Fn() + Send>) {
        drop(came);
    }
}

/// A virtual microphone. All methods may be called from any thread but the audio thread; none of them waits longer
/// than a second.
pub trait Backend: Send + Sync {
    /// Silences the gate at once and returns when the audio thread has applied it.
    fn mute(&self) -> Result<Applied, BackendError>;

    /// Silences the gate at once and does not wait: a delivery that is under way may still be heard. [`Backend::mute`] says
    /// when none can be any more.
    fn silence(&self);

    /// Opens a new epoch and returns when the audio thread delivers it (or would, if the mic had sound). In `release`
    /// this includes linking the real mic again.
    fn unmute(&self) -> Result<Applied, BackendError>;

    /// Mutes the app of a connected client on its own, whatever the gate says, also when it comes anew: `which` is a client's
    /// number, the name of its app in whatever case, or the path of its executable. Returns when nothing that the app gets
    /// from then on has sound. If that cannot be had, nobody gets sound while the app is there.
    fn mute_app(&self, which: &str) -> Result<AppSwitched, BackendError>;

    /// Takes [`Backend::mute_app`] back.
    fn unmute_app(&self, which: &str) -> Result<AppSwitched, BackendError>;

    /// Mutes these apps on their own, connected or not, before any later unmute of the gate. Does not wait.
    fn restore_muted_apps(&self, apps: &[MutedApp]);

    /// Proof that the daemon answered for "live" at `answered`: the gate falls silent at most 250 ms after the last such
    /// moment. A caller that was held up passes a moment that is long gone, and opens nothing.
    fn renew_lease(&self, answered: Instant);

    /// Whether every thread of the backend has answered since the last call of this, and asks them again. Does not wait.
    /// Threads that have nothing to do answer too.
    fn is_alive(&self) -> bool;

    /// One look at everything. Clients that left, and bypasses that ended, stay in the snapshots until
    /// [`Backend::forget_gone`] names them.
    fn snapshot(&self) -> Result<Snapshot, BackendError>;

    /// The caller has recorded the final counts of these clients (by `Client::id`) and bypasses (by `Bypass::id`).
    fn forget_gone(&self, clients: &[u64], bypasses: &[u64]);

    /// What it runs on, with its version as the server tells it: `pipewire 1.4.2`.
    fn description(&self) -> String;

    /// Turns the record of single pulls on or off. While on,
    /// [`Event::Pulls`] come.
    fn set_tracing(&self, on: bool);
}

/// Why a backend could not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// No audio server answers.
    #[error("{what}. {remedy}")]
    Unreachable {
        /// What went wrong, as a sentence without its full stop.
        what: String,
        /// What to do, as a sentence.
        remedy: String,
    },
    /// The audio server answers, but not as the virtual mic needs it.
    #[error("{what}. {remedy}")]
    Refused {
        /// What went wrong, as a sentence without its full stop.
        what: String,
        /// What to do, as a sentence.
        remedy: String,
    },
    /// There is no such client, or no such app is muted.
    #[error("{what}. {remedy}")]
    Unknown {
        /// What went wrong, as a sentence without its full stop.
        what: String,
        /// What to do, as a sentence.
        remedy: String,
    },
    /// The audio thread did not confirm in time. For mute: the gate is silent all the same, for new deliveries read it.
    #[error(
        "The audio thread did not confirm within {waited_ms} ms. Look at the machine's load; on Linux, pw-top shows the audio server's."
    )]
    NotConfirmed {
        /// How long the backend waited.
        waited_ms: u64,
    },
}
