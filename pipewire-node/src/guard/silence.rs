//! Mutes real mics themselves and undoes exactly that: what we mute is on the disk ([`super::list`]) before it is done, so that
//! nobody is left with a muted mic after a crash of ours. A mic that its user had muted before is left as it is. Decides only;
//! the server is asked by [`super::Guard`].

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use super::list::{self, List};
use crate::graph::model::{Flag, Model};

/// So many times within [`WITHIN_NS`] a mic is muted again that somebody else unmutes; after that once in that time.
const AGAIN_AT_MOST: usize = 20;
const WITHIN_NS: u64 = 10_000_000_000;

/// Pause before a list that could not be written is tried again.
const RETRY_NS: u64 = 5_000_000_000;

/// A mute flag that is to be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mute {
    /// The mic's node.
    pub(crate) node: u32,
    /// Its flag from now on.
    pub(crate) muted: bool,
}

/// Which mics are muted by us.
#[derive(Default)]
pub(crate) struct Silence {
    /// Without one nothing is ever muted.
    list: Option<List>,
    /// By `node.name`, which a mic keeps when it is plugged in again.
    ours: BTreeMap<String, Entry>,
    asked: BTreeMap<u32, Asked>,
    /// No list is tried before, monotonic nanoseconds.
    retry_ns: u64,
}

/// A mic in the list.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The number of the list that it came with. Once that or a later one is on the disk, it may be muted.
    list: u64,
    /// Whether it was: by us, or by an earlier run.
    muted: bool,
}

#[derive(Debug, Default)]
struct Asked {
    muted: bool,
    /// The flag's version when it was asked: a later one is an answer, or somebody else.
    version: u64,
    times_ns: Vec<u64>,
}

impl Silence {
    /// Takes up the list that an earlier run has left in `file`. Without a file nothing is ever muted.
    pub(crate) fn remembered(file: Option<PathBuf>) -> Self {
        let Some(file) = file else {
            return Self::default();
        };
        let before = Entry {
            list: 0,
            muted: true,
        };
        let names = list::read(&file).into_iter();
        let list = List::at(file).inspect_err(|error| {
            tracing::error!("real microphones cannot be muted: {error}");
        });
        Self {
            list: list.ok(),
            ours: names.map(|name| (name, before)).collect(),
            ..Self::default()
        }
    }

    /// Readable when [`Silence::keep`] can go on, for a list is on the disk.
    pub(crate) fn listed(&self) -> Option<BorrowedFd<'_>> {
        self.list.as_ref().map(List::answered)
    }

    /// Waits for the disk. Not for a thread that is watched.
    pub(crate) fn settle(&mut self) {
        self.list.iter_mut().for_each(List::settle);
    }

    /// What is to be set so that the mics in `wanted` are mute, and those that we muted before and are not in it are not.
    pub(crate) fn keep(&mut self, wanted: &BTreeSet<u32>, model: &Model, now_ns: u64) -> Vec<Mute> {
        let written = self.hear_writer(now_ns);
        if wanted.is_empty() && self.ours.is_empty() {
            return Vec::new();
        }
        self.asked.retain(|node, _| model.nodes.contains_key(node));
        let mut orders = Vec::new();
        let (mut listed, mut enter) = (true, Vec::new());
        for (node, name, flag) in flags(model) {
            let entry = self.ours.get(name).copied();
            match entry {
                None if wanted.contains(&node) && !flag.muted => enter.push(name.to_owned()),
                None => {}
                // Somebody else muted it in the meantime, or nobody wants it any more.
                Some(Entry { muted: false, .. }) if flag.muted || !wanted.contains(&node) => {
                    self.ours.remove(name);
                    listed = false;
                }
                Some(entry) if wanted.contains(&node) => {
                    let may = !flag.muted && entry.list <= written;
                    if may && self.may_ask(node, true, flag, now_ns) {
                        let muted = Entry {
                            muted: true,
                            ..entry
                        };
                        self.ours.insert(name.to_owned(), muted);
                        orders.push(Mute { node, muted: true });
                    }
                }
                Some(_) => {
                    let pending = self.asked.get(&node).is_some_and(|asked| asked.muted);
                    if flag.muted || pending {
                        if self.may_ask(node, false, flag, now_ns) {
                            orders.push(Mute { node, muted: false });
                        }
                    } else {
                        self.ours.remove(name);
                        self.asked.remove(&node);
                        listed = false;
                    }
                }
            }
        }
        if now_ns < self.retry_ns {
            enter.clear();
        }
        if !listed || !enter.is_empty() {
            self.write(enter);
        }
        orders
    }

    /// Whether we muted anything that is not undone.
    pub(crate) fn holds_any(&self) -> bool {
        !self.ours.is_empty()
    }

    /// The latest list on the disk. What came with one that could not be written is given up for now.
    fn hear_writer(&mut self, now_ns: u64) -> u64 {
        let answer = self.list.as_mut().map(List::answer).unwrap_or_default();
        if let Some(failed) = answer.failed {
            let before = self.ours.len();
            self.ours
                .retain(|_, entry| entry.muted || entry.list > failed);
            if self.ours.len() != before {
                self.retry_ns = now_ns.saturating_add(RETRY_NS);
            }
        }
        answer.written
    }

    /// Has the list written, with those in `enter` on it.
    fn write(&mut self, enter: Vec<String>) {
        let Some(list) = &mut self.list else { return };
        let mut names: BTreeSet<_> = self.ours.keys().cloned().collect();
        names.extend(enter.iter().cloned());
        let entry = Entry {
            list: list.write(names),
            muted: false,
        };
        self.ours
            .extend(enter.into_iter().map(|name| (name, entry)));
    }

    /// Not while an answer is awaited, and not for ever against somebody who sets it back.
    fn may_ask(&mut self, node: u32, muted: bool, flag: Flag, now_ns: u64) -> bool {
        let asked = self.asked.entry(node).or_default();
        let awaited = asked.muted == muted && asked.version == flag.version;
        if awaited && !asked.times_ns.is_empty() {
            return false;
        }
        asked
            .times_ns
            .retain(|at| now_ns.saturating_sub(*at) < WITHIN_NS);
        if muted && asked.times_ns.len() > AGAIN_AT_MOST {
            return false;
        }
        if asked.times_ns.len() == AGAIN_AT_MOST {
            tracing::warn!(
                "another program unmutes a real microphone as often as TrueMute mutes it"
            );
        }
        asked.times_ns.push(now_ns);
        (asked.muted, asked.version) = (muted, flag.version);
        true
    }
}

/// The mics whose flags are known.
fn flags(model: &Model) -> impl Iterator<Item = (u32, &str, Flag)> {
    model.nodes.iter().filter_map(|(id, node)| {
        let flag = model.mute_flag(*id)?;
        Some((*id, node.prop("node.name"), flag))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::sync::{Arc, Mutex, mpsc};

    use crate::graph::model::{Node, NodeState};

    struct Stage {
        _folder: tempfile::TempDir,
        file: PathBuf,
        model: Model,
        silence: Silence,
    }

    impl Stage {
        fn new(mics: &[(u32, bool)]) -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let file = folder.path().join("state/muted-mics.json");
            let mut stage = Self {
                _folder: folder,
                silence: Silence::remembered(Some(file.clone())),
                file,
                model: Model::default(),
            };
            for (id, muted) in mics {
                let name = format!("mic-{id}");
                let props = [("node.name", name)].into_iter().collect();
                let state = NodeState::Idle;
                let told = true;
                stage.model.nodes.insert(*id, Node { props, state, told });
                stage.model.set_flag(*id, *muted);
            }
            stage
        }

        /// One turn, and another when the list is on the disk. The server obeys.
        fn keep(&mut self, wanted: &[u32], at: u64) -> Vec<Mute> {
            let mut orders = self.turn(wanted, at);
            self.silence.settle();
            orders.extend(self.turn(wanted, at));
            self.silence.settle();
            orders
        }

        fn turn(&mut self, wanted: &[u32], at: u64) -> Vec<Mute> {
            let wanted = wanted.iter().copied().collect();
            let orders = self.silence.keep(&wanted, &self.model, at);
            for order in &orders {
                self.model.set_flag(order.node, order.muted);
            }
            orders
        }

        fn muted(&self, node: u32) -> bool {
            self.model.mute_flag(node).expect("known").muted
        }

        fn on_disk(&self) -> BTreeSet<String> {
            list::read(&self.file)
        }
    }

    #[test]
    fn what_was_muted_is_unmuted_and_what_its_user_muted_is_not() {
        let mut stage = Stage::new(&[(1, false), (2, true)]);
        stage.keep(&[1, 2], 0);
        assert!(stage.muted(1) && stage.muted(2));
        assert_eq!(stage.on_disk(), BTreeSet::from(["mic-1".to_owned()]));
        for _ in 0..3 {
            stage.keep(&[], 1);
        }
        assert!(!stage.muted(1) && stage.muted(2));
        assert!(!stage.silence.holds_any() && !stage.file.exists());
    }

    #[test]
    fn a_crash_and_an_unplugged_mic_leave_nobody_muted() {
        let mut stage = Stage::new(&[(1, false), (2, false)]);
        stage.keep(&[1, 2], 0);
        // The next run; one mic is away at first, and comes back under another number.
        stage.silence = Silence::remembered(Some(stage.file.clone()));
        let away = stage.model.nodes.remove(&2).expect("made above");
        stage.keep(&[], 0);
        stage.keep(&[], 0);
        assert!(!stage.muted(1));
        assert_eq!(stage.on_disk(), BTreeSet::from(["mic-2".to_owned()]));
        stage.model.nodes.insert(9, away);
        stage.model.set_flag(9, true);
        stage.keep(&[], 0);
        stage.keep(&[], 0);
        assert!(!stage.muted(9) && !stage.file.exists());
    }

    #[test]
    fn an_unmute_overtakes_a_mute_that_the_server_has_not_answered() {
        let mut stage = Stage::new(&[(1, false)]);
        let wanted = BTreeSet::from([1]);
        assert_eq!(stage.silence.keep(&wanted, &stage.model, 0), []);
        stage.silence.settle();
        let asked = stage.silence.keep(&wanted, &stage.model, 0);
        assert_eq!(
            asked,
            [Mute {
                node: 1,
                muted: true
            }]
        );
        assert_eq!(stage.silence.keep(&wanted, &stage.model, 0), []);
        let none = BTreeSet::new();
        let asked = stage.silence.keep(&none, &stage.model, 0);
        assert_eq!(
            asked,
            [Mute {
                node: 1,
                muted: false
            }]
        );
        stage.model.set_flag(1, true);
        stage.model.set_flag(1, false);
        stage.keep(&[], 0);
        assert!(!stage.muted(1) && !stage.silence.holds_any());
    }

    #[test]
    fn whoever_unmutes_is_muted_again_but_not_for_ever() {
        let mut stage = Stage::new(&[(1, false)]);
        let rounds = (0..1000).map(|at| {
            let orders = stage.keep(&[1], at).len();
            stage.model.set_flag(1, false);
            orders
        });
        let orders: usize = rounds.sum();
        assert_eq!(orders, AGAIN_AT_MOST + 1);
        assert_eq!(stage.keep(&[1], WITHIN_NS + 1000).len(), 1);
    }

    #[test]
    fn nothing_is_muted_that_could_not_be_written_down() {
        let mut stage = Stage::new(&[(1, false)]);
        fs::write(stage.file.parent().expect("a folder"), "in the way").expect("written");
        assert_eq!(stage.keep(&[1], 0), []);
        assert!(!stage.silence.holds_any());
        stage.silence.list = None;
        assert_eq!(stage.keep(&[1], 0), []);
        assert!(!stage.silence.holds_any());
    }

    #[test]
    fn a_disk_that_hangs_is_not_waited_for_and_nothing_is_muted_meanwhile() {
        let mut stage = Stage::new(&[(1, false), (2, false)]);
        let (go_on, told) = mpsc::channel::<bool>();
        let (told, stored) = (Mutex::new(told), Arc::new(Mutex::new(BTreeSet::new())));
        let list = List::with({
            let stored = stored.clone();
            Arc::new(move |names| {
                let works = told.lock().expect("ours").recv().expect("the test");
                *stored.lock().expect("ours") = names.clone();
                works
                    .then_some(())
                    .ok_or_else(|| std::io::Error::other("full"))
            })
        });
        stage.silence.list = Some(list.expect("a descriptor"));
        let names = || stored.lock().expect("ours").clone();
        let mute = |node| Mute { node, muted: true };
        for _ in 0..3 {
            assert_eq!(stage.turn(&[1], 0), []);
        }
        assert!(names().is_empty());
        go_on.send(true).expect("it writes");
        stage.silence.settle();
        assert_eq!(names(), BTreeSet::from(["mic-1".to_owned()]));
        assert_eq!(stage.turn(&[1], 0), [mute(1)]);
        // What its user mutes while the list is written stays the user's.
        assert_eq!(stage.turn(&[1, 2], 0), []);
        stage.model.set_flag(2, true);
        go_on.send(true).expect("it writes");
        stage.silence.settle();
        assert_eq!(stage.turn(&[1, 2], 0), []);
        go_on.send(true).expect("it writes");
        stage.silence.settle();
        assert_eq!(names(), BTreeSet::from(["mic-1".to_owned()]));
        // What could not be written is tried again, but not in each turn.
        stage.model.set_flag(2, false);
        assert_eq!(stage.turn(&[1, 2], 0), []);
        go_on.send(false).expect("it writes");
        stage.silence.settle();
        assert_eq!(stage.turn(&[1, 2], 0), []);
        assert_eq!(stage.turn(&[1, 2], RETRY_NS), []);
        go_on.send(true).expect("it writes");
        stage.silence.settle();
        assert_eq!(stage.turn(&[1, 2], RETRY_NS), [mute(2)]);
    }
}
