//! The set of an end-to-end test: a private server, a simulated mic, the real daemon and recording clients; and a way to
//! play many such sets side by side.

use std::fmt::Debug;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ::truemute::demo::RunningDaemon;
use ::truemute::protocol::Switched;
use truemute_pipewire::VIRTUAL_MIC;
use truemute_pipewire::rehearsal::{
    Clock, Format, MicOptions, PrivateServer, ServerOptions, Signal, SimulatedMic,
};

use crate::recorder::{Connections, Recorder, RecorderOptions, Recorders};
use crate::servers::Version;
use crate::tape::monotonic_ns;
use crate::truemute as program;

/// How long anything may take that has to happen, on a machine that other tests load.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Most sets that run at once in one test.
const AT_ONCE: usize = 4;

/// What to do with the real mic while muted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhileMuted {
    /// Keep it.
    Hold,
    /// Let go of it.
    Release,
}

impl WhileMuted {
    /// Both.
    pub const BOTH: [WhileMuted; 2] = [WhileMuted::Hold, WhileMuted::Release];

    fn config(self) -> &'static str {
        match self {
            WhileMuted::Hold => "while_muted = \"hold\"\n",
            WhileMuted::Release => "while_muted = \"release\"\n",
        }
    }
}

/// What to set up.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Whose server.
    pub version: Version,
    /// Frames a cycle.
    pub quantum: u32,
    /// Channels of the real mic.
    pub channels: u32,
    /// The daemon's setting.
    pub while_muted: WhileMuted,
    /// More lines of the daemon's configuration.
    pub config: String,
    /// What the mic can play; it begins with the first.
    pub signals: Vec<Signal>,
    /// Limit of open files for server and daemon, if not the usual.
    pub open_files: Option<u64>,
    /// More configuration files: path relative to the configuration directory, and text.
    pub dropins: Vec<(String, String)>,
}

impl Default for Scene {
    fn default() -> Self {
        Self {
            version: Version::Installed,
            quantum: 256,
            channels: 1,
            while_muted: WhileMuted::Release,
            config: String::new(),
            signals: vec![Signal::Ramp { bits: 23 }],
            open_files: None,
            dropins: Vec::new(),
        }
    }
}

/// The set. Its parts end in this order: clients, daemon, mic, server.
pub struct Stage {
    /// Makes clients, each with a connection of its own.
    pub recorders: Recorders,
    /// The daemon.
    pub daemon: RunningDaemon,
    /// The real mic.
    pub mic: SimulatedMic,
    /// The server.
    pub server: PrivateServer,
}

impl Stage {
    /// Sets up; nothing if this version cannot be had here.
    ///
    /// # Panics
    /// If something does not come up.
    pub fn set(scene: &Scene) -> Option<Self> {
        let options = scene.version.options(ServerOptions {
            clock: Some(Clock::fixed(scene.quantum)),
            open_files: scene.open_files,
            dropins: scene.dropins.clone(),
            ..ServerOptions::default()
        })?;
        let server = PrivateServer::start(options).unwrap_or_else(|error| panic!("{error}"));
        let mut signals = scene.signals.iter().cloned();
        let mic = SimulatedMic::start(
            &server,
            MicOptions {
                channels: scene.channels,
                signal: signals.next().unwrap_or(Signal::Silence),
                alternatives: signals.collect(),
                ..MicOptions::default()
            },
        )
        .unwrap_or_else(|error| panic!("{error}\n{}", server.log()));
        let config = format!("{}{}", scene.while_muted.config(), scene.config);
        let daemon = program::start(&server, &config);
        let recorders = Recorders::start(&server, Connections::Own)
            .unwrap_or_else(|error| panic!("{error}\n{}", server.log()));
        Some(Self {
            recorders,
            daemon,
            mic,
            server,
        })
    }

    /// A client of the virtual mic.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn client(&self, channels: u32, format: Format) -> Recorder {
        self.record(VIRTUAL_MIC, channels, format)
    }

    /// A client of `source`.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn record(&self, source: &str, channels: u32, format: Format) -> Recorder {
        self.add(RecorderOptions {
            name: format!("{source}-{format:?}"),
            target: Some(source.to_owned()),
            channels,
            format,
            ..RecorderOptions::default()
        })
    }

    /// A client.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn add(&self, options: RecorderOptions) -> Recorder {
        self.recorders
            .add(options)
            .unwrap_or_else(|error| panic!("{error}\n{}", self.logs()))
    }

    /// Mutes.
    ///
    /// # Panics
    /// If the daemon refuses.
    pub fn mute(&self) -> Switch {
        let sent_ns = monotonic_ns();
        let reply = self.daemon.mute();
        let replied_ns = monotonic_ns();
        Switch {
            sent_ns,
            replied_ns,
            reply: reply.unwrap_or_else(|error| panic!("{error}\n{}", self.logs())),
        }
    }

    /// Unmutes.
    ///
    /// # Panics
    /// If the daemon refuses.
    pub fn unmute(&self) -> Switch {
        let sent_ns = monotonic_ns();
        let reply = self.daemon.unmute();
        let replied_ns = monotonic_ns();
        Switch {
            sent_ns,
            replied_ns,
            reply: reply.unwrap_or_else(|error| panic!("{error}\n{}", self.logs())),
        }
    }

    /// Waits until each client has got `count` buffers more.
    ///
    /// # Panics
    /// If they do not come.
    pub fn pulls<'a>(&self, count: u64, clients: impl IntoIterator<Item = &'a Recorder>) {
        let wanted: Vec<_> = clients
            .into_iter()
            .map(|client| (client, client.tape().pulls() + count))
            .collect();
        for (client, count) in wanted {
            assert!(
                client.wait_for_pulls(count, LIMIT),
                "a client got {} of {count} buffers and is {:?}\n{}",
                client.tape().pulls(),
                client.state(),
                self.logs()
            );
        }
    }

    /// Lets each client get buffers until `enough` says so.
    ///
    /// # Panics
    /// If that takes too long.
    pub fn pulls_until(&self, clients: &[Recorder], mut enough: impl FnMut() -> bool) {
        let deadline = Instant::now() + LIMIT;
        loop {
            self.pulls(20, clients);
            if enough() {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "not enough good cycles in {LIMIT:?}; is the machine overloaded?\n{}",
                self.logs()
            );
        }
    }

    /// How often the daemon muted because a busy machine kept it from renewing its lease (P2).
    pub fn leases_that_ran_out(&self) -> usize {
        let log = self.daemon.log();
        log.matches("could not renew its lease").count()
    }

    /// What daemon and server wrote, for messages.
    pub fn logs(&self) -> String {
        format!("{}\n{}", self.daemon.log(), self.server.log())
    }
}

/// A mute or unmute that was acknowledged.
#[derive(Clone, Debug)]
pub struct Switch {
    /// Monotonic nanoseconds, just before the command was sent.
    pub sent_ns: u64,
    /// Just after the reply was read.
    pub replied_ns: u64,
    /// The daemon's reply.
    pub reply: Switched,
}

impl Switch {
    /// The acknowledged clock and position; nothing if the reply was "idle".
    ///
    /// # Panics
    /// If the clock is not a number.
    pub fn place(&self) -> Option<(u32, u64)> {
        let clock = self.reply.clock.as_ref()?;
        let clock = clock.parse().expect("PipeWire's clocks are numbers");
        Some((clock, self.reply.position?))
    }
}

/// Runs `check` on each cell, at most as many at once as there are processors, and names the cells that failed.
///
/// # Panics
/// If a cell did.
pub fn each<T: Debug + Sync>(cells: &[T], check: impl Fn(&T) + Sync) {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(processors).min(cells.len()) {
            scope.spawn(|| {
                while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // The panic's own message has been printed by then.
                    if catch_unwind(AssertUnwindSafe(|| check(cell))).is_err()
                        && let Ok(mut failed) = failed.lock()
                    {
                        failed.push(format!("{cell:?}"));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_default();
    assert!(failed.is_empty(), "failed in:\n{}", failed.join("\n"));
}

/// Plays with a set on this machine's own server and one on Debian 13's, where that can be had.
///
/// # Panics
/// As [`each`].
pub fn on_both(scene: impl Fn(Version) -> Scene + Sync, play: impl Fn(Version, Stage) + Sync) {
    each(&[Version::Installed, Version::Debian13], |version| {
        if let Some(stage) = Stage::set(&scene(*version)) {
            play(*version, stage);
        }
    });
}
