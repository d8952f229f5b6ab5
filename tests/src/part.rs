//! Tests that need another process: a part of the same test, which is started by name, given a folder, and killed.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long anything may take.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Names the folder to a process that plays a part.
const FOLDER: &str = "TRUEMUTE_TEST_FOLDER";

/// The folder that this process plays a part in; nothing if it was started by somebody else than [`Part::start`].
pub fn folder() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

/// Waits until something is found.
///
/// # Panics
/// It is not found within [`LIMIT`].
pub fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "no {what} within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Another process of this test, that plays a part: an ignored test of this name. Killed when it is dropped.
pub struct Part(Child);

impl Part {
    /// Starts it.
    ///
    /// # Panics
    /// The system gives no process.
    pub fn start(part: &str, folder: &Path) -> Part {
        let child = Command::new(std::env::current_exe().expect("this program has a path"))
            .args([part, "--exact", "--ignored", "--nocapture"])
            .env(FOLDER, folder)
            .stdout(Stdio::piped())
            .spawn();
        Part(child.expect("it starts"))
    }

    /// The lines that it prints, as they come.
    ///
    /// # Panics
    /// They were asked for before.
    pub fn lines(&mut self) -> Receiver<String> {
        let stdout = self.0.stdout.take().expect("asked for once");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        lines
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // SIGKILL.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
