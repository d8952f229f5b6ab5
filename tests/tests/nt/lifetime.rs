//! From DriverEntry to unload, by every way that there is, and what a peer reads meanwhile.

use crate::set::{
    ACCESS_DENIED, COUNTER_HZ, INVALID_DEVICE_REQUEST, PERIOD, PROCEDURE_NOT_FOUND,
    SHARING_VIOLATION, SUCCESS, Set,
};

#[test]
fn a_driver_that_is_loaded_and_unloaded_leaves_nothing() {
    let mut set = Set::loaded(COUNTER_HZ);
    assert_eq!(set.order("unload")["unloaded"], true);
    set.quit();
}

#[test]
fn a_device_comes_and_goes_and_comes_again() {
    let mut set = Set::loaded(COUNTER_HZ);
    for _ in 0..20 {
        set.must("device add");
        set.must("device start");
        assert_eq!(set.open("console", "rw"), Some(0));
        set.must("attach 0");
        set.run_stream();
        set.feed(1, true);
        assert!(set.play(10).live > 5);
        set.end_stream();
        set.must("close 0");
        set.must("device remove");
    }
    assert_eq!(set.order("unload")["unloaded"], true);
    set.quit();
}

#[test]
fn a_device_that_never_started_goes() {
    let mut set = Set::loaded(COUNTER_HZ);
    set.must("device add");
    set.finish();
}

/// Calls of the driver that can fail, how often it makes them, and what then does not succeed.
const CALLS: [(&str, u32, &str); 12] = [
    ("IoCreateDevice", 1, "device add"),
    ("IoCreateSymbolicLink", 1, "device add"),
    ("ObOpenObjectByPointer", 1, "device add"),
    ("ZwSetSecurityObject", 1, "device add"),
    ("PcAddAdapterDevice", 1, "device add"),
    ("PcRegisterAdapterPowerManagement", 1, "device start"),
    ("PcNewPort", 2, "device start"),
    ("IPort_Init", 2, "device start"),
    ("PcRegisterSubdevice", 2, "device start"),
    ("PcRegisterPhysicalConnection", 1, "device start"),
    ("ExAllocateTimer", 1, "pin"),
    ("MapAllocatedPages", 1, "buffer 7680 2"),
];

#[test]
fn whatever_fails_leaves_nothing_and_works_the_next_time() {
    for (call, times, order) in CALLS {
        for nth in 1..=times {
            let mut set = Set::loaded(COUNTER_HZ);
            set.order(&format!("fail {call} {nth}"));
            for earlier in ["device add", "device start", "pin", "buffer 7680 2"] {
                if earlier == order {
                    break;
                }
                set.must(earlier);
            }
            assert_ne!(set.status(order), SUCCESS, "{call} {nth}");
            assert_eq!(set.order("failed")["failed"], true, "{call} {nth}");
            if order == "device start" {
                set.must("device remove");
                set.must("device add");
            }
            set.must(order);
            set.order("free");
            set.order("unpin");
            set.finish();
        }
    }
}

#[test]
fn sleep_is_a_mute() {
    let mut set = Set::running();
    set.feed(1, true);
    assert!(set.play(10).live > 5);
    set.must("device sleep");
    assert_eq!(set.filled(), 0);
    set.must("device wake");
    assert_eq!(set.play(10).live_frames, 0);
    assert_eq!(set.must("renew 0")["open"], 0);
    set.feed(2, true);
    assert_eq!(set.play(10).tags, [2]);
    set.end_stream();
    set.must("close 0");
    set.finish();
}

#[test]
fn what_is_not_for_the_control_device_goes_to_the_port_class() {
    let mut set = Set::started(COUNTER_HZ);
    let said = set.order("device requests");
    assert_eq!(said["sent"], said["reached"], "{said}");
    set.finish();
}

/// The port class would take the control device's extension for its own.
#[test]
fn nothing_that_is_for_the_control_device_goes_to_the_port_class() {
    let mut set = Set::running();
    let said = set.order("others 0");
    assert_eq!(said["sent"], 24, "{said}");
    assert_eq!(said["refused"], 24, "{said}");
    set.end_stream();
    set.must("close 0");
    set.finish();
}

#[test]
fn filters_are_what_makes_an_endpoint() {
    let mut set = Set::started(COUNTER_HZ);
    let said = set.order("filters");
    assert_eq!(
        said["subdevices"].as_array().map(Vec::len),
        Some(2),
        "{said}"
    );
    assert!(said["modes"].as_u64() >= Some(1), "{said}");
    assert!(said["properties_read"].as_u64() >= Some(3), "{said}");
    set.finish();
}

#[test]
fn there_is_one_stream_in_one_format() {
    let mut set = Set::running();
    let refused = |set: &mut Set, order: &str| assert_ne!(set.status(order), SUCCESS, "{order}");
    refused(&mut set, "pin");
    set.end_stream();
    for format in ["44100 2 32", "48000 1 32", "48000 2 16", "48000 2 32 1"] {
        refused(&mut set, &format!("pin {format}"));
    }
    let snapshot = set.must("snapshot 0");
    assert_eq!(
        (&snapshot["opened"], &snapshot["refused"]),
        (&1.into(), &5.into())
    );
    set.run_stream();
    set.end_stream();
    set.must("close 0");
    set.finish();
}

/// Windows closes one on one processor while it opens the next one on another.
#[test]
fn a_stream_that_begins_while_the_last_one_ends_is_whole() {
    let mut set = Set::running();
    set.feed(1, true);
    set.play(20);
    for _ in 0..3 {
        for state in ["pause", "acquire", "stop"] {
            set.must(&format!("state {state}"));
        }
        set.must("free");
        assert_eq!(set.order("repin")["reopened"], true);
        set.must(&format!("buffer {} 2", 2 * PERIOD * 8));
        set.must("state run");
        assert!(set.play(20).live > 10);
    }
    set.end_stream();
    set.must("close 0");
    set.finish();
}

#[test]
fn buffers_that_cannot_be_are_refused() {
    let mut set = Set::started(COUNTER_HZ);
    set.must("pin");
    for buffer in ["0 2", "7 1", "7680 1000", "100000000 2", "24 2"] {
        let order = format!("buffer {buffer}");
        assert_ne!(set.status(&order), SUCCESS, "{order}");
    }
    // Without a buffer there is nothing to run with.
    assert_ne!(set.status("state run"), SUCCESS);
    // The driver's own idea of a buffer, rounded to whole frames.
    assert_eq!(set.must("buffer 7683 0")["bytes"], 7680);
    set.must("state run");
    set.order("play 100 10000000");
    assert!(set.must("position")["write"].as_u64() < Some(7680));
    set.must("state stop");
    set.must("free");
    set.must("unpin");
    set.finish();
}

/// The device is pulled while it runs: handles and stream are still there, then go, and only then can the driver.
#[test]
fn surprise_removal_leaves_silence_and_then_nothing() {
    let mut set = Set::running();
    set.feed(1, true);
    assert!(set.play(20).live > 10);
    set.must("device surprise");
    assert_eq!(set.filled(), 0);
    assert_eq!(set.play(20).live_frames, 0);
    for request in ["version 0", "mute 0", "unmute 0", "snapshot 0", "attach 0"] {
        assert_ne!(set.status(request), SUCCESS, "{request}");
    }
    set.end_stream();
    set.must("device remove");
    // Somebody still holds a handle of the control device: its memory stays, and so does the driver.
    assert_eq!(set.order("unload")["unloaded"], false);
    assert_ne!(set.status("version 0"), SUCCESS);
    set.must("close 0");
    assert_eq!(set.order("unload")["unloaded"], true);
    set.quit();
}

#[test]
fn a_stopped_device_starts_again() {
    let mut set = Set::running();
    set.feed(1, true);
    set.end_stream();
    set.must("device stop");
    assert_ne!(set.status("unmute 0"), SUCCESS);
    set.must("device start");
    set.must("attach 0");
    set.run_stream();
    assert_eq!(set.play(20).live_frames, 0);
    set.feed(2, true);
    assert!(set.play(20).live > 10);
    set.end_stream();
    set.must("close 0");
    set.finish();
}

#[test]
fn who_sits_at_the_console_may_speak_and_nobody_else() {
    let mut set = Set::started(COUNTER_HZ);
    for who in ["away", "remote", "guest", "service"] {
        assert_eq!(set.open(who, "r"), None, "{who}");
        assert_eq!(set.open(who, "rw"), None, "{who}");
    }
    for (handle, who) in (0..).zip(["console", "administrator", "system"]) {
        assert_eq!(set.open(who, "rw"), Some(handle), "{who}");
    }
    for handle in 0..3 {
        set.must(&format!("close {handle}"));
    }
    set.finish();
}

/// Session 4 is that of the one who is away at first.
#[test]
fn a_switch_of_users_takes_the_feeder_away_from_whoever_left() {
    let mut set = Set::running();
    set.feed(1, true);
    assert!(set.play(20).live > 10);
    assert_eq!(set.must("snapshot 0")["attached"], 2);
    set.order("switch 4");
    assert_eq!(set.open("away", "rw"), Some(1));
    assert_eq!(
        set.must("snapshot 1")["attached"],
        1,
        "nothing has come yet"
    );
    // The next thing that comes from the session that has left, which feeds and renews as if nothing were.
    set.play(1);
    assert_eq!(set.filled(), 0);
    assert_eq!(set.play(20).live_frames, 0);
    for request in ["attach", "unmute", "renew"] {
        assert_eq!(set.status(&format!("{request} 0")), ACCESS_DENIED);
    }
    // It may look, and is told, and may mute.
    assert_eq!(set.must("snapshot 0")["attached"], 0);
    set.must("mute 0");
    assert_eq!(set.open("console", "r"), None);
    // Whoever is there now is the feeder, and no request of the other one changes that.
    set.order("feeder off");
    set.must("attach 1");
    set.must("feeder 1 2 1 960");
    let heard = set.play(20);
    assert!(heard.live > 10 && heard.tags == [2], "{heard:?}");
    assert_eq!(set.status("renew 0"), ACCESS_DENIED);
    assert_eq!(set.must("snapshot 0")["attached"], 1);
    assert_eq!(set.play(20).silent_frames, 0);
    // And back. Nobody is at the console for a moment, which is no session.
    set.order(&format!("switch {}", u32::MAX));
    set.play(1);
    assert_eq!(set.filled(), 0);
    set.order("switch 1");
    set.order("feeder off");
    set.must("attach 0");
    set.feed(3, true);
    assert_eq!(set.play(20).tags, [3]);
    set.end_stream();
    set.must("close 0");
    set.must("close 1");
    set.finish();
}

#[test]
fn where_sessions_cannot_be_told_nobody_may_speak() {
    for missing in ["RtlGetActiveConsoleId", "IoGetRequestorSessionId"] {
        let mut set = Set::started_without(&[missing]);
        for who in ["console", "administrator", "system"] {
            assert_eq!(set.open(who, "r"), None, "{missing} {who}");
        }
        set.run_stream();
        assert_eq!(set.play(20).silent, 20);
        set.end_stream();
        set.finish();
    }
}

/// As under Wine: the driver loads, and what can be asked for without a stream works.
#[test]
fn without_timers_there_is_no_stream_and_the_access_list_decides_alone() {
    for missing in [
        "ExAllocateTimer",
        "ExSetTimer",
        "ExCancelTimer",
        "ExDeleteTimer",
    ] {
        let mut set = Set::started_without(&[missing, "RtlGetActiveConsoleId"]);
        assert_eq!(set.open("remote", "rw"), None);
        assert_eq!(set.open("console", "rw"), Some(0));
        set.must("attach 0");
        set.must("unmute 0");
        assert_eq!(set.status("pin"), PROCEDURE_NOT_FOUND, "{missing}");
        assert_eq!(set.must("snapshot 0")["refused"], 1);
        set.must("close 0");
        set.finish();
    }
}

#[test]
fn without_the_time_of_day_an_instance_has_another_number() {
    let mut set = Set::started_without(&["KeQuerySystemTimePrecise"]);
    assert_eq!(set.open("console", "r"), Some(0));
    assert_ne!(set.must("version 0")["instance"], 0);
    set.must("close 0");
    set.finish();
}

#[test]
fn one_handle_is_the_feeder_and_everybody_may_mute() {
    let mut set = Set::running();
    assert_eq!(set.open("console", "rw"), Some(1));
    assert_eq!(set.open("console", "r"), Some(2));
    assert_eq!(set.status("attach 1"), SHARING_VIOLATION);
    assert_ne!(set.status("attach 1 2"), SUCCESS);
    for request in ["unmute", "renew"] {
        assert_eq!(set.status(&format!("{request} 1")), ACCESS_DENIED);
        assert_eq!(set.status(&format!("{request} 2")), ACCESS_DENIED);
    }
    assert_eq!(set.status("feed 1 0 0 0 1 1"), ACCESS_DENIED);
    set.feed(1, true);
    assert!(set.play(10).live > 5);
    set.must("mute 2");
    assert_eq!(set.filled(), 0);
    assert_eq!(set.play(10).live_frames, 0);
    // No code of ours, and another method.
    for code in ["0x80006020", "0x80006003", "0x0022e000"] {
        assert_eq!(
            set.status(&format!("ioctl 0 {code} 16")),
            INVALID_DEVICE_REQUEST,
            "{code}"
        );
    }
    // When the feeder is gone, the next one may be it.
    set.must("close 0");
    set.must("attach 1");
    set.end_stream();
    set.must("close 1");
    set.must("close 2");
    set.finish();
}
