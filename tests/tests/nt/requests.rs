//! The control device's requests with wrong lengths, in wrong orders, and at random.

use crate::set::{COUNTER_HZ, INVALID_PARAMETER, PERIOD, SUCCESS, Set};

/// Code, bytes in and bytes out of each request, as docs/windows.md lists them.
const REQUESTS: [(u32, usize, usize); 8] = [
    (0x8000_6000, 0, 16),
    (0x8000_a004, 8, 0),
    (0x8000_a008, 32, 0),
    (0x8000_a00c, 0, 16),
    (0x8000_6010, 0, 24),
    (0x8000_a014, 0, 24),
    (0x8000_6018, 0, 24),
    (0x8000_601c, 0, 208),
];

/// Frames that a feed may lie ahead of the clock.
const REACH: u64 = 12_000;

#[test]
fn any_other_length_is_an_error_and_nothing_else() {
    let mut set = Set::running();
    set.feed(1, true);
    assert!(set.play(10).live > 5);
    let before = set.must("snapshot 0");
    for (code, input, output) in REQUESTS {
        for (bytes, room) in [
            (input + 1, output),
            (input + 8, output),
            (input, output + 1),
            (input, output + 4096),
            (input.saturating_sub(1), output),
            (input, output.saturating_sub(1)),
        ] {
            if (bytes, room) == (input, output) {
                continue;
            }
            let zeros = "00".repeat(bytes);
            let status = set.status(&format!("ioctl 0 {code:#x} {room} {zeros}"));
            assert_ne!(status, SUCCESS, "{code:#x} {bytes} {room}");
        }
    }
    let after = set.must("snapshot 0");
    for same in ["epoch", "open", "attached", "feeds", "live_frames"] {
        assert_eq!(before[same], after[same], "{same}");
    }
    assert!(set.play(10).silent_frames == 0);
    set.end_stream();
    set.must("close 0");
    set.finish();
}

#[test]
fn feeds_out_of_reach_or_of_another_epoch_are_refused() {
    let mut set = Set::running();
    let opened = set.must("unmute 0");
    let at = |what: &str| opened[what].as_u64().expect("a number");
    let (epoch, position, began_ns) = (at("epoch"), at("position"), at("at_ns"));
    let mut status = |epoch: u64, position: u64, frames: u64| {
        set.status(&format!("feed 0 {epoch} {position} {began_ns} {frames} 1"))
    };
    assert_eq!(status(epoch, position + PERIOD, PERIOD), SUCCESS);
    assert_eq!(status(epoch, position + REACH - PERIOD, PERIOD), SUCCESS);
    for far in [REACH, 1 << 20, 1 << 40, u64::MAX - position - 1] {
        assert_eq!(status(epoch, position + far, PERIOD), INVALID_PARAMETER);
    }
    for other in [0, epoch - 1, epoch + 1, u64::MAX] {
        assert_ne!(status(other, position + PERIOD, PERIOD), SUCCESS);
    }
    assert_ne!(status(epoch, position, 0), SUCCESS);
    set.end_stream();
    set.must("close 0");
    set.finish();
}

/// A million requests, most of them nearly right: an error, or what it says, and the driver goes on as if nothing had been.
#[test]
fn a_million_random_requests_do_no_harm() {
    let mut set = Set::running();
    assert_eq!(set.open("console", "r"), Some(1));
    assert_eq!(set.open("console", "rw"), Some(2));
    let mut succeeded = 0;
    for seed in 1..=10 {
        for other in [1, 2] {
            let said = set.order(&format!("random 0 {other} {seed} 50000"));
            succeeded += said["succeeded"].as_u64().expect("a count");
        }
    }
    assert!(succeeded > 100_000, "{succeeded}");
    // Whatever it went through: silent, and then as good as new.
    set.must("mute 1");
    assert_eq!(set.filled(), 0);
    assert_eq!(set.play(10).live_frames, 0);
    for handle in [1, 2] {
        set.must(&format!("close {handle}"));
    }
    set.must("attach 0");
    set.feed(1, true);
    let heard = set.play(20);
    assert!(heard.live >= 17 && heard.tags == [1], "{heard:?}");
    set.end_stream();
    set.must("close 0");
    set.finish();
}

#[test]
fn the_driver_keeps_a_fixed_amount_of_memory() {
    let mut set = Set::running();
    set.feed(1, true);
    set.play(1000);
    let held = set.order("memory");
    set.play(1000);
    assert_eq!(set.order("memory"), held);
    // As docs/windows.md says: 176 KiB, besides the stream's buffer and its timer, which are the system's.
    let of = |what: &str| held[what].as_u64().expect("a count");
    assert_eq!((of("image") >> 10, of("bytes")), (176, 0), "{held}");
    set.end_stream();
    set.must("close 0");
    set.finish();
    // What it holds of the pool when it is only loaded is all.
    let mut set = Set::started(COUNTER_HZ);
    assert_eq!(set.order("memory")["bytes"], 0);
    set.finish();
}
