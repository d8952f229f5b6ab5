//! A `truemute daemon` on a private server, as a child process: the demo's, and that of the end-to-end tests.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use truemute_pipewire::rehearsal::{PrivateServer, Program};

use truemute_pipewire::VIRTUAL_MIC;

use super::DemoError;
use crate::api::{Client, ClientError};
use crate::protocol::{
    Answer, AppSwitched, By, Call, OfClient, Origin, Stats, StatsParams, Status, Switched,
};

/// The daemon. Dropping it ends it (SIGTERM first).
#[derive(Debug)]
pub struct RunningDaemon {
    program: Program,
    socket: PathBuf,
    log: PathBuf,
}

impl RunningDaemon {
    /// Starts `executable daemon` with `config` (TOML) on `server`, and waits at most `limit` until it answers, is
    /// connected to the server, and its virtual mic can be recorded from.
    ///
    /// # Errors
    /// It ended or was not ready in time; with its log.
    pub fn start(
        executable: &Path,
        server: &PrivateServer,
        config: &str,
        limit: Duration,
    ) -> Result<Self, DemoError> {
        Self::launch(executable, server, config)?.wait_until_ready(server, limit)
    }

    /// The same under `executable supervise`: [`RunningDaemon::id`] and signals are the supervisor's.
    ///
    /// # Errors
    /// As [`RunningDaemon::start`].
    pub fn start_supervised(
        executable: &Path,
        server: &PrivateServer,
        config: &str,
        limit: Duration,
    ) -> Result<Self, DemoError> {
        Self::run("supervise", executable, server, config)?.wait_until_ready(server, limit)
    }

    fn wait_until_ready(
        mut self,
        server: &PrivateServer,
        limit: Duration,
    ) -> Result<Self, DemoError> {
        let deadline = Instant::now() + limit;
        let daemon = &mut self;
        loop {
            match daemon.status() {
                Ok(status) if status.connected => break,
                _ if daemon.ended().is_some() => return Err(daemon.failed("ended")),
                _ if Instant::now() >= deadline => {
                    return Err(daemon.failed("was not ready in time"));
                }
                _ => thread::sleep(Duration::from_millis(5)),
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if server.wait_for_source(VIRTUAL_MIC, left)? {
            Ok(self)
        } else {
            Err(daemon.failed("did not make its virtual mic in time"))
        }
    }

    /// Starts it and does not wait.
    ///
    /// # Errors
    /// The program cannot be started or its files not be written.
    pub fn launch(
        executable: &Path,
        server: &PrivateServer,
        config: &str,
    ) -> Result<Self, DemoError> {
        Self::run("daemon", executable, server, config)
    }

    fn run(
        subcommand: &str,
        executable: &Path,
        server: &PrivateServer,
        config: &str,
    ) -> Result<Self, DemoError> {
        let file = server.directory().join("truemute.toml");
        let log = server.directory().join("truemute.log");
        fs::write(&file, config).map_err(DemoError::io("writing the daemon's configuration"))?;
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(DemoError::io("making the daemon's log"))?;
        let mut command = server.native_command(executable)?;
        command
            .arg(subcommand)
            .arg("--config")
            .arg(&file)
            .stderr(output);
        let program = Program::start(command).map_err(DemoError::io("starting the daemon"))?;
        Ok(Self {
            program,
            socket: server.directory().join("truemute/api.sock"),
            log,
        })
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.program.id()
    }

    /// Its API socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// A new connection to it.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn client(&self) -> Result<Client, ClientError> {
        Client::connect(&self.socket)
    }

    /// `status`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn status(&self) -> Result<Status, DemoError> {
        match self.client()?.call(Call::Status)? {
            Answer::Status(status) => Ok(status),
            _ => Err(DemoError::Misunderstood),
        }
    }

    /// `mute`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn mute(&self) -> Result<Switched, DemoError> {
        self.switch(Call::Mute(By::default()))
    }

    /// `unmute`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn unmute(&self) -> Result<Switched, DemoError> {
        self.switch(Call::Unmute(By::default()))
    }

    /// `mute_client`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn mute_client(&self, client: &str) -> Result<AppSwitched, DemoError> {
        self.switch_app(Call::MuteClient, client)
    }

    /// `unmute_client`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn unmute_client(&self, client: &str) -> Result<AppSwitched, DemoError> {
        self.switch_app(Call::UnmuteClient, client)
    }

    fn switch_app(
        &self,
        call: fn(OfClient) -> Call,
        client: &str,
    ) -> Result<AppSwitched, DemoError> {
        let of = OfClient {
            client: client.to_owned(),
            origin: Origin::default(),
        };
        match self.client()?.call(call(of))? {
            Answer::AppSwitched(switched) => Ok(switched),
            _ => Err(DemoError::Misunderstood),
        }
    }

    fn switch(&self, call: Call) -> Result<Switched, DemoError> {
        match self.client()?.call(call)? {
            Answer::Switched(switched) => Ok(switched),
            _ => Err(DemoError::Misunderstood),
        }
    }

    /// `clients`: those connected now.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn clients(&self) -> Result<Stats, DemoError> {
        self.figures(Call::Clients)
    }

    /// `stats` since its start.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn stats(&self) -> Result<Stats, DemoError> {
        self.figures(Call::Stats(StatsParams::default()))
    }

    fn figures(&self, call: Call) -> Result<Stats, DemoError> {
        match self.client()?.call(call)? {
            Answer::Stats(stats) => Ok(stats),
            _ => Err(DemoError::Misunderstood),
        }
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.program.ended()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// It has ended.
    pub fn signal(&self, signal: Signal) -> Result<(), DemoError> {
        self.program
            .signal(signal)
            .map_err(DemoError::io("sending a signal to the daemon"))
    }

    /// Ends it with `signal` and says how it ended; killed if that takes over 1.5 s.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn stop(&mut self, signal: Signal) -> Result<ExitStatus, DemoError> {
        self.program
            .stop(signal)
            .map_err(DemoError::io("ending the daemon"))
    }

    /// What it wrote to its log.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn failed(&self, what: &str) -> DemoError {
        DemoError::Daemon {
            what: what.to_owned(),
            log: self.log(),
        }
    }
}
