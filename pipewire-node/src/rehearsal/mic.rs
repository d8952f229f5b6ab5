//! A simulated real mic: a null sink of the server's own that calls itself a source, drives the graph as hardware does,
//! can be suspended and unplugged, and plays a [`Signal`]. What feeds it ([`super::feeder`]) is passive.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::iter;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pipewire as pw;
use pw::context::ContextBox;
use pw::core::Core;
use pw::link::Link;
use pw::loop_::Timeout;
use pw::main_loop::MainLoopBox;
use pw::node::{Node, NodeState};
use pw::properties::properties;
use pw::registry::GlobalObject;
use pw::spa::utils::dict::DictRef;
use pw::types::ObjectType;

use super::feeder::Feeder;
use super::{PrivateServer, RehearsalError, Signal};

/// How long the server may take to make the mic and its links.
const START_LIMIT: Duration = Duration::from_secs(10);

/// What mic to simulate.
#[derive(Clone, Debug)]
pub struct MicOptions {
    /// `node.name`.
    pub name: String,
    /// Name for people.
    pub description: String,
    /// Channels, 1 to 8.
    pub channels: u32,
    /// What it plays.
    pub signal: Signal,
    /// Other signals that [`SimulatedMic::play`] can switch to.
    pub alternatives: Vec<Signal>,
    /// `priority.session`: among several mics the highest is the default.
    pub priority: u32,
    /// The latency that its ports tell, in nanoseconds.
    pub latency_ns: u32,
    /// More properties of its node.
    pub properties: Vec<(String, String)>,
}

impl Default for MicOptions {
    fn default() -> Self {
        Self {
            name: "simulated-mic".to_owned(),
            description: "Simulated Microphone".to_owned(),
            channels: 1,
            signal: Signal::Ramp { bits: 23 },
            alternatives: Vec::new(),
            priority: 2000,
            latency_ns: 0,
            properties: Vec::new(),
        }
    }
}

/// State of the mic's node, as the server tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MicState {
    /// Being made.
    Creating,
    /// Released: real hardware would be closed.
    Suspended,
    /// Open, nobody records.
    Idle,
    /// Somebody records.
    Running,
    /// Broken.
    Error,
}

/// A simulated mic. Dropping it unplugs it.
pub struct SimulatedMic {
    name: String,
    node_id: u32,
    state: Arc<Mutex<MicState>>,
    playing: Arc<AtomicUsize>,
    stop: pw::channel::Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl SimulatedMic {
    /// Plugs the mic in and returns when it is there, fed, and ready to be recorded from.
    ///
    /// # Errors
    /// The server refused something, or was not ready within 10 seconds.
    pub fn start(server: &PrivateServer, options: MicOptions) -> Result<Self, RehearsalError> {
        Self::plug(server.socket(), options)
    }

    /// [`SimulatedMic::start`] for a server of which only the socket is known.
    ///
    /// # Errors
    /// As [`SimulatedMic::start`].
    pub fn plug(socket: PathBuf, options: MicOptions) -> Result<Self, RehearsalError> {
        let state = Arc::new(Mutex::new(MicState::Creating));
        let playing = Arc::new(AtomicUsize::new(0));
        let (stop, stopped) = pw::channel::channel();
        let (report, ready) = mpsc::channel();
        let name = options.name.clone();
        let shared = Shared {
            state: state.clone(),
            playing: playing.clone(),
        };
        let thread = thread::Builder::new()
            .name("simulated-mic".to_owned())
            .spawn(move || {
                if let Err(error) = run(&socket, options, shared, stopped, &report) {
                    // Whoever waits for readiness gets the error; after that nobody does.
                    let _ = report.send(Err(error));
                }
            })
            .map_err(RehearsalError::io("starting the mic's thread"))?;
        let ended = || RehearsalError::Pipewire {
            doing: "running the simulated mic".to_owned(),
            reason: "its thread ended".to_owned(),
        };
        let node_id = ready.recv().map_err(|_| ended())??;
        Ok(Self {
            name,
            node_id,
            state,
            playing,
            stop,
            thread: Some(thread),
        })
    }

    /// `node.name`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The node's id on its server.
    pub fn node_id(&self) -> u32 {
        self.node_id
    }

    /// Plays signal number `index` from the next cycle on: 0 is `MicOptions::signal`, 1 the first alternative. A number
    /// that there is no signal for is silence.
    pub fn play(&self, index: usize) {
        self.playing.store(index, Ordering::Release);
    }

    /// The node's state now.
    pub fn state(&self) -> MicState {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits at most `limit` for a state; returns whether it came.
    pub fn wait_for_state(&self, wanted: MicState, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.state() != wanted {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(2));
        }
        true
    }
}

impl Drop for SimulatedMic {
    fn drop(&mut self) {
        // If the thread has ended by itself there is nobody to tell.
        let _ = self.stop.send(());
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed already.
            let _ = thread.join();
        }
    }
}

/// What the mic's owner and its thread share.
struct Shared {
    state: Arc<Mutex<MicState>>,
    playing: Arc<AtomicUsize>,
}

/// The mic's thread: makes everything, reports the node's id, and keeps it until `stopped` says something.
fn run(
    socket: &Path,
    options: MicOptions,
    shared: Shared,
    stopped: pw::channel::Receiver<()>,
    report: &mpsc::Sender<Result<u32, RehearsalError>>,
) -> Result<(), RehearsalError> {
    let failed = RehearsalError::pipewire::<pw::Error>;
    pw::init();
    let main_loop = MainLoopBox::new(None).map_err(failed("making a main loop"))?;
    // Without this name a client of PipeWire 0.3.65 gets no real-time thread (measured).
    let context = ContextBox::new(
        main_loop.loop_(),
        Some(properties! { "config.name" => "client-rt.conf" }),
    )
    .map_err(failed("making a context"))?;
    let stream = UnixStream::connect(socket).map_err(RehearsalError::io("connecting"))?;
    let core = context
        .connect_fd(stream.into(), None)
        .map_err(failed("connecting to the private server"))?;
    let trouble = Rc::new(RefCell::new(None));
    let _errors = core
        .add_listener_local()
        .error({
            let trouble = trouble.clone();
            move |id, _sequence, code, message| {
                // A link whose port has just gone is made anew; see `Wiring::mend`.
                if id == pw::core::PW_ID_CORE || code != -libc::ENOENT {
                    trouble.borrow_mut().get_or_insert(message.to_owned());
                }
            }
        })
        .register();
    let registry = core
        .get_registry()
        .map_err(failed("listing the private server"))?;
    let wiring = Rc::new(RefCell::new(Wiring::default()));
    let _globals = registry
        .add_listener_local()
        .global({
            let wiring = wiring.clone();
            move |global| wiring.borrow_mut().add(global)
        })
        .global_remove({
            let wiring = wiring.clone();
            move |id| wiring.borrow_mut().remove(id)
        })
        .register();

    let node = make_node(&core, &options)?;
    let node_id = Rc::new(Cell::new(None));
    let _node_events = node
        .add_listener_local()
        .info({
            let (state, node_id) = (shared.state, node_id.clone());
            move |info| {
                node_id.set(Some(info.id()));
                *state.lock().unwrap_or_else(PoisonError::into_inner) = match info.state() {
                    NodeState::Creating => MicState::Creating,
                    NodeState::Suspended => MicState::Suspended,
                    NodeState::Idle => MicState::Idle,
                    NodeState::Running => MicState::Running,
                    NodeState::Error(_) => MicState::Error,
                };
            }
        })
        .register();
    let feeder = Feeder::new(
        &core,
        &format!("{}.feeder", options.name),
        options.channels,
        options.latency_ns,
        iter::once(options.signal)
            .chain(options.alternatives)
            .collect(),
        shared.playing,
    )?;

    let deadline = Instant::now() + START_LIMIT;
    let mut reported = false;
    let mut links = Vec::new();
    let stop = Rc::new(Cell::new(false));
    let _stopped = stopped.attach(main_loop.loop_(), {
        let stop = stop.clone();
        move |()| stop.set(true)
    });
    while !stop.get() {
        // Everything below follows from events; only the deadline does not.
        main_loop.loop_().iterate(if reported {
            Timeout::Infinite
        } else {
            Timeout::Finite(Duration::from_millis(20))
        });
        let (Some(mic), Some(source)) = (node_id.get(), feeder.node_id()) else {
            continue;
        };
        let wired = wiring
            .borrow_mut()
            .mend(&core, source, mic, options.channels, &mut links)?;
        if reported {
            continue;
        }
        if wired {
            let _ = report.send(Ok(mic));
            reported = true;
        } else if let Some(reason) = trouble.take() {
            return Err(failed_with(reason));
        } else if Instant::now() >= deadline {
            return Err(failed_with("no answer in time".to_owned()));
        }
    }
    Ok(())
}

fn failed_with(reason: String) -> RehearsalError {
    RehearsalError::Pipewire {
        doing: "plugging in the simulated mic".to_owned(),
        reason,
    }
}

fn make_node(core: &Core, options: &MicOptions) -> Result<Node, RehearsalError> {
    const POSITIONS: [&str; 8] = ["FL", "FR", "FC", "LFE", "RL", "RR", "SL", "SR"];
    let channels = options.channels as usize;
    let positions = match channels {
        1 => "MONO".to_owned(),
        2..=8 => POSITIONS[..channels].join(","),
        _ => return Err(failed_with(format!("{channels} channels are not possible"))),
    };
    let mut node = properties! {
        "factory.name" => "support.null-audio-sink",
        "node.name" => options.name.as_str(),
        "node.description" => options.description.as_str(),
        "media.class" => "Audio/Source/Virtual",
        "audio.channels" => channels.to_string(),
        "audio.position" => format!("[{positions}]"),
        "priority.session" => options.priority.to_string(),
        "priority.driver" => options.priority.to_string(),
        // So that its capture ports tell the feeder's latency, which PipeWire 0.3.65 does anyway.
        "monitor.passthrough" => "true",
        // It paces the graph as a sound card would.
        "node.driver" => "true",
        "object.linger" => "false",
    };
    for (key, value) in &options.properties {
        node.insert(key.as_str(), value.as_str());
    }
    core.create_object("adapter", &node)
        .map_err(RehearsalError::pipewire::<pw::Error>(
            "making the simulated mic",
        ))
}

/// Ports and links as the registry shows them.
#[derive(Default)]
struct Wiring {
    /// Ports by id: node, and number of the port in its direction.
    inputs: BTreeMap<u32, (u32, u32)>,
    outputs: BTreeMap<u32, (u32, u32)>,
    /// Links by id: output port, input port.
    links: BTreeMap<u32, (u32, u32)>,
    /// Asked for and not seen yet.
    pending: HashSet<(u32, u32)>,
}

impl Wiring {
    fn add(&mut self, global: &GlobalObject<&DictRef>) {
        let Some(props) = global.props else { return };
        let number = |key: &str| props.get(key).and_then(|value| value.parse::<u32>().ok());
        match global.type_ {
            ObjectType::Port => {
                let (Some(node), Some(port)) = (number("node.id"), number("port.id")) else {
                    return;
                };
                match props.get("port.direction") {
                    Some("in") => self.inputs.insert(global.id, (node, port)),
                    Some("out") => self.outputs.insert(global.id, (node, port)),
                    _ => None,
                };
            }
            ObjectType::Link => {
                if let (Some(output), Some(input)) =
                    (number("link.output.port"), number("link.input.port"))
                {
                    self.pending.remove(&(output, input));
                    self.links.insert(global.id, (output, input));
                }
            }
            _ => {}
        }
    }

    fn remove(&mut self, id: u32) {
        self.inputs.remove(&id);
        self.outputs.remove(&id);
        self.links.remove(&id);
        let (inputs, outputs) = (&self.inputs, &self.outputs);
        self.pending
            .retain(|(output, input)| outputs.contains_key(output) && inputs.contains_key(input));
    }

    /// Makes the links that are missing between the feeder (`source`) and the mic; says whether all are there.
    fn mend(
        &mut self,
        core: &Core,
        source: u32,
        mic: u32,
        channels: u32,
        made: &mut Vec<Link>,
    ) -> Result<bool, RehearsalError> {
        let port = |ports: &BTreeMap<u32, (u32, u32)>, node, channel| {
            ports
                .iter()
                .find(|(_, place)| **place == (node, channel))
                .map(|(id, _)| *id)
        };
        let mut there = 0;
        for channel in 0..channels {
            let pair = (
                port(&self.outputs, source, channel),
                port(&self.inputs, mic, channel),
            );
            let (Some(output), Some(input)) = pair else {
                continue;
            };
            if self.links.values().any(|link| *link == (output, input)) {
                there += 1;
            } else if self.pending.insert((output, input)) {
                made.push(make_link(core, (source, output), (mic, input))?);
            }
        }
        Ok(there == channels)
    }
}

fn make_link(core: &Core, from: (u32, u32), to: (u32, u32)) -> Result<Link, RehearsalError> {
    core.create_object(
        "link-factory",
        &properties! {
            "link.output.node" => from.0.to_string(),
            "link.output.port" => from.1.to_string(),
            "link.input.node" => to.0.to_string(),
            "link.input.port" => to.1.to_string(),
            // The mic must be able to go idle and be suspended while nobody records.
            "link.passive" => "true",
            "object.linger" => "false",
        },
    )
    .map_err(RehearsalError::pipewire::<pw::Error>(
        "feeding the simulated mic",
    ))
}
