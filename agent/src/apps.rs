//! Apps that are muted on their own, and single pulls for the trace: what a driver that can do these is told and asked, on a
//! thread of its own, so that nobody waits for a capture that starts.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use truemute_core::observed::{AppSwitched, Client, ClientState, Event, MutedApp};

use crate::agent::{Failure, Shared, lock, micros, millis};
use crate::driver::{Driver, Look};

/// How often single pulls are fetched: the driver keeps those of 0.7 s of the busiest client that is usual.
const FETCH: Duration = Duration::from_millis(100);

/// What the thread is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Errand {
    /// Somebody came, who may be of an app that is muted.
    Judge,
    /// Single pulls are wanted from now on, or not.
    Trace(bool),
    /// The end.
    End,
}

/// The apps, and the thread that serves them.
pub(crate) struct Apps {
    shared: Arc<Shared>,
    driver: Arc<dyn Driver>,
    muted: Arc<Mutex<Vec<MutedApp>>>,
    thread: Option<JoinHandle<()>>,
}

impl Apps {
    pub(crate) fn start(
        shared: Arc<Shared>,
        driver: Arc<dyn Driver>,
        errands: Receiver<Errand>,
    ) -> Result<Apps, Failure> {
        let muted = Arc::<Mutex<Vec<MutedApp>>>::default();
        let attendant = Attendant {
            shared: shared.clone(),
            driver: driver.clone(),
            muted: muted.clone(),
            tracing: false,
        };
        let thread = std::thread::Builder::new()
            .name("truemute-apps".into())
            .spawn(move || attendant.run(&errands))
            .map_err(|error| Failure::NoThread(error.raw_os_error().unwrap_or(0)))?;
        Ok(Apps {
            shared,
            driver,
            muted,
            thread: Some(thread),
        })
    }

    /// The apps that are muted on their own.
    pub(crate) fn muted(&self) -> Vec<MutedApp> {
        lock(&self.muted).clone()
    }

    /// Mutes these too, and does not wait.
    pub(crate) fn restore(&self, apps: &[MutedApp]) {
        let mut muted = lock(&self.muted);
        *muted = united(&muted, apps);
        if !muted.is_empty()
            && let Err(error) = judge(&self.shared, &*self.driver, &muted)
        {
            tracing::warn!("apps that were muted on their own may not be: {error}");
        }
    }

    /// Fails unless the driver has just been told which clients are muted on their own: before all can be heard.
    pub(crate) fn ready(&self) -> Result<(), Failure> {
        let muted = lock(&self.muted);
        if muted.is_empty() {
            return Ok(());
        }
        judge(&self.shared, &*self.driver, &muted).map(drop)
    }

    pub(crate) fn mute(&self, which: &str) -> Result<AppSwitched, Failure> {
        let began = Instant::now();
        let mut muted = lock(&self.muted);
        let clients = self.look()?.clients;
        let mut apps: Vec<MutedApp> = called(which, &clients).map(app_of).collect();
        apps.sort();
        apps.dedup();
        if apps.is_empty() {
            return Err(Failure::NoSuchClient(which.to_owned()));
        }
        let with = united(&muted, &apps);
        let changed = with.len() > muted.len();
        let (clients, settled) = judge(&self.shared, &*self.driver, &with)?;
        *muted = with;
        if !settled {
            return Err(Failure::NotConfirmed {
                waited_ms: millis(began),
            });
        }
        Ok(switched(apps, &clients, changed, began))
    }

    pub(crate) fn unmute(&self, which: &str) -> Result<AppSwitched, Failure> {
        let began = Instant::now();
        let mut muted = lock(&self.muted);
        let clients = self.look()?.clients;
        let meant: Vec<&Client> = called(which, &clients).collect();
        let is_meant = |app: &MutedApp| {
            MutedApp::is_called(which, &app.app, app.executable.as_deref())
                || meant
                    .iter()
                    .any(|it| app.is_app(&it.who.app, it.who.executable.as_deref()))
        };
        let (apps, stay): (Vec<_>, Vec<_>) = muted.iter().cloned().partition(is_meant);
        if apps.is_empty() {
            return Err(Failure::NotMuted(which.to_owned()));
        }
        match judge(&self.shared, &*self.driver, &stay) {
            Ok((clients, _)) => {
                *muted = stay;
                Ok(switched(apps, &clients, true, began))
            }
            Err(error) => {
                // The driver may have done it all the same, and then does not keep to what is said here.
                self.shared.errand(Errand::Judge);
                Err(error)
            }
        }
    }

    fn look(&self) -> Result<Look, Failure> {
        let now = self.shared.now();
        Ok(self.driver.glance(&*self.shared.system, now)?)
    }
}

impl Drop for Apps {
    fn drop(&mut self) {
        self.shared.errand(Errand::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The way of errands to the thread.
pub(crate) fn errands() -> (Sender<Errand>, Receiver<Errand>) {
    channel()
}

/// The connected clients that `which` means: one by its number, or all whose app is called so.
fn called<'a>(which: &'a str, clients: &'a [Client]) -> impl Iterator<Item = &'a Client> {
    let connected = || {
        clients
            .iter()
            .filter(|client| client.state != ClientState::Gone)
    };
    let number = which.parse::<u64>().ok();
    let numbered = connected().any(|client| Some(client.id) == number);
    connected().filter(move |client| match numbered {
        true => Some(client.id) == number,
        false => MutedApp::is_called(which, &client.who.app, client.who.executable.as_deref()),
    })
}

fn united(apps: &[MutedApp], more: &[MutedApp]) -> Vec<MutedApp> {
    let new = more.iter().filter(|app| !apps.contains(app));
    apps.iter().chain(new).cloned().collect()
}

fn app_of(client: &Client) -> MutedApp {
    MutedApp {
        app: client.who.app.clone(),
        // A path that is not UTF-8 cannot be written as JSON; then the name has to do.
        executable: client
            .who
            .executable
            .clone()
            .filter(|path| path.to_str().is_some()),
    }
}

fn is_of(client: &Client, apps: &[MutedApp]) -> bool {
    let executable = client.who.executable.as_deref();
    apps.iter()
        .any(|app| app.is_app(&client.who.app, executable))
}

fn switched(apps: Vec<MutedApp>, clients: &[Client], changed: bool, began: Instant) -> AppSwitched {
    let there = |it: &&Client| it.state != ClientState::Gone && is_of(it, &apps);
    AppSwitched {
        clients: clients.iter().filter(there).map(|it| it.id).collect(),
        apps,
        changed,
        took_us: micros(began),
    }
}

/// Tells the driver which of its clients are muted on their own. Whoever comes after this look is silent until the next one.
fn judge(
    shared: &Shared,
    driver: &dyn Driver,
    muted: &[MutedApp],
) -> Result<(Vec<Client>, bool), Failure> {
    let clients = driver.glance(&*shared.system, shared.now())?.clients;
    let silent = |it: &&Client| it.state != ClientState::Gone && is_of(it, muted);
    let silent: Vec<u64> = clients.iter().filter(silent).map(|it| it.id).collect();
    let judged = match muted {
        [] => None,
        _ => Some(clients.iter().map(|it| it.id).max().unwrap_or(0)),
    };
    let settled = driver.set_aside(&silent, judged)?;
    Ok((clients, settled))
}

/// The thread's state.
struct Attendant {
    shared: Arc<Shared>,
    driver: Arc<dyn Driver>,
    muted: Arc<Mutex<Vec<MutedApp>>>,
    tracing: bool,
}

impl Attendant {
    fn run(mut self, errands: &Receiver<Errand>) {
        loop {
            let errand = match self.tracing {
                true => errands.recv_timeout(FETCH),
                false => errands.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match errand {
                Ok(Errand::Judge) => self.judge(),
                Ok(Errand::Trace(on)) => self.trace(on),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Errand::End) | Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.tracing {
                self.fetch();
            }
        }
    }

    fn judge(&self) {
        let muted = lock(&self.muted);
        if !muted.is_empty()
            && let Err(error) = judge(&self.shared, &*self.driver, &muted)
        {
            // Then who came is silent.
            tracing::warn!("a new client could not be looked at: {error}");
        }
    }

    fn trace(&mut self, on: bool) {
        if self.tracing && !on {
            self.fetch();
        }
        match self.driver.trace(on) {
            Ok(()) => self.tracing = on,
            Err(error) => tracing::warn!("the trace has no single pulls: {error}"),
        }
    }

    fn fetch(&self) {
        match self.driver.pulls() {
            Ok((pulls, lost)) if !pulls.is_empty() || lost > 0 => {
                (self.shared.events)(Event::Pulls { pulls, lost });
            }
            Ok(_) => {}
            Err(error) => tracing::debug!("single pulls were not fetched: {error}"),
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::agent::{Agent, Options};
    use crate::choice::Wishes;
    use crate::driver::{
        Connect, Connected, DriverError, Hears, Muted, Notice, Opened, Progress, Ring, When,
    };
    use crate::simulated::Simulated;
    use crate::system::System;
    use std::sync::atomic::{AtomicBool, Ordering};
    use truemute_core::observed::{Api, CountedBy, Counts, Identity, Purpose, Tally, Who};
    use truemute_feeder::{Frame, Pacing, Timeline};

    /// A driver that remembers whom it was told to mute.
    #[derive(Clone, Default)]
    struct Told(Arc<State>);

    #[derive(Default)]
    struct State {
        clients: Mutex<Vec<Client>>,
        asides: Mutex<Vec<(Vec<u64>, Option<u64>)>>,
        fails: AtomicBool,
        /// Once: what it is told is done, and the answer lost.
        fails_late: AtomicBool,
        opened: AtomicBool,
        hears: Mutex<Option<Arc<dyn Hears>>>,
    }

    impl Told {
        fn comes(&self, id: u64, app: &str) {
            lock(&self.0.clients).push(Client {
                id,
                who: Who {
                    app: app.into(),
                    stream: String::new(),
                    pid: None,
                    executable: None,
                    identity: Identity::Claimed,
                    puller: None,
                    api: Api::CoreAudio,
                    purpose: Purpose::Recording,
                },
                state: ClientState::Running,
                app_muted: false,
                counted_by: CountedBy::Driver,
                counts: Counts::default(),
                offers: None,
                first_seen_ns: 0,
                last_pull_ns: None,
            });
            let hears = lock(&self.0.hears).clone();
            if let Some(hears) = hears {
                hears.notice(Notice::Arrived);
            }
        }

        fn wait_for(&self, aside: (Vec<u64>, Option<u64>)) {
            let deadline = Instant::now() + Duration::from_secs(20);
            while self.last().as_ref() != Some(&aside) {
                assert!(Instant::now() < deadline, "{:?}", self.last());
                std::thread::sleep(Duration::from_millis(2));
            }
        }

        fn last(&self) -> Option<(Vec<u64>, Option<u64>)> {
            lock(&self.0.asides).last().cloned()
        }
    }

    impl Connect for Told {
        fn connect(&self, hears: Arc<dyn Hears>) -> Result<Connected, DriverError> {
            *lock(&self.0.hears) = Some(hears);
            Ok(Connected {
                driver: Box::new(self.clone()),
                ring: Box::new(Nowhere),
                instance: 1,
                clock: Timeline {
                    host_ns: 1,
                    position: 0,
                    seed: 1,
                },
                running: 0,
                pacing: Pacing::default(),
            })
        }
    }

    struct Nowhere;

    impl Ring for Nowhere {
        fn begin(&mut self, _: u64, _: u64, _: u64) {}
        fn write(&mut self, _: &[Frame]) {}
    }

    impl Driver for Told {
        fn mute(&self) -> Result<Muted, DriverError> {
            Err(DriverError::new("Not asked here."))
        }

        fn unmute(&self) -> Result<Opened, DriverError> {
            self.0.opened.store(true, Ordering::Relaxed);
            Ok(Opened {
                epoch: 1,
                opened_ns: 1,
            })
        }

        fn renew_lease(&self) -> Result<(), DriverError> {
            Ok(())
        }

        fn progress(&self) -> Result<Progress, DriverError> {
            Ok(Progress {
                at_ns: 1,
                live_pulls: 0,
            })
        }

        fn look(&self, system: &dyn System, now: When) -> Result<Look, DriverError> {
            self.glance(system, now)
        }

        fn glance(&self, _: &dyn System, _: When) -> Result<Look, DriverError> {
            Ok(Look {
                instance: 1,
                clients: lock(&self.0.clients).clone(),
                unattributed: Tally::default(),
                warnings: Vec::new(),
            })
        }

        fn set_aside(&self, clients: &[u64], judged: Option<u64>) -> Result<bool, DriverError> {
            if self.0.fails.load(Ordering::Relaxed) {
                return Err(DriverError::new("It fails. Mend it."));
            }
            lock(&self.0.asides).push((clients.to_vec(), judged));
            if self.0.fails_late.swap(false, Ordering::Relaxed) {
                return Err(DriverError::new("Its answer is lost. Ask again."));
            }
            Ok(true)
        }

        fn forget(&self, _: &[u64]) {}

        fn diag(&self) -> Result<String, DriverError> {
            Ok(String::new())
        }
    }

    fn start(driver: &Told) -> Agent {
        let options = Options {
            wishes: Wishes::default(),
            hold: false,
            report_bypasses: false,
            trusted_processors: Vec::new(),
            hog: false,
            last_default: None,
        };
        let system = Arc::new(Simulated::new(Vec::new()));
        Agent::start(options, driver, system, Arc::new(|_| {})).unwrap()
    }

    #[test]
    fn the_driver_is_told_up_to_which_client_everybody_was_judged() {
        let driver = Told::default();
        driver.comes(3, "Talk");
        driver.comes(7, "Memo");
        let agent = start(&driver);
        let switched = agent.mute_app("talk").unwrap();
        assert_eq!(switched.clients, [3]);
        assert_eq!(driver.last(), Some((vec![3], Some(7))));
        // Who comes is judged without being asked about.
        driver.comes(9, "Talk");
        driver.wait_for((vec![3, 9], Some(9)));
        assert_eq!(agent.unmute_app("9").unwrap().clients, [3, 9]);
        assert_eq!(
            driver.last(),
            Some((Vec::new(), None)),
            "whoever comes is heard"
        );
    }

    #[test]
    fn what_the_driver_did_not_do_is_not_said_to_be_so() {
        let driver = Told::default();
        driver.comes(3, "Talk");
        let agent = start(&driver);
        driver.0.fails.store(true, Ordering::Relaxed);
        assert!(agent.mute_app("Talk").is_err());
        assert!(agent.snapshot().unwrap().muted_apps.is_empty());
        driver.0.fails.store(false, Ordering::Relaxed);
        agent.mute_app("3").unwrap();
        driver.0.fails.store(true, Ordering::Relaxed);
        assert!(agent.unmute_app("Talk").is_err());
        let look = agent.snapshot().unwrap();
        assert_eq!(look.muted_apps.len(), 1, "it is still silent");
        assert!(look.clients[0].app_muted);
    }

    #[test]
    fn an_unmute_of_all_waits_until_the_driver_knows_which_apps_stay_muted() {
        let driver = Told::default();
        driver.comes(3, "Talk");
        let agent = start(&driver);
        driver.0.fails.store(true, Ordering::Relaxed);
        agent.restore_muted_apps(&[MutedApp {
            app: "Talk".into(),
            executable: None,
        }]);
        assert!(agent.unmute().is_err(), "Talk would be heard");
        assert!(!driver.0.opened.load(Ordering::Relaxed));
        assert_eq!(driver.last(), None);
        driver.0.fails.store(false, Ordering::Relaxed);
        agent.unmute().unwrap();
        assert_eq!(driver.last(), Some((vec![3], Some(3))));
        assert!(driver.0.opened.load(Ordering::Relaxed));
    }

    #[test]
    fn an_unmute_of_one_app_whose_answer_is_lost_is_taken_back() {
        let driver = Told::default();
        driver.comes(3, "Talk");
        let agent = start(&driver);
        agent.mute_app("Talk").unwrap();
        driver.0.fails_late.store(true, Ordering::Relaxed);
        assert!(agent.unmute_app("Talk").is_err());
        driver.wait_for((vec![3], Some(3)));
        assert_eq!(agent.snapshot().unwrap().muted_apps.len(), 1);
    }
}
