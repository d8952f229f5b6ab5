//! `truemute demo`: the whole product on a private audio server, with a simulated mic that speaks and real recording
//! programs, and the proof, read from what those wrote, that not one bit arrived while muted.
//! This file holds the acts in their order; the stage is in `stage.rs`, what is heard in `sound.rs`, the verdict in
//! `proof.rs`.

mod daemon;
mod interrupt;
#[cfg(test)]
mod picture;
mod proof;
mod sound;
mod stage;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use truemute_pipewire::rehearsal::RehearsalError;

pub use daemon::RunningDaemon;

use crate::api::ClientError;
use crate::report::{self, Page, Verdict};
use interrupt::Interrupt;
use proof::Evidence;
use sound::{Act, RATE, Voice};
use stage::Stage;

/// How long each act takes.
const ACTS: [(Act, Duration); 3] = [
    (Act::Before, Duration::from_millis(3000)),
    (Act::Secret, Duration::from_millis(4000)),
    (Act::After, Duration::from_millis(2500)),
];

/// How to run the demo.
#[derive(Clone, Debug, Default)]
pub struct DemoOptions {
    /// Keep the recordings in this directory, as WAV files.
    pub keep: Option<PathBuf>,
}

/// Why the demo failed. Each message says what went wrong and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// The stage could not be built.
    #[error(transparent)]
    Rehearsal(#[from] RehearsalError),
    /// The daemon did not do as it was told.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The daemon answered something else than was asked.
    #[error(
        "The daemon answered something else than was asked. Restart the daemon, so that both are of one version."
    )]
    Misunderstood,
    /// The daemon ended or was not ready.
    #[error("The daemon {what}. Its log may say why:\n{log}")]
    Daemon {
        /// What happened.
        what: String,
        /// The daemon's log.
        log: String,
    },
    /// Too few recording programs.
    #[error(
        "The demo needs three different recording programs and found {found}. Install more, on Debian and Ubuntu with: apt install {packages}"
    )]
    TooFewApps {
        /// How many there are.
        found: usize,
        /// Packages with the others.
        packages: String,
    },
    /// The recording programs do not pull.
    #[error(
        "Only {seen} of {wanted} recording programs reached the virtual mic in time. Try again on a less busy machine; the daemon's log:\n{log}"
    )]
    ClientsMissing {
        /// Programs that pull.
        seen: usize,
        /// Programs that were started.
        wanted: usize,
        /// The daemon's log.
        log: String,
    },
    /// At least one recording does not prove silence.
    #[error(
        "{failed} of {all} recordings do not prove that muting works. Run it again with --keep and look at the recordings; if it was a leak, please report it."
    )]
    NotProven {
        /// Recordings that failed.
        failed: usize,
        /// Recordings in all.
        all: usize,
    },
    /// A signal came.
    #[error("Interrupted. Everything that the demo started has been ended.")]
    Interrupted,
    /// A file, process or signal handler could not be made or used.
    #[error("{doing} failed: {source}. Check that the place exists and that you may use it.")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

impl DemoError {
    fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}

/// Runs the demo and tells the story on standard output. Takes less than 20 seconds.
///
/// # Errors
/// The stage could not be built, the demo was interrupted, or muting is not proven.
pub fn run(options: &DemoOptions) -> Result<(), DemoError> {
    let began = Instant::now();
    let page = Page::of_stdout();
    let interrupt = Interrupt::watch().map_err(DemoError::io("watching for Ctrl-C"))?;
    if let Some(directory) = &options.keep {
        std::fs::create_dir_all(directory)
            .map_err(DemoError::io("making the directory for the recordings"))?;
    }
    say("TrueMute demo, on a private audio server. Your own sound is not touched.\n\n")?;
    let stage = Stage::build(&interrupt)?;
    introduce(&stage)?;

    for (act, length) in ACTS {
        let switched = stage.enter(act)?;
        say(&format!("\n{}", report::switched(&switched, None, &page)))?;
        say(&stage.scene(act)?)?;
        perform(&stage, &interrupt, &page, length)?;
    }
    let stats = stage.daemon.stats()?;
    let recordings = stage.close()?;
    say(&format!("\n{}", report::stats(&stats, &page)))?;

    let mut evidence = Vec::new();
    for (app, recording) in &recordings {
        if let Some(directory) = &options.keep {
            recording.write_wav(&directory.join(format!("{}.wav", app.name())), RATE)?;
        }
        evidence.push(Evidence::of(*app, recording));
    }
    let verdict = pronounce(&evidence, &page);
    if let Some(directory) = &options.keep {
        let place = directory.display();
        say(&format!("The recordings are in {place}, to listen to.\n"))?;
    }
    let took = began.elapsed().as_secs_f32();
    say(&format!(
        "Took {took:.1} s. Everything that the demo started has ended.\n"
    ))?;
    verdict
}

fn introduce(stage: &Stage) -> Result<(), DemoError> {
    let voice = match stage.voice {
        Voice::Speech => "speech, by espeak-ng",
        Voice::Tones => "tones (install espeak-ng to hear speech)",
    };
    let apps: Vec<_> = stage
        .apps
        .iter()
        .map(|recording| format!("{} ({})", recording.app().name(), recording.app().way()))
        .collect();
    say(&format!(
        "Server         PipeWire, WirePlumber and pipewire-pulse in {}\n\
         Microphone     simulated: {voice}\n\
         Daemon         truemute, process {}\n\
         Apps           {}\n",
        stage.server.directory().display(),
        stage.daemon.id(),
        apps.join("\n               "),
    ))
}

/// Shows the counts rising while an act goes on.
fn perform(
    stage: &Stage,
    interrupt: &Interrupt,
    page: &Page,
    length: Duration,
) -> Result<(), DemoError> {
    let terminal = page.width.is_some();
    let step = if terminal { 4 } else { 1 };
    let end = Instant::now() + length;
    let mut next = Instant::now();
    while next < end {
        interrupt.wait_until(next)?;
        let mut line = stage.counts()?;
        if let Some(width) = page.width {
            // A line that wraps could not be written over.
            line.truncate(usize::from(width).saturating_sub(1));
        }
        // On a terminal the line is written over; elsewhere each look has a line of its own.
        say(&if terminal {
            format!("\r\x1b[K{line}")
        } else {
            format!("{line}\n")
        })?;
        next += Duration::from_secs(1) / step;
    }
    interrupt.wait_until(end)?;
    if terminal { say("\n") } else { Ok(()) }
}

/// Prints what each recording holds, and fails unless every one proves silence.
fn pronounce(evidence: &[Evidence], page: &Page) -> Result<(), DemoError> {
    let muted = ACTS[1].1.as_millis() as u64 * u64::from(RATE) / 1000;
    let findings: Vec<_> = evidence.iter().map(|found| found.finding(muted)).collect();
    say(&format!(
        "\nProof, from every sample that the apps wrote. The microphone marks each of its samples with when it was made.\n{}",
        report::findings(&findings, page)
    ))?;
    let all = findings.len();
    let failed = findings
        .iter()
        .filter(|finding| finding.verdict != Verdict::Good)
        .count();
    if failed > 0 {
        return Err(DemoError::NotProven { failed, all });
    }
    let zeros: u64 = evidence.iter().map(|found| found.zeros).sum();
    say(&format!(
        "Not one bit arrived while muted: {zeros} samples, every bit of them zero, in {all} recordings.\n"
    ))
}

/// Prints at once. A reader that has gone (`truemute demo | head`) ends the demo.
fn say(text: &str) -> Result<(), DemoError> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(DemoError::io("writing to standard output"))
}
