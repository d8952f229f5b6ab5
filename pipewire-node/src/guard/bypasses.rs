//! The bypasses over time: who each is, since when, for how long sound could flow, and how it ended. Who is reached comes from
//! [`super::reach`]; nothing here acts on anybody.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use truemute_core::observed::{Bypass, ClientState, Countermeasure, Identity};

use super::reach::Reached;
use crate::{
    graph::{
        choose::NamePattern,
        model::{Model, Node, NodeState},
    },
    who::{Claims, Who, identify, system::System},
};

/// Ended ones that wait to be fetched, at most; the oldest go first.
const GONE_AT_MOST: usize = 4096;

/// The moment of a look.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Now {
    /// Monotonic clock, nanoseconds.
    pub(crate) monotonic_ns: u64,
    /// Wall clock, nanoseconds since 1970.
    pub(crate) wall_ns: u64,
}

/// All bypasses, and the trusted programs that read a real mic.
pub(crate) struct Bypasses {
    world: System,
    trusted: Vec<NamePattern>,
    there: BTreeMap<Key, Entry>,
    /// Those that were cut off and may come back: then it is the same one.
    resting: BTreeMap<Key, Entry>,
    gone: Vec<Bypass>,
    next_id: u64,
}

/// A node and the mic that it hears. The server gives a node's id again at once, its serial never.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    node: u32,
    serial: String,
    mic: u32,
}

struct Entry {
    claims: Claims,
    trusted: bool,
    record: Bypass,
    /// Since when it runs, monotonic nanoseconds.
    runs_since_ns: Option<u64>,
}

impl Bypasses {
    /// `trusted`: paths of executables (with a slash) or node names.
    pub(crate) fn new(world: System, trusted: &[String]) -> Self {
        Self {
            world,
            trusted: trusted.iter().cloned().map(NamePattern).collect(),
            there: BTreeMap::new(),
            resting: BTreeMap::new(),
            gone: Vec::new(),
            next_id: 1,
        }
    }

    /// Takes over who is reached now.
    pub(crate) fn update(&mut self, reached: &[Reached], model: &Model, now: Now, rate: u32) {
        let mut seen = BTreeSet::new();
        for it in reached {
            let (Some(node), Some(mic)) = (model.nodes.get(&it.node), model.nodes.get(&it.mic))
            else {
                continue;
            };
            let key = Key {
                node: it.node,
                serial: node.prop("object.serial").to_owned(),
                mic: it.mic,
            };
            let name = |id: &u32| {
                let node = model.nodes.get(id);
                node.map_or_else(String::new, |node| node.prop("node.name").to_owned())
            };
            let way = Way {
                real_mic: mic.prop("node.name").to_owned(),
                through: it.through.iter().map(name).collect(),
            };
            self.see(&key, node, model, way, now, rate);
            seen.insert(key);
        }
        let ended: Vec<Key> = self
            .there
            .keys()
            .filter(|key| !seen.contains(key))
            .cloned()
            .collect();
        for key in ended {
            if let Some(entry) = self.there.remove(&key) {
                self.end(key, entry, now, rate);
            }
        }
        self.resting.retain(|key, _| {
            let node = model.nodes.get(&key.node);
            node.is_some_and(|node| node.prop("object.serial") == key.serial)
        });
    }

    /// Those of `reached` that nobody trusts.
    pub(crate) fn untrusted<'a>(&self, reached: &'a [Reached]) -> Vec<&'a Reached> {
        let trusted = |it: &Reached| {
            let of = |(key, entry): (&Key, &Entry)| (key.node == it.node).then_some(entry.trusted);
            self.there.iter().find_map(of).unwrap_or(false)
        };
        reached.iter().filter(|it| !trusted(it)).collect()
    }

    /// Whether this node may read a real mic.
    pub(crate) fn trusts(&self, node: &Node, model: &Model) -> bool {
        let who = identify(&Claims::of(node, model), &self.world);
        is_trusted(&self.trusted, node, &who)
    }

    /// The way to these nodes was cut.
    pub(crate) fn were_cut(&mut self, nodes: &BTreeSet<u32>) {
        for (key, entry) in &mut self.there {
            if nodes.contains(&key.node) {
                entry.record.done = Countermeasure::Cut;
                entry.record.cuts += 1;
            }
        }
    }

    fn see(&mut self, key: &Key, node: &Node, model: &Model, way: Way, now: Now, rate: u32) {
        let claims = Claims::of(node, model);
        if let Some(entry) = self.there.get_mut(key) {
            // Properties come in several messages; who it is may turn out later.
            if entry.claims != claims {
                let who = identify(&claims, &self.world);
                entry.trusted = is_trusted(&self.trusted, node, &who);
                entry.record.who = who;
                entry.claims = claims;
            }
        } else if let Some(mut entry) = self.resting.remove(key) {
            self.gone.retain(|bypass| bypass.id != entry.record.id);
            entry.record.until_ns = None;
            self.there.insert(key.clone(), entry);
        } else {
            let who = identify(&claims, &self.world);
            let id = self.number();
            let entry = Entry {
                trusted: is_trusted(&self.trusted, node, &who),
                record: record(id, who, now.wall_ns),
                claims,
                runs_since_ns: None,
            };
            self.there.insert(key.clone(), entry);
        }
        let Some(entry) = self.there.get_mut(key) else {
            return;
        };
        entry.settle(now, rate);
        entry.record.real_mic = way.real_mic;
        entry.record.through = way.through;
        let runs = node.state == NodeState::Running;
        entry.record.state = if runs {
            ClientState::Running
        } else {
            ClientState::Corked
        };
        entry.runs_since_ns = runs.then_some(now.monotonic_ns);
    }

    fn end(&mut self, key: Key, mut entry: Entry, now: Now, rate: u32) {
        if entry.trusted {
            return;
        }
        entry.settle(now, rate);
        entry.record.state = ClientState::Gone;
        entry.record.until_ns = Some(now.wall_ns);
        self.file(entry.record.clone());
        entry.runs_since_ns = None;
        if entry.record.cuts > 0 {
            self.resting.insert(key, entry);
        }
    }

    /// Whether this program may read a real mic.
    pub(crate) fn trusts_executable(&self, path: &Path) -> bool {
        let path = path.to_string_lossy();
        let paths = self.trusted.iter().filter(|it| it.0.contains('/'));
        paths.into_iter().any(|pattern| pattern.matches(&path))
    }

    /// A number for a bypass that is kept elsewhere.
    pub(crate) fn number(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// Keeps one that has ended until the caller has recorded it.
    pub(crate) fn file(&mut self, ended: Bypass) {
        if self.gone.len() >= GONE_AT_MOST {
            self.gone.remove(0);
        }
        self.gone.push(ended);
    }

    /// The caller has recorded the final figures of these.
    pub(crate) fn forget_gone(&mut self, ids: &[u64]) {
        self.gone.retain(|bypass| !ids.contains(&bypass.id));
    }

    /// All of them with their figures, those that ended included.
    pub(crate) fn observe(&mut self, now: Now, rate: u32) -> Vec<Bypass> {
        for entry in self.there.values_mut() {
            entry.settle(now, rate);
        }
        let there = self.there.values().filter(|entry| !entry.trusted);
        there
            .map(|entry| entry.record.clone())
            .chain(self.gone.iter().cloned())
            .collect()
    }

    /// What of them is worth an event when it changes: all but the figures that grow.
    pub(crate) fn summary(&self) -> Vec<Bypass> {
        let there = self.there.values().filter(|entry| !entry.trusted);
        there
            .map(|entry| Bypass {
                duration_ns: 0,
                frames: 0,
                ..entry.record.clone()
            })
            .chain(self.gone.iter().cloned())
            .collect()
    }
}

impl Entry {
    /// Adds the time since the last look, if it ran.
    fn settle(&mut self, now: Now, rate: u32) {
        let Some(since) = self.runs_since_ns else {
            return;
        };
        self.runs_since_ns = Some(now.monotonic_ns);
        let record = &mut self.record;
        record.duration_ns += now.monotonic_ns.saturating_sub(since);
        record.frames = (u128::from(record.duration_ns) * u128::from(rate) / 1_000_000_000) as u64;
    }
}

struct Way {
    real_mic: String,
    through: Vec<String>,
}

/// A node's name is what its program says, so it can be trusted only for itself; a path counts only where the system vouches
/// for the process. What the session manager makes of hardware is no program that records.
fn is_trusted(trusted: &[NamePattern], node: &Node, who: &Who) -> bool {
    let path = who
        .executable
        .as_ref()
        .filter(|_| who.identity != Identity::Claimed)
        .map(|path| path.to_string_lossy());
    let named = |pattern: &NamePattern| match pattern.0.contains('/') {
        true => path.as_ref().is_some_and(|path| pattern.matches(path)),
        false => pattern.matches(node.prop("node.name")),
    };
    let hardware = node.props.contains_key("device.id")
        && node.prop("media.class").starts_with("Audio/")
        && who.identity == Identity::Verified
        && path
            .as_ref()
            .is_some_and(|path| path.ends_with("/wireplumber"));
    hardware || trusted.iter().any(named)
}

fn record(id: u64, who: Who, since_ns: u64) -> Bypass {
    Bypass {
        id,
        who,
        state: ClientState::Corked,
        real_mic: String::new(),
        through: Vec::new(),
        since_ns,
        until_ns: None,
        duration_ns: 0,
        frames: 0,
        frames_exact: false,
        done: Countermeasure::Reported,
        cuts: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::props::Props;

    fn node(properties: &[(&str, &str)], state: NodeState) -> Node {
        let props: Props = properties
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        Node {
            props,
            state,
            ..Node::default()
        }
    }

    fn model(state: NodeState) -> Model {
        let mut model = Model::default();
        let mic = node(&[("node.name", "mic")], NodeState::Running);
        let app = node(&[("node.name", "app"), ("object.serial", "70")], state);
        model.nodes.extend([(1, mic), (2, app)]);
        model
    }

    fn at(seconds: u64) -> Now {
        Now {
            monotonic_ns: seconds * 1_000_000_000,
            wall_ns: (1000 + seconds) * 1_000_000_000,
        }
    }

    fn direct() -> Vec<Reached> {
        vec![Reached {
            node: 2,
            mic: 1,
            through: Vec::new(),
        }]
    }

    #[test]
    fn only_running_time_counts_and_the_end_is_final() {
        let mut bypasses = Bypasses::new(System::default(), &[]);
        bypasses.update(&direct(), &model(NodeState::Idle), at(0), 48_000);
        bypasses.update(&direct(), &model(NodeState::Running), at(10), 48_000);
        bypasses.update(&direct(), &model(NodeState::Idle), at(12), 48_000);
        bypasses.update(&direct(), &model(NodeState::Running), at(20), 48_000);
        let now = &bypasses.observe(at(21), 48_000)[0];
        assert_eq!((now.duration_ns, now.frames), (3_000_000_000, 144_000));
        assert_eq!((now.state, now.until_ns), (ClientState::Running, None));
        bypasses.update(&[], &model(NodeState::Running), at(22), 48_000);
        let ended = bypasses.observe(at(60), 48_000);
        assert_eq!(
            (ended[0].duration_ns, ended[0].frames),
            (4_000_000_000, 192_000)
        );
        assert_eq!(ended[0].state, ClientState::Gone);
        assert_eq!(ended[0].since_ns, at(0).wall_ns);
        assert_eq!(ended[0].until_ns, Some(at(22).wall_ns));
        bypasses.forget_gone(&[ended[0].id]);
        assert!(bypasses.observe(at(60), 48_000).is_empty());
    }

    #[test]
    fn one_that_is_cut_and_comes_back_is_the_same() {
        let mut bypasses = Bypasses::new(System::default(), &[]);
        let running = model(NodeState::Running);
        for second in [0, 10, 20] {
            bypasses.update(&direct(), &running, at(second), 48_000);
            bypasses.were_cut(&BTreeSet::from([2]));
            bypasses.update(&[], &running, at(second + 1), 48_000);
        }
        let found = bypasses.observe(at(60), 48_000);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].cuts, found[0].done), (3, Countermeasure::Cut));
        assert_eq!(found[0].duration_ns, 3_000_000_000);
        assert_eq!(found[0].until_ns, Some(at(21).wall_ns));
        bypasses.update(&[], &Model::default(), at(61), 48_000);
        assert!(bypasses.resting.is_empty());
    }

    #[test]
    fn a_number_that_is_given_again_is_another_bypass() {
        let mut bypasses = Bypasses::new(System::default(), &[]);
        bypasses.update(&direct(), &model(NodeState::Running), at(0), 48_000);
        let mut later = model(NodeState::Running);
        let serial = ("object.serial".to_owned(), "71".to_owned());
        later
            .nodes
            .get_mut(&2)
            .expect("the app")
            .props
            .extend([serial]);
        bypasses.update(&direct(), &later, at(1), 48_000);
        let states: Vec<_> = bypasses
            .observe(at(1), 48_000)
            .iter()
            .map(|it| (it.id, it.state))
            .collect();
        assert_eq!(states, [(2, ClientState::Running), (1, ClientState::Gone)]);
    }

    #[test]
    fn a_claimed_path_is_not_trusted_and_a_name_is() {
        for (trusted, claimed, silent) in [
            ("app", Identity::Claimed, true),
            ("ap*", Identity::Claimed, true),
            ("a", Identity::Claimed, false),
            ("/usr/bin/app", Identity::Claimed, false),
            ("/usr/bin/app", Identity::Corroborated, true),
            ("/usr/*", Identity::Verified, true),
            ("/opt/*", Identity::Verified, false),
        ] {
            let node = node(&[("node.name", "app")], NodeState::Running);
            let mut who = identify(&Claims::default(), &System::default());
            who.identity = claimed;
            who.executable = Some("/usr/bin/app".into());
            let trusted = [NamePattern(trusted.to_owned())];
            assert_eq!(is_trusted(&trusted, &node, &who), silent, "{trusted:?}");
        }
    }
}
