//! One app muted on its own, through the program, the API and a daemon with a scripted backend: what is said, who may take it
//! back, and that it is remembered. That the app really gets silence is tested on real servers (`tests/tests/one_app.rs`).

mod support;

use support::{Rig, Scripted, observed, stderr, wait_for};
use truemute::api::ClientError;
use truemute::config::Settings;
use truemute::daemon::Remembered;
use truemute::protocol::{Answer, AppliedToApp, Call, ErrorCode, GateState, OfClient, Origin};
use truemute_core::observed::{ClientState, MutedApp};

fn of(client: &str, origin: Origin) -> OfClient {
    OfClient {
        client: client.into(),
        origin,
    }
}

/// A daemon with one client, and the name of its app.
fn with_client() -> (Rig, String) {
    let rig = Rig::start();
    let client = observed(1, ClientState::Running);
    let app = client.who.app.clone();
    rig.server.script().clients = vec![client];
    (rig, app)
}

fn muted_apps(rig: &Rig) -> Vec<MutedApp> {
    rig.daemon().handle().status().unwrap().muted_apps
}

#[test]
fn the_gate_is_another_matter() {
    let (rig, app) = with_client();
    let mut client = rig.client();
    client.call(Call::Unmute(Default::default())).unwrap();
    let answer = client
        .call(Call::MuteClient(of(&app, Origin::App)))
        .unwrap();
    let Answer::AppSwitched(done) = answer else {
        panic!("{answer:?}");
    };
    assert!(done.changed && done.app_muted);
    assert_eq!(done.applied, AppliedToApp::Moved);
    assert_eq!(muted_apps(&rig), done.apps);
    assert!(rig.server.script().open);
    client.call(Call::Mute(Default::default())).unwrap();
    client.call(Call::Unmute(Default::default())).unwrap();
    assert_eq!(muted_apps(&rig), done.apps);

    // Any origin mutes, and not any unmutes.
    let refused = client.call(Call::UnmuteClient(of(&app, Origin::App)));
    let Err(ClientError::Refused(error)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(error.code, ErrorCode::Refused);
    assert_eq!(muted_apps(&rig), done.apps);
    client
        .call(Call::UnmuteClient(of(&app, Origin::Hotkey)))
        .unwrap();
    assert_eq!(muted_apps(&rig), []);
}

#[test]
fn the_program_says_what_it_did_and_who_is_not_there() {
    let (rig, app) = with_client();
    let output = rig.truemute(&["mute", "--client", &app]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && text.contains("is muted, also when it comes back"),
        "{text}"
    );
    let output = rig.truemute(&["status"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(&format!("Muted app      {app}")), "{text}");
    let output = rig.truemute(&["unmute", "--client", &app, "--json"]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["app_muted"], false);
    assert_eq!(answer["apps"][0]["app"], app);

    let output = rig.truemute(&["mute", "--client", "nobody"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("Look who is connected"),
        "{}",
        stderr(&output)
    );
    let unknown = rig
        .client()
        .call(Call::MuteClient(of("nobody", Origin::Cli)));
    let Err(ClientError::Refused(error)) = unknown else {
        panic!("{unknown:?}");
    };
    assert_eq!(error.code, ErrorCode::UnknownClient);
}

#[test]
fn it_is_remembered_and_every_backend_is_told() {
    let (mut rig, app) = with_client();
    let mute = Call::MuteClient(of(&app, Origin::Cli));
    rig.client().call(mute).unwrap();
    let muted = muted_apps(&rig);
    rig.server.lose_server(0);
    wait_for("another backend", || {
        (rig.server.script().starts == 2).then_some(())
    });
    wait_for("it is told", || {
        (rig.server.script().muted_apps == muted).then_some(())
    });
    rig.stop();
    let memory = std::fs::read(rig.memory()).unwrap();
    let remembered = Remembered::parse(&memory).unwrap();
    assert_eq!(
        (remembered.gate, &remembered.muted_apps),
        (GateState::Muted, &muted)
    );

    let server = Scripted::default();
    let rig = Rig::remembering(&memory, Settings::default(), server);
    assert_eq!(rig.server.script().muted_apps, muted);
    assert_eq!(muted_apps(&rig), muted);
}

#[test]
fn a_slow_look_afterwards_does_not_mute_the_others() {
    let (rig, app) = with_client();
    let mut client = rig.client();
    // Half a second: longer than the actor's word and the lease together.
    rig.server.script().look_lasts = 10;
    // Again where a busy machine let the lease run out.
    wait_for("a gate that stays open", || {
        client.call(Call::Unmute(Default::default())).unwrap();
        client
            .call(Call::MuteClient(of(&app, Origin::Cli)))
            .unwrap();
        let gate = rig.daemon().handle().status().unwrap().gate;
        (gate == GateState::Live).then_some(())
    });
    rig.server.script().look_lasts = 0;
}
