//! The real program as a service: its socket, a second one, its end, and what it does without an audio server.

mod support;

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rustix::process::Signal;
use support::{RealDaemon, SOON, daemon_command, socket_in, stderr, truemute, wait_for};
use truemute::protocol::{GateState, Status, Switched};

fn run_to_its_end(mut command: Command) -> Output {
    command.output().unwrap()
}

#[test]
fn without_an_audio_server_it_says_so_and_stays_muted() {
    let daemon = RealDaemon::start();
    let output = daemon.truemute(&["status", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let status: Status = serde_json::from_slice(&output.stdout).unwrap();
    assert!(!status.connected);
    assert_eq!(status.gate, GateState::Muted);
    assert_eq!(status.reason, "no_server");
    assert_eq!(status.daemon_pid, daemon.child.id());

    let muted = daemon.truemute(&["mute", "--json"]);
    let muted: Switched = serde_json::from_slice(&muted.stdout).unwrap();
    assert_eq!(muted.gate, GateState::Muted);
    // At first it is still connecting.
    wait_for("PipeWire is missed", || {
        let unmute = daemon.truemute(&["unmute"]);
        assert_eq!(unmute.status.code(), Some(1));
        stderr(&unmute).contains("PipeWire").then_some(())
    });

    let said = String::from_utf8(daemon.truemute(&["doctor"]).stdout).unwrap();
    assert!(said.contains("not connected"), "{said}");
    // Without a server there is no audio thread to judge.
    assert!(!said.contains("real-time"), "{said}");
}

#[test]
fn the_doctor_says_what_is_wrong_and_fails() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_truemute"))
        .arg("doctor")
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("XDG_RUNTIME_DIR", dir.path())
        .env("HOME", dir.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    for part in ["No daemon answers", "truemute install", "PipeWire"] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn the_socket_is_its_users_alone() {
    let daemon = RealDaemon::start();
    let socket = fs::metadata(daemon.socket()).unwrap();
    assert!(socket.file_type().is_socket());
    assert_eq!(socket.mode() & 0o777, 0o600);
    let folder = fs::metadata(daemon.socket().parent().unwrap()).unwrap();
    assert_eq!(folder.mode() & 0o777, 0o700);
}

#[test]
fn a_second_daemon_is_refused_and_the_first_goes_on() {
    let daemon = RealDaemon::start();
    let second = run_to_its_end(daemon_command(daemon.dir.path()));
    assert_eq!(second.status.code(), Some(1));
    assert!(
        stderr(&second).contains("Another daemon"),
        "{}",
        stderr(&second)
    );
    assert!(daemon.truemute(&["status"]).status.success());
}

#[test]
fn it_ends_in_order_on_signals() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut daemon = RealDaemon::start();
        daemon.signal(signal);
        let ended = wait_for("the end", || daemon.child.try_wait().unwrap());
        assert_eq!(ended.code(), Some(0), "{signal:?}");
        assert!(!daemon.socket().exists(), "{signal:?}");
        assert_eq!(daemon.truemute(&["status"]).status.code(), Some(3));
    }
}

#[test]
fn what_a_killed_daemon_left_is_replaced() {
    let mut daemon = RealDaemon::start();
    daemon.child.kill().unwrap();
    daemon.child.wait().unwrap();
    assert!(daemon.socket().exists());
    assert_eq!(daemon.truemute(&["mute"]).status.code(), Some(3));

    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("truemute")).unwrap();
    drop(UnixListener::bind(socket_in(dir.path())).unwrap());
    let daemon = RealDaemon::start_in(dir);
    assert!(daemon.truemute(&["status"]).status.success());
}

#[test]
fn nothing_but_a_socket_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("truemute")).unwrap();
    fs::write(socket_in(dir.path()), "precious").unwrap();
    let output = run_to_its_end(daemon_command(dir.path()));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("is no socket"));
    assert_eq!(fs::read(socket_in(dir.path())).unwrap(), b"precious");
}

#[test]
fn a_folder_that_others_can_write_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("truemute");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, PermissionsExt::from_mode(0o777)).unwrap();
    let output = run_to_its_end(daemon_command(dir.path()));
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("open to others"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn bad_configurations_stop_it_with_file_line_and_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bad.toml");
    let refused = |path: &Path, parts: &[&str]| {
        let mut command = daemon_command(dir.path());
        command.arg("--config").arg(path);
        let output = run_to_its_end(command);
        assert_eq!(output.status.code(), Some(1));
        let text = stderr(&output);
        for part in parts {
            assert!(text.contains(part), "{text:?} lacks {part:?}");
        }
        assert!(!socket_in(dir.path()).exists());
    };
    refused(&dir.path().join("missing.toml"), &["missing.toml"]);
    for (text, parts) in [
        ("\nstrat = \"live\"\n", ["bad.toml:2", "strat"]),
        ("retention_days = \"x\"\n", ["bad.toml:1", "Correct"]),
        ("\u{0}\u{1}garbage", ["bad.toml:1", "Correct"]),
    ] {
        fs::write(&file, text).unwrap();
        refused(&file, &parts);
    }
    fs::write(&file, vec![b'a'; 10_000_000]).unwrap();
    refused(&file, &["64 KiB"]);

    // The user's own file is read without being named, and is as strict.
    fs::create_dir_all(dir.path().join("config/truemute")).unwrap();
    fs::write(dir.path().join("config/truemute/config.toml"), "x = 1").unwrap();
    let output = run_to_its_end(daemon_command(dir.path()));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("config.toml:1"));
}

#[test]
fn without_a_runtime_directory_it_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = daemon_command(dir.path());
    command.env_remove("XDG_RUNTIME_DIR");
    let output = run_to_its_end(command);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--socket"));

    let mut asks = Command::new(env!("CARGO_BIN_EXE_truemute"));
    asks.arg("status").env_remove("TRUEMUTE_SOCKET");
    let output = asks.env_remove("XDG_RUNTIME_DIR").output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("--socket"));
}

#[test]
fn a_path_that_no_socket_can_have_is_told_as_that() {
    let too_long = PathBuf::from("/tmp").join("x".repeat(200));
    for path in [Path::new("/etc/passwd/x"), &too_long] {
        let output = truemute(path, &["status"]);
        assert_eq!(output.status.code(), Some(1));
        let text = stderr(&output);
        assert!(
            text.contains("cannot be a socket") && text.contains("--socket"),
            "{text}"
        );
    }
}

#[test]
fn the_service_manager_is_told_of_readiness_life_and_end() {
    let dir = tempfile::tempdir().unwrap();
    let notify = dir.path().join("notify");
    let manager = UnixDatagram::bind(&notify).unwrap();
    manager.set_read_timeout(Some(SOON)).unwrap();
    let next = || {
        let mut bytes = [0; 256];
        let count = manager.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..count]).trim().to_owned()
    };
    let mut command = daemon_command(dir.path());
    let mut child = command
        .env("NOTIFY_SOCKET", &notify)
        .env("WATCHDOG_USEC", "300000")
        .spawn()
        .unwrap();
    let mut seen = Vec::new();
    while !(seen.contains(&"READY=1".to_owned())
        && seen.iter().filter(|line| *line == "WATCHDOG=1").count() >= 3)
    {
        seen.push(next());
    }
    assert!(
        truemute(&socket_in(dir.path()), &["status"])
            .status
            .success()
    );
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    // And that nobody feeds its watchdog while it ends.
    while next() != "STOPPING=1\nWATCHDOG_USEC=10000000" {}
    let mut log = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut log)
        .unwrap();
    assert!(child.wait().unwrap().success(), "{log}");
}
