//! `truemute install` and `uninstall` on a private server: what they write is what makes the server fail closed, and nothing of
//! it stays.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Output;

use rustix::process::Signal;
use truemute::install::parts::SILENT_TWIN;
use truemute_pipewire::VIRTUAL_MIC;
use truemute_pipewire::rehearsal::{
    MicOptions, PrivateServer, ServerOptions, Service, SimulatedMic,
};
use truemute_tests::recorder::wait_until;
use truemute_tests::servers::Version;
use truemute_tests::stage::{LIMIT, each};
use truemute_tests::truemute as program;

const VERSIONS: [Version; 2] = [Version::Installed, Version::Debian13];

#[test]
fn an_installation_works_and_leaves_nothing() {
    each(&VERSIONS, |version| {
        let Some(options) = version.options(ServerOptions::default()) else {
            return;
        };
        let mut server = PrivateServer::start(options).unwrap_or_else(|error| panic!("{error}"));
        let mic = SimulatedMic::start(&server, MicOptions::default()).expect("a mic");
        let name = mic.name().to_owned();
        pactl(&server, &["set-default-source", &name]);
        default_becomes(&server, &name);
        let before = configuration(&server);

        let said = good(&server, &["install", "--dry-run"]);
        assert!(said.contains("Not done, only said: Write "), "{said}");
        assert_eq!(configuration(&server), before);

        let said = good(&server, &["install"]);
        assert!(said.contains("60-truemute-silent.conf"), "{said}");
        assert!(said.contains("No systemd"), "{said}");
        assert!(said.contains(&format!("real_mic = \"{name}\"")), "{said}");
        let installed = configuration(&server);
        let said = good(&server, &["install"]);
        assert!(said.contains("Everything is in place already."), "{said}");
        assert_eq!(configuration(&server), installed);

        let found = doctor(&server);
        assert!(
            found.contains("The silent twin is not in the server"),
            "{found}"
        );
        assert!(
            found.contains("files of the installation are there"),
            "{found}"
        );

        // The server reads it when it is started again.
        drop(mic);
        server.end(Service::Pipewire, Signal::TERM).unwrap();
        server.revive().unwrap_or_else(|error| panic!("{error}"));
        let mic = SimulatedMic::start(&server, MicOptions::default()).expect("a mic");
        default_becomes(&server, SILENT_TWIN);
        let mut daemon = program::start(&server, "guard = \"enforce\"\n");
        default_becomes(&server, VIRTUAL_MIC);
        let found = doctor(&server);
        for good in [
            "The silent twin is in the server",
            "Apps that ask for TrueMute",
        ] {
            assert!(
                found.contains(&format!("\"good\",\"what\":\"{good}")),
                "{found}"
            );
        }
        assert!(!found.contains("\"bad\""), "{found}");
        let mute = || pactl(&server, &["get-source-mute", &name]);
        if *version == Version::Installed {
            // On 1.4 this mic has no flag before its first client.
            assert!(wait_until(LIMIT, || mute().contains("yes")), "{}", mute());
        }
        daemon.stop(Signal::KILL).unwrap();
        default_becomes(&server, SILENT_TWIN);

        // A guard that was killed leaves the real mic mute.
        pactl(&server, &["set-source-mute", &name, "1"]);
        let list = server.directory().join("state/truemute/muted-mics.json");
        fs::write(&list, format!("[\"{name}\"]")).unwrap();

        // After a crash, while the twin is all that there is.
        let said = good(&server, &["uninstall", "--dry-run"]);
        assert!(said.contains("Not done, only said: Remove "), "{said}");
        good(&server, &["uninstall"]);
        let mute = || pactl(&server, &["get-source-mute", &name]);
        assert!(wait_until(LIMIT, || mute().contains("no")), "{}", mute());
        default_becomes(&server, &name);
        assert_eq!(pactl(&server, &["get-source-mute", &name]), "Mute: no");
        assert!(!list.exists());
        let left = fs::read_dir(list.parent().unwrap()).unwrap().flatten();
        let left: Vec<_> = left.map(|it| it.file_name()).collect();
        let is_history =
            |name: &std::ffi::OsString| name.as_encoded_bytes().starts_with(b"history.");
        assert!(left.iter().all(is_history), "{left:?}");
        // WirePlumber writes what it remembers a second after a change, and when it ends.
        server.end(Service::Wireplumber, Signal::TERM).unwrap();
        good(&server, &["uninstall"]);
        for (path, text) in files(&server) {
            let text = text.replace("truemute-rehearsal", "");
            assert!(!text.contains("truemute"), "{path}: {text}");
            assert!(!path.contains("truemute"), "{path}");
        }
        assert_eq!(configuration(&server), before);
        drop(mic);
        server.end(Service::Pipewire, Signal::TERM).unwrap();
        server.revive().unwrap_or_else(|error| panic!("{error}"));
        let mic = SimulatedMic::start(&server, MicOptions::default()).expect("a mic");
        default_becomes(&server, &name);
        drop(mic);
    });
}

#[test]
fn a_file_of_somebody_else_is_left_alone() {
    let server = PrivateServer::start(ServerOptions::default()).unwrap();
    let config = server.directory().join("config");
    let path = config.join("pipewire/pipewire.conf.d/60-truemute-silent.conf");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "# mine\n").unwrap();
    let before = configuration(&server);
    let output = truemute(&server, &["install"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&path.display().to_string()), "{said}");
    assert_eq!(configuration(&server), before);
    let said = good(&server, &["uninstall"]);
    assert!(said.contains("Left alone"), "{said}");
    assert_eq!(configuration(&server), before);
    let output = truemute(&server, &["install", "--restart"]);
    assert_eq!(output.status.code(), Some(1));
}

fn truemute(server: &PrivateServer, arguments: &[&str]) -> Output {
    let mut command = server.native_command(program::executable()).unwrap();
    command.args(arguments).output().expect("truemute runs")
}

/// What the doctor finds, as JSON.
fn doctor(server: &PrivateServer) -> String {
    let output = truemute(server, &["doctor", "--json"]);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn good(server: &PrivateServer, arguments: &[&str]) -> String {
    let output = truemute(server, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("truemute {arguments:?}:\n{said}");
    said
}

fn pactl(server: &PrivateServer, arguments: &[&str]) -> String {
    let output = server.command("pactl").args(arguments).output();
    let output = output.expect("pactl runs");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn default_becomes(server: &PrivateServer, source: &str) {
    let mut now = String::new();
    let done = wait_until(LIMIT, || {
        now = pactl(server, &["get-default-source"]);
        now == source
    });
    assert!(done, "the default is {now}, not {source}\n{}", server.log());
}

/// What the user's programs are configured with.
fn configuration(server: &PrivateServer) -> BTreeMap<String, String> {
    let mut all = files(server);
    all.retain(|path, _| path.starts_with("config/") || path.starts_with("data/"));
    all
}

/// All that there is in the user's directories, but for our own state (counts, and what the gate was).
fn files(server: &PrivateServer) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for base in ["config", "data", "state"] {
        collect(server.directory(), &server.directory().join(base), &mut all);
    }
    all.retain(|path, _| {
        let ours = path == "state/truemute" || path.starts_with("state/truemute/");
        // The test's own start of the daemon writes this one.
        !ours || path.ends_with("install.json")
    });
    all
}

fn collect(root: &Path, directory: &Path, all: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        if path.is_dir() {
            all.insert(name, String::new());
            collect(root, &path, all);
        } else {
            let text = fs::read(&path).unwrap_or_default();
            all.insert(name, String::from_utf8_lossy(&text).into_owned());
        }
    }
}
