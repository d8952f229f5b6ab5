//! The clients of the device: who they are, which of them run IO, and what each has read. All of it on the host's control
//! threads; where reads are counted, on the IO threads, is in `seats.rs`, and who left, in `departed.rs`.

use crate::departed::{Booked, Departed, add, total};
use crate::pull_log::Logged;
use crate::seats::{Reading, Seats};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use truemute_bridge::message::{Aside, Pulled, Pulls, Recorded};
use truemute_core::ledger::{SlotSnapshot, Tally};

/// Clients without a seat that are told of, those who came first: all are told of in one message of the bridge.
const MOST_STANDING: usize = 256;

/// Bytes of a bundle id that are kept. Apple gives no limit; a file's name has this one.
const LONGEST_BUNDLE: usize = 255;

/// A client as the host introduced it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Number that no other client of this plug-in process ever had, from 1.
    pub arrival: u64,
    /// The host's number for it, which another client may get after this one left.
    pub id: u32,
    /// Its process, as the host says.
    pub pid: i32,
    /// The bundle id of its process, as the host says, cut at 255 bytes; many processes have none.
    pub bundle: Option<String>,
}

/// A client and what it read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Who.
    pub client: Client,
    /// Whether it runs IO; nothing for one that has left.
    pub running: Option<bool>,
    /// What it read; nothing if it is one too many, so that its reads are unattributed.
    pub counts: Option<SlotSnapshot>,
}

/// Everybody, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Everybody {
    /// Number of this look among those for the record, from 1; 0 if it is none of them.
    pub look: u64,
    /// Clients that are there, then those that left and are not known to be on record.
    pub clients: Vec<Counted>,
    /// Reads that no client made which is in the list or on record.
    pub unattributed: Tally,
    /// Clients that left and whose counts were given up for others: what is not on record of their reads is in `unattributed`.
    pub forgotten: u64,
}

/// The clients.
#[derive(Debug, Default)]
pub struct Clients {
    seats: Seats,
    running: AtomicU32,
    register: Mutex<Register>,
}

/// What only the control threads touch.
#[derive(Debug, Default)]
struct Register {
    arrivals: u64,
    present: Vec<Present>,
    running: BTreeSet<u32>,
    /// Looks for the record.
    looks: u64,
    departed: Departed,
    aside: Aside,
}

#[derive(Debug)]
struct Present {
    client: Client,
    seat: Option<usize>,
    booked: Booked,
}

impl Clients {
    /// Nobody yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whoever panicked while holding it left it whole: each change is a single step.
    fn register(&self) -> MutexGuard<'_, Register> {
        self.register.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client has come. One that is there under this id counts as having left before.
    pub fn add(&self, id: u32, pid: i32, bundle: Option<String>) {
        let mut register = self.register();
        self.leave(&mut register, id);
        register.arrivals += 1;
        let bundle = bundle.map(|mut bundle| {
            bundle.truncate(bundle.floor_char_boundary(LONGEST_BUNDLE));
            bundle
        });
        let client = Client {
            arrival: register.arrivals,
            id,
            pid,
            bundle,
        };
        let silent = register.aside.is_silent(client.arrival);
        let seat = self.seats.take(client.arrival, client.id, silent);
        register.present.push(Present {
            client,
            seat,
            booked: Booked::default(),
        });
    }

    /// A client has left. Its running ends with it; its counts stay until they are on record.
    pub fn remove(&self, id: u32) {
        let mut register = self.register();
        self.leave(&mut register, id);
        self.set_running(&mut register, id, false);
    }

    /// A client starts IO, whether or not it was running: its next read may begin anywhere. `first` is called if nobody was, before
    /// anybody is told so.
    pub fn start(&self, id: u32, first: impl FnOnce()) {
        let mut register = self.register();
        if register.running.is_empty() {
            first();
        }
        let mut present = register.present.iter();
        if let Some(seat) = present.find(|it| it.client.id == id).and_then(|it| it.seat) {
            self.seats.begins_anew(seat);
        }
        self.set_running(&mut register, id, true);
    }

    /// A client stops IO, whether or not it was running.
    pub fn stop(&self, id: u32) {
        self.set_running(&mut self.register(), id, false);
    }

    /// How many clients run IO. Real-time safe.
    pub fn running(&self) -> u32 {
        self.running.load(Ordering::Relaxed)
    }

    /// A read of a client begins. Real-time safe: [`Seats::begin`].
    pub fn begin(&self, id: u32) -> Reading<'_> {
        self.seats.begin(id)
    }

    /// The number of the client that came last; 0 if none did.
    pub fn arrivals(&self) -> u64 {
        self.register().arrivals
    }

    /// Mutes these clients on their own, and no others. A client without a seat cannot be told from another one: all of them are
    /// silent while anybody may be.
    pub fn set_aside(&self, aside: &Aside) {
        let mut register = self.register();
        for present in &register.present {
            if let Some(seat) = present.seat {
                let silent = aside.is_silent(present.client.arrival);
                self.seats.set_silent(seat, silent);
            }
        }
        self.seats.set_strangers_silent(!aside.is_nobody());
        register.aside = aside.clone();
    }

    /// Whether no read is under way that began before its client was muted on its own.
    pub fn is_aside_settled(&self) -> bool {
        let register = self.register();
        let aside = &register.aside;
        let mut silent = register
            .present
            .iter()
            .filter(|it| aside.is_silent(it.client.arrival));
        silent.all(|it| it.seat.is_none_or(|seat| self.seats.is_settled(seat)))
            && (aside.is_nobody() || self.seats.are_strangers_settled())
    }

    /// Keeps single reads from now on, or none.
    pub fn trace(&self, on: bool) {
        self.seats.logs().switch(on);
    }

    /// The single reads that were kept since the last time, at most so many.
    pub fn pulls(&self, most: usize) -> Pulls {
        let (taken, lost) = self.seats.logs().take(most);
        let pulled = |(arrival, read): (u64, Logged)| Pulled {
            arrival,
            at_ns: read.at_ns,
            position: read.position,
            frames: read.frames,
            live: read.live,
            flagged: read.flagged,
        };
        Pulls {
            pulls: taken.into_iter().map(pulled).collect(),
            lost,
        }
    }

    fn leave(&self, register: &mut Register, id: u32) {
        let Some(at) = register.present.iter().position(|it| it.client.id == id) else {
            return;
        };
        let Present {
            client,
            seat,
            booked,
        } = register.present.swap_remove(at);
        let counts = seat.and_then(|seat| self.seats.give_up(seat));
        let counted = Counted {
            client,
            running: None,
            counts,
        };
        register.departed.push(counted, booked);
    }

    fn set_running(&self, register: &mut Register, id: u32, running: bool) {
        if running {
            register.running.insert(id);
        } else {
            register.running.remove(&id);
        }
        let count = u32::try_from(register.running.len()).unwrap_or(u32::MAX);
        self.running.store(count, Ordering::Relaxed);
    }

    /// Everybody who is there, and those who left: for the record, with what is on it already; with nothing, only to look.
    /// Those who left are given out until they are among the `recorded` ones.
    pub fn everybody(&self, recorded: Option<&Recorded>) -> Everybody {
        let mut register = self.register();
        if let Some(recorded) = recorded {
            register.settle(recorded);
        }
        let Register {
            present,
            running,
            departed,
            ..
        } = &mut *register;
        present.sort_by_key(|present| present.client.arrival);
        let mut clients = Vec::new();
        let mut standing = 0;
        for Present {
            client,
            seat,
            booked,
        } in present
        {
            standing += usize::from(seat.is_none());
            if seat.is_none() && standing > MOST_STANDING {
                continue;
            }
            let counts = seat.and_then(|seat| self.seats.counts(seat));
            if recorded.is_some() {
                booked.tell(total(counts.as_ref()));
            }
            clients.push(Counted {
                client: client.clone(),
                running: Some(running.contains(&client.id)),
                counts,
            });
        }
        clients.extend(departed.all(recorded.is_some()));
        let mut unattributed = self.seats.unattributed();
        let (forgotten, their_reads) = departed.forgotten();
        add(&mut unattributed, their_reads);
        Everybody {
            look: recorded.map_or(0, |_| register.looks),
            clients,
            unattributed,
            forgotten,
        }
    }
}

impl Register {
    /// Begins a look for the record, and lets go of what is on it.
    fn settle(&mut self, recorded: &Recorded) {
        if recorded.look == self.looks {
            let present = self.present.iter_mut();
            present.for_each(|it| it.booked.got());
            self.departed.got();
        }
        self.looks += 1;
        self.departed.are_on_record(&recorded.gone);
    }
}

#[cfg(test)]
mod tests;
