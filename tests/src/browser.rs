//! Real browsers without a window, on a private server, each with a profile of its own that reaches no network.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Pid;
use truemute_pipewire::rehearsal::{PrivateServer, Program, find_program};

/// Which browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Browser {
    /// Chromium.
    Chromium,
    /// Firefox, the release with extended support.
    Firefox,
}

/// A browser that shows one page. Dropping it ends it.
pub struct RunningBrowser {
    program: Program,
    log: PathBuf,
}

impl Browser {
    /// Its executable, which is also its Debian package.
    pub fn program(self) -> &'static str {
        match self {
            Browser::Chromium => "chromium",
            Browser::Firefox => "firefox-esr",
        }
    }

    /// Whether it is installed; prints why a test is skipped if not.
    ///
    /// # Panics
    /// If it is not and `TRUEMUTE_REQUIRE_BROWSERS` is set, so that CI never skips.
    pub fn is_there(self) -> bool {
        let there = find_program(self.program()).is_some();
        if !there {
            let reason = format!("{} is not installed", self.program());
            assert!(
                std::env::var_os("TRUEMUTE_REQUIRE_BROWSERS").is_none(),
                "{reason}"
            );
            println!("SKIPPED: {reason}");
        }
        there
    }

    /// What it calls itself, with its version.
    pub fn version(self, server: &PrivateServer) -> String {
        let output = server.command(self.program()).arg("--version").output();
        output.map_or_else(
            |error| error.to_string(),
            |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        )
    }

    /// Opens `url` in a new profile that lets pages record and play without asking.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn open(self, server: &PrivateServer, url: &str) -> RunningBrowser {
        let profile = server.directory().join(self.program());
        self.open_with(server.command(self.program()), &profile, url)
    }

    /// [`Browser::open`] with a `command` of [`Browser::program`] that leads to a server already; `profile` is the place of
    /// the new profile.
    ///
    /// # Panics
    /// As [`Browser::open`], and if there is something at that place.
    pub fn open_with(self, mut command: Command, profile: &Path, url: &str) -> RunningBrowser {
        fs::create_dir(profile).expect("a profile can be made");
        let log = profile.with_extension("log");
        let output = File::create(&log).expect("a log can be made");
        let errors = output.try_clone().expect("a log can be shared");
        match self {
            Browser::Chromium => chromium(&mut command, profile.as_os_str()),
            Browser::Firefox => {
                fs::write(profile.join("user.js"), FIREFOX).expect("a profile can be written");
                command
                    .args(["--headless", "--no-remote", "--new-instance", "--profile"])
                    .arg(profile);
            }
        }
        command.arg(url).stdout(output).stderr(errors);
        let program = Program::start(command).expect("a browser can be started");
        RunningBrowser { program, log }
    }
}

impl RunningBrowser {
    /// Process id of the browser itself.
    ///
    /// # Panics
    /// If the kernel gave it the id 0.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.program.id().cast_signed()).expect("a child has a process id")
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

fn chromium(command: &mut Command, profile: &OsStr) {
    let mut directory = std::ffi::OsString::from("--user-data-dir=");
    directory.push(profile);
    command.arg(directory).args([
        "--headless=new",
        "--disable-gpu",
        "--no-first-run",
        "--no-default-browser-check",
        // Answers the question for the microphone with yes. (The flag for a fake device is another.)
        "--use-fake-ui-for-media-stream",
        "--autoplay-policy=no-user-gesture-required",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-breakpad",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--password-store=basic",
    ]);
    if rustix::process::geteuid().is_root() {
        // Its sandbox refuses root.
        command.arg("--no-sandbox");
    }
}

/// Preferences: record and play without asking, no first-run pages, no look-ups of names.
const FIREFOX: &str = r#"
user_pref("media.navigator.permission.disabled", true);
user_pref("media.autoplay.default", 0);
user_pref("media.autoplay.blocking_policy", 0);
user_pref("network.dns.disabled", true);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("app.normandy.enabled", false);
user_pref("app.update.auto", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("toolkit.telemetry.reportingpolicy.firstRun", false);
user_pref("browser.aboutwelcome.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("browser.startup.page", 0);
user_pref("browser.safebrowsing.update.enabled", false);
"#;
