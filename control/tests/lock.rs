//! The lock, through the API and a daemon with a scripted backend: nothing unmutes, nor does a restart; the administrator's has
//! no end. And a real polkitd on a bus of its own, which is asked who may unlock.

mod support;

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use support::bus::{Running, address, start, system_bus};
use support::{Rig, Scripted, observed, wait_for};
use truemute::api::ClientError;
use truemute::config::{Config, Policy, Settings};
use truemute::daemon::Want;
use truemute::lock::{Verdict, verdict};
use truemute::protocol::{Call, ErrorCode, GateState, OfClient, Origin};
use truemute_core::observed::{ClientState, Event};

fn code(result: Result<impl std::fmt::Debug, ClientError>) -> ErrorCode {
    match result {
        Err(ClientError::Refused(error)) => error.code,
        other => panic!("{other:?}"),
    }
}

fn is_silent(rig: &Rig) -> bool {
    let gate = rig.daemon().handle().status().unwrap().gate;
    gate == GateState::Muted && !rig.server.script().open
}

#[test]
fn while_it_is_locked_nothing_unmutes() {
    let rig = Rig::with(
        Settings::new(
            Config::parse("unmute_origins = [\"cli\", \"hotkey\", \"desktop\"]").unwrap(),
            Policy::default(),
        ),
        Scripted::default(),
    );
    let daemon = rig.daemon().handle();
    daemon.switch(Want::Unmute, Origin::Cli).unwrap();
    assert!(rig.server.script().open);
    let locked = daemon.lock(true).unwrap();
    assert!(locked.locked && locked.changed && is_silent(&rig));
    assert!(daemon.status().unwrap().locked);

    let app = observed(1, ClientState::Running);
    let client = app.who.app.clone();
    rig.server.script().clients = vec![app];
    let mut api = rig.client();
    let of = |client: &str| OfClient {
        client: client.to_owned(),
        origin: Origin::Cli,
    };
    api.call(Call::MuteClient(of(&client))).unwrap();
    for call in [
        Call::Unmute(Default::default()),
        Call::Toggle(Default::default()),
        Call::UnmuteClient(of(&client)),
    ] {
        assert_eq!(code(api.call(call)), ErrorCode::Locked);
    }
    let flags = rig.server.script().commands.len();
    rig.server.tell(Event::DesktopMute(false));
    wait_for("the desktop's flag to be set again", || {
        (rig.server.script().commands.len() > flags).then_some(())
    });
    assert!(is_silent(&rig));

    // Unlocked is not unmuted.
    assert!(daemon.lock(false).unwrap().changed);
    assert!(is_silent(&rig) && !daemon.status().unwrap().locked);
    daemon.switch(Want::Unmute, Origin::Cli).unwrap();
    assert!(rig.server.script().open);
}

fn start_live() -> Settings {
    Settings::new(
        Config::parse("start = \"live\"").unwrap(),
        Policy::default(),
    )
}

#[test]
fn a_lock_outlives_the_daemon_and_its_memory() {
    let locked = |rig: &Rig| {
        assert!(rig.daemon().handle().status().unwrap().locked && is_silent(rig));
        let unmute = rig.client().call(Call::Unmute(Default::default()));
        assert_eq!(code(unmute), ErrorCode::Locked);
    };
    let rig = Rig::start();
    rig.daemon().handle().lock(true).unwrap();
    let mut rig = rig.again(start_live());
    locked(&rig);
    // What is remembered besides gets lost, for it can be neither written nor read.
    let memory = rig.memory();
    let in_the_way = memory.with_file_name("gate.json.new");
    // It can be there for a moment: the state at the start is written in the background.
    wait_for("its place", || fs::create_dir(&in_the_way).ok());
    rig.stop();
    assert!(!memory.exists());
    fs::remove_dir(&in_the_way).unwrap();
    fs::write(&memory, "damaged").unwrap();
    let rig = rig.again(start_live());
    locked(&rig);
    rig.daemon().handle().lock(false).unwrap();
    let rig = rig.again(start_live());
    assert!(!rig.daemon().handle().status().unwrap().locked);
}

#[test]
fn a_lock_that_cannot_be_read_is_said_and_is_silence() {
    let mut rig = Rig::start();
    rig.daemon()
        .handle()
        .switch(Want::Unmute, Origin::Cli)
        .unwrap();
    rig.stop();
    let lock = rig.memory().with_file_name("locked");
    fs::write(&lock, "").unwrap();
    let rig = rig.again(start_live());
    let status = rig.daemon().handle().status().unwrap();
    let said = |part| status.warnings.iter().any(|it| it.contains(part));
    // Whether it locks depends on whether this machine has polkit: the rule is tested beside it.
    assert!(is_silent(&rig) && said("cannot be read") && said("polkit") != status.locked);
    rig.daemon().handle().lock(false).unwrap();
    assert!(!lock.exists());
}

#[test]
fn nobody_ends_the_administrators_lock() {
    let policy = Policy::parse("locked = true\nstart = \"live\"").unwrap();
    let rig = Rig::with(
        Settings::new(Config::default(), policy),
        Scripted::default(),
    );
    assert!(is_silent(&rig));
    let mut api = rig.client();
    for call in [Call::Unlock, Call::Unmute(Default::default())] {
        assert_eq!(code(api.call(call)), ErrorCode::Locked);
    }
    assert!(rig.daemon().handle().lock(false).is_err());
    assert!(is_silent(&rig));
}

const POLKITD: [&str; 2] = ["/usr/lib/polkit-1/polkitd", "/usr/libexec/polkitd"];

/// A system bus of its own with Debian's polkitd on it, which sees our action and `rules` in place of the machine's.
fn authority(dir: &Path, polkitd: &str) -> [Running; 2] {
    let bus = system_bus(dir);
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c"]);
    command.arg(format!(
        "mount --bind {0}/actions /usr/share/polkit-1/actions && mount --bind {0}/rules /etc/polkit-1/rules.d && exec {polkitd}",
        dir.display()
    ));
    command.env("DBUS_SYSTEM_BUS_ADDRESS", address(dir));
    [start(command), bus]
}

#[test]
fn the_authority_is_a_real_polkit_and_never_made_up() {
    let polkitd = POLKITD.into_iter().find(|path| Path::new(path).exists());
    let root = rustix::process::geteuid().is_root();
    let (Some(polkitd), true) = (polkitd, root) else {
        println!("SKIPPED: it takes root and polkitd");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let world = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(dir.path(), world).unwrap();
    for name in ["actions", "rules"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    // SAFETY: this test's process has no other thread that reads the environment: nextest gives each test one of its own.
    unsafe {
        std::env::set_var("DBUS_SYSTEM_BUS_ADDRESS", address(dir.path()));
    }
    // Root may do everything: the one who asks is somebody else.
    const NOBODY: u32 = 65_534;
    let mut sleep = Command::new("sleep");
    sleep.arg("120").uid(NOBODY).gid(NOBODY);
    let asking = start(sleep);
    let ask = || verdict(asking.0.id(), NOBODY, false);
    assert!(matches!(ask(), Verdict::Nobody(_)), "no bus: {:?}", ask());

    let _authority = authority(dir.path(), polkitd);
    wait_for("polkit, which does not know the action", || match ask() {
        Verdict::Nobody(why) => why.contains("not registered").then_some(()),
        other => panic!("{other:?}"),
    });
    let action = include_str!("../packaging/polkit/org.truemute.policy");
    fs::write(dir.path().join("actions/org.truemute.policy"), action).unwrap();
    wait_for(
        "the action, which nobody outside of the session in use may do",
        || (ask() == Verdict::Denied).then_some(()),
    );
    for (result, expected) in [
        ("YES", Verdict::Granted),
        ("NO", Verdict::Denied),
        ("AUTH_SELF", Verdict::Denied),
    ] {
        let rule = format!(
            "polkit.addRule(function(action) {{ if (action.id == 'org.truemute.unlock') return polkit.Result.{result}; }});"
        );
        fs::write(dir.path().join("rules/50-test.rules"), rule).unwrap();
        wait_for(result, || (ask() == expected).then_some(()));
    }
    // A process that is not there, and one of another user.
    assert_eq!(verdict(u32::MAX, NOBODY, false), Verdict::Denied);
    assert_ne!(verdict(asking.0.id(), 1, false), Verdict::Granted);
}
