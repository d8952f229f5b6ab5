//! Ctrl-C during the demo: the first ends it in order, the second at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use signal_hook::flag;
use signal_hook::low_level::unregister;

use super::DemoError;

/// Watches for SIGINT, SIGTERM and SIGHUP as long as it lives.
pub(super) struct Interrupt {
    flag: Arc<AtomicBool>,
    handlers: Vec<signal_hook::SigId>,
}

impl Interrupt {
    pub(super) fn watch() -> io::Result<Self> {
        let mut interrupt = Self {
            flag: Arc::new(AtomicBool::new(false)),
            handlers: Vec::new(),
        };
        for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
            let signal = signal.as_raw();
            let (now, next) = (interrupt.flag.clone(), interrupt.flag.clone());
            // In this order: the second signal finds the flag set by the first.
            interrupt
                .handlers
                .push(flag::register_conditional_shutdown(signal, 1, next)?);
            interrupt.handlers.push(flag::register(signal, now)?);
        }
        Ok(interrupt)
    }

    /// An error if a signal has come.
    pub(super) fn check(&self) -> Result<(), DemoError> {
        if self.flag.load(Ordering::Relaxed) {
            Err(DemoError::Interrupted)
        } else {
            Ok(())
        }
    }

    /// Waits until `time`, or fails as soon as a signal comes.
    pub(super) fn wait_until(&self, time: Instant) -> Result<(), DemoError> {
        loop {
            self.check()?;
            let left = time.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(Duration::from_millis(20)));
        }
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        for handler in self.handlers.drain(..) {
            unregister(handler);
        }
    }
}
