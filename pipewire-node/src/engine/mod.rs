//! The handle on the virtual mic, and the thread behind it. [`thread`] sets it up, [`turn`] is what it does when something
//! happened; [`mic`], [`switch`], [`clients`] and [`keeper`] each know one part of that.

mod clients;
mod clock;
mod data_loop;
mod estimate;
mod following;
mod inbox;
mod keeper;
mod mic;
mod plan;
mod server;
mod sides;
mod stopped;
mod switch;
mod thread;
mod turn;

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use truemute_core::{
    gate::{Epoch, Gate},
    observed::{AppSwitched, Applied, Event, MutedApp, Snapshot},
};

pub use self::server::ServerFacts;
pub use self::thread::give_mics_back;
use crate::monotonic::monotonic_ns;

/// What to do with the real mic while muted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhileMuted {
    /// Let go of it, so that its device closes and its indicator goes off (P8).
    #[default]
    Release,
    /// Keep it running: unmuting is quicker, and nothing shows that mute changed the driver of the graph.
    Hold,
}

/// From what pulls are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Counting {
    /// From activation records where they check out, else from the profiler.
    #[default]
    Auto,
    /// From the profiler: estimated.
    Profiler,
}

/// What to do about clients that get a real mic's sound past the gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GuardMode {
    /// Nothing; nobody looks for them.
    Off,
    /// Report them.
    #[default]
    Report,
    /// Keep them off the real mics as far as the server allows, and report them.
    Enforce,
}

/// How the virtual mic is to be.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Name or path of the server's socket; `None` for the session's own (`PIPEWIRE_REMOTE`, else `pipewire-0`).
    pub remote: Option<String>,
    /// What to do with the real mic while muted.
    pub while_muted: WhileMuted,
    /// `node.name`s of the real mics to follow, the most wanted first; the default one where none of them is there. A trailing
    /// `*` stands for any ending.
    pub real_mics: Vec<String>,
    /// The only real mics that may be followed, in the same form; `None` for any.
    pub allowed_real_mics: Option<Vec<String>>,
    /// Channels of the virtual mic, 1 to 8; `None` for those of the real mic.
    pub channels: Option<u32>,
    /// From what pulls are counted.
    pub counting: Counting,
    /// What to do about clients that get a real mic's sound past the gate.
    pub guard: GuardMode,
    /// Who may read a real mic and is no bypass by itself: paths of executables, or `node.name` where there is no slash. A
    /// trailing `*` stands for any ending.
    pub trusted_processors: Vec<String>,
    /// Whether the followed mic's device is kept busy while it is released.
    pub hold_device: bool,
    /// Whether a mute also mutes the followed mic in hardware, where its sound card can.
    pub mute_hardware: bool,
    /// Where to write down which real mics were muted, so that it can be undone after a crash; without it none is.
    pub muted_mics: Option<PathBuf>,
}

/// Why the virtual mic could not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// No audio server answers.
    #[error(
        "PipeWire cannot be reached: {0}. Start it (`systemctl --user start pipewire`), or look whether PIPEWIRE_REMOTE and XDG_RUNTIME_DIR are right."
    )]
    Unreachable(String),
    /// The server answers, but something of what we need is refused.
    #[error("PipeWire refused the virtual microphone: {0}. Run `truemute doctor`.")]
    Refused(String),
    /// Our library is of another generation than the server.
    #[error(
        "PipeWire's library {library} is older than the server {server}, and their nodes cannot trigger each other. Run TrueMute with the libpipewire of the server's release."
    )]
    Mismatch {
        /// Version of the library that we run with.
        library: String,
        /// Version of the server.
        server: String,
    },
    /// The audio thread did not confirm in time. A mute holds all the same for every delivery that begins.
    #[error(
        "The audio thread did not confirm within {waited_ms} ms. Look at the machine's load; on Linux, pw-top shows the audio server's."
    )]
    NotConfirmed {
        /// How long it was waited for.
        waited_ms: u64,
    },
    /// Another command changed the state before this one took effect.
    #[error("A later command changed the state before this one took effect. Ask for the status.")]
    Overtaken,
    /// Nobody of this name or number is connected.
    #[error(
        "No client is called {0:?}, and no app. Look who is connected with `truemute clients`, and name the app or the number."
    )]
    NoSuchClient(String),
    /// No app of this name is muted on its own.
    #[error(
        "No app called {0:?} is muted on its own. `truemute status` says which are; for the gate, leave out --client."
    )]
    NotMuted(String),
    /// The streams of an app did not go where they were sent.
    #[error(
        "{app} could not be moved{}. Restart the app, or the session manager (WirePlumber).",
        if *.withheld { ", so that all apps get silence for as long as it stays" } else { " back" }
    )]
    NotMoved {
        /// The app.
        app: String,
        /// Whether nobody gets sound until it is gone.
        withheld: bool,
    },
    /// The backend's thread has ended.
    #[error("The connection to PipeWire has ended. Start the virtual microphone again.")]
    Ended,
}

/// What the handle asks of its thread.
pub(crate) enum Command {
    Muted {
        epoch: Epoch,
        asked_ns: u64,
        reply: SyncSender<Result<Applied, Failure>>,
    },
    Unmute {
        /// The epoch that the asker saw: if it is over, somebody muted meanwhile.
        seen: Epoch,
        asked_ns: u64,
        reply: SyncSender<Result<Applied, Failure>>,
    },
    Snapshot {
        reply: SyncSender<Snapshot>,
    },
    SwitchApp {
        which: String,
        muted: bool,
        asked_ns: u64,
        reply: SyncSender<Result<AppSwitched, Failure>>,
    },
    RestoreApps(Vec<MutedApp>),
    ForgetGone {
        clients: Vec<u64>,
        bypasses: Vec<u64>,
    },
    SetTracing(bool),
    /// Asks both threads for a sign of life: the data loop puts `number` into `answered`.
    Answer {
        number: u64,
        answered: Arc<AtomicU64>,
    },
    Stop,
}

/// The virtual microphone. It exists on the server from [`VirtualMic::start`] until it is dropped. All methods may be
/// called from any thread but the audio thread, and wait at most a second.
pub struct VirtualMic {
    gate: Arc<Gate>,
    commands: Mutex<pipewire::channel::Sender<Command>>,
    thread: Option<JoinHandle<()>>,
    server: ServerFacts,
    /// The last sign of life that was asked for, and the last that was given.
    asked: AtomicU64,
    answered: Arc<AtomicU64>,
}

/// A lease holds for this long after each renewal: the gate falls silent within 250 ms of the last (P2).
const LEASE: Duration = Duration::from_millis(200);
/// The longest that a reply may take beyond the audio thread's own patience.
const REPLY: Duration = Duration::from_millis(switch::PATIENCE.as_millis() as u64 + 100);

impl VirtualMic {
    /// Connects to the server and publishes the virtual mic, muted. Returns when clients can find it. `events` is called
    /// from the backend's thread and must not call back into this handle.
    pub fn start(
        options: Options,
        events: impl Fn(Event) + Send + 'static,
    ) -> Result<Self, Failure> {
        let gate = Arc::new(Gate::new());
        let (commands, receiver) = pipewire::channel::channel();
        let (ready, started) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("truemute-graph".into())
            .spawn({
                let gate = gate.clone();
                move || thread::run(options, gate, receiver, Box::new(events), ready)
            })
            .map_err(|error| Failure::Refused(format!("no thread could be started: {error}")))?;
        // The thread has deadlines of its own; a closed channel means that it ended without a word.
        let server = started.recv().unwrap_or(Err(Failure::Ended))?;
        Ok(Self {
            gate,
            commands: Mutex::new(commands),
            thread: Some(thread),
            server,
            asked: AtomicU64::new(0),
            answered: Arc::default(),
        })
    }

    /// What the server said of itself at the start.
    pub fn server(&self) -> &ServerFacts {
        &self.server
    }

    /// Silences the gate at once, and returns when the audio thread has applied it.
    pub fn mute(&self) -> Result<Applied, Failure> {
        let asked_ns = monotonic_ns();
        // Here and not on the backend's thread: nothing that it is busy with may delay a mute.
        let epoch = self.gate.mute();
        self.ask(|reply| Command::Muted {
            epoch,
            asked_ns,
            reply,
        })?
    }

    /// Silences the gate at once and does not wait for the audio thread.
    pub fn silence(&self) {
        self.gate.mute();
    }

    /// Opens a new epoch, and returns when its first live block is delivered, or when nothing runs.
    pub fn unmute(&self) -> Result<Applied, Failure> {
        let asked_ns = monotonic_ns();
        self.renew_lease(Instant::now());
        let seen = self.gate.state().0;
        self.ask(|reply| Command::Unmute {
            seen,
            asked_ns,
            reply,
        })?
    }

    /// Moves the app of a connected client to a silent source, where it stays, also when it comes anew. `which` is a client's
    /// number, the name of its app in whatever case, or the path of its executable. Returns when no stream of the app is
    /// linked to the virtual mic any more: nothing that it gets from then on has sound. The gate is not touched.
    pub fn mute_app(&self, which: &str) -> Result<AppSwitched, Failure> {
        self.switch_app(which, true)
    }

    /// Takes [`Self::mute_app`] back. Returns when no stream of the app is linked to the silent source any more.
    pub fn unmute_app(&self, which: &str) -> Result<AppSwitched, Failure> {
        self.switch_app(which, false)
    }

    /// Mutes these apps on their own, connected or not, before any later command. Does not wait.
    pub fn restore_muted_apps(&self, apps: Vec<MutedApp>) {
        let _ = self.send(Command::RestoreApps(apps));
    }

    fn switch_app(&self, which: &str, muted: bool) -> Result<AppSwitched, Failure> {
        let asked_ns = monotonic_ns();
        self.ask(|reply| Command::SwitchApp {
            which: which.to_owned(),
            muted,
            asked_ns,
            reply,
        })?
    }

    /// Proof that somebody answered for "live" at `answered`. The gate falls silent 200 ms after the last such moment.
    pub fn renew_lease(&self, answered: Instant) {
        // In this order: a thread that is stopped between the two readings renews for a moment that is gone.
        let now_ns = monotonic_ns();
        let ago_ns = u64::try_from(answered.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let until_ns = now_ns
            .saturating_sub(ago_ns)
            .saturating_add(LEASE.as_nanos() as u64);
        self.gate.renew_lease(until_ns);
    }

    /// Whether the backend's thread and the audio thread have answered since the last call of this, and asks them again. Does
    /// not wait. Both answer while no audio runs, too.
    pub fn is_alive(&self) -> bool {
        let asked = self.asked.load(Ordering::Relaxed);
        let alive = self.answered.load(Ordering::Relaxed) >= asked;
        if alive {
            self.asked.store(asked + 1, Ordering::Relaxed);
            let _ = self.send(Command::Answer {
                number: asked + 1,
                answered: self.answered.clone(),
            });
        }
        alive
    }

    /// One look at everything.
    pub fn snapshot(&self) -> Result<Snapshot, Failure> {
        self.ask(|reply| Command::Snapshot { reply })
    }

    /// The caller has recorded the final counts of these clients and bypasses.
    pub fn forget_gone(&self, clients: &[u64], bypasses: &[u64]) {
        let _ = self.send(Command::ForgetGone {
            clients: clients.to_vec(),
            bypasses: bypasses.to_vec(),
        });
    }

    /// Turns [`Event::Pulls`] on or off.
    pub fn set_tracing(&self, on: bool) {
        let _ = self.send(Command::SetTracing(on));
    }

    fn ask<T>(&self, command: impl FnOnce(SyncSender<T>) -> Command) -> Result<T, Failure> {
        let (reply, answer) = sync_channel(1);
        self.send(command(reply))?;
        answer.recv_timeout(REPLY).map_err(|error| match error {
            std::sync::mpsc::RecvTimeoutError::Timeout => Failure::NotConfirmed {
                waited_ms: REPLY.as_millis() as u64,
            },
            std::sync::mpsc::RecvTimeoutError::Disconnected => Failure::Ended,
        })
    }

    fn send(&self, command: Command) -> Result<(), Failure> {
        let commands = self
            .commands
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        commands.send(command).map_err(|_| Failure::Ended)
    }
}

impl Drop for VirtualMic {
    fn drop(&mut self) {
        self.gate.mute();
        let _ = self.send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
