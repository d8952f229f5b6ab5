//! The clients of the device: who they are, which of them run IO, and what each has read. All of it on the host's control
//! threads; where reads are counted, on the IO threads, is in `seats.rs`.

use crate::pull_log::Logged;
use crate::seats::{Reading, Seats};
use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use truemute_bridge::message::{Aside, Pulled, Pulls, Recorded};
use truemute_core::ledger::{SlotSnapshot, Tally};

/// Clients whose counts are kept after they left, until they are on record.
const MOST_GONE: usize = 256;

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
    /// Clients that left and whose counts were given up for newer ones: what is not on record of their reads is in
    /// `unattributed`.
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
    gone: VecDeque<Gone>,
    /// Looks for the record.
    looks: u64,
    forgotten: u64,
    /// Reads of those that were forgotten, without those that are on record.
    forgotten_reads: Tally,
    /// The same, of those that were forgotten since the last look for the record: nobody has said yet whether an agent got it.
    forgotten_since: Undecided,
    aside: Aside,
}

/// Reads that are not on record: the one or the other, as a look was got or not.
#[derive(Clone, Copy, Debug, Default)]
struct Undecided {
    if_got: Tally,
    if_not: Tally,
}

#[derive(Debug)]
struct Present {
    client: Client,
    seat: Option<usize>,
    booked: Booked,
}

#[derive(Debug)]
struct Gone {
    counted: Counted,
    booked: Booked,
}

/// What an agent has of a client's reads.
#[derive(Clone, Copy, Debug, Default)]
struct Booked {
    /// In the last look for the record, which it may not have got.
    told: Tally,
    /// In the last look that it got.
    recorded: Tally,
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

    /// A client starts IO, whether or not it was running. `first` is called if nobody was, before anybody is told so.
    pub fn start(&self, id: u32, first: impl FnOnce()) {
        let mut register = self.register();
        if register.running.is_empty() {
            first();
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
        register.gone.push_back(Gone { counted, booked });
        if register.gone.len() > MOST_GONE
            && let Some(oldest) = register.gone.pop_front()
        {
            register.forgotten += 1;
            let reads = total(oldest.counted.counts.as_ref());
            let Booked { told, recorded } = oldest.booked;
            let since = &mut register.forgotten_since;
            add(&mut since.if_got, without(reads, told));
            add(&mut since.if_not, without(reads, recorded));
        }
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
            gone,
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
                booked.told = total(counts.as_ref());
            }
            clients.push(Counted {
                client: client.clone(),
                running: Some(running.contains(&client.id)),
                counts,
            });
        }
        for Gone { counted, booked } in gone {
            if recorded.is_some() {
                booked.told = total(counted.counts.as_ref());
            }
            clients.push(counted.clone());
        }
        let mut unattributed = self.seats.unattributed();
        add(&mut unattributed, register.forgotten_reads);
        // What may be on record is not counted a second time; if it is not, the next look for the record has it.
        add(&mut unattributed, register.forgotten_since.if_got);
        Everybody {
            look: recorded.map_or(0, |_| register.looks),
            clients,
            unattributed,
            forgotten: register.forgotten,
        }
    }
}

impl Register {
    /// Begins a look for the record, and lets go of what is on it.
    fn settle(&mut self, recorded: &Recorded) {
        let got = recorded.look == self.looks;
        let Undecided { if_got, if_not } = std::mem::take(&mut self.forgotten_since);
        add(&mut self.forgotten_reads, if got { if_got } else { if_not });
        if got {
            let present = self.present.iter_mut().map(|it| &mut it.booked);
            let gone = self.gone.iter_mut().map(|it| &mut it.booked);
            present
                .chain(gone)
                .for_each(|booked| booked.recorded = booked.told);
        }
        self.looks += 1;
        self.gone
            .retain(|gone| !recorded.gone.contains(&gone.counted.client.arrival));
    }
}

fn total(counts: Option<&SlotSnapshot>) -> Tally {
    let mut total = Tally::default();
    for tally in counts.iter().flat_map(|it| [it.live, it.muted]) {
        add(&mut total, tally);
    }
    total
}

fn without(all: Tally, known: Tally) -> Tally {
    Tally {
        pulls: all.pulls.saturating_sub(known.pulls),
        frames: all.frames.saturating_sub(known.frames),
        nanoseconds: all.nanoseconds.saturating_sub(known.nanoseconds),
    }
}

fn add(to: &mut Tally, tally: Tally) {
    to.pulls += tally.pulls;
    to.frames += tally.frames;
    to.nanoseconds += tally.nanoseconds;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seats::MOST;
    use truemute_core::ledger::Pull;

    impl Clients {
        fn record(&self, id: u32, pull: Pull) {
            self.begin(id).end(pull, None);
        }
    }

    fn pull(frames: u32, live: bool) -> Pull {
        Pull {
            finish_ns: 1,
            frames,
            nanoseconds: 2,
            live,
            flagged: false,
        }
    }

    fn pulls(clients: &Clients, id: u32) -> Vec<(u64, u64)> {
        let everybody = clients.everybody(None).clients;
        let its = everybody.iter().filter(|it| it.client.id == id);
        its.filter_map(|it| it.counts.as_ref())
            .map(|counts| (counts.live.pulls, counts.muted.frames))
            .collect()
    }

    #[test]
    fn each_client_has_its_own_counts_and_strangers_have_none() {
        let clients = Clients::new();
        clients.add(5, 100, Some("org.example.five".into()));
        clients.add(5 + MOST as u32, 101, None); // the same favourite seat
        clients.record(5, pull(10, true));
        clients.record(5 + MOST as u32, pull(20, false));
        clients.record(9, pull(30, false));
        assert_eq!(pulls(&clients, 5), [(1, 0)]);
        assert_eq!(pulls(&clients, 5 + MOST as u32), [(0, 20)]);
        let everybody = clients.everybody(None);
        assert_eq!(everybody.unattributed.frames, 30);
        assert_eq!(
            everybody.clients[0].client.bundle.as_deref(),
            Some("org.example.five")
        );
    }

    #[test]
    fn an_id_that_comes_again_is_another_client() {
        let clients = Clients::new();
        clients.add(5, 100, None);
        clients.record(5, pull(10, false));
        clients.remove(5);
        clients.record(5, pull(1, false));
        clients.add(5, 200, None);
        clients.record(5, pull(20, false));
        clients.add(5, 300, None);
        let everybody = clients.everybody(Some(&Recorded::default()));
        let seen: Vec<_> = everybody
            .clients
            .iter()
            .map(|it| (it.client.arrival, it.client.pid, it.running))
            .collect();
        assert_eq!(
            seen,
            [(3, 300, Some(false)), (1, 100, None), (2, 200, None)]
        );
        assert_eq!(everybody.unattributed.frames, 1);
        let again = clients.everybody(Some(&Recorded::default()));
        assert_eq!(again.clients.len(), 3, "the first look may have got lost");
        let recorded = Recorded {
            look: again.look,
            gone: vec![1],
        };
        let rest = clients.everybody(Some(&recorded)).clients;
        let rest: Vec<_> = rest.iter().map(|it| it.client.arrival).collect();
        assert_eq!(rest, [3, 2]);
    }

    #[test]
    fn starting_twice_and_stopping_unmatched_change_nothing() {
        let clients = Clients::new();
        let mut firsts = 0;
        clients.stop(1);
        assert_eq!(clients.running(), 0);
        clients.start(1, || firsts += 1);
        clients.start(1, || firsts += 1);
        clients.start(2, || firsts += 1);
        assert_eq!(clients.running(), 2);
        clients.stop(1);
        clients.stop(1);
        assert_eq!(clients.running(), 1);
        clients.add(2, 7, None);
        assert_eq!(clients.running(), 1, "coming does not stop");
        clients.remove(2);
        assert_eq!((clients.running(), firsts), (0, 1), "leaving stops");
        clients.start(1, || firsts += 1);
        assert_eq!(firsts, 2);
    }

    #[test]
    fn one_client_too_many_is_unattributed_and_gets_no_others_seat() {
        let clients = Clients::new();
        for id in 0..=MOST as u32 {
            clients.add(id, 1, None);
            clients.record(id, pull(1, false));
        }
        let everybody = clients.everybody(None);
        assert_eq!(everybody.unattributed.frames, 1);
        assert_eq!(
            everybody
                .clients
                .iter()
                .filter(|it| it.counts.is_none())
                .count(),
            1
        );
        clients.remove(0);
        clients.add(1000, 1, None);
        clients.record(1000, pull(1, false));
        assert_eq!(clients.everybody(None).unattributed.frames, 1);
    }

    #[test]
    fn whoever_left_too_long_ago_is_summed_up() {
        let clients = Clients::new();
        for id in 0..MOST_GONE as u32 + 3 {
            clients.add(id, 1, None);
            clients.record(id, pull(1, id % 2 == 0));
            clients.remove(id);
        }
        let everybody = clients.everybody(None);
        assert_eq!(
            (everybody.clients.len(), everybody.forgotten),
            (MOST_GONE, 3)
        );
        assert_eq!(everybody.unattributed.pulls, 3);
    }

    #[test]
    fn who_is_muted_on_his_own_is_silent_and_who_comes_is_until_he_is_judged() {
        let clients = Clients::new();
        let is_silent = |id| clients.begin(id).is_silent();
        clients.add(1, 10, None);
        clients.add(2, 20, None);
        assert!(!is_silent(1) && !is_silent(9));
        let aside = |list: &[u64], judged| {
            let clients = list.to_vec();
            Aside { clients, judged }
        };
        let reading = clients.begin(1);
        clients.set_aside(&aside(&[1], 2));
        assert!(!clients.is_aside_settled() && !reading.is_silent());
        drop(reading);
        assert!(clients.is_aside_settled());
        assert!(is_silent(1) && !is_silent(2));
        assert!(is_silent(9), "nobody knows who that is");
        // The first one comes again, under another id.
        clients.remove(1);
        clients.add(3, 10, None);
        assert!(is_silent(3), "it was not judged yet");
        clients.set_aside(&aside(&[3], 3));
        assert!(is_silent(3) && !is_silent(2));
        // A client that was let in while another's read still is on its way.
        let late = clients.begin(3);
        clients.remove(3);
        assert!(late.is_silent());
        drop(late);
        let stale = clients.begin(2);
        clients.remove(2);
        clients.add(2, 40, None);
        assert!(stale.is_silent(), "its client left");
        drop(stale);
        clients.set_aside(&Aside::default());
        assert!(!is_silent(2) && !is_silent(9));
        clients.add(5, 10, None);
        assert!(!is_silent(5));
    }

    #[test]
    fn single_reads_are_kept_while_somebody_traces() {
        let clients = Clients::new();
        clients.add(1, 10, None);
        clients.trace(true);
        clients.begin(1).end(pull(10, true), Some(512));
        clients.begin(8).end(pull(20, false), Some(512));
        let expected = Pulled {
            arrival: 1,
            at_ns: 1,
            position: 512,
            frames: 10,
            live: true,
        };
        let pulls = clients.pulls(9);
        assert_eq!((pulls.pulls, pulls.lost), (vec![expected], 1));
        clients.trace(false);
        clients.begin(1).end(pull(10, true), None);
        assert_eq!(clients.pulls(9), Pulls::default());
    }

    /// One client of three reads, of which the last look before it left had two. It is forgotten before anybody says whether that
    /// look was got. How many were forgotten, and the reads that are unattributed: before it is said, and after.
    fn forgotten_after_a_look(got: bool) -> (u64, u64, u64) {
        let clients = Clients::new();
        clients.add(1, 1, None);
        clients.record(1, pull(1, false));
        clients.record(1, pull(1, true));
        let look = clients.everybody(Some(&Recorded::default())).look;
        clients.record(1, pull(1, false));
        clients.remove(1);
        for id in 0..MOST_GONE as u32 {
            clients.add(id, 1, None);
            clients.remove(id);
        }
        let before = clients.everybody(None);
        assert!(before.clients.iter().all(|it| it.client.arrival != 1));
        let look = if got { look } else { look - 1 };
        let gone = Vec::new();
        let after = clients.everybody(Some(&Recorded { look, gone }));
        let again = clients.everybody(None);
        assert_eq!(after.unattributed, again.unattributed);
        (
            after.forgotten,
            before.unattributed.pulls,
            after.unattributed.pulls,
        )
    }

    #[test]
    fn what_is_on_record_of_a_forgotten_client_is_not_counted_again() {
        assert_eq!(forgotten_after_a_look(true), (1, 1, 1));
        assert_eq!(forgotten_after_a_look(false), (1, 1, 3));
    }

    #[test]
    fn everybody_at_their_longest_fits_one_message() {
        use truemute_bridge::message::{
            Client, FromPlugin, LARGEST_FROM_PLUGIN, Reply, Snapshot, encode,
        };
        use truemute_core::observed::{Counts, Intervals};
        let clients = Clients::new();
        let longest = "\u{e4}".repeat(10_000);
        let (many, gone) = (MOST + MOST_STANDING, MOST_GONE);
        for id in 0..(many + gone + 9) as u32 {
            clients.add(id, 1, Some(longest.clone()));
        }
        for id in 0..gone as u32 + 9 {
            clients.remove(id);
            clients.add(id, 1, Some(longest.clone()));
        }
        let everybody = clients.everybody(None);
        assert_eq!(everybody.clients.len(), many + gone);
        let tally = Tally {
            pulls: u64::MAX,
            frames: u64::MAX,
            nanoseconds: u64::MAX,
        };
        let intervals = Intervals {
            p50_us: u64::MAX,
            p99_us: u64::MAX,
            max_us: u64::MAX,
        };
        let worst = |it: Counted| Client {
            arrival: u64::MAX,
            id: u32::MAX,
            pid: i32::MIN,
            bundle: it.client.bundle,
            running: Some(true),
            counts: Some(Counts {
                live: tally,
                muted: tally,
                xruns: u64::MAX,
                lost: u64::MAX,
                intervals,
            }),
            last_read_ns: Some(u64::MAX),
        };
        let snapshot = Snapshot {
            instance: u64::MAX,
            look: u64::MAX,
            at_ns: u64::MAX,
            clients: everybody.clients.into_iter().map(worst).collect(),
            unattributed: tally,
            forgotten: u64::MAX,
        };
        let reply = FromPlugin::Reply {
            id: u32::MAX,
            reply: Reply::Snapshot(snapshot),
        };
        assert!(encode(&reply, LARGEST_FROM_PLUGIN).is_ok());
    }

    #[test]
    fn nothing_is_lost_while_clients_come_and_go() {
        const READS: u64 = 20_000;
        let clients = Clients::new();
        std::thread::scope(|scope| {
            for id in [3, 3 + MOST as u32, 9] {
                let clients = &clients;
                scope.spawn(move || (0..READS).for_each(|_| clients.record(id, pull(1, false))));
            }
            for round in 0..20 {
                clients.add(3, round, None);
                clients.add(3 + MOST as u32, round, None);
                clients.everybody(None);
                clients.remove(3);
                clients.remove(3 + MOST as u32);
            }
        });
        let everybody = clients.everybody(None);
        let counted: u64 = everybody
            .clients
            .iter()
            .filter_map(|it| it.counts.as_ref())
            .map(|counts| counts.muted.pulls)
            .sum();
        assert_eq!(counted + everybody.unattributed.pulls, 3 * READS);
    }
}
