use super::system::System;
use super::*;
use proptest::prelude::*;
use std::collections::HashMap;
use std::path::PathBuf;
use truemute_core::observed::Purpose;

/// A made-up world: processes, and the sockets of servers.
#[derive(Default)]
struct Fake {
    processes: HashMap<u32, Process>,
    served: HashMap<u32, Served>,
    sockets: HashMap<u32, BTreeSet<u32>>,
    other_pid_namespace: bool,
}

impl Fake {
    fn process(mut self, pid: u32, executable: Option<&str>, command: &str) -> Self {
        let name = match (executable, command) {
            (Some("/usr/bin/pipewire"), "pipewire-pulse") | (None, _) => command,
            (Some(path), _) => path.rsplit('/').next().unwrap(),
        };
        let process = Process {
            pid,
            own_pid: pid,
            started: 1,
            executable: executable.map(PathBuf::from),
            command: command.to_owned(),
            name: name.to_owned(),
        };
        self.processes.insert(pid, process);
        self
    }

    fn sandboxed(mut self, pid: u32, own_pid: u32, binary: &str) -> Self {
        self = self.process(pid, None, binary);
        self.processes.get_mut(&pid).unwrap().own_pid = own_pid;
        self
    }

    /// pipewire-pulse as pid 50, with these pids as its peers.
    fn pulse(mut self, peers: &[u32]) -> Self {
        self = self.process(50, Some("/usr/bin/pipewire"), "pipewire-pulse");
        let served = Served {
            speaks_pulse: true,
            peers: peers.iter().map(|pid| 1000 + pid).collect(),
        };
        self.served.insert(50, served);
        self.sockets = peers
            .iter()
            .map(|pid| (*pid, BTreeSet::from([1000 + pid])))
            .collect();
        self
    }
}

impl World for Fake {
    fn process(&self, pid: u32) -> Option<Process> {
        self.processes.get(&pid).cloned()
    }
    fn served(&self, server: u32) -> Served {
        self.served.get(&server).cloned().unwrap_or_default()
    }
    fn holds(&self, process: &Process, sockets: &BTreeSet<u32>) -> bool {
        self.sockets
            .get(&process.pid)
            .is_some_and(|held| !held.is_disjoint(sockets))
    }
    fn holders(&self, own_pid: u32, sockets: &BTreeSet<u32>) -> Vec<Process> {
        let meant = |it: &&Process| it.own_pid == own_pid && self.holds(it, sockets);
        self.processes.values().filter(meant).cloned().collect()
    }
    fn server_shares_our_pids(&self) -> bool {
        !self.other_pid_namespace
    }
}

fn props(pairs: &[(&str, &str)]) -> Props {
    pairs.iter().copied().collect()
}

/// What pw-record 0.3.65 set, shortened.
fn native(sec_pid: &str) -> Claims {
    Claims {
        node_props: props(&[
            ("application.name", "pw-record"),
            ("node.name", "pw-record"),
            ("media.class", "Stream/Input/Audio"),
        ]),
        client_props: props(&[
            ("application.name", "pw-cat"),
            ("application.process.binary", "pw-cat"),
            ("application.process.id", "100"),
            ("pipewire.protocol", "protocol-native"),
            ("pipewire.access", "unrestricted"),
            ("pipewire.sec.pid", sec_pid),
        ]),
    }
}

/// What Chromium set through pipewire-pulse 0.3.65, shortened; pipewire-pulse is pid 50.
fn pulse(claimed_pid: &str) -> Claims {
    let both = [
        ("application.name", "Chromium input"),
        ("application.process.binary", "chromium"),
        ("application.process.id", claimed_pid),
        ("client.api", "pipewire-pulse"),
    ];
    let mut claims = Claims {
        node_props: props(&both),
        client_props: props(&both),
    };
    claims.node_props.extend([
        ("node.name", "Chromium input"),
        ("media.name", "RecordStream"),
    ]);
    claims.client_props.extend([
        ("pipewire.sec.pid", "50"),
        ("pipewire.access", "unrestricted"),
    ]);
    claims
}

#[test]
fn a_native_client_is_verified_and_goes_by_its_file() {
    let world = Fake::default().process(100, Some("/usr/bin/pw-cat"), "pw-record");
    let who = identify(&native("100"), &world);
    assert_eq!(
        who,
        Who {
            app: "pw-cat".to_owned(),
            stream: "pw-record".to_owned(),
            pid: Some(100),
            executable: Some(PathBuf::from("/usr/bin/pw-cat")),
            identity: Identity::Verified,
            puller: Some(Puller {
                pid: 100,
                name: "pw-cat".to_owned()
            }),
            api: Api::Pipewire,
            purpose: Purpose::Recording,
        }
    );
}

#[test]
fn a_verified_client_cannot_borrow_a_name_or_a_pid() {
    let world = Fake::default()
        .process(100, Some("/home/u/evil"), "evil")
        .process(200, Some("/opt/zoom/zoom"), "zoom");
    let mut claims = native("100");
    for props in [&mut claims.node_props, &mut claims.client_props] {
        props.extend([("application.name", "Zoom")]);
        props.extend([("application.process.id", "200")]);
        props.extend([("client.api", "pipewire-pulse")]);
    }
    let who = identify(&claims, &world);
    assert_eq!((who.app.as_str(), who.pid), ("evil", Some(100)));
    assert_eq!((who.identity, who.api), (Identity::Verified, Api::Pipewire));
}

#[test]
fn without_a_view_of_the_executable_the_pid_stays_verified_and_the_name_is_the_claim() {
    let world = Fake::default().process(100, None, "x");
    let who = identify(&native("100"), &world);
    assert_eq!(
        (who.identity, who.pid, who.executable),
        (Identity::Verified, Some(100), None)
    );
    assert_eq!(who.app, "pw-record");
    let gone = identify(&native("100"), &Fake::default());
    assert_eq!(
        (gone.identity, gone.pid, gone.executable),
        (Identity::Verified, Some(100), None)
    );
    assert_eq!(
        gone.puller,
        Some(Puller {
            pid: 100,
            name: String::new()
        })
    );
}

#[test]
fn a_lingering_node_may_name_any_client_and_is_only_claimed() {
    let world = Fake::default().process(100, Some("/usr/bin/pw-cat"), "pw-cat");
    let mut claims = native("100");
    claims.node_props.extend([("object.linger", "true")]);
    let who = identify(&claims, &world);
    assert_eq!(
        (who.identity, who.executable, who.puller),
        (Identity::Claimed, None, None)
    );
}

#[test]
fn pids_of_a_server_in_another_pid_namespace_are_not_looked_up() {
    let mut world = Fake::default().process(100, Some("/usr/bin/pw-cat"), "pw-cat");
    world.other_pid_namespace = true;
    let who = identify(&native("100"), &world);
    assert_eq!(
        (who.identity, who.executable, who.puller),
        (Identity::Claimed, None, None)
    );
    assert_eq!(
        identify(&native("0"), &Fake::default()).identity,
        Identity::Claimed
    );
    assert!(!System::new(None).server_shares_our_pids());
    assert!(System::new(Some(&std::process::id().to_string())).server_shares_our_pids());
}

#[test]
fn a_connection_through_the_portal_is_not_the_portals_own() {
    let world = Fake::default().process(
        100,
        Some("/usr/libexec/xdg-desktop-portal"),
        "xdg-desktop-por",
    );
    let mut claims = native("100");
    claims.client_props.extend([("pipewire.access", "portal")]);
    let who = identify(&claims, &world);
    assert_eq!(
        (who.app.as_str(), who.identity),
        ("pw-record", Identity::Claimed)
    );
}

#[test]
fn a_pulse_client_among_the_real_peers_is_corroborated() {
    let world = Fake::default()
        .process(300, Some("/usr/lib/chromium/chromium"), "chromium")
        .pulse(&[300]);
    let who = identify(&pulse("300"), &world);
    assert_eq!(
        (who.app.as_str(), who.stream.as_str()),
        ("chromium", "Chromium input")
    );
    assert_eq!(
        (who.pid, who.identity, who.api),
        (Some(300), Identity::Corroborated, Api::Pulse)
    );
    assert_eq!(
        who.executable,
        Some(PathBuf::from("/usr/lib/chromium/chromium"))
    );
    assert_eq!(
        who.puller,
        Some(Puller {
            pid: 50,
            name: "pipewire-pulse".to_owned()
        })
    );
}

#[test]
fn a_pulse_client_that_names_a_stranger_is_claimed_and_gets_no_executable() {
    let world = Fake::default()
        .process(300, Some("/usr/bin/evil"), "evil")
        .process(400, Some("/opt/zoom/zoom"), "zoom")
        .pulse(&[300]);
    for pid in ["400", "999", "0", "-1", "three", "", "99999999999999999999"] {
        let who = identify(&pulse(pid), &world);
        assert_eq!(
            (who.identity, who.executable),
            (Identity::Claimed, None),
            "claimed pid {pid:?}"
        );
        assert_eq!(who.app, "Chromium input");
        assert_eq!(who.puller.unwrap().name, "pipewire-pulse");
    }
}

#[test]
fn a_pulse_client_that_hides_its_api_does_not_pass_as_the_server() {
    for world in [
        Fake::default().pulse(&[]),
        Fake::default()
            .pulse(&[])
            .process(50, Some("/usr/bin/pipewire"), "pipewire"),
        Fake::default()
            .pulse(&[])
            .process(50, None, "pipewire-pulse"),
    ] {
        let mut claims = pulse("50");
        claims.client_props.extend([("client.api", "jack")]);
        claims.node_props.extend([("client.api", "jack")]);
        assert_eq!(identify(&claims, &world).identity, Identity::Claimed);
    }
}

#[test]
fn a_pid_of_a_sandbox_is_translated() {
    let world = Fake::default()
        .sandboxed(300, 2, "zoom")
        .process(2, None, "kthreadd")
        .pulse(&[300]);
    let who = identify(&pulse("2"), &world);
    assert_eq!((who.pid, who.identity), (Some(300), Identity::Corroborated));
    // The sandbox's own mount namespace hides what the file is.
    assert_eq!((who.executable, who.app.as_str()), (None, "Chromium input"));
}

#[test]
fn the_same_pid_in_two_sandboxes_is_told_apart_by_the_program_or_not_at_all() {
    let world = Fake::default()
        .sandboxed(300, 2, "zoom")
        .sandboxed(301, 2, "chromium")
        .pulse(&[300, 301]);
    assert_eq!(identify(&pulse("2"), &world).pid, Some(301));
    let world = Fake::default()
        .sandboxed(300, 2, "chromium")
        .sandboxed(301, 2, "chromium")
        .pulse(&[300, 301]);
    let who = identify(&pulse("2"), &world);
    assert_eq!((who.identity, who.executable), (Identity::Claimed, None));
}

#[test]
fn a_host_pid_is_not_taken_for_the_sandboxed_process_that_has_it() {
    // 300 is 2 to itself; a client that claims 300 means another 300.
    let world = Fake::default().sandboxed(300, 2, "zoom").pulse(&[300]);
    assert_eq!(identify(&pulse("300"), &world).identity, Identity::Claimed);
}

#[test]
fn apis_are_told_apart() {
    let world = Fake::default().process(100, Some("/usr/bin/aplay"), "arecord");
    for (said, api) in [
        ("alsa", Api::Alsa),
        ("jack", Api::Jack),
        ("bluez5", Api::Pipewire),
    ] {
        let mut claims = native("100");
        claims.client_props.extend([("client.api", said)]);
        assert_eq!(identify(&claims, &world).api, api);
    }
    assert_eq!(identify(&Claims::default(), &world).api, Api::Unknown);
    assert_eq!(identify(&Claims::default(), &world).app, "unknown");
}

#[test]
fn meters_and_monitors_are_labelled_by_what_their_streams_ask_for() {
    let purpose = |pairs: &[(&str, &str)]| {
        label::purpose(&Claims {
            node_props: props(pairs),
            client_props: Props::default(),
        })
    };
    // pavucontrol 5.0 through pipewire-pulse 0.3.65, as seen; pwvucontrol sets the same natively.
    let pavucontrol = [
        ("application.id", "org.PulseAudio.pavucontrol"),
        ("media.name", "Peak detect"),
        ("node.rate", "1/25"),
        ("resample.peaks", "true"),
        ("stream.monitor", "true"),
    ];
    assert_eq!(purpose(&pavucontrol), Purpose::Meter);
    assert_eq!(
        purpose(&[("node.name", "wiremix-capture"), ("stream.monitor", "true")]),
        Purpose::Monitor
    );
    // Without a low rate nothing is resampled, so the "peaks" are the samples themselves.
    for rate in ["1/48000", "1/0", "48000", "2/25", ""] {
        let full = [
            ("resample.peaks", "true"),
            ("stream.monitor", "true"),
            ("node.rate", rate),
        ];
        assert_eq!(purpose(&full), Purpose::Monitor, "{rate:?}");
        assert_eq!(purpose(&[full[0], full[2]]), Purpose::Recording, "{rate:?}");
    }
    // A name alone labels nothing.
    assert_eq!(purpose(&pavucontrol[..2]), Purpose::Recording);
}

#[test]
fn names_without_end_are_cut_at_a_character() {
    let mut claims = Claims::default();
    claims
        .node_props
        .extend([("application.name", "é".repeat(100_000))]);
    claims
        .node_props
        .extend([("node.name", format!("a{}", "é".repeat(100_000)))]);
    let who = identify(&claims, &Fake::default());
    assert_eq!((who.app.len(), who.stream.len()), (256, 255));
}

#[test]
fn names_cannot_play_with_the_terminal() {
    let mut claims = Claims::default();
    claims
        .node_props
        .extend([("application.name", "a\u{1b}[2J\r\n\u{9b}b\u{202e}c é")]);
    let app = identify(&claims, &Fake::default()).app;
    assert_eq!(app, "a\u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}b\u{fffd}c é");
    let world = Fake::default().process(100, Some("/tmp/a\nb"), "x");
    assert_eq!(identify(&native("100"), &world).app, "a\u{fffd}b");
}

fn any_props() -> impl Strategy<Value = Props> {
    let key = prop_oneof![
        Just("application.name"),
        Just("application.process.id"),
        Just("application.process.binary"),
        Just("client.api"),
        Just("pipewire.sec.pid"),
        Just("pipewire.access"),
        Just("object.linger"),
        Just("node.name"),
        Just("media.name"),
        Just("node.rate"),
        Just("resample.peaks"),
        Just("stream.monitor"),
    ];
    let value = prop_oneof![
        4 => prop_oneof!["50", "100", "300", "2", "1", "0"],
        2 => prop_oneof!["true", "false", "pipewire-pulse", "jack", "portal", "chromium", "1/25"],
        1 => any::<String>(),
    ];
    proptest::collection::btree_map(key, value, 0..10).prop_map(|all| all.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Pid 50 is pipewire-pulse with the peers 300 and 301, which see themselves as 300 and 2; 100 is connected nowhere.
    #[test]
    fn whatever_is_claimed_the_words_keep_their_meaning(node_props in any_props(), client_props in any_props()) {
        let world = Fake::default()
            .process(100, Some("/usr/bin/pw-cat"), "pw-cat")
            .process(300, Some("/usr/lib/chromium/chromium"), "chromium")
            .sandboxed(301, 2, "zoom")
            .pulse(&[300, 301]);
        let claims = Claims { node_props, client_props };
        let who = identify(&claims, &world);
        let sec_pid = claims.client_props.get("pipewire.sec.pid").and_then(|it| it.parse().ok());
        match who.identity {
            Identity::Verified => {
                prop_assert_eq!(who.pid, sec_pid);
                prop_assert_ne!(who.pid, Some(50));
                prop_assert_ne!(claims.node_props.get("object.linger"), Some("true"));
            }
            Identity::Corroborated => {
                prop_assert_eq!(sec_pid, Some(50));
                prop_assert!([Some(300), Some(301)].contains(&who.pid));
            }
            Identity::Claimed => prop_assert_eq!(&who.executable, &None),
        }
        if let Some(path) = &who.executable {
            prop_assert_eq!(path.file_name().unwrap().to_str(), Some(who.app.as_str()));
        }
        if let Some(puller) = &who.puller {
            prop_assert_eq!(Some(puller.pid), sec_pid);
        }
        for name in [&who.app, &who.stream] {
            prop_assert!(name.chars().count() <= 256 && !name.contains(char::is_control));
        }
    }
}
