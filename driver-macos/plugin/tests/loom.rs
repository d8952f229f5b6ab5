//! A model of the clients' seats: loom runs an IO thread and the control thread in every interleaving
//! that there is. Run with `RUSTFLAGS="--cfg loom" cargo test -p truemute-hal --release --test loom`.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use truemute_core::ledger::Pull;
use truemute_hal::seats::Seats;

fn record(seats: &Seats) {
    seats.begin(7).end(PULL, None);
}

const PULL: Pull = Pull {
    finish_ns: 1,
    frames: 1,
    nanoseconds: 1,
    live: true,
    flagged: false,
};

fn model(run: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = None;
    model.max_branches = 20_000;
    model.check(run);
}

/// One client leaves, and another comes to its only seat, under another id or the same, while somebody reads for the first
/// one's id.
fn changes_hands(second_id: u32) {
    model(move || {
        let seats = Arc::new(Seats::new());
        let seat = seats.take(1, 7, false).expect("it is free");
        let reader = thread::spawn({
            let seats = seats.clone();
            move || record(&seats)
        });
        let first = seats.give_up(seat).expect("it was taken").live.pulls;
        let seat = seats.take(2, second_id, false).expect("it is free again");
        reader.join().expect("it does not panic");
        let second = seats.counts(seat).expect("it is taken").live.pulls;
        let nobody = seats.unattributed().pulls;
        assert_eq!(first + second + nobody, 1, "{first} {second} {nobody}");
        assert!(second == 0 || second_id == 7, "counted for a stranger");
    });
}

#[test]
fn a_read_is_counted_once_and_never_for_a_stranger() {
    changes_hands(8);
}

#[test]
fn an_id_that_comes_again_is_counted_once_too() {
    changes_hands(7);
}

#[test]
fn a_read_of_a_client_that_leaves_is_counted_once() {
    model(|| {
        let seats = Arc::new(Seats::new());
        let seat = seats.take(1, 7, false).expect("it is free");
        let reader = thread::spawn({
            let seats = seats.clone();
            move || record(&seats)
        });
        let counted = seats.give_up(seat).expect("it was taken").live.pulls;
        reader.join().expect("it does not panic");
        assert_eq!(counted + seats.unattributed().pulls, 1);
    });
}

#[test]
fn two_threads_that_read_for_one_client_are_both_counted() {
    model(|| {
        let seats = Arc::new(Seats::new());
        let seat = seats.take(1, 7, false).expect("it is free");
        let reader = thread::spawn({
            let seats = seats.clone();
            move || record(&seats)
        });
        record(&seats);
        reader.join().expect("it does not panic");
        let counted = seats.counts(seat).expect("it is taken").live.pulls;
        assert_eq!(counted + seats.unattributed().pulls, 2);
        assert!(counted > 0);
    });
}

/// A read that does not see that its client was muted on its own is waited for.
#[test]
fn a_client_that_is_muted_on_its_own_gets_no_sound_once_that_is_settled() {
    model(|| {
        let seats = Arc::new(Seats::new());
        let seat = seats.take(1, 7, false).expect("it is free");
        let sounding = Arc::new(AtomicBool::new(false));
        let reader = thread::spawn({
            let (seats, sounding) = (seats.clone(), sounding.clone());
            move || {
                let reading = seats.begin(7);
                if !reading.is_silent() {
                    sounding.store(true, Ordering::Relaxed);
                    sounding.store(false, Ordering::Relaxed);
                }
            }
        });
        seats.set_silent(seat, true);
        if seats.is_settled(seat) {
            assert!(!sounding.load(Ordering::Relaxed));
            thread::yield_now();
            assert!(!sounding.load(Ordering::Relaxed));
        }
        reader.join().expect("it does not panic");
    });
}

/// A read that found a muted client's seat is silent, though its place went to one that is heard.
#[test]
fn whoever_comes_to_a_muted_clients_seat_makes_its_last_read_not_heard() {
    model(|| {
        let seats = Arc::new(Seats::new());
        // So that only a read of the second client may be heard.
        seats.set_strangers_silent(true);
        let seat = seats.take(1, 7, true).expect("it is free");
        let reader = thread::spawn({
            let seats = seats.clone();
            move || {
                let reading = seats.begin(7);
                let silent = reading.is_silent();
                reading.end(PULL, None);
                silent
            }
        });
        seats.give_up(seat);
        let seat = seats.take(2, 7, false).expect("it is free again");
        let silent = reader.join().expect("it does not panic");
        let second = seats.counts(seat).expect("it is taken").live.pulls;
        assert!(silent || second == 1, "the muted client heard");
    });
}
