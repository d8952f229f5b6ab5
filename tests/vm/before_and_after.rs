//! What there is in the person's home and on the audio server, to compare two moments.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::person;
use crate::report::Trouble;

/// What programs other than TrueMute write whenever they please.
const OTHERS: [&str; 6] = [
    ".cache",
    ".local/share/xorg",
    ".local/state/wireplumber",
    ".config/pulse",
    ".Xauthority",
    ".startx.log",
];

/// One moment.
#[derive(Serialize, Deserialize)]
pub(crate) struct Picture {
    /// Path, and a number that changes with what is in it, its mode and its owner.
    pub(crate) files: BTreeMap<String, u64>,
    /// `node.name` of every node that is a device or a sound source by itself, and the user's own choice of a default.
    pub(crate) nodes: BTreeSet<String>,
}

impl Picture {
    /// Now.
    pub(crate) fn take() -> Result<Self, Trouble> {
        let mut files = BTreeMap::new();
        read(Path::new(person::HOME), &mut files)?;
        let mut nodes = BTreeSet::new();
        let dump = person::json("pw-dump")?;
        for object in dump.as_array().into_iter().flatten() {
            let props = &object["info"]["props"];
            let class = props["media.class"].as_str().unwrap_or_default();
            if let Some(name) = props["node.name"].as_str()
                && !class.starts_with("Stream/")
            {
                nodes.insert(name.to_owned());
            }
            for entry in object["metadata"].as_array().into_iter().flatten() {
                if entry["key"] == "default.configured.audio.source" {
                    nodes.insert(entry.to_string());
                }
            }
        }
        Ok(Self { files, nodes })
    }

    /// Writes it down.
    pub(crate) fn keep(&self, file: &str) -> Result<(), Trouble> {
        let text = serde_json::to_string(self).map_err(|error| error.to_string())?;
        Ok(fs::write(file, text)?)
    }

    /// What was written down.
    pub(crate) fn kept(file: &str) -> Result<Self, Trouble> {
        let text = fs::read_to_string(file)?;
        Ok(serde_json::from_str(&text).map_err(|error| error.to_string())?)
    }

    /// What came, went or changed, one line each.
    pub(crate) fn changes_since(&self, before: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        for (path, hash) in &self.files {
            match before.files.get(path) {
                None => changes.push(format!("new file {path}")),
                Some(old) if old != hash => changes.push(format!("changed file {path}")),
                Some(_) => {}
            }
        }
        for path in before
            .files
            .keys()
            .filter(|it| !self.files.contains_key(*it))
        {
            changes.push(format!("missing file {path}"));
        }
        changes.extend(
            self.nodes
                .difference(&before.nodes)
                .map(|it| format!("new node {it}")),
        );
        changes.extend(
            before
                .nodes
                .difference(&self.nodes)
                .map(|it| format!("missing node {it}")),
        );
        changes
    }
}

/// Folders count too: an empty one that stays behind is a trace.
fn read(folder: &Path, files: &mut BTreeMap<String, u64>) -> Result<(), Trouble> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let inside = path.strip_prefix(person::HOME).unwrap_or(&path);
        if OTHERS.iter().any(|it| inside.starts_with(it)) {
            continue;
        }
        let meta = fs::symlink_metadata(&path)?;
        let mut hasher = DefaultHasher::new();
        (meta.mode(), meta.uid()).hash(&mut hasher);
        if meta.is_file() {
            fs::read(&path)?.hash(&mut hasher);
        } else if meta.is_symlink() {
            fs::read_link(&path)?.hash(&mut hasher);
        }
        files.insert(inside.display().to_string(), hasher.finish());
        if meta.is_dir() {
            read(&path, files)?;
        }
    }
    Ok(())
}
