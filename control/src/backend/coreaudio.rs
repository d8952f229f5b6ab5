//! The macOS backend, as the daemon uses it.

use std::sync::Arc;

use super::{Backend, BackendError};
use crate::config::Settings;
use crate::daemon::{BackendFactory, EventSink};

/// Connects to the virtual mic that TrueMute.driver makes inside Core Audio.
pub struct CoreAudioFactory;

impl CoreAudioFactory {
    /// Every connection that it makes has these settings.
    pub fn new(_: &Settings) -> Self {
        Self
    }
}

impl BackendFactory for CoreAudioFactory {
    fn start(&mut self, _: EventSink) -> Result<Arc<dyn Backend>, BackendError> {
        Err(BackendError::Refused {
            what: "This build has no backend for macOS yet".into(),
            remedy: "Wait for a release that has.".into(),
        })
    }

    fn on_arrival(&mut self, _: Box<dyn Fn() + Send>) {}
}
