//! The directory of a private server: configuration, sockets, logs, and the environment that leads programs there. It
//! goes with its owner; if that was killed, whoever makes the next one sweeps it away.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use super::confinement::Confinement;
use super::program::Program;
use super::server::{ServerOptions, User};
use super::{RehearsalError, config, probe};

/// Short, for the path of a Unix socket holds at most 107 bytes (unix(7)).
pub(super) const BASE: &str = "/tmp";
const PREFIX: &str = "truemute-rehearsal-";
const LOCK: &str = "lock";

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

/// The directory that holds everything of one server.
#[derive(Debug)]
pub(super) struct Place {
    directory: TempDir,
    /// Locked as long as the directory is in use; see [`sweep`].
    _lock: File,
}

impl Place {
    /// Makes the directory and writes the configuration.
    pub(super) fn make(options: &ServerOptions) -> Result<Self, RehearsalError> {
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
            let directory = self.directory.path().to_string_lossy();
            let text = dropin.text.replace("@DIRECTORY@", &directory);
            fs::write(&path, text).map_err(io("writing a configuration file"))?;
        }
        if let Some(user) = options.user {
            give_to(self.directory.path(), user).map_err(io("giving the directory to the user"))?;
        }
        Ok(())
    }

    /// The directory itself.
    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A file in it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The variables that lead a program here.
    pub(super) fn variables(&self) -> BTreeMap<&'static str, OsString> {
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

    /// Leads `command` here, whatever our own environment says.
    pub(super) fn lead_here(&self, command: &mut Command) {
        for variable in FOREIGN_VARIABLES {
            command.env_remove(variable);
        }
        command.envs(self.variables());
    }

    /// Starts one of the server's own programs, its output going to a log file.
    pub(super) fn run(
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

    /// Waits until a socket of this name answers, as long as all of `children` run.
    pub(super) fn wait_for(
        &self,
        socket: &str,
        deadline: Instant,
        children: &mut [(&str, &mut Program)],
    ) -> Result<(), RehearsalError> {
        let started = Instant::now();
        probe::wait_for_socket(&self.file(socket), deadline, &mut || self.all_run(children))?
            .map(drop)
            .ok_or_else(|| self.not_ready(&format!("the socket {socket} did not answer"), started))
    }

    /// An error if one of `children` has ended.
    pub(super) fn all_run(
        &self,
        children: &mut [(&str, &mut Program)],
    ) -> Result<(), RehearsalError> {
        for (name, child) in children {
            if let Some(status) = child.ended() {
                return Err(self.not_ready(&format!("{name} ended ({status})"), Instant::now()));
            }
        }
        Ok(())
    }

    /// The error for something that did not come up, with the logs.
    pub(super) fn not_ready(&self, what: &str, since: Instant) -> RehearsalError {
        RehearsalError::NotReady {
            what: what.to_owned(),
            waited_ms: since.elapsed().as_millis(),
            log: self.log(),
        }
    }

    /// The last lines of each program's log.
    pub(super) fn log(&self) -> String {
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

fn give_to(path: &Path, user: User) -> io::Result<()> {
    chown(path, Some(user.uid), Some(user.gid))?;
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            give_to(&entry?.path(), user)?;
        }
    }
    Ok(())
}

/// Removes directories whose owner was killed and could not: those that nobody holds the lock of.
fn sweep() {
    let Ok(entries) = fs::read_dir(BASE) else {
        return;
    };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        // Anybody may put things into /tmp: neither follow a link nor wait for a pipe's other end.
        let mut look = OpenOptions::new();
        look.read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let Some(lock) = ours
            .then(|| look.open(entry.path().join(LOCK)).ok())
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
