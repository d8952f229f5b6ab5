//! Clients misbehave: hundreds come and die at random, some stop reading.

use std::fs::{self, File};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use truemute::protocol::{Call, WatchParams};
use truemute_pipewire::VIRTUAL_MIC;
use truemute_pipewire::rehearsal::{App, Format, Program, Wanted};
use truemute_tests::recorder::wait_until;

use super::{AWAY, Fault, muted};
use crate::Result;
use crate::field::{Field, LIMIT, outage};

/// Processes of the storm, and clients of each at most.
const PROCESSES: usize = 10;
const CLIENTS: usize = 50;
/// One of the processes is killed about so often.
const KILL_EVERY: Duration = Duration::from_millis(700);

pub(super) fn add(faults: &mut Vec<Fault>, storm: Duration) {
    faults.push(muted(
        "500 clients that connect and die at random",
        move |field| {
            let loud = rage(field, storm)?;
            field.mended();
            match loud {
                0 => Ok(()),
                loud => Err(
                    format!("clients of the storm got {loud} samples that were not zero").into(),
                ),
            }
        },
    ));
    for (name, app) in [
        ("a native client stops reading", App::PwRecord),
        ("a PulseAudio client stops reading", App::Parec),
    ] {
        faults.push(muted(name, move |field| {
            let wanted = Wanted {
                name: "stopped".to_owned(),
                device: Some(VIRTUAL_MIC.to_owned()),
                channels: 1,
                rate: 48_000,
                format: Format::F32,
            };
            let recording = app.record(&field.server, &wanted, field.server.directory())?;
            if !wait_until(LIMIT, || recording.bytes() > 100_000) {
                return Err("the client that is to be stopped gets nothing".into());
            }
            recording.signal(Signal::STOP)?;
            outage(3 * AWAY);
            field.mended();
            recording.signal(Signal::CONT)?;
            Ok(())
        }));
    }
    faults.push(muted("a watcher of the API stops reading", |field| {
        let mut watcher = field.daemon.client()?;
        watcher.call(Call::Watch(WatchParams {
            interval_ms: Some(100),
        }))?;
        let mut tracer = field.daemon.client()?;
        tracer.call(Call::Trace)?;
        // Their sockets fill while there is much to tell.
        for _ in 0..200 {
            field.daemon.mute()?;
            thread::sleep(AWAY / 100);
        }
        field.mended();
        Ok(())
    }));
}

/// Lets processes full of clients come and die; says how many samples that were not zero they got.
fn rage(field: &Field, storm: Duration) -> Result<u64> {
    let program = std::env::current_exe()?.with_file_name("storm");
    let output = field.server.directory().join("storm");
    let mut random = fastrand::Rng::with_seed(1);
    let mut start = || -> Result<Program> {
        let mut command = Command::new(&program);
        command
            .arg(field.server.socket())
            .arg(CLIENTS.to_string())
            .arg(random.u64(..).to_string())
            .stdout(File::options().append(true).create(true).open(&output)?)
            .stderr(std::process::Stdio::null());
        Ok(Program::start(command)?)
    };
    let mut processes = Vec::new();
    for _ in 0..PROCESSES {
        processes.push(start()?);
    }
    let mut victims = fastrand::Rng::with_seed(2);
    let deadline = Instant::now() + storm;
    while Instant::now() < deadline {
        thread::sleep(KILL_EVERY);
        let victim = victims.usize(..PROCESSES);
        processes[victim].stop(Signal::KILL)?;
        processes[victim] = start()?;
    }
    for mut process in processes {
        process.stop(Signal::KILL)?;
    }
    let text = fs::read_to_string(output)?;
    Ok(text
        .lines()
        .filter_map(|line| line.parse::<u64>().ok())
        .sum())
}
