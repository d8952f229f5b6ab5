//! The host for the macOS plug-in, `hal-host` (tests/hal-host/, in C): compiled once a test program, run as one of its checks or
//! as a conversation. What a plug-in has to do is judged there; here is only how it is started and what it said.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// The compiler with its flags. AddressSanitizer's step names one that instruments.
const COMPILER: &str = "TRUEMUTE_HOST_CC";

/// What the plug-in's Info.plist names as its factory.
pub const FACTORY: &str = "TrueMute_Create";

/// The plug-in as a shared object, which lies beside the tests that depend on it.
///
/// # Panics
/// If it is not there.
pub fn plugin() -> PathBuf {
    let own = std::env::current_exe().expect("a program has an executable");
    let beside = own.with_file_name("libtruemute_hal.so");
    // Cargo leaves it there when it builds no more than a program that depends on it.
    let below = own.with_file_name("deps").join("libtruemute_hal.so");
    let found = [&beside, &below].into_iter().find(|file| file.exists());
    let missing = format!("{} is missing; build the workspace", beside.display());
    found.expect(&missing).clone()
}

/// The compiled host.
///
/// # Panics
/// If the compiler fails or warns.
pub fn host() -> &'static Path {
    static HOST: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, host) = HOST.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder for the host");
        let host = folder.path().join("hal-host");
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("hal-host");
        let compiler = std::env::var(COMPILER).unwrap_or_else(|_| "cc".to_owned());
        let mut words = compiler.split_whitespace();
        let mut command = Command::new(words.next().expect("a compiler is named"));
        command.args(words).args([
            "-std=gnu11",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-O1",
            "-g",
            "-rdynamic",
        ]);
        for file in std::fs::read_dir(&sources).expect("the host's sources") {
            let file = file.expect("the host's sources").path();
            if file.extension().is_some_and(|it| it == "c") {
                command.arg(file);
            }
        }
        command
            .arg("-o")
            .arg(&host)
            .args(["-ldl", "-lpthread", "-lm"]);
        let output = command.output().expect("the compiler starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        (folder, host)
    });
    host
}

/// The host with the plug-in, told to do `what`. The plug-in keeps its socket in `folder`.
pub fn command(folder: &Path, what: &[&str]) -> Command {
    let mut command = Command::new(host());
    command.arg(plugin()).arg(FACTORY).args(what);
    command.env("TMPDIR", folder);
    command
}

/// A host with the plug-in that does what it is told, line by line. Ends with it.
#[derive(Debug)]
pub struct Session {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Session {
    /// Starts one, whose plug-in keeps its socket in `folder`.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start(folder: &Path) -> Self {
        let mut command = command(folder, &["session"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the host starts");
        let orders = child.stdin.take().expect("a pipe");
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut session = Self {
            child,
            orders,
            answers,
        };
        assert_eq!(session.answer()["ready"], true);
        session
    }

    /// Gives one order (tests/hal-host/session.c lists them) and waits for its answer.
    ///
    /// # Panics
    /// If the host is gone, does not know the order, or found something wrong.
    pub fn order(&mut self, order: &str) -> Value {
        writeln!(self.orders, "{order}").expect("the host reads");
        self.answer()
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the host answers");
        let answer: Value = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("the host said {line:?}: {error}"));
        assert!(answer.get("error").is_none(), "{answer}");
        answer
    }

    /// The process, for whoever ends it by force.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the host in order and returns whether all that it checked held.
    ///
    /// # Panics
    /// If it cannot be waited for.
    pub fn finish(mut self) -> bool {
        let _ = writeln!(self.orders, "quit");
        self.child.wait().expect("the host ends").success()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It has ended already where `finish` was called.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
