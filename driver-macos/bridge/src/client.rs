//! The agent's end: connects, asks, and hears what the plug-in tells. Every request has an end, even if the plug-in hangs.

use crate::memory::Outgoing;
use crate::message::{
    Aside, Event, FromAgent, FromPlugin, GateState, LARGEST_FROM_AGENT, LARGEST_FROM_PLUGIN, Muted,
    Opened, Pulls, Recorded, Refused, Reply, Request, Snapshot, VERSION, Welcome, decode, encode,
};
use crate::peer;
use crate::place::paths;
use crate::wire::{self, Broken, Wire};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, connect, socket};
use std::collections::HashMap;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long the plug-in may take for anything. It takes milliseconds; a backend may take a second for everything.
const PATIENCE: Duration = Duration::from_millis(900);

/// How often a client that has nothing to say says that.
const PING: Duration = Duration::from_secs(1);

/// The users that Core Audio's helper may run as on a Mac: `_coreaudiod` and root.
pub const TRUSTED: [u32; 2] = [202, 0];

/// Hears what the plug-in tells. Called on the client's own thread; must not call the client.
pub trait Watcher: Send {
    /// Something changed.
    fn event(&mut self, event: Event);

    /// The connection is gone, and the ring with it. The last call.
    fn lost(&mut self, why: ClientError);
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "The driver is not there: nobody listens at {0:?} or its neighbours. Install it, or restart the machine if it is installed."
    )]
    NoDriver(PathBuf),
    /// Somebody else listens.
    #[error(
        "Somebody else listens in the driver's place {0:?}: user {1}. Find out who, and remove the socket."
    )]
    Impostor(PathBuf, u32),
    /// The plug-in does not want this agent, or not any more.
    #[error("The driver refuses this program: {0}. See `truemute doctor` for what to do about it.")]
    Refused(Refused),
    /// The connection is gone.
    #[error("The driver has hung up. It is tried again; if it goes on, restart the machine.")]
    Ended,
    /// No answer.
    #[error("The driver does not answer. If it goes on, restart the machine.")]
    TimedOut,
    /// What came makes no sense.
    #[error(
        "The driver says what this program does not understand. Install both from the same version."
    )]
    NotUnderstood,
    /// The system failed.
    #[error("The connection to the driver failed at {0} (error {1}). Restart the machine.")]
    System(&'static str, i32),
}

impl From<Broken> for ClientError {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Ended => Self::Ended,
            Broken::NotAMessage => Self::NotUnderstood,
            Broken::System(error) => Self::System("socket", error.raw_os_error()),
        }
    }
}

/// What connecting gives.
#[derive(Debug)]
pub struct Connected {
    /// The connection.
    pub client: Client,
    /// How the plug-in greeted.
    pub welcome: Welcome,
    /// The ring, for the thread that captures.
    pub ring: Outgoing,
}

/// The agent's end of the bridge. Any thread but an audio thread may call it. Dropping it hangs up, which mutes at once.
#[derive(Debug)]
pub struct Client {
    link: Arc<Link>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Link {
    socket: UnixStream,
    /// One message at a time, whole.
    sending: Mutex<()>,
    next_id: AtomicU32,
    waiting: Mutex<Waiting>,
    waker: UnixStream,
}

#[derive(Debug, Default)]
struct Waiting {
    replies: HashMap<u32, SyncSender<Reply>>,
    /// Once the connection is gone.
    lost: Option<ClientError>,
    /// The client is being dropped.
    stop: bool,
}

impl Client {
    /// Connects to the plug-in that listens in `folder`, at a name that both sides know, and runs as one of the `trusted` users.
    ///
    /// # Errors
    /// There is none, or it refuses.
    pub fn connect(
        folder: &Path,
        trusted: &[u32],
        watcher: Box<dyn Watcher>,
    ) -> Result<Connected, ClientError> {
        Self::connect_at(paths(folder), trusted, watcher)
    }

    /// Connects to the plug-in that listens at the first of `places` where one of the `trusted` users answers.
    ///
    /// # Errors
    /// There is none, or it refuses.
    pub fn connect_at(
        places: impl IntoIterator<Item = PathBuf>,
        trusted: &[u32],
        watcher: Box<dyn Watcher>,
    ) -> Result<Connected, ClientError> {
        let mut wire = find(places, trusted)?;
        let hello = encode(&FromAgent::Hello { version: VERSION }, LARGEST_FROM_AGENT)
            .map_err(|_| ClientError::NotUnderstood)?;
        wire.queue(&hello);
        match wire.flush() {
            // A plug-in that refuses does not wait for the hello.
            Ok(()) | Err(Broken::Ended) => {}
            Err(why) => return Err(why.into()),
        }
        let welcome = match greeting(&mut wire)? {
            FromPlugin::Welcome(welcome) => welcome,
            FromPlugin::Refused(why) => return Err(ClientError::Refused(why)),
            _ => return Err(ClientError::NotUnderstood),
        };
        if welcome.version != VERSION {
            return Err(ClientError::NotUnderstood);
        }
        let memory = |error: Errno| ClientError::System("shared memory", error.raw_os_error());
        let descriptor = wire.take_descriptor().map_err(memory)?;
        let ring = Outgoing::map(descriptor.as_fd()).map_err(memory)?;
        Ok(Connected {
            client: Self::start(wire, watcher)?,
            welcome,
            ring,
        })
    }

    fn start(wire: Wire, watcher: Box<dyn Watcher>) -> Result<Self, ClientError> {
        let system = |what| {
            move |error: std::io::Error| {
                ClientError::System(what, error.raw_os_error().unwrap_or(0))
            }
        };
        let (waker, woken) = UnixStream::pair().map_err(system("socket pair"))?;
        let quiet = |socket| Wire::new(socket, 0).map(Wire::into_socket);
        let error = |error: Errno| ClientError::System("socket pair", error.raw_os_error());
        let (waker, woken) = (quiet(waker).map_err(error)?, quiet(woken).map_err(error)?);
        let link = Arc::new(Link {
            socket: wire.try_clone_socket().map_err(system("socket"))?,
            sending: Mutex::new(()),
            next_id: AtomicU32::new(0),
            waiting: Mutex::default(),
            waker,
        });
        let reader = Reader {
            link: link.clone(),
            wire,
            woken,
            watcher,
            last_ping: Instant::now(),
        };
        let thread = std::thread::Builder::new()
            .name("truemute-bridge".into())
            .spawn(move || reader.run())
            .map_err(system("thread"))?;
        Ok(Self {
            link,
            thread: Some(thread),
        })
    }

    /// Mutes. When this returns with `settled`, whatever is read is zeros.
    ///
    /// # Errors
    /// The connection is gone, which mutes as well, or the plug-in does not answer.
    pub fn mute(&self) -> Result<Muted, ClientError> {
        match self.link.ask(Request::Mute)? {
            Reply::Muted(muted) => Ok(muted),
            _ => Err(ClientError::NotUnderstood),
        }
    }

    /// Opens the gate, with a lease of [`crate::LEASE_NS`].
    ///
    /// # Errors
    /// The connection is gone, or the plug-in does not answer.
    pub fn unmute(&self) -> Result<Opened, ClientError> {
        match self.link.ask(Request::Unmute)? {
            Reply::Unmuted(opened) => Ok(opened),
            _ => Err(ClientError::NotUnderstood),
        }
    }

    /// Renews the lease, if the gate is open; says whether it is. To be called several times in [`crate::LEASE_NS`] by whoever
    /// answers for "live".
    ///
    /// # Errors
    /// The connection is gone, or the plug-in does not answer.
    pub fn renew_lease(&self) -> Result<GateState, ClientError> {
        match self.link.ask(Request::RenewLease)? {
            Reply::Lease { gate } => Ok(gate),
            _ => Err(ClientError::NotUnderstood),
        }
    }

    /// Who reads, and how much: for the record, with what is on it already; with nothing, only to look. Those who left are in
    /// each snapshot until they are among the `recorded` ones.
    ///
    /// # Errors
    /// The connection is gone, or the plug-in does not answer.
    pub fn snapshot(&self, recorded: Option<Recorded>) -> Result<Snapshot, ClientError> {
        match self.link.ask(Request::Snapshot(recorded))? {
            Reply::Snapshot(snapshot) => Ok(snapshot),
            _ => Err(ClientError::NotUnderstood),
        }
    }

    /// Mutes exactly these clients on their own. When this returns true, whatever they read is zeros.
    ///
    /// # Errors
    /// The connection is gone, or the plug-in does not answer.
    pub fn set_aside(&self, aside: Aside) -> Result<bool, ClientError> {
        match self.link.ask(Request::Aside(aside))? {
            Reply::Aside { settled } => Ok(settled),
            _ => Err(ClientError::NotUnderstood),
        }
    }

    /// Has the plug-in keep single reads from now on, or none.
    ///
    /// # Errors
    /// The connection is gone, or the plug-in does not answer.
    pub fn trace(&self, on: bool) -> Result<(), ClientError> {
        match self.link.ask(Request::Trace(on))? {
            Reply::Pong => Ok(()),
            _ => Err(ClientError::NotUnderstood),
        }
    }

    /// The single reads that were kept since the last time.
    ///
    /// # Errors
    /// The connection is gone, or the plug-in does not answer.
    pub fn pulls(&self) -> Result<Pulls, ClientError> {
        match self.link.ask(Request::Pulls)? {
            Reply::Pulls(pulls) => Ok(pulls),
            _ => Err(ClientError::NotUnderstood),
        }
    }

    /// What the plug-in knows about itself, as text for people.
    ///
    /// # Errors
    /// The connection is gone, or the plug-in does not answer.
    pub fn diag(&self) -> Result<String, ClientError> {
        match self.link.ask(Request::Diag)? {
            Reply::Diag(text) => Ok(text),
            _ => Err(ClientError::NotUnderstood),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.link.waiting().stop = true;
        // Whoever else has the descriptor, a child say, must not keep the producer alive.
        let _ = self.link.socket.shutdown(std::net::Shutdown::Both);
        wire::wake(&self.link.waker);
        if let Some(thread) = self.thread.take() {
            // It panics only if the watcher does, and that has been told.
            let _ = thread.join();
        }
    }
}

impl Link {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, request: Request) -> Result<Reply, ClientError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = sync_channel(1);
        {
            let mut waiting = self.waiting();
            if let Some(why) = &waiting.lost {
                return Err(why.clone());
            }
            waiting.replies.insert(id, sender);
        }
        let answer = self.send(id, request).and_then(|()| {
            receiver
                .recv_timeout(PATIENCE)
                .map_err(|error| match error {
                    RecvTimeoutError::Timeout => ClientError::TimedOut,
                    RecvTimeoutError::Disconnected => {
                        self.waiting().lost.clone().unwrap_or(ClientError::Ended)
                    }
                })
        });
        self.waiting().replies.remove(&id);
        answer
    }

    fn send(&self, id: u32, request: Request) -> Result<(), ClientError> {
        let message = encode(&FromAgent::Request { id, request }, LARGEST_FROM_AGENT)
            .map_err(|_| ClientError::NotUnderstood)?;
        let _one = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = wire::send_whole(&self.socket, &message, PATIENCE);
        if sent == Err(Broken::System(Errno::TIMEDOUT)) {
            // Half a message may be on its way: nothing can follow it.
            let _ = self.socket.shutdown(std::net::Shutdown::Both);
            return Err(ClientError::TimedOut);
        }
        Ok(sent?)
    }
}

/// The client's thread.
struct Reader {
    link: Arc<Link>,
    wire: Wire,
    woken: UnixStream,
    watcher: Box<dyn Watcher>,
    last_ping: Instant,
}

impl Reader {
    fn run(mut self) {
        let why = loop {
            if let Err(why) = self.step() {
                break why;
            }
        };
        let stop = {
            let mut waiting = self.link.waiting();
            waiting.lost = Some(why.clone());
            waiting.replies.clear();
            waiting.stop
        };
        let _ = self.link.socket.shutdown(std::net::Shutdown::Both);
        if !stop {
            self.watcher.lost(why);
        }
    }

    fn step(&mut self) -> Result<(), ClientError> {
        let mut sources = [
            PollFd::new(&self.wire, PollFlags::IN),
            PollFd::new(&self.woken, PollFlags::IN),
        ];
        wait(&mut sources, PING)?;
        if self.link.waiting().stop {
            return Err(ClientError::Ended);
        }
        self.wire.receive()?;
        while let Some(bytes) = self.wire.next()? {
            match decode(bytes).map_err(|_| ClientError::NotUnderstood)? {
                FromPlugin::Reply { id, reply } => {
                    // Nobody may wait for it any more.
                    if let Some(sender) = self.link.waiting().replies.remove(&id) {
                        let _ = sender.try_send(reply);
                    }
                }
                FromPlugin::Event(Event::Ended(why)) => return Err(ClientError::Refused(why)),
                FromPlugin::Event(event) => self.watcher.event(event),
                FromPlugin::Welcome(_) | FromPlugin::Refused(_) => {
                    return Err(ClientError::NotUnderstood);
                }
            }
        }
        if self.last_ping.elapsed() >= PING {
            self.last_ping = Instant::now();
            let id = self.link.next_id.fetch_add(1, Ordering::Relaxed);
            self.link.send(id, Request::Ping)?;
        }
        Ok(())
    }
}

/// The plug-in's socket.
fn find(places: impl IntoIterator<Item = PathBuf>, trusted: &[u32]) -> Result<Wire, ClientError> {
    let (mut impostor, mut last) = (None, PathBuf::new());
    for path in places {
        last.clone_from(&path);
        let Ok(socket) = connect_to(&path) else {
            continue;
        };
        let system = |error: Errno| ClientError::System("connect", error.raw_os_error());
        let user = peer::user(&socket).map_err(system)?;
        if trusted.contains(&user) {
            return Wire::new(socket, LARGEST_FROM_PLUGIN).map_err(|error| match error {
                Errno::CONNRESET => ClientError::Ended,
                error => system(error),
            });
        }
        impostor.get_or_insert(ClientError::Impostor(path, user));
    }
    Err(impostor.unwrap_or(ClientError::NoDriver(last)))
}

/// Without waiting: a plug-in that hangs does not accept.
pub(crate) fn connect_to(path: &Path) -> Result<UnixStream, Errno> {
    let descriptor = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&descriptor, true)?;
    connect(&descriptor, &SocketAddrUnix::new(path)?)?;
    Ok(descriptor.into())
}

/// The plug-in's first message.
fn greeting(wire: &mut Wire) -> Result<FromPlugin, ClientError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(bytes) = wire.next()? {
            return decode(bytes).map_err(|_| ClientError::NotUnderstood);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ClientError::TimedOut);
        }
        wait(&mut [PollFd::new(&*wire, PollFlags::IN)], left)?;
        wire.receive_with_descriptor()?;
    }
}

fn wait(sources: &mut [PollFd<'_>], longest: Duration) -> Result<(), ClientError> {
    let longest = Timespec::try_from(longest).ok();
    match poll(sources, longest.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(ClientError::System("poll", error.raw_os_error())),
    }
}
