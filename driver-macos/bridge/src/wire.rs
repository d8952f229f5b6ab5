//! Messages on a socket: a length of four bytes, little-endian, then the message. Nothing here waits, and nothing grows beyond
//! one message each way. What the messages say is `message.rs`.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{self, Errno};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recv, recvmsg, send, sendmsg,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

const LENGTH: usize = 4;

/// Bytes read at once.
const PIECE: usize = 4096;

/// Why no more messages come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The peer hung up.
    Ended,
    /// It announced a message that is too long, or an empty one.
    NotAMessage,
    /// The system refused.
    System(Errno),
}

/// Never a signal for a write to a peer that is gone: it would end the process, which in the plug-in is Core Audio's.
#[cfg(not(target_vendor = "apple"))]
const QUIET: SendFlags = SendFlags::NOSIGNAL;
/// There it is said of the socket, in [`Wire::new`].
#[cfg(target_vendor = "apple")]
const QUIET: SendFlags = SendFlags::empty();

/// A program that is started meanwhile does not inherit a descriptor that comes.
#[cfg(not(target_vendor = "apple"))]
const CLOSE_ON_EXEC: RecvFlags = RecvFlags::CMSG_CLOEXEC;
/// There it is said of the descriptor, when it has come.
#[cfg(target_vendor = "apple")]
const CLOSE_ON_EXEC: RecvFlags = RecvFlags::empty();

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: UnixStream,
    incoming: Vec<u8>,
    /// Bytes of `incoming` that were given out.
    taken: usize,
    largest_incoming: usize,
    outbox: Outbox,
    /// The last descriptor that came.
    descriptor: Option<OwnedFd>,
}

impl Wire {
    /// CONNRESET if the peer has hung up already.
    pub(crate) fn new(socket: UnixStream, largest_incoming: usize) -> io::Result<Self> {
        // XNU takes no option for a socket whose peer is gone (`sosetoptlock` in `bsd/kern/uipc_socket.c`).
        #[cfg(target_vendor = "apple")]
        rustix::net::sockopt::set_socket_nosigpipe(&socket, true).map_err(|error| match error {
            Errno::INVAL => Errno::CONNRESET,
            error => error,
        })?;
        socket
            .set_nonblocking(true)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        Ok(Self {
            socket,
            incoming: Vec::new(),
            taken: 0,
            largest_incoming,
            outbox: Outbox::default(),
            descriptor: None,
        })
    }

    /// The socket once more, for a thread that sends.
    pub(crate) fn try_clone_socket(&self) -> std::io::Result<UnixStream> {
        self.socket.try_clone()
    }

    /// The socket, which neither waits nor raises a signal any more.
    pub(crate) fn into_socket(self) -> UnixStream {
        self.socket
    }

    /// Reads what is there, at most [`PIECE`] bytes; false if nothing is. Call [`Wire::next`] until it has nothing, then again.
    ///
    /// Without room for descriptors: where there is some, XNU opens all that came before it drops those that do not fit, so a
    /// peer could use up the process's.
    pub(crate) fn receive(&mut self) -> Result<bool, Broken> {
        let mut piece = [0; PIECE];
        let received = recv(&self.socket, &mut piece, RecvFlags::empty()).map(|(bytes, _)| bytes);
        self.keep(&piece, received)
    }

    /// The same, with room for one descriptor: only for a peer that is trusted with one.
    pub(crate) fn receive_with_descriptor(&mut self) -> Result<bool, Broken> {
        let mut piece = [0; PIECE];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(
            &self.socket,
            &mut [IoSliceMut::new(&mut piece)],
            &mut control,
            CLOSE_ON_EXEC,
        );
        // Descriptors that nobody wants are closed here.
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptor = descriptors.last().or(self.descriptor.take());
                #[cfg(target_vendor = "apple")]
                if let Some(descriptor) = &self.descriptor {
                    io::fcntl_setfd(descriptor, io::FdFlags::CLOEXEC).map_err(Broken::System)?;
                }
            }
        }
        self.keep(&piece, received.map(|received| received.bytes))
    }

    fn keep(&mut self, piece: &[u8], received: io::Result<usize>) -> Result<bool, Broken> {
        match received {
            Ok(0) => Err(Broken::Ended),
            Ok(bytes) => {
                self.incoming.drain(..self.taken);
                self.taken = 0;
                self.incoming.extend(piece.iter().take(bytes));
                Ok(true)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(false),
            Err(Errno::CONNRESET | Errno::PIPE) => Err(Broken::Ended),
            Err(error) => Err(Broken::System(error)),
        }
    }

    /// The next whole message.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, Broken> {
        let rest = self.incoming.get(self.taken..).unwrap_or_default();
        let Some((length, rest)) = rest.split_first_chunk::<LENGTH>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length == 0 || length > self.largest_incoming {
            return Err(Broken::NotAMessage);
        }
        let message = rest.get(..length);
        if message.is_some() {
            self.taken += LENGTH + length;
        }
        Ok(message)
    }

    /// Takes a message to be sent; there must be none waiting.
    pub(crate) fn queue(&mut self, message: &[u8]) {
        self.outbox.queue(message);
    }

    /// Whether a message waits to be sent.
    pub(crate) fn is_sending(&self) -> bool {
        self.outbox.is_sending()
    }

    /// Sends as much as the system takes.
    pub(crate) fn flush(&mut self) -> Result<(), Broken> {
        self.outbox.flush(&self.socket)
    }

    /// Sends a message with a descriptor, as the first one on a socket, which has room for all of it.
    pub(crate) fn send_first(
        &mut self,
        message: &[u8],
        descriptor: BorrowedFd<'_>,
    ) -> Result<(), Broken> {
        self.queue(message);
        let descriptors = [descriptor];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let bytes = [IoSlice::new(&self.outbox.bytes)];
        self.outbox.sent =
            sendmsg(&self.socket, &bytes, &mut control, QUIET).map_err(|error| match error {
                Errno::PIPE | Errno::CONNRESET => Broken::Ended,
                error => Broken::System(error),
            })?;
        Ok(())
    }

    /// The descriptor that came last.
    pub(crate) fn take_descriptor(&mut self) -> io::Result<OwnedFd> {
        self.descriptor.take().ok_or(Errno::BADF)
    }
}

/// A message on its way out.
#[derive(Debug, Default)]
struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outbox {
    fn queue(&mut self, message: &[u8]) {
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        self.bytes.clear();
        self.sent = 0;
        self.bytes.extend(length.to_le_bytes());
        self.bytes.extend(message);
    }

    fn is_sending(&self) -> bool {
        self.sent < self.bytes.len()
    }

    fn flush(&mut self, socket: &UnixStream) -> Result<(), Broken> {
        while let Some(rest @ [_, ..]) = self.bytes.get(self.sent..) {
            match send(socket, rest, QUIET) {
                Ok(sent) => self.sent += sent,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(Broken::Ended),
                Err(error) => return Err(Broken::System(error)),
            }
        }
        Ok(())
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Wakes whoever waits for the other end of this socket.
pub(crate) fn wake(socket: &UnixStream) {
    // If its buffer is full, the other end has been woken often enough.
    let _ = send(socket, &[0], QUIET);
}

/// Forgets how often the other end woke this one.
pub(crate) fn woken(socket: &UnixStream) {
    let mut piece = [0; 64];
    while recv(socket, &mut piece, RecvFlags::empty()).is_ok_and(|(bytes, _)| bytes == piece.len())
    {
    }
}

/// Sends a whole message; waits for a peer that does not read, but not longer than `longest` (then TIMEDOUT, and nothing can be
/// sent after it).
pub(crate) fn send_whole(
    socket: &UnixStream,
    message: &[u8],
    longest: Duration,
) -> Result<(), Broken> {
    let deadline = Instant::now() + longest;
    let mut wire = Outbox::default();
    wire.queue(message);
    loop {
        wire.flush(socket)?;
        if !wire.is_sending() {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| Broken::System(Errno::INVAL))?;
        match poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&left)) {
            Ok(0) => return Err(Broken::System(Errno::TIMEDOUT)),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Broken::System(error)),
        }
    }
}
