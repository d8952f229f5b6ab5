//! Sound through the driver: each frame that comes out is looked at by the host. The left sample tells where it belongs, the right one
//! which stretch of feeding it comes from.

use crate::set::{COUNTER_HZ, Heard, PERIOD, PERIOD_NS, Set};

/// Periods of an hour.
const HOUR: u64 = 360_000;

/// The driver's counts are the host's own.
fn assert_counted(set: &mut Set, heard: &[&Heard]) {
    let sum = |what: fn(&Heard) -> u64| -> u64 { heard.iter().map(|it| what(it)).sum() };
    let snapshot = set.must("snapshot 0");
    // A packet with any sound in it is a live one.
    let live = sum(|it| it.live + it.mixed);
    let silent = sum(|it| it.silent);
    for (name, expected) in [
        ("live_pulls", live),
        ("muted_pulls", silent),
        ("live_pull_frames", live * PERIOD),
        ("muted_pull_frames", silent * PERIOD),
        ("lost_pulls", 0),
    ] {
        assert_eq!(snapshot[name], expected, "{name}: {snapshot}");
    }
}

#[test]
fn hours_are_the_ramp_while_live_and_zeros_while_muted() {
    let mut set = Set::running();
    let before = set.play(1000);
    assert_eq!((before.silent, before.live_frames), (1000, 0));
    set.feed(1, true);
    // Two periods until the first fed frame is due.
    let starting = set.play(10);
    assert_eq!((starting.silent, starting.live), (2, 8));
    let hour = set.play(HOUR);
    assert_eq!((hour.live, hour.silent_frames), (HOUR, 0));
    assert_eq!((hour.gaps, &hour.tags), (0, &vec![1]));
    set.must("mute 0");
    let muted = set.play(HOUR);
    assert_eq!((muted.silent, muted.live_frames), (HOUR, 0));
    assert_counted(&mut set, &[&before, &starting, &hour, &muted]);
    set.end_stream();
    set.must("close 0");
    set.finish();
}

#[test]
fn a_mute_in_mid_stream_leaves_no_sound_and_an_unmute_brings_nothing_old() {
    let mut set = Set::running();
    let mut all = Vec::new();
    for tag in 1..=500 {
        let opened = set.feed(tag, true);
        let live = set.play(8);
        assert_eq!(
            (live.live, &live.tags),
            (6, &vec![u64::from(tag)]),
            "{live:?}"
        );
        // Nothing is heard at a position before the unmute's.
        let opened = opened["position"].as_u64().expect("a position");
        assert!(live.first_live >= opened & 0x3fff_ffff, "{live:?} {opened}");
        // In the middle of a period, and of a packet that is half written.
        let part = u64::from(tag) * 19_937 % PERIOD_NS;
        set.order(&format!("advance {part}"));
        set.order("position");
        set.must("mute 0");
        assert_eq!(set.filled(), 0, "{tag}");
        // The rest of the period, so that the next tag begins on the grid again; the feeder does not know yet, and goes on.
        let rest = set.play_at(1, PERIOD_NS - part);
        assert_eq!(rest.live_frames, 0);
        let muted = set.play(4);
        assert_eq!((muted.silent, muted.live_frames), (4, 0), "{tag}");
        all.extend([live, rest, muted]);
    }
    assert_counted(&mut set, &all.iter().collect::<Vec<_>>());
    set.end_stream();
    set.must("close 0");
    set.finish();
}

/// The timer runs on one processor while a mute comes on another, at any instant of its work.
#[test]
fn a_mute_beside_the_timer_leaves_no_sound() {
    let mut set = Set::running();
    set.feed(1, true);
    let said = set.order("race 3000");
    assert_eq!(said["live"], 3000, "{said}");
    assert_eq!(
        (&said["filled_at_once"], &said["filled_later"]),
        (&0.into(), &0.into()),
        "{said}"
    );
    set.end_stream();
    set.must("close 0");
    set.finish();
}

#[test]
fn a_feeder_that_dies_is_a_mute() {
    let mut set = Set::running();
    assert_eq!(set.open("console", "r"), Some(1));
    set.feed(1, true);
    assert!(set.play(10).live > 5);
    set.order("feeder off");
    set.must("cleanup 0");
    assert_eq!(set.filled(), 0);
    assert_eq!(set.play(10).live_frames, 0);
    let snapshot = set.must("snapshot 1");
    assert_eq!(
        (&snapshot["feeders_lost"], &snapshot["open"]),
        (&1.into(), &0.into())
    );
    // Its successor hears nothing of what it fed.
    set.must("close 0");
    assert_eq!(set.open("console", "rw"), Some(0));
    set.must("attach 0");
    set.must("unmute 0");
    assert_eq!(set.play(5).live_frames, 0);
    set.feed(2, true);
    assert_eq!(set.play(10).tags, [2]);
    set.end_stream();
    set.must("close 0");
    set.must("close 1");
    set.finish();
}

/// Fed far ahead, so that the ring has sound; but nobody feeds any more.
#[test]
fn a_feed_older_than_50_ms_is_silence() {
    let mut set = Set::running();
    let opened = set.must("unmute 0");
    let at = |what: &str| opened[what].as_u64().expect("a number");
    set.order("advance 20000000");
    let (epoch, position, began_ns) = (at("epoch"), at("position") + PERIOD, at("at_ns"));
    for part in 0..2 {
        let position = position + part * 4800;
        set.must(&format!("feed 0 {epoch} {position} {began_ns} 4800 3"));
    }
    let heard = set.play(12);
    // 50 ms after the feed nothing more comes, although 200 ms lie in the ring.
    assert!((4..=5).contains(&heard.live), "{heard:?}");
    // Of the two periods before, nobody fetched anything.
    assert_eq!(heard.live + heard.silent + heard.mixed, 12, "{heard:?}");
    set.end_stream();
    set.must("close 0");
    set.finish();
}

#[test]
fn a_lease_that_nobody_renews_runs_out_and_stays_so() {
    let mut set = Set::running();
    set.feed(1, false);
    let heard = set.play(100);
    // 250 ms, of which the first two periods are not fed.
    assert!((22..=23).contains(&heard.live), "{heard:?}");
    assert_eq!(set.filled(), 0);
    let renewed = set.must("renew 0");
    assert_eq!(renewed["open"], 0, "{renewed}");
    assert_eq!(set.play(10).live_frames, 0);
    assert_eq!(set.must("snapshot 0")["leases_expired"], 1);
    set.end_stream();
    set.must("close 0");
    set.finish();
}

#[test]
fn every_way_through_the_states_is_zeros_or_the_ramp() {
    let mut set = Set::running();
    set.feed(1, true);
    set.play(10);
    // Time stands still in a pause, and the stream goes on after it where it was.
    for _ in 0..50 {
        set.must("state pause");
        assert_eq!(set.play(7).live, 0);
        set.must("state run");
        let heard = set.play(9);
        assert!(heard.live >= 8 && heard.silent_frames == 0, "{heard:?}");
    }
    // From anywhere to anywhere: a stop begins anew.
    for from in ["stop", "acquire", "pause", "run"] {
        for to in ["stop", "acquire", "pause", "run", "stop", "run"] {
            set.must(&format!("state {from}"));
            set.play(2);
            set.must(&format!("state {to}"));
            set.play(3);
        }
    }
    set.must("state stop");
    assert_eq!(set.filled(), 0);
    set.must("state run");
    assert_eq!(set.play(5).silent_frames, 0);
    set.end_stream();
    set.must("close 0");
    set.finish();
}

/// Windows' timers fire late, by a millisecond or, without high resolution, by a whole tick of 15.6 ms.
#[test]
fn late_timers_cost_no_frame_of_two_packets() {
    for late_ns in [900_000, 4_000_000, 9_000_000] {
        let mut set = Set::running();
        set.order(&format!("late {late_ns}"));
        set.feed(1, true);
        set.play(10);
        let heard = set.play(10_000);
        assert_eq!(
            (heard.silent_frames, heard.gaps),
            (0, 0),
            "{late_ns}: {heard:?}"
        );
        assert!(heard.live >= 9_998, "{late_ns}: {heard:?}");
        set.end_stream();
        set.must("close 0");
        set.finish();
    }
}

/// Nobody fetched for a while: what was overwritten is counted as lost, and the next packet is whole.
#[test]
fn packets_that_nobody_fetched_are_counted_as_lost() {
    let mut set = Set::running();
    set.feed(1, true);
    let before = set.play(20);
    set.order(&format!("hold 30 {PERIOD_NS}"));
    let after = set.play(20);
    assert_eq!((after.gaps, after.silent_frames), (1, 0), "{after:?}");
    let snapshot = set.must("snapshot 0");
    let fetched = before.live + before.silent + after.live;
    assert_eq!(snapshot["lost_pulls"], 70 - fetched, "{snapshot}");
    set.end_stream();
    set.must("close 0");
    set.finish();
}

#[test]
fn any_counter_gives_48000_frames_a_second() {
    // The ACPI timer, a cycle counter, the usual one, ARM's.
    for hz in [3_579_545, 2_893_437_000, COUNTER_HZ, 24_000_000] {
        let mut set = Set::running_at(hz);
        set.feed(1, true);
        set.play(10);
        let heard = set.play(6_000);
        assert_eq!((heard.silent_frames, heard.gaps), (0, 0), "{hz}: {heard:?}");
        assert!((5_999..=6_001).contains(&heard.live), "{hz}: {heard:?}");
        set.end_stream();
        set.must("close 0");
        set.finish();
    }
}
