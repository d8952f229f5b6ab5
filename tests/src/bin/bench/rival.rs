//! The ways to stand between a microphone and its clients: TrueMute, and what a person would take instead. Each starts
//! on a private server of its own or beside the others.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde::Serialize;
use truemute::demo::RunningDaemon;
use truemute::protocol::GateState;
use truemute_pipewire::VIRTUAL_MIC;
use truemute_pipewire::rehearsal::{
    Clock, Debian13, MicOptions, PrivateServer, Program, ServerOptions, SimulatedMic,
};

use crate::Result;

/// How long anything may take that has to happen, on a loaded machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// One way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Way {
    #[serde(rename = "truemute")]
    TrueMute,
    /// With real-time priority, as the other two have.
    PwLoopback,
    /// As it comes: on PipeWire 0.3 without real-time priority.
    PwLoopbackPlain,
    ModuleRemapSource,
}

impl Way {
    /// In the order in which they take turns.
    pub(crate) const ALL: [Way; 4] = [
        Way::TrueMute,
        Way::PwLoopback,
        Way::ModuleRemapSource,
        Way::PwLoopbackPlain,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Way::TrueMute => "TrueMute",
            Way::PwLoopback => "pw-loopback",
            Way::PwLoopbackPlain => "pw-loopback as it comes",
            Way::ModuleRemapSource => "module-remap-source",
        }
    }

    /// `node.name` of the source that clients record from.
    pub(crate) fn source(self) -> &'static str {
        match self {
            Way::TrueMute => VIRTUAL_MIC,
            Way::PwLoopback => "loopback.mic",
            Way::PwLoopbackPlain => "plain-loopback.mic",
            Way::ModuleRemapSource => "remap.mic",
        }
    }
}

/// Where programs come from.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) truemute: PathBuf,
    root: Option<(Debian13, PathBuf)>,
}

impl Ground {
    pub(crate) fn new(root: Option<(Debian13, PathBuf)>) -> Result<Self> {
        let truemute = std::env::current_exe()?.with_file_name("truemute");
        if !truemute.is_file() {
            return Err("truemute is not built beside this program. Use: cargo xtask bench".into());
        }
        Ok(Self { truemute, root })
    }

    /// Where a program of the server's release lies.
    fn program(&self, name: &str) -> PathBuf {
        match &self.root {
            Some((_, root)) => root.join("usr/bin").join(name),
            None => PathBuf::from(name),
        }
    }

    /// What `pipewire --version` says of the library it runs with.
    pub(crate) fn pipewire_version(&self) -> Result<String> {
        let mut command = match &self.root {
            Some((_, root)) => {
                let mut command = Command::new("chroot");
                command.arg(root).arg("pipewire");
                command
            }
            None => Command::new("pipewire"),
        };
        let output = command.arg("--version").output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().find(|line| line.starts_with("Linked with"));
        let word = line.and_then(|line| line.split_whitespace().last());
        Ok(word.unwrap_or("unknown").to_owned())
    }

    /// What `truemute --version` says.
    pub(crate) fn truemute_version(&self) -> Result<String> {
        let output = Command::new(&self.truemute).arg("--version").output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.trim().trim_start_matches("truemute ").to_owned())
    }

    /// A private server with this quantum, a simulated mic that plays the ramp on it.
    pub(crate) fn serve(&self, quantum: u32) -> Result<(PrivateServer, SimulatedMic)> {
        let server = PrivateServer::start(ServerOptions {
            clock: Some(Clock::fixed(quantum)),
            root: self.root.as_ref().map(|(root, _)| root.clone()),
            // 256 clients need more than the usual 1024.
            open_files: Some(20_000),
            ..ServerOptions::default()
        })?;
        let mic = SimulatedMic::start(&server, MicOptions::default())?;
        Ok((server, mic))
    }
}

/// A way that runs. Dropping it ends it.
pub(crate) struct Running {
    pub(crate) way: Way,
    /// The process that moves the sound.
    pub(crate) process: u32,
    _program: Option<Program>,
    daemon: Option<RunningDaemon>,
}

impl Running {
    /// Starts `way` on `server`, to follow `mic`, and waits until its source can be recorded from.
    pub(crate) fn start(
        way: Way,
        ground: &Ground,
        server: &PrivateServer,
        mic: &SimulatedMic,
    ) -> Result<Self> {
        let (process, program, daemon) = match way {
            Way::TrueMute => {
                let daemon = RunningDaemon::start(&ground.truemute, server, "", LIMIT)?;
                (daemon.id(), None, Some(daemon))
            }
            Way::PwLoopback | Way::PwLoopbackPlain => {
                let program = loopback(way, ground, server, mic)?;
                (program.id(), Some(program), None)
            }
            Way::ModuleRemapSource => (remap(server, mic)?, None, None),
        };
        if !server.wait_for_source(way.source(), LIMIT)? {
            return Err(format!("{} made no source\n{}", way.name(), server.log()).into());
        }
        Ok(Self {
            way,
            process,
            _program: program,
            daemon,
        })
    }

    /// Lets sound through, if this way can do otherwise.
    pub(crate) fn unmute(&self) -> Result<()> {
        if let Some(daemon) = &self.daemon {
            daemon.unmute()?;
        }
        Ok(())
    }

    /// Whether sound may pass.
    pub(crate) fn is_live(&self) -> Result<bool> {
        self.daemon.as_ref().map_or(Ok(true), |daemon| {
            Ok(daemon.status()?.gate == GateState::Live)
        })
    }

    /// What the daemon wrote.
    pub(crate) fn log(&self) -> String {
        self.daemon
            .as_ref()
            .map_or_else(String::new, RunningDaemon::log)
    }
}

/// Passive on the mic's side, as module-remap-source is: the mic runs only for the clients.
fn loopback(
    way: Way,
    ground: &Ground,
    server: &PrivateServer,
    mic: &SimulatedMic,
) -> Result<Program> {
    let mut command = server.native_command(&ground.program("pw-loopback"))?;
    if way == Way::PwLoopback && ground.root.is_none() {
        // Without this name a client of PipeWire 0.3.65 gets no real-time thread (measured). Debian 13 has no such file, and
        // gives the priority without.
        command.env("PIPEWIRE_CONFIG_NAME", "client-rt.conf");
    }
    command
        .args(["-c", "1", "-m", "[ MONO ]"])
        .arg("--capture-props")
        .arg(format!(
            "{{ target.object = \"{}\" node.passive = true }}",
            mic.name()
        ))
        .arg("--playback-props")
        .arg(format!(
            "{{ media.class = Audio/Source node.name = {} }}",
            way.source()
        ));
    Ok(Program::start(command)?)
}

/// Loads the module into pipewire-pulse; gives that one's process id.
fn remap(server: &PrivateServer, mic: &SimulatedMic) -> Result<u32> {
    let output = server
        .command("pactl")
        .args(["load-module", "module-remap-source", "channels=1"])
        .args(["channel_map=mono", "master_channel_map=mono"])
        .arg(format!("master={}", mic.name()))
        .arg(format!("source_name={}", Way::ModuleRemapSource.source()))
        .output()?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("module-remap-source was not loaded: {why}").into());
    }
    Ok(server.pulse_id())
}
