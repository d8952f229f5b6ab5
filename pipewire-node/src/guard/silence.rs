//! Mutes real mics themselves and undoes exactly that: what we muted is written down before it is done, so that nobody is left
//! with a muted mic after a crash of ours. A mic that its user had muted before is left as it is. Decides only; the server is
//! asked by [`super::Guard`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::graph::model::{Flag, Model};

/// So many times within [`WITHIN_NS`] a mic is muted again that somebody else unmutes; after that once in that time.
const AGAIN_AT_MOST: usize = 20;
const WITHIN_NS: u64 = 10_000_000_000;

/// The longest list that is read: mics have names of at most a few hundred bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// A mute flag that is to be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mute {
    /// The mic's node.
    pub(crate) node: u32,
    /// Its flag from now on.
    pub(crate) muted: bool,
}

/// Which mics are muted by us.
#[derive(Debug, Default)]
pub(crate) struct Silence {
    file: Option<PathBuf>,
    /// By `node.name`, which a mic keeps when it is plugged in again.
    ours: BTreeSet<String>,
    asked: BTreeMap<u32, Asked>,
    /// Whether the list could not be written; said once.
    unwritten: bool,
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
        let ours = file.as_deref().map(read).unwrap_or_default();
        Self {
            file,
            ours,
            ..Self::default()
        }
    }

    /// What is to be set so that the mics in `wanted` are mute, and those that we muted before and are not in it are not.
    pub(crate) fn keep(&mut self, wanted: &BTreeSet<u32>, model: &Model, now_ns: u64) -> Vec<Mute> {
        if wanted.is_empty() && self.ours.is_empty() {
            return Vec::new();
        }
        self.asked.retain(|node, _| model.nodes.contains_key(node));
        let mut orders = Vec::new();
        for (node, name, flag) in flags(model) {
            if wanted.contains(&node) {
                if !flag.muted && self.may_mute(name) && self.may_ask(node, true, flag, now_ns) {
                    orders.push(Mute { node, muted: true });
                }
            } else if self.ours.contains(name) {
                let pending = self.asked.get(&node).is_some_and(|asked| asked.muted);
                if flag.muted || pending {
                    if self.may_ask(node, false, flag, now_ns) {
                        orders.push(Mute { node, muted: false });
                    }
                } else {
                    self.ours.remove(name);
                    self.asked.remove(&node);
                    self.write();
                }
            }
        }
        orders
    }

    /// Whether we muted anything that is not undone.
    pub(crate) fn holds_any(&self) -> bool {
        !self.ours.is_empty()
    }

    fn may_mute(&mut self, name: &str) -> bool {
        if self.ours.insert(name.to_owned()) && !self.write() {
            self.ours.remove(name);
            return false;
        }
        true
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

    /// Whether the list is on the disk.
    fn write(&mut self) -> bool {
        let Some(file) = &self.file else { return false };
        let written = write(file, &self.ours);
        if let Err(error) = &written
            && !self.unwritten
        {
            tracing::error!(
                "{} cannot be written: {error}. Real microphones are not muted, for after a crash nobody would know which to unmute.",
                file.display()
            );
        }
        self.unwritten = written.is_err();
        written.is_ok()
    }
}

/// The mics whose flags are known.
fn flags(model: &Model) -> impl Iterator<Item = (u32, &str, Flag)> {
    model.nodes.iter().filter_map(|(id, node)| {
        let flag = model.mute_flag(*id)?;
        Some((*id, node.prop("node.name"), flag))
    })
}

fn read(file: &Path) -> BTreeSet<String> {
    let bytes = match fs::metadata(file) {
        Ok(found) if found.is_file() && found.len() <= MAX_BYTES => fs::read(file),
        Ok(_) => Err(io::Error::other("it is no small file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return BTreeSet::new(),
        Err(error) => Err(error),
    };
    let names =
        bytes.and_then(|bytes| serde_json::from_slice::<Vec<String>>(&bytes).map_err(Into::into));
    names.map_or_else(
        |error| {
            tracing::warn!(
                "{} cannot be read: {error}. If a microphone stays muted, unmute it in the desktop's sound settings.",
                file.display()
            );
            BTreeSet::new()
        },
        BTreeSet::from_iter,
    )
}

/// Whole or not at all.
fn write(file: &Path, names: &BTreeSet<String>) -> io::Result<()> {
    if names.is_empty() {
        return match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    let folder = file.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let mut next = tempfile::NamedTempFile::new_in(folder)?;
    next.write_all(&serde_json::to_vec(names)?)?;
    next.as_file().sync_all()?;
    next.persist(file).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
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

        /// One turn, whose orders the server obeys.
        fn keep(&mut self, wanted: &[u32], at: u64) -> Vec<Mute> {
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
            read(&self.file)
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
        stage.silence.file = None;
        assert_eq!(stage.keep(&[1], 0), []);
        assert!(!stage.silence.holds_any());
    }

    #[test]
    fn a_list_of_nonsense_is_no_list() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("list");
        for text in ["", "{}", "[1]", "[\"mic\"", "\u{0}"] {
            fs::write(&file, text).expect("written");
            assert!(read(&file).is_empty(), "{text:?}");
        }
        assert!(read(folder.path()).is_empty());
    }
}
