//! Models of gate and ledger (those of the shared ring are in `shared_ring.rs`): loom runs them in every interleaving with
//! at most three preemptions, and with every value that the memory model lets a load see. Run with
//! `RUSTFLAGS="--cfg loom" cargo test -p truemute-core --release --test loom`.
#![cfg(loom)]

mod shared_ring;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering, fence};
use loom::thread;
use std::sync::{Mutex, OnceLock};
use truemute_core::gate::{Decision, Epoch, Gate, SilentReason, Source};
use truemute_core::ledger::{Ledger, NoSnapshot, Pull, SlotSnapshot, SlotWriter};
use truemute_core::published::Published;

/// Runs the parties at the same time on what `make` made, then `check`, in every way that loom finds.
///
/// Once for each order of starting them, because loom 0.7 tries first what lets the first party run to its end, and
/// from there misses some ways: a thread's load of a counter hides from it an earlier load by another thread, so a
/// store that follows (as each of the ledger's does) is not tried before that one. Found by breaking the ledger on purpose.
pub(crate) fn race<S: 'static, const P: usize>(
    make: fn() -> S,
    parties: [fn(&S); P],
    check: fn(&S),
) {
    for first in 0..P {
        let mut parties = parties;
        parties.rotate_left(first);
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(move || {
            let shared = Arc::new(make());
            let threads = parties.map(|party| {
                let shared = shared.clone();
                thread::spawn(move || party(&shared))
            });
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
            check(&shared);
        });
    }
}

/// What a party found out, for the check at the end. Not of loom, so that it orders nothing.
type Told<T> = OnceLock<T>;

const NOW_NS: u64 = 100;

fn block(began_ns: u64) -> Source {
    Source::Block { began_ns }
}

/// A gate with a lease, unmuted at instant 10, and what the parties need to judge it.
struct Live {
    gate: Gate,
    /// Buffers of which loom knows who touches them when: it reports every access that is not ordered against another.
    buffers: [UnsafeCell<()>; 2],
    flag: AtomicBool,
    muted: Told<Epoch>,
    opened: Told<Epoch>,
    flag_seen: Told<bool>,
    decisions: Told<[Decision; 2]>,
}

impl Live {
    fn new() -> Self {
        let gate = Gate::new();
        gate.renew_lease(1000);
        gate.unmute(10);
        Self {
            gate,
            buffers: [UnsafeCell::new(()), UnsafeCell::new(())],
            flag: AtomicBool::new(false),
            muted: Told::new(),
            opened: Told::new(),
            flag_seen: Told::new(),
            decisions: Told::new(),
        }
    }

    fn deliver(&self, buffer: usize) {
        self.gate
            .begin(NOW_NS, block(20))
            .fill(&mut [1], |_| self.buffers[buffer].with_mut(|_| ()));
    }

    /// Begins a delivery, touches the buffer if live, and drops the delivery: none of the fences of `fill` helps.
    fn give_up(&self, buffer: usize) {
        let delivery = self.gate.begin(NOW_NS, block(20));
        if let Decision::Live(_) = delivery.decision() {
            self.buffers[buffer].with_mut(|_| ());
        }
        drop(delivery);
    }

    /// Mutes, and if that is settled at once, touches all buffers.
    fn mute_and_look(&self) {
        let muted = self.gate.mute();
        if self.gate.settled(muted) {
            self.buffers.iter().for_each(|buffer| buffer.with(|_| ()));
        }
        self.muted.set(muted).unwrap();
    }

    fn nothing_is_in_flight(&self) {
        assert!(self.gate.settled(*self.muted.get().unwrap()));
    }

    /// What a block that began at 15 is promised at the beginning of its delivery, and what it gets.
    fn deliver_stale(&self) {
        let delivery = self.gate.begin(NOW_NS, block(15));
        let promised = delivery.decision();
        let decisions = [promised, delivery.fill(&mut [1], |_| ())];
        self.decisions.set(decisions).unwrap();
    }

    /// P3: the instant of the second unmute is 20.
    fn nothing_stale_was_live(&self) {
        let (opened, decisions) = (*self.opened.get().unwrap(), self.decisions.get().unwrap());
        assert!(
            !decisions.contains(&Decision::Live(opened)),
            "{decisions:?}"
        );
        let last = self.gate.begin(NOW_NS, block(15)).decision();
        assert_ne!(last, Decision::Live(opened));
    }

    /// Delivers, looks at the flag during the copy, and checks what was written.
    fn deliver_and_watch(&self) {
        let (mut buffer, mut flag_seen) = ([0xff], false);
        let decision = self
            .gate
            .begin(NOW_NS, block(20))
            .fill(&mut buffer, |buffer| {
                flag_seen = self.flag.load(Ordering::Acquire);
                buffer.fill(0x55);
            });
        match decision {
            Decision::Live(_) => assert!(!flag_seen && buffer == [0x55]),
            Decision::Silent(_) => assert_eq!(buffer, [0]),
        }
        if flag_seen {
            assert_eq!(decision, Decision::Silent(SilentReason::Changed));
        }
    }
}

/// P2: once a mute is settled, nothing writes sound any more, and all that was written is visible. Two deliveries, so
/// that the place in the table is used again.
#[test]
fn a_settled_mute_is_the_end_of_sound() {
    let deliver_twice: fn(&Live) = |live| {
        live.deliver(0);
        live.deliver(0);
    };
    race(
        Live::new,
        [deliver_twice, Live::mute_and_look],
        Live::nothing_is_in_flight,
    );
}

/// The same for deliveries that are given up: what was done while they were in flight is over and visible.
#[test]
fn a_settled_mute_is_the_end_of_deliveries_given_up() {
    let give_up_twice: fn(&Live) = |live| {
        live.give_up(0);
        live.give_up(0);
    };
    race(
        Live::new,
        [give_up_twice, Live::mute_and_look],
        Live::nothing_is_in_flight,
    );
}

/// The same with two audio threads, of which one finds the table full (it has one place under loom).
#[test]
fn a_settled_mute_is_the_end_of_sound_in_a_crowd() {
    race(
        Live::new,
        [
            |live| live.give_up(0),
            |live| live.give_up(1),
            Live::mute_and_look,
        ],
        Live::nothing_is_in_flight,
    );
}

/// A newer delivery, still in flight, does not keep an older epoch from being settled.
#[test]
fn a_newer_delivery_does_not_delay_an_older_mute() {
    race(
        Live::new,
        [|live| live.give_up(0), Live::mute_and_look],
        |live| {
            let newer = live.gate.begin(NOW_NS, block(20));
            live.nothing_is_in_flight();
            let later = live.gate.mute();
            assert!(!live.gate.settled(later), "the newer delivery is in flight");
            drop(newer);
            assert!(live.gate.settled(later));
        },
    );
}

/// The second look: a mute that happened before the end of the copy leaves zeros.
#[test]
fn a_mute_during_the_copy_leaves_zeros() {
    let mute_and_flag: fn(&Live) = |live| {
        live.gate.mute();
        live.flag.store(true, Ordering::Release);
    };
    race(Live::new, [mute_and_flag, Live::deliver_and_watch], |_| ());
}

/// The same for a lease that is revoked.
#[test]
fn a_lease_revoked_during_the_copy_leaves_zeros() {
    let revoke_and_flag: fn(&Live) = |live| {
        live.gate.revoke_lease();
        live.flag.store(true, Ordering::Release);
    };
    race(
        Live::new,
        [revoke_and_flag, Live::deliver_and_watch],
        |_| (),
    );
}

/// The second look comes after the copy for the machine, too: one who mutes and then still finds no sound in the
/// buffer can be sure that none will stay in it.
#[test]
fn the_second_look_is_not_taken_before_the_copy() {
    let deliver: fn(&Live) = |live| {
        let decision = live.gate.begin(NOW_NS, block(20)).fill(&mut [1], |_| {
            live.flag.store(true, Ordering::Relaxed);
        });
        live.decisions.set([decision; 2]).unwrap();
    };
    let mute_and_look: fn(&Live) = |live| {
        live.gate.mute();
        fence(Ordering::SeqCst);
        live.flag_seen
            .set(live.flag.load(Ordering::Relaxed))
            .unwrap();
    };
    race(Live::new, [deliver, mute_and_look], |live| {
        let silent = matches!(live.decisions.get().unwrap()[1], Decision::Silent(_));
        assert!(silent || *live.flag_seen.get().unwrap());
    });
}

/// P3: no mix of a newer word with an older instant lets a stale block live.
#[test]
fn a_stale_block_is_never_live_in_the_newer_epoch() {
    let reopen: fn(&Live) = |live| {
        live.gate.mute();
        live.opened.set(live.gate.unmute(20)).unwrap();
    };
    race(
        Live::new,
        [reopen, Live::deliver_stale],
        Live::nothing_stale_was_live,
    );
}

/// P3 with two threads that unmute at the same time.
#[test]
fn a_stale_block_is_never_live_when_two_unmute_at_once() {
    let unmute_early: fn(&Live) = |live| {
        live.gate.unmute(12);
    };
    let unmute_late: fn(&Live) = |live| live.opened.set(live.gate.unmute(20)).unwrap();
    race(
        Live::new,
        [unmute_early, unmute_late, Live::deliver_stale],
        Live::nothing_stale_was_live,
    );
}

/// Commands of two threads: none is lost, the last one holds.
#[test]
fn the_last_command_wins() {
    let mute: fn(&Live) = |live| live.muted.set(live.gate.mute()).unwrap();
    let unmute: fn(&Live) = |live| live.opened.set(live.gate.unmute(20)).unwrap();
    race(Live::new, [mute, unmute], |live| {
        let (muted, opened) = (*live.muted.get().unwrap(), *live.opened.get().unwrap());
        assert_ne!(opened, muted);
        assert_eq!(live.gate.state(), (opened.max(muted), opened > muted));
        assert_eq!(live.gate.state().0.get(), 3);
    });
}

/// A ledger whose one slot has a client with one pull.
struct Counting {
    ledger: Ledger<1>,
    writer: Mutex<Option<SlotWriter>>,
}

/// The client's number, and the frames that it gets with each pull.
const CLIENT: u64 = 7;
/// The client after it.
const NEXT_CLIENT: u64 = 8;

impl Counting {
    fn new() -> Self {
        let ledger = Ledger::new(1);
        let mut writer = ledger.claim(CLIENT).expect("the slot is free");
        ledger.record(&mut writer, pull(0, CLIENT));
        Self {
            ledger,
            writer: Mutex::new(Some(writer)),
        }
    }

    fn take_writer(&self) -> SlotWriter {
        self.writer
            .lock()
            .unwrap()
            .take()
            .expect("only one party wants it")
    }

    fn put_writer(&self, writer: SlotWriter) {
        *self.writer.lock().unwrap() = Some(writer);
    }
}

/// The `number`th pull of a client (from 0).
fn pull(number: u64, client: u64) -> Pull {
    Pull {
        finish_ns: 1 + number,
        frames: client as u32,
        nanoseconds: 1000 * client,
        live: number % 2 == 0,
        flagged: number % 2 == 1,
    }
}

/// All figures of a snapshot agree with each other: they are those of the first so many pulls of one client.
fn assert_consistent(seen: &SlotSnapshot) -> u64 {
    let (client, pulls) = (seen.client, seen.live.pulls + seen.muted.pulls);
    assert_eq!(seen.live.pulls, pulls.div_ceil(2), "{seen:?}");
    for tally in [seen.live, seen.muted] {
        assert_eq!(
            (tally.frames, tally.nanoseconds),
            (tally.pulls * client, tally.pulls * client * 1000)
        );
    }
    assert_eq!(seen.xruns, seen.muted.pulls);
    assert_eq!(seen.last_pull_ns, (pulls > 0).then_some(pulls));
    assert_eq!(seen.intervals.total(), pulls.saturating_sub(1));
    pulls
}

/// A reader sees each pull whole or not at all.
#[test]
fn a_reader_sees_whole_pulls() {
    let record: fn(&Counting) = |counting| {
        let mut writer = counting.take_writer();
        counting.ledger.record(&mut writer, pull(1, CLIENT));
        counting.put_writer(writer);
    };
    let read: fn(&Counting) = |counting| match counting.ledger.snapshot(0) {
        Ok(seen) => assert!((1..=2).contains(&assert_consistent(&seen))),
        Err(why) => assert_eq!(why, NoSnapshot::Busy),
    };
    race(Counting::new, [record, read], |counting| {
        let last = counting
            .ledger
            .release(counting.take_writer())
            .expect("its own writer");
        assert_eq!(assert_consistent(&last), 2);
    });
}

/// A reader never mixes the counts of two clients that have a slot one after the other. Here the reader starts first, and
/// is preempted twice at most: so many counters change that [`race`] would take many minutes.
#[test]
fn a_reader_never_mixes_two_clients() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let counting = Arc::new(Counting::new());
        let control = thread::spawn({
            let counting = counting.clone();
            move || {
                let writer = counting.take_writer();
                let last = counting.ledger.release(writer).expect("its own writer");
                assert_eq!(assert_consistent(&last), 1);
                let next = counting.ledger.claim(NEXT_CLIENT);
                counting.put_writer(next.expect("the slot is free again"));
            }
        });
        match counting.ledger.snapshot(0) {
            Ok(seen) => {
                let pulls = if seen.client == CLIENT { 1 } else { 0 };
                assert_eq!(assert_consistent(&seen), pulls);
            }
            Err(NoSnapshot::Free | NoSnapshot::Busy) => {}
        }
        control.join().unwrap();
        let seen = counting.ledger.snapshot(0).expect("nobody writes");
        assert_eq!((seen.client, assert_consistent(&seen)), (NEXT_CLIENT, 0));
    });
}

/// One slot, two who want it: it never has two writers, and no pull of either is lost or given to the other.
#[test]
fn a_slot_has_one_writer() {
    fn pull_once(ledger: &Ledger<1>, client: u64) {
        let Some(mut writer) = ledger.claim(client) else {
            return ledger.record_unattributed(pull(0, client));
        };
        ledger.record(&mut writer, pull(0, client));
        let last = ledger.release(writer).expect("its own writer");
        assert_eq!((last.client, assert_consistent(&last)), (client, 1));
    }
    race(
        || Ledger::new(1),
        [|ledger| pull_once(ledger, 5), |ledger| pull_once(ledger, 6)],
        |ledger: &Ledger<1>| {
            assert!(ledger.unattributed().pulls <= 1);
            assert_eq!(ledger.snapshot(0), Err(NoSnapshot::Free));
        },
    );
}

/// Several writers may count unattributed pulls at once.
#[test]
fn no_unattributed_pull_is_lost() {
    race(
        || Ledger::<0>::new(1),
        [
            |ledger: &Ledger<0>| ledger.record_unattributed(pull(0, 4)),
            |ledger| ledger.record_unattributed(pull(0, 5)),
        ],
        |ledger| {
            let sum = ledger.unattributed();
            assert_eq!((sum.pulls, sum.frames, sum.nanoseconds), (2, 9, 9000));
        },
    );
}

/// Words that are published together are read together, and what was published before a reader is told is what it reads.
#[test]
fn published_words_belong_together() {
    let publish: fn(&(Published<2>, AtomicBool)) = |(published, told)| {
        published.publish([1, 1]);
        told.store(true, Ordering::Release);
        published.publish([2, 2]);
    };
    let read: fn(&(Published<2>, AtomicBool)) = |(published, told)| {
        let told = told.load(Ordering::Acquire);
        if let Some([first, second]) = published.read() {
            assert_eq!(first, second);
            assert!(!told || first >= 1);
        }
    };
    race(
        || (Published::new(), AtomicBool::new(false)),
        [publish, read],
        |(published, _)| assert_eq!(published.read(), Some([2, 2])),
    );
}
