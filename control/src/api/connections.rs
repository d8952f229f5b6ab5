//! Who is connected: how many there may be, and which connection makes room for a new one.

use std::collections::BTreeMap;
use std::net::Shutdown;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::system::Stream;

/// Connections at one time.
pub const MAX_CONNECTIONS: usize = 32;

/// Of these, connections that follow `watch` or `trace`; the others stay free for commands.
pub const MAX_FOLLOWERS: usize = 24;

/// A connection that has said nothing for so long makes room for a new one when all are taken.
const IDLE: Duration = Duration::from_secs(1);

/// All connections, by number.
#[derive(Default)]
pub(super) struct Connections(Mutex<Table>);

#[derive(Default)]
struct Table {
    next: u64,
    entries: BTreeMap<u64, Entry>,
}

struct Entry {
    stream: Stream,
    /// When it was last idle since; absent while it is being served.
    idle_since: Option<Instant>,
    following: bool,
    /// The process that opened it.
    process: u32,
    thread: Option<JoinHandle<()>>,
}

impl Connections {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in one that `process` opened; nothing if all are taken and none can make room.
    pub(super) fn take_in(self: &Arc<Self>, stream: Stream, process: u32) -> Option<Seat> {
        let mut table = self.table();
        if table.entries.len() >= MAX_CONNECTIONS && !table.make_room(process) {
            return None;
        }
        let number = table.next;
        table.next += 1;
        let entry = Entry {
            stream,
            idle_since: Some(Instant::now()),
            following: false,
            process,
            thread: None,
        };
        table.entries.insert(number, entry);
        Some(Seat {
            connections: self.clone(),
            number,
        })
    }

    /// This thread serves the connection of that number, unless it has ended by now.
    pub(super) fn served_by(&self, number: u64, thread: JoinHandle<()>) {
        if let Some(entry) = self.table().entries.get_mut(&number) {
            entry.thread = Some(thread);
        }
    }

    /// Reads nothing more from any, and waits until the last answers are out.
    pub(super) fn end(&self) {
        let entries = std::mem::take(&mut self.table().entries);
        for entry in entries.values() {
            let _ = entry.stream.shutdown(Shutdown::Read);
        }
        for thread in entries.into_values().filter_map(|entry| entry.thread) {
            let _ = thread.join();
        }
    }
}

/// A connection's place among them, free again when this is dropped.
pub(super) struct Seat {
    connections: Arc<Connections>,
    number: u64,
}

impl Seat {
    /// Its number, which no other has.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The connection is being served, or is idle again.
    pub(super) fn busy(&self, busy: bool) {
        if let Some(entry) = self.connections.table().entries.get_mut(&self.number) {
            entry.idle_since = (!busy).then(Instant::now);
        }
    }

    /// The connection wants to follow; false if too many do.
    pub(super) fn follow(&self) -> bool {
        let mut table = self.connections.table();
        let followers = table.entries.values().filter(|entry| entry.following);
        if followers.count() >= MAX_FOLLOWERS {
            return false;
        }
        if let Some(entry) = table.entries.get_mut(&self.number) {
            entry.following = true;
        }
        true
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.table().entries.remove(&self.number);
    }
}

impl Table {
    /// Closes a connection for a new one of `process`: neither idle connections nor one greedy process may keep a mute out.
    fn make_room(&mut self, process: u32) -> bool {
        let Some(number) = self
            .longest_idle()
            .or_else(|| self.of_the_greediest(process))
        else {
            return false;
        };
        if let Some(entry) = self.entries.remove(&number) {
            let _ = entry.stream.shutdown(Shutdown::Both);
        }
        true
    }

    /// The connection that has been idle longest, if that is [`IDLE`] at least.
    fn longest_idle(&self) -> Option<u64> {
        self.for_commands()
            .filter_map(|(number, entry)| Some((entry.idle_since?, number)))
            .min()
            .filter(|(since, _)| since.elapsed() >= IDLE)
            .map(|(_, number)| number)
    }

    /// The oldest connection of the process that has the most, if those are at least two more than `process` has.
    fn of_the_greediest(&self, process: u32) -> Option<u64> {
        let mut held = BTreeMap::<u32, (usize, u64)>::new();
        for (number, entry) in self.for_commands() {
            held.entry(entry.process).or_insert((0, number)).0 += 1;
        }
        let own = held.get(&process).map_or(0, |(count, _)| *count);
        held.into_values()
            .max_by_key(|(count, _)| *count)
            .filter(|(count, _)| *count >= own + 2)
            .map(|(_, oldest)| oldest)
    }

    /// Connections that do not follow, by number.
    fn for_commands(&self) -> impl Iterator<Item = (u64, &Entry)> {
        self.entries
            .iter()
            .filter(|(_, entry)| !entry.following)
            .map(|(number, entry)| (*number, entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of busy connections, one for each process in `processes`.
    fn busy(processes: &[u32]) -> Table {
        let entry = |process: &u32| Entry {
            stream: Stream::pair().unwrap().0,
            idle_since: None,
            following: false,
            process: *process,
            thread: None,
        };
        Table {
            next: 0,
            entries: (0..).zip(processes.iter().map(entry)).collect(),
        }
    }

    #[test]
    fn a_greedy_process_makes_room_for_others_only() {
        let mut table = busy(&[7, 9, 9, 9]);
        assert!(!table.make_room(9), "it would only take from itself");
        assert!(table.make_room(8));
        assert_eq!(table.entries.keys().copied().collect::<Vec<_>>(), [0, 2, 3]);
        assert!(
            !busy(&[7, 8, 9]).make_room(7),
            "nobody has more than others"
        );
    }
}
