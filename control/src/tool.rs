//! Asks another program of the system: starts it, reads all it says, and does not wait for ever.

use std::io::{self, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What a program said.
#[derive(Debug)]
pub(crate) struct Said {
    /// How it ended; nothing if it was ended because it took too long.
    pub(crate) status: Option<ExitStatus>,
    /// Standard output.
    pub(crate) output: Vec<u8>,
    /// Standard error, on one line.
    pub(crate) errors: String,
}

impl Said {
    /// Whether it ended well.
    pub(crate) fn is_good(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// Standard output as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }
}

/// Runs `command` for at most `limit`.
///
/// # Errors
/// It cannot be started: most often it is not installed.
pub(crate) fn ask(mut command: Command, limit: Duration) -> io::Result<Said> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let read = |stream: Option<Box<dyn Read + Send>>| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut stream) = stream {
                // What cannot be read is missing in what is made of it.
                let _ = stream.read_to_end(&mut bytes);
            }
            bytes
        })
    };
    let output = read(child.stdout.take().map(|stream| Box::new(stream) as _));
    let errors = read(child.stderr.take().map(|stream| Box::new(stream) as _));
    let deadline = Instant::now() + limit;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(10)),
            Ok(None) | Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
        }
    };
    let errors = errors.join().unwrap_or_default();
    Ok(Said {
        status,
        output: output.join().unwrap_or_default(),
        errors: String::from_utf8_lossy(&errors).trim().replace('\n', ", "),
    })
}
