//! What plug-in and agent say to each other, and how it is written: postcard, which has no names and no lengths that it
//! does not need. How messages get across is `wire.rs`; what is done about them is `server.rs` and `client.rs`.

use serde::{Deserialize, Serialize};
use std::fmt;
use truemute_core::ledger::Tally;
use truemute_core::observed::Counts;

/// Version of these messages and of the ring. Both sides must have the same: they are installed together.
pub const VERSION: u32 = 3;

/// Bytes of the largest message that the agent may send: [`MOST_RECORDED`] or [`MOST_ASIDE`] numbers.
pub const LARGEST_FROM_AGENT: usize = 4096;

/// Clients that left, at most, in one [`Recorded`].
pub const MOST_RECORDED: usize = 256;

/// Clients, at most, in one [`Aside`].
pub const MOST_ASIDE: usize = 256;

/// Single reads, at most, in one [`Pulls`].
pub const MOST_PULLS: usize = 8192;

/// Bytes of the largest message that the plug-in sends: a snapshot of all clients, or its diagnosis.
pub const LARGEST_FROM_PLUGIN: usize = 1 << 20;

/// What the agent sends. The first message is a [`FromAgent::Hello`], every other one a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromAgent {
    /// Its version.
    Hello {
        /// Its [`VERSION`].
        version: u32,
    },
    /// Something to do.
    Request {
        /// Comes back in the reply.
        id: u32,
        /// What.
        request: Request,
    },
}

/// What the agent wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Silence, from now on.
    Mute,
    /// Open the gate in a new epoch, with a lease.
    Unmute,
    /// The agent still answers for "live".
    RenewLease,
    /// Who reads, and how much: for the record, with what is on it already; with nothing, only to look.
    Snapshot(Option<Recorded>),
    /// Mute exactly these clients on their own.
    Aside(Aside),
    /// Keep single reads from now on, or none.
    Trace(bool),
    /// The single reads since the last time.
    Pulls,
    /// What the plug-in knows about itself.
    Diag,
    /// Nothing: the agent is there.
    Ping,
}

/// What the agent has on record, which the plug-in need not keep for it any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// [`Snapshot::look`] of the last snapshot that it got; 0 if it has had none.
    pub look: u64,
    /// Arrivals of clients that left, and whose last reads are on record: at most [`MOST_RECORDED`].
    pub gone: Vec<u64>,
}

/// The clients that are muted on their own: they get zeros whatever the gate says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aside {
    /// Their arrivals: at most [`MOST_ASIDE`].
    pub clients: Vec<u64>,
    /// The last arrival that was judged. Who came later is silent until he is judged too.
    pub judged: u64,
}

impl Default for Aside {
    /// Nobody is muted on his own, and whoever comes is not either.
    fn default() -> Self {
        Self {
            clients: Vec::new(),
            judged: u64::MAX,
        }
    }
}

impl Aside {
    /// Whether the client with this arrival is silent.
    pub fn is_silent(&self, arrival: u64) -> bool {
        arrival > self.judged || self.clients.contains(&arrival)
    }

    /// Whether nobody is silent, whoever comes.
    pub fn is_nobody(&self) -> bool {
        self.clients.is_empty() && self.judged == u64::MAX
    }
}

/// What the plug-in sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromPlugin {
    /// The agent is the producer now. The descriptor of the ring's memory comes with it.
    Welcome(Welcome),
    /// It is not; the connection ends.
    Refused(Refused),
    /// To the request with this number.
    Reply {
        /// The request's number.
        id: u32,
        /// What came of it.
        reply: Reply,
    },
    /// Something that nobody asked for.
    Event(Event),
}

/// How the plug-in greets its producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Its [`VERSION`].
    pub version: u32,
    /// Differs after each start of the plug-in, so that counts which begin anew never look negative.
    pub instance: u64,
    /// Where its clock stands.
    pub anchor: Anchor,
    /// The gate, which is shut: nobody answered for it.
    pub gate: GateState,
    /// Clients that run IO.
    pub running: u32,
}

/// Where the plug-in's clock stood at one moment of the host's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// The moment, in nanoseconds of the host's monotonic clock (`mach_absolute_time`).
    pub host_ns: u64,
    /// The sample time then, in frames.
    pub sample: u64,
    /// Number of the time line: sample times compare only within one.
    pub seed: u64,
    /// Frames a second.
    pub rate: u32,
}

/// The gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateState {
    /// Number of the epoch.
    pub epoch: u64,
    /// Whether it was unmuted in this epoch. Live is more: it takes a lease, and sound.
    pub open: bool,
}

/// Why an agent does not become the producer, or is it no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refused {
    /// Its messages are of another version.
    Version {
        /// The plug-in's [`VERSION`].
        ours: u32,
    },
    /// It is not the user at the console.
    User {
        /// The user it runs as.
        uid: u32,
    },
    /// There is a producer.
    Busy,
    /// The plug-in could not make the ring.
    NoMemory {
        /// The system's error number.
        errno: i32,
    },
    /// It sent what is no message, or too long a one.
    NotAMessage,
    /// It sent too many messages.
    Flood,
    /// It took too long: over a message, over reading ours, or between two messages.
    Slow,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version { ours } => write!(
                f,
                "the driver speaks version {ours}, and TrueMute version {VERSION}"
            ),
            Self::User { uid } => write!(f, "user {uid} is not the one at the console"),
            Self::Busy => f.write_str("another TrueMute is connected to the driver"),
            Self::NoMemory { errno } => {
                write!(f, "the driver got no shared memory (error {errno})")
            }
            Self::NotAMessage => f.write_str("the driver did not understand a message"),
            Self::Flood => f.write_str("the driver got too many messages"),
            Self::Slow => f.write_str("the driver waited too long for a message or a reader"),
        }
    }
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// To [`Request::Mute`].
    Muted(Muted),
    /// To [`Request::Unmute`].
    Unmuted(Opened),
    /// To [`Request::RenewLease`]: whether the gate is open. If it is not, there is nothing to renew: it was never
    /// unmuted, or the lease had run out, which is a mute.
    Lease {
        /// The gate.
        gate: GateState,
    },
    /// To [`Request::Snapshot`].
    Snapshot(Snapshot),
    /// To [`Request::Aside`].
    Aside {
        /// Whether no read of theirs is under way that began before. Only a reader that hangs keeps this from being so.
        settled: bool,
    },
    /// To [`Request::Pulls`].
    Pulls(Pulls),
    /// To [`Request::Diag`]: text for people.
    Diag(String),
    /// To [`Request::Ping`] and [`Request::Trace`].
    Pong,
}

/// How a mute took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Muted {
    /// The epoch that it opened.
    pub epoch: u64,
    /// Whether no read that began before is still under way. Only a reader that hangs keeps this from being so.
    pub settled: bool,
    /// When this was found, in nanoseconds of the host's clock: whatever is read from then on is zeros, if `settled`.
    pub done_ns: u64,
}

/// How the gate was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The epoch: frames in the ring count only with this tag.
    pub epoch: u64,
    /// When, in nanoseconds of the host's clock: only frames captured from then on count.
    pub opened_ns: u64,
}

/// Who reads, and how much, at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// [`Welcome::instance`].
    pub instance: u64,
    /// Number of this snapshot among those for the record, from 1; 0 if it is none of them.
    pub look: u64,
    /// The moment, in nanoseconds of the host's clock.
    pub at_ns: u64,
    /// Clients that are there, and those that left and are not known to be on record.
    pub clients: Vec<Client>,
    /// Reads that no client made which is in the list or on record.
    pub unattributed: Tally,
    /// Clients that left and whose counts were given up for newer ones: what is not on record of their reads is in
    /// `unattributed`.
    pub forgotten: u64,
}

/// One client of the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Number that no other client of this instance ever had.
    pub arrival: u64,
    /// Core Audio's number for it, which another one may get after it.
    pub id: u32,
    /// Its process, as Core Audio says.
    pub pid: i32,
    /// The bundle id of its process, as Core Audio says; many have none.
    pub bundle: Option<String>,
    /// Whether it runs IO; nothing for one that has left.
    pub running: Option<bool>,
    /// What it read; nothing if it is one too many to be counted, so that its reads are unattributed.
    pub counts: Option<Counts>,
    /// When it last read, in nanoseconds of the host's clock.
    pub last_read_ns: Option<u64>,
}

/// Single reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulls {
    /// Each client's in order of time: at most [`MOST_PULLS`].
    pub pulls: Vec<Pulled>,
    /// Reads that were not kept since the last time: a client's queue was full, or nobody knows whose they were.
    pub lost: u64,
}

/// One read of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulled {
    /// [`Client::arrival`].
    pub arrival: u64,
    /// When, in nanoseconds of the host's clock.
    pub at_ns: u64,
    /// Its first frame on the device's time line.
    pub position: u64,
    /// Its frames.
    pub frames: u32,
    /// Whether it got sound.
    pub live: bool,
    /// Whether it does not begin where the client's last one ended, so that the client may have missed frames.
    pub flagged: bool,
}

/// What the plug-in tells on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// So many clients run IO now.
    Running(u32),
    /// Somebody came: the arrival of the last one who did.
    Arrived(u64),
    /// The clock has a new time line: frames of the old one are no longer read.
    Clock(Anchor),
    /// The gate changed without a request: the lease ran out, which is a mute.
    Gate(GateState),
    /// The plug-in ends the connection.
    Ended(Refused),
}

/// Bytes that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The peer sent what is no message. Install driver and program of the same version.")]
pub struct NotAMessage;

/// The bytes of a message.
///
/// # Errors
/// It is longer than `largest`, or cannot be written.
pub fn encode(message: &impl Serialize, largest: usize) -> Result<Vec<u8>, NotAMessage> {
    let bytes = postcard::to_stdvec(message).map_err(|_| NotAMessage)?;
    (bytes.len() <= largest).then_some(bytes).ok_or(NotAMessage)
}

/// The message of bytes: of all of them, with nothing behind it.
///
/// # Errors
/// They are none.
pub fn decode<'b, M: Deserialize<'b>>(bytes: &'b [u8]) -> Result<M, NotAMessage> {
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Ok(message),
        _ => Err(NotAMessage),
    }
}
