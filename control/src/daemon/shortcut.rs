//! The way of a mute past the actor: silences the gate from the thread that received the command. The actor still answers it in
//! its turn, and is the one that knows the state.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::backend::Backend;

/// The backend that runs now, if one does.
#[derive(Default)]
pub(super) struct Shortcut(Mutex<Option<Arc<dyn Backend>>>);

impl Shortcut {
    /// The actor commands this backend from now on.
    pub(super) fn lead_to(&self, backend: Option<Arc<dyn Backend>>) {
        *self.lock() = backend;
    }

    /// Silences the gate at once. To be called before the mute is sent to the actor: an unmute that the actor answers after the
    /// mute is then left alone, and one that it waits for is overtaken.
    pub(super) fn silence(&self) {
        let backend = self.lock().clone();
        if let Some(backend) = backend {
            backend.silence();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<dyn Backend>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
