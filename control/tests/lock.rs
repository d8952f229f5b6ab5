//! The lock, through the API and a daemon with a scripted backend: nothing unmutes, nor does a restart; the administrator's has
//! no end. And a real polkitd on a bus of its own, which is asked who may unlock, and asks for a password on a terminal.

mod support;

use std::fs::{self, File};
use std::io::{BufReader, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Mutex};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use support::bus::{Running, address, start, system_bus};
use support::{Rig, Scripted, daemon_command, observed, wait_for};
use tempfile::TempDir;
use truemute::api::ClientError;
use truemute::config::{Config, Policy, Settings};
use truemute::daemon::Want;
use truemute::lock::{Verdict, verdict};
use truemute::protocol::{Call, ErrorCode, GateState, OfClient, Origin, Status};
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

/// Root may do everything, so the one who asks is somebody else.
const NOBODY: u32 = 65_534;

/// A program that sees our action and `rules` in place of the machine's, the users' passwords as in `dir`, and the bus of `dir`
/// also where polkit's helper for passwords looks, which trusts no environment.
fn confined(dir: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-ec"]);
    command.arg(format!(
        "mount --bind {0}/actions /usr/share/polkit-1/actions
         mount --bind {0}/rules /etc/polkit-1/rules.d
         mount --bind {0}/shadow /etc/shadow
         mount -t tmpfs none /run/dbus
         ln -s {0}/bus /run/dbus/system_bus_socket
         exec \"$@\"",
        dir.display()
    ));
    command.arg("sh");
    command.env("DBUS_SYSTEM_BUS_ADDRESS", address(dir));
    command
}

/// A system bus of its own with Debian's polkitd on it.
fn authority(dir: &Path, polkitd: &str) -> [Running; 2] {
    let bus = system_bus(dir);
    let mut command = confined(dir);
    command.arg(polkitd);
    [start(command), bus]
}

/// What [`authority`] needs, in a directory that everybody can read, where nobody's password is "secret"; with the path of polkitd.
/// Nothing if it cannot be had here.
fn authoritys_files() -> Option<(TempDir, &'static str)> {
    let polkitd = POLKITD.into_iter().find(|path| Path::new(path).exists());
    let Some(polkitd) = polkitd.filter(|_| rustix::process::geteuid().is_root()) else {
        println!("SKIPPED: it takes root and polkitd");
        return None;
    };
    let dir = tempfile::tempdir().unwrap();
    let world = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(dir.path(), world).unwrap();
    for name in ["actions", "rules"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    // openssl passwd -6
    let password = "$6$truemute$MalUrhxVy9Yz1brU3gNce54wBIwcknSpA3tYHWQ8G1ZqBXR1KbRFgRnvprvzerbz1V5gQbzrUemTlrwLJkBD7/";
    let shadow = format!("root:*:20000:0:99999:7:::\nnobody:{password}:20000:0:99999:7:::\n");
    fs::write(dir.path().join("shadow"), shadow).unwrap();
    Some((dir, polkitd))
}

fn add_action(dir: &Path) {
    let action = include_str!("../packaging/polkit/org.truemute.policy");
    fs::write(dir.join("actions/org.truemute.policy"), action).unwrap();
}

/// A rule in the place of the policy's own, which asks nobody outside of a session in use.
fn rule(dir: &Path, result: &str) {
    let rule = format!(
        "polkit.addRule(function(action) {{ if (action.id == 'org.truemute.unlock') return polkit.Result.{result}; }});"
    );
    fs::write(dir.join("rules/50-test.rules"), rule).unwrap();
}

#[test]
fn the_authority_is_a_real_polkit_and_never_made_up() {
    let Some((dir, polkitd)) = authoritys_files() else {
        return;
    };
    // SAFETY: this test's process has no other thread that reads the environment: nextest gives each test one of its own.
    unsafe {
        std::env::set_var("DBUS_SYSTEM_BUS_ADDRESS", address(dir.path()));
    }
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
    add_action(dir.path());
    wait_for(
        "the action, which nobody outside of the session in use may do",
        || (ask() == Verdict::Denied).then_some(()),
    );
    for (result, expected) in [
        ("YES", Verdict::Granted),
        ("NO", Verdict::Denied),
        ("AUTH_SELF", Verdict::Denied),
    ] {
        rule(dir.path(), result);
        wait_for(result, || (ask() == expected).then_some(()));
    }
    // A process that is not there, and one of another user.
    assert_eq!(verdict(u32::MAX, NOBODY, false), Verdict::Denied);
    assert_ne!(verdict(asking.0.id(), 1, false), Verdict::Granted);
}

/// Nobody's desktop asks: polkit's program for terminals does, which `truemute unlock` starts.
#[test]
fn on_a_terminal_the_password_is_typed() {
    let Some((dir, polkitd)) = authoritys_files() else {
        return;
    };
    add_action(dir.path());
    rule(dir.path(), "AUTH_SELF");
    let _authority = authority(dir.path(), polkitd);
    let home = dir.path().join("home");
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
    // A copy: where this program lies, not everybody may look.
    fs::copy(env!("CARGO_BIN_EXE_truemute"), dir.path().join("truemute")).unwrap();
    let as_nobody = |words: &[&str]| {
        let mut command = confined(dir.path());
        let like = daemon_command(&home);
        for (name, value) in like.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let ids = ["--reuid=65534", "--regid=65534", "--clear-groups"];
        command.arg("setpriv").args(ids);
        command.args(words).env("PATH", path_with(dir.path()));
        command
    };
    let _daemon = start(as_nobody(&["truemute", "daemon"]));
    let asks = |words: &[&str]| as_nobody(words).output().unwrap();
    wait_for("the lock", || {
        let locked = asks(&["truemute", "lock"]);
        locked.status.success().then_some(())
    });
    // Nobody there to be asked.
    assert_eq!(asks(&["truemute", "unlock"]).status.code(), Some(1));
    for (password, code) in [("wrong", 1), ("secret", 0)] {
        let command = as_nobody(&["setsid", "--ctty", "truemute", "unlock"]);
        let (status, said) = Terminal::run(command, &format!("{password}\n"));
        assert_eq!(status.code(), Some(code), "{said}");
        let status = asks(&["truemute", "status", "--json"]);
        let status: Status = serde_json::from_slice(&status.stdout).unwrap();
        assert_eq!(status.locked, code != 0, "{said}");
    }
}

fn path_with(dir: &Path) -> String {
    format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", dir.display())
}

/// A terminal of a test's own.
struct Terminal;

impl Terminal {
    /// Runs a program on it, which is asked for a password and gets `typed`; with what it showed.
    fn run(mut command: Command, typed: &str) -> (ExitStatus, String) {
        let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&screen).unwrap();
        unlockpt(&screen).unwrap();
        let name = ptsname(&screen, Vec::new()).unwrap();
        let side = || {
            let mut options = File::options();
            options.read(true).write(true);
            options.open(Path::new(name.to_str().unwrap())).unwrap()
        };
        command.stdin(side()).stdout(side()).stderr(side());
        let mut child = command.spawn().unwrap();
        drop(command);
        let mut screen = File::from(screen);
        let reader = screen.try_clone().unwrap();
        let shown = Arc::new(Mutex::new(String::new()));
        let reading = std::thread::spawn({
            let shown = shown.clone();
            move || {
                // It ends with an error when the other side is closed.
                for byte in BufReader::new(reader).bytes().map_while(Result::ok) {
                    shown.lock().unwrap().push(byte.into());
                }
            }
        });
        wait_for("the question", || {
            let asked = shown.lock().unwrap().contains("Password:");
            let ended = child.try_wait().unwrap().is_some();
            (asked || ended).then_some(())
        });
        screen.write_all(typed.as_bytes()).unwrap();
        let status = wait_for("the end", || child.try_wait().unwrap());
        reading.join().unwrap();
        let shown = shown.lock().unwrap().clone();
        (status, shown)
    }
}
