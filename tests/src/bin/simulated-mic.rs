//! A simulated real mic in a process of its own: `simulated-mic NAME PRIORITY` plugs it into the server that the environment
//! leads to, says its node's id, and unplugs it when its standard input ends.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use truemute_pipewire::rehearsal::{MicOptions, SimulatedMic};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(name), Some(Ok(priority))) = (arguments.next(), arguments.next().map(|n| n.parse()))
    else {
        eprintln!("usage: simulated-mic NAME PRIORITY");
        return ExitCode::from(2);
    };
    let directory = std::env::var_os("XDG_RUNTIME_DIR").unwrap_or_default();
    let options = MicOptions {
        name,
        priority,
        ..MicOptions::default()
    };
    match SimulatedMic::plug(PathBuf::from(directory).join("pipewire-0"), options) {
        Ok(mic) => {
            // Whoever started us waits for this line, and holds our input as long as the mic is wanted.
            let _ = writeln!(io::stdout(), "{}", mic.node_id());
            let _ = io::stdin().read_to_end(&mut Vec::new());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
