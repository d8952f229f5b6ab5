//! Everything that the demo runs: server, mic, daemon and apps, and what they say about themselves.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use truemute_core::observed::{ClientState, MicState};
use truemute_pipewire::VIRTUAL_MIC;
use truemute_pipewire::rehearsal::{
    App, AppRecording, Clock, Format, MicOptions, PrivateServer, Recording, ServerOptions, Signal,
    SimulatedMic, Wanted,
};

use super::sound::{self, Act, RATE, Voice};
use super::{DemoError, Interrupt, RunningDaemon};
use crate::protocol::{ClientStats, Switched};

/// At most so many apps: enough to see the interfaces side by side, few enough for a line.
const APPS: usize = 4;
/// At least so many different programs.
const ENOUGH: usize = 3;
/// How long the daemon, and then the apps, may take to be there.
const LIMIT: Duration = Duration::from_secs(8);

/// The running demo. Dropping it ends everything, apps first and the server last.
pub(super) struct Stage {
    pub(super) apps: Vec<AppRecording>,
    pub(super) daemon: RunningDaemon,
    pub(super) voice: Voice,
    mic: SimulatedMic,
    pub(super) server: PrivateServer,
}

impl Stage {
    /// Builds it all, still muted, and waits until every app pulls.
    pub(super) fn build(interrupt: &Interrupt) -> Result<Self, DemoError> {
        let server = PrivateServer::start(ServerOptions {
            clock: Some(Clock {
                rate: RATE,
                quantum: 512,
                min_quantum: 256,
                max_quantum: 1024,
            }),
            ..ServerOptions::default()
        })?;
        let chosen = choose_apps()?;
        interrupt.check()?;
        let (voice, sounds) = sound::voices(server.directory());
        let [first, others @ ..] = sounds.map(|samples| Signal::Samples {
            samples: samples.into(),
            rate: RATE,
        });
        let mic = SimulatedMic::start(
            &server,
            MicOptions {
                signal: first,
                alternatives: others.into(),
                ..MicOptions::default()
            },
        )?;
        interrupt.check()?;
        let executable =
            std::env::current_exe().map_err(DemoError::io("finding this program's file"))?;
        let daemon = RunningDaemon::start(&executable, &server, "", LIMIT)?;
        let mut stage = Self {
            apps: Vec::new(),
            daemon,
            voice,
            mic,
            server,
        };
        for app in chosen {
            let wanted = Wanted {
                name: "demo".to_owned(),
                device: Some(VIRTUAL_MIC.to_owned()),
                channels: 1,
                rate: RATE,
                format: Format::F32,
            };
            let recording = app.record(&stage.server, &wanted, stage.server.directory())?;
            stage.apps.push(recording);
        }
        stage.wait_for_apps(interrupt)?;
        Ok(stage)
    }

    fn wait_for_apps(&self, interrupt: &Interrupt) -> Result<(), DemoError> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let seen = self.clients()?.into_iter().flatten().count();
            if seen == self.apps.len() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(DemoError::ClientsMissing {
                    seen,
                    wanted: self.apps.len(),
                    log: self.daemon.log(),
                });
            }
            interrupt.wait_until(Instant::now() + Duration::from_millis(50))?;
        }
    }

    /// Begins an act: switches the gate, and what the mic says, so that every sample with the mark of the secret was
    /// made after the mute was acknowledged and before the unmute was asked for.
    pub(super) fn enter(&self, act: Act) -> Result<Switched, DemoError> {
        match act {
            Act::Before => self.daemon.unmute(),
            Act::Secret => {
                let switched = self.daemon.mute()?;
                self.mic.play(1);
                Ok(switched)
            }
            Act::After => {
                self.mic.play(2);
                self.daemon.unmute()
            }
        }
    }

    /// What goes on at the microphone, as a line. Waits up to half a second until the mic is let go of or taken again, for
    /// the switch itself does not wait for that.
    pub(super) fn scene(&self, act: Act) -> Result<String, DemoError> {
        let wanted = match act {
            Act::Secret => MicState::Released,
            Act::Before | Act::After => MicState::Capturing,
        };
        let deadline = Instant::now() + Duration::from_millis(500);
        let mut state = self.daemon.status()?.real_mic.state;
        while state != wanted && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
            state = self.daemon.status()?.real_mic.state;
        }
        let real = match state {
            MicState::Capturing => "captured",
            MicState::Released => "released: nothing captures it",
            MicState::Denied | MicState::AllZero => "captured, without sound",
            MicState::Missing => "missing",
        };
        let said = match self.voice {
            Voice::Speech => format!("it says \"{}\"", act.text()),
            Voice::Tones => "it plays tones".to_owned(),
        };
        Ok(format!("Microphone     {real}; {said}\n"))
    }

    /// One line with each app's pulls while live and while muted.
    pub(super) fn counts(&self) -> Result<String, DemoError> {
        let clients = self.clients()?;
        let figures: Vec<_> = self
            .apps
            .iter()
            .zip(clients)
            .map(|(recording, client)| {
                let (live, muted) =
                    client.map_or((0, 0), |client| (client.live.pulls, client.muted.pulls));
                format!("{} {live}/{muted}", recording.app().name())
            })
            .collect();
        Ok(format!("Pulls          live/muted: {}", figures.join("  ")))
    }

    /// Each app's running stream, in the order of the apps.
    fn clients(&self) -> Result<Vec<Option<ClientStats>>, DemoError> {
        let stats = self.daemon.clients()?;
        let of = |recording: &AppRecording| {
            stats
                .clients
                .iter()
                .find(|client| {
                    client.who.pid == Some(recording.id())
                        && client.state == ClientState::Running
                        && client.live.pulls + client.muted.pulls > 0
                })
                .cloned()
        };
        Ok(self.apps.iter().map(of).collect())
    }

    /// Ends everything and gives what the apps recorded.
    pub(super) fn close(mut self) -> Result<Vec<(App, Recording)>, DemoError> {
        let mut recordings = Vec::new();
        for recording in self.apps.drain(..) {
            recordings.push((recording.app(), recording.finish()?));
        }
        Ok(recordings)
    }
}

/// The first apps that are installed, of different programs.
fn choose_apps() -> Result<Vec<App>, DemoError> {
    let (mut chosen, missing): (Vec<App>, Vec<App>) =
        App::ALL.into_iter().partition(|app| app.is_installed());
    chosen.dedup_by_key(|app| app.program());
    chosen.truncate(APPS);
    if chosen.len() < ENOUGH {
        let packages: BTreeSet<_> = missing
            .iter()
            .flat_map(|app| app.packages().split(' '))
            .collect();
        return Err(DemoError::TooFewApps {
            found: chosen.len(),
            packages: Vec::from_iter(packages).join(" "),
        });
    }
    Ok(chosen)
}
