//! How urgent the daemon's threads are to the scheduler. The audio thread's priority is the audio system's matter.

use crate::system;

/// Puts the calling thread before others, if the system lets it.
pub(super) fn go_first() {
    if let Err(error) = system::go_first() {
        tracing::debug!("the thread stays at its priority: {error}");
    }
}
