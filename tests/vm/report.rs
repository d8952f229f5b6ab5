//! What is said to the host: each check with how it ended, the system's versions, and the journal.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

/// How a check came out when it did not pass.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// TrueMute, or the check itself, is at fault.
    Failed(String),
    /// It cannot be tried here.
    Impossible(String),
}

/// What a check saw.
pub(crate) type Seen = Result<String, Trouble>;

impl From<String> for Trouble {
    fn from(what: String) -> Self {
        Self::Failed(what)
    }
}

impl From<&str> for Trouble {
    fn from(what: &str) -> Self {
        Self::Failed(what.to_owned())
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// The way to the host.
pub(crate) struct Report {
    line: File,
}

impl Report {
    /// The second serial port.
    pub(crate) fn open() -> io::Result<Self> {
        let line = OpenOptions::new().write(true).open("/dev/ttyS1")?;
        Ok(Self { line })
    }

    /// Makes one check and says how it ended; returns whether what needs it can go on.
    pub(crate) fn check(&mut self, name: &str, check: impl FnOnce() -> Seen) -> bool {
        let (result, detail) = match check() {
            Ok(seen) => ("pass", seen),
            Err(Trouble::Failed(what)) => ("fail", what),
            Err(Trouble::Impossible(why)) => ("not possible", why),
        };
        self.say(&json!({ "check": name, "result": result, "detail": detail }));
        result != "fail"
    }

    /// Says which versions are looked at.
    pub(crate) fn system(&mut self) {
        let ask = |program: &str, argument: &str| {
            let output = Command::new(program).arg(argument).output();
            String::from_utf8_lossy(&output.map(|it| it.stdout).unwrap_or_default()).into_owned()
        };
        let last = |text: &str, at: usize| {
            let line = text.lines().nth(at).unwrap_or_default();
            line.rsplit(' ').next().unwrap_or_default().to_owned()
        };
        let system = format!(
            "Debian {}, Linux {}, systemd {}, PipeWire {}, WirePlumber {}, {} emulated cores.",
            std::fs::read_to_string("/etc/debian_version")
                .unwrap_or_default()
                .trim(),
            ask("uname", "-r").trim(),
            ask("systemctl", "--version")
                .split(' ')
                .nth(1)
                .unwrap_or_default(),
            last(&ask("pipewire", "--version"), 1),
            last(&ask("wireplumber", "--version"), 1),
            std::thread::available_parallelism().map_or(0, usize::from),
        );
        self.say(&json!({ "system": system }));
    }

    /// Says that nothing more comes.
    pub(crate) fn complete(&mut self) {
        self.say(&json!({ "complete": true }));
    }

    /// Sends the journal over the third serial port: for whoever looks for the cause of a failure.
    pub(crate) fn journal(&self) {
        let sent = OpenOptions::new()
            .write(true)
            .open("/dev/ttyS2")
            .and_then(|line| {
                Command::new("journalctl")
                    .args(["--boot", "--no-pager", "--output=short-monotonic"])
                    .stdout(Stdio::from(line))
                    .status()
            });
        if let Err(error) = sent {
            eprintln!("cannot send the journal: {error}");
        }
    }

    fn say(&mut self, value: &Value) {
        if let Err(error) = writeln!(self.line, "{value}") {
            eprintln!("cannot say {value}: {error}");
        }
    }
}
