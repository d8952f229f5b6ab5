//! The daemon as a service of the system: configuration, socket, signals, readiness. It runs until it is told to end.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Daemon, History, Memory, Watchdog};
use crate::api::{OwnSocket, Server, SocketError};
use crate::backend::BackendFactory;
use crate::config::{Config, ConfigError, POLICY_PATH, Policy, Settings};
use crate::hotkey::Hotkey;
use crate::system::{self, Ends, Sign};

/// How the daemon was started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration file; the user's own if absent.
    pub config: Option<PathBuf>,
    /// Where to serve the API.
    pub socket: PathBuf,
    /// The file that remembers the gate.
    pub memory: PathBuf,
}

/// Why the daemon could not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The configuration or the policy.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// There is no place for the history and the state.
    #[error(
        "There is no home directory to keep history and state in. {}.",
        system::SET_HOME
    )]
    NoHome,
    /// Threads or signal handlers.
    #[error(
        "The daemon cannot start its threads: {0}. Look at the limits of this session (ulimit -a)."
    )]
    System(io::Error),
}

/// Runs the daemon in the foreground until it is told to end (SIGTERM, SIGINT, SIGHUP; Ctrl-C on Windows); a second time ends the process at once.
pub fn run(
    options: &Options,
    factory: impl FnOnce(&Settings) -> Box<dyn BackendFactory>,
    history: impl FnOnce(&Settings) -> Result<Arc<dyn History>, ServiceError>,
) -> Result<(), ServiceError> {
    // Whatever the daemon writes is its user's alone.
    system::keep_files_private();
    let config = match &options.config {
        Some(path) => Config::read(path)?,
        None => Config::read_default()?,
    };
    let policy = Policy::read(POLICY_PATH.as_ref(), 0)?;
    let settings = Settings::new(config, policy);
    // Before the socket: whoever can connect may expect an end in order.
    let mut ends = Ends::new().map_err(ServiceError::System)?;
    // Before anything that a second daemon would disturb.
    let socket = OwnSocket::bind(&options.socket)?;

    let combo = settings.config.hotkey.clone();
    let (factory, history) = (factory(&settings), history(&settings)?);
    let memory = Memory::at(options.memory.clone());
    let watchdog = Watchdog::from_environment();
    let daemon = Daemon::start(settings, factory, history, memory, watchdog)
        .map_err(ServiceError::System)?;
    let server = Server::start(socket, daemon.handle()).map_err(ServiceError::System)?;
    #[cfg(target_os = "linux")]
    {
        daemon.handle().show_bypasses(system::show_notice);
        let handle = daemon.handle();
        // A daemon that does not answer is muted by its lease.
        system::watch_sleep(move |asleep| drop(handle.sleep(asleep)));
    }
    system::tell_manager(Sign::Ready);
    tracing::info!("serving {}", options.socket.display());
    for warning in system::blind_spots() {
        daemon.handle().warn(warning);
    }
    // After readiness: an X server may let it wait.
    let hotkey = combo.and_then(|combo| Hotkey::of_daemon(&combo, &daemon.handle()));

    let until_end = move || (ends.wait(), ends);
    let (end, mut ends) = match hotkey {
        Some(_) => system::wait_beside_keys(until_end),
        None => until_end(),
    };
    tracing::info!("ending on {}", end.unwrap_or_default());
    system::tell_manager(Sign::Ending);
    std::thread::spawn(move || {
        if ends.wait().is_some() {
            std::process::exit(1);
        }
    });
    drop(hotkey);
    daemon.stop();
    server.stop();
    Ok(())
}
