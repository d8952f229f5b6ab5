//! A private audio server: session bus, PipeWire, WirePlumber and pipewire-pulse as children, with directories of their
//! own, no hardware, no portals. Several can run side by side. Everything ends with the value, or with the process.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use rustix::process::{Resource, Rlimit, chroot, getrlimit, setrlimit};
use rustix::thread::{
    UnshareFlags, set_thread_gid, set_thread_groups, set_thread_uid, unshare_unsafe,
};
use tempfile::TempDir;

use super::RehearsalError;
use super::config;
use super::probe;
use super::program::{Program, find_program, is_executable};

/// How long the server may take to come up. Measured: 0.15 s on an idle machine; a loaded one needs room.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Variables that would lead a program away from the private server.
const FOREIGN_VARIABLES: [&str; 15] = [
    "TRUEMUTE_SOCKET",
    "PIPEWIRE_REMOTE",
    "PIPEWIRE_CORE",
    "PIPEWIRE_CONFIG_DIR",
    "PIPEWIRE_CONFIG_NAME",
    "PIPEWIRE_CONFIG_PREFIX",
    "PIPEWIRE_PROPS",
    "PIPEWIRE_NODE",
    "PIPEWIRE_LATENCY",
    "PULSE_SINK",
    "PULSE_SOURCE",
    "PULSE_CLIENTCONFIG",
    "PULSE_COOKIE",
    "WIREPLUMBER_CONFIG_DIR",
    "WIREPLUMBER_DATA_DIR",
];

/// How to run a private server.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    /// Rate and quantum; the distribution's own settings if absent.
    pub clock: Option<Clock>,
    /// Run the programs of another Debian release from its root filesystem. Needs root. The sockets lie in the same
    /// directory inside and outside, so programs outside reach the server as usual.
    pub root: Option<Debian13>,
    /// Run the programs as this user. Needs root.
    pub user: Option<User>,
    /// Limit of open files for the programs. 256 clients need more than the usual 1024 (measured: 128 fit).
    pub open_files: Option<u64>,
    /// More configuration files: path relative to XDG_CONFIG_HOME, and text.
    pub dropins: Vec<(String, String)>,
}

/// The graph's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Sample rate in Hz.
    pub rate: u32,
    /// Frames a cycle unless a client asks for other.
    pub quantum: u32,
    /// Fewest frames a cycle.
    pub min_quantum: u32,
    /// Most frames a cycle.
    pub max_quantum: u32,
}

impl Clock {
    /// 48 kHz with one quantum that no client can change.
    pub fn fixed(quantum: u32) -> Self {
        Self {
            rate: 48_000,
            quantum,
            min_quantum: quantum,
            max_quantum: quantum,
        }
    }
}

/// Whom the programs run as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// A root filesystem of Debian 13 with PipeWire, WirePlumber, pipewire-pulse and dbus-daemon in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Debian13(PathBuf);

impl Debian13 {
    /// Uses the root at `path`.
    ///
    /// # Errors
    /// [`RehearsalError::NoRoot`] if there is no PipeWire in it.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self, RehearsalError> {
        let path = path.into();
        if ["pipewire", "wireplumber", "pipewire-pulse", "dbus-daemon"]
            .iter()
            .all(|program| is_executable(&path.join("usr/bin").join(program)))
        {
            Ok(Self(path))
        } else {
            Err(RehearsalError::NoRoot(path))
        }
    }
}

/// The Debian 13 root that `cargo xtask setup` makes: at `TRUEMUTE_DEBIAN13_ROOT`, or else `debian13-root` in the cargo
/// target directory `target`.
///
/// # Errors
/// [`RehearsalError::NoRoot`] if it is not there.
pub fn debian13_root(target: &Path) -> Result<Debian13, RehearsalError> {
    match std::env::var_os("TRUEMUTE_DEBIAN13_ROOT") {
        Some(path) => Debian13::at(path),
        None => Debian13::at(target.join("debian13-root")),
    }
}

/// A running private server. Dropping it ends its programs and removes its directory.
#[derive(Debug)]
pub struct PrivateServer {
    // Dropped in this order: clients of a program end before it, the directory and its lock last.
    pulse: Program,
    wireplumber: Option<Program>,
    pipewire: Program,
    bus: Program,
    options: ServerOptions,
    place: Place,
}

impl PrivateServer {
    /// Starts everything and returns when clients can record: PipeWire's socket answers, WirePlumber has made its
    /// metadata and the PulseAudio socket answers. At most 20 seconds.
    ///
    /// # Errors
    /// A program is missing or ended, or something did not come up; with the programs' last lines.
    pub fn start(options: ServerOptions) -> Result<Self, RehearsalError> {
        check_programs(&options)?;
        let place = Place::make(&options)?;
        let run = |program: &str, arguments: &[&str]| place.run(&options, program, arguments);
        let bus_config = place.file("bus.conf");
        let bus = run(
            "dbus-daemon",
            &[
                "--nofork",
                "--nopidfile",
                "--nosyslog",
                &format!("--config-file={}", bus_config.display()),
            ],
        )?;
        let mut started = Instant::now();
        let deadline = started + START_LIMIT;
        let mut bus = Some(bus);
        place.wait_for("bus", deadline, &mut [("dbus-daemon", &mut bus)])?;
        let mut pipewire = Some(run("pipewire", &[])?);
        place.wait_for("pipewire-0", deadline, &mut [("pipewire", &mut pipewire)])?;
        let mut wireplumber = Some(run("wireplumber", &[])?);
        let mut pulse = Some(run("pipewire-pulse", &[])?);
        let mut children = [
            ("pipewire", &mut pipewire),
            ("wireplumber", &mut wireplumber),
            ("pipewire-pulse", &mut pulse),
        ];
        let settings =
            probe::wait_for_session_manager(&place.file("pipewire-0"), deadline, || {
                place.all_run(&mut children)
            })?
            .ok_or_else(|| place.not_ready("WirePlumber did not make its metadata", started))?;
        place.wait_for("pulse/native", deadline, &mut children)?;
        if let Some(clock) = options.clock {
            check_clock(clock, &settings)?;
        }
        started = Instant::now();
        let (Some(pulse), Some(pipewire), Some(bus)) = (pulse, pipewire, bus) else {
            return Err(place.not_ready("the programs did not stay", started));
        };
        Ok(Self {
            pulse,
            wireplumber,
            pipewire,
            bus,
            options,
            place,
        })
    }

    /// The private runtime directory (XDG_RUNTIME_DIR), with the sockets. Ends with the server.
    pub fn directory(&self) -> &Path {
        self.place.directory.path()
    }

    /// PipeWire's socket.
    pub fn socket(&self) -> PathBuf {
        self.place.file("pipewire-0")
    }

    /// The variables that lead a client to this server and keep it from the user's own files.
    pub fn env(&self) -> BTreeMap<&'static str, OsString> {
        self.place.variables()
    }

    /// A client program with [`PrivateServer::env`], run as the server's user. Start it with [`Program::start`].
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        self.place.lead_here(&mut command);
        command.stdin(Stdio::null());
        if let Some(user) = self.options.user {
            // SAFETY: only system calls, on data that was made before the fork.
            unsafe { command.pre_exec(move || become_user(user)) };
        }
        command
    }

    /// [`PrivateServer::command`] for a program that runs with the server's own libraries, as a daemon on that machine
    /// would: in the server's root filesystem, if it has one. The program's file is copied to where both sides see it.
    pub fn native_command(&self, program: &Path) -> Result<Command, RehearsalError> {
        if self.options.root.is_none() {
            return Ok(self.command(program));
        }
        let name = program.file_name().unwrap_or_default();
        let copy = self.place.file("bin").join(name);
        fs::create_dir_all(self.place.file("bin"))
            .map_err(RehearsalError::io("making a directory"))?;
        if !copy.exists() {
            fs::copy(program, &copy).map_err(RehearsalError::io("copying a program"))?;
        }
        let mut command = Command::new(&copy);
        self.place.lead_here(&mut command);
        command.stdin(Stdio::null());
        let confinement = Confinement::new(&self.options);
        // SAFETY: `enter` makes system calls only, on paths that were made before the fork.
        unsafe { command.pre_exec(move || confinement.enter()) };
        Ok(command)
    }

    /// Waits at most `limit` until a node of this name has a port to record from; says whether it came. A client that asks
    /// for it before would be given another source by WirePlumber.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn wait_for_source(&self, name: &str, limit: Duration) -> Result<bool, RehearsalError> {
        probe::wait_for_source(&self.socket(), name, Instant::now() + limit)
    }

    /// Process ids of the bus, PipeWire, pipewire-pulse, and WirePlumber if it runs.
    pub fn process_ids(&self) -> Vec<u32> {
        [&self.bus, &self.pipewire, &self.pulse]
            .into_iter()
            .chain(&self.wireplumber)
            .map(Program::id)
            .collect()
    }

    /// Process id of PipeWire itself.
    pub fn pipewire_id(&self) -> u32 {
        self.pipewire.id()
    }

    /// The last lines of every program's log, for messages about failures.
    pub fn log(&self) -> String {
        self.place.log()
    }
}

/// Ends with an error if a program or the root is missing, before anything is started.
fn check_programs(options: &ServerOptions) -> Result<(), RehearsalError> {
    const NEEDED: [(&str, &str); 4] = [
        ("dbus-daemon", "dbus-daemon"),
        ("pipewire", "pipewire"),
        ("wireplumber", "wireplumber"),
        ("pipewire-pulse", "pipewire-pulse"),
    ];
    if options.root.is_some() {
        return Ok(());
    }
    let missing: Vec<_> = NEEDED
        .into_iter()
        .filter(|(program, _)| find_program(program).is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(RehearsalError::MissingPrograms {
        programs: missing
            .iter()
            .map(|(program, _)| *program)
            .collect::<Vec<_>>()
            .join(", "),
        packages: missing
            .iter()
            .map(|(_, package)| *package)
            .collect::<Vec<_>>()
            .join(" "),
    })
}

/// A drop-in that the server silently ignored would make a test mean something else than it says.
fn check_clock(clock: Clock, settings: &probe::Settings) -> Result<(), RehearsalError> {
    for (key, wanted) in [
        ("clock.rate", clock.rate),
        ("clock.quantum", clock.quantum),
        ("clock.min-quantum", clock.min_quantum),
        ("clock.max-quantum", clock.max_quantum),
    ] {
        let got = settings.get(key).map_or("nothing", String::as_str);
        if got != wanted.to_string() {
            return Err(RehearsalError::Pipewire {
                doing: format!("setting {key} to {wanted}"),
                reason: format!("the server has {got}"),
            });
        }
    }
    Ok(())
}

/// The directory that holds everything of one server.
#[derive(Debug)]
struct Place {
    directory: TempDir,
    /// Locked as long as the directory is in use; see [`sweep`].
    _lock: File,
}

impl Place {
    fn make(options: &ServerOptions) -> Result<Self, RehearsalError> {
        let io = RehearsalError::io;
        sweep();
        let directory = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .tempdir_in(BASE)
            .map_err(io("making a private directory in /tmp"))?;
        // It gets its name once it is locked, so that a sweep never sees it unlocked.
        let unnamed = directory.path().join("lock.new");
        let lock = File::create(&unnamed).map_err(io("making the lock file"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| io("locking the private directory")(error.into()))?;
        fs::rename(unnamed, directory.path().join(LOCK)).map_err(io("naming the lock file"))?;
        let place = Self {
            directory,
            _lock: lock,
        };
        place.write(options)?;
        Ok(place)
    }

    fn write(&self, options: &ServerOptions) -> Result<(), RehearsalError> {
        let io = RehearsalError::io;
        for name in ["home", "config", "state", "cache", "data", "log"] {
            DirBuilder::new()
                .mode(0o700)
                .create(self.file(name))
                .map_err(io("making a private directory"))?;
        }
        let bus = config::bus(&self.file("bus").to_string_lossy());
        fs::write(self.file("bus.conf"), bus).map_err(io("writing the bus configuration"))?;
        for dropin in config::dropins(options) {
            let path = self.file("config").join(&dropin.path);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(io("making a configuration directory"))?;
            }
            fs::write(&path, dropin.text).map_err(io("writing a configuration file"))?;
        }
        if let Some(user) = options.user {
            give_to(self.directory.path(), user).map_err(io("giving the directory to the user"))?;
        }
        Ok(())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn variables(&self) -> BTreeMap<&'static str, OsString> {
        let path = |name: &str| self.file(name).into_os_string();
        let address = |name: &str| {
            let mut address = OsString::from("unix:");
            address.push(path(name));
            address
        };
        let mut bus = OsString::from("unix:path=");
        bus.push(path("bus"));
        BTreeMap::from([
            ("XDG_RUNTIME_DIR", self.directory.path().into()),
            ("PIPEWIRE_RUNTIME_DIR", self.directory.path().into()),
            ("PULSE_RUNTIME_PATH", path("pulse")),
            ("PULSE_SERVER", address("pulse/native")),
            ("DBUS_SESSION_BUS_ADDRESS", bus),
            ("HOME", path("home")),
            ("XDG_CONFIG_HOME", path("config")),
            ("XDG_STATE_HOME", path("state")),
            ("XDG_CACHE_HOME", path("cache")),
            ("XDG_DATA_HOME", path("data")),
        ])
    }

    fn lead_here(&self, command: &mut Command) {
        for variable in FOREIGN_VARIABLES {
            command.env_remove(variable);
        }
        command.envs(self.variables());
    }

    /// Starts one of the server's own programs, its output going to a log file.
    fn run(
        &self,
        options: &ServerOptions,
        program: &str,
        arguments: &[&str],
    ) -> Result<Program, RehearsalError> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.file("log").join(program))
            .map_err(RehearsalError::io("making a log file"))?;
        let other = log
            .try_clone()
            .map_err(RehearsalError::io("making a log file"))?;
        let mut command = Command::new(program);
        self.lead_here(&mut command);
        // PipeWire's X11 bell and desktop portals would reach the user's session.
        command
            .args(arguments)
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(other);
        let confinement = Confinement::new(options);
        // SAFETY: `enter` makes system calls only, on paths that were made before the fork.
        unsafe { command.pre_exec(move || confinement.enter()) };
        Program::start(command).map_err(RehearsalError::io(format!("starting {program}")))
    }

    fn wait_for(
        &self,
        socket: &str,
        deadline: Instant,
        children: &mut [(&str, &mut Option<Program>)],
    ) -> Result<(), RehearsalError> {
        let started = Instant::now();
        probe::wait_for_socket(&self.file(socket), deadline, &mut || self.all_run(children))?
            .map(drop)
            .ok_or_else(|| self.not_ready(&format!("the socket {socket} did not answer"), started))
    }

    fn all_run(&self, children: &mut [(&str, &mut Option<Program>)]) -> Result<(), RehearsalError> {
        for (name, child) in children {
            if let Some(status) = child.as_mut().and_then(Program::ended) {
                return Err(self.not_ready(&format!("{name} ended ({status})"), Instant::now()));
            }
        }
        Ok(())
    }

    fn not_ready(&self, what: &str, since: Instant) -> RehearsalError {
        RehearsalError::NotReady {
            what: what.to_owned(),
            waited_ms: since.elapsed().as_millis(),
            log: self.log(),
        }
    }

    fn log(&self) -> String {
        const LINES: usize = 12;
        let Ok(entries) = fs::read_dir(self.file("log")) else {
            return String::new();
        };
        let mut text = String::new();
        for entry in entries.flatten() {
            let content = fs::read(entry.path()).unwrap_or_default();
            let content = String::from_utf8_lossy(&content);
            let lines: Vec<_> = content.lines().collect();
            for line in &lines[lines.len().saturating_sub(LINES)..] {
                text.push_str(&format!("  {}: {line}\n", entry.file_name().display()));
            }
        }
        text
    }
}

/// What a server program does to itself between fork and exec.
struct Confinement {
    root: Option<(PathBuf, [PathBuf; 2])>,
    user: Option<User>,
    open_files: Option<u64>,
}

impl Confinement {
    fn new(options: &ServerOptions) -> Self {
        Self {
            root: options
                .root
                .as_ref()
                .map(|Debian13(root)| (root.clone(), [root.join("tmp"), root.join("proc")])),
            user: options.user,
            open_files: options.open_files,
        }
    }

    fn enter(&self) -> io::Result<()> {
        if let Some(limit) = self.open_files {
            let maximum = getrlimit(Resource::Nofile).maximum;
            let limit = Rlimit {
                current: Some(limit),
                maximum: maximum.map(|maximum| maximum.max(limit)),
            };
            setrlimit(Resource::Nofile, limit)?;
        }
        if let Some((root, [tmp, proc])) = &self.root {
            // The mounts live in a namespace of this process and go with it: nothing to clean up.
            // SAFETY: a freshly forked child has one thread, and NEWNS leaves file descriptors alone.
            unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
            mount_change(
                "/",
                MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
            )?;
            mount_bind(BASE, tmp)?;
            mount_bind("/proc", proc)?;
            chroot(root)?;
        }
        rustix::process::chdir("/")?;
        self.user.map_or(Ok(()), become_user)
    }
}

fn become_user(user: User) -> io::Result<()> {
    let (uid, gid) = (
        rustix::process::Uid::from_raw(user.uid),
        rustix::process::Gid::from_raw(user.gid),
    );
    set_thread_groups(&[gid])?;
    set_thread_gid(gid)?;
    set_thread_uid(uid)?;
    Ok(())
}

fn give_to(path: &Path, user: User) -> io::Result<()> {
    chown(path, Some(user.uid), Some(user.gid))?;
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            give_to(&entry?.path(), user)?;
        }
    }
    Ok(())
}

/// Short, for the path of a Unix socket holds at most 107 bytes (unix(7)).
const BASE: &str = "/tmp";
const PREFIX: &str = "truemute-rehearsal-";
const LOCK: &str = "lock";

/// Removes directories whose owner was killed and could not: those that nobody holds the lock of.
fn sweep() {
    let Ok(entries) = fs::read_dir(BASE) else {
        return;
    };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let Some(lock) = ours
            .then(|| File::open(entry.path().join(LOCK)).ok())
            .flatten()
        else {
            continue;
        };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            // Another process may sweep at the same time: whoever comes second finds nothing.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
