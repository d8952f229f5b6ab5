//! The command line's side of the trace: takes lines from the daemon and writes them to a file or to standard output. A
//! trace that ends in order, also by Ctrl-C, has an end line; one whose daemon died has none.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use super::lines::end_line;
use crate::protocol::TraceLine;
use crate::system;

/// Longest line taken from the daemon. Its longest ones tell of a client, with names of bounded length.
const MAX_LINE: u64 = 64 * 1024;

/// Where a trace goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A file, readable by its owner only: it tells who pulled when.
    File {
        /// Its path.
        path: PathBuf,
        /// Whether a file that stands there is replaced.
        force: bool,
    },
}

impl Target {
    /// What `--out` means: a path, or `-` for standard output.
    pub fn new(out: PathBuf, force: bool) -> Target {
        if out.as_os_str() == "-" {
            Target::Stdout
        } else {
            Target::File { path: out, force }
        }
    }
}

/// What a trace holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Pull lines.
    pub pulls: u64,
    /// Lines that were lost on the way.
    pub lost: u64,
}

/// Why a trace ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The file is there already.
    #[error("{} exists already. Choose another name, or add --force to replace it.", .0.display())]
    Exists(PathBuf),
    /// It cannot be made or written.
    #[error("cannot write the trace to {} ({cause}). Check the place and its free space.", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// The daemon's end of the connection closed.
    #[error(
        "the daemon ended the trace without an end line, after {pulls} pulls. See its log, and start the trace again."
    )]
    Ended {
        /// Pull lines up to then; they are in the file.
        pulls: u64,
    },
    /// The connection broke.
    #[error("the connection to the daemon broke ({0}). Start the trace again.")]
    Connection(io::Error),
    /// The daemon sent something else.
    #[error(
        "the daemon sent a line that is not part of a trace ({0}). Use the same version of truemute for both."
    )]
    Line(String),
}

/// Writes the lines that `daemon` sends until it ends the trace, or until `stop` is set and the next line or the
/// connection's end is there: to stop a wait for a quiet daemon, set `stop`, then shut the connection down.
pub fn write_file<R: Read>(
    daemon: BufReader<R>,
    target: &Target,
    stop: &AtomicBool,
) -> Result<Summary, TraceError> {
    match target {
        Target::Stdout => {
            let path = PathBuf::from("standard output");
            match copy(daemon, io::stdout().lock(), stop) {
                // `truemute trace --out - | head`: the reader has seen enough.
                Err(Failure::Write(cause, summary))
                    if cause.kind() == io::ErrorKind::BrokenPipe =>
                {
                    Ok(summary)
                }
                done => done.map_err(|failure| failure.explain(path)),
            }
        }
        Target::File { path, force } => {
            let file = create(path.clone(), *force)?;
            let done = copy(daemon, &file, stop);
            // Whatever came is worth keeping, also when the end was not in order. What is no file (a pipe) cannot sync.
            let regular = file.metadata().is_ok_and(|found| found.is_file());
            let synced = if regular { file.sync_all() } else { Ok(()) };
            let summary = done.map_err(|failure| failure.explain(path.clone()))?;
            synced.map_err(|cause| TraceError::Write {
                path: path.clone(),
                cause,
            })?;
            Ok(summary)
        }
    }
}

fn create(path: PathBuf, force: bool) -> Result<File, TraceError> {
    let mut options = OpenOptions::new();
    system::with_mode(options.write(true), 0o600);
    if force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    options.open(&path).map_err(|cause| match cause.kind() {
        io::ErrorKind::AlreadyExists => TraceError::Exists(path),
        _ => TraceError::Write { path, cause },
    })
}

#[derive(Debug)]
enum Failure {
    Write(io::Error, Summary),
    Other(TraceError),
}

impl Failure {
    fn explain(self, path: PathBuf) -> TraceError {
        match self {
            Failure::Write(cause, _) => TraceError::Write { path, cause },
            Failure::Other(error) => error,
        }
    }
}

fn copy<R: Read>(
    mut daemon: BufReader<R>,
    out: impl Write,
    stop: &AtomicBool,
) -> Result<Summary, Failure> {
    let mut out = BufWriter::new(out);
    let mut summary = Summary::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = daemon.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        let stopped = stop.load(Ordering::Acquire);
        let whole = line.last() == Some(&b'\n');
        match read {
            Err(_) if stopped => return end(out, summary),
            Err(cause) => return finish(out, summary, TraceError::Connection(cause)),
            Ok(_) if !whole && stopped => return end(out, summary),
            Ok(_) if !whole && (line.len() as u64) < MAX_LINE => {
                let pulls = summary.pulls;
                return finish(out, summary, TraceError::Ended { pulls });
            }
            Ok(_) => {}
        }
        let parsed = match serde_json::from_slice(&line) {
            Ok(parsed) => parsed,
            Err(cause) => return finish(out, summary, TraceError::Line(cause.to_string())),
        };
        out.write_all(&line)
            .map_err(|cause| Failure::Write(cause, summary))?;
        match parsed {
            TraceLine::Pull { .. } => summary.pulls += 1,
            TraceLine::Lost { lines } => summary.lost += lines,
            TraceLine::End { .. } => {
                out.flush()
                    .map_err(|cause| Failure::Write(cause, summary))?;
                return Ok(summary);
            }
            TraceLine::Start { .. }
            | TraceLine::Client { .. }
            | TraceLine::Bypass { .. }
            | TraceLine::Gate { .. } => {}
        }
        if stopped {
            return end(out, summary);
        }
        if !daemon.buffer().contains(&b'\n') {
            // No further line has come yet: let a reader of the file see what is there.
            out.flush()
                .map_err(|cause| Failure::Write(cause, summary))?;
        }
    }
}

/// Ends in order, from our side.
fn end(mut out: impl Write, summary: Summary) -> Result<Summary, Failure> {
    let written = serde_json::to_writer(&mut out, &end_line(summary.pulls, summary.lost))
        .map_err(io::Error::from)
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush());
    written.map_err(|cause| Failure::Write(cause, summary))?;
    Ok(summary)
}

/// Ends out of order: keeps what has come.
fn finish(mut out: impl Write, summary: Summary, error: TraceError) -> Result<Summary, Failure> {
    out.flush()
        .map_err(|cause| Failure::Write(cause, summary))?;
    Err(Failure::Other(error))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::thread;

    use super::*;

    const START: &str = r#"{"event":"start","schema":1,"monotonic_ns":5,"time":"2026-11-22T09:00:00Z","version":"0.1.0","instance":1}"#;
    const PULL: &str = r#"{"event":"pull","monotonic_ns":6,"time":"2026-11-22T09:00:00Z","client":1,"position":0,"frames":480,"live":false,"flagged":false}"#;
    const LOST: &str = r#"{"event":"lost","lines":4}"#;
    const END: &str =
        r#"{"event":"end","monotonic_ns":9,"time":"2026-11-22T09:00:01Z","pulls":1,"lost":4}"#;

    fn target(force: bool) -> (tempfile::TempDir, Target, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("trace.jsonl");
        let target = Target::new(path.clone(), force);
        (directory, target, path)
    }

    fn write(lines: &[&str], target: &Target, stop: bool) -> Result<Summary, TraceError> {
        let text = lines
            .iter()
            .map(|line| format!("{line}\n"))
            .collect::<String>();
        write_file(
            BufReader::new(text.as_bytes()),
            target,
            &AtomicBool::new(stop),
        )
    }

    #[test]
    fn a_trace_is_written_as_it_came() {
        let (_directory, target, path) = target(false);
        let summary = write(&[START, PULL, LOST, END], &target, false).unwrap();
        assert_eq!(summary, Summary { pulls: 1, lost: 4 });
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!("{START}\n{PULL}\n{LOST}\n{END}\n")
        );
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn a_file_is_only_replaced_with_force() {
        let (_directory, target, path) = target(false);
        fs::write(&path, "precious").unwrap();
        let refused = write(&[START, END], &target, false).unwrap_err();
        assert!(matches!(refused, TraceError::Exists(_)), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        write(&[START, END], &Target::new(path.clone(), true), false).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!("{START}\n{END}\n")
        );
    }

    #[test]
    fn a_daemon_that_dies_leaves_a_trace_without_an_end() {
        let (_directory, target, path) = target(false);
        let error = write(&[START, PULL], &target, false).unwrap_err();
        assert!(matches!(error, TraceError::Ended { pulls: 1 }), "{error}");
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!("{START}\n{PULL}\n")
        );
    }

    #[test]
    fn garbage_is_refused_and_what_came_before_kept() {
        let long = "x".repeat(200_000);
        for garbage in ["nonsense", "{}", r#"{"event":"boom"}"#, long.as_str()] {
            let (_directory, target, path) = target(false);
            let error = write(&[START, garbage, END], &target, false).unwrap_err();
            assert!(matches!(error, TraceError::Line(_)), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{START}\n"));
        }
    }

    #[test]
    fn a_stop_while_the_daemon_is_quiet_ends_in_order() {
        let (_directory, target, path) = target(false);
        let (ours, mut daemons) = UnixStream::pair().unwrap();
        daemons
            .write_all(format!("{START}\n{PULL}\n{{\"event\":\"pu").as_bytes())
            .unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let reader = BufReader::new(ours.try_clone().unwrap());
        let writer = thread::spawn({
            let stop = Arc::clone(&stop);
            move || write_file(reader, &target, &stop)
        });
        // Lines are in the file while the trace goes on.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while fs::read_to_string(&path).unwrap_or_default() != format!("{START}\n{PULL}\n") {
            assert!(std::time::Instant::now() < deadline, "the lines never came");
            thread::yield_now();
        }
        stop.store(true, Ordering::Release);
        ours.shutdown(std::net::Shutdown::Both).unwrap();
        assert_eq!(
            writer.join().unwrap().unwrap(),
            Summary { pulls: 1, lost: 0 }
        );
        let text = fs::read_to_string(&path).unwrap();
        let last: TraceLine = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert!(
            matches!(
                last,
                TraceLine::End {
                    pulls: 1,
                    lost: 0,
                    ..
                }
            ),
            "{text}"
        );
        assert_eq!(text.lines().count(), 3);
    }

    #[test]
    fn a_full_disk_is_an_error_with_a_remedy() {
        let target = Target::new("/dev/full".into(), true);
        let error = write(&[START, PULL, END], &target, false).unwrap_err();
        assert!(error.to_string().contains("free space"), "{error}");
    }
}
