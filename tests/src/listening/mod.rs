//! Clients of every kind that go on recording whatever happens to the server, as a person's apps would: one that loses its
//! stream connects again. What each got lies in its [`Log`], piece by piece, with the moment when it came.
//! How each kind is run: [`native`], [`programs`], [`web`].

mod native;
mod programs;
mod web;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use truemute_pipewire::rehearsal::PrivateServer;

use crate::recorder::Recorders;

/// How often a listener looks for what is new: the moments in a [`Log`] are at most so much late.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long a client that lost its stream waits before it connects again.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// How long nothing may come before a person would start an app anew that has not noticed anything.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(5);

/// What a client does until it is told to end.
type Life = Box<dyn FnOnce(&Log, &AtomicBool) + Send>;

/// What leads a program to a server, also while that is ending or starting and cannot be asked.
struct Way {
    variables: BTreeMap<&'static str, OsString>,
    directory: PathBuf,
}

impl Way {
    fn to(server: &PrivateServer) -> Self {
        Self {
            variables: server.env(),
            directory: server.directory().to_owned(),
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .envs(&self.variables);
        command
    }
}

/// How a client reaches the virtual mic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A native stream that names the virtual mic as its target.
    Explicit,
    /// A native stream that takes the default source.
    Default,
    /// `parec`, which speaks the PulseAudio protocol.
    Pulse,
    /// `arecord` through PipeWire's ALSA plug-in.
    Alsa,
    /// Chromium with a page that records.
    Browser,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Explicit,
        Self::Default,
        Self::Pulse,
        Self::Alsa,
        Self::Browser,
    ];

    /// Name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Explicit => "native, named",
            Self::Default => "native, default",
            Self::Pulse => "PulseAudio",
            Self::Alsa => "ALSA",
            Self::Browser => "browser",
        }
    }

    /// What the daemon lists it as: so is in the name of the app or of the stream.
    pub fn listed_as(self) -> &'static str {
        match self {
            Self::Explicit => "listener-explicit",
            Self::Default => "listener-default",
            Self::Pulse => "parec",
            Self::Alsa => "arecord",
            Self::Browser => "chromium",
        }
    }

    /// How much sound such a client may still hold in buffers of its own when a mute is acknowledged.
    pub fn buffered(self) -> Duration {
        Duration::from_millis(match self {
            Self::Explicit | Self::Default => 50,
            Self::Pulse | Self::Alsa => 400,
            Self::Browser => 1000,
        })
    }
}

/// Some sound that came at once.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Piece {
    /// When, in nanoseconds of the monotonic clock.
    pub at_ns: u64,
    /// Frames.
    pub frames: u32,
    /// Samples with any bit set.
    pub nonzero: u32,
    /// The last sample with any bit set; 0 if there is none. The simulated mic's ramp tells by it when it was played.
    pub last: f32,
}

/// What a client got so far.
#[derive(Debug, Default)]
pub struct Log {
    pieces: Mutex<Vec<Piece>>,
    connections: AtomicU64,
    given_up: AtomicU64,
}

impl Log {
    /// The pieces from number `start` on.
    pub fn pieces_from(&self, start: usize) -> Vec<Piece> {
        let pieces = self.lock();
        pieces[start.min(pieces.len())..].to_vec()
    }

    /// Pieces so far.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether nothing came yet.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// How often the client has connected.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// How often it had to be started anew because nothing came any more, although it had not ended: as a person would.
    pub fn times_given_up(&self) -> u64 {
        self.given_up.load(Ordering::Relaxed)
    }

    /// Samples that were not zero and came from `start_ns` to before `end_ns`.
    pub fn nonzero(&self, start_ns: u64, end_ns: u64) -> u64 {
        let pieces = self.lock();
        let inside = pieces
            .iter()
            .filter(|piece| (start_ns..end_ns).contains(&piece.at_ns));
        inside.map(|piece| u64::from(piece.nonzero)).sum()
    }

    /// The longest time in which nothing came, between `start_ns` and `end_ns`, in nanoseconds. A piece that is due may still
    /// be under way at either end.
    pub fn longest_gap(&self, start_ns: u64, end_ns: u64) -> u64 {
        let pieces = self.lock();
        let times = pieces.iter().map(|piece| piece.at_ns);
        let before = times.clone().filter(|at| *at < start_ns).max();
        let mut last = before.unwrap_or(start_ns);
        let mut longest = 0;
        for at in times
            .filter(|at| (start_ns..end_ns).contains(at))
            .chain([end_ns])
        {
            longest = longest.max(at.saturating_sub(last));
            last = at;
        }
        longest
    }

    fn push(&self, pieces: impl IntoIterator<Item = Piece>) {
        self.lock().extend(pieces);
    }

    fn given_up(&self, so: bool) {
        self.given_up.fetch_add(u64::from(so), Ordering::Relaxed);
    }

    fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Piece>> {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client that goes on recording. Dropping it ends the client.
pub struct Listener {
    kind: Kind,
    log: Arc<Log>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Starts a client of the virtual mic on `server`; the native ones among `recorders`.
    pub fn start(kind: Kind, server: &PrivateServer, recorders: &Arc<Recorders>) -> Self {
        let log = Arc::new(Log::default());
        let ended = Arc::new(AtomicBool::new(false));
        let run: Life = match kind {
            Kind::Explicit | Kind::Default => native::client(kind, recorders.clone()),
            Kind::Pulse | Kind::Alsa => programs::client(kind, server),
            Kind::Browser => web::client(server),
        };
        let thread = thread::spawn({
            let (log, ended) = (log.clone(), ended.clone());
            move || run(&log, &ended)
        });
        Self {
            kind,
            log,
            ended,
            thread: Some(thread),
        }
    }

    /// What kind it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What it got.
    pub fn log(&self) -> &Log {
        &self.log
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed already.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_sounds_are_those_of_the_time_that_was_asked_for() {
        let log = Log::default();
        log.push([10, 20, 50, 60].map(|at_ns| Piece {
            at_ns,
            frames: 4,
            nonzero: u32::from(at_ns >= 50) * 3,
            last: 0.5,
        }));
        assert_eq!(log.nonzero(0, 50), 0);
        assert_eq!(log.nonzero(50, 61), 6);
        assert_eq!(log.longest_gap(15, 60), 30);
        assert_eq!(log.longest_gap(55, 100), 40);
        assert_eq!(log.longest_gap(100, 130), 70);
        assert_eq!(log.pieces_from(3).len(), 1);
    }
}
