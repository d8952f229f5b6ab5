//! `truemute supervise`: runs the daemon as a child where no systemd does, kills it when it hangs and starts it again. To the
//! daemon it looks like systemd: the same messages on the same kind of socket (sd_notify(3)).
//! This file deals with the process; [`rules`] decides, [`notify`] is the socket.

mod notify;
mod rules;

use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::api::SocketError;
#[cfg(fuzzing)]
pub use notify::fuzz as fuzz_message;
use notify::{NotifySocket, Reader, Told};
use rules::{End, Next, Rules, Run};

/// A daemon that says nothing for this long hangs. With the daemon's signs of life every quarter of it, a hung one is gone
/// within 1.8 s, and the silent twin has its clients within 2.
pub const WATCHDOG: Duration = Duration::from_millis(1400);

/// How long a daemon may take to end once it was told to: the systemd unit's too. It writes the history then.
pub const STOP: Duration = Duration::from_secs(10);

/// The child's environment says by this which process supervises it.
const SUPERVISOR: &str = "TRUEMUTE_SUPERVISOR";

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The daemon's configuration file; the user's own if absent.
    pub config: Option<PathBuf>,
    /// Where the daemon serves the API. The supervisor's own socket lies beside it.
    pub socket: PathBuf,
}

/// Why the daemon cannot be supervised.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SuperviseError {
    /// The socket between daemon and supervisor.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// Threads, signals or processes.
    #[error(
        "The daemon cannot be started and watched: {0}. Look at the limits of this session (ulimit -a)."
    )]
    System(#[from] io::Error),
    /// The daemon ended by itself before it was ready, and has said why.
    #[error("The daemon did not start (exit code {0}). Put right what it says above.")]
    NotStarted(i32),
    /// The daemon was told to end and did not end in order.
    #[error("The daemon did not end in order ({0}). Its log says more.")]
    Disorderly(ExitStatus),
}

/// What wakes the supervisor.
enum Event {
    Signal(i32),
    Told(Told),
    Ended(ExitStatus),
}

/// Runs the daemon until it ends in order or this process is told to end by SIGTERM, SIGINT or SIGHUP, which the daemon
/// gets. To be called from the main thread: the daemon ends with the thread that started it.
///
/// # Errors
/// The daemon cannot be started, or did not end in order.
pub fn run(options: &Options) -> Result<(), SuperviseError> {
    let executable = std::env::current_exe()?;
    let (sender, events) = channel();
    forward_signals(sender.clone())?;
    let socket = NotifySocket::bind(&options.socket)?;
    listen(socket.reader()?, sender.clone())?;
    let mut rules = Rules::default();
    loop {
        let mut command = Command::new(&executable);
        command.arg("--socket").arg(&options.socket).arg("daemon");
        if let Some(config) = &options.config {
            command.arg("--config").arg(config);
        }
        command
            .env("NOTIFY_SOCKET", socket.path())
            .env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string())
            .env_remove("WATCHDOG_PID")
            .env(SUPERVISOR, std::process::id().to_string())
            // A terminal's Ctrl-C comes once, by way of us.
            .process_group(0);
        let child = Child::start(command, sender.clone())?;
        let (run, status) = child.watch(&events)?;
        match rules.next(&run) {
            Next::End => return Ok(()),
            Next::Fail if run.ready || run.told_to_end => {
                return Err(SuperviseError::Disorderly(status));
            }
            Next::Fail => return Err(SuperviseError::NotStarted(status.code().unwrap_or(1))),
            Next::StartAgain(pause) => {
                tracing::warn!("the daemon ended ({status}) and is started again in {pause:?}");
                if told_to_end(&events, pause) {
                    return Ok(());
                }
            }
        }
    }
}

/// Makes a supervised daemon end with its supervisor. To be called by the daemon's main thread before all else; does nothing
/// in a daemon that no [`run`] started.
pub fn follow_supervisor() -> io::Result<()> {
    let supervisor = std::env::var(SUPERVISOR).ok();
    let Some(supervisor) = supervisor.and_then(|pid| Pid::from_raw(pid.parse().ok()?)) else {
        return Ok(());
    };
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
    // It can have died before that.
    match rustix::process::getppid() == Some(supervisor) {
        true => Ok(()),
        false => Err(io::Error::other("its supervisor has ended")),
    }
}

fn forward_signals(events: Sender<Event>) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let thread = std::thread::Builder::new().name("signals".into());
    thread.spawn(move || {
        for signal in signals.forever() {
            let _ = events.send(Event::Signal(signal));
        }
    })?;
    Ok(())
}

fn listen(socket: Reader, events: Sender<Event>) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("notify".into());
    thread.spawn(move || {
        while let Ok(told) = socket.next() {
            for told in told {
                let _ = events.send(Event::Told(told));
            }
        }
    })?;
    Ok(())
}

/// Waits; says whether somebody told us to end meanwhile.
fn told_to_end(events: &Receiver<Event>, pause: Duration) -> bool {
    let deadline = Instant::now() + pause;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match events.recv_timeout(left) {
            Ok(Event::Signal(_)) => return true,
            // What the former daemon said last.
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}

/// A daemon that runs.
struct Child {
    /// Signals through it reach this process only, never another that got its number.
    handle: rustix::fd::OwnedFd,
    run: Run,
}

impl Child {
    fn start(mut command: Command, events: Sender<Event>) -> Result<Self, io::Error> {
        let mut child = command.spawn()?;
        let handle = pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
        let handle = handle.inspect_err(|_| drop(child.kill()))?;
        let thread = std::thread::Builder::new().name("child".into());
        thread.spawn(move || {
            // Fails only for a child that was waited for already.
            if let Ok(status) = child.wait() {
                let _ = events.send(Event::Ended(status));
            }
        })?;
        Ok(Self {
            handle,
            run: Run::begun(Instant::now()),
        })
    }

    /// Watches it until it has ended, however.
    fn watch(mut self, events: &Receiver<Event>) -> io::Result<(Run, ExitStatus)> {
        loop {
            let wait = self.run.patience(Instant::now());
            let event = match wait {
                Some(wait) => events.recv_timeout(wait),
                None => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let now = Instant::now();
            match event {
                Ok(Event::Ended(status)) => {
                    self.run.end = Some(match (status.code(), status.signal()) {
                        (Some(code), _) => End::Exit(code),
                        _ => End::Killed,
                    });
                    self.run.ended_at = now;
                    return Ok((self.run, status));
                }
                Ok(Event::Told(told)) => self.run.heard(told, now),
                Ok(Event::Signal(signal)) => {
                    self.run.told_to_end(now);
                    if let Some(signal) = Signal::from_named_raw(signal) {
                        self.signal(signal);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    if self.run.is_hung(now) {
                        tracing::warn!("the daemon does not answer and is killed");
                        self.signal(Signal::KILL);
                    }
                }
                // We hold a sender ourselves.
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(io::Error::other("the watching threads have ended"));
                }
            }
        }
    }

    fn signal(&self, signal: Signal) {
        // It can have ended just now; the waiting thread tells.
        let _ = pidfd_send_signal(&self.handle, signal);
    }
}
