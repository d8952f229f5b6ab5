//! `truemute top` on a real pseudo-terminal: what it shows, what keys do, and that the terminal is as it was afterwards,
//! however it ends. Where a daemon has to misbehave, it is played by the test's child process, which runs `top` (this
//! program, called for the one test `child`).

mod support;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use support::{RealDaemon, Rig, observed};
use truemute::protocol::{
    AppliedHow, ErrorObject, GateState, SCHEMA, Status, Switched, WatchEvent,
};
use truemute::top::{self, Daemon};
use truemute_core::observed::ClientState;

/// Longest wait for anything that must happen.
const DEADLINE: Duration = Duration::from_secs(20);
/// What the child's daemon does.
const ROLE: &str = "TRUEMUTE_TEST_TOP";

fn status(gate: &str) -> Status {
    serde_json::from_value(serde_json::json!({
        "schema": SCHEMA, "gate": gate, "reason": "cli", "since": "2026-11-22T08:00:00Z", "backend": "pipewire 1.4.2",
        "connected": true, "real_mic": {"name": "mic", "description": "A mic", "state": "released"},
        "virtual_mic": {"name": "truemute.mic", "rate": 48000, "channels": 1, "quantum": 256}, "clients": 0,
        "locked": false, "muted_apps": [], "bypasses": [], "forced": [], "warnings": [], "daemon_pid": 1, "version": "0",
    }))
    .expect("a status of the contract")
}

/// A daemon that says its state every 100 ms.
struct Played {
    role: String,
    gate: Mutex<&'static str>,
    rounds: Mutex<u32>,
    changed: Condvar,
}

impl Daemon for Played {
    fn watch(&self, _: u32, take: &mut dyn FnMut(WatchEvent) -> ControlFlow<()>) -> String {
        let mut rounds = self.rounds.lock().expect("not poisoned");
        loop {
            *rounds += 1;
            if self.role == "leaves" && *rounds > 3 {
                return "The daemon closed the connection.".into();
            }
            if self.role == "hangs" && *rounds > 3 {
                loop {
                    thread::park();
                }
            }
            assert!(
                self.role != "panics" || *rounds < 3,
                "a panic in the test's daemon"
            );
            let event = WatchEvent::State(status(*self.gate.lock().expect("not poisoned")));
            if take(event).is_break() {
                return "ended".into();
            }
            let wait = Duration::from_millis(100);
            rounds = self
                .changed
                .wait_timeout(rounds, wait)
                .expect("not poisoned")
                .0;
        }
    }

    fn switch(&self, to: GateState) -> Result<Switched, ErrorObject> {
        *self.gate.lock().expect("not poisoned") = if to == GateState::Live {
            "live"
        } else {
            "muted"
        };
        self.changed.notify_all();
        Ok(Switched {
            schema: SCHEMA,
            gate: to,
            changed: true,
            applied: AppliedHow::Cycle,
            clock: Some("7".into()),
            position: Some(4711),
            took_us: 1_500,
        })
    }
}

/// The process that runs `top`, when the other tests call it; does nothing otherwise.
#[test]
fn child() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let daemon = Played {
        role,
        gate: Mutex::new("muted"),
        rounds: Mutex::new(0),
        changed: Condvar::new(),
    };
    match top::run(daemon) {
        Ok(()) => println!("top ended well"),
        Err(error) => println!("top failed: {error}"),
    }
}

/// A terminal with `top` on it.
struct Terminal {
    process: Child,
    keyboard: File,
    /// Kept open, so that the terminal's modes can be read after `top` has ended.
    line: OwnedFd,
    seen: Arc<(Mutex<vt100::Parser>, Condvar)>,
}

impl Terminal {
    /// `top` with a daemon that is played.
    fn start(role: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        command
            .args(["child", "--exact", "--nocapture"])
            .env(ROLE, role);
        Self::run(command)
    }

    /// The real program with the daemon at `socket`.
    fn truemute_top(socket: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_truemute"));
        command.arg("top").arg("--socket").arg(socket);
        Self::run(command)
    }

    fn run(mut command: Command) -> Self {
        let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&screen).expect("granted");
        unlockpt(&screen).expect("unlocked");
        let name = ptsname(&screen, Vec::new()).expect("a name");
        let line = File::options()
            .read(true)
            .write(true)
            .open(name.to_str().expect("a path"))
            .expect("its other side");
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&line, size).expect("a size");
        let side = || Stdio::from(line.try_clone().expect("a descriptor"));
        let process = command
            .env("TERM", "xterm-256color")
            .stdin(side())
            .stdout(side())
            .stderr(side())
            .spawn()
            .expect("this test runs");
        let seen = Arc::new((Mutex::new(vt100::Parser::new(24, 80, 0)), Condvar::new()));
        let (filled, mut output) = (
            Arc::clone(&seen),
            File::from(screen.try_clone().expect("a descriptor")),
        );
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut chunk) {
                filled
                    .0
                    .lock()
                    .expect("not poisoned")
                    .process(&chunk[..length]);
                filled.1.notify_all();
            }
        });
        Self {
            process,
            keyboard: File::from(screen),
            line: line.into(),
            seen,
        }
    }

    /// Waits until `words` stand on the screen.
    fn expect(&self, words: &str) {
        self.wait_for(words, |screen| screen.contents().contains(words));
    }

    fn wait_for(&self, what: &str, holds: impl Fn(&vt100::Screen) -> bool) {
        let end = Instant::now() + DEADLINE;
        let (parser, filled) = &*self.seen;
        let mut parser = parser.lock().expect("not poisoned");
        while !holds(parser.screen()) {
            let left = end.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "{what} did not come: {}",
                parser.screen().contents()
            );
            parser = filled.wait_timeout(parser, left).expect("not poisoned").0;
        }
    }

    fn type_keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("typed");
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("it runs");
    }

    /// Waits for the end, and checks that the person finds the terminal as it was.
    fn ends_in_order(mut self) -> ExitStatus {
        let status = self.end();
        self.wait_for("the person's own screen", |screen| {
            !screen.alternate_screen() && !screen.hide_cursor()
        });
        let modes = tcgetattr(&self.line).expect("modes").local_modes;
        assert!(
            modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG),
            "{modes:?}"
        );
        status
    }

    fn end(&mut self) -> ExitStatus {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.process.try_wait().expect("a child of ours") {
                return status;
            }
            assert!(Instant::now() < end, "top did not end");
            thread::yield_now();
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn m_switches_and_the_reply_is_shown() {
    let mut terminal = Terminal::start("stays");
    terminal.expect("MUTED");
    terminal.type_keys("m");
    terminal.expect("LIVE: from frame 4711 of clock 7 on, after 1.5 ms");
    terminal.type_keys("m");
    terminal.expect("MUTED");
    terminal.type_keys("q");
    assert!(terminal.ends_in_order().success());
}

#[test]
fn the_real_program_shows_clients_and_switches_the_real_gate() {
    let mut rig = Rig::start();
    rig.server.script().clients = vec![observed(1, ClientState::Running)];
    let mut terminal = Terminal::truemute_top(&rig.socket);
    terminal.expect("[X] MUTED [X]");
    terminal.type_keys("m");
    terminal.expect("))) LIVE )))");
    terminal.expect("LIVE: from frame ");
    assert!(rig.server.script().open);
    terminal.type_keys("m");
    terminal.expect("[X] MUTED [X]");
    assert!(!rig.server.script().open);
    rig.stop();
    terminal.expect("UNKNOWN ???  no daemon: state unknown");
    terminal.type_keys("q");
    assert!(terminal.ends_in_order().success());
}

#[test]
fn a_daemon_that_pauses_is_unknown_and_then_known_again() {
    let daemon = RealDaemon::start();
    let mut terminal = Terminal::truemute_top(&daemon.socket());
    terminal.expect("[X] MUTED [X]");
    daemon.signal(Signal::STOP);
    terminal.expect("UNKNOWN ???  no daemon: state unknown");
    daemon.signal(Signal::CONT);
    terminal.expect("[X] MUTED [X]");
    terminal.type_keys("q");
    assert!(terminal.ends_in_order().success());
}

#[test]
fn the_terminal_is_restored_after_ctrl_c() {
    let mut terminal = Terminal::start("stays");
    terminal.expect("MUTED");
    terminal.type_keys("\u{3}");
    assert!(terminal.ends_in_order().success());
}

#[test]
fn the_terminal_is_restored_after_sigterm() {
    let terminal = Terminal::start("stays");
    terminal.expect("MUTED");
    terminal.signal(Signal::TERM);
    assert!(terminal.ends_in_order().success());
}

#[test]
fn the_terminal_is_restored_after_a_panic() {
    let terminal = Terminal::start("panics");
    terminal.ends_in_order();
}

#[test]
fn a_daemon_that_leaves_makes_the_state_unknown() {
    let mut terminal = Terminal::start("leaves");
    terminal.expect("MUTED");
    terminal.expect("UNKNOWN ???  no daemon: state unknown");
    terminal.type_keys("q");
    terminal.ends_in_order();
}

#[test]
fn a_daemon_that_hangs_makes_the_state_unknown() {
    let mut terminal = Terminal::start("hangs");
    terminal.expect("MUTED");
    terminal.expect("UNKNOWN ???  no daemon: state unknown");
    terminal.type_keys("q");
    terminal.ends_in_order();
}

#[test]
fn another_size_is_taken_up() {
    let mut terminal = Terminal::start("stays");
    terminal.expect("MUTED");
    let size = Winsize {
        ws_row: 10,
        ws_col: 40,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&terminal.line, size).expect("a size");
    terminal.signal(Signal::WINCH);
    terminal.expect("m mute/unmute  ? help  q quit");
    terminal.type_keys("q");
    terminal.ends_in_order();
}

#[test]
fn without_a_terminal_the_real_program_exits_with_2() {
    let output = support::truemute(Path::new("/nowhere"), &["top"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(support::stderr(&output).contains("truemute watch"));
}
