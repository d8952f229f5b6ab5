//! How urgent the daemon's threads are to the scheduler. The audio thread's priority is PipeWire's matter.

/// The nice value that PipeWire's own server asks for (`nice.level` in its pipewire.conf).
const NICE: i32 = -11;

/// Puts the calling thread before others, so that a busy machine does not let the lease run out, which would mute. It
/// cannot starve anybody, as a real-time thread could. Without the right to do so the thread stays as it is: Linux
/// grants it to root and up to RLIMIT_NICE (setpriority(2), where 0 is the calling thread alone).
pub(super) fn go_first() {
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!("the thread stays at its priority: {error}");
    }
}
