//! Whether the audio server refuses links that a client may not make, found by trying: without that, hiding a mic from a client
//! does not keep it off. For `truemute doctor`; the daemon does not need to know.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::{Duration, Instant};

use pipewire as pw;
use pw::client::Client;
use pw::context::ContextRc;
use pw::core::CoreRc;
use pw::loop_::Timeout;
use pw::main_loop::MainLoopRc;
use pw::node::Node;
use pw::permissions::{Permission, PermissionFlags};
use pw::properties::properties;
use pw::types::ObjectType;

/// How long the server may take for each answer.
const LIMIT: Duration = Duration::from_secs(5);

/// What the server does about links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkChecks {
    /// It refuses a link to a node that the listener's owner may not see.
    Refused,
    /// It makes it all the same: PipeWire before 0.3.77.
    Made,
    /// Not tried: an ordinary client, which this one is, may not make the nodes that it takes. The guard is in force.
    Guarded,
}

/// Tries it on the server that the environment leads to, with two connections and two nodes that nobody else links and that go
/// again at once. Blocks for a few round trips, 20 seconds at most.
///
/// # Errors
/// Why it cannot be told, as a sentence.
pub fn link_checks() -> Result<LinkChecks, String> {
    pw::init();
    let main_loop = MainLoopRc::new(None).map_err(failed)?;
    let context = ContextRc::new(&main_loop, None).map_err(failed)?;
    let judge = Connection::open(&main_loop, &context)?;
    let listener = Connection::open(&main_loop, &context)?;
    judge.wait()?;
    if !judge.seen.borrow().factories.contains("spa-node-factory") {
        return Ok(LinkChecks::Guarded);
    }
    let name = |side: &str| format!("truemute.probe.{}.{side}", std::process::id());
    let (output, input) = (name("output"), name("input"));
    let _output = judge.make_node("audiotestsrc", &output)?;
    let _input = listener.make_node("support.null-audio-sink", &input)?;
    listener.wait()?;
    judge.wait()?;
    let seen = |name: &str| {
        let seen = judge.seen.borrow();
        let node = seen.nodes.get(name).copied();
        node.ok_or_else(|| "The server did not make a node that was asked for.".to_owned())
    };
    let ((output, own), (input, owner)) = (seen(&output)?, seen(&input)?);
    // Without this proof, a link that fails for another reason would look like one that is refused.
    if !judge.links(output, input)? {
        return Err("The server did not make a link that it should have made.".to_owned());
    }
    judge.allow(output, PermissionFlags::empty(), owner)?;
    // Who may link whatever it sees (PW_PERM_L, given to all by WirePlumber 0.5.18) is asked no further.
    let usual = PermissionFlags::R | PermissionFlags::W | PermissionFlags::X | PermissionFlags::M;
    judge.allow(input, usual, own)?;
    Ok(match judge.links(output, input)? {
        true => LinkChecks::Made,
        false => LinkChecks::Refused,
    })
}

fn failed(error: pw::Error) -> String {
    format!("PipeWire cannot be asked: {error}.")
}

/// What the registry shows.
#[derive(Default)]
struct Seen {
    factories: std::collections::HashSet<String>,
    /// By name: id, and id of the owning client.
    nodes: HashMap<String, (u32, u32)>,
    clients: HashMap<u32, pw::registry::GlobalObject<pw::properties::PropertiesBox>>,
    /// By id: output node and input node.
    links: BTreeMap<u32, (u32, u32)>,
}

/// One client of the server.
struct Connection {
    // Dropped in this order: what uses the connection goes before it.
    _listeners: (pw::registry::Listener, pw::core::Listener),
    seen: Rc<RefCell<Seen>>,
    done: Rc<Cell<i32>>,
    registry: pw::registry::RegistryRc,
    core: CoreRc,
    main_loop: MainLoopRc,
}

impl Connection {
    fn open(main_loop: &MainLoopRc, context: &ContextRc) -> Result<Self, String> {
        let core = context.connect_rc(None).map_err(failed)?;
        let registry = core.get_registry_rc().map_err(failed)?;
        let seen = Rc::new(RefCell::new(Seen::default()));
        let globals = registry
            .add_listener_local()
            .global({
                let seen = seen.clone();
                move |global| seen.borrow_mut().add(global)
            })
            .global_remove({
                let seen = seen.clone();
                move |id| {
                    seen.borrow_mut().links.remove(&id);
                }
            })
            .register();
        let done = Rc::new(Cell::new(-1));
        let answers = core
            .add_listener_local()
            .done({
                let done = done.clone();
                move |_, sequence| done.set(sequence.seq())
            })
            .register();
        Ok(Self {
            _listeners: (globals, answers),
            seen,
            done,
            registry,
            core,
            main_loop: main_loop.clone(),
        })
    }

    /// Waits until the server has dealt with what this connection asked for, and told what came of it.
    fn wait(&self) -> Result<(), String> {
        // The first answer can come before an object that is made in several steps.
        for _ in 0..2 {
            let asked = self.core.sync(0).map_err(failed)?.seq();
            let deadline = Instant::now() + LIMIT;
            while self.done.get() != asked {
                if Instant::now() >= deadline {
                    return Err("The server does not answer.".to_owned());
                }
                let step = Timeout::Finite(Duration::from_millis(10));
                self.main_loop.loop_().iterate(step);
            }
        }
        Ok(())
    }

    /// A node with one port, without a class: no session manager touches it.
    fn make_node(&self, factory: &str, name: &str) -> Result<Node, String> {
        let properties = properties! {
            "factory.name" => factory,
            "library.name" => if factory == "audiotestsrc" { "audiotestsrc/libspa-audiotestsrc" } else { "support/libspa-support" },
            "node.name" => name,
            // Never runs: nodes that do were seen to crash PipeWire 1.6.9 as their link goes (audiotestsrc's timer goes on).
            "node.passive" => "true",
            "object.linger" => "false",
        };
        let node = self.core.create_object("spa-node-factory", &properties);
        node.map_err(failed)
    }

    /// Allows no more than `permissions` on `node` to client `whom`.
    fn allow(&self, node: u32, permissions: PermissionFlags, whom: u32) -> Result<(), String> {
        let seen = self.seen.borrow();
        let client = seen.clients.get(&whom);
        let client = client.ok_or("The server does not show a client of ours.")?;
        let client: Client = self.registry.bind(client).map_err(failed)?;
        drop(seen);
        client.update_permissions(&[Permission::new(node, permissions)]);
        self.wait()
    }

    /// Whether a link between the nodes can be made. It does not stay.
    fn links(&self, output: u32, input: u32) -> Result<bool, String> {
        let properties = properties! {
            "link.output.node" => output.to_string(),
            "link.input.node" => input.to_string(),
            "object.linger" => "false",
        };
        let link = self
            .core
            .create_object::<pw::link::Link>("link-factory", &properties);
        let link = link.map_err(failed)?;
        self.wait()?;
        let there = || {
            let seen = self.seen.borrow();
            seen.links.values().any(|nodes| *nodes == (output, input))
        };
        let made = there();
        if made {
            self.core.destroy_object(link).map_err(failed)?;
            self.wait()?;
        }
        Ok(made)
    }
}

impl Seen {
    fn add(&mut self, global: &pw::registry::GlobalObject<&pw::spa::utils::dict::DictRef>) {
        let Some(props) = global.props else { return };
        let number = |key: &str| props.get(key).and_then(|value| value.parse::<u32>().ok());
        match global.type_ {
            ObjectType::Factory => {
                self.factories
                    .extend(props.get("factory.name").map(str::to_owned));
            }
            ObjectType::Client => {
                self.clients.insert(global.id, global.to_owned());
            }
            ObjectType::Node => {
                if let (Some(name), Some(owner)) = (props.get("node.name"), number("client.id")) {
                    self.nodes.insert(name.to_owned(), (global.id, owner));
                }
            }
            ObjectType::Link => {
                if let (Some(output), Some(input)) =
                    (number("link.output.node"), number("link.input.node"))
                {
                    self.links.insert(global.id, (output, input));
                }
            }
            _ => {}
        }
    }
}
