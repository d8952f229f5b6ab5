//! A part of a storm of clients: so many native clients of the virtual mic that come and go at random, in a process that its
//! starter kills when it likes. Says on standard output how many samples were not zero, whenever there were any.

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Parser;
use truemute_pipewire::VIRTUAL_MIC;
use truemute_tests::recorder::{Connections, Recorder, RecorderOptions, Recorders};

/// Clients that come and go until this process is ended
#[derive(Debug, Parser)]
struct Arguments {
    /// PipeWire's socket
    socket: PathBuf,
    /// How many at most
    clients: usize,
    /// Which randomness
    seed: u64,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let mut random = fastrand::Rng::with_seed(arguments.seed);
    let recorders = Recorders::on(arguments.socket.clone(), Connections::Own)?;
    let mut clients: Vec<Recorder> = Vec::new();
    loop {
        let comes = clients.len() < arguments.clients && random.u8(..) < 160;
        if comes {
            let named = random.bool();
            clients.push(recorders.add(RecorderOptions {
                name: format!("storm-{}", random.u32(..)),
                target: named.then(|| VIRTUAL_MIC.to_owned()),
                cycles: 500,
                ..RecorderOptions::default()
            })?);
        } else if !clients.is_empty() {
            let gone = clients.swap_remove(random.usize(..clients.len()));
            let cycles = gone.tape().cycles_from(0);
            let loud: u64 = cycles.iter().map(|it| u64::from(it.nonzero_samples)).sum();
            if loud > 0 {
                println!("{loud}");
            }
        }
        thread::sleep(Duration::from_millis(random.u64(1..40)));
    }
}
