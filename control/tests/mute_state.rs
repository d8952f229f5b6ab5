//! The one mute state, through a daemon with a scripted backend: who may change it, what survives a lost server, and that a
//! lost lease stays silent. Promise P2.

mod support;

use std::time::Duration;

use proptest::prelude::*;
use support::{Rig, Scripted, observed, stderr, wait_for};
use truemute::api::ClientError;
use truemute::backend::BackendError;
use truemute::config::{Config, Policy, Settings};
use truemute::daemon::{Remembered, Want};
use truemute::protocol::{
    Answer, AppliedHow, By, Call, ErrorCode, GateState, Origin, Status, Switched,
};
use truemute_core::observed::{ClientState, Event};

fn settings(config: &str) -> Settings {
    Settings::new(Config::parse(config).unwrap(), Policy::default())
}

fn status(rig: &Rig) -> Status {
    rig.daemon().handle().status().unwrap()
}

fn by(origin: Origin) -> By {
    By { origin }
}

fn switched(answer: Answer) -> Switched {
    match answer {
        Answer::Switched(switched) => switched,
        other => panic!("{other:?}"),
    }
}

fn refusal(result: Result<Answer, ClientError>) -> ErrorCode {
    match result {
        Err(ClientError::Refused(error)) => {
            assert!(error.message.ends_with('.') && !error.remedy.is_empty());
            error.code
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_starts_muted_and_obeys() {
    let rig = Rig::start();
    let mut client = rig.client();
    assert_eq!(status(&rig).gate, GateState::Muted);
    assert_eq!(status(&rig).reason, "start");
    assert!(!rig.server.script().open);

    let unmuted = switched(client.call(Call::Unmute(By::default())).unwrap());
    assert_eq!(
        (unmuted.gate, unmuted.changed, unmuted.applied),
        (GateState::Live, true, AppliedHow::Idle)
    );
    assert!(rig.server.script().open);
    assert_eq!(status(&rig).reason, "cli");

    let again = switched(client.call(Call::Unmute(By::default())).unwrap());
    assert!(!again.changed);

    rig.server.script().clients = vec![observed(1, ClientState::Running)];
    let muted = switched(client.call(Call::Toggle(By::default())).unwrap());
    assert_eq!(
        (muted.gate, muted.changed, muted.applied),
        (GateState::Muted, true, AppliedHow::Cycle)
    );
    assert!(muted.clock.is_some() && muted.position.is_some());
    assert!(!rig.server.script().open);
}

#[test]
fn only_configured_origins_unmute_and_any_mutes() {
    let rig = Rig::start();
    let mut client = rig.client();
    for origin in [Origin::App, Origin::Headset] {
        assert_eq!(
            refusal(client.call(Call::Unmute(by(origin)))),
            ErrorCode::Refused
        );
        assert_eq!(
            refusal(client.call(Call::Toggle(by(origin)))),
            ErrorCode::Refused
        );
        assert!(!rig.server.script().open);
        client.call(Call::Unmute(by(Origin::Hotkey))).unwrap();
        client.call(Call::Mute(by(origin))).unwrap();
        assert!(!rig.server.script().open);
    }
}

#[test]
fn the_desktop_flag_mutes_and_by_default_never_unmutes() {
    let rig = Rig::start();
    let handle = rig.daemon().handle();
    handle.switch(Want::Unmute, Origin::Cli).unwrap();
    rig.server.tell(Event::DesktopMute(true));
    wait_for("muted", || {
        (status(&rig).gate == GateState::Muted).then_some(())
    });
    assert_eq!(status(&rig).reason, "desktop");
    let before = rig.server.script().commands.len();
    rig.server.tell(Event::DesktopMute(false));
    // The refused flag is set again, so that the desktop does not show "live" while the gate is silent.
    wait_for("the mirror is set right", || {
        (rig.server.script().commands.len() > before).then_some(())
    });
    assert_eq!(rig.server.script().commands.last(), Some(&"mute"));
    assert_eq!(status(&rig).gate, GateState::Muted);
}

#[test]
fn the_desktop_flag_unmutes_if_configured_but_not_as_an_echo() {
    let rig = Rig::with(
        settings("unmute_origins = [\"desktop\"]\nstart = \"live\""),
        Scripted::default(),
    );
    rig.server.tell(Event::DesktopMute(true));
    rig.server.tell(Event::DesktopMute(false));
    wait_for("unmuted by the desktop", || {
        (status(&rig).reason == "desktop" && status(&rig).gate == GateState::Live).then_some(())
    });
    let handle = rig.daemon().handle();
    handle.switch(Want::Mute, Origin::Cli).unwrap();
    rig.server.tell(Event::DesktopMute(false));
    // Answered after the event, since the actor takes messages in order.
    assert_eq!(status(&rig).gate, GateState::Muted);
    assert!(!rig.server.script().open);
}

#[test]
fn who_keeps_a_handle_does_not_keep_the_backend() {
    let mut rig = Rig::start();
    let _handle = rig.daemon().handle();
    rig.stop();
    let script = rig.server.script();
    assert_eq!((script.starts, script.ends), (1, 1));
}

#[test]
fn an_unmute_that_is_not_confirmed_is_taken_back() {
    let rig = Rig::start();
    let mut client = rig.client();
    rig.server.script().unmute_fails = Some(BackendError::NotConfirmed { waited_ms: 1000 });
    assert_eq!(
        refusal(client.call(Call::Unmute(By::default()))),
        ErrorCode::Failed
    );
    assert_eq!(rig.server.script().commands.last(), Some(&"mute"));
    assert_eq!(status(&rig).gate, GateState::Muted);
}

#[test]
fn a_mute_does_not_wait_for_an_unmute() {
    let rig = Rig::start();
    rig.server.script().unmute_waits = true;
    let unmuter = rig.daemon().handle();
    let unmute = std::thread::spawn(move || unmuter.switch(Want::Unmute, Origin::Cli));
    wait_for("the unmute waits", || {
        rig.server.script().open.then_some(())
    });
    let muted = rig.daemon().handle().switch(Want::Mute, Origin::App);
    assert_eq!(muted.unwrap().gate, GateState::Muted);
    assert!(unmute.join().unwrap().is_err());
    assert!(!rig.server.script().open);
    assert_eq!(status(&rig).gate, GateState::Muted);
}

#[test]
fn while_the_actor_is_busy_looks_do_not_pile_up() {
    let rig = Rig::start();
    rig.server.script().unmute_waits = true;
    let unmuter = rig.daemon().handle();
    let unmute = std::thread::spawn(move || unmuter.switch(Want::Unmute, Origin::Cli));
    wait_for("the unmute waits", || {
        rig.server.script().open.then_some(())
    });
    let looks = || rig.told.looks.lock().unwrap().len();
    let before = looks();
    let handle = rig.daemon().handle();
    // Each would be a look of its own.
    let asked = std::thread::spawn(move || (0..5).for_each(|_| drop(handle.clients())));
    wait_for("the first look", || (looks() > before).then_some(()));
    std::thread::sleep(Duration::from_millis(200));
    assert!(looks() <= before + 2, "{} looks", looks() - before);
    rig.daemon()
        .handle()
        .switch(Want::Mute, Origin::App)
        .unwrap();
    assert!(unmute.join().unwrap().is_err());
    asked.join().unwrap();
    assert!(looks() >= before + 5);
}

#[test]
fn a_mute_that_is_not_confirmed_mutes_and_says_so() {
    let rig = Rig::start();
    let mut client = rig.client();
    client.call(Call::Unmute(By::default())).unwrap();
    rig.server.script().mute_fails = Some(BackendError::NotConfirmed { waited_ms: 1000 });
    assert_eq!(
        refusal(client.call(Call::Mute(By::default()))),
        ErrorCode::Failed
    );
    assert_eq!(status(&rig).gate, GateState::Muted);
    let renewals = rig.server.script().renewals;
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(
        rig.server.script().renewals,
        renewals,
        "nobody answers for live"
    );
}

#[test]
fn a_lost_server_keeps_the_state_and_comes_back() {
    let rig = Rig::start();
    let handle = rig.daemon().handle();
    handle.switch(Want::Unmute, Origin::Cli).unwrap();
    rig.server.lose_server(3);
    let lost = wait_for("lost", || Some(status(&rig)).filter(|s| !s.connected));
    assert_eq!(lost.gate, GateState::Live);
    assert_eq!(lost.reason, "server_lost");
    assert!(!lost.warnings.is_empty());
    let back = wait_for("connected again", || {
        Some(status(&rig)).filter(|s| s.connected)
    });
    assert_eq!((back.gate, back.reason.as_str()), (GateState::Live, "cli"));
    assert!(back.warnings.is_empty());
    assert!(rig.server.script().open);
    assert_eq!(rig.server.script().starts, 2);
    assert_eq!(*rig.told.lost.lock().unwrap(), 1);
}

#[test]
fn before_the_first_connection_nobody_is_told_to_start_a_server() {
    let server = Scripted::default();
    server.script().starting = true;
    let rig = Rig::with(Settings::default(), server);
    let handle = rig.daemon().handle();
    let early = handle.switch(Want::Unmute, Origin::Cli).unwrap_err();
    assert_eq!(early.code, ErrorCode::NoServer);
    assert!(early.message.contains("still connecting"), "{early:?}");
    assert!(!early.remedy.contains("Start"), "{early:?}");
    rig.server.script().starting = false;
    wait_for("connected", || status(&rig).connected.then_some(()));
    rig.server.lose_server(u32::MAX);
    wait_for("lost", || (!status(&rig).connected).then_some(()));
    let late = handle.switch(Want::Unmute, Origin::Cli).unwrap_err();
    assert!(late.remedy.contains("Start PipeWire"), "{late:?}");
}

#[test]
fn muting_without_a_server_holds_when_it_comes_back() {
    let rig = Rig::start();
    let handle = rig.daemon().handle();
    handle.switch(Want::Unmute, Origin::Cli).unwrap();
    rig.server.lose_server(u32::MAX);
    wait_for("lost", || (!status(&rig).connected).then_some(()));
    let muted = handle.switch(Want::Mute, Origin::Cli).unwrap();
    assert_eq!(
        (muted.gate, muted.applied),
        (GateState::Muted, AppliedHow::Idle)
    );
    let refused = handle.switch(Want::Unmute, Origin::Cli).unwrap_err();
    assert_eq!(refused.code, ErrorCode::NoServer);
    rig.server.script().failing_starts = 0;
    wait_for("connected again", || status(&rig).connected.then_some(()));
    assert!(!rig.server.script().open);
    assert_eq!(rig.server.script().commands.last(), Some(&"mute"));
}

#[test]
fn starting_live_waits_for_the_server_and_opens_then() {
    let server = Scripted::default();
    server.script().failing_starts = 2;
    let rig = Rig::with(settings("start = \"live\""), server);
    wait_for("open", || rig.server.script().open.then_some(()));
    assert_eq!(status(&rig).reason, "start");
}

#[test]
fn a_start_that_cannot_open_stays_muted() {
    let server = Scripted::default();
    server.script().unmute_fails = Some(BackendError::NotConfirmed { waited_ms: 1000 });
    let rig = Rig::with(settings("start = \"live\""), server);
    let status = status(&rig);
    assert_eq!(
        (status.gate, status.reason.as_str()),
        (GateState::Muted, "not_confirmed")
    );
}

/// Starts with `memory` and `start = "live"`.
fn started_live(memory: &[u8]) -> Rig {
    Rig::remembering(memory, settings("start = \"live\""), Scripted::default())
}

fn remembered(gate: GateState, ended: bool) -> Vec<u8> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    Remembered::new(gate, ended, boot.trim().to_owned(), Vec::new()).to_bytes()
}

#[test]
fn what_was_muted_comes_back_muted_whatever_the_configuration_says() {
    let rig = started_live(&remembered(GateState::Muted, true));
    let now = status(&rig);
    assert_eq!((now.gate, now.warnings.len()), (GateState::Muted, 0));
    let opened = |rig: &Rig| rig.server.script().commands.contains(&"unmute");
    assert!(!opened(&rig));
    // Nor after a crash while live, nor where the memory cannot be read; there it is said, until somebody unmutes.
    for memory in [
        remembered(GateState::Live, false),
        b"{\"version\":1,\"gate\":\"li".to_vec(),
        Vec::new(),
    ] {
        let rig = started_live(&memory);
        let now = status(&rig);
        assert_eq!((now.gate, now.warnings.len()), (GateState::Muted, 1));
        assert!(!opened(&rig));
        let handle = rig.daemon().handle();
        handle.switch(Want::Unmute, Origin::Cli).unwrap();
        assert_eq!(status(&rig).warnings, Vec::<String>::new());
    }
}

#[test]
fn each_change_is_remembered_and_the_end_is_no_mute() {
    let mut rig = Rig::start();
    let path = rig.memory();
    let read = || {
        let bytes = std::fs::read(&path).ok()?;
        Some(Remembered::parse(&bytes).expect("never a part"))
    };
    let becomes = |gate, ended| {
        wait_for("remembered", || {
            read().filter(|it| (it.gate, it.ended) == (gate, ended))
        })
    };
    becomes(GateState::Muted, false);
    let handle = rig.daemon().handle();
    handle.switch(Want::Unmute, Origin::Cli).unwrap();
    becomes(GateState::Live, false);
    handle.switch(Want::Mute, Origin::Desktop).unwrap();
    becomes(GateState::Muted, false);
    handle.switch(Want::Unmute, Origin::Cli).unwrap();
    rig.stop();
    let last = read().unwrap();
    assert_eq!((last.gate, last.ended), (GateState::Live, true));
}

#[test]
fn the_lease_is_renewed_while_live_only() {
    let rig = Rig::start();
    let handle = rig.daemon().handle();
    std::thread::sleep(Duration::from_millis(120));
    assert_eq!(rig.server.script().renewals, 0);
    handle.switch(Want::Unmute, Origin::Cli).unwrap();
    wait_for("renewals", || {
        (rig.server.script().renewals >= 5).then_some(())
    });
    handle.switch(Want::Mute, Origin::Cli).unwrap();
    let renewals = rig.server.script().renewals;
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(rig.server.script().renewals, renewals);
}

#[test]
fn a_live_gate_without_a_mic_says_why_it_is_silent() {
    let rig = Rig::start();
    rig.server.script().mic_missing = true;
    rig.daemon()
        .handle()
        .switch(Want::Unmute, Origin::Cli)
        .unwrap();
    rig.server.tell(Event::Changed);
    wait_for("source_missing", || {
        (status(&rig).reason == "source_missing").then_some(())
    });
}

#[test]
fn clients_that_left_are_recorded_before_they_are_forgotten() {
    let rig = Rig::start();
    rig.server.script().clients = vec![
        observed(1, ClientState::Running),
        observed(2, ClientState::Corked),
        observed(3, ClientState::Gone),
    ];
    rig.server.tell(Event::Changed);
    wait_for("forgotten", || {
        (rig.server.script().forgotten == [3]).then_some(())
    });
    let looks = rig.told.looks.lock().unwrap();
    assert!(looks.iter().any(|look| look.clients.len() == 3));
    drop(looks);
    wait_for("two clients", || (status(&rig).clients == 2).then_some(()));
}

#[test]
fn the_end_mutes_records_and_removes_the_socket() {
    let mut rig = Rig::start();
    rig.daemon()
        .handle()
        .switch(Want::Unmute, Origin::Cli)
        .unwrap();
    rig.stop();
    assert!(!rig.server.script().open);
    assert!(*rig.told.closed.lock().unwrap());
    assert!(!rig.socket.exists());
    let changes = rig.told.changes.lock().unwrap();
    let gates: Vec<_> = changes.iter().map(|change| change.gate).collect();
    assert_eq!(gates, [GateState::Muted, GateState::Live, GateState::Muted]);
}

#[test]
fn the_program_prints_and_exits_as_the_contract_says() {
    let mut rig = Rig::start();
    let text = |arguments: &[&str]| {
        let output = rig.truemute(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            stderr(&output)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let parsed: Status = serde_json::from_str(&text(&["status", "--json"])).unwrap();
    assert_eq!(parsed.gate, GateState::Muted);
    let parsed: Switched = serde_json::from_str(&text(&["unmute", "--json"])).unwrap();
    assert_eq!(parsed.gate, GateState::Live);
    assert!(!text(&["status"]).is_empty());
    assert!(!text(&["toggle"]).is_empty());
    assert!(!text(&["clients"]).is_empty());
    assert!(!text(&["stats"]).is_empty());
    for usage in [&["explode"][..], &[], &["mute", "--loud"], &["--json"]] {
        assert_eq!(rig.truemute(usage).status.code(), Some(2), "{usage:?}");
    }
    rig.server.script().unmute_fails = Some(BackendError::NotConfirmed { waited_ms: 1000 });
    let failed = rig.truemute(&["unmute"]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(stderr(&failed).contains("pw-top"), "{}", stderr(&failed));
    rig.stop();
    let gone = rig.truemute(&["mute"]);
    assert_eq!(gone.status.code(), Some(3));
    assert!(stderr(&gone).contains("truemute install"));
}

/// What happens to the daemon in the property test.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Command(Want, Origin),
    Flag(bool),
    Lost,
}

fn happening() -> impl Strategy<Value = Happening> {
    let want = prop::sample::select(&[Want::Mute, Want::Unmute, Want::Toggle][..]);
    let origins = &[
        Origin::Cli,
        Origin::Hotkey,
        Origin::App,
        Origin::Headset,
        Origin::Desktop,
    ][..];
    prop_oneof![
        8 => (want, prop::sample::select(origins)).prop_map(|(w, o)| Happening::Command(w, o)),
        3 => any::<bool>().prop_map(Happening::Flag),
        1 => Just(Happening::Lost),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Under any sequence of commands, flags and lost servers, the gate of the backend is open only after an unmute that was
    /// permitted, with no mute since.
    #[test]
    fn nothing_else_than_a_permitted_unmute_opens(
        happenings in prop::collection::vec(happening(), 1..40),
    ) {
        let rig = Rig::start();
        let handle = rig.daemon().handle();
        let permitted = [Origin::Cli, Origin::Hotkey];
        let mut may_be_open = false;
        for happening in happenings {
            match happening {
                Happening::Command(want, origin) => {
                    let done = handle.switch(want, origin);
                    match want {
                        Want::Mute => may_be_open = false,
                        Want::Unmute => may_be_open |= permitted.contains(&origin),
                        Want::Toggle => may_be_open = !may_be_open && permitted.contains(&origin),
                    }
                    if let Ok(done) = done {
                        prop_assert_eq!(done.gate == GateState::Live, may_be_open);
                    }
                }
                Happening::Flag(set) => {
                    rig.server.tell(Event::DesktopMute(set));
                    may_be_open &= !set;
                }
                Happening::Lost => {
                    let starts = rig.server.script().starts;
                    rig.server.lose_server(0);
                    wait_for("another backend", || {
                        (rig.server.script().starts > starts && status(&rig).connected).then_some(())
                    });
                }
            }
            let status = status(&rig);
            prop_assert_eq!(status.gate == GateState::Live, may_be_open);
            prop_assert!(may_be_open || !rig.server.script().open);
        }
    }
}
