//! What a backend observes, in words that every operating system shares: the real mic, the virtual mic, clients and
//! their counts. Backends fill these, `control` stores and prints them. The real-time path never touches them.

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

pub use crate::ledger::Tally;

/// Adds the derives that every record type of this module shares.
macro_rules! record {
    ($(#[$meta:meta])* $vis:vis $kind:ident $name:ident $($body:tt)*) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(rename_all = "snake_case"))]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        $vis $kind $name $($body)*
    };
}

record! {
    /// How far a client's name and pid can be believed (promise P9).
    #[derive(Copy, Hash, PartialOrd, Ord)]
    pub enum Identity {
        /// The audio server vouches for the pid (the kernel's peer credentials of the client's own connection).
        Verified,
        /// The client claims the pid, and that pid really is among the peers of the sound server's socket.
        Corroborated,
        /// Only the client says so.
        Claimed,
    }
}

record! {
    /// The interface through which a client records.
    #[derive(Copy, Hash)]
    pub enum Api {
        /// A native PipeWire client.
        Pipewire,
        /// Through the PulseAudio protocol (pipewire-pulse pulls for it).
        Pulse,
        /// Through ALSA's PipeWire plug-in.
        Alsa,
        /// Through PipeWire's JACK library.
        Jack,
        /// The sound device itself, behind the audio server's back.
        AlsaDevice,
        /// Core Audio, on macOS.
        CoreAudio,
        /// The Windows audio session API.
        Wasapi,
        /// Could not be told.
        Unknown,
    }
}

record! {
    /// Whether a client's stream runs.
    #[derive(Copy)]
    pub enum ClientState {
        /// The stream is pulling.
        Running,
        /// The stream is there but paused by its app (corked): it pulls nothing.
        Corked,
        /// The stream has gone; its counts are final.
        Gone,
    }
}

record! {
    /// What a stream is for, as far as it says so.
    #[derive(Copy)]
    pub enum Purpose {
        /// An app that records.
        Recording,
        /// A level meter of a desktop tool (pavucontrol, gnome-control-center): looks at peaks, does not listen.
        Meter,
        /// A monitor or visualiser of a desktop tool.
        Monitor,
        /// The system's own mixer, which pulls once for all apps that are listed beside it: its counts and theirs are of the same
        /// sound, and not to be added up.
        Engine,
    }
}

record! {
    /// From what a client's pulls were counted.
    #[derive(Copy)]
    pub enum CountedBy {
        /// The client's own activation record, shared with us by the server: each completed cycle, exactly.
        ActivationRecord,
        /// The server's profiler: an estimate, for it drops events under load.
        Profiler,
        /// The driver itself, on macOS each read that Core Audio makes for the client, on Windows each packet that the audio engine
        /// fetches: exactly.
        Driver,
        /// The Windows session of the app: what the audio engine got while the session was active. An estimate.
        Session,
        /// Windows' own events about packets for the app's process, as long as they agree with its session. An estimate.
        Events,
        /// What the driver wrote for a mixer that fetches no packets: that anybody read it, nothing shows. An estimate.
        Written,
        /// Nothing, for there are more clients than counts are kept for: what this one pulls is unattributed.
        Unattributed,
    }
}

record! {
    /// The process that did the pulling on a client's behalf.
    pub struct Puller {
        /// Process id as the kernel gives it in our pid namespace.
        pub pid: u32,
        /// Name of its executable file (`pipewire-pulse`, or the app itself).
        pub name: String,
    }
}

record! {
    /// The distribution of the time between two pulls of one client, in microseconds.
    #[derive(Copy, Default)]
    pub struct Intervals {
        /// Median.
        pub p50_us: u64,
        /// 99th percentile.
        pub p99_us: u64,
        /// Longest.
        pub max_us: u64,
    }
}

record! {
    /// Everything counted for one client since it came. Only ever grows, within one backend instance.
    #[derive(Copy, Default)]
    pub struct Counts {
        /// While the gate was live.
        pub live: Tally,
        /// While the gate was silent, for whatever reason.
        pub muted: Tally,
        /// Cycles in which the server or the client reported an xrun, a discontinuity or a late wake-up: a pull may be
        /// missing from or doubled in the tallies for each of them.
        pub xruns: u64,
        /// Pulls known to have happened that could not be read.
        pub lost: u64,
        /// Intervals between pulls.
        pub intervals: Intervals,
    }
}

record! {
    /// How often Windows' audio engine signalled to the app's process that a pass is done (event 160 of Microsoft-Windows-Audio), whatever
    /// streams the process has. What the app then fetched, it does not say.
    #[derive(Copy, Default)]
    pub struct Offers {
        /// Signals.
        pub count: u64,
        /// Events that are known to be lost meanwhile, of whatever process and kind. A break in the listening counts as one.
        pub lost: u64,
    }
}

record! {
    /// Who records: one capture stream of one app.
    pub struct Who {
        /// The app's name for people.
        pub app: String,
        /// The stream's own name, where it has one (`node.name`).
        pub stream: String,
        /// The app's process, in our pid namespace, where it is known.
        pub pid: Option<u32>,
        /// The app's executable, through /proc.
        pub executable: Option<PathBuf>,
        /// How far `pid` and `executable` can be believed, and `app` with them: it is the executable's name. Without an
        /// `executable`, `app` is only what the client calls itself.
        pub identity: Identity,
        /// Which process did the pulling.
        pub puller: Option<Puller>,
        /// Through which interface; `alsa_device` for a device that was opened behind the audio server's back.
        pub api: Api,
        /// Recording, or a desktop tool's level meter.
        pub purpose: Purpose,
    }
}

record! {
    /// One client: one capture stream of one app on the virtual mic.
    pub struct Client {
        /// Number that no other client of the same backend instance ever had.
        pub id: u64,
        /// Who it is.
        pub who: Who,
        /// Running, corked or gone.
        pub state: ClientState,
        /// Whether its app is muted on its own: then it gets silence whatever the gate says.
        pub app_muted: bool,
        /// Where the counts come from.
        pub counted_by: CountedBy,
        /// The counts.
        pub counts: Counts,
        /// How often the system offered sound to it, where it says so.
        pub offers: Option<Offers>,
        /// When the stream came, in nanoseconds of the wall clock since 1970.
        pub first_seen_ns: u64,
        /// The last pull, in nanoseconds of the wall clock since 1970; none yet if absent.
        pub last_pull_ns: Option<u64>,
    }
}

record! {
    /// What the backend does with the real mic now.
    #[derive(Copy)]
    pub enum MicState {
        /// Linked: its sound reaches the gate.
        Capturing,
        /// Let go of: nothing of ours keeps it running.
        Released,
        /// The system's privacy settings refuse us its sound.
        Denied,
        /// Captured and allowed, but for some seconds all that came was zeros, as from a mic with a mute switch of its own.
        AllZero,
        /// No real mic can be found.
        Missing,
    }
}

record! {
    /// The real microphone that the backend follows.
    pub struct RealMic {
        /// `node.name` (or the system's own stable name); empty while missing.
        pub name: String,
        /// Name for people.
        pub description: String,
        /// What we do with it.
        pub state: MicState,
    }
}

record! {
    /// The virtual mic as clients see it.
    pub struct VirtualMic {
        /// `truemute.mic` on Linux.
        pub name: String,
        /// Sample rate in Hz; 0 before the first cycle.
        pub rate: u32,
        /// Channels.
        pub channels: u32,
        /// Frames a cycle; 0 before the first cycle.
        pub quantum: u32,
    }
}

record! {
    /// What was done about a bypass.
    #[derive(Copy, Hash)]
    pub enum Countermeasure {
        /// It was reported, and goes on.
        Reported,
        /// Its way to the real mic was cut.
        Cut,
    }
}

record! {
    /// A client that a real mic's sound reaches by another way than through the gate.
    pub struct Bypass {
        /// Number that no other bypass of the same backend instance ever had.
        pub id: u64,
        /// Who it is.
        pub who: Who,
        /// Running, corked, or gone: then its figures are final.
        pub state: ClientState,
        /// `node.name` of the real mic; the device's name where the audio server does not know of it.
        pub real_mic: String,
        /// The nodes between the real mic and the client, in the order of the sound's way; empty if it is linked to the mic
        /// itself.
        pub through: Vec<String>,
        /// When the way was first seen, in nanoseconds of the wall clock since 1970.
        pub since_ns: u64,
        /// When it was last seen, once it is gone, in nanoseconds of the wall clock since 1970.
        pub until_ns: Option<u64>,
        /// How long sound could flow: the time in which the client was linked and running, in nanoseconds.
        pub duration_ns: u64,
        /// Frames that it got.
        pub frames: u64,
        /// Whether `frames` was counted; otherwise it is estimated, as `duration_ns` times the sample rate.
        pub frames_exact: bool,
        /// What was done about it.
        pub done: Countermeasure,
        /// How often its way was cut: a session manager may link it again.
        pub cuts: u64,
    }
}

record! {
    /// An app that is muted on its own. A client belongs to it if both have an executable and it is the same, or if one
    /// of them has none and the names are the same: whoever claims to be the app is taken for it.
    #[derive(Hash, PartialOrd, Ord)]
    pub struct MutedApp {
        /// [`Who::app`].
        pub app: String,
        /// [`Who::executable`].
        pub executable: Option<PathBuf>,
    }
}

impl MutedApp {
    /// Whether a client with this name and executable belongs to the app.
    pub fn is_app(&self, app: &str, executable: Option<&Path>) -> bool {
        match (self.executable.as_deref(), executable) {
            (Some(mine), Some(its)) => mine == its,
            _ => self.app == app,
        }
    }

    /// Whether `which` is the name of an app, in whatever case, or the path of its executable.
    pub fn is_called(which: &str, app: &str, executable: Option<&Path>) -> bool {
        app.to_lowercase() == which.to_lowercase() || executable == Some(Path::new(which))
    }
}

record! {
    /// What came of muting or unmuting one app.
    pub struct AppSwitched {
        /// The app, once for each of its executables.
        pub apps: Vec<MutedApp>,
        /// Its clients that were moved ([`Client::id`]).
        pub clients: Vec<u64>,
        /// Whether this changed anything.
        pub changed: bool,
        /// From the command to the moment at which none of them was linked to the old source any more, in microseconds.
        pub took_us: u64,
    }
}

record! {
    /// One consistent look at the backend.
    pub struct Snapshot {
        /// Differs after each start of the backend, so that counts which begin anew never look negative.
        pub instance: u64,
        /// When it was taken, in nanoseconds of the wall clock since 1970.
        pub at_ns: u64,
        /// The real mic.
        pub real_mic: RealMic,
        /// The virtual mic.
        pub virtual_mic: VirtualMic,
        /// Clients that are connected, and those that left and were not forgotten yet (their state is `Gone`).
        pub clients: Vec<Client>,
        /// Who gets a real mic's sound past the gate now, and those that ended since the last snapshot after which they were
        /// forgotten (their state is `Gone`).
        pub bypasses: Vec<Bypass>,
        /// The apps that are muted on their own, connected or not.
        pub muted_apps: Vec<MutedApp>,
        /// Pulls that happened but could not be given to any client. Some of them may be known to have happened and no more: then
        /// their frames are not in it.
        pub unattributed: Tally,
        /// What is wrong, as sentences: what it is, and what to do.
        pub warnings: Vec<String>,
        /// Whether the graph is running cycles for us now.
        pub running: bool,
    }
}

record! {
    /// How a mute or unmute took effect.
    pub enum Applied {
        /// In a cycle: no sample at or after `position` is in the wrong state.
        Cycle {
            /// Name of the graph's clock (`clock.id` as text): positions compare only within one clock.
            clock: String,
            /// First frame of the first cycle in the new state.
            position: u64,
            /// How long it took from the command to that cycle's end, in microseconds.
            took_us: u64,
        },
        /// Nothing was running, or (after an unmute) the real mic has not delivered yet: whatever comes next comes in the
        /// new state.
        Idle {
            /// How long it took, in microseconds.
            took_us: u64,
        },
    }
}

/// What a backend tells on its own, from its control thread; never from the audio thread.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The desktop's own mute flag of the virtual mic was set (`true`) or cleared by somebody else than us.
    DesktopMute(bool),
    /// The gate shut by itself, for nobody renewed the lease in time.
    LeaseRanOut,
    /// The real mic, the virtual mic's format, or the set or state of clients changed: take a snapshot.
    Changed,
    /// Single pulls while tracing is on, in order of time, but for the first ones of a client that just came.
    Pulls {
        /// The pulls.
        pulls: Vec<Pull>,
        /// Pulls that did not fit into the bounded queue since the last event.
        lost: u64,
    },
    /// The connection to the audio server is gone; the backend is unusable and should be dropped and started again.
    ServerLost(String),
}

record! {
    /// One pull, for the trace.
    #[derive(Copy)]
    pub struct Pull {
        /// [`Client::id`].
        pub client: u64,
        /// When it completed, in nanoseconds of the monotonic clock.
        pub monotonic_ns: u64,
        /// The graph's clock position of the first frame.
        pub position: u64,
        /// Frames delivered.
        pub frames: u32,
        /// Whether the gate was live for this delivery.
        pub live: bool,
        /// Whether an xrun, discontinuity or late wake-up was flagged in this cycle.
        pub flagged: bool,
    }
}
