//! The plug-in's custom properties, as Core Audio would hand them to a program: what `truemute doctor` reads, and where the agent
//! finds the socket.

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::getuid;
use truemute_bridge::client::Client;
use truemute_bridge::place::paths;
use truemute_macos::diagnosis::Diagnosis;
use truemute_tests::c_host::Session;
use truemute_tests::hal_host;

use crate::set::{BLOCK, Deaf, LIMIT, READER, Set};

/// What a client of the HAL gets as the custom property, read as `truemute doctor` reads it.
fn diagnosis(host: &mut Session) -> Diagnosis {
    let told = host.order("diag");
    let list = told["plist"].as_str().expect("a property list");
    Diagnosis::from_property_list(list.as_bytes()).unwrap_or_else(|error| panic!("{error}: {list}"))
}

#[test]
fn the_diagnosis_says_who_reads_and_who_is_connected() {
    let mut set = Set::new();
    // Names are other programs' words: any characters may be in them.
    assert_eq!(set.host.order("add 8 77 <a&'b\"\\>")["status"], 0);
    set.read(0, 3, 0);
    // The plug-in greets its agent first, and then notes who it is.
    let began = Instant::now();
    let told = loop {
        let told = diagnosis(&mut set.host);
        if told.bridge.producer.is_some() {
            break told;
        }
        assert!(began.elapsed() < LIMIT, "{told:?}");
    };
    assert_eq!(told.version, env!("CARGO_PKG_VERSION"));
    assert_eq!((told.gate_open, told.running), (0, 1));
    assert!(told.clock.is_some());
    let [reader, other] = &told.clients[..] else {
        panic!("{told:?}");
    };
    assert_eq!((reader.id, reader.pid, reader.running), (READER, 1234, 1));
    assert_eq!(reader.bundle_id.as_deref(), Some("org.example.app"));
    let muted = reader.muted.expect("it is counted");
    assert_eq!((muted.reads, muted.frames), (3, 3 * BLOCK as i64));
    assert_eq!(reader.flagged, 2, "the same block three times");
    assert_eq!(other.bundle_id.as_deref(), Some("<a&'b\"\\>"));
    let path = told.bridge.path.expect("it listens");
    assert!(Path::new(&path).starts_with(set.folder.path()), "{path}");
    assert_eq!(told.bridge.producer, Some(getuid().as_raw()));
    assert_eq!((told.bridge.started, told.bridge.producers), (1, 1));
    let over_the_bridge = set.client.diag().expect("the plug-in answers");
    assert!(over_the_bridge.contains("org.example.app"));
    assert!(set.host.finish());
}

#[test]
fn a_socket_that_does_not_come_up_is_in_the_diagnosis() {
    let folder = tempfile::tempdir().expect("a folder");
    let absent = folder.path().join("absent");
    let mut host = hal_host::session(&absent);
    let began = Instant::now();
    let failed = loop {
        let told = diagnosis(&mut host);
        assert_eq!((told.bridge.path, told.bridge.started), (None, 1));
        if !told.bridge.failed.is_empty() {
            break told.bridge.failed;
        }
        assert!(began.elapsed() < LIMIT, "nothing is said to have failed");
    };
    let expected = Errno::NOENT.raw_os_error();
    assert!(
        failed.iter().all(|place| place.errno == expected),
        "{failed:?}"
    );
    assert!(
        Path::new(&failed[0].path).starts_with(&absent),
        "{failed:?}"
    );
    assert!(host.finish());
}

/// Where the plug-in says that it listens in a folder of its own; nothing if it does not.
fn published(host: &mut Session) -> Option<PathBuf> {
    let told = host.order("socket");
    let list = told["plist"].as_str().expect("a property list");
    let path: String = plist::from_bytes(list.as_bytes()).expect("a text");
    (!path.is_empty()).then(|| path.into())
}

#[test]
fn the_agent_finds_the_socket_by_a_property_where_others_took_the_known_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken: Vec<_> = paths(folder.path())
        .map(|path| UnixListener::bind(path).expect("it is free"))
        .collect();
    let mut host = hal_host::session(folder.path());
    let began = Instant::now();
    let own = loop {
        if let Some(own) = published(&mut host) {
            break own;
        }
        assert!(
            began.elapsed() < LIMIT,
            "the plug-in does not say where it listens"
        );
        std::thread::sleep(Duration::from_millis(2));
    };
    assert!(own.starts_with(folder.path()), "{own:?}");
    let told = diagnosis(&mut host);
    assert_eq!(told.bridge.own_path.as_deref(), own.to_str());
    assert_eq!(
        (told.bridge.path, told.bridge.failed.len()),
        (None, taken.len())
    );
    let trusted = [getuid().as_raw()];
    assert!(Client::connect(folder.path(), &trusted, Box::new(Deaf)).is_err());
    let connected = Client::connect_at([own.clone()], &trusted, Box::new(Deaf));
    let connected = connected.expect("the plug-in lets its agent in");
    assert!(connected.client.mute().expect("it answers").settled);
    // The next plug-in finds another name, and removes what this one leaves when it is killed.
    drop(host);
    let mut next = hal_host::session(folder.path());
    let began = Instant::now();
    while published(&mut next).is_none_or(|path| path == own) || own.exists() {
        assert!(began.elapsed() < LIMIT, "{own:?} stays");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(next.finish());
}
