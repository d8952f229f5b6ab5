//! What any client can see of all the others without recording a sample: every object of the graph, its properties,
//! params and state, and when each changes. Seen by `pw-dump --monitor`, and stripped of what differs from run to run
//! by its nature: numbers of objects and processes, and times.

use std::collections::{BTreeMap, HashMap};
use std::process::{ChildStdout, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use serde_json::{Map, Value};
use truemute_pipewire::rehearsal::{PrivateServer, Program};

use crate::recorder::wait_until;
use crate::stage::LIMIT;

/// A running `pw-dump --monitor`. Dropping it ends it.
pub struct Onlooker<'a> {
    server: &'a PrivateServer,
    _program: Program,
    seen: Arc<Mutex<Seen>>,
}

/// What was read so far.
#[derive(Default)]
struct Seen {
    /// With the object's number, which may be given to another object later.
    sightings: Vec<(u64, Sighting)>,
    /// What the numbers of the graph's objects mean now.
    names: HashMap<u64, String>,
    /// Why there is no more.
    end: Option<String>,
}

/// Something that an onlooker was told.
#[derive(Clone, Debug, PartialEq)]
pub struct Sighting {
    /// Of what: a name that is the same in another run.
    pub object: String,
    /// Everything about it, or null when it went.
    pub state: Value,
}

/// A place among the sightings.
#[derive(Clone, Copy, Debug)]
pub struct Mark(usize);

/// A client that comes and goes to mark a place.
const MARKER: &str = "pw-mon";

impl<'a> Onlooker<'a> {
    /// Begins to look, and has seen everything there is when this returns.
    ///
    /// # Panics
    /// If `pw-dump` does not run.
    pub fn start(server: &'a PrivateServer) -> Self {
        let mut command = server.own_command("pw-dump");
        command.args(["--monitor", "--no-colors"]);
        command.stdout(Stdio::piped());
        let mut program = Program::start(command).expect("pw-dump can be started");
        let output = program.child().stdout.take().expect("it has a pipe");
        let seen = Arc::<Mutex<Seen>>::default();
        thread::spawn({
            let seen = seen.clone();
            move || read(output, &seen)
        });
        let onlooker = Self {
            server,
            _program: program,
            seen,
        };
        onlooker.mark();
        onlooker
    }

    /// Waits until everything has been seen that has happened by now.
    ///
    /// # Panics
    /// If that does not come.
    pub fn mark(&self) -> Mark {
        let mut command = self.server.own_command(MARKER);
        command.stdout(Stdio::null());
        let marker = Program::start(command).expect("pw-mon can be started");
        // `pw-dump` tells of a new object together with all changes until then, but of one that went at once.
        self.wait_for_marker(true);
        drop(marker);
        self.wait_for_marker(false);
        Mark(self.lock().sightings.len())
    }

    fn wait_for_marker(&self, there: bool) {
        let seen = wait_until(LIMIT, || {
            self.lock().names.values().any(|name| is_marker(name)) == there
        });
        let end = &self.lock().end;
        assert!(
            seen,
            "the onlooker does not see that a client came or went: {end:?}"
        );
    }

    /// What was seen from `start` to `end`, in its order, less the marks themselves.
    pub fn between(&self, start: Mark, end: Mark) -> Vec<Sighting> {
        let all = self.numbered(start, end).into_iter();
        all.map(|(_, sighting)| sighting).collect()
    }

    /// The last state of everything that was seen so far, as [`Self::at`] gives it.
    pub fn all(&self) -> BTreeMap<String, Vec<Value>> {
        let end = Mark(self.lock().sightings.len());
        self.at(end)
    }

    /// The last state of everything that was there at `mark`; several objects can have one name.
    pub fn at(&self, mark: Mark) -> BTreeMap<String, Vec<Value>> {
        let mut there = BTreeMap::new();
        for (id, sighting) in self.numbered(Mark(0), mark) {
            if sighting.state.is_null() {
                there.remove(&id);
            } else {
                there.insert(id, sighting);
            }
        }
        let mut objects: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for Sighting { object, state } in there.into_values() {
            objects.entry(object).or_default().push(state);
        }
        for states in objects.values_mut() {
            states.sort_by_key(Value::to_string);
        }
        objects
    }

    fn numbered(&self, start: Mark, end: Mark) -> Vec<(u64, Sighting)> {
        let seen = self.lock();
        let sightings = seen.sightings[start.0..end.0].iter();
        sightings
            .filter(|(_, it)| !is_marker(&it.object))
            .cloned()
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_marker(object: &str) -> bool {
    object == format!("Client {MARKER}")
}

/// `pw-dump` writes an array of objects for each burst of changes.
fn read(output: ChildStdout, seen: &Mutex<Seen>) {
    for objects in serde_json::Deserializer::from_reader(output).into_iter::<Vec<Value>>() {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        match objects {
            Ok(objects) => objects.into_iter().for_each(|object| seen.add(object)),
            Err(error) => seen.end = Some(error.to_string()),
        }
    }
}

impl Seen {
    fn add(&mut self, mut state: Value) {
        let id = state["id"].as_u64().unwrap_or_default();
        let sighting = if state.get("info").is_some_and(Value::is_null) {
            Sighting {
                object: self.names.remove(&id).unwrap_or_default(),
                state: Value::Null,
            }
        } else {
            let object = name_of(&state, &self.names);
            self.names.insert(id, object.clone());
            if let Some(info) = state["info"].as_object_mut()
                && object.starts_with("Link ")
            {
                // A link knows its format only if it was the one that set it: of two links to a port, the first
                // (`do_negotiate`, src/pipewire/impl-link.c). The ports tell it in any case.
                info.remove("format");
            }
            strip(&mut state, &self.names);
            Sighting { object, state }
        };
        self.sightings.push((id, sighting));
    }
}

fn name_of(value: &Value, names: &HashMap<u64, String>) -> String {
    let kind = value["type"].as_str().unwrap_or_default();
    let kind = kind.rsplit(':').next().unwrap_or_default();
    let info = &value["info"];
    let either = |key: &str| [&info["props"][key], &value["props"][key]].map(Value::as_str);
    let text = |key: &str| either(key).into_iter().flatten().next().unwrap_or("?");
    let named = |id: &Value| {
        let id = id.as_u64().unwrap_or(u64::MAX);
        names.get(&id).map_or("?", String::as_str)
    };
    match kind {
        "Node" => format!("Node {}", text("node.name")),
        "Port" => format!(
            "Port {} of {}",
            text("port.name"),
            named(&info["props"]["node.id"])
        ),
        "Link" => format!(
            "Link from {} to {}",
            named(&info["output-port-id"]),
            named(&info["input-port-id"])
        ),
        "Client" => format!("Client {}", text("application.name")),
        "Metadata" => format!("Metadata {}", text("metadata.name")),
        "Module" => format!("Module {}", text("module.name")),
        "Factory" => format!("Factory {}", text("factory.name")),
        other => other.to_owned(),
    }
}

/// Takes out numbers of objects, processes and times, and puts names in where a number is all there is.
fn strip(value: &mut Value, names: &HashMap<u64, String>) {
    match value {
        Value::Object(map) => {
            name_subject(map, names);
            map.retain(|key, _| !differs_by_nature(key));
            map.values_mut().for_each(|it| strip(it, names));
        }
        Value::Array(items) => {
            items.retain(|item| !is_bookkeeping(item));
            items.iter_mut().for_each(|it| strip(it, names));
        }
        _ => {}
    }
}

/// An entry of a metadata object says by number what it is about.
fn name_subject(map: &mut Map<String, Value>, names: &HashMap<u64, String>) {
    if let Some(subject) = map.get_mut("subject")
        && let Some(name) = subject.as_u64().and_then(|id| names.get(&id))
    {
        *subject = Value::String(name.clone());
    }
}

/// An entry of WirePlumber's metadata that says which stream follows which default. When it comes to be is a matter of
/// who was first.
fn is_bookkeeping(item: &Value) -> bool {
    let key = item["key"].as_str();
    item["subject"].is_u64() && matches!(key, Some("target.node" | "target.object"))
}

fn differs_by_nature(key: &str) -> bool {
    const KEYS: [&str; 22] = [
        "id",
        "object.id",
        "object.serial",
        "client.id",
        "node.id",
        "factory.id",
        "module.id",
        "device.id",
        "cookie",
        "application.process.id",
        "pipewire.sec.pid",
        "output-node-id",
        "output-port-id",
        "input-node-id",
        "input-port-id",
        "object.path",
        // Names that end in a process id.
        "core.name",
        "node.group",
        "node.link-group",
        // Which changes came in one message.
        "change-mask",
        // In the order in which WirePlumber's parts came up.
        "session.services",
        // The driver that a node had when this was last told, on the way there.
        "node.driver-id",
    ];
    KEYS.contains(&key) || key.starts_with("link.output.") || key.starts_with("link.input.")
}
