//! An agent's ear that remembers, and waiting for a state.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use truemute_bridge::client::{ClientError, Watcher};
use truemute_bridge::message::Event;

/// Remembers what it hears.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ear {
    pub(crate) events: Arc<Mutex<Vec<Event>>>,
    pub(crate) lost: Arc<Mutex<Option<ClientError>>>,
}

impl Watcher for Ear {
    fn event(&mut self, event: Event) {
        self.events.lock().unwrap().push(event);
    }

    fn lost(&mut self, why: ClientError) {
        *self.lost.lock().unwrap() = Some(why);
    }
}

/// Waits until `found` finds something, for ten seconds.
pub(crate) fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(it) = found() {
            return it;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
