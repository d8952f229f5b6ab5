//! A backend whose gate lives in a driver, as the daemon uses it: `truemute-agent` behind [`Backend`], started with the
//! configuration. What is of one system only is said by whoever makes it: `coreaudio.rs`, `wasapi.rs`, and tests, on a
//! made-up system.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use truemute_agent::agent::{Agent, Failure, Options};
use truemute_agent::choice::Wishes;
use truemute_agent::driver::Connect;
use truemute_agent::system::System;
use truemute_core::observed::{AppSwitched, Applied, MutedApp, Snapshot};

use super::{Backend, BackendError, BackendFactory, EventSink};
use crate::config::{Counting, Guard, Settings, WhileMuted};

/// Connects to the virtual mic that a driver makes.
pub struct AgentFactory {
    name: &'static str,
    options: Options,
    driver: Arc<dyn Connect>,
    system: Arc<dyn System>,
    unsupported: Vec<String>,
}

impl AgentFactory {
    /// Every connection that it makes has these settings. `name` is the backend's, as a status has it; `last_default` is the file that remembers the last default input that
    /// was not TrueMute.
    pub fn new(
        name: &'static str,
        settings: &Settings,
        system: Arc<dyn System>,
        driver: impl Connect + 'static,
        last_default: Option<&Path>,
    ) -> Self {
        let config = &settings.config;
        Self {
            name,
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
            driver: Arc::new(driver),
            unsupported: unsupported(settings, system.names().system),
            system,
        }
    }
}

/// What the configuration asks for and this system does not give, as sentences.
fn unsupported(settings: &Settings, system: &str) -> Vec<String> {
    let config = &settings.config;
    [
        (
            config.guard == Guard::Enforce,
            "guard = \"enforce\" only reports. Set hold_device to true to have the microphone for TrueMute alone while muted.",
        ),
        (
            config.mute_hardware,
            "mute_hardware does nothing. Remove it from the configuration.",
        ),
        (
            config.channels.is_some_and(|channels| channels != 2),
            "the virtual mic always has 2 channels. Remove channels from the configuration.",
        ),
        (
            config.counting == Counting::Profiler,
            "the driver counts, whatever counting says. Remove counting from the configuration.",
        ),
    ]
    .into_iter()
    .filter(|(asked, _)| *asked)
    .map(|(_, sentence)| format!("On {system}, {sentence}"))
    .collect()
}

impl BackendFactory for AgentFactory {
    fn start(&mut self, events: EventSink) -> Result<Arc<dyn Backend>, BackendError> {
        let agent = Agent::start(
            self.options.clone(),
            &*self.driver,
            self.system.clone(),
            events.into(),
        )?;
        Ok(Arc::new(Running {
            name: self.name,
            agent,
            unsupported: self.unsupported.clone(),
        }))
    }
}

struct Running {
    name: &'static str,
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
        self.name.into()
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::config::{Config, Policy};

    #[test]
    fn failures_keep_both_sentences() {
        let folder = tempfile::tempdir().unwrap();
        let driver = truemute_macos::PlugIn {
            folder: folder.path().into(),
            users: Vec::new(),
            published: || None,
        };
        let system = Arc::new(truemute_agent::simulated::Simulated::new(Vec::new()));
        let settings = Settings::default();
        let mut factory = AgentFactory::new("coreaudio", &settings, system, driver, None);
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
    fn what_the_system_does_not_give_is_said_once_each() {
        assert_eq!(
            unsupported(&Settings::default(), "macOS"),
            Vec::<String>::new()
        );
        let config =
            "guard = \"enforce\"\nmute_hardware = true\nchannels = 1\ncounting = \"profiler\"";
        let settings = Settings::new(Config::parse(config).unwrap(), Policy::default());
        let sentences = unsupported(&settings, "macOS");
        assert_eq!(sentences.len(), 4);
        assert!(sentences.iter().all(|it| it.starts_with("On macOS, ")));
    }
}
