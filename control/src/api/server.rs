//! Accepts connections and keeps them within bounds: how many there are, and who may have one.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::connection;
use super::socket::{OwnSocket, Peer};
use crate::daemon::Handle;
use crate::protocol::{ErrorCode, ErrorObject, Outcome, Reply};
use crate::system::Stream;

/// Connections at one time.
pub const MAX_CONNECTIONS: usize = 32;

/// Of these, connections that follow `watch` or `trace`; the others stay free for commands.
pub const MAX_FOLLOWERS: usize = 24;

/// A connection that has said nothing for so long makes room for a new one when all are taken.
const IDLE: Duration = Duration::from_secs(1);

/// A peer that does not read is given up after this time.
const WRITE_TIME: Duration = Duration::from_secs(5);

/// The running server. Call [`Server::stop`]; dropping it leaves its threads.
pub struct Server {
    socket: Arc<OwnSocket>,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

pub(super) struct Shared {
    pub(super) daemon: Handle,
    table: Mutex<Table>,
    ending: AtomicBool,
}

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

impl Server {
    /// Serves `daemon` on `socket` from now on.
    pub fn start(socket: OwnSocket, daemon: Handle) -> io::Result<Server> {
        let socket = Arc::new(socket);
        let shared = Arc::new(Shared {
            daemon,
            table: Mutex::default(),
            ending: AtomicBool::new(false),
        });
        let accepting = std::thread::Builder::new().name("api".into()).spawn({
            let (socket, shared) = (socket.clone(), shared.clone());
            move || shared.accept(&socket)
        })?;
        Ok(Server {
            socket,
            shared,
            accepting,
        })
    }

    /// Closes every connection and removes the socket. Replies that are being written are cut off after [`WRITE_TIME`].
    pub fn stop(self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        self.socket.close();
        let _ = self.accepting.join();
        let entries = std::mem::take(&mut self.shared.table().entries);
        for entry in entries.values() {
            let _ = entry.stream.shutdown(Shutdown::Read);
        }
        for thread in entries.into_values().filter_map(|entry| entry.thread) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: Arc<Shared>, socket: &OwnSocket) {
        while !self.ending.load(Ordering::SeqCst) {
            match socket.accept() {
                Ok(stream) => {
                    if let Err(error) = self.admit(stream) {
                        tracing::warn!("a connection could not be served: {error}");
                    }
                }
                Err(_) if self.ending.load(Ordering::SeqCst) => return,
                Err(error) => {
                    tracing::warn!("no connection could be accepted: {error}");
                    // Out of file descriptors or memory: trying at once would only burn the processor.
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        }
    }

    fn admit(self: &Arc<Shared>, stream: Stream) -> io::Result<()> {
        stream.set_write_timeout(Some(WRITE_TIME))?;
        let peer = Peer::of(&stream)?;
        if !peer.is_same_user() {
            return refuse(
                &stream,
                ErrorCode::Forbidden,
                "This daemon serves its own user only.",
                "Run the command as the user whose daemon it is.",
            );
        }
        let mut table = self.table();
        if table.entries.len() >= MAX_CONNECTIONS && !table.make_room(peer.process()) {
            drop(table);
            return refuse(
                &stream,
                ErrorCode::TooMany,
                "All 32 connections are busy.",
                "Close one, or try again later.",
            );
        }
        let number = table.next;
        table.next += 1;
        let entry = Entry {
            stream: stream.try_clone()?,
            idle_since: Some(Instant::now()),
            following: false,
            process: peer.process(),
            thread: None,
        };
        table.entries.insert(number, entry);
        let shared = self.clone();
        let spawned = std::thread::Builder::new()
            .name("api-connection".into())
            .spawn(move || {
                connection::serve(&stream, number, &shared);
                shared.table().entries.remove(&number);
            });
        match spawned {
            Ok(thread) => {
                if let Some(entry) = table.entries.get_mut(&number) {
                    entry.thread = Some(thread);
                }
                Ok(())
            }
            Err(error) => {
                table.entries.remove(&number);
                Err(error)
            }
        }
    }

    /// The connection is being served, or is idle again.
    pub(super) fn busy(&self, number: u64, busy: bool) {
        if let Some(entry) = self.table().entries.get_mut(&number) {
            entry.idle_since = (!busy).then(Instant::now);
        }
    }

    /// The connection wants to follow; false if too many do.
    pub(super) fn follow(&self, number: u64) -> bool {
        let mut table = self.table();
        let followers = table.entries.values().filter(|entry| entry.following);
        if followers.count() >= MAX_FOLLOWERS {
            return false;
        }
        if let Some(entry) = table.entries.get_mut(&number) {
            entry.following = true;
        }
        true
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

fn refuse(mut stream: &Stream, code: ErrorCode, message: &str, remedy: &str) -> io::Result<()> {
    let reply = Reply {
        id: None,
        outcome: Outcome::Error(ErrorObject {
            code,
            message: message.into(),
            remedy: remedy.into(),
        }),
    };
    let mut line = serde_json::to_vec(&reply)?;
    line.push(b'\n');
    // The accepting thread must not wait for a peer; the line fits into an empty socket buffer.
    stream.set_nonblocking(true)?;
    stream.write_all(&line)
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
