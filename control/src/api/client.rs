//! Speaks to a daemon: what the command line uses, and any Rust program may.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::socket::Peer;
use crate::protocol::{Answer, Call, ErrorObject, Outcome, Reply, Request, RequestId};
use crate::system::{self, Stream};

/// Longer than the daemon's own limit for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody listens there.
    #[error("No daemon answers at {}. Set it up with `truemute install`; where that is done, start it with `{}`.", .0.display(), system::START)]
    NoDaemon(PathBuf),
    /// The socket is another user's.
    #[error("The daemon at {} is another user's. Run the command as that user, or start a daemon of your own.", .0.display())]
    Denied(PathBuf),
    /// Nothing can listen there.
    #[error("{} cannot be a socket: {source}. Name the daemon's socket with --socket or TRUEMUTE_SOCKET.", path.display())]
    NoSocket {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The daemon said no.
    #[error("{} {}", .0.message, .0.remedy)]
    Refused(ErrorObject),
    /// It took the connection and says nothing.
    #[error(
        "The daemon did not answer within 8 seconds. Restart it with `{}`; its log may say why ({}).",
        system::RESTART,
        system::LOG
    )]
    Silent,
    /// The connection broke.
    #[error(
        "The connection to the daemon broke: {0}. Look at the daemon's log ({log}), and try again.",
        log = system::LOG
    )]
    Broken(io::Error),
    /// The daemon speaks another version.
    #[error(
        "The daemon answered what this version does not understand: {0}. Restart the daemon, so that both are of one version."
    )]
    NotUnderstood(serde_json::Error),
}

/// One connection to a daemon.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<Stream>,
    calls: u64,
}

impl Client {
    /// Connects to the daemon at `socket`.
    pub fn connect(socket: &Path) -> Result<Client, ClientError> {
        let stream = Stream::connect(socket).map_err(|error| not_connected(error, socket))?;
        // Whoever can write to the folder of a socket could say "muted" in the daemon's place.
        if !Peer::of(&stream)
            .map_err(ClientError::Broken)?
            .is_same_user()
        {
            return Err(ClientError::Denied(socket.to_owned()));
        }
        stream
            .set_read_timeout(Some(ANSWER_WITHIN))
            .map_err(ClientError::Broken)?;
        stream
            .set_write_timeout(Some(ANSWER_WITHIN))
            .map_err(ClientError::Broken)?;
        Ok(Client {
            stream: BufReader::new(stream),
            calls: 0,
        })
    }

    /// Calls and waits for the answer.
    pub fn call(&mut self, call: Call) -> Result<Answer, ClientError> {
        self.calls += 1;
        // The user is asked, and takes as long as it takes.
        if call == Call::Unlock {
            let within = crate::lock::PATIENCE + ANSWER_WITHIN;
            let stream = self.stream.get_ref();
            stream
                .set_read_timeout(Some(within))
                .map_err(ClientError::Broken)?;
        }
        let request = Request {
            id: RequestId::Number(self.calls),
            call,
        };
        let mut line = serde_json::to_vec(&request).map_err(ClientError::NotUnderstood)?;
        line.push(b'\n');
        // A daemon that refuses the connection writes why and closes: the answer is there although the write failed.
        let written = self.stream.get_mut().write_all(&line);
        let reply: Reply = match self.next_line() {
            Err(ClientError::Broken(read)) if read.kind() == io::ErrorKind::WouldBlock => {
                return Err(ClientError::Silent);
            }
            Err(ClientError::Broken(read)) => {
                return Err(ClientError::Broken(written.err().unwrap_or(read)));
            }
            reply => reply?,
        };
        match reply.outcome {
            Outcome::Result(answer) => Ok(*answer),
            Outcome::Error(error) => Err(ClientError::Refused(error)),
        }
    }

    /// After [`Call::Trace`]: the lines that follow, as they come. Reading waits as long as it takes.
    pub fn into_lines(self) -> Result<BufReader<Stream>, ClientError> {
        self.stream
            .get_ref()
            .set_read_timeout(None)
            .map_err(ClientError::Broken)?;
        Ok(self.stream)
    }

    /// After [`Call::Watch`]: waits for the next line, as long as it takes. None: the daemon ended.
    pub fn follow<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ClientError> {
        self.stream
            .get_ref()
            .set_read_timeout(None)
            .map_err(ClientError::Broken)?;
        match self.next_line() {
            Err(ClientError::Broken(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Ok(None)
            }
            line => line.map(Some),
        }
    }

    fn next_line<T: DeserializeOwned>(&mut self) -> Result<T, ClientError> {
        let mut line = Vec::new();
        self.stream
            .read_until(b'\n', &mut line)
            .map_err(ClientError::Broken)?;
        if line.last() != Some(&b'\n') {
            return Err(ClientError::Broken(io::ErrorKind::UnexpectedEof.into()));
        }
        serde_json::from_slice(&line).map_err(ClientError::NotUnderstood)
    }
}

fn not_connected(error: io::Error, socket: &Path) -> ClientError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            ClientError::NoDaemon(socket.to_owned())
        }
        io::ErrorKind::PermissionDenied => ClientError::Denied(socket.to_owned()),
        io::ErrorKind::InvalidInput | io::ErrorKind::NotADirectory => ClientError::NoSocket {
            path: socket.to_owned(),
            source: error,
        },
        _ => ClientError::Broken(error),
    }
}
