//! A private audio server: session bus, PipeWire, WirePlumber and pipewire-pulse as children, with directories of their
//! own, no hardware, no portals. Several can run side by side. Everything ends with the value, or with the process.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::confinement::{Confinement, become_user};
use super::place::Place;
use super::program::{Program, find_program, is_executable};
use super::{RehearsalError, probe};

/// How long the server may take to come up. Measured: 0.15 s on an idle machine; a loaded one needs room.
const START_LIMIT: Duration = Duration::from_secs(20);

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
    /// More configuration files: path relative to XDG_CONFIG_HOME, and text, in which `@DIRECTORY@` stands for
    /// [`PrivateServer::directory`].
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

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
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

/// One of the server's programs, which a test may signal, end and start again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// PipeWire itself.
    Pipewire,
    /// The session manager.
    Wireplumber,
    /// What PulseAudio's clients speak to.
    Pulse,
}

impl Service {
    /// All of them, in the order in which they start.
    pub const ALL: [Self; 3] = [Self::Pipewire, Self::Wireplumber, Self::Pulse];

    /// Its program, and the name of its log.
    pub fn program(self) -> &'static str {
        match self {
            Self::Pipewire => "pipewire",
            Self::Wireplumber => "wireplumber",
            Self::Pulse => "pipewire-pulse",
        }
    }
}

/// A running private server. Dropping it ends its programs and removes its directory.
#[derive(Debug)]
pub struct PrivateServer {
    // Dropped in this order: clients of a program end before it, the directory and its lock last.
    pulse: Program,
    wireplumber: Program,
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
        let started = Instant::now();
        let deadline = started + START_LIMIT;
        let bus_config = format!("--config-file={}", place.file("bus.conf").display());
        let bus_arguments = ["--nofork", "--nopidfile", "--nosyslog", &bus_config];
        let mut bus = run("dbus-daemon", &bus_arguments)?;
        place.wait_for("bus", deadline, &mut [("dbus-daemon", &mut bus)])?;
        let mut pipewire = run("pipewire", &[])?;
        place.wait_for("pipewire-0", deadline, &mut [("pipewire", &mut pipewire)])?;
        let wireplumber = run("wireplumber", &[])?;
        let pulse = run("pipewire-pulse", &[])?;
        let mut server = Self {
            pulse,
            wireplumber,
            pipewire,
            bus,
            options,
            place,
        };
        server.wait_until_ready(deadline)?;
        Ok(server)
    }

    /// Waits until WirePlumber has made its metadata and the PulseAudio socket answers; checks the clock.
    fn wait_until_ready(&mut self, deadline: Instant) -> Result<(), RehearsalError> {
        let (started, place) = (Instant::now(), &self.place);
        let mut children = [
            ("pipewire", &mut self.pipewire),
            ("wireplumber", &mut self.wireplumber),
            ("pipewire-pulse", &mut self.pulse),
        ];
        let settings =
            probe::wait_for_session_manager(&place.file("pipewire-0"), deadline, || {
                place.all_run(&mut children)
            })?
            .ok_or_else(|| place.not_ready("WirePlumber did not make its metadata", started))?;
        place.wait_for("pulse/native", deadline, &mut children)?;
        self.options
            .clock
            .map_or(Ok(()), |clock| check_clock(clock, &settings))
    }

    /// Sends any signal to one of the programs, and does not wait.
    ///
    /// # Errors
    /// `ESRCH` if it has ended.
    pub fn signal(&self, service: Service, signal: Signal) -> Result<(), RehearsalError> {
        let doing = format!("sending a signal to {}", service.program());
        self.program(service)
            .signal(signal)
            .map_err(RehearsalError::io(doing))
    }

    /// Ends one of the programs with `signal` and says how it ended; killed if that takes over 1.5 s.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn end(&mut self, service: Service, signal: Signal) -> Result<ExitStatus, RehearsalError> {
        let doing = format!("ending {}", service.program());
        self.program_mut(service)
            .stop(signal)
            .map_err(RehearsalError::io(doing))
    }

    /// How one of the programs ended, if it has.
    pub fn ended(&mut self, service: Service) -> Option<ExitStatus> {
        self.program_mut(service).ended()
    }

    /// Starts again, with their configuration and state, the programs that have ended, and returns when clients can record,
    /// as [`PrivateServer::start`]. WirePlumber and pipewire-pulse go with the PipeWire that they were connected to, as
    /// they do under systemd.
    ///
    /// # Errors
    /// As [`PrivateServer::start`].
    pub fn revive(&mut self) -> Result<(), RehearsalError> {
        let deadline = Instant::now() + START_LIMIT;
        if self.pipewire.ended().is_some() {
            for service in [Service::Pulse, Service::Wireplumber] {
                self.end(service, Signal::KILL)?;
            }
            self.start_program(Service::Pipewire)?;
            let mut running = [("pipewire", &mut self.pipewire)];
            self.place.wait_for("pipewire-0", deadline, &mut running)?;
        }
        for service in [Service::Wireplumber, Service::Pulse] {
            if self.ended(service).is_some() {
                self.start_program(service)?;
            }
        }
        self.wait_until_ready(deadline)
    }

    /// Starts one of the programs again without waiting until it can be used. Does nothing if it runs.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_program(&mut self, service: Service) -> Result<(), RehearsalError> {
        if self.ended(service).is_some() {
            let program = self.place.run(&self.options, service.program(), &[])?;
            *self.program_mut(service) = program;
        }
        Ok(())
    }

    fn program(&self, service: Service) -> &Program {
        match service {
            Service::Pipewire => &self.pipewire,
            Service::Wireplumber => &self.wireplumber,
            Service::Pulse => &self.pulse,
        }
    }

    fn program_mut(&mut self, service: Service) -> &mut Program {
        match service {
            Service::Pipewire => &mut self.pipewire,
            Service::Wireplumber => &mut self.wireplumber,
            Service::Pulse => &mut self.pulse,
        }
    }

    /// The private runtime directory (XDG_RUNTIME_DIR), with the sockets. Ends with the server.
    pub fn directory(&self) -> &Path {
        self.place.path()
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
            // By another process: a child that another thread of ours forks meanwhile would inherit the file that we write, and
            // while anybody has it open for writing it cannot be run ("Text file busy").
            let status = Command::new("cp").arg(program).arg(&copy).status();
            let copied = status.and_then(|status| match status.success() {
                true => Ok(()),
                false => Err(std::io::Error::other(status.to_string())),
            });
            copied.map_err(RehearsalError::io("copying a program"))?;
        }
        Ok(self.own_command(copy))
    }

    /// [`PrivateServer::command`] for a program of the server's own release, by its name on the search path there.
    pub fn own_command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        self.place.lead_here(&mut command);
        command.stdin(Stdio::null());
        let confinement = Confinement::new(&self.options);
        // SAFETY: `enter` makes system calls only, on paths that were made before the fork.
        unsafe { command.pre_exec(move || confinement.enter()) };
        command
    }

    /// Waits at most `limit` until a node of this name has a port to record from; says whether it came. A client that asks
    /// for it before would be given another source by WirePlumber.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn wait_for_source(&self, name: &str, limit: Duration) -> Result<bool, RehearsalError> {
        probe::wait_for_source(&self.socket(), name, Instant::now() + limit)
    }

    /// Process ids of the bus, PipeWire, WirePlumber and pipewire-pulse.
    pub fn process_ids(&self) -> Vec<u32> {
        [&self.bus, &self.pipewire, &self.wireplumber, &self.pulse]
            .map(Program::id)
            .into()
    }

    /// Process id of PipeWire itself.
    pub fn pipewire_id(&self) -> u32 {
        self.pipewire.id()
    }

    /// Process id of pipewire-pulse.
    pub fn pulse_id(&self) -> u32 {
        self.pulse.id()
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
