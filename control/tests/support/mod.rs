//! What the tests of the daemon share: a scripted backend, a daemon on a private socket around it, and the real program.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file takes it in as a module of its own and uses a part of it"
)]

pub mod bus;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tempfile::TempDir;
use truemute::api::{Client, OwnSocket, Server, SocketError};
use truemute::backend::{Backend, BackendError, BackendFactory, EventSink};
use truemute::config::Settings;
use truemute::daemon::{Daemon, GateChange, History, Memory, Remembered};
use truemute::protocol::{ErrorObject, GateState, SCHEMA, Stats, Unattributed};
use truemute_core::observed::{
    Api, AppSwitched, Applied, Bypass, Client as Observed, ClientState, CountedBy, Counts, Event,
    Identity, MicState, MutedApp, Purpose, RealMic, Snapshot, VirtualMic, Who,
};

/// Long enough for any state on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

/// Waits until `reached` gives something.
pub fn wait_for<T>(what: &str, mut reached: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(value) = reached() {
            return value;
        }
        assert!(Instant::now() < deadline, "never reached: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The audio server of a test, and everything that backends did on it.
#[derive(Clone, Default)]
pub struct Scripted(Arc<Mutex<Script>>);

#[derive(Default)]
pub struct Script {
    /// Whether the gate is open.
    pub open: bool,
    /// Every mute and unmute, in order.
    pub commands: Vec<&'static str>,
    pub renewals: u64,
    pub tracing: bool,
    pub forgotten: Vec<u64>,
    /// Starts that fail before one succeeds.
    pub failing_starts: u32,
    pub starts: u64,
    /// Backends that have ended.
    pub ends: u64,
    /// A start waits until it is not so.
    pub starting: bool,
    /// A look lasts for so many renewals of the lease, if they come.
    pub look_lasts: u64,
    /// What unmute does instead of opening.
    pub unmute_fails: Option<BackendError>,
    /// Unmute waits for a mute from elsewhere, and is overtaken by it.
    pub unmute_waits: bool,
    /// What mute says instead of being confirmed.
    pub mute_fails: Option<BackendError>,
    pub clients: Vec<Observed>,
    pub bypasses: Vec<Bypass>,
    pub muted_apps: Vec<MutedApp>,
    pub mic_missing: bool,
    /// Its threads do not answer.
    pub hangs: bool,
    pub position: u64,
    sink: Option<Arc<EventSink>>,
}

impl Scripted {
    pub fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap()
    }

    /// Tells the daemon something, as a backend's control thread would.
    pub fn tell(&self, event: Event) {
        let sink = self.script().sink.clone().expect("a backend runs");
        sink(event);
    }

    /// The audio server ends: its backend is gone, its gate with it.
    pub fn lose_server(&self, failing_starts: u32) {
        let mut script = self.script();
        script.failing_starts = failing_starts;
        script.open = false;
        drop(script);
        self.tell(Event::ServerLost("the test said so".into()));
    }
}

impl BackendFactory for Scripted {
    fn start(&mut self, events: EventSink) -> Result<Arc<dyn Backend>, BackendError> {
        wait_for("the start to go on", || {
            (!self.script().starting).then_some(())
        });
        let mut script = self.script();
        if script.failing_starts > 0 {
            script.failing_starts -= 1;
            return Err(BackendError::Unreachable {
                what: "No PipeWire answers".into(),
                remedy: "Start it".into(),
            });
        }
        script.starts += 1;
        script.open = false;
        script.muted_apps.clear();
        script.sink = Some(Arc::new(events));
        drop(script);
        Ok(Arc::new(ScriptedBackend {
            server: self.clone(),
            instance: self.script().starts,
        }))
    }
}

struct ScriptedBackend {
    server: Scripted,
    instance: u64,
}

impl Drop for ScriptedBackend {
    fn drop(&mut self) {
        self.server.script().ends += 1;
    }
}

impl Backend for ScriptedBackend {
    fn mute(&self) -> Result<Applied, BackendError> {
        let mut script = self.server.script();
        script.open = false;
        script.commands.push("mute");
        script.position += 1024;
        match &script.mute_fails {
            Some(error) => Err(error.clone()),
            None => Ok(script.applied()),
        }
    }

    fn unmute(&self) -> Result<Applied, BackendError> {
        let mut script = self.server.script();
        script.commands.push("unmute");
        if let Some(error) = &script.unmute_fails {
            return Err(error.clone());
        }
        script.open = true;
        if script.unmute_waits {
            drop(script);
            wait_for("a mute meanwhile", || {
                (!self.server.script().open).then_some(())
            });
            return Err(BackendError::Refused {
                what: "Overtaken".into(),
                remedy: "Ask again.".into(),
            });
        }
        script.position += 1024;
        Ok(script.applied())
    }

    fn silence(&self) {
        self.server.script().open = false;
    }

    fn mute_app(&self, which: &str) -> Result<AppSwitched, BackendError> {
        let mut script = self.server.script();
        let app = script.app(which)?;
        let changed = !script.muted_apps.contains(&app);
        if changed {
            script.muted_apps.push(app.clone());
        }
        Ok(AppSwitched {
            apps: vec![app],
            clients: Vec::new(),
            changed,
            took_us: 1,
        })
    }

    fn unmute_app(&self, which: &str) -> Result<AppSwitched, BackendError> {
        let mut script = self.server.script();
        let app = script.app(which)?;
        script.muted_apps.retain(|muted| *muted != app);
        Ok(AppSwitched {
            apps: vec![app],
            clients: Vec::new(),
            changed: true,
            took_us: 1,
        })
    }

    fn restore_muted_apps(&self, apps: &[MutedApp]) {
        self.server.script().muted_apps = apps.to_vec();
    }

    fn renew_lease(&self, _: Instant) {
        self.server.script().renewals += 1;
    }

    fn is_alive(&self) -> bool {
        !self.server.script().hangs
    }

    fn snapshot(&self) -> Result<Snapshot, BackendError> {
        let (began, script) = (Instant::now(), self.server.script());
        let until = script.renewals + script.look_lasts;
        drop(script);
        // No look takes longer than a second.
        while self.server.script().renewals < until && began.elapsed().as_millis() < 900 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let script = self.server.script();
        let state = match (script.mic_missing, script.open) {
            (true, _) => MicState::Missing,
            (false, true) => MicState::Capturing,
            (false, false) => MicState::Released,
        };
        Ok(Snapshot {
            instance: self.instance,
            at_ns: u64::try_from(Timestamp::now().as_nanosecond()).unwrap(),
            real_mic: RealMic {
                name: "simulated".into(),
                description: "Simulated microphone".into(),
                state,
            },
            virtual_mic: VirtualMic {
                name: "truemute.mic".into(),
                rate: 48_000,
                channels: 1,
                quantum: 1024,
            },
            clients: script.clients.clone(),
            bypasses: script.bypasses.clone(),
            muted_apps: script.muted_apps.clone(),
            unattributed: Default::default(),
            warnings: Vec::new(),
            running: !script.clients.is_empty(),
        })
    }

    fn forget_gone(&self, clients: &[u64], bypasses: &[u64]) {
        let mut script = self.server.script();
        script.forgotten.extend(clients);
        script
            .clients
            .retain(|client| !clients.contains(&client.id));
        script.bypasses.retain(|it| !bypasses.contains(&it.id));
    }

    fn description(&self) -> String {
        "scripted 1".into()
    }

    fn set_tracing(&self, on: bool) {
        self.server.script().tracing = on;
    }
}

impl Script {
    /// The app of a client that is there.
    fn app(&self, which: &str) -> Result<MutedApp, BackendError> {
        let client = self.clients.iter().find(|client| client.who.app == which);
        client
            .map(|client| MutedApp {
                app: client.who.app.clone(),
                executable: client.who.executable.clone(),
            })
            .ok_or_else(|| BackendError::Unknown {
                what: format!("No client is called {which}"),
                remedy: "Look who is connected.".into(),
            })
    }

    fn applied(&self) -> Applied {
        if self.clients.is_empty() {
            Applied::Idle { took_us: 1 }
        } else {
            Applied::Cycle {
                clock: "7".into(),
                position: self.position,
                took_us: 1,
            }
        }
    }
}

/// A client as the backend sees it.
pub fn observed(id: u64, state: ClientState) -> Observed {
    Observed {
        id,
        who: Who {
            app: "recorder".into(),
            stream: "recorder stream".into(),
            pid: Some(std::process::id()),
            executable: None,
            identity: Identity::Verified,
            puller: None,
            api: Api::Pipewire,
            purpose: Purpose::Recording,
        },
        state,
        app_muted: false,
        counted_by: CountedBy::ActivationRecord,
        counts: Counts::default(),
        offers: None,
        first_seen_ns: 1,
        last_pull_ns: None,
    }
}

/// A history that only remembers what it was told.
#[derive(Default)]
pub struct Told {
    pub looks: Mutex<Vec<Arc<Snapshot>>>,
    pub changes: Mutex<Vec<GateChange>>,
    pub lost: Mutex<u32>,
    pub closed: Mutex<bool>,
}

impl History for Told {
    fn record(&self, look: &Arc<Snapshot>) {
        self.looks.lock().unwrap().push(look.clone());
    }
    fn server_lost(&self) {
        *self.lost.lock().unwrap() += 1;
    }
    fn gate_changed(&self, change: &GateChange) {
        self.changes.lock().unwrap().push(change.clone());
    }
    fn stats(&self, since: Option<Timestamp>) -> Result<Stats, ErrorObject> {
        let now = Timestamp::now();
        Ok(Stats {
            schema: SCHEMA,
            since: since.unwrap_or(now).to_string(),
            until: now.to_string(),
            clients: Vec::new(),
            unattributed: Unattributed::default(),
            bypasses: Vec::new(),
        })
    }
    fn clients(&self) -> Stats {
        self.stats(None).unwrap()
    }
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
    fn close(&self) {
        *self.closed.lock().unwrap() = true;
    }
}

/// A daemon of this process, on a private socket.
pub struct Rig {
    pub server: Scripted,
    pub told: Arc<Told>,
    pub socket: PathBuf,
    dir: TempDir,
    running: Option<(Daemon, Server)>,
}

impl Rig {
    /// Starts one with the defaults.
    pub fn start() -> Rig {
        Rig::with(Settings::default(), Scripted::default())
    }

    /// Starts one, and waits until it is connected unless starts are scripted to fail.
    pub fn with(settings: Settings, server: Scripted) -> Rig {
        let before = Remembered::new(GateState::Live, true, String::new(), Vec::new());
        Rig::remembering(&before.to_bytes(), settings, server)
    }

    /// The same, with a file of this content as its memory.
    pub fn remembering(memory: &[u8], settings: Settings, server: Scripted) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("gate.json");
        std::fs::write(&file, memory).unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        Rig::in_directory(dir, settings, server)
    }

    /// Ends the daemon, and starts another that finds its files.
    pub fn again(mut self, settings: Settings) -> Rig {
        self.stop();
        let dir = std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap());
        Rig::in_directory(dir, settings, Scripted::default())
    }

    fn in_directory(dir: TempDir, settings: Settings, server: Scripted) -> Rig {
        let connects = server.script().failing_starts == 0 && !server.script().starting;
        let file = dir.path().join("gate.json");
        let socket = dir.path().join("run/api.sock");
        // A child that another test of this process forks just now has the former daemon's lock until it runs its program.
        let own = wait_for("the socket", || match OwnSocket::bind(&socket) {
            Err(SocketError::Taken(_)) => None,
            bound => Some(bound.unwrap()),
        });
        let told = Arc::new(Told::default());
        let backends = Box::new(server.clone());
        let memory = Memory::at(file);
        let daemon = Daemon::start(settings, backends, told.clone(), memory, None).unwrap();
        let serving = Server::start(own, daemon.handle()).unwrap();
        let rig = Rig {
            server,
            told,
            socket,
            dir,
            running: Some((daemon, serving)),
        };
        if connects {
            wait_for("connected", || {
                let status = rig.daemon().handle().status().unwrap();
                (status.connected && !status.real_mic.name.is_empty()).then_some(())
            });
        }
        rig
    }

    /// The file in which it remembers its gate.
    pub fn memory(&self) -> PathBuf {
        self.dir.path().join("gate.json")
    }

    pub fn daemon(&self) -> &Daemon {
        &self.running.as_ref().unwrap().0
    }

    pub fn client(&self) -> Client {
        Client::connect(&self.socket).unwrap()
    }

    /// Runs the real program against this daemon.
    pub fn truemute(&self, arguments: &[&str]) -> Output {
        truemute(&self.socket, arguments)
    }

    pub fn stop(&mut self) {
        if let Some((daemon, server)) = self.running.take() {
            daemon.stop();
            server.stop();
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs the real program as a client.
pub fn truemute(socket: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_truemute"))
        .args(arguments)
        .env("TRUEMUTE_SOCKET", socket)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The real daemon, in a home and runtime directory of its own where no audio server is.
pub struct RealDaemon {
    pub dir: TempDir,
    pub child: Child,
}

impl RealDaemon {
    /// Where the daemon serves.
    pub fn socket(&self) -> PathBuf {
        socket_in(self.dir.path())
    }

    /// Starts it and waits until it serves.
    pub fn start() -> RealDaemon {
        RealDaemon::start_in(tempfile::tempdir().unwrap())
    }

    /// The same, in a directory that is there already.
    pub fn start_in(dir: TempDir) -> RealDaemon {
        let child = daemon_command(dir.path()).spawn().unwrap();
        let daemon = RealDaemon { dir, child };
        wait_for("the daemon serves", || {
            Client::connect(&daemon.socket()).ok()
        });
        daemon
    }

    pub fn truemute(&self, arguments: &[&str]) -> Output {
        truemute(&self.socket(), arguments)
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for RealDaemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn socket_in(dir: &Path) -> PathBuf {
    dir.join("truemute/api.sock")
}

/// `truemute daemon` in a private home and runtime directory.
pub fn daemon_command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_truemute"));
    command
        .arg("daemon")
        .env("XDG_RUNTIME_DIR", dir)
        .env("XDG_CONFIG_HOME", dir.join("config"))
        .env("XDG_STATE_HOME", dir.join("state"))
        .env("XDG_DATA_HOME", dir.join("data"))
        .env("HOME", dir)
        .env_remove("TRUEMUTE_SOCKET")
        .env_remove("DISPLAY")
        .env_remove("NOTIFY_SOCKET")
        .env_remove("PIPEWIRE_REMOTE")
        .env_remove("PIPEWIRE_RUNTIME_DIR")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// What a run printed to stderr.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
