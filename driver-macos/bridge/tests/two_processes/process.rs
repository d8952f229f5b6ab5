//! The other process, and what a plug-in in it tells.

use crate::ear::until;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A process of `rehearsal/main.rs`; killed when dropped.
pub(crate) struct Other {
    pub(crate) child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bridge-rehearsal"));
    command.args(arguments);
    command
}

/// This process's user.
pub(crate) fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

impl Other {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            input,
            output,
        }
    }

    /// A plug-in that lets this user in.
    pub(crate) fn plugin(folder: &Path) -> Self {
        let mut plugin = Self::start(command(&[
            "plugin",
            folder.to_str().unwrap(),
            &user().to_string(),
        ]));
        assert_eq!(plugin.line(), "ready");
        plugin
    }

    /// An agent whose frames carry `tag`.
    pub(crate) fn agent(folder: &Path, tag: u32) -> Self {
        let (tag, user) = (tag.to_string(), user().to_string());
        Self::start(command(&["agent", folder.to_str().unwrap(), &tag, &user]))
    }

    /// The next line that it says; empty at its end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Stops it, and returns when it stands still.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
        let pid = Some(Pid::from_child(&self.child));
        let (_, status) = waitpid(pid, WaitOptions::UNTRACED).unwrap().unwrap();
        assert!(status.stopped(), "{status:?}");
    }

    /// What a plug-in heard: it has to be alive for that.
    pub(crate) fn heard(&mut self) -> Heard {
        self.input.write_all(b"\n").unwrap();
        let line = self.line();
        assert!(line.starts_with("live="), "the plug-in is gone: {line:?}");
        Heard(line)
    }

    /// Waits until it heard something of this kind.
    pub(crate) fn until(&mut self, what: &str, is: impl Fn(&Heard) -> bool) -> Heard {
        until(what, || Some(self.heard()).filter(&is))
    }

    /// Some reads later, all of them zeros: not one of the reads from now on is live.
    pub(crate) fn stays_silent(&mut self) {
        let before = self.heard();
        let after = self.until("more reads", |it| {
            it.number("silent") + it.number("live")
                > before.number("silent") + before.number("live") + 100
        });
        assert_eq!(after.number("live"), before.number("live"), "{after:?}");
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A line of a plug-in.
#[derive(Debug)]
pub(crate) struct Heard(String);

impl Heard {
    pub(crate) fn word(&self, name: &str) -> &str {
        let value = self.0.split_once(&format!("{name}=")).unwrap().1;
        // Only the last one has spaces in it.
        if name == "why" {
            value
        } else {
            value.split_whitespace().next().unwrap()
        }
    }

    pub(crate) fn number(&self, name: &str) -> u64 {
        self.word(name).parse().unwrap()
    }

    pub(crate) fn is_live(&self, tag: u64) -> bool {
        self.number("live") > 0 && self.number("tag") == tag
    }

    /// Every read was the right frames or zeros.
    pub(crate) fn nothing_wrong(&self) {
        assert_eq!(
            (self.number("leaks"), self.number("foreign")),
            (0, 0),
            "{self:?}"
        );
    }
}
