//! The hosts in C (tests/hal-host, tests/nt-host), which load what we ship for other systems and judge it: how one is compiled,
//! once a test program, and how one is talked to, line by line.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The compiler with its flags. AddressSanitizer's step names one that instruments.
const COMPILER: &str = "TRUEMUTE_HOST_CC";

/// A compiled host. Its program is gone when this is dropped.
#[derive(Debug)]
pub struct Host {
    _folder: TempDir,
    program: PathBuf,
}

impl Host {
    /// Compiles the files of tests/NAME and what the hosts share (tests/c-host).
    ///
    /// # Panics
    /// If the compiler fails or warns.
    pub fn compile(name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the host");
        let program = folder.path().join(name);
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
        for part in [name, "c-host"] {
            let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join(part);
            for file in std::fs::read_dir(&sources).expect("the host's sources") {
                let file = file.expect("the host's sources").path();
                if file.extension().is_some_and(|it| it == "c") {
                    command.arg(file);
                }
            }
        }
        command
            .arg("-o")
            .arg(&program)
            .args(["-ldl", "-lpthread", "-lm"]);
        let output = command.output().expect("the compiler starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        Self {
            _folder: folder,
            program,
        }
    }

    /// Its program.
    pub fn program(&self) -> &Path {
        &self.program
    }
}

/// A host that does what it is told. Ends with it.
#[derive(Debug)]
pub struct Session {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Session {
    /// Starts one, and gives what it says first.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start(mut command: Command) -> (Self, Value) {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the host starts");
        let orders = child.stdin.take().expect("a pipe");
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut session = Self {
            child,
            orders,
            answers,
        };
        let ready = session.answer();
        assert_eq!(ready["ready"], true);
        (session, ready)
    }

    /// Gives one order (the host's session.c lists them) and waits for its answer.
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
        let mut rest = String::new();
        let _ = self.answers.read_to_string(&mut rest);
        println!("{rest}");
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
