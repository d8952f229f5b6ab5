//! The service's events on their way to who reads them: each reader has a queue of its own, and what does not fit is counted as lost.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Line, RawEvent, SCHEMA};

/// Readers at a time: the agent, and a person who looks.
const MOST_READERS: usize = 8;

/// Events that wait for a reader at most: a second of forty apps, at two events each for every 5 ms.
const QUEUE: usize = 16_384;

/// Events in a line at most.
const LINE: usize = 256;

/// How often is looked whether there is something to write, and how often something is written in any case.
const LOOK: Duration = Duration::from_millis(100);
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// Where events go. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Hub(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    inside: Mutex<Inside>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Inside {
    readers: Vec<Queue>,
    last_reader: u64,
    state: State,
    ended: bool,
}

/// Whether events are listened to, and why they cannot be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    listens: bool,
    trouble: Option<String>,
}

#[derive(Debug, Default)]
struct Queue {
    reader: u64,
    events: VecDeque<RawEvent>,
    lost: u64,
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An event, for all readers.
    pub fn tell(&self, event: &RawEvent) {
        for queue in &mut self.lock().readers {
            match queue.events.len() < QUEUE {
                true => queue.events.push_back(event.clone()),
                false => queue.lost += 1,
            }
        }
    }

    /// So many more events were lost before they came here.
    pub fn lose(&self, events: u64) {
        for queue in &mut self.lock().readers {
            queue.lost += events;
        }
    }

    /// Whether events are listened to from now on, and why they cannot be.
    pub fn set_state(&self, listens: bool, trouble: Option<String>) {
        self.lock().state = State { listens, trouble };
    }

    /// How many read.
    pub fn readers(&self) -> usize {
        self.lock().readers.len()
    }

    /// Ends every [`Hub::serve`].
    pub fn end(&self) {
        self.lock().ended = true;
        self.0.ended.notify_all();
    }

    /// Writes lines to a reader, until it has gone or [`Hub::end`].
    ///
    /// # Errors
    /// The reader has gone, or there are too many.
    pub fn serve(&self, out: &mut impl Write) -> io::Result<()> {
        let reader = {
            let mut inside = self.lock();
            if inside.readers.len() >= MOST_READERS {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            inside.last_reader += 1;
            let reader = inside.last_reader;
            inside.readers.push(Queue {
                reader,
                ..Queue::default()
            });
            reader
        };
        let served = self.serve_until_end(reader, out);
        self.lock().readers.retain(|queue| queue.reader != reader);
        served
    }

    fn serve_until_end(&self, reader: u64, out: &mut impl Write) -> io::Result<()> {
        let mut written: Option<(Instant, State)> = None;
        while let Some((line, state)) = self.next_line(reader) {
            let is_news = !line.events.is_empty()
                || line.lost > 0
                || written
                    .as_ref()
                    .is_none_or(|(at, said)| *said != state || at.elapsed() >= SIGN_OF_LIFE);
            let is_full = line.events.len() == LINE;
            if is_news {
                let mut text = serde_json::to_vec(&line)?;
                text.push(b'\n');
                out.write_all(&text)?;
                out.flush()?;
                written = Some((Instant::now(), state));
            }
            if !is_full {
                let inside = self.lock();
                let waited = self
                    .0
                    .ended
                    .wait_timeout_while(inside, LOOK, |inside| !inside.ended);
                drop(waited.unwrap_or_else(PoisonError::into_inner));
            }
        }
        Ok(())
    }

    /// What there is for a reader now; nothing if it is the end.
    fn next_line(&self, reader: u64) -> Option<(Line, State)> {
        let mut inside = self.lock();
        if inside.ended {
            return None;
        }
        let state = inside.state.clone();
        let mut queues = inside.readers.iter_mut();
        let queue = queues.find(|queue| queue.reader == reader)?;
        let events = queue.events.len().min(LINE);
        let line = Line {
            schema: SCHEMA,
            events: queue.events.drain(..events).collect(),
            lost: std::mem::take(&mut queue.lost),
            listens: state.listens,
            trouble: state.trouble.clone(),
        };
        Some((line, state))
    }
}
