//! A stage whose real mic is guarded: the mic and the daemon are processes of their own, which the guard can tell from the
//! test by their executables; everything in the test's own process is an ordinary client.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use truemute::demo::RunningDaemon;
use truemute::install::guard::{self, Trusted};
use truemute::install::parts::{self, Base, Wireplumber};
use truemute_pipewire::rehearsal::{Clock, PrivateServer, Program, ServerOptions};

use crate::servers::{Version, installed_parts};
use crate::truemute as program;

/// Whether the guard is installed on a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Nothing keeps anybody from the mic: what an attempt must succeed on, or it proves nothing.
    Absent,
    /// As `truemute install` sets it up for `guard = "enforce"` where the server checks links.
    Enforced,
    /// The same where it does not: the daemon cuts links, and mutes the mic itself.
    Cutting,
}

/// The set. Its parts end in this order: daemon, mic, server.
pub struct Guarded {
    /// The daemon, muted; absent where a test ended it.
    pub daemon: Option<RunningDaemon>,
    /// The real mic.
    pub mic: PluggedMic,
    /// The server.
    pub server: PrivateServer,
}

impl Guarded {
    /// Sets up, with the daemon muted; nothing if this version cannot be had here.
    ///
    /// # Panics
    /// If something does not come up.
    pub fn set(version: Version, guard: Guard) -> Option<Self> {
        let server = PrivateServer::start(options(version, guard)?);
        let server = server.unwrap_or_else(|error| panic!("{error}"));
        let mic = PluggedMic::plug(&server, "real-mic", 2000);
        let daemon = program::start(&server, config(guard));
        Some(Self {
            daemon: Some(daemon),
            mic,
            server,
        })
    }

    /// What daemon and server wrote, for messages.
    pub fn logs(&self) -> String {
        let daemon = self.daemon.as_ref().map(RunningDaemon::log);
        format!("{}\n{}", daemon.unwrap_or_default(), self.server.log())
    }
}

/// The server's settings, with the guard's files if it is wanted; nothing if this version cannot be had here.
pub fn options(version: Version, guard: Guard) -> Option<ServerOptions> {
    version.options(ServerOptions {
        clock: Some(Clock::fixed(256)),
        dropins: match guard {
            Guard::Absent => Vec::new(),
            Guard::Enforced => dropins(),
            Guard::Cutting => installed_parts(version),
        },
        ..ServerOptions::default()
    })
}

/// The daemon's own settings: where WirePlumber has the guard it needs none. Trusted by their nodes' names are here the programs
/// that [`dropins`] trusts by their paths.
fn config(guard: Guard) -> &'static str {
    match guard {
        Guard::Absent | Guard::Enforced => "",
        Guard::Cutting => "guard = \"enforce\"\ntrusted_processors = [\"trusted-*\"]\n",
    }
}

/// All that an installation with the guard gives to the server, whose daemon and mics run from copies in its directory (`bin`;
/// trusted are also a pw-link, a pw-record, a pw-loopback and a pipewire there, if a test puts them): path relative to XDG_CONFIG_HOME, and text.
pub fn dropins() -> Vec<(String, String)> {
    let others = ["pw-link", "pw-record", "pw-loopback", "pipewire"].map(Path::new);
    let mic = mic_program();
    let ours = [program::executable(), &mic];
    let executables = ours
        .into_iter()
        .chain(others)
        .map(|path| Path::new("@DIRECTORY@/bin").join(path.file_name().unwrap_or_default()));
    let trusted = Trusted {
        units: Vec::new(),
        executables: executables.collect(),
    };
    let parts = parts::of_server(Some(Wireplumber::V0_5)).into_iter();
    let parts = parts.map(|part| (part.base, part.path, part.text.to_owned()));
    let guard = guard::files(&trusted).into_iter();
    let guard = guard.map(|file| (file.base, file.path, file.text));
    let place = |(base, path, text): (Base, &str, String)| match base {
        Base::Config => (path.to_owned(), text),
        Base::Data => (format!("../data/{path}"), text),
    };
    parts.chain(guard).map(place).collect()
}

/// A simulated mic in a process of its own. Dropping it unplugs it.
pub struct PluggedMic {
    /// `node.name`.
    pub name: String,
    /// The node's id on the server.
    pub node_id: u32,
    _program: Program,
}

impl PluggedMic {
    /// Plugs it in: a mono ramp of 23 bits.
    ///
    /// # Panics
    /// If it is not there in time.
    pub fn plug(server: &PrivateServer, name: &str, priority: u32) -> Self {
        let command = server.native_command(&mic_program());
        let mut command = command.unwrap_or_else(|error| panic!("{error}"));
        command
            .args([name, &priority.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut program = Program::start(command).expect("the mic's program starts");
        let output = program.child().stdout.take().expect("a pipe");
        let mut line = String::new();
        let read = BufReader::new(output).read_line(&mut line);
        let node_id = read.ok().and_then(|_| line.trim().parse().ok());
        Self {
            name: name.to_owned(),
            node_id: node_id.unwrap_or_else(|| panic!("no mic: {line}\n{}", server.log())),
            _program: program,
        }
    }
}

/// The program of [`PluggedMic`]: cargo builds it beside the tests.
fn mic_program() -> PathBuf {
    let test = std::env::current_exe().expect("a test has an executable");
    // A test lies in target/PROFILE/deps, a program in target/PROFILE.
    let found = test
        .ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join("simulated-mic"));
    found
        .into_iter()
        .find(|path| fs::exists(path).unwrap_or(false))
        .expect("cargo builds the simulated mic with the tests")
}
