//! The actor: the one thread that holds the mute state and commands the backend. It answers messages one by one and
//! blocks only in the backend's methods. What it says of its state and in its answers is in [`super::answers`].

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant, SystemTime};

use truemute_core::observed::{Applied, Event, MutedApp, Snapshot};

use super::answers::{failed, refused};
use super::feed::{Feed, Note, Publisher, Topic};
use super::lease::{Lease, VOUCH};
use super::memory::Keeper;
use super::observer::Observer;
use super::shortcut::Shortcut;
use super::state::{Decision, MuteState, Reason, Want};
use super::status;
use super::supervisor::Supervisor;
use super::warned::Warned;
use super::{GateChange, History, Watchdog};
use crate::backend::{Backend, BackendError};
use crate::config::Settings;
use crate::protocol::{
    AppSwitched, AppliedToApp, ErrorCode, ErrorObject, GateState, Locked, Origin, SCHEMA, Status,
    Switched,
};

/// The backend's methods wait at most a second; the actor vouches for itself that long, and a little more, when it calls one.
pub(super) const BACKEND_CALL: Duration = Duration::from_millis(1100);

/// The actor answers at least that often while live. It can still be later than [`VOUCH`] by the time that a lease outlasts a
/// renewal, before the gate falls silent: more than the renewing thread itself can. Each wake-up costs about 20 us.
const LIVE_TICK: Duration = Duration::from_millis(100);

/// What the actor is told and asked.
pub(super) enum Message {
    /// A command.
    Switch {
        want: Want,
        origin: Origin,
        received: Instant,
        reply: SyncSender<Result<Switched, ErrorObject>>,
    },
    /// A command for one app.
    SwitchApp {
        which: String,
        muted: bool,
        origin: Origin,
        received: Instant,
        reply: SyncSender<Result<AppSwitched, ErrorObject>>,
    },
    /// Locks, or takes that back.
    Lock {
        locked: bool,
        reply: SyncSender<Result<Locked, ErrorObject>>,
    },
    /// The machine is about to sleep, or awake again.
    Sleep(bool, SyncSender<()>),
    /// The state, now.
    Status(SyncSender<Status>),
    /// A new listener.
    Subscribe(Topic, SyncSender<Feed>),
    /// A backend runs.
    Started(u64, Arc<dyn Backend>),
    /// None could be started; another try comes.
    StartFailed(BackendError),
    /// The backend of this generation tells something.
    Event(u64, Event),
    /// A look at the backend of this generation.
    Looked(u64, Arc<Snapshot>),
    /// No renewal came in time for this grant.
    LeaseRanOut(u64),
    /// The state cannot be remembered, as a sentence; or can again.
    MemoryTrouble(Option<String>),
    /// Something else of the daemon works only in part, as a sentence.
    Warn(String),
    /// Whom to give the sentences of [`Warned`], beside status and log.
    ShowWarned(fn(String)),
    /// The end: mute, then stop.
    Stop(SyncSender<()>),
}

/// Everything that the actor owns or reaches.
pub(super) struct Actor {
    pub(super) state: MuteState,
    /// The apps that are muted on their own, as the backend said last.
    pub(super) muted_apps: Vec<MutedApp>,
    pub(super) settings: Settings,
    pub(super) lease: Lease,
    pub(super) supervisor: Supervisor,
    pub(super) observer: Arc<Observer>,
    pub(super) history: Arc<dyn History>,
    pub(super) publisher: Arc<Publisher>,
    pub(super) shortcut: Arc<Shortcut>,
    pub(super) watchdog: Option<Watchdog>,
    pub(super) started: Instant,
    pub(super) since: SystemTime,
    pub(super) change: Arc<GateChange>,
    pub(super) backend: Option<(u64, Arc<dyn Backend>)>,
    /// The last backend that was lost, also one that was lost before it was announced here. They count from 1; 0 is none yet.
    pub(super) lost_generation: u64,
    pub(super) grant: u64,
    pub(super) look: Option<Arc<Snapshot>>,
    pub(super) trouble: Option<String>,
    pub(super) memory: Keeper,
    /// Why the first state is not what somebody may expect; until the gate is opened.
    pub(super) start_warning: Option<String>,
    pub(super) memory_trouble: Option<String>,
    pub(super) warnings: Vec<String>,
    pub(super) warned: Warned,
    pub(super) show_warned: Option<fn(String)>,
    pub(super) tracing: bool,
    pub(super) published: Option<Arc<Status>>,
}

impl Actor {
    /// Runs until [`Message::Stop`], or until nobody can send any more.
    pub(super) fn run(mut self, messages: &Receiver<Message>) {
        self.history.gate_changed(&self.change);
        loop {
            let message = match self.next_tick() {
                Some(tick) => match messages.recv_timeout(tick) {
                    Ok(message) => Some(message),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => return,
                },
                None => match messages.recv() {
                    Ok(message) => Some(message),
                    Err(_) => return,
                },
            };
            self.lease.vouch(VOUCH);
            self.give_sign_of_life();
            match message {
                Some(Message::Stop(done)) => {
                    self.stop();
                    let _ = done.send(());
                    return;
                }
                Some(message) => {
                    self.handle(message);
                    self.publish_state();
                }
                None => {}
            }
        }
    }

    /// Feeds the watchdog, unless another thread hangs. Also before each wait for the backend, which can last nearly as long as
    /// the watchdog's patience.
    fn give_sign_of_life(&mut self) {
        if let Some(watchdog) = &mut self.watchdog {
            let (lease, backend) = (&self.lease, self.backend.as_ref());
            watchdog
                .feed(|| backend.is_none_or(|(_, backend)| backend.is_alive()) && lease.is_kept());
        }
    }

    /// How long the actor may sleep; none: until a message comes.
    fn next_tick(&self) -> Option<Duration> {
        let live = self.is_open().then_some(LIVE_TICK);
        let watchdog = self.watchdog.as_ref().map(Watchdog::period);
        live.into_iter().chain(watchdog).min()
    }

    /// Whether the backend's gate is open, as far as the actor commanded it.
    fn is_open(&self) -> bool {
        self.backend.is_some() && self.state.gate() == GateState::Live
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Switch {
                want,
                origin,
                received,
                reply,
            } => {
                let answer = self.switch(want, origin, received);
                let _ = reply.send(answer);
            }
            Message::SwitchApp {
                which,
                muted,
                origin,
                received,
                reply,
            } => {
                let answer = self.switch_app(&which, muted, origin, received);
                let _ = reply.send(answer);
            }
            Message::Lock { locked, reply } => {
                let answer = self.lock(locked);
                let _ = reply.send(answer);
            }
            Message::Sleep(asleep, reply) => {
                self.sleep(asleep);
                let _ = reply.send(());
            }
            Message::Status(reply) => {
                let _ = reply.send(self.status());
            }
            Message::Subscribe(topic, reply) => {
                let _ = reply.send(self.subscribe(topic));
            }
            Message::Started(generation, backend) => self.backend_started(generation, backend),
            Message::StartFailed(error) => self.trouble = Some(error.to_string()),
            Message::Event(generation, event) => self.backend_told(generation, event),
            Message::Looked(generation, look) => self.looked(generation, look),
            Message::LeaseRanOut(grant) => self.lease_ran_out(grant),
            Message::MemoryTrouble(trouble) => {
                if let Some(trouble) = &trouble {
                    tracing::warn!("{trouble}");
                }
                self.memory_trouble = trouble;
            }
            Message::Warn(warning) => self.warnings.push(warning),
            Message::ShowWarned(show) => self.show_warned = Some(show),
            Message::Stop(_) => unreachable!("handled in run"),
        }
    }

    fn switch(
        &mut self,
        want: Want,
        origin: Origin,
        received: Instant,
    ) -> Result<Switched, ErrorObject> {
        match self.state.decide(want, origin, self.now()) {
            Decision::Mute => self.mute(origin, received),
            Decision::Unmute => self.unmute(origin, received),
            Decision::StayLive => Ok(self.switched(false, None, received)),
            Decision::Refuse | Decision::IgnoreEcho => Err(refused(origin)),
            Decision::RefuseLocked => Err(self.locked()),
        }
    }

    /// Locks: mutes, and nothing unmutes from now on. Or takes that back, and stays muted.
    fn lock(&mut self, locked: bool) -> Result<Locked, ErrorObject> {
        if !locked && self.settings.locked {
            return Err(self.locked());
        }
        // Locked also if the audio thread does not confirm the mute: nothing renews the lease then.
        let silenced = match locked {
            true => self.silence(Reason::Commanded(Origin::Cli)).map(drop),
            false => Ok(()),
        };
        let changed = self.state.set_locked(locked);
        match silenced {
            Ok(()) => Ok(Locked {
                schema: SCHEMA,
                locked,
                changed,
            }),
            Err(error) => Err(failed(&error)),
        }
    }

    fn remember(&self, ended: bool) {
        let gate = self.state.gate();
        self.memory.remember(gate, ended, &self.muted_apps);
    }

    /// Mutes or unmutes one app on its own. The gate stays as it is.
    fn switch_app(
        &mut self,
        which: &str,
        muted: bool,
        origin: Origin,
        received: Instant,
    ) -> Result<AppSwitched, ErrorObject> {
        if !muted && self.state.is_locked() {
            return Err(self.locked());
        }
        if !muted && !self.state.may_unmute(origin) {
            return Err(refused(origin));
        }
        let Some((_, backend)) = self.backend.clone() else {
            return Err(self.no_server());
        };
        self.lease.vouch(BACKEND_CALL);
        let outcome = match muted {
            true => backend.mute_app(which),
            false => backend.unmute_app(which),
        };
        // This call and the next can each take their second; the watchdog's patience is less than both.
        self.give_sign_of_life();
        self.lease.vouch(BACKEND_CALL);
        let look = backend.snapshot();
        self.lease.vouch(VOUCH);
        // Also after a failure: then the backend may hold on to it.
        if let Ok(look) = look
            && look.muted_apps != self.muted_apps
        {
            self.muted_apps = look.muted_apps;
            self.remember(false);
        }
        self.observer.wake();
        match outcome {
            Ok(done) => Ok(AppSwitched {
                schema: SCHEMA,
                apps: done.apps,
                app_muted: muted,
                changed: done.changed,
                applied: AppliedToApp::Moved,
                clients: done.clients,
                took_us: u64::try_from(received.elapsed().as_micros()).unwrap_or(u64::MAX),
            }),
            Err(BackendError::Unreachable { .. }) => Err(self.no_server()),
            Err(error) => Err(failed(&error)),
        }
    }

    fn mute(&mut self, origin: Origin, received: Instant) -> Result<Switched, ErrorObject> {
        match self.silence(Reason::Commanded(origin)) {
            Ok((changed, applied)) => Ok(self.switched(changed, applied, received)),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Silences the gate. Whatever comes back, the state is muted and the lease is not renewed any more.
    fn silence(&mut self, reason: Reason) -> Result<(bool, Option<Applied>), BackendError> {
        self.lease.revoke();
        let outcome = match &self.backend {
            Some((_, backend)) => backend.mute().map(Some),
            None => Ok(None),
        };
        let outcome = match outcome {
            // No server: nothing runs that could deliver sound.
            Err(BackendError::Unreachable { .. }) => Ok(None),
            other => other,
        };
        let changed = self.state.muted(reason, self.now());
        self.changed(changed, outcome.as_ref().ok().cloned().flatten());
        outcome.map(|applied| (changed, applied))
    }

    fn unmute(&mut self, origin: Origin, received: Instant) -> Result<Switched, ErrorObject> {
        let Some((_, backend)) = self.backend.clone() else {
            return Err(self.no_server());
        };
        match self.open(&backend) {
            Ok(applied) => {
                let changed = self.state.unmuted(origin);
                self.changed(changed, Some(applied.clone()));
                Ok(self.switched(changed, Some(applied), received))
            }
            Err(BackendError::Unreachable { .. }) => Err(self.no_server()),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Opens the gate under a lease, or leaves it silent.
    fn open(&mut self, backend: &Arc<dyn Backend>) -> Result<Applied, BackendError> {
        self.lease.vouch(BACKEND_CALL);
        self.grant = self.lease.grant(backend.clone());
        let outcome = backend.unmute();
        if let Err(error) = &outcome {
            tracing::warn!("unmute failed: {error}");
            self.lease.revoke();
            self.give_sign_of_life();
            let _ = backend.mute();
        }
        self.lease.vouch(VOUCH);
        outcome
    }

    fn subscribe(&mut self, topic: Topic) -> Feed {
        match topic {
            Topic::Watch => {
                let state = Arc::new(self.status());
                self.published = Some(state.clone());
                self.publisher.subscribe(topic, [Note::State(state)])
            }
            Topic::Trace => {
                let gate = Note::Gate(self.change.clone());
                let look = self.look.clone().map(Note::Look);
                let first = std::iter::once(gate).chain(look);
                let feed = self.publisher.subscribe(topic, first);
                self.set_tracing(true);
                feed
            }
        }
    }

    fn set_tracing(&mut self, on: bool) {
        if let Some((_, backend)) = &self.backend
            && self.tracing != on
        {
            backend.set_tracing(on);
        }
        self.tracing = on;
    }

    fn backend_started(&mut self, generation: u64, backend: Arc<dyn Backend>) {
        if generation <= self.lost_generation {
            self.supervisor.restart(Some(backend));
            return;
        }
        self.trouble = None;
        self.backend = Some((generation, backend.clone()));
        self.shortcut.lead_to(Some(backend.clone()));
        // Before the gate can open.
        backend.restore_muted_apps(&self.muted_apps);
        if self.tracing {
            backend.set_tracing(true);
        }
        match self.state.gate() {
            // Says it again, although a new backend is silent: the desktop's flag can be left over from before.
            GateState::Muted => {
                if let Err(error) = backend.mute() {
                    tracing::warn!("a new backend did not confirm that it is muted: {error}");
                }
            }
            GateState::Live => {
                if self.open(&backend).is_err() {
                    let changed = self.state.muted(Reason::NotConfirmed, self.now());
                    self.changed(changed, None);
                }
            }
        }
        self.observer.look_at(Some((generation, backend)));
    }

    fn backend_told(&mut self, generation: u64, event: Event) {
        let current = self.backend.as_ref().map_or(0, |(current, _)| *current);
        if generation < current || generation <= self.lost_generation {
            return;
        }
        match event {
            Event::DesktopMute(flag) => self.desktop_flag(flag),
            Event::LeaseRanOut => self.lease_ran_out(self.grant),
            Event::Changed => self.observer.wake(),
            Event::ServerLost(why) => self.server_lost(generation, &why),
            other => tracing::warn!("the backend told what the daemon does not know: {other:?}"),
        }
    }

    /// The desktop's flag is a mirror: set, it mutes; cleared, it unmutes only if that is configured, and is set again
    /// otherwise.
    fn desktop_flag(&mut self, set: bool) {
        let received = Instant::now();
        let want = if set { Want::Mute } else { Want::Unmute };
        if set && self.state.gate() == GateState::Muted {
            return;
        }
        match self.switch(want, Origin::Desktop, received) {
            Ok(_) => {}
            Err(error) if matches!(error.code, ErrorCode::Refused | ErrorCode::Locked) => {
                if let Some((_, backend)) = &self.backend {
                    let _ = backend.mute();
                }
            }
            Err(error) => tracing::warn!(
                "the desktop's mute flag was not followed: {}",
                error.message
            ),
        }
    }

    fn server_lost(&mut self, generation: u64, why: &str) {
        tracing::warn!("the audio server is gone: {why}");
        self.lost_generation = generation;
        self.lease.revoke();
        self.trouble = Some(format!(
            "The audio server is gone ({why}). TrueMute connects again by itself."
        ));
        self.look = None;
        self.shortcut.lead_to(None);
        if let Some((_, backend)) = self.backend.take() {
            self.observer.look_at(None);
            self.supervisor.restart(Some(backend));
        }
    }

    fn looked(&mut self, generation: u64, look: Arc<Snapshot>) {
        self.observer.taken();
        if self
            .backend
            .as_ref()
            .is_none_or(|(current, _)| *current != generation)
        {
            return;
        }
        self.publisher.publish(&Note::Look(look.clone()));
        for warning in self.warned.news(&look) {
            tracing::warn!("{warning}");
            if let Some(show) = self.show_warned {
                show(warning.clone());
            }
            self.warnings.push(warning);
        }
        self.look = Some(look);
        if self.tracing && self.publisher.listeners_of(Topic::Trace) == 0 {
            self.set_tracing(false);
        }
    }

    /// The gate has been silent for want of a renewal. Sound comes back only by an explicit unmute.
    fn lease_ran_out(&mut self, grant: u64) {
        if grant == self.grant && self.state.gate() == GateState::Live {
            tracing::warn!("the daemon could not renew its lease in time and mutes");
            let _ = self.mute(Origin::Lease, Instant::now());
        }
    }

    /// Mutes before the machine sleeps: who opens it again may be somewhere else. And once more when it is awake, for somebody may
    /// have unmuted before it really slept. Tells the service manager too, which wakes together with us and by its clock would
    /// take us for hung.
    fn sleep(&mut self, asleep: bool) {
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.bear_sleep(asleep);
        }
        if self.state.gate() == GateState::Live
            && let Err(error) = self.silence(Reason::Asleep)
        {
            tracing::warn!("the mute for a sleep was not confirmed: {error}");
        }
    }

    fn stop(&mut self) {
        let gate = self.state.gate();
        if let Err(error) = self.silence(Reason::Stopped) {
            tracing::warn!("the last mute was not confirmed: {error}");
        }
        // The end is no command: the next start finds what was commanded.
        self.memory.remember(gate, true, &self.muted_apps);
        self.publish_state();
        self.publisher.close();
    }

    /// Tells everybody of a change of the gate, if it is one.
    fn changed(&mut self, changed: bool, applied: Option<Applied>) {
        if !changed {
            return;
        }
        self.remember(false);
        if self.state.gate() == GateState::Live {
            self.start_warning = None;
        }
        self.since = SystemTime::now();
        self.change = Arc::new(GateChange::now(
            self.state.gate(),
            status::reason_text(self.state.reason()),
            applied,
        ));
        self.history.gate_changed(&self.change);
        self.publisher.publish(&Note::Gate(self.change.clone()));
        self.observer.wake();
    }

    fn publish_state(&mut self) {
        if self.publisher.listeners_of(Topic::Watch) == 0 {
            return;
        }
        let status = self.status();
        let same = |published: &Arc<Status>| status::same(published, &status);
        if !self.published.as_ref().is_some_and(same) {
            let status = Arc::new(status);
            self.published = Some(status.clone());
            self.publisher.publish(&Note::State(status));
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}
