//! Accepts connections of this user, each to be served by a thread of its own.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::connection;
use super::connections::Connections;
use super::socket::{OwnSocket, Peer};
use crate::daemon::Handle;
use crate::protocol::{ErrorCode, ErrorObject, Outcome, Reply};
use crate::system::Stream;

/// A peer that does not read is given up after this time.
const WRITE_TIME: Duration = Duration::from_secs(5);

/// The running server. Call [`Server::stop`]; dropping it leaves its threads.
pub struct Server {
    socket: Arc<OwnSocket>,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    daemon: Handle,
    connections: Arc<Connections>,
    ending: AtomicBool,
}

impl Server {
    /// Serves `daemon` on `socket` from now on.
    pub fn start(socket: OwnSocket, daemon: Handle) -> io::Result<Server> {
        let socket = Arc::new(socket);
        let shared = Arc::new(Shared {
            daemon,
            connections: Arc::default(),
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
        self.shared.connections.end();
    }
}

impl Shared {
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
        let Some(seat) = self
            .connections
            .take_in(stream.try_clone()?, peer.process())
        else {
            return refuse(
                &stream,
                ErrorCode::TooMany,
                "All 32 connections are busy.",
                "Close one, or try again later.",
            );
        };
        let (number, shared) = (seat.number(), self.clone());
        let thread = std::thread::Builder::new()
            .name("api-connection".into())
            .spawn(move || connection::serve(&stream, &shared.daemon, &seat))?;
        self.connections.served_by(number, thread);
        Ok(())
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
