//! Wakes the machine whenever it has fallen asleep (QEMU's own protocol, QMP). The machine's clock could do that too, but an
//! alarm that rings while a slow machine is still falling asleep wakes nobody.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::io::FdFlags;
use serde_json::Value;

/// How long the machine sleeps.
const SLEEP: Duration = Duration::from_secs(4);

/// What wakes one machine. Dropping it, after the machine has ended, ends the thread.
pub(super) struct Waking {
    machines_end: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Waking {
    /// Gives the machine that `command` will start a way to say that it sleeps.
    pub(super) fn of(command: &mut Command) -> Result<Self> {
        let (ours, machines_end) = UnixStream::pair().context("cannot make a socket")?;
        let machines_end = OwnedFd::from(machines_end);
        rustix::io::fcntl_setfd(&machines_end, FdFlags::empty())
            .context("cannot hand a socket on")?;
        let number = machines_end.as_raw_fd();
        command.args(["-chardev", &format!("socket,id=qmp,fd={number}")]);
        command.args(["-mon", "chardev=qmp,mode=control"]);
        let thread = std::thread::spawn(move || {
            if let Err(error) = wake(&ours) {
                eprintln!("The machine cannot be woken: {error}");
            }
        });
        Ok(Self {
            machines_end: Some(machines_end),
            thread: Some(thread),
        })
    }
}

impl Drop for Waking {
    fn drop(&mut self) {
        drop(self.machines_end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn wake(mut socket: &UnixStream) -> std::io::Result<()> {
    for line in BufReader::new(socket).lines() {
        let said: Value = serde_json::from_str(&line?)?;
        if said.get("QMP").is_some() {
            socket.write_all(b"{\"execute\":\"qmp_capabilities\"}\n")?;
        } else if said["event"] == "SUSPEND" {
            std::thread::sleep(SLEEP);
            socket.write_all(b"{\"execute\":\"system_wakeup\"}\n")?;
        }
    }
    Ok(())
}
