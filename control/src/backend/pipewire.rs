//! The Linux backend, as the daemon uses it: `truemute-pipewire` behind [`Backend`], started with the configuration.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use truemute_core::observed::{AppSwitched, Applied, MutedApp, Snapshot};
use truemute_pipewire::{self as node, Failure, VirtualMic};

use super::{Backend, BackendError, BackendFactory, EventSink};
use crate::config::{Counting, Guard, Settings, WhileMuted};
use crate::store;

/// Where the backend writes down which real mics it muted: beside the history. None without a home directory.
pub fn muted_mics_path() -> Option<PathBuf> {
    Some(store::default_path()?.with_file_name("muted-mics.json"))
}

/// Makes virtual mics on the session's PipeWire server.
pub struct PipewireFactory {
    options: node::Options,
}

impl PipewireFactory {
    /// Every virtual mic that it makes has these settings.
    pub fn new(settings: &Settings) -> Self {
        let config = &settings.config;
        let options = node::Options {
            remote: None,
            while_muted: match config.while_muted {
                WhileMuted::Release => node::WhileMuted::Release,
                WhileMuted::Hold => node::WhileMuted::Hold,
            },
            real_mics: config.real_mic.clone(),
            allowed_real_mics: settings.allowed_real_mics.clone(),
            channels: config.channels,
            counting: match config.counting {
                Counting::Auto => node::Counting::Auto,
                Counting::Profiler => node::Counting::Profiler,
            },
            guard: match config.guard {
                Guard::Off => node::GuardMode::Off,
                Guard::Report => node::GuardMode::Report,
                Guard::Enforce => node::GuardMode::Enforce,
            },
            trusted_processors: config.trusted_processors.clone(),
            hold_device: config.hold_device,
            mute_hardware: config.mute_hardware,
            muted_mics: muted_mics_path(),
        };
        Self { options }
    }
}

impl BackendFactory for PipewireFactory {
    fn start(&mut self, events: EventSink) -> Result<Arc<dyn Backend>, BackendError> {
        let mic = VirtualMic::start(self.options.clone(), events)?;
        let server = mic.server();
        match server.realtime {
            Some(priority) => tracing::info!(priority, "the audio thread is a real-time thread"),
            None => tracing::warn!(
                "the audio thread has no real-time priority: a busy machine can delay it. Install rtkit, or raise the limit rtprio."
            ),
        }
        Ok(Arc::new(mic))
    }

    fn on_arrival(&mut self, came: Box<dyn Fn() + Send>) {
        if let Err(error) = node::on_arrival(self.options.remote.as_deref(), came) {
            tracing::warn!("PipeWire is looked for every few seconds only: {error}");
        }
    }
}

impl Backend for VirtualMic {
    fn mute(&self) -> Result<Applied, BackendError> {
        Ok(VirtualMic::mute(self)?)
    }

    fn silence(&self) {
        VirtualMic::silence(self);
    }

    fn unmute(&self) -> Result<Applied, BackendError> {
        Ok(VirtualMic::unmute(self)?)
    }

    fn mute_app(&self, which: &str) -> Result<AppSwitched, BackendError> {
        Ok(VirtualMic::mute_app(self, which)?)
    }

    fn unmute_app(&self, which: &str) -> Result<AppSwitched, BackendError> {
        Ok(VirtualMic::unmute_app(self, which)?)
    }

    fn restore_muted_apps(&self, apps: &[MutedApp]) {
        VirtualMic::restore_muted_apps(self, apps.to_vec());
    }

    fn renew_lease(&self, answered: Instant) {
        VirtualMic::renew_lease(self, answered);
    }

    fn is_alive(&self) -> bool {
        VirtualMic::is_alive(self)
    }

    fn snapshot(&self) -> Result<Snapshot, BackendError> {
        Ok(VirtualMic::snapshot(self)?)
    }

    fn forget_gone(&self, clients: &[u64], bypasses: &[u64]) {
        VirtualMic::forget_gone(self, clients, bypasses);
    }

    fn description(&self) -> String {
        format!("pipewire {}", self.server().version)
    }

    fn set_tracing(&self, on: bool) {
        VirtualMic::set_tracing(self, on);
    }
}

impl From<Failure> for BackendError {
    fn from(failure: Failure) -> Self {
        if let Failure::NotConfirmed { waited_ms } = failure {
            return Self::NotConfirmed { waited_ms };
        }
        // Each message of the backend is two sentences: what went wrong, and what to do.
        let text = failure.to_string();
        let (what, remedy) = text.split_once(". ").unwrap_or((&text, ""));
        let (what, remedy) = (what.to_owned(), remedy.to_owned());
        match failure {
            Failure::NoSuchClient(_) | Failure::NotMuted(_) => Self::Unknown { what, remedy },
            Failure::Unreachable(_) | Failure::Ended => Self::Unreachable { what, remedy },
            _ => Self::Refused { what, remedy },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_keep_both_sentences() {
        for failure in [
            Failure::Unreachable("no socket".into()),
            Failure::Refused("no such factory".into()),
            Failure::Mismatch {
                library: "0.3.65".into(),
                server: "1.4.2".into(),
            },
            Failure::NotConfirmed { waited_ms: 900 },
            Failure::Overtaken,
            Failure::NoSuchClient("zoom 1. 2".into()),
            Failure::NotMuted("zoom".into()),
            Failure::NotMoved {
                app: "zoom".into(),
                withheld: true,
            },
            Failure::Ended,
        ] {
            let text = failure.to_string();
            assert_eq!(BackendError::from(failure).to_string(), text);
        }
    }
}
