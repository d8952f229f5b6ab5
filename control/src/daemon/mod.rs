//! The daemon: one actor holds the mute state, drives the backend and tells everybody who watches.
//! [`Daemon`] starts and ends it; [`Handle`] is how the API, the hotkey and tests speak to it.

mod actor;
mod answers;
pub mod feed;
mod history;
mod lease;
pub(crate) mod lock_file;
mod memory;
mod observer;
mod priority;
mod remembered;
pub mod service;
mod shortcut;
mod state;
mod status;
mod supervisor;
mod warned;
mod watchdog;

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use truemute_core::observed::MutedApp;

pub use history::{GateChange, History};
pub use memory::Memory;
pub use remembered::Remembered;
pub use state::{ECHO_WINDOW, Want};
pub use watchdog::Watchdog;

use crate::backend::BackendFactory;
use crate::clock::Stamp;
use crate::config::{Settings, Start};
use crate::protocol::{
    AppSwitched, ErrorCode, ErrorObject, GateState, Locked, Origin, Stats, Status, Switched,
};
use crate::system;
use actor::{Actor, Message};
use feed::{Feed, Publisher, Topic};
use lease::Lease;
use lock_file::LockFile;
use observer::Observer;
use shortcut::Shortcut;
use state::MuteState;
use supervisor::Supervisor;
use warned::Warned;

/// Longer than any backend call that the actor can be in.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);

/// A running daemon without its socket. Dropping it is no clean end: call [`Daemon::stop`].
pub struct Daemon {
    handle: Handle,
    history: Arc<dyn History>,
    threads: Vec<JoinHandle<()>>,
}

/// Speaks to the actor. Any thread but the audio thread may use it; each call waits for the actor's answer.
#[derive(Clone)]
pub struct Handle {
    actor: Sender<Message>,
    shortcut: Arc<Shortcut>,
    observer: Arc<Observer>,
    history: Arc<dyn History>,
    lock: Arc<Mutex<LockFile>>,
}

impl Daemon {
    /// Starts the threads and, in the background, the first backend.
    pub fn start(
        settings: Settings,
        factory: Box<dyn BackendFactory>,
        history: Arc<dyn History>,
        memory: Memory,
        watchdog: Option<Watchdog>,
    ) -> std::io::Result<Daemon> {
        let (sender, messages) = channel();
        let lock = memory.lock();
        let (locked, lock_warning) = lock_file::holds(&lock.look(), lock_file::can_be_ended);
        let (mut state, muted_apps, start_warning) =
            first_state(&settings, &memory, locked || lock_warning.is_some());
        state.set_locked(settings.locked || locked);
        let start_warning = lock_warning.into_iter().chain(start_warning);
        let start_warning = start_warning.reduce(|of_lock, of_gate| format!("{of_lock} {of_gate}"));
        if let Some(warning) = &start_warning {
            tracing::warn!("{warning}");
        }
        let memory = memory.keep({
            let actor = sender.clone();
            move |trouble| {
                let _ = actor.send(Message::MemoryTrouble(trouble));
            }
        })?;
        memory.remember(state.gate(), false, &muted_apps);
        let (observer, observing) = Observer::start(history.clone(), sender.clone())?;
        let publisher = Arc::new(Publisher::default());
        let lease = Lease::start({
            let actor = sender.clone();
            move |grant| {
                let _ = actor.send(Message::LeaseRanOut(grant));
            }
        })?;
        let supervisor = Supervisor::start(factory, sender.clone(), publisher.clone())?;
        let shortcut = Arc::new(Shortcut::default());
        let change = GateChange::now(state.gate(), status::reason_text(state.reason()), None);
        let actor = Actor {
            state,
            muted_apps,
            settings,
            lease,
            supervisor,
            observer: observer.clone(),
            history: history.clone(),
            publisher,
            shortcut: shortcut.clone(),
            watchdog,
            started: Instant::now(),
            since: SystemTime::now(),
            change: Arc::new(change),
            backend: None,
            lost_generation: 0,
            grant: 0,
            look: None,
            trouble: None,
            memory,
            start_warning,
            memory_trouble: None,
            warnings: Vec::new(),
            warned: Warned::default(),
            show_warned: None,
            tracing: false,
            published: None,
        };
        let acting = std::thread::Builder::new()
            .name("actor".into())
            .spawn(move || {
                priority::go_first();
                actor.run(&messages);
            })?;
        Ok(Daemon {
            handle: Handle {
                actor: sender,
                shortcut,
                observer,
                history: history.clone(),
                lock: Arc::new(Mutex::new(lock)),
            },
            history,
            threads: vec![acting, observing],
        })
    }

    /// A way to speak to it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The clean end: mutes, takes a last look, ends every feed, writes the history, drops the backend.
    pub fn stop(self) {
        self.handle.observer.look();
        let (done, ended) = sync_channel(1);
        if self.handle.actor.send(Message::Stop(done)).is_ok() {
            let _ = ended.recv_timeout(ANSWER_WITHIN);
        }
        self.handle.observer.look();
        self.handle.observer.end();
        // The backend ends now, and undoes what it did to the server, whoever still has a handle.
        self.handle.shortcut.lead_to(None);
        for thread in self.threads {
            let _ = thread.join();
        }
        self.history.close();
    }
}

impl Handle {
    /// Mutes, unmutes or toggles, and returns when the backend has applied it. A mute silences the gate at once, from
    /// the calling thread, whatever the actor is busy with.
    pub fn switch(&self, want: Want, origin: Origin) -> Result<Switched, ErrorObject> {
        let received = Instant::now();
        if want == Want::Mute {
            self.shortcut.silence();
        }
        let asked = self.send(|reply| Message::Switch {
            want,
            origin,
            received,
            reply,
        })?;
        answer(&asked)?
    }

    /// Mutes or unmutes one app on its own, and returns when the backend has applied it.
    pub fn switch_app(
        &self,
        which: String,
        muted: bool,
        origin: Origin,
    ) -> Result<AppSwitched, ErrorObject> {
        let received = Instant::now();
        self.ask(|reply| Message::SwitchApp {
            which,
            muted,
            origin,
            received,
            reply,
        })?
    }

    /// Locks, or takes that back: whoever asks must have been let ([`crate::lock`]). Returns when it is on the disk.
    pub fn lock(&self, locked: bool) -> Result<Locked, ErrorObject> {
        let file = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let done = self.ask(|reply| Message::Lock { locked, reply });
        // Written down also if the mute was not confirmed.
        let done = done.and_then(|done| done);
        let kept = match (locked, &done) {
            (true, _) => file.write(),
            (false, Ok(_)) => file.remove(),
            (false, Err(_)) => Ok(()),
        };
        done.and_then(|done| kept.map(|()| done))
    }

    /// Says that the machine is about to sleep, which mutes, or is awake again. Returns when all is ready for it.
    pub fn sleep(&self, asleep: bool) -> Result<(), ErrorObject> {
        self.ask(|reply| Message::Sleep(asleep, reply))
    }

    /// The state now.
    pub fn status(&self) -> Result<Status, ErrorObject> {
        self.ask(Message::Status)
    }

    /// A feed that starts with the state now.
    pub fn subscribe(&self, topic: Topic) -> Result<Feed, ErrorObject> {
        self.ask(|reply| Message::Subscribe(topic, reply))
    }

    /// Counts of everybody since `since`, or since the daemon started, up to this moment.
    pub fn stats(&self, since: Option<Timestamp>) -> Result<Stats, ErrorObject> {
        self.observer.look();
        self.history.stats(since)
    }

    /// Counts of who is connected, up to this moment.
    pub fn clients(&self) -> Stats {
        self.observer.look();
        self.history.clients()
    }

    /// Shows a sentence under `warnings` in the status from now on.
    pub fn warn(&self, warning: String) {
        tracing::warn!("{warning}");
        let _ = self.actor.send(Message::Warn(warning));
    }

    /// Has `show` called with each sentence on an app that gets the real mic's sound past the gate, once an app. It is the
    /// actor that calls: it must return at once.
    pub fn show_bypasses(&self, show: fn(String)) {
        let _ = self.actor.send(Message::ShowWarned(show));
    }

    fn ask<T>(&self, message: impl FnOnce(SyncSender<T>) -> Message) -> Result<T, ErrorObject> {
        answer(&self.send(message)?)
    }

    fn send<T>(
        &self,
        message: impl FnOnce(SyncSender<T>) -> Message,
    ) -> Result<Receiver<T>, ErrorObject> {
        let (reply, answer) = sync_channel(1);
        match self.actor.send(message(reply)) {
            Ok(()) => Ok(answer),
            Err(_) => Err(hung()),
        }
    }
}

fn answer<T>(asked: &Receiver<T>) -> Result<T, ErrorObject> {
    asked.recv_timeout(ANSWER_WITHIN).map_err(|_| hung())
}

fn hung() -> ErrorObject {
    ErrorObject {
        code: ErrorCode::Failed,
        message: "The daemon does not answer for its state; the gate falls silent by itself."
            .into(),
        remedy: format!("Restart it with `{}`.", system::RESTART),
    }
}

impl GateChange {
    /// A change that happens now.
    fn now(
        gate: GateState,
        reason: String,
        applied: Option<truemute_core::observed::Applied>,
    ) -> GateChange {
        let now = Stamp::now();
        GateChange {
            gate,
            reason,
            monotonic_ns: now.monotonic_ns,
            wall_ns: now.wall_ns,
            applied,
        }
    }
}

/// `silent`: muted, whatever is remembered.
fn first_state(
    settings: &Settings,
    memory: &Memory,
    silent: bool,
) -> (MuteState, Vec<MutedApp>, Option<String>) {
    let start = settings.config.start;
    let remembered = memory.recall();
    let (gate, warning) = remembered::first_gate(&remembered, start, memory.boot());
    let gate = match silent || settings.locked {
        true => GateState::Muted,
        false => gate,
    };
    let muted_apps = remembered.map_or_else(|_| Vec::new(), |before| before.muted_apps);
    let forced = settings.forced.iter().any(|forced| forced.key == "start");
    let as_configured = (gate == GateState::Live) == (start == Start::Live);
    let origin = if forced && as_configured {
        Origin::Policy
    } else {
        Origin::Start
    };
    let state = MuteState::new(gate, origin, settings.config.unmute_origins.clone());
    (state, muted_apps, warning)
}
