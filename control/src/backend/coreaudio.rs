//! The macOS backend, as the daemon uses it: the agent over `truemute-macos`, behind [`Backend`], started with the configuration. It also runs
//! elsewhere, on a made-up system, for tests.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use truemute_agent::agent::{Agent, Failure, Options};
use truemute_agent::choice::Wishes;
use truemute_agent::system::System;
use truemute_core::observed::{AppSwitched, Applied, MutedApp, Snapshot};
use truemute_macos::PlugIn;

use super::{Backend, BackendError, BackendFactory, EventSink};
use crate::config::{Counting, Guard, Settings, WhileMuted};

/// Connects to the virtual mic that TrueMute.driver makes inside Core Audio.
pub struct CoreAudioFactory {
    options: Options,
    driver: PlugIn,
    system: Arc<dyn System>,
    unsupported: Vec<String>,
}

impl CoreAudioFactory {
    /// Every connection that it makes has these settings. `last_default` is the file that remembers the last default input that
    /// was not TrueMute.
    pub fn new(
        settings: &Settings,
        system: Arc<dyn System>,
        driver: PlugIn,
        last_default: Option<&Path>,
    ) -> Self {
        let config = &settings.config;
        Self {
            options: Options {
                wishes: Wishes {
                    wanted: config.real_mic.clone(),
                    allowed: settings.allowed_real_mics.clone(),
                },
                hold: config.while_muted == WhileMuted::Hold,
                report_bypasses: config.guard != Guard::Off,
                trusted_processors: config.trusted_processors.clone(),
                hog: config.hold_device,
                last_default: last_default.map(Path::to_owned),
            },
            driver,
            system,
            unsupported: unsupported(settings),
        }
    }

    /// On this Mac.
    #[cfg(target_os = "macos")]
    pub fn of_system(settings: &Settings) -> Self {
        let driver = PlugIn {
            folder: truemute_macos::FOLDER.into(),
            users: truemute_macos::TRUSTED_USERS.into(),
            published: truemute_macos::coreaudio::socket,
        };
        let state = crate::store::state_directory();
        let last_default = state.map(|state| state.join("last-default-input"));
        let system = Arc::new(truemute_macos::coreaudio::CoreAudio);
        Self::new(settings, system, driver, last_default.as_deref())
    }
}

/// What the configuration asks for and macOS does not give, as sentences.
fn unsupported(settings: &Settings) -> Vec<String> {
    let config = &settings.config;
    [
        (
            config.guard == Guard::Enforce,
            "On macOS, guard = \"enforce\" only reports. Set hold_device to true to have the microphone for TrueMute alone while muted.",
        ),
        (
            config.mute_hardware,
            "On macOS, mute_hardware does nothing. Remove it from the configuration.",
        ),
        (
            config.channels.is_some_and(|channels| channels != 2),
            "On macOS, the virtual mic always has 2 channels. Remove channels from the configuration.",
        ),
        (
            config.counting == Counting::Profiler,
            "On macOS, the driver always counts exactly. Remove counting from the configuration.",
        ),
    ]
    .into_iter()
    .filter(|(asked, _)| *asked)
    .map(|(_, sentence)| sentence.to_owned())
    .collect()
}

impl BackendFactory for CoreAudioFactory {
    fn start(&mut self, events: EventSink) -> Result<Arc<dyn Backend>, BackendError> {
        let agent = Agent::start(
            self.options.clone(),
            &self.driver,
            self.system.clone(),
            events.into(),
        )?;
        Ok(Arc::new(Running {
            agent,
            unsupported: self.unsupported.clone(),
        }))
    }
}

struct Running {
    agent: Agent,
    unsupported: Vec<String>,
}

impl Backend for Running {
    fn mute(&self) -> Result<Applied, BackendError> {
        Ok(self.agent.mute()?)
    }

    fn silence(&self) {
        self.agent.silence();
    }

    fn unmute(&self) -> Result<Applied, BackendError> {
        Ok(self.agent.unmute()?)
    }

    fn mute_app(&self, which: &str) -> Result<AppSwitched, BackendError> {
        Ok(self.agent.mute_app(which)?)
    }

    fn unmute_app(&self, which: &str) -> Result<AppSwitched, BackendError> {
        Ok(self.agent.unmute_app(which)?)
    }

    fn restore_muted_apps(&self, apps: &[MutedApp]) {
        self.agent.restore_muted_apps(apps);
    }

    /// The driver's lease lasts 250 ms from when it hears of this, so the gate falls silent 300 ms after `answered` at most.
    fn renew_lease(&self, answered: Instant) {
        self.agent.renew_lease(answered);
    }

    fn is_alive(&self) -> bool {
        self.agent.is_alive()
    }

    fn snapshot(&self) -> Result<Snapshot, BackendError> {
        let mut look = self.agent.snapshot()?;
        look.warnings.extend(self.unsupported.iter().cloned());
        Ok(look)
    }

    fn forget_gone(&self, clients: &[u64], bypasses: &[u64]) {
        self.agent.forget_gone(clients, bypasses);
    }

    fn description(&self) -> String {
        "coreaudio".into()
    }

    fn set_tracing(&self, on: bool) {
        self.agent.set_tracing(on);
    }
}

impl From<Failure> for BackendError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotConfirmed { waited_ms } => Self::NotConfirmed { waited_ms },
            other => {
                // Each message is two sentences: what went wrong, and what to do.
                let text = other.to_string();
                let (what, remedy) = text.split_once(". ").unwrap_or((&text, ""));
                let (what, remedy) = (what.to_owned(), remedy.to_owned());
                match other {
                    Failure::NoSuchClient(_) | Failure::NotMuted(_) => {
                        Self::Unknown { what, remedy }
                    }
                    _ => Self::Unreachable { what, remedy },
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Policy};

    #[test]
    fn failures_keep_both_sentences() {
        let folder = tempfile::tempdir().unwrap();
        let driver = PlugIn {
            folder: folder.path().into(),
            users: Vec::new(),
            published: || None,
        };
        let system = Arc::new(truemute_agent::simulated::Simulated::new(Vec::new()));
        let settings = Settings::default();
        let mut factory = CoreAudioFactory::new(&settings, system, driver, None);
        let absent = factory.start(Box::new(|_| {})).err().unwrap().to_string();
        assert!(
            absent.contains("is not there") && absent.contains("Install it"),
            "{absent}"
        );
        let failure = Failure::NoThread(11);
        let text = failure.to_string();
        assert_eq!(BackendError::from(failure).to_string(), text);
    }

    #[test]
    fn what_macos_does_not_give_is_said_once_each() {
        assert_eq!(unsupported(&Settings::default()), Vec::<String>::new());
        let config =
            "guard = \"enforce\"\nmute_hardware = true\nchannels = 1\ncounting = \"profiler\"";
        let settings = Settings::new(Config::parse(config).unwrap(), Policy::default());
        assert_eq!(unsupported(&settings).len(), 4);
    }
}
