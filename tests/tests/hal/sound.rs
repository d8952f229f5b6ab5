//! Sound through the real plug-in: fed through the bridge by this process, read by the host in another one, which looks at
//! every frame. The left sample tells where a frame belongs, the right one which stretch of feeding it comes from.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use truemute_bridge::message::Aside;
use truemute_core::shared_ring::FRAMES;

use crate::set::{BLOCK, LIMIT, READER, Set, connect, feed, now_ns};

#[test]
fn a_million_reads_are_the_ramp_while_live_and_zeros_while_muted() {
    let mut set = Set::new();
    // Muted from the start, whatever is in the ring and whatever epoch it says.
    for epoch in 0..4 {
        set.ring.begin(epoch, 0, now_ns());
        feed(&mut set.ring, 0, FRAMES as u64, 1.0);
        assert_eq!(set.read(0, 1000, 7)["silent"], 1000);
    }
    let start = 1_000_003;
    let mut tag = 2.0;
    set.go_live(start, tag);
    let began = Instant::now();
    while set.live < 1_000_000 {
        let heard = set.read_answered_for(start + set.live % 8, 5_000, 0);
        assert_eq!(heard["mixed"], 0, "{heard}");
        let tags = heard["tags"].as_array().expect("a list");
        assert!(
            tags.iter().all(|it| it.as_f64() == Some(f64::from(tag))),
            "{heard}"
        );
        if heard["live"] != 5_000 {
            // The lease ran out: the next epoch has the next tag.
            tag += 1.0;
            set.go_live(start, tag);
        }
        assert!(began.elapsed() < LIMIT, "{heard}");
    }
    // What was captured before a mute is never heard after the next unmute.
    let muted = set.client.mute().expect("the plug-in answers");
    assert!(muted.settled);
    assert_eq!(set.read(start, 100_000, 0)["silent"], 100_000);
    set.client.unmute().expect("the plug-in answers");
    assert_eq!(set.read_answered_for(start, 100_000, 0)["silent"], 100_000);
    set.go_live(start, tag + 1.0);
    set.assert_counted();
    assert!(set.host.finish());
}

#[test]
fn frames_of_the_future_of_the_past_and_beyond_the_run_are_zeros() {
    let mut set = Set::new();
    let start = 5_000_000;
    set.go_live(start, 2.0);
    // As far ahead as the ring goes: not captured yet by its own time, or not written.
    let end = start + FRAMES as u64;
    for sample in [
        start - 1,
        start - BLOCK,
        end - BLOCK + 1,
        end,
        end + (1 << 40),
        0,
    ] {
        assert_eq!(
            set.read_answered_for(sample, 10, 0)["silent"],
            10,
            "{sample}"
        );
    }
    // Before the time line begins.
    for sample in [-1, -(BLOCK as i64), -(FRAMES as i64), i64::MIN] {
        assert_eq!(
            set.read_answered_for(sample, 10, 0)["silent"],
            10,
            "{sample}"
        );
    }
    // Of another epoch, although its time says that it was captured in this one.
    let opened = set.go_live(start, 2.0);
    for epoch in [opened.epoch - 2, opened.epoch - 1, opened.epoch + 1, 0] {
        set.ring.begin(epoch, start, opened.opened_ns);
        feed(&mut set.ring, start, FRAMES as u64, 9.0);
        assert_eq!(set.read_answered_for(start, 10, 0)["silent"], 10);
    }
    // Overwritten: the ring goes on by one frame, and the first block has lost its first.
    let mut open = false;
    while !open {
        set.go_live(start, 2.0);
        feed(&mut set.ring, end, 1, 2.0);
        assert_eq!(set.read_answered_for(start, 10, 0)["silent"], 10);
        let heard = set.read_answered_for(start + 1, 10, 0);
        open = set.is_open();
        assert!(!open || heard["live"] == 10, "{heard}");
    }
    set.assert_counted();
    assert!(set.host.finish());
}

/// A day's end of one counter or another is nothing to the ring, and a time that is no position is silence while all else is live.
#[test]
fn times_beyond_32_bits_go_on_and_times_that_are_none_are_zeros() {
    let mut set = Set::new();
    let mut tag = 2.0;
    for start in [
        (1 << 31) - BLOCK,
        (1 << 32) - BLOCK,
        (1 << 53) - FRAMES as u64,
    ] {
        let began = Instant::now();
        loop {
            tag += 1.0;
            set.go_live(start, tag);
            // Until the last one's capture is over, by its own time.
            while set.is_open() && set.read(start + 1024, 1, 0)["live"] == 0 {}
            // Blocks that lie before the edge, across it and behind it.
            let heard = set.read_answered_for(start, 256, 4);
            for nowhere in [-1, -512, i64::from(i32::MIN), i64::MIN, 1 << 53, i64::MAX] {
                let order = format!("read {READER} {nowhere} {BLOCK} 1 0");
                assert_eq!(set.host.order(&order)["silent"], 1, "{nowhere}");
                set.silent += 1;
            }
            let last = set.read(start, 1, 0);
            assert_eq!(heard["mixed"], 0, "{heard}");
            if heard["live"] == 256 && last["live"] == 1 {
                break;
            }
            // Nobody renewed the lease in time.
            assert!(began.elapsed() < LIMIT, "{heard} {last}");
        }
    }
    set.assert_counted();
    assert!(set.host.finish());
}

/// The writer begins anew again and again, with another tag: a read is one piece of one stretch, or zeros.
#[test]
fn a_writer_that_overtakes_never_tears_a_read() {
    let mut set = Set::new();
    let start = 0;
    let mut opened = set.go_live(start, 2.0);
    let done = AtomicBool::new(false);
    let (host, client, ring) = (&mut set.host, &set.client, &mut set.ring);
    let heard = std::thread::scope(|scope| {
        let done = &done;
        scope.spawn(move || {
            let mut renewed = Instant::now();
            for lap in 0.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                ring.begin(opened.epoch, start, opened.opened_ns);
                for part in 0..4 {
                    feed(ring, start + part * BLOCK, BLOCK, 3.0 + (lap % 1000) as f32);
                }
                if renewed.elapsed() > Duration::from_millis(25) {
                    if !client.renew_lease().expect("the plug-in answers").open {
                        opened = client.unmute().expect("the plug-in answers");
                    }
                    renewed = Instant::now();
                }
            }
        });
        let heard = host.order(&format!("read {READER} {start} {BLOCK} 200000 0"));
        done.store(true, Ordering::Relaxed);
        heard
    });
    assert_eq!(heard["foreign"], 0, "{heard}");
    assert_eq!(heard["mixed"], 0, "{heard}");
    assert!(heard["live"].as_u64() > Some(0), "{heard}");
    assert!(set.host.finish());
}

#[test]
fn nobody_answers_for_live_and_it_is_silent() {
    let mut set = Set::new();
    let start = 100_000;
    set.go_live(start, 2.0);
    // No renewal: the lease runs out. A late one brings nothing back.
    let began = Instant::now();
    while set.read(start, 1, 0)["live"] == 1 {
        assert!(began.elapsed() < LIMIT, "live without a lease");
    }
    assert!(!set.is_open());
    assert_eq!(set.read(start, 1000, 0)["silent"], 1000);
    set.go_live(start, 3.0);
    set.assert_counted();
    // The agent goes without a word: silent, and the next one finds the gate shut.
    let Set {
        mut host,
        client,
        ring,
        folder,
        ..
    } = set;
    drop((client, ring));
    let next = connect(&folder);
    assert!(!next.welcome.gate.open);
    let heard = host.order(&format!("read {READER} {start} {BLOCK} 1000 0"));
    assert_eq!(heard["silent"], 1000, "{heard}");
    assert!(host.finish());
}

/// One client is muted on its own: zeros for it, from the reply on, and the others hear every bit.
#[test]
fn a_client_that_is_muted_on_its_own_gets_zeros_and_the_other_one_the_ramp() {
    const OTHER: u32 = 8;
    let mut set = Set::new();
    assert_eq!(
        set.host.order(&format!("add {OTHER} 55 org.example.other"))["status"],
        0
    );
    let arrival = |set: &Set, id: u32| {
        let look = set.client.snapshot(None).expect("the plug-in answers");
        let client = look
            .clients
            .iter()
            .find(|it| it.id == id && it.running.is_some());
        client.expect("it is there").arrival
    };
    let (reader, other) = (arrival(&set, READER), arrival(&set, OTHER));
    let start = 2_000_000;
    let silent = |set: &mut Set, id: u32| {
        let heard = set.host.order(&format!("read {id} {start} {BLOCK} 1 0"));
        assert_eq!(
            heard["failed"].as_u64().zip(heard["foreign"].as_u64()),
            Some((0, 0))
        );
        heard["silent"] == 1
    };
    // Who is heard in the state that was set: asked anew where the lease ran out meanwhile, on a busy machine.
    let mut tag = 2.0;
    let mut heard = |set: &mut Set, aside: Aside, ids: &[u32]| loop {
        assert!(
            set.client
                .set_aside(aside.clone())
                .expect("the plug-in answers")
        );
        if ids.contains(&READER) {
            set.go_live(start, tag);
        } else {
            let opened = set.client.unmute().expect("the plug-in answers");
            set.ring.begin(opened.epoch, start, opened.opened_ns);
            feed(&mut set.ring, start, FRAMES as u64, tag);
            // Of the first block, by its own time; the other one is read until it is heard.
            let began = Instant::now();
            while set.is_open() && silent(set, OTHER) && ids.contains(&OTHER) {
                assert!(began.elapsed() < LIMIT, "never live");
            }
        }
        tag += 1.0;
        let silences = [silent(set, READER), silent(set, OTHER)];
        if set.is_open() {
            return silences;
        }
    };
    let both = [READER, OTHER];
    assert_eq!(heard(&mut set, Aside::default(), &both), [false, false]);
    let aside = |clients: &[u64], judged| Aside {
        clients: clients.to_vec(),
        judged,
    };
    assert_eq!(
        heard(&mut set, aside(&[reader], other), &[OTHER]),
        [true, false]
    );
    assert_eq!(
        heard(&mut set, aside(&[other], other), &[READER]),
        [false, true]
    );
    // It comes again under the same number of the host: silent until somebody has said who it is.
    assert_eq!(
        set.host
            .order(&format!("remove {OTHER} 55 org.example.other"))["status"],
        0
    );
    assert_eq!(
        set.host.order(&format!("add {OTHER} 55 org.example.other"))["status"],
        0
    );
    assert_eq!(heard(&mut set, aside(&[], other), &[READER]), [false, true]);
    let again = arrival(&set, OTHER);
    assert!(again > other);
    assert_eq!(
        heard(&mut set, aside(&[again], again), &[READER]),
        [false, true]
    );
    assert_eq!(heard(&mut set, Aside::default(), &both), [false, false]);
    // Silent by itself, and still by the gate's mute.
    assert!(
        set.client
            .set_aside(aside(&[other], again))
            .expect("the plug-in answers")
    );
    set.client.mute().expect("the plug-in answers");
    assert!(silent(&mut set, READER) && silent(&mut set, OTHER));
    assert!(set.host.finish());
}
