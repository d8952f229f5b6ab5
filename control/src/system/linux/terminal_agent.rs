//! Who asks for the password on a terminal: pkttyagent(1), polkit's own program. It serves the process that started it, there
//! also before the desktop's own dialog. (With `--fallback` it would stand back, but polkit 122 finds such a one only
//! for processes of a session that logind knows.)

use std::io::{self, IsTerminal as _};
use std::os::fd::AsRawFd as _;
use std::process::{Child, Command};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};

/// It answers within milliseconds, or a second where the bus has to start polkit.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// One that can be asked. Dropping it ends it.
pub(crate) struct TerminalAgent(Child);

impl TerminalAgent {
    /// One for this process, which must run a single thread; none where nobody could type, or polkit has none.
    pub(crate) fn start() -> Option<Self> {
        if !io::stdin().is_terminal() {
            return None;
        }
        // Both ends stay open in children: the writing one is for it to close.
        let (reads, writes) = rustix::pipe::pipe().ok()?;
        let mut command = Command::new("pkttyagent");
        command
            .arg("--notify-fd")
            .arg(writes.as_raw_fd().to_string());
        let agent = Self(command.spawn().ok()?);
        drop(writes);
        let limit = Timespec::try_from(READY_WITHIN).ok();
        // An agent that is late, or that has failed, is one that does not ask.
        let _ = poll(&mut [PollFd::new(&reads, PollFlags::IN)], limit.as_ref());
        Some(agent)
    }
}

impl Drop for TerminalAgent {
    fn drop(&mut self) {
        // In order, so that it leaves the terminal as it was.
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}
