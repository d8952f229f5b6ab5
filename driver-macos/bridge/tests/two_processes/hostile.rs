//! Peers of the plug-in that keep to no rule, and a plug-in that does not either. The plug-in runs in a process of its own, so
//! that a crash would be seen: each test asks it afterwards.

use crate::ear::{Ear, until};
use crate::process::{Heard, Other, user};
use crate::raw::{Raw, framed, random, request, scribble, with_words};
use rustix::fs::{FallocateFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use truemute_bridge::client::{Client, ClientError};
use truemute_bridge::message::{
    Anchor, Event, FromAgent, FromPlugin, GateState, Refused, Reply, Request, VERSION, Welcome,
    encode,
};
use truemute_bridge::place::paths;

/// The plug-in is alive, nothing it read was wrong, and it lets the next one in and hears it.
fn goes_on(plugin: &mut Other, folder: &tempfile::TempDir) {
    plugin.heard().nothing_wrong();
    let _agent = until("another turn", || {
        let mut agent = Other::agent(folder.path(), 9);
        (agent.line() == "ready").then_some(agent)
    });
    plugin.until("sound", |it| it.is_live(9)).nothing_wrong();
}

#[test]
fn the_rings_memory_keeps_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let mut plugin = Other::plugin(folder.path());
    let (mut raw, memory) = Raw::producer(folder.path());
    raw.send(&request(Request::Unmute));
    for size in [0, 4096, 1 << 30] {
        assert_eq!(ftruncate(&memory, size), Err(Errno::PERM));
    }
    assert_eq!(fcntl_add_seals(&memory, SealFlags::WRITE), Err(Errno::PERM));
    // A hole is allowed, and reads as zeros: as an empty ring.
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(&memory, hole, 0, 1 << 18).unwrap();
    plugin.stays_silent();
    drop(raw);
    goes_on(&mut plugin, &folder);
}

/// An agent that is let in can make any sound it likes, but nothing else: whatever it writes, reads end, and the rest is zeros.
#[test]
fn anything_in_the_rings_memory_gives_zeros_or_its_own_frames() {
    let folder = tempfile::tempdir().unwrap();
    let mut plugin = Other::plugin(folder.path());
    let (mut raw, memory) = Raw::producer(folder.path());
    let mut seed = 1;
    let reads = |heard: &Heard| heard.number("silent") + heard.number("live");
    let before = reads(&plugin.heard());
    with_words(&memory, |words| {
        until("some hundred reads", || {
            raw.send(&request(Request::Unmute));
            for _ in 0..50 {
                scribble(&words[..64], &mut seed);
                // A header that is nearly right: no run begins, and the epoch may be the present one.
                words[0].store(random(&mut seed) & 2, Ordering::Relaxed);
                words[1].store(random(&mut seed) % 64, Ordering::Relaxed);
            }
            scribble(words, &mut seed);
            let heard = plugin.heard();
            assert_eq!(heard.number("leaks"), 0);
            (reads(&heard) > before + 300).then_some(())
        });
    });
    assert!(plugin.heard().number("longest_ns") < 1_000_000_000);
}

/// A former producer keeps its memory, but nobody reads it any more.
#[test]
fn a_former_producer_is_not_heard() {
    let folder = tempfile::tempdir().unwrap();
    let mut plugin = Other::plugin(folder.path());
    let (raw, memory) = Raw::producer(folder.path());
    drop(raw);
    let _agent = until("another turn", || {
        let mut agent = Other::agent(folder.path(), 9);
        (agent.line() == "ready").then_some(agent)
    });
    with_words(&memory, |words| {
        until("a lot of sound", || {
            scribble(words, &mut 1);
            Some(plugin.heard()).filter(|it| it.number("live") > 50)
        })
        .nothing_wrong();
    });
}

/// What an agent sends besides bytes takes nothing of the process that the plug-in is in.
#[test]
fn descriptors_that_nobody_wants_do_not_stay() {
    let folder = tempfile::tempdir().unwrap();
    let mut plugin = Other::plugin(folder.path());
    let (mut raw, memory) = Raw::producer(folder.path());
    let open = format!("/proc/{}/fd", plugin.child.id());
    let open = || std::fs::read_dir(&open).unwrap().count();
    let reply = |raw: &mut Raw| {
        until("a reply", || match raw.message().expect("a message") {
            FromPlugin::Reply { reply, .. } => Some(reply),
            _ => None,
        })
    };
    let ping = request(Request::Ping);
    // Once it answers, it has closed its own descriptor of the ring.
    raw.send(&ping);
    assert_eq!(reply(&mut raw), Reply::Pong);
    let before = open();
    for _ in 0..3 {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors = [memory.as_fd(), memory.as_fd()];
        assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
        sendmsg(
            &raw.0,
            &[IoSlice::new(&ping)],
            &mut control,
            SendFlags::empty(),
        )
        .unwrap();
        assert_eq!(reply(&mut raw), Reply::Pong);
        assert_eq!(open(), before);
    }
    drop((raw, memory));
    goes_on(&mut plugin, &folder);
}

/// What is no conversation ends it at once, and says why.
#[test]
fn nonsense_ends_the_connection() {
    let folder = tempfile::tempdir().unwrap();
    let mut plugin = Other::plugin(folder.path());
    let hello = framed(&FromAgent::Hello { version: VERSION });
    let cases: [(&[u8], Refused); 8] = [
        (&[0, 0, 0, 0], Refused::NotAMessage),
        (&[0xff; 4], Refused::NotAMessage),
        (&[1, 16, 0, 0], Refused::NotAMessage),
        (&[2, 0, 0, 0, 0xff, 0xff], Refused::NotAMessage),
        (&[3, 0, 0, 0, 0, 1, 0], Refused::NotAMessage),
        (&request(Request::Unmute), Refused::NotAMessage),
        // The messages of version 1 are others.
        (
            &framed(&FromAgent::Hello { version: 1 }),
            Refused::Version { ours: VERSION },
        ),
        (
            &framed(&FromAgent::Hello { version: 99 }),
            Refused::Version { ours: VERSION },
        ),
    ];
    for (bytes, why) in cases {
        let mut raw = free(&folder);
        raw.send(bytes);
        assert_eq!(
            raw.last_message(),
            Some(FromPlugin::Refused(why)),
            "{bytes:?}"
        );
    }
    let mut twice = free(&folder);
    twice.send(&[&hello[..], &hello[..]].concat());
    let why = Event::Ended(Refused::NotAMessage);
    assert_eq!(twice.last_message(), Some(FromPlugin::Event(why)));
    goes_on(&mut plugin, &folder);
}

/// A connection that is not refused because the one before has not quite gone.
fn free(folder: &tempfile::TempDir) -> Raw {
    until("a free plug-in", || {
        let mut probe = Raw::connect(folder.path());
        probe
            .0
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let busy = std::io::Read::read(&mut probe.0, &mut [0; 64]).is_ok();
        let longer = Some(Duration::from_secs(10));
        probe.0.set_read_timeout(longer).unwrap();
        (!busy).then_some(probe)
    })
}

#[test]
fn half_a_message_or_none_is_not_waited_for_long() {
    let folder = tempfile::tempdir().unwrap();
    let mut plugin = Other::plugin(folder.path());
    let (mut raw, _memory) = Raw::producer(folder.path());
    raw.send(&request(Request::Unmute)[..5]);
    let why = Event::Ended(Refused::Slow);
    assert_eq!(raw.last_message(), Some(FromPlugin::Event(why)));
    let mut mute = free(&folder);
    assert_eq!(
        mute.last_message(),
        Some(FromPlugin::Refused(Refused::Slow))
    );
    goes_on(&mut plugin, &folder);
}

#[test]
fn a_flood_ends_the_connection() {
    let folder = tempfile::tempdir().unwrap();
    let mut plugin = Other::plugin(folder.path());
    let (mut raw, _memory) = Raw::producer(folder.path());
    let flood = request(Request::Ping).repeat(20_000);
    let mut socket = Raw(raw.0.try_clone().unwrap());
    let flooder = std::thread::spawn(move || socket.send(&flood));
    while raw.message().is_some() {}
    flooder.join().unwrap();
    until("the refusal", || {
        (plugin.heard().word("why") == "Some(Flood)").then_some(())
    });
    goes_on(&mut plugin, &folder);
}

/// A peer that asks for much and reads nothing: the plug-in neither waits nor keeps it all.
#[test]
fn a_peer_that_never_reads_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let mut plugin = Other::plugin(folder.path());
    let (mut raw, _memory) = Raw::producer(folder.path());
    raw.send(&request(Request::Unmute));
    raw.send(&request(Request::Diag).repeat(1000));
    let began = Instant::now();
    until("the refusal", || {
        (plugin.heard().word("why") == "Some(Slow)").then_some(())
    });
    assert!(
        began.elapsed() > Duration::from_secs(1),
        "it was given time"
    );
    assert_eq!(plugin.heard().number("open"), 0);
    let status = format!("/proc/{}/status", plugin.child.id());
    let status = std::fs::read_to_string(status).unwrap();
    let peak = status.split_once("VmHWM:").unwrap().1;
    let peak: u64 = peak.split_whitespace().next().unwrap().parse().unwrap();
    assert!(peak < 64 << 10, "{peak} KiB");
    goes_on(&mut plugin, &folder);
}

/// A peer that asks for more than it has read yet gets every reply whole, and in order.
#[test]
fn replies_that_pile_up_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let _plugin = Other::plugin(folder.path());
    let (mut raw, _memory) = Raw::producer(folder.path());
    raw.send(&request(Request::Diag).repeat(8));
    for _ in 0..8 {
        let reply = raw.message();
        assert!(
            matches!(&reply, Some(FromPlugin::Reply { reply: Reply::Diag(text), .. }) if text.len() == 650_000),
            "not the whole text"
        );
    }
}

/// A crowd at the door, of which everybody leaves at once or stays: the producer inside is heard all the time.
#[test]
fn a_crowd_does_not_disturb_the_producer() {
    let folder = tempfile::tempdir().unwrap();
    let mut plugin = Other::plugin(folder.path());
    let _agent = Other::agent(folder.path(), 1);
    let before = plugin.until("the agent", |it| it.is_live(1)).number("live");
    let mut crowd = Vec::new();
    for n in 0..300 {
        let raw = Raw::connect(folder.path());
        if n % 3 == 0 {
            crowd.push(raw);
        }
    }
    let after = plugin.until("more sound", |it| it.number("live") > before + 50);
    assert_eq!((after.number("open"), after.number("producers")), (1, 1));
    after.nothing_wrong();
}

/// The agent's side of it: a plug-in that sends memory which can shrink, is too small, or none.
#[test]
fn an_agent_takes_no_memory_that_could_kill_it() {
    let make = |size: u64, seals: bool| {
        use rustix::fs::{MemfdFlags, memfd_create};
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memory = memfd_create("hostile", flags).unwrap();
        ftruncate(&memory, size).unwrap();
        if seals {
            let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
            fcntl_add_seals(&memory, seals).unwrap();
        }
        Some(memory)
    };
    let former = Welcome {
        version: VERSION - 1,
        ..WELCOME
    };
    let why = refuses(former, make(1 << 20, true));
    assert_eq!(why, ClientError::NotUnderstood, "a plug-in of before");
    for memory in [make(1 << 20, false), make(4096, true), None] {
        let why = refuses(WELCOME, memory);
        assert!(
            matches!(why, ClientError::System("shared memory", _)),
            "{why}"
        );
    }
}

/// Why an agent does not go on with a plug-in that greets it like this.
fn refuses(welcome: Welcome, memory: Option<OwnedFd>) -> ClientError {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(paths(folder.path()).next().unwrap()).unwrap();
    let plugin = std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let welcome = encode(&FromPlugin::Welcome(welcome), 1000).unwrap();
        let length = (welcome.len() as u32).to_le_bytes();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptor = memory.as_ref().map(|it| [it.as_fd()]);
        if let Some(descriptor) = &descriptor {
            control.push(SendAncillaryMessage::ScmRights(descriptor));
        }
        let pieces = [IoSlice::new(&length), IoSlice::new(&welcome)];
        sendmsg(&socket, &pieces, &mut control, SendFlags::empty()).unwrap();
        socket
    });
    let why = Client::connect(folder.path(), &[user()], Box::new(Ear::default()));
    plugin.join().unwrap();
    why.unwrap_err()
}

const WELCOME: Welcome = Welcome {
    version: VERSION,
    instance: 1,
    anchor: Anchor {
        host_ns: 0,
        sample: 0,
        seed: 0,
        rate: 48_000,
    },
    gate: GateState {
        epoch: 0,
        open: false,
    },
    running: 0,
};
