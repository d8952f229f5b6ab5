//! `truemute install` and `uninstall` on a private server: what they write is what makes the server fail closed, and nothing of
//! it stays.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use rustix::process::Signal;
use truemute::install::parts::SILENT_TWIN;
use truemute::protocol::GateState;
use truemute_pipewire::VIRTUAL_MIC;
use truemute_pipewire::rehearsal::{
    MicOptions, PrivateServer, ServerOptions, Service, SimulatedMic,
};
use truemute_tests::guarded::PluggedMic;
use truemute_tests::recorder::{Connections, RecorderOptions, Recorders, wait_until};
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

#[test]
fn an_installed_guard_keeps_apps_off_the_mic_until_it_goes() {
    let Some(options) = Version::Debian13.options(ServerOptions::default()) else {
        return;
    };
    let mut server = PrivateServer::start(options).unwrap_or_else(|error| panic!("{error}"));
    let mic = server.directory().join("bin/simulated-mic");
    let settings = format!("guard = \"enforce\"\ntrusted_processors = [{mic:?}]\n");
    configure(&server, &settings);
    let said = good(&server, &["install"]);
    assert!(said.contains("end PipeWire and WirePlumber both"), "{said}");
    server.end(Service::Pipewire, Signal::TERM).unwrap();
    server.revive().unwrap_or_else(|error| panic!("{error}"));

    let mic = PluggedMic::plug(&server, "real-mic", 2000);
    let mut daemon = program::start(&server, &settings);
    daemon.unmute().unwrap();
    let live = program::wait_for(&daemon, LIMIT, |status| {
        status.gate == GateState::Live && status.real_mic.name == mic.name
    });
    live.unwrap_or_else(|status| panic!("{status}\n{}", server.log()));
    let recorders = Recorders::start(&server, Connections::Own).unwrap();
    let app = recorders.add(RecorderOptions {
        target: Some(mic.name.clone()),
        ..RecorderOptions::default()
    });
    let app = app.unwrap();
    let heard = app.wait_for_sound(true, 0, LIMIT);
    assert!(heard.is_some(), "{}\n{}", daemon.log(), server.log());
    let counted = program::wait_for(&daemon, LIMIT, |status| status.clients == 1);
    let counted = counted.unwrap_or_else(|status| panic!("{status}"));
    assert_eq!(counted.bypasses, [], "what it hears came through the gate");
    let sources = pactl(&server, &["list", "short", "sources"]);
    assert!(sources.contains(VIRTUAL_MIC), "{sources}");
    assert!(!sources.contains(&mic.name), "{sources}");
    let found = doctor(&server);
    assert!(
        found.contains("Apps are kept off the real mics: "),
        "{found}"
    );
    drop(app);
    drop(recorders);

    daemon.stop(Signal::TERM).unwrap();
    let said = good(&server, &["uninstall"]);
    assert!(said.contains("end PipeWire and WirePlumber both"), "{said}");
    drop(mic);
    server.end(Service::Pipewire, Signal::TERM).unwrap();
    server.revive().unwrap_or_else(|error| panic!("{error}"));
    let mic = PluggedMic::plug(&server, "real-mic", 2000);
    default_becomes(&server, &mic.name);
}

#[test]
fn the_guard_goes_only_with_a_restart() {
    let server = PrivateServer::start(ServerOptions::default()).unwrap();
    let systemd = Systemd::pretend(&server);
    let config = server.directory().join("config");
    let guard = config.join("pipewire/pipewire.conf.d/61-truemute-guard.conf");
    configure(&server, "guard = \"enforce\"\n");
    let output = systemd.truemute(&["install"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    assert!(said.contains("end PipeWire and WirePlumber both"), "{said}");
    assert!(guard.exists());
    let trusted = config.join("wireplumber/wireplumber.conf.d/61-truemute-guard.conf");
    let trusted = fs::read_to_string(trusted).unwrap();
    assert!(
        trusted.contains("trusted.units = [\"truemute.service\"]\n  trusted.executables = []\n"),
        "{trusted}"
    );

    let before = configuration(&server);
    for arguments in [&["install"][..], &["uninstall"]] {
        configure(&server, "guard = \"report\"\n");
        let dry = [arguments, &["--dry-run"]].concat();
        assert!(systemd.truemute(&dry).status.success());
        let refused = systemd.truemute(arguments);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains("again with --restart"), "{said}");
        configure(&server, "guard = \"enforce\"\n");
        assert_eq!(configuration(&server), before, "{arguments:?}");
    }
    configure(&server, "guard = \"report\"\n");
    let output = systemd.truemute(&["install", "--restart"]);
    assert!(output.status.success(), "{output:?}");
    assert!(!guard.exists());
    let servers = "pipewire.socket pipewire-pulse.socket pipewire.service wireplumber.service pipewire-pulse.service";
    let verbs = [format!("stop {servers}"), format!("start {servers}")];
    assert_eq!(systemd.stopped_and_started(), verbs);
}

#[test]
fn the_audio_server_is_started_again_whatever_cannot_be_read() {
    let server = PrivateServer::start(ServerOptions::default()).unwrap();
    let systemd = Systemd::pretend(&server);
    // Only WirePlumber 0.5 has a file there.
    let unreadable = "state/wireplumber/stream-properties";
    fs::create_dir_all(server.directory().join(unreadable)).unwrap();
    let output = systemd.truemute(&["uninstall", "--restart"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("cannot be read"), "{said}");
    let asked = systemd.stopped_and_started();
    let verbs: Vec<_> = asked.iter().filter_map(|it| it.split(' ').next()).collect();
    assert_eq!(verbs, ["stop", "start"]);
}

/// In the place of systemctl, a program that agrees to everything and writes down what it was asked; beside it a wireplumber
/// that calls itself 0.5.
struct Systemd<'a> {
    server: &'a PrivateServer,
    directory: PathBuf,
}

impl<'a> Systemd<'a> {
    fn pretend(server: &'a PrivateServer) -> Self {
        let directory = server.directory().join("pretended");
        fs::create_dir(&directory).unwrap();
        let log = directory.join("log");
        let systemctl = format!("#!/bin/sh\necho \"$*\" >> '{}'\n", log.display());
        let wireplumber = "#!/bin/sh\necho Linked with libwireplumber 0.5.8\n";
        for (name, text) in [
            ("systemctl", systemctl.as_str()),
            ("wireplumber", wireplumber),
        ] {
            let path = directory.join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { server, directory }
    }

    fn truemute(&self, arguments: &[&str]) -> Output {
        let mut command = self.server.native_command(program::executable()).unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.directory.display()));
        command.args(arguments).output().expect("truemute runs")
    }

    /// What was asked of the audio server's units.
    fn stopped_and_started(&self) -> Vec<String> {
        let log = fs::read_to_string(self.directory.join("log")).unwrap();
        let asked = log.lines().filter_map(|line| line.strip_prefix("--user "));
        asked
            .filter(|line| line.starts_with("stop ") || line.starts_with("start "))
            .map(str::to_owned)
            .collect()
    }
}

/// The user's own settings.
fn configure(server: &PrivateServer, text: &str) {
    let path = server.directory().join("config/truemute/config.toml");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
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
