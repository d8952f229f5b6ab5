//! Real recording programs as people have them, through every interface that apps use: native, PulseAudio, ALSA,
//! GStreamer. Each writes its sound to a file of its own. What is in the file: [`super::recording`].

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use super::recording::{Format, Recording};
use super::{PrivateServer, Program, RehearsalError, find_program};

/// A recording program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum App {
    /// `pw-record`: native PipeWire.
    PwRecord,
    /// `parec`: PulseAudio protocol.
    Parec,
    /// `arecord -D pipewire`: ALSA through PipeWire's plug-in.
    Arecord,
    /// `ffmpeg -f pulse`: PulseAudio protocol. Captures 16 bits whatever is asked for.
    Ffmpeg,
    /// `gst-launch-1.0 pulsesrc`: PulseAudio protocol.
    GstPulse,
    /// `gst-launch-1.0 pipewiresrc`: native PipeWire.
    GstPipewire,
}

impl App {
    /// All of them.
    pub const ALL: [App; 6] = [
        App::PwRecord,
        App::Parec,
        App::Arecord,
        App::Ffmpeg,
        App::GstPulse,
        App::GstPipewire,
    ];

    /// The executable.
    pub fn program(self) -> &'static str {
        match self {
            App::PwRecord => "pw-record",
            App::Parec => "parec",
            App::Arecord => "arecord",
            App::Ffmpeg => "ffmpeg",
            App::GstPulse | App::GstPipewire => "gst-launch-1.0",
        }
    }

    /// How it reaches the audio server, for people.
    pub fn way(self) -> &'static str {
        match self {
            App::PwRecord => "native PipeWire",
            App::Parec | App::Ffmpeg => "PulseAudio protocol",
            App::Arecord => "ALSA plug-in",
            App::GstPulse => "GStreamer, PulseAudio protocol",
            App::GstPipewire => "GStreamer, native PipeWire",
        }
    }

    /// The Debian packages that have it.
    pub fn packages(self) -> &'static str {
        match self {
            App::PwRecord => "pipewire-bin",
            App::Parec => "pulseaudio-utils",
            App::Arecord => "alsa-utils pipewire-alsa",
            App::Ffmpeg => "ffmpeg",
            App::GstPulse => "gstreamer1.0-tools gstreamer1.0-pulseaudio",
            App::GstPipewire => "gstreamer1.0-tools gstreamer1.0-pipewire",
        }
    }

    /// Whether this machine has it, plug-ins included.
    pub fn is_installed(self) -> bool {
        find_program(self.program()).is_some()
            && match self {
                App::Arecord => Path::new("/usr/share/alsa/alsa.conf.d/50-pipewire.conf").exists(),
                App::GstPulse => gstreamer_has("libgstpulseaudio.so"),
                App::GstPipewire => gstreamer_has("libgstpipewire.so"),
                _ => true,
            }
    }

    /// Starts recording into a new file in `directory`, which the server's user must be able to write in.
    ///
    /// # Errors
    /// The program cannot be started or the file not be made.
    pub fn record(
        self,
        server: &PrivateServer,
        wanted: &Wanted,
        directory: &Path,
    ) -> Result<AppRecording, RehearsalError> {
        self.record_with(server.command(self.program()), wanted, directory)
    }

    /// [`App::record`] with a `command` of [`App::program`] that leads to a server already.
    ///
    /// # Errors
    /// As [`App::record`].
    pub fn record_with(
        self,
        mut command: Command,
        wanted: &Wanted,
        directory: &Path,
    ) -> Result<AppRecording, RehearsalError> {
        let ending = match (self, wanted.format) {
            (App::PwRecord, _) => "wav",
            (_, Format::F32) => "f32",
            (_, Format::S16) => "s16",
        };
        let name = format!("{}-{}.{ending}", self.name(), wanted.name);
        let file = directory.join(name);
        self.arguments(&mut command, wanted, &file)
            .map_err(RehearsalError::io("making the recording's file"))?;
        command.stderr(Stdio::null());
        let program = Program::start(command)
            .map_err(RehearsalError::io(format!("starting {}", self.program())))?;
        Ok(AppRecording {
            app: self,
            program,
            file,
            channels: wanted.channels,
            format: wanted.format,
        })
    }

    /// Name for people and for files.
    pub fn name(self) -> &'static str {
        match self {
            App::GstPulse => "gst-pulsesrc",
            App::GstPipewire => "gst-pipewiresrc",
            other => other.program(),
        }
    }

    fn arguments(self, command: &mut Command, wanted: &Wanted, file: &Path) -> io::Result<()> {
        let rate = wanted.rate.to_string();
        let channels = wanted.channels.to_string();
        let device = wanted.device.as_deref();
        let float = wanted.format == Format::F32;
        let to_file = |command: &mut Command| {
            command.stdout(File::create(file)?);
            io::Result::Ok(())
        };
        command.stdout(Stdio::null());
        match self {
            App::PwRecord => {
                command.args([
                    "--rate",
                    &rate,
                    "--channels",
                    &channels,
                    "--latency",
                    "20ms",
                ]);
                command.args(["--format", if float { "f32" } else { "s16" }]);
                command.args(device.map(|name| format!("--target={name}")));
                command.arg(file);
            }
            App::Parec => {
                // Without it parec asks for fragments of two seconds, which raises the graph's quantum (measured).
                command.args(["--raw", "--latency-msec=20"]);
                command.args(["--rate", &rate, "--channels", &channels]);
                command.args(["--format", if float { "float32le" } else { "s16le" }]);
                command.args(device.map(|name| format!("--device={name}")));
                to_file(command)?;
            }
            App::Arecord => {
                command.args([
                    "-q", "-D", "pipewire", "-t", "raw", "-r", &rate, "-c", &channels,
                ]);
                command.args(["-f", if float { "FLOAT_LE" } else { "S16_LE" }]);
                command.args(["--buffer-time=100000", "--period-time=20000"]);
                command.envs(device.map(|name| ("PIPEWIRE_NODE", name)));
                to_file(command)?;
            }
            App::Ffmpeg => {
                let fragment = (wanted.rate / 50 * wanted.channels * 2).to_string();
                command.args(["-nostdin", "-loglevel", "error", "-f", "pulse"]);
                command.args(["-sample_rate", &rate, "-channels", &channels]);
                command.args(["-fragment_size", &fragment, "-i"]);
                command.arg(device.unwrap_or("default"));
                command.args([
                    "-flush_packets",
                    "1",
                    "-f",
                    if float { "f32le" } else { "s16le" },
                ]);
                command.arg("-");
                to_file(command)?;
            }
            App::GstPulse | App::GstPipewire => {
                let (source, property) = match self {
                    App::GstPulse => ("pulsesrc", "device"),
                    _ => ("pipewiresrc", "target-object"),
                };
                let format = if float { "F32LE" } else { "S16LE" };
                command.args(["-q", "-e", source]);
                command.args(device.map(|name| format!("{property}={name}")));
                command.args(["!", &format!(
                    "audio/x-raw,format={format},layout=interleaved,rate={rate},channels={channels}"
                )]);
                command.args(["!", "filesink", "buffer-mode=unbuffered"]);
                command.arg(format!("location={}", file.display()));
            }
        }
        Ok(())
    }
}

/// What to record.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Part of the file's name, to tell several of one kind apart.
    pub name: String,
    /// `node.name` of the source; the default source if absent.
    pub device: Option<String>,
    /// Channels.
    pub channels: u32,
    /// Sample rate in Hz.
    pub rate: u32,
    /// Sample format.
    pub format: Format,
}

/// A program that is recording. Dropping it ends the program; the file stays.
#[derive(Debug)]
pub struct AppRecording {
    app: App,
    program: Program,
    file: PathBuf,
    channels: u32,
    format: Format,
}

impl AppRecording {
    /// Which app it is.
    pub fn app(&self) -> App {
        self.app
    }

    /// Process id of the program.
    pub fn id(&self) -> u32 {
        self.program.id()
    }

    /// The file that it writes.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.file.metadata().map_or(0, |meta| meta.len())
    }

    /// Whether the program has ended by itself.
    pub fn ended(&mut self) -> bool {
        self.program.ended().is_some()
    }

    /// Sends a signal to the program.
    ///
    /// # Errors
    /// It has ended.
    pub fn signal(&self, signal: Signal) -> Result<(), RehearsalError> {
        let doing = format!("sending a signal to {}", self.app.program());
        self.program
            .signal(signal)
            .map_err(RehearsalError::io(doing))
    }

    /// Ends the recording as Ctrl-C would, and reads it.
    ///
    /// # Errors
    /// The file is missing or is not what the program should have written.
    pub fn finish(mut self) -> Result<Recording, RehearsalError> {
        self.program
            .stop(Signal::INT)
            .map_err(RehearsalError::io(format!("ending {}", self.app.program())))?;
        match self.app {
            App::PwRecord => Recording::read_wav(&self.file),
            _ => Recording::read_raw(&self.file, self.format, self.channels),
        }
    }
}

/// Looks for the plug-in's file, for `gst-inspect-1.0` would write its registry into the user's cache.
fn gstreamer_has(plugin: &str) -> bool {
    let below = |directory: &str| Path::new(directory).join("gstreamer-1.0").join(plugin);
    let multiarch = fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| entry.path().join("gstreamer-1.0").join(plugin).exists());
    multiarch || below("/usr/lib").exists() || below("/usr/lib64").exists()
}
