//! The device against its promises.

use super::stage::{AGENT, MS, OTHER, PACKET, Stage, ZEROS, assert_silent, loud, ramp};
use super::*;
use crate::capture::MOST_PACKETS;
use crate::requests::answer;
use truemute_core::gate::SilentReason;
use truemute_windows_interface::record::Attach;
use truemute_windows_interface::{MOST_FRAMES, Request};

#[test]
fn silent_from_the_start_and_every_frame_is_counted() {
    let mut stage = Stage::running(2);
    assert_eq!(stage.buffer(), [ZEROS; 2 * PACKET]);
    for _ in 0..100 {
        stage.wait(10 * MS);
    }
    let seen = stage.snapshot();
    assert_eq!((seen.live_frames, seen.muted_frames), (0, 48_000));
    assert_eq!(
        (seen.open, seen.reason),
        (0, u32::from(SilentReason::Muted.code()))
    );
    assert_eq!(stage.buffer(), [ZEROS; 2 * PACKET]);
}

#[test]
fn a_ramp_comes_through_bit_by_bit() {
    let mut stage = Stage::running(2);
    stage.attach();
    let epoch = stage.unmute();
    let began = stage.device.clock().position_at(stage.now_ns);
    let mut heard: Vec<Frame> = Vec::new();
    for _ in 0..50 {
        stage.device.renew(stage.now_ns, AGENT).unwrap();
        stage.feed(epoch, PACKET).unwrap();
        let tick = stage.wait(10 * MS);
        assert!(tick.complete);
        let packet = stage.device.fetch(stage.now_ns).unwrap();
        assert!(packet.live && !packet.more && packet.lost == 0);
        let from = (packet.number % 2) as usize * PACKET;
        heard.extend(&stage.buffer()[from..from + PACKET]);
    }
    let expected: Vec<Frame> = (began..).take(heard.len()).map(ramp).collect();
    assert_eq!(heard, expected);
    let seen = stage.snapshot();
    assert_eq!(
        (
            seen.live_pulls,
            seen.live_pull_frames,
            seen.muted_pulls,
            seen.lost_pulls
        ),
        (50, 24_000, 0, 0)
    );
    assert_eq!(
        (seen.live_frames, seen.muted_frames, seen.reason),
        (24_000, 0, 0)
    );
    assert_eq!((seen.feeds, seen.fed_frames), (50, 24_000));
    assert!(
        (9 * MS..11 * MS).contains(&seen.interval_p50_ns),
        "{}",
        seen.interval_p50_ns
    );
}

#[test]
fn a_mute_leaves_no_sound_in_buffer_or_ring() {
    let (mut stage, epoch) = loud();
    let position = stage.device.clock().position_at(stage.now_ns);
    let muted = stage.device.mute(stage.now_ns);
    assert_eq!(
        (muted.position, muted.done_ns, muted.epoch > epoch),
        (position, stage.now_ns, true)
    );
    assert_silent(&mut stage);
    assert_eq!(stage.snapshot().zeroed_frames, 720);
    assert_eq!(stage.feed(epoch, 10), Err(Refused::Closed));
    assert_eq!(
        stage.feed(muted.epoch, 10),
        Err(Refused::Closed),
        "the epoch of a mute"
    );
    // The packet that stood there with sound is fetched as what it is now.
    assert!(!stage.device.fetch(stage.now_ns).unwrap().live);
    let former = epoch;
    let epoch = stage.unmute();
    assert_eq!(
        stage.feed(former, 10),
        Err(Refused::Closed),
        "a former epoch"
    );
    stage.wait(10 * MS);
    assert_eq!(
        stage.buffer(),
        [ZEROS; 2 * PACKET],
        "nothing stale after an unmute"
    );
    stage.feed(epoch, PACKET).unwrap();
    stage.wait(5 * MS);
    assert_ne!(stage.buffer(), [ZEROS; 2 * PACKET]);
}

/// P4: whatever the room sounds like while it is muted, everything that can be observed is the same.
#[test]
fn while_muted_no_sound_makes_a_difference() {
    let observe = |sound: fn(u64) -> Frame, epoch_of_the_mute: bool| {
        let (mut stage, former) = loud();
        let muted = stage.device.mute(stage.now_ns);
        let mut seen = Vec::new();
        for _ in 0..30 {
            let position = stage.device.clock().position_at(stage.now_ns);
            let frames: Vec<Frame> = (position..).take(PACKET).map(sound).collect();
            let epoch = if epoch_of_the_mute {
                muted.epoch
            } else {
                former
            };
            let head = Feed {
                epoch,
                position,
                began_ns: stage.now_ns,
                frames: PACKET as u32,
                reserved: 0,
            };
            let fed = stage.device.feed(stage.now_ns, AGENT, head, &frames);
            let tick = stage.wait(10 * MS);
            let packet = stage.device.fetch(stage.now_ns);
            seen.push((fed, tick, packet, stage.buffer(), stage.snapshot()));
        }
        seen
    };
    for epoch in [false, true] {
        let silence = observe(|_| ZEROS, epoch);
        assert_eq!(observe(ramp, epoch), silence);
        assert_eq!(
            observe(
                |position| position.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes(),
                epoch
            ),
            silence
        );
    }
}

#[test]
fn a_feeder_that_goes_is_a_mute_and_another_may_come() {
    let (mut stage, _) = loud();
    stage.device.detach(OTHER);
    assert_ne!(
        stage.buffer(),
        [ZEROS; 2 * PACKET],
        "somebody else's handle"
    );
    stage.device.detach(AGENT);
    assert_silent(&mut stage);
    let seen = stage.snapshot();
    assert_eq!((seen.feeders_lost, seen.open, seen.attached), (1, 0, 0));
    stage
        .device
        .attach(
            OTHER,
            Attach {
                version: VERSION,
                reserved: 0,
            },
        )
        .unwrap();
    assert_eq!(stage.snapshot().open, 0);
}

#[test]
fn a_lease_that_runs_out_is_a_mute_that_a_renewal_does_not_undo() {
    let (mut stage, _) = loud();
    stage.now_ns += LEASE_NS - 15 * MS - 1;
    assert_eq!(stage.device.renew(stage.now_ns, AGENT).unwrap().open, 1);
    stage.now_ns += LEASE_NS - 1;
    stage.device.advance(stage.now_ns);
    assert_eq!(stage.snapshot().open, 1);
    stage.now_ns += 1;
    stage.device.advance(stage.now_ns);
    assert_silent(&mut stage);
    assert_eq!(stage.device.renew(stage.now_ns, AGENT).unwrap().open, 0);
    assert_eq!(stage.snapshot().leases_expired, 1);
}

#[test]
fn sleep_and_removal_are_mutes() {
    let (mut stage, _) = loud();
    stage.device.sleep();
    assert_silent(&mut stage);
    let (mut stage, _) = loud();
    stage.device.vanish();
    assert_silent(&mut stage);
    let mut buffer = [0; 24];
    let mute = answer(
        &mut stage.device,
        0,
        Caller {
            handle: AGENT,
            may_feed: true,
        },
        Request::Mute.code(),
        &mut buffer,
        0,
        24,
    );
    assert_eq!(mute, Err(Refused::Gone));
}

#[test]
fn a_feed_that_is_50_ms_old_is_no_source() {
    let mut stage = Stage::running(2);
    stage.attach();
    let epoch = stage.unmute();
    stage.feed(epoch, MOST_FRAMES).unwrap();
    stage.wait(STALE_NS);
    assert_eq!(stage.snapshot().reason, 0);
    stage.wait(1);
    stage.wait(10 * MS);
    assert_eq!(
        stage.snapshot().reason,
        u32::from(SilentReason::SourceMissing.code())
    );
    assert_eq!(
        stage.buffer()[PACKET..]
            .iter()
            .filter(|frame| **frame != ZEROS)
            .count(),
        0
    );
}

#[test]
fn sound_of_before_the_unmute_stays_out_whatever_its_epoch_says() {
    let mut stage = Stage::running(2);
    stage.attach();
    stage.now_ns += 100 * MS;
    let epoch = stage.unmute();
    let position = stage.device.clock().position_at(stage.now_ns);
    let head = Feed {
        epoch,
        position,
        began_ns: stage.now_ns - 1,
        frames: 480,
        reserved: 0,
    };
    stage
        .device
        .feed(stage.now_ns, AGENT, head, &[[7; 8]; 480])
        .unwrap();
    // Both pieces begin before the first whole frame after the unmute: one does, as far as it goes.
    stage.device.advance(stage.now_ns);
    stage.wait(MS);
    assert_eq!(stage.buffer(), [ZEROS; 2 * PACKET]);
    assert_eq!(
        stage.snapshot().reason,
        u32::from(SilentReason::BeforeUnmute.code())
    );
}

#[test]
fn feeds_are_only_taken_near_the_present() {
    let mut stage = Stage::running(2);
    stage.attach();
    let epoch = stage.unmute();
    stage.now_ns += 1000 * MS;
    stage.device.renew(stage.now_ns, AGENT).unwrap();
    let epoch = if stage.snapshot().open == 1 {
        epoch
    } else {
        stage.unmute()
    };
    let now = stage.device.clock().position_at(stage.now_ns);
    let mut feed = |position, frames: usize| {
        let head = Feed {
            epoch,
            position,
            began_ns: stage.now_ns,
            frames: frames as u32,
            reserved: 0,
        };
        stage
            .device
            .feed(stage.now_ns, AGENT, head, &vec![[1; 8]; frames])
    };
    for (position, frames, taken) in [
        (now - REACH, 1, true),
        (now - REACH - 1, 1, false),
        (now + REACH - 1, 1, true),
        (now + REACH, 1, false),
        (now + REACH - 9, 10, false),
        (u64::MAX, 1, false),
        (0, 1, false),
    ] {
        let expected = if taken {
            Ok(())
        } else {
            Err(Refused::OutOfReach)
        };
        assert_eq!(feed(position, frames), expected, "{position}");
    }
    assert_eq!(
        (stage.snapshot().feeds, stage.snapshot().feeds_refused),
        (2, 5)
    );
}

#[test]
fn the_timer_comes_when_a_packet_is_complete() {
    let mut stage = Stage::running(2);
    let Tick { complete, again_ns } = stage.wait(0);
    assert_eq!((complete, again_ns), (false, Some(10 * MS)));
    let early = stage.wait(10 * MS - 1);
    assert_eq!((early.complete, early.again_ns), (false, Some(1)));
    let due = stage.wait(1);
    assert_eq!((due.complete, due.again_ns), (true, Some(10 * MS)));
    // Late by some: the next one is due when it would have been.
    assert_eq!(
        stage.wait(13 * MS),
        Tick {
            complete: true,
            again_ns: Some(7 * MS)
        }
    );
    stage.go(State::Pause);
    assert_eq!(
        stage.wait(10 * MS),
        Tick {
            complete: false,
            again_ns: None
        }
    );
    let mut stage = Stage::running(0);
    assert_eq!(
        stage.wait(10 * MS),
        Tick {
            complete: false,
            again_ns: Some(UNHURRIED_NS)
        }
    );
}

#[test]
fn packets_are_fetched_once_and_losses_are_counted() {
    let mut stage = Stage::running(2);
    assert_eq!(stage.device.fetch(stage.now_ns), None);
    stage.wait(10 * MS);
    let first = stage.device.fetch(stage.now_ns).unwrap();
    let began = stage.device.clock().nanoseconds_at(first.position);
    assert_eq!(
        (first.number, first.frames, first.lost, began),
        (0, 480, 0, 5 * MS)
    );
    assert_eq!(stage.device.fetch(stage.now_ns), None);
    // Four more: with two packets in the buffer, only the last is whole.
    stage.wait(40 * MS);
    let next = stage.device.fetch(stage.now_ns).unwrap();
    assert_eq!((next.number, next.lost, next.more), (4, 3, false));
    let seen = stage.snapshot();
    assert_eq!(
        (seen.muted_pulls, seen.muted_pull_frames, seen.lost_pulls),
        (2, 960, 3)
    );
    assert_eq!(seen.last_pull_ns, stage.now_ns);
}

#[test]
fn a_packet_is_live_by_its_own_sound_and_not_by_that_of_64_packets_ago() {
    let mut stage = Stage::running(2);
    stage.attach();
    let epoch = stage.unmute();
    stage.feed(epoch, PACKET).unwrap();
    let live: Vec<bool> = (0..130)
        .map(|_| {
            stage.device.renew(stage.now_ns, AGENT).unwrap();
            stage.wait(10 * MS);
            stage.device.fetch(stage.now_ns).unwrap().live
        })
        .collect();
    assert!(live[0] && live[1..].iter().all(|live| !live), "{live:?}");
}

#[test]
fn a_stop_leaves_zeros_in_the_buffer() {
    let (mut stage, _) = loud();
    stage.go(State::Pause);
    stage.go(State::Acquire);
    assert_ne!(stage.buffer(), [ZEROS; 2 * PACKET]);
    stage.go(State::Stop);
    assert_eq!(stage.buffer(), [ZEROS; 2 * PACKET]);
}

#[test]
fn time_stands_still_in_a_pause_and_begins_anew_after_a_stop() {
    let mut stage = Stage::running(2);
    stage.wait(5 * MS);
    stage.go(State::Pause);
    assert_eq!(stage.device.stream().unwrap().offset(), 240 * 8);
    stage.wait(100 * MS);
    assert_eq!(stage.device.stream().unwrap().offset(), 240 * 8);
    stage.go(State::Run);
    stage.wait(5 * MS);
    assert_eq!(stage.device.stream().unwrap().offset(), 480 * 8);
    assert_eq!(stage.device.fetch(stage.now_ns).unwrap().number, 0);
    stage.go(State::Pause);
    stage.go(State::Acquire);
    stage.go(State::Stop);
    assert_eq!(stage.device.stream().unwrap().offset(), 0);
    stage.go(State::Run);
    stage.wait(10 * MS);
    assert_eq!(stage.device.fetch(stage.now_ns).unwrap().number, 0);
    assert_eq!(stage.snapshot().runs, 3);
}

#[test]
fn a_timer_that_is_late_by_more_than_the_buffer_leaves_zeros_and_no_overflow() {
    let (mut stage, _) = loud();
    stage.wait(10_000 * MS);
    assert_eq!(stage.buffer(), [ZEROS; 2 * PACKET]);
    stage.wait(1 << 62);
    assert_eq!(stage.buffer(), [ZEROS; 2 * PACKET]);
}

#[test]
fn there_is_one_stream_and_none_runs_without_a_buffer() {
    let mut stage = Stage::stopped(2);
    assert!(!stage.device.open_stream());
    stage.device.close_stream();
    assert!(!stage.device.go(stage.now_ns, State::Run));
    assert!(stage.device.open_stream());
    assert!(!stage.device.go(stage.now_ns, State::Run));
    let seen = stage.snapshot();
    assert_eq!(
        (seen.opened, seen.refused, seen.streams, seen.runs),
        (2, 1, 1, 0)
    );
    let stream = stage.device.stream().unwrap();
    for (bytes, packets) in [
        (0, 0),
        (7, 0),
        (480 * 8, 7),
        (480 * 8, MOST_PACKETS + 1),
        (96_001 * 8, 0),
    ] {
        assert!(
            !stream.take_buffer(vec![0; bytes].leak(), packets),
            "{bytes} bytes, {packets} packets"
        );
    }
    assert!(stream.take_buffer(vec![0; 480 * 8].leak(), 1));
}

#[test]
fn closing_the_stream_leaves_zeros_in_its_memory() {
    let (mut stage, _) = loud();
    stage.device.close_stream();
    assert_eq!(stage.buffer(), [ZEROS; 2 * PACKET]);
    assert_eq!(stage.snapshot().streams, 0);
}
