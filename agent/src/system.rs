//! What the agent needs of the operating system's audio: inputs, captures, permission, and who records. Each system's backend
//! crate implements it, and [`crate::simulated`]. What is done with it is decided elsewhere.

use std::path::PathBuf;
use std::sync::Arc;

use truemute_core::observed::Api;

/// What people and records call the system and its places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names {
    /// The system.
    pub system: &'static str,
    /// Where its users allow programs to hear microphones.
    pub microphone_settings: &'static str,
    /// Where its users choose the default input.
    pub sound_settings: &'static str,
    /// The virtual mic, as a snapshot names it.
    pub virtual_mic: &'static str,
    /// What apps and the system's settings list the virtual mic as.
    pub shown_as: &'static str,
    /// Through what apps record.
    pub api: Api,
}

/// What an input is to TrueMute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A real mic.
    RealMic,
    /// TrueMute's own device.
    VirtualMic,
    /// A device that is made of others, TrueMute's own among them.
    HearsVirtualMic,
}

/// A device with an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Stays the same over restarts of device and machine.
    pub uid: String,
    /// Name for people.
    pub name: String,
    /// What it is to TrueMute.
    pub role: Role,
    /// Whether it also plays: hog mode would take that from everybody.
    pub has_output: bool,
    /// Its present sample rate in Hz.
    pub rate: u32,
}

impl Input {
    /// Whether it is TrueMute's own device, or hears it.
    pub fn is_ours(&self) -> bool {
        self.role != Role::RealMic
    }
}

/// A process that records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorder {
    /// Its process id, as the audio system knows it.
    pub pid: u32,
    /// Its bundle identifier or the like, if it has one.
    pub label: Option<String>,
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
    /// What it and its places are called.
    fn names(&self) -> Names;

    /// The host's monotonic clock, in nanoseconds: that of the driver and of time stamps.
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
    /// The system cannot tell, or does not answer.
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

    /// Takes an input for this process alone (hog mode, exclusive mode), or gives it back.
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
    /// This system has no such function; the first one that has it.
    #[error("{0} needs {1} or later. Update the system.")]
    TooOld(&'static str, &'static str),
    /// Another process has the device for itself.
    #[error("The process {1} has {0:?} for itself. Close it.")]
    Taken(String, i32),
    /// The system was asked to change the default, and did not: what to choose, and where.
    #[error("The system keeps another default input. Choose {0} in {1}.")]
    NotDefault(&'static str, &'static str),
    /// The audio system says no.
    #[error(
        "The audio system refused {what} (status {status}). If it goes on, restart the machine."
    )]
    Refused {
        /// What it refused.
        what: String,
        /// Its status; on macOS a four-character code in many cases.
        status: i32,
    },
}
