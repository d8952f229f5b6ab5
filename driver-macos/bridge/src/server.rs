//! The plug-in's end: one thread that listens, lets one producer in, and answers it. What a peer can do to it is to be
//! dropped: every message has a largest size, every wait an end, and nothing is queued beyond one message.

use crate::device::Device;
use crate::listener::Listener;
use crate::memory::Incoming;
use crate::message::{FromPlugin, LARGEST_FROM_PLUGIN, Refused, encode};
use crate::peer::{self, AllowedUser};
use crate::producer::{CONSOLE_USER, Producer, Verdict};
use crate::wire::{self, Wire};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often the thread looks up without being woken: for a lease or a peer's time that runs out, and for its own socket.
const BUSY_TICK: Duration = Duration::from_millis(50);
const IDLE_TICK: Duration = Duration::from_secs(5);

/// Refusals that are remembered.
const MOST_REFUSALS: usize = 32;

/// Errors of the system that are remembered.
const MOST_ERRORS: usize = 8;

/// What a [`Server`] went through, for the plug-in's diagnosis.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Where it listens in a folder of its own; nothing if it cannot, and tries again.
    pub own_path: Option<PathBuf>,
    /// Where it listens by the rule; nothing if it cannot, and tries again.
    pub path: Option<PathBuf>,
    /// The error numbers of the last attempt to listen, one for each path that failed.
    pub failed: Vec<(PathBuf, i32)>,
    /// The user of the producer, if there is one.
    pub producer: Option<u32>,
    /// Producers so far.
    pub producers: u64,
    /// The last peers that were turned away or dropped, the oldest first: their user, why, and when, in nanoseconds of the host's
    /// clock.
    pub refused: VecDeque<(u32, Refused, u64)>,
    /// All of them.
    pub refusals: u64,
    /// The last errors of the system that were none of the above, the oldest first: what was tried, and its number. One that comes
    /// again and again is in it once.
    pub errors: VecDeque<(&'static str, i32)>,
}

/// The plug-in's end of the bridge. Dropping it ends the connection and the thread, and removes the socket.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    waker: UnixStream,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    report: Mutex<Report>,
}

impl Shared {
    fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// Starts to serve `device` and to fill `incoming`, at the first of [`crate::place::paths`] in `folder` that can be had, and in a
    /// folder of its own within it, whose name comes from [`Device::instance`]. Where it cannot, it tries again every few seconds, and
    /// [`Server::report`] says why.
    ///
    /// # Errors
    /// The system gives no socket pair or no thread.
    pub fn start(
        folder: &Path,
        allowed: AllowedUser,
        device: Arc<dyn Device>,
        incoming: Arc<Incoming>,
    ) -> io::Result<Self> {
        let (waker, woken) = UnixStream::pair()?;
        let waker = Wire::new(waker, 0)?.into_socket();
        let woken = Wire::new(woken, 0)?.into_socket();
        let shared = Arc::new(Shared::default());
        let serving = Serving {
            listeners: [
                Listener::in_own_folder(folder, device.instance()),
                Listener::by_rule(folder),
            ],
            allowed,
            device,
            incoming,
            producer: None,
            shared: shared.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("truemute-bridge".into())
            .spawn(move || serving.run(&woken))?;
        Ok(Self {
            shared,
            waker,
            thread: Some(thread),
        })
    }

    /// Has the bridge look at the device: its clock or the number of running clients changed. Never waits; not for audio
    /// threads, as it calls the system.
    pub fn poke(&self) {
        wire::wake(&self.waker);
    }

    /// What it went through. Any thread but an audio thread.
    pub fn report(&self) -> Report {
        self.shared.report().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.poke();
        if let Some(thread) = self.thread.take() {
            // It does not panic; if it did, there is nobody to tell.
            let _ = thread.join();
        }
    }
}

/// What the thread has.
struct Serving {
    /// In its own folder, and by the rule.
    listeners: [Listener; 2],
    allowed: AllowedUser,
    device: Arc<dyn Device>,
    incoming: Arc<Incoming>,
    producer: Option<Producer>,
    shared: Arc<Shared>,
}

impl Serving {
    fn run(mut self, woken: &UnixStream) {
        while !self.shared.stop.load(Ordering::Relaxed) {
            self.listen();
            if let Err(error) = self.wait(woken) {
                self.note("poll", error);
                std::thread::sleep(BUSY_TICK);
            }
            wire::woken(woken);
            // The producer first: if it has hung up, whoever comes next is welcome.
            self.serve();
            self.accept();
        }
        self.drop_producer(None);
    }

    /// Until something happens, or a tick has passed.
    fn wait(&self, woken: &UnixStream) -> Result<(), Errno> {
        let mut sources = vec![PollFd::new(woken, PollFlags::IN)];
        for socket in self.listeners.iter().filter_map(Listener::socket) {
            sources.push(PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN));
        }
        let mut tick = IDLE_TICK;
        if let Some(producer) = &self.producer {
            tick = BUSY_TICK;
            sources.push(PollFd::from_borrowed_fd(
                producer.as_fd(),
                producer.interest(),
            ));
        }
        let tick = Timespec::try_from(tick).map_err(|_| Errno::INVAL)?;
        match poll(&mut sources, Some(&tick)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn listen(&mut self) {
        // Both, whatever came of the first.
        let tried = self.listeners.each_mut().map(Listener::listen);
        if tried.contains(&true) {
            let mut report = self.shared.report();
            let [own, rule] = &self.listeners;
            report.own_path = own.path().map(Path::to_owned);
            report.path = rule.path().map(Path::to_owned);
            report.failed = [own.failed(), rule.failed()].concat();
        }
    }

    fn serve(&mut self) {
        let Some(producer) = &mut self.producer else {
            return;
        };
        let was_in = producer.is_in();
        let verdict = producer.serve(&*self.device, &self.incoming, &self.allowed);
        let user = producer.is_in().then_some(producer.user());
        // Also one that came and went within one turn was there.
        self.shared.report().producers += u64::from(!was_in && user.is_some());
        match verdict {
            Verdict::Stays => {
                self.shared.report().producer = user;
            }
            Verdict::Gone => self.drop_producer(None),
            Verdict::Dropped(why) => self.drop_producer(Some(why)),
            Verdict::Failed(what, error) => {
                self.note(what, error);
                self.drop_producer(None);
            }
        }
    }

    /// Silence first, then the rest.
    fn drop_producer(&mut self, why: Option<Refused>) {
        let Some(mut producer) = self.producer.take() else {
            return;
        };
        producer.silence(&*self.device, &self.incoming);
        if let Some(why) = why {
            producer.tell_end(why);
            self.refused(producer.user(), why);
        }
        self.shared.report().producer = None;
    }

    fn accept(&mut self) {
        for at in 0..self.listeners.len() {
            // One at a time: a crowd at the door does not keep the producer waiting.
            match self.listeners.get(at).map(Listener::accept) {
                Some(Ok(Some(socket))) => self.greet(socket),
                Some(Err(error)) => self.note("accept", error),
                _ => {}
            }
        }
    }

    fn greet(&mut self, socket: UnixStream) {
        let user = match peer::user(&socket) {
            Ok(user) => user,
            Err(error) => return self.note("peer credentials", error),
        };
        let allowed = (self.allowed)().unwrap_or_else(|error| {
            self.note(CONSOLE_USER, error);
            None
        });
        let why = if allowed != Some(user) {
            Refused::User { uid: user }
        } else if self.producer.is_some() {
            Refused::Busy
        } else {
            match Producer::new(socket, user) {
                Ok(producer) => self.producer = Some(producer),
                // It has hung up already.
                Err(Errno::CONNRESET) => {}
                Err(error) => self.note("socket", error),
            }
            return;
        };
        self.refused(user, why);
        // As far as the system takes it at once: nobody waits for whoever is turned away.
        if let Ok(mut wire) = Wire::new(socket, 0)
            && let Ok(message) = encode(&FromPlugin::Refused(why), LARGEST_FROM_PLUGIN)
        {
            wire.queue(&message);
            let _ = wire.flush();
        }
    }

    fn refused(&self, user: u32, why: Refused) {
        let mut report = self.shared.report();
        report.refusals += 1;
        report.refused.push_back((user, why, self.device.now_ns()));
        if report.refused.len() > MOST_REFUSALS {
            report.refused.pop_front();
        }
    }

    fn note(&self, what: &'static str, error: Errno) {
        let error = (what, error.raw_os_error());
        let mut report = self.shared.report();
        report.errors.retain(|earlier| *earlier != error);
        report.errors.push_back(error);
        if report.errors.len() > MOST_ERRORS {
            report.errors.pop_front();
        }
    }
}
