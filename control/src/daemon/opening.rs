//! Lets a mute through while the actor waits for an unmute to take effect, which can be a second on a busy server. The actor
//! still answers the mute in its turn; until then the gate is silent already.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::backend::Backend;

/// The unmute that the actor waits for now, if it does.
#[derive(Default)]
pub(super) struct Opening(Mutex<Option<(u64, Arc<dyn Backend>)>>);

impl Opening {
    /// The actor is about to unmute. `number` is this unmute's own.
    pub(super) fn begin(&self, number: u64, backend: Arc<dyn Backend>) {
        *self.lock() = Some((number, backend));
    }

    /// The unmute is over. Waits for a mute that came in between.
    pub(super) fn end(&self) {
        *self.lock() = None;
    }

    /// The number of the unmute that the actor waits for. To be asked before the mute is sent to the actor.
    pub(super) fn current(&self) -> Option<u64> {
        self.lock().as_ref().map(|(number, _)| *number)
    }

    /// Silences the gate at once, if the actor still waits for unmute `number`: then the mute is still before it in its queue.
    /// A later unmute is left alone, for that mute has been answered before it.
    pub(super) fn overtake(&self, number: u64) {
        let opening = self.lock();
        if let Some((current, backend)) = opening.as_ref()
            && *current == number
        {
            // The actor's own mute is the one that is confirmed.
            let _ = backend.mute();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<(u64, Arc<dyn Backend>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
