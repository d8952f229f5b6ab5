//! Child processes that never outlive us: servers and clients of a rehearsal. Started by one thread that lives as long
//! as the process, for the kernel's parent-death signal follows the *thread* that forked (prctl(2)).

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, set_parent_process_death_signal};

/// How long a program may take to end after SIGTERM before SIGKILL.
const GRACE: Duration = Duration::from_millis(1500);

/// A running child in its own process group. Dropping it ends the whole group: SIGTERM first, SIGKILL after 1.5 s. The
/// kernel kills it when this process dies in whatever way.
#[derive(Debug)]
pub struct Program {
    child: Child,
}

impl Program {
    /// Starts `command` in a process group of its own, so that Ctrl-C on a terminal reaches only us.
    ///
    /// # Errors
    /// What [`Command::spawn`] says.
    pub fn start(mut command: Command) -> io::Result<Self> {
        command.process_group(0);
        // SAFETY: the closure makes one prctl system call: async-signal-safe, no allocation, no lock.
        unsafe {
            command.pre_exec(|| {
                set_parent_process_death_signal(Some(Signal::KILL)).map_err(io::Error::from)
            });
        }
        let (reply, answer) = mpsc::channel();
        let sent = spawner()
            .lock()
            .map(|queue| queue.send((command, reply)).is_ok());
        match (sent, answer.recv()) {
            (Ok(true), Ok(child)) => Ok(Self { child: child? }),
            _ => Err(io::Error::other(
                "the thread that starts programs has ended",
            )),
        }
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The child itself, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Whether it has ended by itself, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends a signal to the program's whole group.
    ///
    /// # Errors
    /// `ESRCH` if it has ended.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let group = Pid::from_raw(self.child.id().cast_signed())
            .ok_or_else(|| io::Error::other("a child has process id 0"))?;
        Ok(kill_process_group(group, signal)?)
    }

    /// Asks with `signal` (SIGINT makes recorders finish their files), waits at most 1.5 s, then kills. Returns how it
    /// ended.
    ///
    /// # Errors
    /// If the kernel cannot say how it ended.
    pub fn stop(&mut self, signal: Signal) -> io::Result<ExitStatus> {
        if let Some(status) = self.ended() {
            return Ok(status);
        }
        // It may end between the look and the signal; the wait below tells.
        let _ = self.signal(signal);
        if let Some(status) = self.wait(GRACE) {
            return Ok(status);
        }
        let _ = self.signal(Signal::KILL);
        self.child.wait()
    }

    /// Waits at most `limit` for it to end by itself.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            let status = self.ended();
            if status.is_some() || Instant::now() >= deadline {
                return status;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let leader_gone = self.ended().is_some();
        if !leader_gone {
            let _ = self.stop(Signal::TERM);
        }
    }
}

type Order = (Command, mpsc::Sender<io::Result<Child>>);

fn spawner() -> &'static Mutex<mpsc::Sender<Order>> {
    static QUEUE: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    QUEUE.get_or_init(|| {
        let (queue, orders) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, reply) in orders {
                let _ = reply.send(spawn(&mut command));
            }
        });
        Mutex::new(queue)
    })
}

/// Spawns. A program that was just copied can be busy for a moment: a child that another thread is forking holds the copy's
/// descriptor until it executes its own program.
fn spawn(command: &mut Command) -> io::Result<Child> {
    let deadline = Instant::now() + GRACE;
    loop {
        match command.spawn() {
            Err(error)
                if error.kind() == io::ErrorKind::ExecutableFileBusy
                    && Instant::now() < deadline =>
            {
                thread::sleep(Duration::from_millis(2));
            }
            other => return other,
        }
    }
}

/// Where a program lies on the search path (`PATH`), if it is installed.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|file| is_executable(file))
}

/// Whether a file exists and somebody may execute it.
pub(super) fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_survives_the_thread_that_asked_for_it_and_ends_on_drop() {
        let mut command = Command::new("sleep");
        command.arg("60");
        let mut program = thread::spawn(|| Program::start(command).unwrap())
            .join()
            .unwrap();
        assert!(program.wait(Duration::from_millis(50)).is_none());
        let pid = Pid::from_raw(program.id().cast_signed()).unwrap();
        drop(program);
        assert!(rustix::process::test_kill_process(pid).is_err());
    }

    #[test]
    fn missing_program_is_an_error() {
        assert!(Program::start(Command::new("/nonexistent/program")).is_err());
        assert!(find_program("no-such-program-at-all").is_none());
        assert!(find_program("sh").is_some());
    }
}
