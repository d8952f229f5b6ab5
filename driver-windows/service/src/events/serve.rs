//! The service's work: it takes readers, and listens to Windows' trace as long as there is one. What it listens with and where readers
//! come from are traits, so that all of it runs on Linux; Windows' own are `etw` and a named pipe.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::hub::Hub;

/// How often the trace's losses are asked for, and whether anybody still reads.
const LOOK: Duration = Duration::from_secs(1);

/// How long after it failed a trace is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// Listens to the events.
pub trait Traces: Send {
    /// Begins to hand events to `hub`, until what it returns is dropped.
    ///
    /// # Errors
    /// Why it cannot, and what to do, as two sentences.
    fn start(&self, hub: Hub) -> Result<Box<dyn Trace>, String>;
}

/// A trace that runs.
pub trait Trace {
    /// Events that it lost, since its start.
    ///
    /// # Errors
    /// It has ended. Why, and what to do, as two sentences.
    fn lost(&mut self) -> Result<u64, String>;
}

/// Where readers come from.
pub trait Accepts: Send + Sync {
    /// Waits for the next one. Writes to it end with an error after a time.
    ///
    /// # Errors
    /// No more can come.
    fn accept(&self) -> io::Result<Box<dyn Write + Send>>;

    /// Ends [`Accepts::accept`], now and later.
    fn close(&self);
}

/// Serves until something is sent, or the other end of `stop` is gone.
pub fn serve(traces: &dyn Traces, readers: Arc<dyn Accepts>, stop: &Receiver<()>) {
    let hub = Hub::default();
    let accepting = thread::spawn({
        let (hub, readers) = (hub.clone(), readers.clone());
        move || {
            while let Ok(mut reader) = readers.accept() {
                let hub = hub.clone();
                // A reader who leaves is no news.
                thread::spawn(move || drop(hub.serve(&mut reader)));
            }
        }
    });
    let mut listening = Listening {
        trace: None,
        told: 0,
        failed: None,
    };
    while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(LOOK) {
        listening.look(traces, &hub);
    }
    drop(listening);
    hub.end();
    readers.close();
    let _ = accepting.join();
}

struct Listening {
    trace: Option<Box<dyn Trace>>,
    /// Losses that were told of this trace.
    told: u64,
    failed: Option<Instant>,
}

impl Listening {
    fn look(&mut self, traces: &dyn Traces, hub: &Hub) {
        if hub.readers() == 0 {
            // A trace costs the whole machine something.
            self.trace = None;
            hub.set_state(false, None);
            return;
        }
        let rests = self.failed.is_some_and(|failed| failed.elapsed() < AGAIN);
        if self.trace.is_none() && !rests {
            match traces.start(hub.clone()) {
                Ok(trace) => {
                    (self.trace, self.told, self.failed) = (Some(trace), 0, None);
                    hub.set_state(true, None);
                }
                Err(why) => self.fail(hub, why),
            }
        }
        match self.trace.as_mut().map(|trace| trace.lost()) {
            Some(Ok(lost)) => {
                hub.lose(lost.saturating_sub(self.told));
                self.told = self.told.max(lost);
            }
            Some(Err(why)) => self.fail(hub, why),
            None => {}
        }
    }

    fn fail(&mut self, hub: &Hub, why: String) {
        self.trace = None;
        self.failed = Some(Instant::now());
        hub.set_state(false, Some(why));
    }
}
