//! Models of gate and ledger: loom runs them in every interleaving and with every value that the memory model lets a
//! load see. Run with `RUSTFLAGS="--cfg loom" cargo test -p truemute-core --release --test loom`.
#![cfg(loom)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering, fence};
use loom::thread;
use truemute_core::gate::{Decision, Gate, SilentReason, Source};
use truemute_core::ledger::{Ledger, NoSnapshot, Pull, SlotSnapshot};
use truemute_core::published::Published;

const NOW_NS: u64 = 100;

fn block(began_ns: u64) -> Source {
    Source::Block { began_ns }
}

/// A gate with a lease, unmuted at instant 10.
fn live_gate() -> Gate {
    let gate = Gate::new();
    gate.renew_lease(1000);
    gate.unmute(10);
    gate
}

/// Delivers a block into a buffer of which loom knows who touches it when, so that it reports every write of sound
/// that is not ordered against another access.
fn deliver(gate: &Gate, began_ns: u64, buffer: &UnsafeCell<()>) -> Decision {
    gate.begin(NOW_NS, block(began_ns))
        .fill(&mut [1], |_| buffer.with_mut(|_| ()))
}

/// P2: once a mute is settled, nothing writes sound any more, and all that was written is visible.
#[test]
fn a_settled_mute_is_the_end_of_sound() {
    loom::model(|| {
        let shared = Arc::new((live_gate(), UnsafeCell::new(())));
        let audio = thread::spawn({
            let shared = shared.clone();
            move || {
                // Twice, so that the place in the table is used again.
                deliver(&shared.0, 20, &shared.1);
                deliver(&shared.0, 20, &shared.1);
            }
        });
        let muted = shared.0.mute();
        if shared.0.settled(muted) {
            shared.1.with(|_| ());
        }
        audio.join().unwrap();
        assert!(shared.0.settled(muted), "nothing is in flight any more");
    });
}

/// Begins a delivery, touches the buffer if live, and drops the delivery: none of the fences of `fill` helps.
fn give_up(gate: &Gate, buffer: &UnsafeCell<()>) {
    let delivery = gate.begin(NOW_NS, block(20));
    if let Decision::Live(_) = delivery.decision() {
        buffer.with_mut(|_| ());
    }
    drop(delivery);
}

/// The same for a delivery that is given up: what was done while it was in flight is over and visible.
#[test]
fn a_settled_mute_is_the_end_of_deliveries_given_up() {
    loom::model(|| {
        let shared = Arc::new((live_gate(), UnsafeCell::new(())));
        let audio = thread::spawn({
            let shared = shared.clone();
            move || {
                give_up(&shared.0, &shared.1);
                give_up(&shared.0, &shared.1);
            }
        });
        let muted = shared.0.mute();
        if shared.0.settled(muted) {
            shared.1.with(|_| ());
        }
        audio.join().unwrap();
    });
}

/// The same with two audio threads, of which one finds the table full (it has one place under loom).
#[test]
fn a_settled_mute_is_the_end_of_sound_in_a_crowd() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let shared = Arc::new((live_gate(), [UnsafeCell::new(()), UnsafeCell::new(())]));
        let audio = [0, 1].map(|index| {
            let shared = shared.clone();
            thread::spawn(move || {
                give_up(&shared.0, &shared.1[index]);
            })
        });
        let muted = shared.0.mute();
        if shared.0.settled(muted) {
            shared.1.iter().for_each(|buffer| buffer.with(|_| ()));
        }
        for thread in audio {
            thread.join().unwrap();
        }
        assert!(shared.0.settled(muted), "nothing is in flight any more");
    });
}

/// A newer delivery, still in flight, does not keep an older epoch from being settled.
#[test]
fn a_newer_delivery_does_not_delay_an_older_mute() {
    loom::model(|| {
        let gate = Arc::new(live_gate());
        let audio = thread::spawn({
            let gate = gate.clone();
            move || drop(gate.begin(NOW_NS, block(20)))
        });
        let muted = gate.mute();
        audio.join().unwrap();
        let newer = gate.begin(NOW_NS, block(20));
        assert!(gate.settled(muted));
        let later = gate.mute();
        assert!(!gate.settled(later), "the newer delivery is in flight");
        drop(newer);
        assert!(gate.settled(later));
    });
}

/// The second look: a mute that happened before the end of the copy leaves zeros.
#[test]
fn a_mute_during_the_copy_leaves_zeros() {
    loom::model(|| {
        let shared = Arc::new((live_gate(), AtomicBool::new(false)));
        let control = thread::spawn({
            let shared = shared.clone();
            move || {
                shared.0.mute();
                shared.1.store(true, Ordering::Release);
            }
        });
        let (mut buffer, mut mute_seen) = ([0xff], false);
        let decision = shared
            .0
            .begin(NOW_NS, block(20))
            .fill(&mut buffer, |buffer| {
                mute_seen = shared.1.load(Ordering::Acquire);
                buffer.fill(0x55);
            });
        match decision {
            Decision::Live(_) => assert!(!mute_seen && buffer == [0x55]),
            Decision::Silent(_) => assert_eq!(buffer, [0]),
        }
        if mute_seen {
            assert_eq!(decision, Decision::Silent(SilentReason::Changed));
        }
        control.join().unwrap();
    });
}

/// The second look comes after the copy for the machine, too: one who mutes and then still finds no sound in the
/// buffer can be sure that none will stay in it.
#[test]
fn the_second_look_is_not_taken_before_the_copy() {
    loom::model(|| {
        let shared = Arc::new((live_gate(), AtomicBool::new(false)));
        let control = thread::spawn({
            let shared = shared.clone();
            move || {
                shared.0.mute();
                fence(Ordering::SeqCst);
                shared.1.load(Ordering::Relaxed)
            }
        });
        let decision = shared.0.begin(NOW_NS, block(20)).fill(&mut [1], |_| {
            shared.1.store(true, Ordering::Relaxed);
        });
        let sound_seen = control.join().unwrap();
        assert!(sound_seen || matches!(decision, Decision::Silent(_)));
    });
}

/// The same for a lease that is revoked.
#[test]
fn a_lease_revoked_during_the_copy_leaves_zeros() {
    loom::model(|| {
        let shared = Arc::new((live_gate(), AtomicBool::new(false)));
        let control = thread::spawn({
            let shared = shared.clone();
            move || {
                shared.0.revoke_lease();
                shared.1.store(true, Ordering::Release);
            }
        });
        let mut revocation_seen = false;
        let decision = shared.0.begin(NOW_NS, block(20)).fill(&mut [0xff], |_| {
            revocation_seen = shared.1.load(Ordering::Acquire);
        });
        if revocation_seen {
            assert_eq!(decision, Decision::Silent(SilentReason::Changed));
        }
        control.join().unwrap();
    });
}

/// What a block that began at 15 was promised at the beginning of its delivery, and what it got.
fn deliver_stale(gate: &Gate) -> [Decision; 2] {
    let delivery = gate.begin(NOW_NS, block(15));
    let promised = delivery.decision();
    [promised, delivery.fill(&mut [1], |_| ())]
}

/// P3: no mix of a newer word with an older instant lets a stale block live. The block began at 15, after the first
/// unmute (10) and before the second (20).
#[test]
fn a_stale_block_is_never_live_in_the_newer_epoch() {
    loom::model(|| {
        let gate = Arc::new(live_gate());
        let control = thread::spawn({
            let gate = gate.clone();
            move || {
                gate.mute();
                gate.unmute(20)
            }
        });
        let decisions = [0, 1].map(|_| deliver_stale(&gate)).concat();
        let reopened = control.join().unwrap();
        assert!(
            !decisions.contains(&Decision::Live(reopened)),
            "{decisions:?}"
        );
        let last = gate.begin(NOW_NS, block(15)).fill(&mut [1], |_| ());
        assert_eq!(last, Decision::Silent(SilentReason::BeforeUnmute));
    });
}

/// P3 with two threads that unmute at the same time.
#[test]
fn a_stale_block_is_never_live_when_two_unmute_at_once() {
    loom::model(|| {
        let gate = Arc::new(Gate::new());
        gate.renew_lease(1000);
        let early = thread::spawn({
            let gate = gate.clone();
            move || gate.unmute(10)
        });
        let late = thread::spawn({
            let gate = gate.clone();
            move || gate.unmute(20)
        });
        let decisions = deliver_stale(&gate);
        let (early, late) = (early.join().unwrap(), late.join().unwrap());
        assert_ne!(early, late, "each command has an epoch of its own");
        assert!(!decisions.contains(&Decision::Live(late)), "{decisions:?}");
        assert_eq!(gate.state(), (early.max(late), true));
    });
}

/// Commands of two threads: none is lost, the last one holds.
#[test]
fn the_last_command_wins() {
    loom::model(|| {
        let gate = Arc::new(live_gate());
        let muting = thread::spawn({
            let gate = gate.clone();
            move || gate.mute()
        });
        let opened = gate.unmute(20);
        let muted = muting.join().unwrap();
        assert_ne!(opened, muted);
        assert_eq!(gate.state(), (opened.max(muted), opened > muted));
        assert_eq!(gate.state().0.get(), 3);
    });
}

/// The `number`th pull of a client (from 0) that pulls `frames` each time.
fn pull(number: u64, frames: u32) -> Pull {
    Pull {
        finish_ns: 1 + number,
        frames,
        nanoseconds: 1000 * u64::from(frames),
        live: number % 2 == 0,
        flagged: number % 2 == 1,
    }
}

/// All figures of a snapshot agree with each other: they are those of the first so many pulls of one client.
fn assert_consistent(seen: &SlotSnapshot, frames: u64) -> u64 {
    let pulls = seen.live.pulls + seen.muted.pulls;
    assert_eq!(seen.live.pulls, pulls.div_ceil(2), "{seen:?}");
    for tally in [seen.live, seen.muted] {
        assert_eq!(
            (tally.frames, tally.nanoseconds),
            (tally.pulls * frames, tally.pulls * frames * 1000)
        );
    }
    assert_eq!(seen.xruns, seen.muted.pulls);
    assert_eq!(seen.last_pull_ns, (pulls > 0).then_some(pulls));
    assert_eq!(seen.intervals.total(), pulls.saturating_sub(1));
    pulls
}

/// A reader sees each pull whole or not at all, and never fewer pulls than before.
#[test]
fn a_reader_sees_whole_pulls() {
    loom::model(|| {
        let ledger = Arc::new(Ledger::<1>::new(1));
        let mut writer = ledger.claim(7).expect("the slot is free");
        ledger.record(&mut writer, pull(0, 4));
        let audio = thread::spawn({
            let ledger = ledger.clone();
            move || {
                ledger.record(&mut writer, pull(1, 4));
                writer
            }
        });
        match ledger.snapshot(0) {
            Ok(seen) => assert!((1..=2).contains(&assert_consistent(&seen, 4))),
            Err(why) => assert_eq!(why, NoSnapshot::Busy),
        }
        let writer = audio.join().unwrap();
        assert_eq!(
            assert_consistent(&ledger.release(writer).expect("ours"), 4),
            2
        );
    });
}

/// A reader never mixes the counts of two clients that have a slot one after the other.
#[test]
fn a_reader_never_mixes_two_clients() {
    let mut model = loom::model::Builder::new();
    // A release and a claim change so many counters that three preemptions already take a minute.
    model.preemption_bound = Some(2);
    model.check(|| {
        let ledger = Arc::new(Ledger::<1>::new(1));
        let mut writer = ledger.claim(7).expect("the slot is free");
        ledger.record(&mut writer, pull(0, 4));
        let control = thread::spawn({
            let ledger = ledger.clone();
            move || {
                let last = ledger.release(writer).expect("ours");
                assert_eq!(assert_consistent(&last, 4), 1);
                ledger.claim(8).expect("the slot is free again")
            }
        });
        match ledger.snapshot(0) {
            Ok(seen) if seen.client == 7 => assert_eq!(assert_consistent(&seen, 4), 1),
            Ok(seen) => assert_eq!((seen.client, assert_consistent(&seen, 9)), (8, 0)),
            Err(NoSnapshot::Free | NoSnapshot::Busy) => {}
        }
        let _writer = control.join().unwrap();
        assert_eq!(ledger.snapshot(0).expect("nobody writes").client, 8);
    });
}

/// One slot, two who want it: it never has two writers, and no pull of either is lost or given to the other.
#[test]
fn a_slot_has_one_writer() {
    loom::model(|| {
        let ledger = Arc::new(Ledger::<1>::new(1));
        let take_one_pull = |ledger: &Ledger<1>, client: u64| match ledger.claim(client) {
            Some(mut writer) => {
                ledger.record(&mut writer, pull(0, client as u32));
                let last = ledger.release(writer).expect("ours");
                assert_eq!((last.client, assert_consistent(&last, client)), (client, 1));
                1
            }
            None => {
                ledger.record_unattributed(pull(0, client as u32));
                0
            }
        };
        let other = thread::spawn({
            let ledger = ledger.clone();
            move || take_one_pull(&ledger, 5)
        });
        let attributed = take_one_pull(&ledger, 6) + other.join().unwrap();
        assert!(attributed >= 1);
        assert_eq!(ledger.unattributed().pulls, 2 - attributed);
        assert_eq!(ledger.snapshot(0), Err(NoSnapshot::Free));
    });
}

/// Several writers may count unattributed pulls at once.
#[test]
fn no_unattributed_pull_is_lost() {
    loom::model(|| {
        let ledger = Arc::new(Ledger::<0>::new(1));
        let other = thread::spawn({
            let ledger = ledger.clone();
            move || ledger.record_unattributed(pull(0, 4))
        });
        ledger.record_unattributed(pull(0, 5));
        other.join().unwrap();
        let sum = ledger.unattributed();
        assert_eq!((sum.pulls, sum.frames, sum.nanoseconds), (2, 9, 9000));
    });
}

/// Words that are published together are read together, and what was published before a reader is told is what it reads.
#[test]
fn published_words_belong_together() {
    loom::model(|| {
        let shared = Arc::new((Published::<2>::new(), AtomicBool::new(false)));
        let publisher = thread::spawn({
            let shared = shared.clone();
            move || {
                shared.0.publish([1, 1]);
                shared.1.store(true, Ordering::Release);
                shared.0.publish([2, 2]);
            }
        });
        let told = shared.1.load(Ordering::Acquire);
        if let Some([first, second]) = shared.0.read() {
            assert_eq!(first, second);
            assert!(!told || first >= 1);
        }
        publisher.join().unwrap();
        assert_eq!(shared.0.read(), Some([2, 2]));
    });
}
