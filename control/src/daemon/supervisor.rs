//! Starts the backend, and starts it again with growing pauses when the audio server is gone. What the backend is told
//! then is the actor's.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use truemute_core::observed::Event;

use super::actor::Message;
use super::feed::{Note, Publisher};
use super::priority::go_first;
use crate::backend::{Backend, BackendError, BackendFactory, EventSink};

/// First pause before another try.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Longest pause before another try.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The actor's end of the starting thread. Dropping it ends the thread.
pub(super) struct Supervisor {
    orders: Sender<Order>,
    thread: Option<JoinHandle<()>>,
}

enum Order {
    /// Drop this backend, if it is one, and start another.
    Restart(Option<Arc<dyn Backend>>),
    /// A server may have come.
    ServerCame,
    End,
}

impl Supervisor {
    /// Starts the thread and the first backend.
    pub(super) fn start(
        factory: Box<dyn BackendFactory>,
        actor: Sender<Message>,
        publisher: Arc<Publisher>,
    ) -> std::io::Result<Supervisor> {
        Self::start_with(FIRST_PAUSE, factory, actor, publisher)
    }

    fn start_with(
        first_pause: Duration,
        mut factory: Box<dyn BackendFactory>,
        actor: Sender<Message>,
        publisher: Arc<Publisher>,
    ) -> std::io::Result<Supervisor> {
        let (orders, received) = channel();
        let came = orders.clone();
        factory.on_arrival(Box::new(move || drop(came.send(Order::ServerCame))));
        let starter = Starter {
            first_pause,
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
            orders,
            thread: Some(thread),
        };
        supervisor.restart(None);
        Ok(supervisor)
    }

    /// Drops the old backend (which may take a while, so it happens over there) and starts another.
    pub(super) fn restart(&self, old: Option<Arc<dyn Backend>>) {
        let _ = self.orders.send(Order::Restart(old));
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Starter {
    first_pause: Duration,
    factory: Box<dyn BackendFactory>,
    actor: Sender<Message>,
    publisher: Arc<Publisher>,
    orders: Receiver<Order>,
    generation: u64,
}

impl Starter {
    fn run(mut self) {
        let mut pause = self.first_pause;
        let mut started: Option<Instant> = None;
        while let Ok(order) = self.orders.recv() {
            match order {
                Order::Restart(old) => drop(old),
                Order::ServerCame => continue,
                Order::End => return,
            }
            // What is lost as soon as it runs takes the apps with it each time: it is started as what does not start.
            let mut again = started.is_some_and(|at| at.elapsed() < LONGEST_PAUSE);
            if !again {
                pause = self.first_pause;
            }
            loop {
                if again {
                    pause = match self.orders.recv_timeout(pause) {
                        Ok(Order::End) | Err(RecvTimeoutError::Disconnected) => return,
                        // It may not listen yet.
                        Ok(Order::ServerCame) => self.first_pause,
                        Ok(Order::Restart(_)) | Err(RecvTimeoutError::Timeout) => {
                            (pause * 2).min(LONGEST_PAUSE)
                        }
                    };
                }
                match self.start_one() {
                    Ok(()) => break,
                    Err(error) => drop(self.actor.send(Message::StartFailed(error))),
                }
                again = true;
            }
            started = Some(Instant::now());
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

#[cfg(test)]
mod tests {
    use super::super::lease::tests::Renewals;
    use super::*;

    /// Starts at once.
    struct Present;

    impl BackendFactory for Present {
        fn start(&mut self, _: EventSink) -> Result<Arc<dyn Backend>, BackendError> {
            Ok(Arc::new(Renewals::default()))
        }
    }

    #[test]
    fn what_is_lost_as_soon_as_it_runs_is_started_after_growing_pauses() {
        const FIRST: Duration = Duration::from_millis(20);
        let soon = Duration::from_secs(20);
        let (actor, told) = channel();
        let begun = Instant::now();
        let supervisor =
            Supervisor::start_with(FIRST, Box::new(Present), actor, Arc::default()).unwrap();
        for _ in 0..4 {
            let Ok(Message::Started(_, backend)) = told.recv_timeout(soon) else {
                panic!("it does not start");
            };
            supervisor.restart(Some(backend));
        }
        assert!(matches!(
            told.recv_timeout(soon),
            Ok(Message::Started(5, _))
        ));
        assert!(begun.elapsed() >= FIRST * (1 + 2 + 4 + 8));
    }

    /// Fails, and hands out how it is told that a server came.
    struct Absent(Sender<Box<dyn Fn() + Send>>);

    impl BackendFactory for Absent {
        fn start(&mut self, _: EventSink) -> Result<Arc<dyn Backend>, BackendError> {
            Err(BackendError::Unreachable {
                what: "No PipeWire answers".into(),
                remedy: "Start it".into(),
            })
        }

        fn on_arrival(&mut self, came: Box<dyn Fn() + Send>) {
            self.0.send(came).unwrap();
        }
    }

    #[test]
    fn a_server_that_comes_ends_the_pause() {
        const NEVER: Duration = Duration::from_secs(3600);
        let soon = Duration::from_secs(20);
        let (given, taken) = channel();
        let (actor, told) = channel();
        let publisher = Arc::default();
        let absent = Box::new(Absent(given));
        let supervisor = Supervisor::start_with(NEVER, absent, actor, publisher).unwrap();
        let came = taken.recv().unwrap();
        let failed = || matches!(told.recv_timeout(soon), Ok(Message::StartFailed(_)));
        assert!(failed());
        came();
        assert!(failed());
        // And the end does not wait for it either.
        drop(supervisor);
    }
}
