//! The agent: one connection to the driver, one thread that captures when there is reason to, and what both know, in the words
//! of every backend. What the thread decides is in `keeper.rs`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use truemute_core::observed::{
    AppSwitched, Applied, CountedBy, Event, MicState, MutedApp, RealMic, Snapshot, VirtualMic,
};

use crate::apps::{Apps, Errand, errands};
use crate::bypass::Bypasses;
use crate::choice::Wishes;
use crate::driver::{Connect, Connected, Driver, DriverError, Hears, Notice, When};
use crate::feed::Route;
use crate::keeper::{Keeper, Note};
use crate::system::System;

/// How long an unmute waits for the first sound that a client gets.
const FIRST_SOUND: Duration = Duration::from_millis(900);

/// How the agent works.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which real mics to capture.
    pub wishes: Wishes,
    /// Whether the real mic is captured on while muted, and its sound dropped: unmuting is quicker, the indicator stays on.
    pub hold: bool,
    /// Whether to look for who records past TrueMute.
    pub report_bypasses: bool,
    /// Executables that may: paths, in which a trailing `*` stands for any ending.
    pub trusted_processors: Vec<String>,
    /// Whether to have the real mic for ourselves while muted (hog mode, exclusive mode), if it has no output.
    pub hog: bool,
    /// The file that remembers the last default input that was not TrueMute.
    pub last_default: Option<PathBuf>,
}

/// Why the agent could not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The driver does not answer, or not as it should.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// A read hangs: a delivery from before the mute may still end with sound.
    #[error(
        "A read of the virtual mic did not end within {waited_ms} ms. Restart the machine if it goes on."
    )]
    NotConfirmed {
        /// How long it was waited for.
        waited_ms: u64,
    },
    /// Nobody is called so.
    #[error(
        "No connected client has the number, the app or the executable {0:?}. `truemute clients` lists them."
    )]
    NoSuchClient(String),
    /// No such app is muted on its own.
    #[error(
        "No app that is called {0:?} is muted on its own. `truemute status` lists those that are."
    )]
    NotMuted(String),
    /// No thread.
    #[error("The system gives no thread (error {0}). Look at its limits.")]
    NoThread(i32),
}

/// Where events go. Never called on an audio thread.
pub type Events = Arc<dyn Fn(Event) + Send + Sync>;

/// The agent. All methods may be called from any thread but an audio thread. Dropping it ends the capture and hangs
/// up, on which the driver is silent.
pub struct Agent {
    shared: Arc<Shared>,
    // Before the connection, which ends with the last who has it.
    apps: Apps,
    driver: Arc<dyn Driver>,
    instance: u64,
    keeper: Option<JoinHandle<()>>,
    _watch: Option<Box<dyn Send + Sync>>,
}

/// What the agent's threads share.
pub(crate) struct Shared {
    pub(crate) system: Arc<dyn System>,
    pub(crate) options: Options,
    pub(crate) route: Arc<Route>,
    pub(crate) events: Events,
    /// Clients that run IO, as the driver told last.
    pub(crate) running: AtomicU32,
    /// The keeper has had its turn since it was asked.
    pub(crate) answered: AtomicBool,
    pub(crate) bypasses: Mutex<Bypasses>,
    told: Mutex<Told>,
    notes: Sender<Note>,
    errands: Sender<Errand>,
}

/// What the keeper says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) real_mic: RealMic,
    pub(crate) warnings: Vec<String>,
}

impl Agent {
    /// Connects to the driver. The gate is muted.
    ///
    /// # Errors
    /// There is no driver, or it refuses.
    pub fn start(
        options: Options,
        driver: &dyn Connect,
        system: Arc<dyn System>,
        events: Events,
    ) -> Result<Agent, Failure> {
        let (notes, received) = channel();
        let (sender, errands) = errands();
        let shared = Arc::new(Shared {
            system,
            options,
            route: Arc::default(),
            events,
            running: AtomicU32::new(0),
            answered: AtomicBool::new(true),
            bypasses: Mutex::default(),
            told: Mutex::new(Told {
                real_mic: missing(),
                warnings: Vec::new(),
            }),
            notes,
            errands: sender,
        });
        shared.route.close();
        let Connected {
            driver,
            ring,
            instance,
            clock,
            running,
            pacing,
        } = driver.connect(shared.clone())?;
        let driver: Arc<dyn Driver> = driver.into();
        let apps = Apps::start(shared.clone(), driver.clone(), errands)?;
        shared.route.greeted(clock);
        // It tells of changes only, and may have told of one already.
        shared.running.fetch_max(running, Ordering::Relaxed);
        let mut keeper = Keeper::new(shared.clone(), ring, pacing);
        // So that the first look at the agent finds it as it is.
        keeper.turn();
        let keeper = std::thread::Builder::new()
            .name("truemute-capture".into())
            .spawn(move || keeper.run(&received))
            .map_err(|error| Failure::NoThread(error.raw_os_error().unwrap_or(0)))?;
        let watch = shared.system.watch(Arc::new({
            let shared = Arc::downgrade(&shared);
            move || {
                if let Some(shared) = shared.upgrade() {
                    shared.wake();
                }
            }
        }));
        if let Err(error) = &watch {
            tracing::warn!("changes of inputs are looked for once a second only: {error}");
        }
        Ok(Agent {
            apps,
            shared,
            driver,
            instance,
            keeper: Some(keeper),
            _watch: watch.ok(),
        })
    }

    /// Silences the gate, and returns when no read from before is under way. The capture stops soon after.
    ///
    /// # Errors
    /// The driver does not answer, or a read hangs.
    pub fn mute(&self) -> Result<Applied, Failure> {
        let began = Instant::now();
        self.shared.route.close();
        let muted = self.driver.mute();
        self.shared.wake();
        let muted = muted?;
        self.shared.route.closed(muted.epoch);
        if !muted.settled {
            return Err(Failure::NotConfirmed {
                waited_ms: millis(began),
            });
        }
        Ok(self.applied(muted.done_ns, began))
    }

    /// Silences the gate. A read that is under way may still be heard.
    pub fn silence(&self) {
        self.shared.route.close();
        match self.driver.mute() {
            Ok(muted) => self.shared.route.closed(muted.epoch),
            Err(error) => tracing::warn!("the driver did not confirm a mute: {error}"),
        }
    }

    /// Opens the gate, starts the capture, and returns when a client got sound; or when none did within 0.9 s, or none is there.
    ///
    /// # Errors
    /// The driver does not answer.
    pub fn unmute(&self) -> Result<Applied, Failure> {
        let began = Instant::now();
        self.apps.ready()?;
        let before = self.driver.progress()?.live_pulls;
        let opened = self.driver.unmute()?;
        self.shared.route.open(opened);
        self.shared.wake();
        while began.elapsed() < FIRST_SOUND && self.shared.running.load(Ordering::Relaxed) > 0 {
            let progress = self.driver.progress()?;
            if progress.live_pulls > before {
                return Ok(self.applied(progress.at_ns, began));
            }
            // Nothing tells of the first read with sound, and reads are milliseconds apart.
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Applied::Idle {
            took_us: micros(began),
        })
    }

    /// In force at a moment of the host's clock: nobody has read any frame that is at or after the clock's position then.
    fn applied(&self, host_ns: u64, began: Instant) -> Applied {
        let running = self.shared.running.load(Ordering::Relaxed) > 0;
        match self.shared.route.timeline().filter(|_| running) {
            Some(clock) => Applied::Cycle {
                clock: format!("{:016x}.{}", self.instance, clock.seed),
                position: clock.position_at(host_ns).ceil().max(0.0) as u64,
                took_us: micros(began),
            },
            None => Applied::Idle {
                took_us: micros(began),
            },
        }
    }

    /// Proof that somebody answered for "live" at `answered`. The driver's lease lasts 250 ms from when it hears of it; who was
    /// held up for a fifth of that proves nothing.
    pub fn renew_lease(&self, answered: Instant) {
        if answered.elapsed() > Duration::from_millis(50) {
            return;
        }
        if let Err(error) = self.driver.renew_lease() {
            tracing::debug!("the lease was not renewed: {error}");
        }
    }

    /// Whether the thread that captures had its turn since this was asked last. Does not wait.
    pub fn is_alive(&self) -> bool {
        let answered = self.shared.answered.swap(false, Ordering::Relaxed);
        self.shared.wake();
        answered
    }

    /// One look at everything. Whoever asks has recorded what came of the last one.
    ///
    /// # Errors
    /// The driver does not answer.
    pub fn snapshot(&self) -> Result<Snapshot, Failure> {
        let system = &*self.shared.system;
        let now = self.shared.now();
        let mut look = self.driver.look(system, now)?;
        let muted_apps = self.apps.muted();
        for client in &mut look.clients {
            let executable = client.who.executable.as_deref();
            client.app_muted = muted_apps
                .iter()
                .any(|app| app.is_app(&client.who.app, executable));
        }
        let told = lock(&self.shared.told).clone();
        let quantum = look
            .clients
            .iter()
            // An estimate says nothing of how long a pull is.
            .filter(|client| client.counted_by == CountedBy::Driver)
            .max_by_key(|client| client.last_pull_ns)
            .map_or(0, |client| {
                let (live, muted) = (client.counts.live, client.counts.muted);
                (live.frames + muted.frames)
                    .checked_div(live.pulls + muted.pulls)
                    .unwrap_or(0)
            });
        Ok(Snapshot {
            instance: look.instance,
            at_ns: now.wall_ns,
            real_mic: told.real_mic,
            virtual_mic: VirtualMic {
                name: system.names().virtual_mic.into(),
                rate: truemute_feeder::RATE,
                channels: 2,
                quantum: u32::try_from(quantum).unwrap_or(u32::MAX),
            },
            clients: look.clients,
            bypasses: lock(&self.shared.bypasses).all(),
            muted_apps,
            unattributed: look.unattributed,
            warnings: told.warnings.into_iter().chain(look.warnings).collect(),
            running: self.shared.running.load(Ordering::Relaxed) > 0,
        })
    }

    /// The caller has recorded the final counts of these clients and bypasses.
    pub fn forget_gone(&self, clients: &[u64], bypasses: &[u64]) {
        self.driver.forget(clients);
        lock(&self.shared.bypasses).forget(bypasses);
    }

    /// Mutes the app of a connected client on its own, by its number, its app's name or its executable, and returns when nothing
    /// that it gets has sound any more. Also whoever of it comes later.
    ///
    /// # Errors
    /// There is no such client, the driver does not answer, or a read hangs.
    pub fn mute_app(&self, which: &str) -> Result<AppSwitched, Failure> {
        self.apps.mute(which)
    }

    /// Takes [`Agent::mute_app`] back.
    ///
    /// # Errors
    /// No such app is muted, or the driver does not answer.
    pub fn unmute_app(&self, which: &str) -> Result<AppSwitched, Failure> {
        self.apps.unmute(which)
    }

    /// Mutes these apps on their own, connected or not.
    pub fn restore_muted_apps(&self, apps: &[MutedApp]) {
        self.apps.restore(apps);
    }

    /// Turns [`Event::Pulls`] on or off. Does not wait.
    pub fn set_tracing(&self, on: bool) {
        self.shared.errand(Errand::Trace(on));
    }

    /// What the driver knows about itself, as text for people.
    ///
    /// # Errors
    /// The driver does not answer.
    pub fn diag(&self) -> Result<String, Failure> {
        Ok(self.driver.diag()?)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.shared.notes.send(Note::End);
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

impl Shared {
    /// Asks the keeper for a turn.
    pub(crate) fn wake(&self) {
        // It is gone only while all ends.
        let _ = self.notes.send(Note::Turn);
    }

    /// Asks the thread of [`Apps`] for something.
    pub(crate) fn errand(&self, errand: Errand) {
        // It is gone only while all ends.
        let _ = self.errands.send(errand);
    }

    /// The keeper says how things are; whoever listens is told if that is news.
    pub(crate) fn tell(&self, now: Told) {
        let before = std::mem::replace(&mut *lock(&self.told), now.clone());
        if before == now {
            return;
        }
        for warning in now
            .warnings
            .iter()
            .filter(|warning| !before.warnings.contains(warning))
        {
            tracing::warn!("{warning}");
        }
        (self.events)(Event::Changed);
    }

    /// Now, on both clocks.
    pub(crate) fn now(&self) -> When {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        When {
            host_ns: self.system.now_ns(),
            wall_ns: u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

impl Hears for Shared {
    fn notice(&self, notice: Notice) {
        match notice {
            Notice::Running(clients) => {
                self.running.store(clients, Ordering::Relaxed);
                (self.events)(Event::Changed);
            }
            Notice::Clock(clock) => self.route.clock(clock),
            Notice::LeaseRanOut(epoch) => {
                self.route.closed(epoch);
                (self.events)(Event::LeaseRanOut);
            }
            Notice::Arrived => {
                self.errand(Errand::Judge);
                (self.events)(Event::Changed);
            }
            Notice::Changed => {}
        }
        self.wake();
    }

    fn lost(&self, why: DriverError) {
        self.route.close();
        (self.events)(Event::ServerLost(why.to_string()));
        self.wake();
    }
}

pub(crate) fn missing() -> RealMic {
    RealMic {
        name: String::new(),
        description: String::new(),
        state: MicState::Missing,
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

pub(crate) fn millis(since: Instant) -> u64 {
    micros(since) / 1000
}
