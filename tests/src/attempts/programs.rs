//! Attempts with programs that people have.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use truemute_pipewire::rehearsal::Program;

use super::{Ground, Heard, native};
use crate::recorder::wait_until;
use crate::stage::LIMIT;

/// Runs a program of the server's release, which writes 32-bit samples to the file that is its last argument.
fn records(
    ground: &Ground<'_>,
    program: &str,
    arguments: &[&str],
    meanwhile: impl FnOnce(),
) -> Result<Heard, String> {
    let mut command = ground.server.own_command(program);
    command.args(arguments);
    writes(ground, command, meanwhile)
}

/// Gives the program a file to write to, and looks at what it writes.
fn writes(
    ground: &Ground<'_>,
    mut command: Command,
    meanwhile: impl FnOnce(),
) -> Result<Heard, String> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let file = ground
        .server
        .directory()
        .join(format!("attempt-{number}.raw"));
    command.arg(&file);
    let _running = start(command)?;
    meanwhile();
    Ok(ground.wait_for(ground.patience, || heard(&file)))
}

fn start(mut command: Command) -> Result<Program, String> {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Program::start(command).map_err(|error| error.to_string())
}

fn heard(file: &Path) -> Heard {
    let bytes = fs::read(file).unwrap_or_default();
    let samples = sound_of(&bytes).as_chunks::<4>().0;
    Heard {
        samples: samples.len() as u64,
        sound: samples.iter().filter(|sample| **sample != [0; 4]).count() as u64,
    }
}

/// Programs of PipeWire 0.3 write a WAV file whatever its name.
fn sound_of(bytes: &[u8]) -> &[u8] {
    let data = bytes.windows(4).position(|word| word == b"data");
    match data {
        Some(data) if bytes.starts_with(b"RIFF") => bytes.get(data + 8..).unwrap_or_default(),
        _ => bytes,
    }
}

/// Runs a program to its end and gives what it says. Where nobody serves it, it would wait for ever.
fn run(ground: &Ground<'_>, program: &str, arguments: &[&str]) -> Result<String, String> {
    let mut command = ground.server.own_command("timeout");
    let output = command.args(["10", program]).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

const F32: [&str; 4] = ["--format", "f32", "--channels", "1"];

/// Starts a program that the guard trusts where it is installed, by its path, in the server's directory, or by the names of its
/// nodes.
fn start_trusted(ground: &Ground<'_>, name: &str, arguments: &[&str]) -> Result<Program, String> {
    let bin = ground.server.directory().join("bin");
    let program = bin.join(name);
    let installed = Path::new("/usr/bin").join(name);
    fs::create_dir_all(&bin).map_err(|error| error.to_string())?;
    // One that runs already cannot be written to, and need not.
    let mut copy = ground.server.own_command("cp");
    let copied = copy
        .arg("--no-clobber")
        .arg(installed)
        .arg(&program)
        .status();
    if !copied.is_ok_and(|status| status.success()) || !program.exists() {
        return Err(format!("there is no {name}"));
    }
    let mut command = ground.server.own_command(&program);
    command.args(arguments);
    start(command)
}

/// What a trusted program gets comes out of its monitor too.
pub(super) fn trusted_streams_monitor(ground: &Ground<'_>) -> Result<Heard, String> {
    let file = ground.server.directory().join("trusted.wav");
    let named = "{ node.name = trusted-stream }";
    let path = file.to_string_lossy();
    let arguments = ["--target", ground.mic, "-P", named, &path];
    let _running = start_trusted(ground, "pw-record", &arguments)?;
    if !wait_until(LIMIT, || heard(&file).samples > 0) {
        return Err("the trusted program records nothing".to_owned());
    }
    native::hears_node(ground, "trusted-stream")
}

/// A trusted program hands on what it hears of the mic, as an echo canceller does.
pub(super) fn trusted_processor(ground: &Ground<'_>) -> Result<Heard, String> {
    let from = format!(
        "{{ node.name = trusted-processor-in, target.object = {} }}",
        ground.mic
    );
    let to = "{ node.name = trusted-processor, node.autoconnect = false }";
    let _running = start_trusted(ground, "pw-loopback", &["-i", &from, "-o", to])?;
    native::hears_node(ground, "trusted-processor")
}

/// A source of a trusted program, which hands on the mic, of the class that a sound card's has and the simulated mic has not;
/// with its `node.name`.
///
/// # Errors
/// Why it cannot be had.
pub fn trusted_source(ground: &Ground<'_>) -> Result<(Program, String), String> {
    another_trusted_source(ground, "trusted-source")
}

/// The same, called `name`.
///
/// # Errors
/// Why it cannot be had.
pub fn another_trusted_source(
    ground: &Ground<'_>,
    name: &str,
) -> Result<(Program, String), String> {
    let from = format!(
        "{{ node.name = {name}-in, target.object = {} }}",
        ground.mic
    );
    let to = format!("{{ node.name = {name}, media.class = Audio/Source }}");
    let running = start_trusted(ground, "pw-loopback", &["-i", &from, "-o", &to])?;
    Ok((running, name.to_owned()))
}

/// What a Snap app says of itself that may do everything. Any client can say it, and WirePlumber 0.5.15 and later show it all
/// sources then.
pub fn of_a_snap() -> [(String, String); 3] {
    [
        ("pipewire.snap.id", "attempt"),
        ("pipewire.snap.audio.record", "true"),
        ("pipewire.snap.audio.playback", "true"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
}

pub(super) fn as_snap(ground: &Ground<'_>) -> Result<Heard, String> {
    let (_running, source) = trusted_source(ground)?;
    native::hears_node_claiming(ground, &source, &of_a_snap())
}

pub(super) fn pw_link(ground: &Ground<'_>) -> Result<Heard, String> {
    let unlinked = [
        "-P",
        "{ node.name = linked-by-hand, node.autoconnect = false }",
    ];
    let alone = ["--target", "0"];
    records(
        ground,
        "pw-record",
        &[&unlinked[..], &alone, &F32].concat(),
        || {
            // It takes a moment until there are ports to link.
            let deadline = ground.patience;
            wait_until(deadline, || {
                let inputs = run(ground, "pw-link", &["-i"]).unwrap_or_default();
                inputs.contains("linked-by-hand")
            });
            for (output, input) in [("capture_MONO", "input_MONO"), ("capture_FL", "input_FL")] {
                let output = format!("{}:{output}", ground.mic);
                let _ = run(
                    ground,
                    "pw-link",
                    &[&output, &format!("linked-by-hand:{input}")],
                );
            }
            let _ = run(ground, "pw-link", &[ground.mic, "linked-by-hand"]);
        },
    )
}

const PULSE: [&str; 4] = [
    "--raw",
    "--format=float32le",
    "--channels=1",
    "--latency-msec=20",
];

pub(super) fn parec(ground: &Ground<'_>) -> Result<Heard, String> {
    records(
        ground,
        "parec",
        &[&["-d", ground.mic][..], &PULSE].concat(),
        || (),
    )
}

pub(super) fn parec_default(ground: &Ground<'_>) -> Result<Heard, String> {
    records(ground, "parec", &PULSE, || ())
}

/// This machine's own, for its plug-in finds the server by its socket; the target is asked for as pcm_pipewire.c reads it.
pub(super) fn arecord(ground: &Ground<'_>) -> Result<Heard, String> {
    let mut command = ground.server.command("arecord");
    command.args("-D pipewire -q -t raw -f FLOAT_LE -c 1 -r 48000".split(' '));
    command.env("PIPEWIRE_NODE", ground.mic);
    writes(ground, command, || ())
}

/// The loopback is pipewire-pulse's own: no app has to record from the mic.
pub(super) fn loopback_to_null_sink(ground: &Ground<'_>) -> Result<Heard, String> {
    let sink = "sink_name=attempt-sink";
    run(ground, "pactl", &["load-module", "module-null-sink", sink])?;
    let source = format!("source={}", ground.mic);
    let to = [
        "sink=attempt-sink",
        "source_dont_move=true",
        "sink_dont_move=true",
    ];
    run(
        ground,
        "pactl",
        &[&["load-module", "module-loopback", &source][..], &to].concat(),
    )?;
    let monitor = ["-d", "attempt-sink.monitor"];
    records(ground, "parec", &[&monitor[..], &PULSE].concat(), || ())
}

pub(super) fn remap_source(ground: &Ground<'_>) -> Result<Heard, String> {
    let master = format!("master={}", ground.mic);
    let name = "source_name=attempt-remapped";
    run(
        ground,
        "pactl",
        &["load-module", "module-remap-source", &master, name],
    )?;
    records(
        ground,
        "parec",
        &[&["-d", "attempt-remapped"][..], &PULSE].concat(),
        || (),
    )
}

/// A source of the attacker's own, fed from the mic.
pub(super) fn pw_loopback(ground: &Ground<'_>) -> Result<Heard, String> {
    let mut command = ground.server.own_command("pw-loopback");
    let capture = format!("{{ target.object = {} }}", ground.mic);
    let playback = "{ media.class = Audio/Source, node.name = attempt-loopback }";
    command.args(["-i", &capture, "-o", playback]);
    let _loopback = start(command)?;
    // The recorder would be given another source before this one is there.
    wait_until(ground.patience, || {
        let ports = run(ground, "pw-link", &["-o"]).unwrap_or_default();
        ports.contains("attempt-loopback")
    });
    records(
        ground,
        "pw-record",
        &[&["--target", "attempt-loopback"][..], &F32].concat(),
        || (),
    )
}
