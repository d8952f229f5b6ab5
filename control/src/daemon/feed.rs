//! What the daemon tells its listeners (`watch`, `trace`): bounded queues, one a listener, with losses counted in place.
//! The publisher never waits for a listener. What the listeners make of it is theirs.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use truemute_core::observed::{Pull, Snapshot};

use super::GateChange;
use crate::protocol::Status;

/// Something that the daemon saw or did.
#[derive(Clone, Debug)]
pub enum Note {
    /// The full state changed ([`Topic::Watch`]).
    State(Arc<Status>),
    /// The gate changed, or this is its state at the start of the feed ([`Topic::Trace`]).
    Gate(Arc<GateChange>),
    /// One look at the backend: each second, and after each change of clients or formats ([`Topic::Trace`]).
    Look(Arc<Snapshot>),
    /// Single pulls in order of time, and how many were lost before them on the backend's side ([`Topic::Trace`]).
    Pulls(Arc<Vec<Pull>>, u64),
}

impl Note {
    /// How many lines the note takes in a queue.
    fn lines(&self) -> u64 {
        match self {
            Note::Pulls(pulls, _) => pulls.len() as u64,
            _ => 1,
        }
    }

    /// How many lines are lost when the note is dropped: its own, and the losses that it would have told.
    fn lines_if_dropped(&self) -> u64 {
        match self {
            Note::Pulls(pulls, lost) => pulls.len() as u64 + lost,
            _ => 1,
        }
    }

    fn concerns(&self, topic: Topic) -> bool {
        match self {
            Note::State(_) => topic == Topic::Watch,
            Note::Gate(_) | Note::Look(_) | Note::Pulls(..) => topic == Topic::Trace,
        }
    }
}

/// What a listener wants to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// [`Note::State`] only.
    Watch,
    /// [`Note::Gate`], [`Note::Look`] and [`Note::Pulls`]; the backend records single pulls while anybody listens.
    Trace,
}

impl Topic {
    /// Lines that wait for a slow listener before some are dropped. A trace of 64 clients at a quantum of 64 frames
    /// has 48,000 pulls a second: 65,536 lines (2.6 MB) bridge more than a second.
    fn capacity(self) -> u64 {
        match self {
            Topic::Watch => 64,
            Topic::Trace => 65_536,
        }
    }
}

/// What a listener gets next.
#[derive(Clone, Debug)]
pub enum Item {
    /// A note.
    Note(Note),
    /// So many lines were dropped here, because the listener was too slow.
    Lost(u64),
}

/// Why a listener got nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quiet {
    /// Nothing happened in that time.
    Timeout,
    /// The daemon ends; nothing comes any more.
    Closed,
}

/// A listener's end. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Feed {
    queue: Arc<Queue>,
}

impl Feed {
    /// Waits for the next item, at most `timeout`.
    pub fn next(&self, timeout: Duration) -> Result<Item, Quiet> {
        let deadline = Instant::now() + timeout;
        let mut inner = self.queue.lock();
        loop {
            if let Some(item) = inner.items.pop_front() {
                if let Item::Note(note) = &item {
                    inner.lines -= note.lines();
                }
                return Ok(item);
            }
            if inner.closed {
                return Err(Quiet::Closed);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Quiet::Timeout);
            }
            inner = self
                .queue
                .filled
                .wait_timeout(inner, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

#[derive(Debug)]
struct Queue {
    topic: Topic,
    inner: Mutex<Inner>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    items: VecDeque<Item>,
    /// Lines of the notes in `items`.
    lines: u64,
    closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, note: Note) {
        let lines = note.lines();
        let mut inner = self.lock();
        if inner.lines + lines <= self.topic.capacity() {
            inner.lines += lines;
            inner.items.push_back(Item::Note(note));
        } else if let Some(Item::Lost(lost)) = inner.items.back_mut() {
            *lost += note.lines_if_dropped();
        } else {
            inner.items.push_back(Item::Lost(note.lines_if_dropped()));
        }
        drop(inner);
        self.filled.notify_one();
    }
}

/// The daemon's end: gives each note to every listener that it concerns. Any thread but the audio thread may call it.
#[derive(Debug, Default)]
pub struct Publisher {
    listeners: Mutex<Vec<Weak<Queue>>>,
}

impl Publisher {
    /// A new listener, who gets `first` before anything else.
    pub fn subscribe(&self, topic: Topic, first: impl IntoIterator<Item = Note>) -> Feed {
        let queue = Arc::new(Queue {
            topic,
            inner: Mutex::default(),
            filled: Condvar::new(),
        });
        let mut listeners = self.listeners();
        for note in first {
            queue.push(note);
        }
        listeners.push(Arc::downgrade(&queue));
        Feed { queue }
    }

    /// Gives `note` to every listener that it concerns.
    pub fn publish(&self, note: &Note) {
        self.listeners().retain(|listener| {
            let Some(queue) = listener.upgrade() else {
                return false;
            };
            if note.concerns(queue.topic) {
                queue.push(note.clone());
            }
            true
        });
    }

    /// How many listeners a topic has now.
    pub fn listeners_of(&self, topic: Topic) -> usize {
        self.listeners()
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|queue| queue.topic == topic)
            .count()
    }

    /// Ends every feed, once its listener has read what is left.
    pub fn close(&self) {
        for queue in self.listeners().drain(..).filter_map(|q| q.upgrade()) {
            queue.lock().closed = true;
            queue.filled.notify_all();
        }
    }

    fn listeners(&self) -> MutexGuard<'_, Vec<Weak<Queue>>> {
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use truemute_core::observed::Pull;

    fn pulls(count: u64) -> Note {
        let pull = |position| Pull {
            client: 1,
            monotonic_ns: position,
            position,
            frames: 64,
            live: false,
            flagged: false,
        };
        Note::Pulls(Arc::new((0..count).map(pull).collect()), 0)
    }

    fn read_all(feed: &Feed) -> (u64, u64) {
        let (mut read, mut lost) = (0, 0);
        while let Ok(item) = feed.next(Duration::ZERO) {
            match item {
                Item::Note(note) => read += note.lines(),
                Item::Lost(lines) => lost += lines,
            }
        }
        (read, lost)
    }

    #[test]
    fn a_slow_listener_loses_lines_and_learns_how_many() {
        let publisher = Publisher::default();
        let slow = publisher.subscribe(Topic::Trace, []);
        for _ in 0..100 {
            publisher.publish(&pulls(1000));
        }
        let (read, lost) = read_all(&slow);
        assert_eq!(read, 65_000);
        assert_eq!(read + lost, 100_000);
        publisher.publish(&pulls(7));
        assert_eq!(read_all(&slow), (7, 0));
    }

    #[test]
    fn the_loss_is_told_where_it_happened() {
        let publisher = Publisher::default();
        let slow = publisher.subscribe(Topic::Trace, [pulls(65_536)]);
        publisher.publish(&pulls(1));
        publisher.publish(&pulls(2));
        assert!(matches!(slow.next(Duration::ZERO), Ok(Item::Note(_))));
        publisher.publish(&pulls(5));
        assert!(matches!(slow.next(Duration::ZERO), Ok(Item::Lost(3))));
        assert_eq!(read_all(&slow), (5, 0));
    }

    #[test]
    fn watchers_are_not_told_of_pulls_and_dropped_feeds_do_not_count() {
        let publisher = Publisher::default();
        let watch = publisher.subscribe(Topic::Watch, []);
        publisher.publish(&pulls(1));
        assert_eq!(watch.next(Duration::ZERO).unwrap_err(), Quiet::Timeout);
        assert_eq!(publisher.listeners_of(Topic::Watch), 1);
        drop(watch);
        assert_eq!(publisher.listeners_of(Topic::Watch), 0);
    }

    #[test]
    fn closing_ends_a_feed_after_its_last_note() {
        let publisher = Publisher::default();
        let feed = publisher.subscribe(Topic::Trace, [pulls(1)]);
        publisher.close();
        assert!(feed.next(Duration::ZERO).is_ok());
        assert_eq!(feed.next(Duration::ZERO).unwrap_err(), Quiet::Closed);
    }
}
