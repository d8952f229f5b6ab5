//! Identities of real clients on a private server: what recorders really set, what liars can set, what a sandbox shows.

use super::system::System;
use super::*;
use crate::rehearsal::{
    MicOptions, PrivateServer, Program, ServerOptions, SimulatedMic, debian13_root, find_program,
};
use pipewire::client::{Client, ClientListener};
use pipewire::context::ContextRc;
use pipewire::core::CoreRc;
use pipewire::loop_::Timeout;
use pipewire::main_loop::MainLoopRc;
use pipewire::node::{Node, NodeListener};
use pipewire::registry::{Listener, RegistryRc};
use pipewire::spa::utils::dict::DictRef;
use pipewire::types::ObjectType;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};
use truemute_core::observed::Purpose;

struct Stage {
    server: PrivateServer,
    _mic: SimulatedMic,
    world: System,
    view: RegistryView,
}

impl Stage {
    fn new(options: ServerOptions) -> Self {
        let server = PrivateServer::start(options).unwrap();
        let mic = SimulatedMic::start(&server, MicOptions::default()).unwrap();
        let view = RegistryView::open(&server.socket());
        let world = System::new(Some(&std::process::id().to_string()));
        Self {
            server,
            _mic: mic,
            world,
            view,
        }
    }

    fn start(&self, program: &str, arguments: &[&str]) -> Program {
        let mut command = self.server.command(program);
        command
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Program::start(command).unwrap()
    }

    /// Waits for the node that `wanted` picks, and gives what the registry says of it and of its client.
    fn claims(&self, wanted: impl Fn(&Claims) -> bool) -> Claims {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            self.view
                .main_loop
                .loop_()
                .iterate(Timeout::Finite(Duration::from_millis(5)));
            if let Some(claims) = self.view.nodes_and_clients().find(&wanted) {
                return claims;
            }
            assert!(
                Instant::now() < deadline,
                "no such client; the server says:\n{}",
                self.server.log()
            );
        }
    }

    fn who(&self, node_name: &str) -> Who {
        self.who_of(&[node_name])
    }

    /// Of the node that has one of these names.
    fn who_of(&self, node_names: &[&str]) -> Who {
        let named = |it: &Claims| {
            let name = it.node_props.get("node.name");
            name.is_some_and(|name| node_names.contains(&name))
        };
        identify(&self.claims(named), &self.world)
    }
}

fn file_of(program: &str) -> PathBuf {
    find_program(program).unwrap().canonicalize().unwrap()
}

#[test]
fn real_clients_are_told_by_the_system() {
    tells_real_clients(&Stage::new(ServerOptions::default()));
}

#[test]
fn so_it_is_on_the_server_of_debian_13() {
    let target = std::env::current_exe().unwrap();
    match debian13_root(target.ancestors().nth(3).unwrap_or(Path::new("/"))) {
        Ok(root) => tells_real_clients(&Stage::new(ServerOptions {
            root: Some(root),
            ..ServerOptions::default()
        })),
        Err(error) if std::env::var_os("TRUEMUTE_REQUIRE_DEBIAN13").is_none() => {
            println!("SKIPPED: {error}")
        }
        Err(error) => panic!("{error}"),
    }
}

fn tells_real_clients(stage: &Stage) {
    let native = stage.start("pw-record", &["/dev/null"]);
    let pulse = stage.start("parecord", &["--latency-msec=50", "--raw", "/dev/null"]);
    let alsa = stage.start(
        "arecord",
        &[
            "-q",
            "-D",
            "pipewire",
            "-f",
            "S16_LE",
            "-r",
            "48000",
            "/dev/null",
        ],
    );
    // The ALSA plugin of 1.4 names its node after the file that runs, and arecord is another name of aplay.
    let alsa_nodes = ["ALSA Capture", "alsa_capture.aplay"];
    for (nodes, program, process, api) in [
        (&["pw-record"][..], "pw-record", &native, Api::Pipewire),
        (&["parecord"], "parecord", &pulse, Api::Pulse),
        (&alsa_nodes, "arecord", &alsa, Api::Alsa),
    ] {
        let who = stage.who_of(nodes);
        assert_eq!(who.app, program);
        assert!(nodes.contains(&who.stream.as_str()), "{}", who.stream);
        assert_eq!((who.pid, who.api), (Some(process.id()), api));
        assert_eq!(who.executable, Some(file_of(program)));
        assert_eq!(who.purpose, Purpose::Recording);
        let puller = who.puller.unwrap();
        if api == Api::Pulse {
            assert_eq!(
                (who.identity, puller.name.as_str()),
                (Identity::Corroborated, "pipewire-pulse")
            );
            assert!(stage.server.process_ids().contains(&puller.pid));
        } else {
            assert_eq!(
                (who.identity, puller.pid),
                (Identity::Verified, process.id())
            );
        }
    }
}

#[test]
fn a_jack_client_is_verified() {
    if find_program("jack_capture").is_none() || find_program("pw-jack").is_none() {
        println!(
            "SKIPPED: pw-jack or jack_capture is not installed (apt install pipewire-jack jack-capture)"
        );
        return;
    }
    let stage = Stage::new(ServerOptions::default());
    let file = stage.server.directory().join("jack.wav");
    let jack = stage.start(
        "pw-jack",
        &[
            "jack_capture",
            "--no-stdin",
            "--channels",
            "1",
            file.to_str().unwrap(),
        ],
    );
    let who = stage.who("jack_capture");
    assert_eq!((who.identity, who.api), (Identity::Verified, Api::Jack));
    assert_eq!(
        (who.app.as_str(), who.pid),
        ("jack_capture", Some(jack.id()))
    );
}

#[test]
fn pavucontrol_looks_at_levels() {
    if find_program("pavucontrol").is_none() || find_program("xvfb-run").is_none() {
        println!(
            "SKIPPED: pavucontrol or xvfb-run is not installed (apt install pavucontrol xvfb xauth)"
        );
        return;
    }
    let stage = Stage::new(ServerOptions::default());
    let _window = stage.start("xvfb-run", &["-a", "pavucontrol", "--tab=4"]);
    let who = stage.who("PulseAudio Volume Control");
    assert_eq!(
        (who.purpose, who.app.as_str()),
        (Purpose::Meter, "pavucontrol")
    );
    assert_eq!(who.identity, Identity::Corroborated);
}

#[test]
fn a_liar_does_not_get_what_it_claims() {
    let stage = Stage::new(ServerOptions::default());
    let other = stage.start("sleep", &["60"]);
    let stranger = format!("--property=application.process.id={}", other.id());
    let record = ["--latency-msec=50", "--raw", "/dev/null"];

    // A pid that is connected nowhere.
    let _a = stage.start(
        "parecord",
        &[&["--client-name=liar-a", &stranger], &record[..]].concat(),
    );
    let who = stage.who("liar-a");
    assert_eq!(
        (who.identity, who.pid, who.executable),
        (Identity::Claimed, Some(other.id()), None)
    );
    assert_eq!((who.app.as_str(), who.api), ("liar-a", Api::Pulse));
    assert_eq!(who.puller.unwrap().name, "pipewire-pulse");

    // The pid of pipewire-pulse itself, and an API that is not pulse's.
    let server = stage.server.process_ids()[2];
    let itself = format!("--property=application.process.id={server}");
    let _b = stage.start(
        "parecord",
        &[
            &[
                "--client-name=liar-b",
                &itself,
                "--property=client.api=jack",
            ],
            &record[..],
        ]
        .concat(),
    );
    let who = stage.who("liar-b");
    assert_eq!(
        (who.identity, who.executable, who.api),
        (Identity::Claimed, None, Api::Pulse)
    );

    // The pid of PipeWire, which pipewire-pulse is connected to, but as a client of it.
    let upstream = format!(
        "--property=application.process.id={}",
        stage.server.pipewire_id()
    );
    let _e = stage.start(
        "parecord",
        &[&["--client-name=liar-e", &upstream], &record[..]].concat(),
    );
    let who = stage.who("liar-e");
    assert_eq!((who.identity, who.executable), (Identity::Claimed, None));

    // Another name, but the true pid: named by its file.
    let c = stage.start("parecord", &[&["--client-name=Zoom"], &record[..]].concat());
    let who = stage.who("Zoom");
    assert_eq!(
        (who.identity, who.pid),
        (Identity::Corroborated, Some(c.id()))
    );
    assert_eq!(
        (who.app.as_str(), who.stream.as_str()),
        ("parecord", "Zoom")
    );

    // A native client that calls itself a pulse client of that pid.
    let props = format!(
        "{{ application.process.id = {} client.api = pipewire-pulse application.name = Zoom node.name = liar-d }}",
        other.id()
    );
    let d = stage.start("pw-record", &["-P", &props, "/dev/null"]);
    let who = stage.who("liar-d");
    assert_eq!((who.identity, who.pid), (Identity::Verified, Some(d.id())));
    assert_eq!((who.app.as_str(), who.api), ("pw-record", Api::Pipewire));
}

#[test]
fn a_lingering_node_with_the_client_id_of_another_stays_claimed() {
    let stage = Stage::new(ServerOptions::default());
    let _victim = stage.start("pw-record", &["/dev/null"]);
    let victim = stage.claims(|it| {
        it.node_props
            .get("node.name")
            .is_some_and(|it| it == "pw-record")
    });
    let id = victim.node_props.get("client.id").unwrap();
    let node = format!(
        "create-node adapter {{ factory.name=support.null-audio-sink media.class=Stream/Input/Audio node.name=forged \
         object.linger=true client.id={id} }}\n"
    );
    let mut command = stage.server.command("pw-cli");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut maker = Program::start(command).unwrap();
    std::io::Write::write_all(maker.child().stdin.as_mut().unwrap(), node.as_bytes()).unwrap();
    let forged = stage.claims(|it| {
        it.node_props
            .get("node.name")
            .is_some_and(|it| it == "forged")
    });
    // The server really does give the victim's client to it: this is what the rule about lingering nodes is for.
    assert_eq!(forged.client_props, victim.client_props);
    let who = identify(&forged, &stage.world);
    assert_eq!(
        (who.identity, who.executable, who.puller),
        (Identity::Claimed, None, None)
    );
}

#[test]
fn a_client_in_a_pid_namespace_is_found_under_its_pid_here() {
    let Some((stage, outer, claims)) =
        sandboxed(&["--pid", "--fork", "--kill-child", "--mount-proc"])
    else {
        return;
    };
    assert_eq!(claims.client_props.get("application.process.id"), Some("1"));
    let who = identify(&claims, &stage.world);
    let pid = who.pid.unwrap();
    assert_eq!(who.identity, Identity::Corroborated);
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(
        status.contains(&format!("PPid:\t{}\n", outer.id())),
        "{status}"
    );
    assert_eq!(
        (who.app.as_str(), who.executable),
        ("parecord", Some(file_of("parecord")))
    );
}

#[test]
fn a_client_in_a_network_namespace_stays_claimed() {
    let Some((stage, _outer, claims)) = sandboxed(&["--net"]) else {
        return;
    };
    let who = identify(&claims, &stage.world);
    assert_eq!((who.identity, who.executable), (Identity::Claimed, None));
    assert_eq!(who.puller.unwrap().name, "pipewire-pulse");
}

/// A pulse client in new namespaces; none, with a reason, where this user may not make them.
fn sandboxed(namespaces: &[&str]) -> Option<(Stage, Program, Claims)> {
    let user: &[&str] = &["--user", "--map-current-user"];
    let user = if rustix::process::geteuid().is_root() {
        &[]
    } else {
        user
    };
    let unshare = [user, namespaces].concat();
    let possible = Command::new("unshare")
        .args(&unshare)
        .arg("true")
        .stderr(Stdio::null())
        .status();
    if !possible.is_ok_and(|it| it.success()) {
        println!("SKIPPED: this user may not make the namespaces {namespaces:?}");
        return None;
    }
    let stage = Stage::new(ServerOptions::default());
    let inside = [
        "parecord",
        "--client-name=inside",
        "--latency-msec=50",
        "--raw",
        "/dev/null",
    ];
    let outer = stage.start("unshare", &[&unshare[..], &inside].concat());
    let claims = stage.claims(|it| {
        it.node_props
            .get("node.name")
            .is_some_and(|it| it == "inside")
    });
    Some((stage, outer, claims))
}

type All = Rc<RefCell<BTreeMap<u32, Props>>>;

enum Bound {
    Node {
        _events: NodeListener,
        _proxy: Node,
    },
    Client {
        _events: ClientListener,
        _proxy: Client,
    },
}

/// The properties of all nodes and clients of a server, as any client of it sees them. (Not from pw-dump: that of 0.3.65
/// prints broken JSON for a server of 1.4.2.)
struct RegistryView {
    nodes: All,
    clients: All,
    _globals: Listener,
    _bound: Rc<RefCell<Vec<Bound>>>,
    _registry: RegistryRc,
    _core: CoreRc,
    main_loop: MainLoopRc,
}

impl RegistryView {
    fn open(socket: &Path) -> Self {
        pipewire::init();
        let main_loop = MainLoopRc::new(None).unwrap();
        let context = ContextRc::new(&main_loop, None).unwrap();
        let connection = std::os::unix::net::UnixStream::connect(socket).unwrap();
        let core = context.connect_fd_rc(connection.into(), None).unwrap();
        let registry = core.get_registry_rc().unwrap();
        let (nodes, clients, bound) = (
            All::default(),
            All::default(),
            Rc::<RefCell<Vec<Bound>>>::default(),
        );
        let globals = registry
            .add_listener_local()
            .global({
                let (registry, nodes, clients) =
                    (registry.downgrade(), nodes.clone(), clients.clone());
                let bound = bound.clone();
                move |global| {
                    let registry = registry.upgrade().unwrap();
                    let (id, known) = (global.id, copy(global.props));
                    // Things can vanish between their announcement and our answer.
                    match global.type_ {
                        ObjectType::Node => {
                            let Ok(proxy) = registry.bind::<Node, _>(global) else {
                                return;
                            };
                            let nodes = nodes.clone();
                            let events = proxy.add_listener_local().info(move |info| {
                                let mut all = nodes.borrow_mut();
                                // Events about other changes carry no properties.
                                all.entry(id)
                                    .or_insert_with(|| known.clone())
                                    .extend(info.props().into_iter().flat_map(DictRef::iter));
                            });
                            bound.borrow_mut().push(Bound::Node {
                                _events: events.register(),
                                _proxy: proxy,
                            });
                        }
                        ObjectType::Client => {
                            let Ok(proxy) = registry.bind::<Client, _>(global) else {
                                return;
                            };
                            let clients = clients.clone();
                            let events = proxy.add_listener_local().info(move |info| {
                                let mut all = clients.borrow_mut();
                                // Events about other changes carry no properties.
                                all.entry(id)
                                    .or_insert_with(|| known.clone())
                                    .extend(info.props().into_iter().flat_map(DictRef::iter));
                            });
                            bound.borrow_mut().push(Bound::Client {
                                _events: events.register(),
                                _proxy: proxy,
                            });
                        }
                        _ => {}
                    }
                }
            })
            .global_remove({
                let (nodes, clients) = (nodes.clone(), clients.clone());
                move |id| {
                    nodes.borrow_mut().remove(&id);
                    clients.borrow_mut().remove(&id);
                }
            })
            .register();
        Self {
            nodes,
            clients,
            _globals: globals,
            _bound: bound,
            _registry: registry,
            _core: core,
            main_loop,
        }
    }

    /// Each node with the client that its `client.id` names. One whose client is not known yet is left out.
    fn nodes_and_clients(&self) -> impl Iterator<Item = Claims> {
        let clients = self.clients.borrow();
        let claims = |node_props: &Props| {
            let client_props = match node_props.get("client.id") {
                Some(id) => clients.get(&id.parse().ok()?)?.clone(),
                None => Props::default(),
            };
            Some(Claims {
                node_props: node_props.clone(),
                client_props,
            })
        };
        self.nodes
            .borrow()
            .values()
            .filter_map(claims)
            .collect::<Vec<_>>()
            .into_iter()
    }
}

fn copy(props: Option<&DictRef>) -> Props {
    props.into_iter().flat_map(DictRef::iter).collect()
}
