//! Another client of the server that looks at everything and meddles with it: lists nodes, ports and links, makes links,
//! sets params and sends commands as any app of the user may. It runs on the test's own thread, a round trip at a time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::Cursor;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use pipewire as pw;
use pw::context::ContextRc;
use pw::core::CoreRc;
use pw::link::Link as LinkProxy;
use pw::loop_::Timeout;
use pw::main_loop::MainLoopRc;
use pw::node::{Node as NodeProxy, NodeListener, NodeState};
use pw::properties::properties;
use pw::registry::RegistryRc;
use pw::spa::node::command::{NodeCommand, NodeCommandId};
use pw::spa::param::ParamType;
use pw::spa::pod::serialize::PodSerializer;
use pw::spa::pod::{Object, Pod, Property, Value, ValueArray};
use pw::spa::sys as spa_sys;
use pw::spa::utils::Id;
use pw::types::ObjectType;
use truemute_pipewire::VIRTUAL_MIC;
use truemute_pipewire::rehearsal::PrivateServer;

/// The longest that the server may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// A node as the registry and its info show it.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// `node.name`.
    pub name: String,
    /// All properties.
    pub props: BTreeMap<String, String>,
    /// `suspended`, `idle`, `running`, `creating` or the error.
    pub state: String,
}

/// A port.
#[derive(Clone, Debug)]
pub struct Port {
    /// Its node's id.
    pub node: u32,
    /// Whether sound comes out of it.
    pub output: bool,
    /// `port.name`.
    pub name: String,
}

/// A link.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Id of the node whose sound it carries.
    pub output_node: u32,
    /// Id of the node that gets it.
    pub input_node: u32,
}

#[derive(Default)]
struct Objects {
    nodes: BTreeMap<u32, Node>,
    ports: BTreeMap<u32, Port>,
    links: BTreeMap<u32, Link>,
    /// Nodes that are not bound yet.
    unbound: Vec<pw::registry::GlobalObject<pw::properties::PropertiesBox>>,
    proxies: BTreeMap<u32, (NodeListener, Rc<NodeProxy>)>,
}

/// The client.
pub struct Meddler {
    // Dropped in this order: what uses the connection goes before it.
    objects: Rc<RefCell<Objects>>,
    links: RefCell<Vec<LinkProxy>>,
    created: RefCell<Vec<NodeProxy>>,
    refusals: Rc<RefCell<Vec<String>>>,
    _registry_listener: pw::registry::Listener,
    _core_listener: pw::core::Listener,
    done: Rc<Cell<i32>>,
    registry: RegistryRc,
    core: CoreRc,
    main_loop: MainLoopRc,
}

impl Meddler {
    /// Connects and learns what there is.
    ///
    /// # Panics
    /// If the server does not answer.
    pub fn connect(server: &PrivateServer) -> Self {
        Self::claiming(server, &[])
    }

    /// Connects as a client that says these properties of itself, and learns what there is.
    ///
    /// # Panics
    /// If the server does not answer.
    pub fn claiming(server: &PrivateServer, claims: &[(String, String)]) -> Self {
        pw::init();
        let main_loop = MainLoopRc::new(None).expect("a main loop");
        let context = ContextRc::new(&main_loop, None).expect("a context");
        let socket = UnixStream::connect(server.socket()).expect("the server's socket");
        let mut properties = pw::properties::PropertiesBox::new();
        for (key, value) in claims {
            properties.insert(key.as_str(), value.as_str());
        }
        let core = context
            .connect_fd_rc(socket.into(), Some(properties))
            .expect("a connection");
        let registry = core.get_registry_rc().expect("a registry");
        let objects = Rc::new(RefCell::new(Objects::default()));
        let registry_listener = registry
            .add_listener_local()
            .global({
                let objects = objects.clone();
                move |global| objects.borrow_mut().add(global)
            })
            .global_remove({
                let objects = objects.clone();
                move |id| {
                    // The proxy goes after the borrow has ended: it may call back.
                    let gone = objects.borrow_mut().remove(id);
                    drop(gone);
                }
            })
            .register();
        let done = Rc::new(Cell::new(-1));
        let refusals = Rc::new(RefCell::new(Vec::new()));
        let core_listener = core
            .add_listener_local()
            .done({
                let done = done.clone();
                move |_id, sequence| done.set(sequence.seq())
            })
            .error({
                let refusals = refusals.clone();
                move |_id, _sequence, _code, message| {
                    refusals.borrow_mut().push(message.to_owned());
                }
            })
            .register();
        let meddler = Self {
            objects,
            links: RefCell::default(),
            created: RefCell::default(),
            refusals,
            _registry_listener: registry_listener,
            _core_listener: core_listener,
            done,
            registry,
            core,
            main_loop,
        };
        meddler.look();
        meddler
    }

    /// Waits until the server has dealt with everything that was asked, and learns what is new.
    ///
    /// # Panics
    /// If the server does not answer.
    pub fn look(&self) {
        // The first answer brings new objects, the second what was bound because of them.
        for _ in 0..2 {
            self.bind_new();
            let asked = self.core.sync(0).expect("a request").seq();
            let deadline = Instant::now() + ANSWER;
            while self.done.get() != asked {
                assert!(Instant::now() < deadline, "the server does not answer");
                self.main_loop
                    .loop_()
                    .iterate(Timeout::Finite(Duration::from_millis(5)));
            }
        }
    }

    fn bind_new(&self) {
        let unbound = std::mem::take(&mut self.objects.borrow_mut().unbound);
        for global in unbound {
            // A node that has gone already cannot be bound.
            let Ok(proxy) = self.registry.bind::<NodeProxy, _>(&global) else {
                continue;
            };
            let proxy = Rc::new(proxy);
            let (id, objects) = (global.id, Rc::downgrade(&self.objects));
            let listener = proxy
                .add_listener_local()
                .info(move |info| {
                    let Some(objects) = objects.upgrade() else {
                        return;
                    };
                    if let Some(node) = objects.borrow_mut().nodes.get_mut(&id) {
                        node.state = match info.state() {
                            NodeState::Suspended => "suspended".to_owned(),
                            NodeState::Idle => "idle".to_owned(),
                            NodeState::Running => "running".to_owned(),
                            NodeState::Creating => "creating".to_owned(),
                            NodeState::Error(reason) => reason.to_owned(),
                        };
                        let props = info.props().into_iter().flat_map(|props| props.iter());
                        node.props
                            .extend(props.map(|(key, value)| (key.to_owned(), value.to_owned())));
                    }
                })
                .register();
            self.objects
                .borrow_mut()
                .proxies
                .insert(id, (listener, proxy));
        }
    }

    /// All nodes by id, as of the last look.
    pub fn nodes(&self) -> BTreeMap<u32, Node> {
        self.objects.borrow().nodes.clone()
    }

    /// All ports by id, as of the last look.
    pub fn ports(&self) -> BTreeMap<u32, Port> {
        self.objects.borrow().ports.clone()
    }

    /// All links, as of the last look.
    pub fn links(&self) -> Vec<Link> {
        self.objects.borrow().links.values().copied().collect()
    }

    /// The node of this name, after a look.
    pub fn node(&self, name: &str) -> Option<(u32, Node)> {
        self.look();
        let nodes = self.nodes();
        nodes.into_iter().find(|(_, node)| node.name == name)
    }

    /// Looks until `condition` holds or `limit` has passed; says whether it held.
    pub fn look_until(&self, limit: Duration, mut condition: impl FnMut(&Self) -> bool) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            self.look();
            if condition(self) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            self.main_loop
                .loop_()
                .iterate(Timeout::Finite(Duration::from_millis(5)));
        }
    }

    /// Links an output port to an input port for as long as this client lives.
    ///
    /// # Panics
    /// If the request cannot be sent.
    pub fn link(&self, output: u32, input: u32) {
        let ports = self.ports();
        let proxy = self.core.create_object(
            "link-factory",
            &properties! {
                "link.output.node" => ports[&output].node.to_string(),
                "link.output.port" => output.to_string(),
                "link.input.node" => ports[&input].node.to_string(),
                "link.input.port" => input.to_string(),
                "object.linger" => "false",
            },
        );
        self.links.borrow_mut().push(proxy.expect("a request"));
    }

    /// Asks for a link between nodes, whether they can be seen or not; where no port is named the server chooses one.
    ///
    /// # Panics
    /// If the request cannot be sent.
    pub fn request_link(
        &self,
        output_node: u32,
        output_port: Option<u32>,
        input_node: u32,
        input_port: Option<u32>,
    ) {
        let mut properties = properties! {
            "link.output.node" => output_node.to_string(),
            "link.input.node" => input_node.to_string(),
            "object.linger" => "false",
        };
        for (key, port) in [
            ("link.output.port", output_port),
            ("link.input.port", input_port),
        ] {
            if let Some(port) = port {
                properties.insert(key, port.to_string());
            }
        }
        let proxy = self.core.create_object("link-factory", &properties);
        self.links.borrow_mut().push(proxy.expect("a request"));
    }

    /// Asks `factory` for a node, which lives as long as this client unless it is told to linger.
    ///
    /// # Panics
    /// If the request cannot be sent.
    pub fn create_node(&self, factory: &str, properties: &[(&str, &str)]) {
        let mut all = pw::properties::PropertiesBox::new();
        for (key, value) in properties {
            all.insert(*key, *value);
        }
        let proxy = self.core.create_object(factory, &all);
        self.created.borrow_mut().push(proxy.expect("a request"));
    }

    /// Sets a param of a node.
    ///
    /// # Panics
    /// If there is no such node, or the value is no pod.
    pub fn set_param(&self, node: u32, id: ParamType, value: &Value) {
        let bytes = PodSerializer::serialize(Cursor::new(Vec::new()), value)
            .expect("a pod")
            .0
            .into_inner();
        let pod = Pod::from_bytes(&bytes).expect("a pod");
        self.proxy(node).set_param(id, 0, pod);
    }

    /// Gives a converter that has no ports yet one for each direction, for one channel of the graph's samples: as a session
    /// manager does with the nodes that it knows.
    ///
    /// # Panics
    /// As [`Meddler::set_param`].
    pub fn give_mono_ports(&self, node: u32) {
        let id = |id| Value::Id(Id(id));
        let property = Property::new;
        for direction in [spa_sys::SPA_DIRECTION_INPUT, spa_sys::SPA_DIRECTION_OUTPUT] {
            let format = Object {
                type_: spa_sys::SPA_TYPE_OBJECT_Format,
                id: spa_sys::SPA_PARAM_Format,
                properties: vec![
                    property(
                        spa_sys::SPA_FORMAT_mediaType,
                        id(spa_sys::SPA_MEDIA_TYPE_audio),
                    ),
                    property(
                        spa_sys::SPA_FORMAT_mediaSubtype,
                        id(spa_sys::SPA_MEDIA_SUBTYPE_raw),
                    ),
                    property(
                        spa_sys::SPA_FORMAT_AUDIO_format,
                        id(spa_sys::SPA_AUDIO_FORMAT_F32P),
                    ),
                    property(spa_sys::SPA_FORMAT_AUDIO_rate, Value::Int(48_000)),
                    property(spa_sys::SPA_FORMAT_AUDIO_channels, Value::Int(1)),
                    property(
                        spa_sys::SPA_FORMAT_AUDIO_position,
                        Value::ValueArray(ValueArray::Id(vec![Id(
                            spa_sys::SPA_AUDIO_CHANNEL_MONO,
                        )])),
                    ),
                ],
            };
            let ports = Object {
                type_: spa_sys::SPA_TYPE_OBJECT_ParamPortConfig,
                id: spa_sys::SPA_PARAM_PortConfig,
                properties: vec![
                    property(spa_sys::SPA_PARAM_PORT_CONFIG_direction, id(direction)),
                    property(
                        spa_sys::SPA_PARAM_PORT_CONFIG_mode,
                        id(spa_sys::SPA_PARAM_PORT_CONFIG_MODE_dsp),
                    ),
                    property(spa_sys::SPA_PARAM_PORT_CONFIG_format, Value::Object(format)),
                ],
            };
            self.set_param(node, ParamType::PortConfig, &Value::Object(ports));
        }
    }

    /// Takes the effect from a node's mute flag, without clearing it: soft volumes, once set, are used instead of the channels'
    /// volumes and flag (spa/plugins/audioconvert/audioconvert.c).
    ///
    /// # Panics
    /// As [`Meddler::set_param`].
    pub fn overrule_mute_flag(&self, node: u32, channels: usize) {
        let volumes = Value::ValueArray(ValueArray::Float(vec![1.0; channels]));
        let object = Object {
            type_: spa_sys::SPA_TYPE_OBJECT_Props,
            id: spa_sys::SPA_PARAM_Props,
            properties: vec![
                Property::new(spa_sys::SPA_PROP_softMute, Value::Bool(false)),
                Property::new(spa_sys::SPA_PROP_softVolumes, volumes),
            ],
        };
        self.set_param(node, ParamType::Props, &Value::Object(object));
    }

    /// [`Meddler::overrule_mute_flag`] of the virtual mic, done when this returns: what the gate lets through is heard. Each
    /// change of the flag brings its effect back, so it has to be called after each mute.
    ///
    /// # Panics
    /// If there is no virtual mic.
    pub fn see_through_mute_flag(&self, channels: usize) {
        let (node, _) = self.node(VIRTUAL_MIC).expect("the virtual mic");
        self.overrule_mute_flag(node, channels);
        self.look();
    }

    /// Sends a command to a node.
    ///
    /// # Panics
    /// If there is no such node.
    pub fn command(&self, node: u32, command: NodeCommandId) {
        self.proxy(node).send_command(&NodeCommand::new(command));
    }

    /// What the server refused so far.
    pub fn refusals(&self) -> Vec<String> {
        self.refusals.borrow().clone()
    }

    fn proxy(&self, node: u32) -> Rc<NodeProxy> {
        let objects = self.objects.borrow();
        objects.proxies.get(&node).expect("a node").1.clone()
    }
}

impl Objects {
    fn add(&mut self, global: &pw::registry::GlobalObject<&pw::spa::utils::dict::DictRef>) {
        let Some(props) = global.props else { return };
        let text = |key: &str| props.get(key).unwrap_or_default().to_owned();
        let number = |key: &str| text(key).parse().unwrap_or(u32::MAX);
        match global.type_ {
            ObjectType::Node => {
                let node = Node {
                    name: text("node.name"),
                    props: props
                        .iter()
                        .map(|(key, value)| (key.to_owned(), value.to_owned()))
                        .collect(),
                    state: String::new(),
                };
                self.nodes.insert(global.id, node);
                self.unbound.push(global.to_owned());
            }
            ObjectType::Port => {
                let port = Port {
                    node: number("node.id"),
                    output: text("port.direction") == "out",
                    name: text("port.name"),
                };
                self.ports.insert(global.id, port);
            }
            ObjectType::Link => {
                let link = Link {
                    output_node: number("link.output.node"),
                    input_node: number("link.input.node"),
                };
                self.links.insert(global.id, link);
            }
            _ => {}
        }
    }

    fn remove(&mut self, id: u32) -> Option<(NodeListener, Rc<NodeProxy>)> {
        self.nodes.remove(&id);
        self.ports.remove(&id);
        self.links.remove(&id);
        self.unbound.retain(|global| global.id != id);
        self.proxies.remove(&id)
    }
}
