//! A command with all that it starts. Where there are process groups they are one; elsewhere it is the command alone.

#[cfg(not(unix))]
pub(super) use other::{ask_to_end, end, end_leftovers, lead, signal};
#[cfg(unix)]
pub(super) use unix::{ask_to_end, end, end_leftovers, lead, signal};

#[cfg(unix)]
mod unix {
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::{Child, Command, ExitStatus};

    use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

    /// The command gets a group of its own.
    pub(in super::super) fn lead(command: &mut Command) {
        command.process_group(0);
    }

    /// The signal that ended it.
    pub(in super::super) fn signal(status: ExitStatus) -> i32 {
        status.signal().unwrap_or(0)
    }

    pub(in super::super) fn ask_to_end(child: &mut Child) {
        send(child, Signal::TERM);
    }

    pub(in super::super) fn end(child: &mut Child) {
        send(child, Signal::KILL);
    }

    /// Ends what the command left running in its group; returns whether there was any.
    pub(in super::super) fn end_leftovers(child: &mut Child) -> bool {
        let left = Pid::from_raw(child.id().cast_signed())
            .is_some_and(|group| test_kill_process_group(group).is_ok());
        if left {
            end(child);
        }
        left
    }

    fn send(child: &Child, signal: Signal) {
        if let Some(group) = Pid::from_raw(child.id().cast_signed()) {
            // The group may be gone already: that is what was wanted.
            let _ = kill_process_group(group, signal);
        }
    }
}

#[cfg(not(unix))]
mod other {
    use std::process::{Child, Command, ExitStatus};

    pub(in super::super) fn lead(_command: &mut Command) {}

    /// There are no signals.
    pub(in super::super) fn signal(_status: ExitStatus) -> i32 {
        0
    }

    pub(in super::super) fn ask_to_end(child: &mut Child) {
        end(child);
    }

    pub(in super::super) fn end(child: &mut Child) {
        // It may have ended already: that is what was wanted.
        let _ = child.kill();
    }

    pub(in super::super) fn end_leftovers(_child: &mut Child) -> bool {
        false
    }
}
