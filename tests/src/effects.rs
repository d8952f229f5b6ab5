//! Effects between a mic (the virtual one, or the real one) and an app, as users put there: an echo canceller and a filter chain of PipeWire's own,
//! in a client process. Each is a source that apps record from.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use truemute_pipewire::VIRTUAL_MIC;
use truemute_pipewire::rehearsal::{PrivateServer, Program};

use crate::stage::LIMIT;

/// The running client process. Dropping it takes the effects away.
pub struct Effects {
    program: Program,
    log: PathBuf,
}

/// Without its directory: the process tells everybody the name that it was given.
const CONFIG: &str = "effects.conf";

impl Effects {
    /// `node.name` of each effect's source.
    pub const SOURCES: [&str; 2] = ["echo-cancelled", "filtered"];

    /// Starts both effects on the virtual mic and returns when apps can record from them.
    ///
    /// # Panics
    /// If they do not come.
    pub fn start(server: &PrivateServer) -> Self {
        Self::start_on(server, VIRTUAL_MIC)
    }

    /// Starts both effects on the source `target` and returns when apps can record from them.
    ///
    /// # Panics
    /// If they do not come.
    pub fn start_on(server: &PrivateServer, target: &str) -> Self {
        let mut effects = Self::begin(server, Path::new("pipewire"), target);
        for source in Self::SOURCES {
            let came = server.wait_for_source(source, LIMIT);
            let came = came.expect("the server answers");
            assert!(
                came,
                "{source} did not come: {:?}, {}",
                effects.program.ended(),
                effects.log()
            );
        }
        effects
    }

    /// Starts both effects on the source `target`, from `pipewire` or a copy of it, and does not wait for them.
    ///
    /// # Panics
    /// If the program cannot be started.
    pub fn begin(server: &PrivateServer, program: &Path, target: &str) -> Self {
        let configs = Path::new(&server.env()["XDG_CONFIG_HOME"]).join("pipewire");
        fs::create_dir_all(&configs).expect("a directory can be made");
        fs::write(configs.join(CONFIG), configuration(target)).expect("a file can be written");
        let log = server.directory().join("effects.log");
        let output = File::create(&log).expect("a log can be made");
        let mut command = server.own_command(program);
        command.args(["-c", CONFIG]).stderr(output);
        Self {
            program: Program::start(command).expect("pipewire can be started"),
            log,
        }
    }

    /// What the process wrote.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// For `pipewire -c`. What the canceller does beside cancelling is off: it would take a simulated mic's ramp for noise. (Arguments: PipeWire's pages on its modules echo-cancel and filter-chain.)
fn configuration(target: &str) -> String {
    let [echo, filter] = Effects::SOURCES;
    format!(
        r#"context.spa-libs = {{
    audio.convert.* = audioconvert/libspa-audioconvert
    support.* = support/libspa-support
}}
context.modules = [
    {{ name = libpipewire-module-rt flags = [ ifexists nofail ] }}
    {{ name = libpipewire-module-protocol-native }}
    {{ name = libpipewire-module-client-node }}
    {{ name = libpipewire-module-adapter }}
    {{ name = libpipewire-module-echo-cancel
      args = {{
        library.name = aec/libspa-aec-webrtc
        aec.args = {{ webrtc.gain_control = false webrtc.high_pass_filter = false webrtc.noise_suppression = false }}
        capture.props = {{ node.name = echo-cancelled.capture target.object = {target} }}
        source.props = {{ node.name = {echo} }}
        sink.props = {{ node.name = echo-cancelled.sink }}
        playback.props = {{ node.name = echo-cancelled.playback }}
      }}
    }}
    {{ name = libpipewire-module-filter-chain
      args = {{
        node.description = "Filter chain"
        audio.channels = 1
        audio.position = [ MONO ]
        filter.graph = {{
          nodes = [
            {{ type = builtin name = low label = bq_highpass control = {{ "Freq" = 80.0 "Q" = 0.7 }} }}
            {{ type = builtin name = mid label = bq_peaking control = {{ "Freq" = 3000.0 "Gain" = 9.0 }} }}
          ]
          links = [ {{ output = "low:Out" input = "mid:In" }} ]
        }}
        capture.props = {{ node.name = filtered.capture target.object = {target} }}
        playback.props = {{ node.name = {filter} media.class = Audio/Source }}
      }}
    }}
]
"#
    )
}
