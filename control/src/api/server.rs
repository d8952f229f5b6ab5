//! Accepts connections and keeps them within bounds: how many there are, and who may have one.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::connection;
use super::socket::{OwnSocket, same_user};
use crate::daemon::Handle;
use crate::protocol::{ErrorCode, ErrorObject, Outcome, Reply};

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
    stream: UnixStream,
    /// When it was last idle since; absent while it is being served.
    idle_since: Option<Instant>,
    following: bool,
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
        let _ = rustix::net::shutdown(self.socket.listener(), rustix::net::Shutdown::Both);
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
            match socket.listener().accept() {
                Ok((stream, _)) => {
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

    fn admit(self: &Arc<Shared>, stream: UnixStream) -> io::Result<()> {
        stream.set_write_timeout(Some(WRITE_TIME))?;
        if !same_user(&stream)? {
            return refuse(
                &stream,
                ErrorCode::Forbidden,
                "This daemon serves its own user only.",
                "Run the command as the user whose daemon it is.",
            );
        }
        let mut table = self.table();
        if table.entries.len() >= MAX_CONNECTIONS && !table.make_room() {
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
    /// Closes the connection that has been idle longest: idle ones must never keep a mute out.
    fn make_room(&mut self) -> bool {
        let longest = self
            .entries
            .iter()
            .filter(|(_, entry)| !entry.following)
            .filter_map(|(number, entry)| Some((entry.idle_since?, *number)))
            .min();
        match longest {
            Some((since, number)) if since.elapsed() >= IDLE => {
                if let Some(entry) = self.entries.remove(&number) {
                    let _ = entry.stream.shutdown(Shutdown::Both);
                }
                true
            }
            _ => false,
        }
    }
}

fn refuse(mut stream: &UnixStream, code: ErrorCode, message: &str, remedy: &str) -> io::Result<()> {
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
