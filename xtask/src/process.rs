//! Runs one command with its output in a log file, a live line, a time limit and a clean end: the command gets a process group of
//! its own, and nothing of that group outlives it ([`group`]; on Windows, which has none, what the command started may).

mod group;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How often a running command is looked at, and the live line redrawn.
const TICK: Duration = Duration::from_millis(100);
/// How long a command may go on after it was asked to end.
const GRACE: Duration = Duration::from_secs(5);

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It exited by itself with this code.
    Code(i32),
    /// A signal that did not come from here ended it.
    Signal(i32),
    /// It ran past its time limit and was ended.
    TimedOut(Duration),
    /// The person pressed Ctrl-C, or this process was asked to end.
    Interrupted,
}

impl Ended {
    /// Whether the command did what it was asked to.
    pub(crate) fn ok(self) -> bool {
        self == Self::Code(0)
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "ended by signal {signal}"),
            Self::TimedOut(limit) => write!(f, "ended at its time limit of {} s", limit.as_secs()),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

/// The flag that SIGINT, SIGTERM and SIGHUP set; every running command is ended when it is up.
pub(crate) fn interrupted() -> &'static AtomicBool {
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    FLAG.get_or_init(|| {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [
            signal_hook::consts::SIGINT,
            signal_hook::consts::SIGTERM,
            #[cfg(unix)]
            signal_hook::consts::SIGHUP,
        ] {
            // Without the handler Ctrl-C would end only this process; that is the worst that a failure here can do.
            let _ = signal_hook::flag::register(signal, Arc::clone(&flag));
        }
        flag
    })
}

/// Runs `command` without standard input until it ends or `limit` has passed. What it prints is appended to `log`
/// and given to `on_line` line by line; `on_line(None)` comes once a tick, so that a caller can show time passing.
pub(crate) fn run(
    mut command: Command,
    log: &Path,
    limit: Duration,
    mut on_line: impl FnMut(Option<&str>),
) -> Result<Ended> {
    let mut log_file = File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("cannot open the log {}", log.display()))?;
    writeln!(log_file, "$ {}", describe(&command))?;

    let (reader, writer) = io::pipe()?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    group::lead(&mut command);
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    // The command holds the pipe's writing ends: with it gone the reader sees the end of the output.
    drop(command);

    let lines = read_lines(reader);
    let started = Instant::now();
    let mut stopping: Option<(Ended, Instant)> = None;
    let mut exited: Option<(Ended, Instant)> = None;
    loop {
        match lines.recv_timeout(TICK) {
            Ok(line) => {
                writeln!(log_file, "{line}")?;
                on_line(Some(&line));
            }
            Err(RecvTimeoutError::Timeout) => on_line(None),
            Err(RecvTimeoutError::Disconnected) if exited.is_some() => break,
            // The output was closed before the exit: do not spin while waiting for it.
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(TICK),
        }
        if exited.is_none()
            && let Some(status) = child.try_wait()?
        {
            let ended = match (stopping, status.code()) {
                (Some((why, _)), _) => why,
                (None, Some(code)) => Ended::Code(code),
                (None, None) => Ended::Signal(group::signal(status)),
            };
            exited = Some((ended, Instant::now()));
            if group::end_leftovers(&mut child) {
                writeln!(log_file, "(ended processes that the command left running)")?;
            }
        }
        if let Some((_, at)) = exited {
            // A process outside the group may hold the pipe for ever: what it prints is no longer ours.
            if at.elapsed() > GRACE {
                break;
            }
            continue;
        }
        match stopping {
            None if interrupted().load(Ordering::Relaxed) => {
                stopping = Some((Ended::Interrupted, Instant::now()));
                group::ask_to_end(&mut child);
            }
            None if started.elapsed() > limit => {
                stopping = Some((Ended::TimedOut(limit), Instant::now()));
                group::ask_to_end(&mut child);
            }
            Some((_, at)) if at.elapsed() > GRACE => group::end(&mut child),
            _ => {}
        }
    }
    let ended = exited.map_or(Ended::Interrupted, |(ended, _)| ended);
    writeln!(
        log_file,
        "({ended}, {:.1} s)",
        started.elapsed().as_secs_f64()
    )?;
    Ok(ended)
}

/// The command as a person would type it.
pub(crate) fn describe(command: &Command) -> String {
    let mut words: Vec<String> = command
        .get_envs()
        .filter_map(|(key, value)| {
            Some(format!(
                "{}={}",
                key.display(),
                quote(&value?.to_string_lossy())
            ))
        })
        .collect();
    words.push(quote(&command.get_program().to_string_lossy()));
    words.extend(command.get_args().map(|arg| quote(&arg.to_string_lossy())));
    words.join(" ")
}

fn quote(word: &str) -> String {
    if !word.is_empty()
        && word
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c))
    {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn read_lines(reader: io::PipeReader) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(reader);
        let mut bytes = Vec::new();
        while let Ok(1..) = reader.read_until(b'\n', &mut bytes) {
            let line = String::from_utf8_lossy(&bytes);
            if sender
                .send(line.trim_end_matches(['\n', '\r']).to_owned())
                .is_err()
            {
                break;
            }
            bytes.clear();
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn log(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("truemute-xtask-{}-{name}.log", std::process::id()))
    }

    #[test]
    fn output_and_exit_code_come_back() {
        let log = log("output");
        let mut seen = Vec::new();
        let ended = run(
            shell("echo one; echo two >&2; exit 3"),
            &log,
            Duration::from_secs(20),
            |line| {
                seen.extend(line.map(str::to_owned));
            },
        );
        assert_eq!(ended.unwrap(), Ended::Code(3));
        assert_eq!(seen, ["one", "two"]);
        let logged = std::fs::read_to_string(&log).unwrap();
        assert!(logged.contains("one\ntwo\n(exit code 3"), "{logged}");
        std::fs::remove_file(&log).unwrap();
    }

    #[test]
    fn the_limit_ends_the_whole_group() {
        let log = log("limit");
        let mut inner = None;
        let ended = run(
            shell("sleep 1000 & echo $!; wait"),
            &log,
            Duration::from_millis(300),
            |line| inner = line.and_then(|l| l.parse::<i32>().ok()).or(inner),
        );
        assert_eq!(ended.unwrap(), Ended::TimedOut(Duration::from_millis(300)));
        let inner = inner.expect("the shell prints the pid of its child");
        // A zombie that nobody has reaped yet still has a /proc entry, but no command line.
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::fs::read(format!("/proc/{inner}/cmdline")).is_ok_and(|line| !line.is_empty()) {
            assert!(
                Instant::now() < deadline,
                "process {inner} outlived its group"
            );
            std::thread::yield_now();
        }
        std::fs::remove_file(&log).unwrap();
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        let mut command = Command::new("echo");
        command.arg("it's").env("KEY", "two words");
        assert_eq!(describe(&command), r"KEY='two words' echo 'it'\''s'");
    }
}
