//! Plug-ins and agents that die, hang, or are somebody else's.

use crate::ear::{Ear, until};
use crate::process::{Other, command, user};
use rustix::process::Signal;
use truemute_bridge::client::{Client, ClientError};
use truemute_bridge::message::Refused;

fn connect(folder: &tempfile::TempDir, ear: &Ear) -> Result<Client, ClientError> {
    let connected = Client::connect(folder.path(), &[user()], Box::new(ear.clone()))?;
    Ok(connected.client)
}

#[test]
fn a_killed_agent_is_silent_and_another_one_takes_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut plugin = Other::plugin(folder.path());
    let agent = Other::agent(folder.path(), 1);
    plugin.until("the agent", |it| it.is_live(1));
    agent.signal(Signal::KILL);
    plugin.until("the end", |it| it.number("open") == 0);
    plugin.stays_silent();
    let _another = Other::agent(folder.path(), 2);
    plugin
        .until("another agent", |it| it.is_live(2))
        .nothing_wrong();
}

#[test]
fn a_killed_plug_in_is_noticed_and_another_one_takes_over() {
    let folder = tempfile::tempdir().unwrap();
    let ear = Ear::default();
    let plugin = Other::plugin(folder.path());
    let connected = Client::connect(folder.path(), &[user()], Box::new(ear.clone())).unwrap();
    let (client, mut ring) = (connected.client, connected.ring);
    ring.begin(client.unmute().unwrap().epoch, 0, 0);
    plugin.signal(Signal::KILL);
    until("the end", || ear.lost.lock().unwrap().clone());
    ring.write(&[[1.0, 1.0]; 512]);
    assert_eq!(client.mute(), Err(ClientError::Ended));

    // The first one left its socket behind.
    let mut plugin = Other::plugin(folder.path());
    let _agent = Other::agent(folder.path(), 3);
    plugin.until("an agent", |it| it.is_live(3)).nothing_wrong();
}

#[test]
fn a_stalled_agent_is_silent_and_stays_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut plugin = Other::plugin(folder.path());
    let mut agent = Other::agent(folder.path(), 1);
    assert_eq!(agent.line(), "ready");
    plugin.until("the agent", |it| it.is_live(1));
    agent.stop();
    plugin.until("the end of the lease", |it| it.number("open") == 0);
    plugin.stays_silent();
    assert_eq!(
        connect(&folder, &Ear::default()).unwrap_err(),
        ClientError::Refused(Refused::Busy)
    );
    agent.signal(Signal::CONT);
    assert_eq!(
        agent.line(),
        "lapsed",
        "a late renewal must not bring sound back"
    );
    plugin.stays_silent();
    plugin.heard().nothing_wrong();
}

#[test]
fn an_agent_that_hangs_does_not_keep_another_one_out_for_long() {
    let folder = tempfile::tempdir().unwrap();
    let mut plugin = Other::plugin(folder.path());
    let mut agent = Other::agent(folder.path(), 1);
    assert_eq!(agent.line(), "ready");
    agent.stop();
    until("another turn", || connect(&folder, &Ear::default()).ok());
    // The first one wakes up as somebody whose ring nobody reads.
    agent.signal(Signal::CONT);
    plugin.stays_silent();
    plugin.heard().nothing_wrong();
}

#[test]
fn a_plug_in_that_hangs_keeps_nobody_waiting_for_long() {
    let folder = tempfile::tempdir().unwrap();
    let ear = Ear::default();
    let plugin = Other::plugin(folder.path());
    let client = connect(&folder, &ear).unwrap();
    plugin.stop();
    assert_eq!(client.mute(), Err(ClientError::TimedOut));
    assert_eq!(connect(&folder, &ear).unwrap_err(), ClientError::TimedOut);
    plugin.signal(Signal::CONT);
}

#[test]
fn a_second_producer_is_refused_and_does_not_disturb_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut plugin = Other::plugin(folder.path());
    let _agent = Other::agent(folder.path(), 1);
    let before = plugin.until("the agent", |it| it.is_live(1)).number("live");
    for _ in 0..20 {
        let mut second = Other::agent(folder.path(), 2);
        assert_eq!(second.line(), "Refused(Busy)");
    }
    let after = plugin.until("more sound", |it| it.number("live") > before + 20);
    assert_eq!((after.number("producers"), after.number("tag")), (1, 1));
    after.nothing_wrong();
}

/// As root with a process of nobody, else with a plug-in for somebody else.
#[test]
fn who_is_not_at_the_console_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap().to_owned();
    if user() == 0 {
        use std::os::unix::fs::PermissionsExt;
        use std::os::unix::process::CommandExt;
        let everybody = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), everybody).unwrap();
        let mut plugin = Other::plugin(folder.path());
        let mut nobody = command(&["agent", &path, "1", "0"]);
        nobody.uid(65_534);
        assert_eq!(Other::start(nobody).line(), "Refused(User { uid: 65534 })");
        assert_eq!(plugin.heard().word("why"), "Some(User { uid: 65534 })");
    }
    let mut plugin = Other::start(command(&["plugin", &path, "12345"]));
    assert_eq!(plugin.line(), "ready");
    assert_eq!(
        connect(&folder, &Ear::default()).unwrap_err(),
        ClientError::Refused(Refused::User { uid: user() })
    );
    plugin.stays_silent();
}

#[test]
fn who_listens_as_the_wrong_user_gets_no_agent() {
    let folder = tempfile::tempdir().unwrap();
    let _plugin = Other::plugin(folder.path());
    let wrong = Client::connect(folder.path(), &[12_345], Box::new(Ear::default()));
    let why = wrong.unwrap_err();
    assert!(
        matches!(why, ClientError::Impostor(_, it) if it == user()),
        "{why}"
    );
}
