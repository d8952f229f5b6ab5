//! The backend's thread: connects, publishes the virtual mic, and then runs the main loop until told to stop. What it does
//! on each turn of the loop is in [`super::turn`].

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    os::fd::{AsFd, AsRawFd, RawFd},
    path::PathBuf,
    rc::Rc,
    sync::{Arc, mpsc::SyncSender},
    time::{Duration, Instant},
};

use pipewire::{
    context::ContextRc, core::CoreRc, main_loop::MainLoopRc, properties::PropertiesBox,
    spa::support::system::IoFlags,
};
use truemute_core::{gate::Gate, ledger::Ledger, observed::Event};

use super::{
    Command, Failure, Options, ServerFacts,
    clients::Clients,
    clock::wall_ns,
    data_loop::DataLoop,
    following::{Facts, follow},
    inbox::{Inbox, Note},
    mic::channels_of,
    plan::Plan,
    server,
    turn::{Engine, Parts},
};
use crate::{
    graph::{model::Model, watch::Watch},
    guard::{Guard, Silence},
    monotonic::monotonic_ns,
    sample::{Channel, Progress, SamplePath},
    who::system::System,
};

/// The longest that a step of the start may take.
const STEP: Duration = Duration::from_secs(5);
/// How long the start waits for a real mic, so that the virtual one gets its channels.
const MIC_GRACE: Duration = Duration::from_millis(500);

/// Runs the backend. `ready` gets the server's facts once clients can find the virtual mic, or why not.
pub(super) fn run(
    options: Options,
    gate: Arc<Gate>,
    receiver: pipewire::channel::Receiver<Command>,
    events: Box<dyn Fn(Event)>,
    ready: SyncSender<Result<ServerFacts, Failure>>,
) {
    let stage = match Stage::set_up(&options) {
        Ok(stage) => stage,
        Err(failure) => {
            let _ = ready.send(Err(failure));
            return;
        }
    };
    let facts = stage.facts.borrow().clone();
    if !facts.fit() {
        let _ = ready.send(Err(Failure::Mismatch {
            library: facts.library,
            server: facts.version,
        }));
        return;
    }
    let (engine, path_facts) = match stage.publish(options, gate, events) {
        Ok(made) => made,
        Err(failure) => {
            let _ = ready.send(Err(failure));
            return;
        }
    };
    let main_loop = stage.main_loop.clone();
    let loop_ = main_loop.loop_();
    let inbox = stage.inbox.clone();
    let _commands = receiver.attach(loop_, {
        let inbox = inbox.clone();
        move |command| inbox.put(Note::Command(command))
    });
    let engine = Rc::new(RefCell::new(engine));
    inbox.on_peer({
        let engine = Rc::downgrade(&engine);
        // A turn under way takes it as a note.
        move |side, change| {
            let Some(engine) = engine.upgrade() else {
                return Err(change);
            };
            let Ok(mut engine) = engine.try_borrow_mut() else {
                return Err(change);
            };
            engine.peer(side, change);
            Ok(())
        }
    });
    let take_turn = {
        let (engine, main_loop) = (engine.clone(), main_loop.clone());
        // Not re-entered: nothing that a turn calls dispatches the loop.
        Rc::new(move || {
            if engine.borrow_mut().turn() {
                main_loop.quit();
            }
        })
    };
    let sources: Vec<RawFd> = {
        let engine = engine.borrow();
        let always = [
            inbox.as_fd(),
            engine.progress().as_fd(),
            engine.timer().as_fd(),
        ];
        let all = always.into_iter().chain(engine.device_opened());
        all.chain(engine.mics_listed())
            .map(|fd| fd.as_raw_fd())
            .collect()
    };
    let _sources: Vec<_> = sources
        .into_iter()
        .map(|fd| {
            let take_turn = take_turn.clone();
            loop_.add_io(Descriptor(fd), IoFlags::IN, move |_| take_turn())
        })
        .collect();
    let _ = ready.send(Ok(ServerFacts {
        realtime: path_facts,
        ..facts
    }));
    inbox.ask();
    main_loop.run();
    // Whoever mutes a mic and goes must unmute it: the daemon's end is not its user's wish to be mute.
    if engine.borrow_mut().let_mics_go() && stage.round_trip().is_ok() {
        engine.borrow_mut().let_mics_go();
    }
}

/// Unmutes the real mics that a virtual mic which did not end in order has left mute, as `muted_mics` lists them
/// ([`Options::muted_mics`]), on the session's own server. For when none runs. Says whether none is left: one that is not
/// plugged in stays in the list. Waits a few seconds at most.
///
/// # Errors
/// No server answers.
pub fn give_mics_back(muted_mics: PathBuf) -> Result<bool, Failure> {
    let mut silence = Silence::remembered(Some(muted_mics));
    if !silence.holds_any() {
        return Ok(true);
    }
    let stage = Stage::set_up(&Options::default())?;
    // Asked in the first round, answered before the second.
    for _ in 0..2 {
        let model = stage.model.borrow();
        for order in silence.keep(&BTreeSet::new(), &model, monotonic_ns()) {
            stage.watch.mute(order.node, order.muted, &model);
        }
        drop(model);
        stage.round_trip()?;
    }
    silence.settle();
    Ok(!silence.holds_any())
}

/// A descriptor that somebody else owns, for as long as the loop watches it.
struct Descriptor(RawFd);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

/// The connection before the virtual mic is on it.
struct Stage {
    // Order of drop: what uses the connection goes before it.
    watch: Rc<Watch>,
    model: Rc<RefCell<Model>>,
    inbox: Rc<Inbox>,
    facts: Rc<RefCell<ServerFacts>>,
    _core_listener: pipewire::core::Listener,
    core: CoreRc,
    context: ContextRc,
    main_loop: MainLoopRc,
}

impl Stage {
    fn set_up(options: &Options) -> Result<Self, Failure> {
        pipewire::init();
        let refused = |error: pipewire::Error| Failure::Refused(error.to_string());
        let main_loop = MainLoopRc::new(None).map_err(refused)?;
        enter(&main_loop);
        let context = server::context(&main_loop).map_err(refused)?;
        if let Some(setting) = server::other_data_loops(&context) {
            return Err(Failure::Refused(format!(
                "its configuration for clients (client.conf) has `{setting}`, and TrueMute needs one data loop"
            )));
        }
        let mut properties = PropertiesBox::new();
        properties.insert("application.name", "TrueMute");
        properties.insert("application.id", "truemute");
        if let Some(remote) = &options.remote {
            properties.insert("remote.name", remote.as_str());
        }
        let core = context.connect_rc(Some(properties)).map_err(|_| {
            Failure::Unreachable(format!("no server answers at {}", remote_name(options)))
        })?;
        let inbox = Inbox::new().map_err(|error| Failure::Refused(error.to_string()))?;
        let facts = Rc::new(RefCell::new(ServerFacts {
            library: server::library_version(),
            ..ServerFacts::default()
        }));
        let core_listener = core
            .add_listener_local()
            .info({
                let facts = facts.clone();
                move |info| {
                    let mut facts = facts.borrow_mut();
                    facts.version = info.version().to_owned();
                    facts.name = info.name().to_owned();
                    let property = |key| info.props().and_then(|props| props.get(key));
                    facts.process =
                        property("application.process.id").and_then(|it| it.parse().ok());
                    facts.rate = property("default.clock.rate").and_then(|it| it.parse().ok());
                }
            })
            .error({
                let inbox = inbox.clone();
                move |id, _seq, result, message| {
                    if ends_connection(id, result) {
                        let why = std::io::Error::from_raw_os_error(result.wrapping_neg());
                        inbox.put(Note::Lost(format!("{message} ({why})")));
                    } else {
                        tracing::debug!(id, result, message, "the server reports an error");
                    }
                }
            })
            .register();
        let model = Rc::new(RefCell::new(Model::default()));
        let changed = {
            let inbox = inbox.clone();
            Rc::new(move || inbox.ask())
        };
        let watch = Rc::new(Watch::start(&core, model.clone(), changed).map_err(refused)?);
        let stage = Self {
            watch,
            model,
            inbox,
            facts,
            _core_listener: core_listener,
            core,
            context,
            main_loop,
        };
        // The first answer brings the globals, the second what was bound because of them.
        for _ in 0..2 {
            stage.round_trip()?;
        }
        Ok(stage)
    }

    /// Waits until the server has answered everything that was asked so far.
    fn round_trip(&self) -> Result<(), Failure> {
        let done = Rc::new(Cell::new(false));
        let pending = self
            .core
            .sync(0)
            .map_err(|error| Failure::Unreachable(error.to_string()))?;
        let _listener = self
            .core
            .add_listener_local()
            .done({
                let (done, inbox) = (done.clone(), self.inbox.clone());
                move |id, seq| {
                    if id == 0 && seq == pending {
                        done.set(true);
                        inbox.ask();
                    }
                }
            })
            .register();
        if self.wait(STEP, || done.get()) {
            Ok(())
        } else {
            Err(Failure::Unreachable(format!(
                "the server did not answer within {} s",
                STEP.as_secs()
            )))
        }
    }

    /// Runs the loop until `reached` says so or the time is over.
    fn wait(&self, limit: Duration, reached: impl Fn() -> bool) -> bool {
        let deadline = Instant::now() + limit;
        while !reached() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            self.main_loop
                .loop_()
                .iterate(pipewire::loop_::Timeout::Finite(
                    left.min(Duration::from_millis(20)),
                ));
        }
        true
    }

    fn publish(
        &self,
        options: Options,
        gate: Arc<Gate>,
        events: Box<dyn Fn(Event)>,
    ) -> Result<(Engine, Option<i32>), Failure> {
        let channels = self.channels(&options);
        let instance = wall_ns();
        // It comes by way of the stack and is half a megabyte. A thread's stack is given back when the thread ends; on this
        // one the memory would stay in use for as long as the daemon runs.
        let ledger = std::thread::spawn(move || Arc::new(Ledger::new(instance)))
            .join()
            .map_err(|_| Failure::Ended)?;
        let progress = Progress::new().map_err(|error| Failure::Refused(error.to_string()))?;
        let plan = Plan {
            core: self.core.clone(),
            inbox: self.inbox.clone(),
            gate: gate.clone(),
            progress: Arc::new(progress),
            ledger: ledger.clone(),
        };
        let (path, trace) = plan.build(channels).map_err(Failure::Refused)?;
        let visible = self.wait(STEP, || {
            let model = self.model.borrow();
            let ports = |node: Option<u32>, output| {
                node.is_some_and(|node| {
                    let there = if output {
                        model.capture_ports(node).len()
                    } else {
                        model.input_ports(node).len()
                    };
                    there >= path.channels().len()
                })
            };
            ports(path.source_node(), true) && ports(path.capture_node(), false)
        });
        if !visible {
            return Err(Failure::Refused(
                "the session manager did not set up the node within 5 s; is WirePlumber running?"
                    .into(),
            ));
        }
        path.show_muted(true);
        let world = System::new(self.own_pid(&path).as_deref());
        let data_loop = DataLoop::new(self.context.clone(), path.cycle());
        let realtime = data_loop.run(|_| server::realtime_priority()).flatten();
        let guard = Guard::new(&options, world, &self.facts.borrow());
        let engine = Engine::new(Parts {
            options,
            guard,
            plan,
            watch: self.watch.clone(),
            model: self.model.clone(),
            clients: Clients::new(ledger, world),
            trace,
            data_loop,
            path,
            events,
        })
        .map_err(|error| Failure::Refused(error.to_string()))?;
        Ok((engine, realtime))
    }

    /// The channels that the virtual mic gets: those asked for, else the real mic's, else two.
    fn channels(&self, options: &Options) -> Vec<Channel> {
        if let Some(count) = options.channels {
            return Channel::standard(count as usize);
        }
        let channels = RefCell::new(Vec::new());
        self.wait(MIC_GRACE, || {
            let model = self.model.borrow();
            if let Some(mic) = follow(Facts::of(&model, None).graph(), &model, options) {
                *channels.borrow_mut() = channels_of(&model, mic);
            }
            !channels.borrow().is_empty()
        });
        let channels = channels.into_inner();
        if channels.is_empty() {
            Channel::standard(2)
        } else {
            channels
        }
    }

    /// The pid that the server gives for our own connection.
    fn own_pid(&self, path: &SamplePath) -> Option<String> {
        let model = self.model.borrow();
        let client = model.nodes.get(&path.source_node()?)?.client()?;
        model
            .clients
            .get(&client)?
            .get("pipewire.sec.pid")
            .map(str::to_owned)
    }
}

/// Whether an error is the end of the connection. After any error in reading or writing, libpipewire gives the socket up and
/// reports it for object 0; what it gives is the error, EPROTO where descriptors came with a message and this process could
/// have no more of them (`on_remote_data` and `refill_buffer` in src/modules/module-protocol-native*). Of the server, ENOENT
/// for that object means only that a request came after its object had gone; what else it reports there refuses us as a whole.
/// Errors of other objects concern one request.
fn ends_connection(id: u32, result: i32) -> bool {
    id == 0 && result != -libc::ENOENT
}

/// Makes this thread the loop's own already while the start only iterates it: a loop that nobody has entered lets other
/// threads run its callbacks (spa/support/loop.h, `enter`). It is left when the thread ends.
fn enter(main_loop: &MainLoopRc) {
    // SAFETY: the loop lives, and its control interface is set up when it is made; enters nest.
    unsafe {
        let mut control = (*main_loop.loop_().as_raw().control).iface;
        pipewire::spa::spa_interface_call_method!(
            &mut control as *mut pipewire::spa::sys::spa_interface,
            pipewire::spa::sys::spa_loop_control_methods,
            enter,
        );
    }
}

fn remote_name(options: &Options) -> String {
    options
        .remote
        .clone()
        .or_else(|| std::env::var("PIPEWIRE_REMOTE").ok())
        .unwrap_or_else(|| "pipewire-0".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_connection_ends_it_and_one_of_a_request_does_not() {
        for lost in [libc::EPIPE, libc::EPROTO, libc::ECONNRESET, libc::ENOMEM] {
            assert!(ends_connection(0, -lost));
            assert!(!ends_connection(7, -lost));
        }
        assert!(!ends_connection(0, -libc::ENOENT));
    }
}
