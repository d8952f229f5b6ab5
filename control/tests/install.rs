//! What `truemute install` and `uninstall` ask of systemd, and in what order. A script stands in for systemctl and writes down
//! what it is asked: a test machine has no systemd of the user's.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// Says yes to all, but that the unit is not enabled, and that there is no pipewire-pulse.
const SYSTEMCTL: &str = r#"#!/bin/sh
echo "$*" >> "$HOME/asked"
case "$2 $3" in
"is-enabled "* | "cat pipewire-pulse"*) exit 1 ;;
esac
"#;

struct Home {
    place: TempDir,
}

impl Home {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let bin = place.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let script = bin.join("systemctl");
        fs::write(&script, SYSTEMCTL).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        Self { place }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        // No PipeWire answers, and no WirePlumber is found.
        Command::new(env!("CARGO_BIN_EXE_truemute"))
            .args(arguments)
            .env_clear()
            .env("HOME", self.place.path())
            .env("PATH", self.path("bin"))
            .output()
            .unwrap()
    }

    /// What systemctl was asked for, less what only looks.
    fn asked(&self, arguments: &[&str]) -> Vec<String> {
        let log = self.path("asked");
        let _ = fs::remove_file(&log);
        let output = self.run(arguments);
        assert!(output.status.success(), "{output:?}");
        let text = fs::read_to_string(&log).unwrap();
        let looks = ["show-environment", "is-enabled", "cat"];
        let all = text
            .lines()
            .map(|line| line.strip_prefix("--user ").unwrap());
        all.filter(|line| !looks.iter().any(|look| line.starts_with(look)))
            .map(str::to_owned)
            .collect()
    }
}

#[test]
fn systemd_is_told_what_has_to_be_done() {
    let home = Home::new();
    assert_eq!(home.asked(&["install", "--dry-run"]), [""; 0]);
    let unit = home.path(".config/systemd/user/truemute.service");
    assert!(!unit.exists());

    let enable = "enable truemute.service";
    assert_eq!(home.asked(&["install"]), ["daemon-reload", enable]);
    let text = fs::read_to_string(&unit).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_truemute"));
    assert!(text.contains(&format!("ExecStart=\"{}\" daemon\n", program.display())));

    let server = "pipewire.socket pipewire.service wireplumber.service";
    assert_eq!(
        home.asked(&["install", "--restart"]),
        [
            enable,
            &format!("stop {server}"),
            &format!("start {server}"),
            "restart truemute.service"
        ]
    );
    assert_eq!(
        home.asked(&["uninstall", "--restart"]),
        [
            "disable --now truemute.service",
            "daemon-reload",
            &format!("stop {server}"),
            &format!("start {server}"),
        ]
    );
    assert!(!home.path(".config").exists());
    assert_eq!(home.asked(&["uninstall"]), ["daemon-reload"]);
}

#[test]
fn what_is_locked_is_not_uninstalled() {
    let home = Home::new();
    home.asked(&["install"]);
    let unit = home.path(".config/systemd/user/truemute.service");
    let lock = home.path(".local/state/truemute/locked");
    for content in ["locked\n", "damaged"] {
        fs::write(&lock, content).unwrap();
        let output = home.run(&["uninstall"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("truemute unlock"), "{said}");
        assert!(lock.exists() && unit.exists());
    }
    fs::remove_file(&lock).unwrap();
    home.asked(&["uninstall"]);
    assert!(!unit.exists());
}
