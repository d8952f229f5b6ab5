//! What the agent needs of the operating system's audio: inputs, captures, permission, and who records. Two implement it:
//! `coreaudio` and [`crate::simulated`]. What is done with it is decided elsewhere.

use std::path::PathBuf;
use std::sync::Arc;

/// The UID of TrueMute's own device, as the plug-in publishes it (`driver-macos/plugin/properties.tsv`).
pub const VIRTUAL_MIC: &str = "org.truemute.microphone";

/// A device with an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Stays the same over restarts of device and machine.
    pub uid: String,
    /// Name for people.
    pub name: String,
    /// Whether it also plays: hog mode would take that from everybody.
    pub has_output: bool,
    /// Its present sample rate in Hz.
    pub rate: u32,
    /// The UIDs of the devices that it is made of; empty if it is no aggregate.
    pub parts: Vec<String>,
}

impl Input {
    /// Whether it is TrueMute's own device, or hears it.
    pub fn is_ours(&self) -> bool {
        self.uid == VIRTUAL_MIC || self.parts.iter().any(|part| part == VIRTUAL_MIC)
    }
}

/// A process that records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorder {
    /// Its process id, as Core Audio knows it.
    pub pid: u32,
    /// Its bundle identifier, if it has one.
    pub bundle_id: Option<String>,
    /// UIDs of the inputs that it records from.
    pub inputs: Vec<String>,
}

/// Whether this process may hear microphones. Without it, captures run and deliver zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// The user allowed it.
    Granted,
    /// The user was not asked yet.
    NotAsked,
    /// The user, or whoever administers the machine, refused it.
    Denied,
}

/// How a device delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureFormat {
    /// Sample rate in Hz.
    pub rate: u32,
    /// Channels.
    pub channels: u32,
    /// Frames in the largest block.
    pub largest_block: u32,
    /// How long before its time stamp a frame was sound, in nanoseconds, as the device reports it.
    pub latency_ns: u64,
}

/// What a device delivered at once.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// Interleaved; may be empty.
    pub samples: &'a [f32],
    /// The device's time stamp of the first frame, on the clock of [`System::now_ns`].
    pub host_ns: u64,
}

/// What becomes of a capture that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureEvent {
    /// The device has another rate or other channels: blocks no longer fit [`Capture::format`]. Open it again.
    FormatChanged,
    /// The device has gone.
    Gone,
}

/// Takes the blocks, on the system's audio thread.
pub type OnBlock = Box<dyn FnMut(Block<'_>) + Send>;

/// Is told of events, on any thread; must not call the capture.
pub type OnEvent = Arc<dyn Fn(CaptureEvent) + Send + Sync>;

/// An input that was opened. Dropping it stops it. Only one thread at a time.
pub trait Capture: Send {
    /// How it delivers.
    fn format(&self) -> CaptureFormat;

    /// Starts to deliver: the microphone's indicator goes on.
    ///
    /// # Errors
    /// The system refuses it.
    fn start(&mut self, on_block: OnBlock, on_event: OnEvent) -> Result<(), SystemError>;

    /// Stops; no block comes after it has returned. Nothing, if it does not run.
    fn stop(&mut self);
}

/// The operating system's audio. Any thread but an audio thread may use it.
pub trait System: Send + Sync {
    /// The host's monotonic clock, in nanoseconds: that of the plug-in and of time stamps.
    fn now_ns(&self) -> u64;

    /// All inputs, TrueMute's own included.
    ///
    /// # Errors
    /// The audio system does not answer.
    fn inputs(&self) -> Result<Vec<Input>, SystemError>;

    /// The UID of the default input, if there is one.
    ///
    /// # Errors
    /// The audio system does not answer.
    fn default_input(&self) -> Result<Option<String>, SystemError>;

    /// Makes an input the default.
    ///
    /// # Errors
    /// There is no such input, or the system refuses it.
    fn set_default_input(&self, uid: &str) -> Result<(), SystemError>;

    /// Opens an input.
    ///
    /// # Errors
    /// There is no such input, or the system refuses it.
    fn open(&self, uid: &str) -> Result<Box<dyn Capture>, SystemError>;

    /// Whether this process may hear microphones.
    fn permission(&self) -> Permission;

    /// Asks the user, if nobody did yet. Does not wait.
    fn ask_permission(&self);

    /// All processes that record now, our own included.
    ///
    /// # Errors
    /// The system cannot tell (before macOS 14.2), or does not answer.
    fn recorders(&self) -> Result<Vec<Recorder>, SystemError>;

    /// The executable of a process of this user.
    fn executable(&self, pid: u32) -> Option<PathBuf>;

    /// Calls `changed`, on any thread, when inputs, the default or recorders change, until what it returns is dropped. Changes
    /// can be missed.
    ///
    /// # Errors
    /// The audio system does not answer.
    fn watch(
        &self,
        changed: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<Box<dyn Send + Sync>, SystemError>;

    /// Takes an input for this process alone (hog mode), or gives it back.
    ///
    /// # Errors
    /// There is no such input, another process has it, or the system refuses it.
    fn set_hog(&self, uid: &str, on: bool) -> Result<(), SystemError>;
}

/// What the operating system did not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SystemError {
    /// There is no such device.
    #[error("There is no input {0:?}. Connect it, or choose another one.")]
    NoDevice(String),
    /// This system has no such function.
    #[error("{0} needs macOS {1}. Update macOS.")]
    TooOld(&'static str, &'static str),
    /// Another process has the device for itself.
    #[error("The process {1} has {0:?} for itself (hog mode). Close it.")]
    Taken(String, i32),
    /// The system was asked to change the default, and did not.
    #[error(
        "macOS keeps another default input. Choose TrueMute Microphone in System Settings, Sound."
    )]
    NotDefault,
    /// Core Audio says no.
    #[error("Core Audio refused {what} (status {status}). If it goes on, restart the machine.")]
    Refused {
        /// What it refused.
        what: String,
        /// Its status; a four-character code in many cases.
        status: i32,
    },
}
