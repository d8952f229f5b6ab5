//! Before the machine sleeps the daemon mutes and asks its manager for time, and the machine waits for that. A logind of the
//! test's own tells of sleep, on a bus of its own; the daemon is frozen meanwhile, as the kernel and systemd do it.

mod support;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use futures_util::StreamExt as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use support::{Rig, SOON, bus, daemon_command, socket_in, truemute, wait_for};
use truemute::daemon::Want;
use truemute::protocol::{GateState, Origin, Status};
use truemute::supervise::WATCHDOG;

#[test]
fn sleep_mutes_until_somebody_unmutes() {
    let rig = Rig::start();
    let daemon = rig.daemon().handle();
    let state = || {
        let status = daemon.status().unwrap();
        (status.gate, status.reason, rig.server.script().open)
    };
    let asleep = (GateState::Muted, "sleep".to_owned(), false);
    daemon.switch(Want::Unmute, Origin::Cli).unwrap();
    daemon.sleep(true).unwrap();
    assert_eq!(state(), asleep);
    daemon.sleep(false).unwrap();
    assert_eq!(state(), asleep);
    daemon.switch(Want::Unmute, Origin::Cli).unwrap();
    assert_eq!(state(), (GateState::Live, "cli".to_owned(), true));
    // An unmute that comes before the machine really sleeps does not outlive the sleep.
    daemon.sleep(true).unwrap();
    daemon.switch(Want::Unmute, Origin::Cli).unwrap();
    daemon.sleep(false).unwrap();
    assert_eq!(state(), asleep);
    daemon.switch(Want::Unmute, Origin::Cli).unwrap();
    // Who was muted before stays so, for the reason that it had.
    daemon.switch(Want::Mute, Origin::Cli).unwrap();
    daemon.sleep(true).unwrap();
    assert_eq!(state(), (GateState::Muted, "cli".to_owned(), false));
}

const MANAGER: &str = "org.freedesktop.login1.Manager";
const PLACE: &str = "/org/freedesktop/login1";

/// Answers as logind does who is asked to let the machine wait, and says when it sleeps.
struct Logind {
    bus: zbus::Connection,
    asked: Receiver<(Vec<String>, File)>,
}

impl Logind {
    /// On the bus of this address.
    fn start(address: &str) -> Self {
        let address = zbus::Address::try_from(address).unwrap();
        let bus = zbus::block_on(async {
            let bus = zbus::connection::Builder::address(address).build().await?;
            bus.request_name("org.freedesktop.login1").await?;
            zbus::Result::Ok(bus)
        });
        let bus = bus.unwrap();
        let (sender, asked) = channel();
        std::thread::spawn({
            let bus = bus.clone();
            move || {
                zbus::block_on(async {
                    let mut messages = zbus::MessageStream::from(&bus);
                    while let Some(Ok(message)) = messages.next().await {
                        let header = message.header();
                        if header.member().is_none_or(|it| it.as_str() != "Inhibit") {
                            continue;
                        }
                        let (what, who, why, mode) = message.body().deserialize().unwrap();
                        // Whoever has the writing end keeps the machine awake.
                        let (reads, writes) = rustix::pipe::pipe().unwrap();
                        let writes = zbus::OwnedFd::from(writes);
                        bus.reply(&header, &writes).await.unwrap();
                        let told = (vec![what, who, why, mode], File::from(reads));
                        if sender.send(told).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { bus, asked }
    }

    /// What the daemon asked for, and the reading end: it ends when the daemon is ready.
    fn asked(&self) -> File {
        let (call, reads) = self.asked.recv_timeout(SOON).unwrap();
        assert_eq!(call.len(), 4);
        assert_eq!(
            [&*call[0], &*call[1], &*call[3]],
            ["sleep", "TrueMute", "delay"]
        );
        reads
    }

    fn tell(&self, asleep: bool) {
        let signal = "PrepareForSleep";
        let told = self
            .bus
            .emit_signal(None::<&str>, PLACE, MANAGER, signal, &asleep);
        zbus::block_on(told).unwrap();
    }
}

/// Whether something is to be read, or has ended, within `limit`.
fn ends_within(file: impl Into<OwnedFd>, limit: Duration) -> bool {
    let file = file.into();
    let mut files = [PollFd::new(&file, PollFlags::IN)];
    let limit = Timespec::try_from(limit).unwrap();
    poll(&mut files, Some(&limit)).unwrap() > 0
}

fn supervise(dir: &std::path::Path, address: &str) -> Child {
    let like = daemon_command(dir);
    let mut command = Command::new(like.get_program());
    command
        .arg("supervise")
        .env("DBUS_SYSTEM_BUS_ADDRESS", address);
    for (name, value) in like.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().unwrap()
}

#[test]
fn the_machine_waits_and_a_daemon_that_slept_is_not_killed() {
    let dir = tempfile::tempdir().unwrap();
    let address = bus::address(dir.path());
    let _bus = bus::system_bus(dir.path());
    let logind = Logind::start(&address);
    let _supervisor = bus::Running(supervise(dir.path(), &address));
    let daemon = || {
        let output = truemute(&socket_in(dir.path()), &["status", "--json"]);
        let status: Status = serde_json::from_slice(&output.stdout).ok()?;
        Pid::from_raw(status.daemon_pid.cast_signed())
    };
    let first = wait_for("a daemon answers", daemon);
    let held = logind.asked();
    logind.tell(true);
    assert!(ends_within(held, SOON), "the machine still waits");
    let process = pidfd_open(first, PidfdFlags::empty()).unwrap();
    kill_process(first, Signal::STOP).unwrap();
    // As long as nobody bears who is not asleep.
    let ended = ends_within(process, WATCHDOG * 2);
    kill_process(first, Signal::CONT).unwrap();
    assert!(!ended, "it was killed in its sleep");
    logind.tell(false);
    // Ready for the next sleep, and watched as before.
    let _held = logind.asked();
    assert_eq!(wait_for("it answers again", daemon), first);
    kill_process(first, Signal::STOP).unwrap();
    wait_for("another daemon", || daemon().filter(|it| *it != first));
}

#[test]
fn a_logind_that_comes_back_is_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let address = bus::address(dir.path());
    let _bus = bus::system_bus(dir.path());
    let logind = Logind::start(&address);
    let mut command = daemon_command(dir.path());
    command
        .env("DBUS_SYSTEM_BUS_ADDRESS", &address)
        .stderr(Stdio::null());
    let _daemon = bus::Running(command.spawn().unwrap());
    let held = logind.asked();
    zbus::block_on(logind.bus.release_name("org.freedesktop.login1")).unwrap();
    assert!(ends_within(held, SOON), "the former one's is kept");
    zbus::block_on(logind.bus.request_name("org.freedesktop.login1")).unwrap();
    logind.asked();
}
