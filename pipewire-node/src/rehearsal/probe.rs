//! Looks from outside whether a private server is up: its sockets answer, and the session manager has made its
//! metadata. Nothing here changes anything on the server.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use pipewire as pw;
use pw::context::ContextRc;
use pw::loop_::Timeout;
use pw::main_loop::MainLoopRc;
use pw::metadata::Metadata;
use pw::registry::RegistryRc;
use pw::types::ObjectType;

use super::RehearsalError;

/// What the server's `settings` metadata says, key by key.
pub(super) type Settings = HashMap<String, String>;

/// Waits until `default` metadata exists (WirePlumber has started) and gives the server's settings; nothing if the
/// deadline passed first. `on_wait` is called every few milliseconds and can end the wait with an error.
pub(super) fn wait_for_session_manager(
    socket: &Path,
    deadline: Instant,
    mut on_wait: impl FnMut() -> Result<(), RehearsalError>,
) -> Result<Option<Settings>, RehearsalError> {
    let Some(stream) = wait_for_socket(socket, deadline, &mut on_wait)? else {
        return Ok(None);
    };
    let (main_loop, registry) = connect(stream)?;

    let found = Rc::new(Cell::new(false));
    let bound = Rc::new(RefCell::new(None));
    let settings_id = Rc::new(Cell::new(None));
    let _listener = registry
        .add_listener_local()
        .global({
            let (found, settings_id, bound) = (found.clone(), settings_id.clone(), bound.clone());
            move |global| {
                if global.type_ != ObjectType::Metadata {
                    return;
                }
                match global.props.and_then(|props| props.get("metadata.name")) {
                    Some("default") => found.set(true),
                    Some("settings") => {
                        settings_id.set(Some(global.id));
                        *bound.borrow_mut() = Some(global.to_owned());
                    }
                    _ => {}
                }
            }
        })
        .register();

    let settings = Rc::new(RefCell::new(Settings::new()));
    let mut reader = None;
    loop {
        main_loop
            .loop_()
            .iterate(Timeout::Finite(Duration::from_millis(5)));
        on_wait()?;
        if let Some(global) = bound.borrow_mut().take() {
            let metadata: Metadata = registry
                .bind(&global)
                .map_err(RehearsalError::pipewire("reading the server's settings"))?;
            let into = settings.clone();
            let listener = metadata
                .add_listener_local()
                .property(move |_subject, key, _type, value| {
                    if let (Some(key), Some(value)) = (key, value) {
                        into.borrow_mut().insert(key.to_owned(), value.to_owned());
                    }
                    0
                })
                .register();
            reader = Some((listener, metadata));
        }
        // The settings come in one batch that begins with the log level.
        if found.get() && reader.is_some() && settings.borrow().contains_key("clock.max-quantum") {
            return Ok(Some(settings.take()));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
    }
}

/// Waits until a node named `name` has an output port; says whether it came before the deadline.
pub(super) fn wait_for_source(
    socket: &Path,
    name: &str,
    deadline: Instant,
) -> Result<bool, RehearsalError> {
    let stream = UnixStream::connect(socket).map_err(RehearsalError::io("connecting"))?;
    let (main_loop, registry) = connect(stream)?;
    let nodes = Rc::new(RefCell::new(HashSet::new()));
    let found = Rc::new(Cell::new(false));
    let _listener = registry
        .add_listener_local()
        .global({
            let (found, wanted) = (found.clone(), name.to_owned());
            move |global| {
                let Some(props) = global.props else { return };
                if global.type_ == ObjectType::Node && props.get("node.name") == Some(&wanted) {
                    nodes.borrow_mut().insert(global.id.to_string());
                }
                // A port is announced after its node.
                let of_it = || {
                    props
                        .get("node.id")
                        .is_some_and(|id| nodes.borrow().contains(id))
                };
                if global.type_ == ObjectType::Port
                    && props.get("port.direction") == Some("out")
                    && of_it()
                {
                    found.set(true);
                }
            }
        })
        .register();
    while !found.get() && Instant::now() < deadline {
        main_loop
            .loop_()
            .iterate(Timeout::Finite(Duration::from_millis(5)));
    }
    Ok(found.get())
}

fn connect(stream: UnixStream) -> Result<(MainLoopRc, RegistryRc), RehearsalError> {
    pw::init();
    let main_loop =
        MainLoopRc::new(None).map_err(RehearsalError::pipewire("making a main loop"))?;
    let registry = ContextRc::new(&main_loop, None)
        .and_then(|context| context.connect_fd_rc(stream.into(), None))
        .and_then(|core| core.get_registry_rc())
        .map_err(RehearsalError::pipewire("connecting to the private server"))?;
    Ok((main_loop, registry))
}

/// Waits until somebody listens on a Unix socket; nothing if the deadline passed first.
pub(super) fn wait_for_socket(
    socket: &Path,
    deadline: Instant,
    on_wait: &mut impl FnMut() -> Result<(), RehearsalError>,
) -> Result<Option<UnixStream>, RehearsalError> {
    loop {
        if let Ok(stream) = UnixStream::connect(socket) {
            return Ok(Some(stream));
        }
        on_wait()?;
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
