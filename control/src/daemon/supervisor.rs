//! Starts the backend, and starts it again with growing pauses when the audio server is gone. What the backend is told
//! then is the actor's.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use truemute_core::observed::Event;

use super::actor::Message;
use super::feed::{Note, Publisher};
use super::priority::go_first;
use crate::backend::{Backend, BackendError};

/// Where a backend's events go. It never blocks; any thread but the audio thread may call it.
pub type EventSink = Box<dyn Fn(Event) + Send + Sync>;

/// Makes backends: the real one, or a test's.
pub trait BackendFactory: Send {
    /// Starts a backend whose gate is silent until [`Backend::unmute`]. Waits a few seconds at most.
    fn start(&mut self, events: EventSink) -> Result<Arc<dyn Backend>, BackendError>;
}

/// First pause before another try.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Longest pause before another try.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The actor's end of the starting thread. Dropping it ends the thread.
pub(super) struct Supervisor {
    orders: Option<Sender<Option<Arc<dyn Backend>>>>,
    thread: Option<JoinHandle<()>>,
}

impl Supervisor {
    /// Starts the thread and the first backend.
    pub(super) fn start(
        factory: Box<dyn BackendFactory>,
        actor: Sender<Message>,
        publisher: Arc<Publisher>,
    ) -> std::io::Result<Supervisor> {
        let (orders, received) = channel();
        let starter = Starter {
            factory,
            actor,
            publisher,
            orders: received,
            generation: 0,
        };
        let thread = std::thread::Builder::new()
            .name("backend-start".into())
            .spawn(move || {
                // The backend's threads inherit it.
                go_first();
                starter.run();
            })?;
        let supervisor = Supervisor {
            orders: Some(orders),
            thread: Some(thread),
        };
        supervisor.restart(None);
        Ok(supervisor)
    }

    /// Drops the old backend (which may take a while, so it happens over there) and starts another.
    pub(super) fn restart(&self, old: Option<Arc<dyn Backend>>) {
        if let Some(orders) = &self.orders {
            let _ = orders.send(old);
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Starter {
    factory: Box<dyn BackendFactory>,
    actor: Sender<Message>,
    publisher: Arc<Publisher>,
    orders: Receiver<Option<Arc<dyn Backend>>>,
    generation: u64,
}

impl Starter {
    fn run(mut self) {
        while let Ok(old) = self.orders.recv() {
            drop(old);
            let mut pause = FIRST_PAUSE;
            while let Err(error) = self.start_one() {
                let _ = self.actor.send(Message::StartFailed(error));
                if let Err(RecvTimeoutError::Disconnected) = self.orders.recv_timeout(pause) {
                    return;
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    fn start_one(&mut self) -> Result<(), BackendError> {
        self.generation += 1;
        let generation = self.generation;
        let backend = self.factory.start(self.sink(generation))?;
        let _ = self.actor.send(Message::Started(generation, backend));
        Ok(())
    }

    fn sink(&self, generation: u64) -> EventSink {
        let (actor, publisher) = (self.actor.clone(), self.publisher.clone());
        Box::new(move |event| match event {
            // Pulls carry their own times and come by the ten thousand: they go to the listeners' bounded queues, not
            // through the actor's.
            Event::Pulls { pulls, lost } => publisher.publish(&Note::Pulls(Arc::new(pulls), lost)),
            event => {
                let _ = actor.send(Message::Event(generation, event));
            }
        })
    }
}
