//! The administrator's policy as the real daemon reads it: `/etc/truemute/policy.toml` and no other path. This takes root and
//! a file system of the daemon's own, in which another folder is /etc.
#![cfg(target_os = "linux")]

mod support;

use std::ffi::CString;
use std::fs::{self, Permissions};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use support::{RealDaemon, daemon_command, socket_in, stderr, wait_for};
use truemute::api::Client;
use truemute::protocol::{Forced, GateState, Status};

/// A daemon that finds this folder, in place of the machine's, as /etc; nothing, with a reason, where that cannot be had.
fn daemon_with(dir: &Path) -> Option<Command> {
    let mut probe = Command::new("true");
    if !changes_etc(&mut probe, dir)
        .status()
        .is_ok_and(|it| it.success())
    {
        println!("SKIPPED: it takes root and a mount namespace");
        return None;
    }
    let mut command = daemon_command(dir);
    changes_etc(&mut command, dir);
    Some(command)
}

fn changes_etc<'a>(command: &'a mut Command, dir: &Path) -> &'a mut Command {
    let etc = CString::new(dir.join("etc").as_os_str().as_bytes()).unwrap();
    let mount = move || -> io::Result<()> {
        // SAFETY: nothing but the mounts is unshared: descriptors stay as they are.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
        mount_change(
            c"/",
            MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
        )?;
        Ok(mount_bind(&*etc, c"/etc")?)
    };
    // SAFETY: `mount` makes system calls only, on paths that were made before the fork.
    unsafe { command.pre_exec(mount) }
}

/// The policy of an administrator: its folder is nobody else's.
fn write(dir: &Path, policy: impl AsRef<[u8]>) -> PathBuf {
    let folder = dir.join("etc/truemute");
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    let file = folder.join("policy.toml");
    fs::write(&file, policy).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    file
}

#[test]
fn a_bad_policy_stops_the_daemon_with_file_line_and_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "");
    let Some(mut command) = daemon_with(dir.path()) else {
        return;
    };
    let mut refused = |parts: &[&str]| {
        let mut daemon = command.spawn().unwrap();
        let ended = wait_for("an end", || {
            // One that took the policy would serve.
            let serves = socket_in(dir.path()).exists();
            if serves {
                daemon.kill().unwrap();
            }
            assert!(!serves, "it took the policy: {parts:?}");
            daemon.try_wait().unwrap()
        });
        let mut text = String::new();
        let mut said = daemon.stderr.take().unwrap();
        said.read_to_string(&mut text).unwrap();
        assert_eq!(ended.code(), Some(1), "{text}");
        for part in ["/etc/truemute/policy.toml"].iter().chain(parts) {
            assert!(text.contains(part), "{text:?} lacks {part:?}");
        }
    };
    for (text, parts) in [
        ("\nstrat = \"live\"\n", &["policy.toml:2", "strat"]),
        ("retention_days = 0\n", &["policy.toml:1", "Correct"]),
        ("\u{0}\u{1}garbage", &["policy.toml:1", "Correct"]),
    ] {
        fs::write(&file, text).unwrap();
        refused(parts);
    }
    fs::write(&file, vec![b'a'; 10_000_000]).unwrap();
    refused(&["64 KiB"]);
    write(dir.path(), "start = \"muted\"\n");
    fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
    refused(&["root"]);
}

#[test]
fn what_the_policy_says_holds_whatever_the_user_wants() {
    let dir = tempfile::tempdir().unwrap();
    let policy = "start = \"muted\"\nwhile_muted = \"hold\"\nallowed_real_mics = [\"theirs\"]\nretention_days = 7\nlocked = true\n";
    write(dir.path(), policy);
    let own = dir.path().join("config/truemute");
    fs::create_dir_all(&own).unwrap();
    let wanted =
        "start = \"live\"\nwhile_muted = \"release\"\nretention_days = 30\nreal_mic = \"mine\"\n";
    fs::write(own.join("config.toml"), wanted).unwrap();
    let Some(mut command) = daemon_with(dir.path()) else {
        return;
    };
    let child = command.spawn().unwrap();
    let daemon = RealDaemon { dir, child };
    wait_for("the daemon serves", || {
        Client::connect(&daemon.socket()).ok()
    });
    let output = daemon.truemute(&["status", "--json"]);
    let status: Status = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((status.gate, status.locked), (GateState::Muted, true));
    let forced = policy.lines().map(|line| {
        let (key, value) = line.split_once(" = ").unwrap();
        Forced {
            key: key.to_owned(),
            value: value.to_owned(),
        }
    });
    assert_eq!(status.forced, forced.collect::<Vec<_>>());
    let warned = |it: &String| it.contains("mine") && it.contains("allowed_real_mics");
    assert!(status.warnings.iter().any(warned), "{:?}", status.warnings);
    let unmute = daemon.truemute(&["unmute"]);
    assert_eq!(unmute.status.code(), Some(1), "{}", stderr(&unmute));
    assert!(
        stderr(&unmute).contains("administrator"),
        "{}",
        stderr(&unmute)
    );
}
