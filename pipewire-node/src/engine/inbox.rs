//! What callbacks of the main loop leave for the engine. libpipewire calls back in the middle of our own calls; so a
//! callback only notes what happened and asks for a turn, and the engine acts when nothing else is on the stack.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    rc::Rc,
};

use super::{Command, sides::Side};
use crate::count::peers_feed::PeerChange;

/// One thing that happened.
pub(crate) enum Note {
    /// A thread of the program asks for something.
    Command(Command),
    /// The virtual mic's stream began or ceased to run, or failed.
    Stream {
        /// Whether the graph runs it.
        streaming: bool,
        /// Why it failed, if it did.
        error: Option<String>,
    },
    /// The desktop set or cleared the mute flag.
    DesktopMute(bool),
    /// A client's node was linked to this source of ours or unlinked, as the counting side sees it.
    Peer(Side, PeerChange),
    /// A message of the server's profiler.
    Profile(Vec<u8>),
    /// The connection to the server ended.
    Lost(String),
}

/// Notes and the descriptor that asks for a turn. Main-loop thread only.
pub(crate) struct Inbox {
    notes: RefCell<VecDeque<Note>>,
    peers: RefCell<Option<PeerHandler>>,
    asked: Cell<bool>,
    turn: OwnedFd,
}

/// Takes a change at once, or hands it back if it cannot now.
type PeerHandler = Box<dyn Fn(Side, PeerChange) -> Result<(), PeerChange>>;

impl Inbox {
    pub(crate) fn new() -> std::io::Result<Rc<Self>> {
        let flags = rustix::event::EventfdFlags::NONBLOCK | rustix::event::EventfdFlags::CLOEXEC;
        Ok(Rc::new(Self {
            notes: RefCell::default(),
            peers: RefCell::default(),
            asked: Cell::new(false),
            turn: rustix::event::eventfd(0, flags)?,
        }))
    }

    /// Leaves a note and asks for a turn.
    pub(crate) fn put(&self, note: Note) {
        self.notes.borrow_mut().push_back(note);
        self.ask();
    }

    /// Who takes the peers' coming and going from now on.
    pub(crate) fn on_peer(
        &self,
        handler: impl Fn(Side, PeerChange) -> Result<(), PeerChange> + 'static,
    ) {
        *self.peers.borrow_mut() = Some(Box::new(handler));
    }

    /// A peer came or went. It is counted from the moment that this is handled, and it pulls from the moment that
    /// libpipewire has: with 64 clients coming, a turn can be 100 ms later (measured), so this does not wait for one.
    pub(crate) fn peer(&self, side: Side, change: PeerChange) {
        let waits = |note: &Note| matches!(note, Note::Peer(..));
        let in_order = !self.notes.borrow().iter().any(waits);
        let change = match &*self.peers.borrow() {
            Some(handle) if in_order => handle(side, change),
            _ => Err(change),
        };
        if let Err(change) = change {
            self.notes.borrow_mut().push_back(Note::Peer(side, change));
        }
        self.ask();
    }

    /// Asks for a turn of the engine.
    pub(crate) fn ask(&self) {
        if !self.asked.replace(true) {
            // Fails only when the counter is full, and then a turn is due already.
            let _ = rustix::io::write(&self.turn, &1u64.to_ne_bytes());
        }
    }

    /// Begins a turn: takes the request back, so that what happens from now on asks for another.
    pub(crate) fn begin(&self) {
        let _ = rustix::io::read(&self.turn, &mut [0u8; 8]);
        self.asked.set(false);
    }

    /// The next note.
    pub(crate) fn take(&self) -> Option<Note> {
        self.notes.borrow_mut().pop_front()
    }
}

impl AsFd for Inbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.turn.as_fd()
    }
}
