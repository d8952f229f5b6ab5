//! The API under bad input and too much of it: each time an error that says what to do, and a daemon that goes on.

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};
use support::{Rig, SOON, observed, wait_for};
use truemute::api::{MAX_CONNECTIONS, MAX_FOLLOWERS, RATE};
use truemute::daemon::Want;
use truemute::protocol::{GateState, Origin, WatchEvent};
use truemute_core::observed::{ClientState, Event};

struct Peer {
    stream: UnixStream,
    lines: BufReader<UnixStream>,
}

impl Peer {
    fn of(rig: &Rig) -> Peer {
        let stream = UnixStream::connect(&rig.socket).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap());
        Peer { stream, lines }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next line, or none at the end.
    fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_str(&line).unwrap()),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn ask(&mut self, request: &Value) -> Value {
        self.send(format!("{request}\n").as_bytes());
        self.next().unwrap()
    }

    fn error_code(&mut self) -> String {
        let reply = self.next().unwrap();
        let error = &reply["error"];
        for sentence in ["message", "remedy"] {
            assert!(error[sentence].as_str().unwrap().ends_with('.'), "{reply}");
        }
        error["code"].as_str().unwrap().to_owned()
    }
}

fn status_works(rig: &Rig) {
    let reply = Peer::of(rig).ask(&json!({"id": "x", "method": "status"}));
    assert_eq!(reply["id"], "x");
    assert_eq!(reply["result"]["gate"], "muted");
}

#[test]
fn bad_lines_get_errors_and_the_connection_goes_on() {
    let rig = Rig::start();
    let mut peer = Peer::of(&rig);
    for bad in [
        &b"garbage\n"[..],
        b"\n",
        b"\x00\xff\xfe\n",
        b"[1,2]\n",
        b"{\"id\":1}\n",
        b"{\"id\":1,\"method\":\"status\",\"surplus\":true}\n",
        b"{\"id\":1,\"method\":\"mute\",\"params\":{\"origin\":7}}\n",
        b"{\"id\":1,\"method\":\"unmute\",\"params\":{\"origin\":\"policy\"}}\n",
        b"{\"id\":1,\"method\":\"stats\",\"params\":{\"since\":\"long ago\"}}\n",
        b"{\"id\":{},\"method\":\"status\"}\n",
    ] {
        peer.send(bad);
        assert_eq!(peer.error_code(), "bad_request");
    }
    let reply = peer.ask(&json!({"id": -1, "method": "status"}));
    let message = reply["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("neither a whole number nor a text"),
        "{message}"
    );
    let reply = peer.ask(&json!({"id": 9, "method": "status"}));
    assert_eq!(reply["id"], 9);
    let reply = peer.ask(&json!({"id": 10, "method": "status", "surplus": 1}));
    assert_eq!(reply["id"], 10, "an error carries the id if it can be read");
}

#[test]
fn a_line_of_ten_megabytes_gets_an_error() {
    let rig = Rig::start();
    let mut peer = Peer::of(&rig);
    peer.send(&vec![b'x'; 10_000_000]);
    assert_eq!(peer.error_code(), "too_long");
    peer.send(b"\n");
    let reply = peer.ask(&json!({"id": 1, "method": "status"}));
    assert_eq!(reply["result"]["gate"], "muted");
}

#[test]
fn a_half_line_gets_an_error_and_blocks_nobody() {
    let rig = Rig::start();
    let mut half = Peer::of(&rig);
    half.send(b"{\"id\":1,\"method\":\"unmu");
    status_works(&rig);
    half.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(half.error_code(), "bad_request");
    assert!(half.next().is_none());
    assert!(!rig.server.script().open);
}

#[test]
fn a_flood_is_slowed_and_answered() {
    let rig = Rig::start();
    let mut peer = Peer::of(&rig);
    let request = json!({"id": 1, "method": "status"}).to_string() + "\n";
    // More than a slow machine answers while the allowance grows again.
    let requests = 3 * RATE as usize;
    peer.send(request.repeat(requests).as_bytes());
    let replies: Vec<Value> = (0..requests).map(|_| peer.next().unwrap()).collect();
    let refused = |reply: &&Value| reply["error"]["code"] == "too_many";
    assert!(replies.iter().filter(refused).count() >= 1);
    assert!(replies.iter().filter(|reply| !refused(reply)).count() >= RATE as usize);
    status_works(&rig);
}

#[test]
fn idle_connections_never_keep_a_mute_out() {
    let rig = Rig::start();
    let mut idle: Vec<Peer> = (0..MAX_CONNECTIONS).map(|_| Peer::of(&rig)).collect();
    for peer in &mut idle {
        peer.ask(&json!({"id": 1, "method": "status"}));
    }
    // All are taken; at once none of them counts as idle yet.
    wait_for("room for a mute", || {
        let mut peer = Peer::of(&rig);
        let _ = peer.stream.write_all(b"{\"id\":1,\"method\":\"mute\"}\n");
        let reply = peer.next()?;
        let code = &reply["error"]["code"];
        assert!(code.is_null() || code == "too_many", "{reply}");
        code.is_null().then_some(())
    });
}

/// None of the connections has been idle long enough to be closed for that alone.
#[test]
fn one_process_with_every_connection_never_keeps_a_mute_out() {
    let rig = Rig::start();
    let mut greedy: Vec<Peer> = (0..MAX_CONNECTIONS).map(|_| Peer::of(&rig)).collect();
    for peer in &mut greedy {
        peer.send(b"{\"id\":1,\"method\":\"status\"}\n");
    }
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_truemute"))
        .arg("mute")
        .env("TRUEMUTE_SOCKET", &rig.socket)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", support::stderr(&output));
}

#[test]
fn who_does_not_take_its_answers_is_let_go() {
    let rig = Rig::start();
    let mut peer = Peer::of(&rig);
    // More than fit on the way back.
    peer.send(
        "{\"id\":1,\"method\":\"status\"}\n"
            .repeat(2_000)
            .as_bytes(),
    );
    wait_for("the end of the connection", || {
        peer.stream.write_all(b"\n").is_err().then_some(())
    });
    status_works(&rig);
}

#[test]
fn followers_leave_room_for_commands() {
    let rig = Rig::start();
    let mut followers: Vec<Peer> = (0..MAX_FOLLOWERS).map(|_| Peer::of(&rig)).collect();
    for peer in &mut followers {
        let reply = peer.ask(&json!({"id": 1, "method": "watch"}));
        assert_eq!(reply["result"]["following"], "watch");
    }
    let mut one_more = Peer::of(&rig);
    one_more.send(b"{\"id\":1,\"method\":\"watch\"}\n");
    assert_eq!(one_more.error_code(), "too_many");
    status_works(&rig);
}

#[test]
fn watch_gives_the_full_state_then_changes() {
    let rig = Rig::start();
    let mut watch = rig.client();
    watch
        .call(truemute::protocol::Call::Watch(Default::default()))
        .unwrap();
    let mut states = Vec::new();
    let mut counts = 0;
    let mut read_until =
        |states: &mut Vec<_>, wanted: &dyn Fn(&truemute::protocol::Status) -> bool| loop {
            match watch.follow().unwrap().expect("the daemon runs") {
                WatchEvent::State(status) => {
                    let done = wanted(&status);
                    states.push(status);
                    if done {
                        return;
                    }
                }
                WatchEvent::Counts(_) => {
                    assert!(!states.is_empty(), "the state comes first");
                    counts += 1;
                }
                WatchEvent::Lost { lines } => panic!("{lines} lost"),
            }
        };
    read_until(&mut states, &|status| status.gate == GateState::Muted);
    let handle = rig.daemon().handle();
    handle.switch(Want::Unmute, Origin::Cli).unwrap();
    read_until(&mut states, &|status| status.gate == GateState::Live);
    rig.server.script().clients = vec![observed(1, ClientState::Running)];
    rig.server.tell(Event::Changed);
    read_until(&mut states, &|status| status.clients == 1);
    handle.switch(Want::Mute, Origin::App).unwrap();
    read_until(&mut states, &|status| status.reason == "app");
    for pair in states.windows(2) {
        assert_ne!(pair[0], pair[1], "only changes are told");
    }
}

#[test]
fn a_reader_that_does_not_read_loses_lines_and_then_gets_the_state() {
    let rig = Rig::start();
    let mut slow = Peer::of(&rig);
    slow.ask(&json!({"id": 1, "method": "watch", "params": {"interval_ms": 60000}}));
    let handle = rig.daemon().handle();
    // Enough to fill the socket's buffers and then the queue.
    for _ in 0..1500 {
        handle.switch(Want::Toggle, Origin::Cli).unwrap();
    }
    handle.switch(Want::Mute, Origin::Headset).unwrap();
    handle.switch(Want::Unmute, Origin::Hotkey).unwrap();
    let mut lost = 0;
    let mut last = Value::Null;
    slow.stream
        .set_read_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let mut line = String::new();
    while let Ok(1..) = slow.lines.read_line(&mut line) {
        let event: Value = serde_json::from_str(&line).unwrap();
        match event["event"].as_str().unwrap() {
            "lost" => lost += event["lines"].as_u64().unwrap(),
            "state" => last = event,
            _ => {}
        }
        line.clear();
    }
    assert!(lost > 0);
    assert_eq!(last["reason"], "hotkey", "the last state told is the state");
    status_works_live(&rig);
}

fn status_works_live(rig: &Rig) {
    let reply = Peer::of(rig).ask(&json!({"id": 1, "method": "status"}));
    assert_eq!(reply["result"]["gate"], "live");
}

/// Root is refused by another user's daemon and the other way round: the rule knows the uid only. Needs root, to become
/// another user.
#[test]
fn peers_of_another_user_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt as _;
    if !rustix::process::geteuid().is_root() {
        eprintln!("not run: only root can become another user");
        return;
    }
    let rig = Rig::start();
    let folder = rig.socket.parent().unwrap();
    for path in [folder.parent().unwrap(), folder] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let program = folder.join("truemute");
    std::fs::copy(env!("CARGO_BIN_EXE_truemute"), &program).unwrap();
    let nobody = 65534;
    let refused = |why: &str| {
        let output = std::process::Command::new(&program)
            .args(["unmute"])
            .env("TRUEMUTE_SOCKET", &rig.socket)
            .uid(nobody)
            .gid(nobody)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let text = support::stderr(&output);
        assert!(text.contains(why), "{text}");
        assert!(!rig.server.script().open);
    };
    refused("is another user's");
    // Open the way to the socket, so that only the checks of the peer are left: the program's, and the daemon's.
    std::fs::set_permissions(&rig.socket, PermissionsExt::from_mode(0o666)).unwrap();
    refused("is another user's");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Of this thread alone.
            let nobody = rustix::process::Uid::from_raw(nobody);
            rustix::thread::set_thread_uid(nobody).unwrap();
            assert_eq!(Peer::of(&rig).error_code(), "forbidden");
        });
    });
}
