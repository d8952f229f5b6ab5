//! The user's configuration and the administrator's policy: reading, checking, merging. Nothing here acts on them.
//! This file is the user's side; [`policy`] the administrator's; [`settings`] what comes of both; [`mod@file`] reads.

mod file;
mod policy;
mod settings;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};

pub use file::{ConfigError, Fault};
pub use policy::{POLICY_PATH, Policy};
pub use settings::Settings;

use crate::combo;
use crate::protocol::Origin;
use crate::system;

/// The gate's state after the daemon's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// Silent until somebody unmutes.
    #[default]
    Muted,
    /// Live as soon as the audio server answers.
    Live,
}

/// What mute does with the real mic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhileMuted {
    /// Lets go of it, so that its hardware suspends.
    #[default]
    Release,
    /// Keeps it linked; only the gate is silent.
    Hold,
}

/// From what pulls are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Counting {
    /// The clients' activation records; the profiler where they do not check out.
    #[default]
    Auto,
    /// The server's profiler always.
    Profiler,
}

/// What is done about clients that get a real mic's sound past the gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Guard {
    /// Nothing; nobody looks for them.
    Off,
    /// They are reported.
    #[default]
    Report,
    /// They are kept off the real mics as far as the audio server allows, and reported.
    Enforce,
}

/// The user's configuration file. Keys that are absent have their defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// State after the daemon's start.
    pub start: Start,
    /// What mute does with the real mic.
    pub while_muted: WhileMuted,
    /// The real mics to follow, by `node.name`, the most wanted first; a trailing `*` stands for any ending. The desktop's choice
    /// where none of them is there. In the file also a single name.
    #[serde(deserialize_with = "name_or_names")]
    pub real_mic: Vec<String>,
    /// Channels of the virtual mic, 1 to 8; those of the real mic if absent.
    #[serde(deserialize_with = "channels")]
    pub channels: Option<u32>,
    /// Who may unmute.
    #[serde(deserialize_with = "unmute_origins")]
    pub unmute_origins: Vec<Origin>,
    /// Global hotkey that toggles, on X11.
    #[serde(deserialize_with = "hotkey")]
    pub hotkey: Option<String>,
    /// Days that the history is kept, 1 to 3650.
    #[serde(deserialize_with = "retention_days")]
    pub retention_days: u32,
    /// From what pulls are counted.
    pub counting: Counting,
    /// What is done about clients that get a real mic's sound past the gate.
    pub guard: Guard,
    /// Who may read a real mic and is no bypass by itself: a `node.name`, or the path of an executable where there is a slash in
    /// it. A trailing `*` stands for any ending.
    #[serde(deserialize_with = "names")]
    pub trusted_processors: Vec<String>,
    /// Whether the real mic's device is kept busy while it is released, so that no program can open it.
    pub hold_device: bool,
    /// Whether a mute also mutes the real mic in hardware, which lights its LED where it has one.
    pub mute_hardware: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            start: Start::default(),
            while_muted: WhileMuted::default(),
            real_mic: Vec::new(),
            channels: None,
            unmute_origins: vec![Origin::Cli, Origin::Hotkey],
            hotkey: None,
            retention_days: 90,
            counting: Counting::default(),
            guard: Guard::default(),
            trusted_processors: Vec::new(),
            hold_device: false,
            mute_hardware: false,
        }
    }
}

impl Config {
    /// Reads the file at `path`, which must exist.
    pub fn read(path: &Path) -> Result<Config, ConfigError> {
        let text = file::read(path)?;
        Config::parse(&text).map_err(|fault| fault.in_file(path))
    }

    /// Reads the user's own file, or gives the defaults if there is none.
    pub fn read_default() -> Result<Config, ConfigError> {
        match default_path() {
            Some(path) if path.try_exists().unwrap_or(true) => Config::read(&path),
            _ => Ok(Config::default()),
        }
    }

    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Config, Fault> {
        file::parse(text)
    }
}

/// `$XDG_CONFIG_HOME/truemute/config.toml`, or the same under `~/.config`; absent if neither variable is an absolute path.
/// `%APPDATA%\\TrueMute\\config.toml` on Windows.
pub fn default_path() -> Option<PathBuf> {
    Some(system::config_directory()?.join("config.toml"))
}

fn name_or_names<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "`real_mic` must be a name or a list of names")]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    let names = match OneOrMany::deserialize(from)? {
        OneOrMany::One(name) => vec![name],
        OneOrMany::Many(names) => names,
    };
    names.into_iter().map(checked_name).collect()
}

fn names<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<String>::deserialize(from)?;
    names.into_iter().map(checked_name).collect()
}

fn checked_name<E: serde::de::Error>(text: String) -> Result<String, E> {
    if text.is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
        return Err(E::custom(
            "a name has 1 to 256 bytes and no control characters",
        ));
    }
    Ok(text)
}

fn hotkey<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let keys = String::deserialize(from)?;
    combo::parse(&keys).map_err(serde::de::Error::custom)?;
    Ok(Some(keys))
}

fn channels<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    match i64::deserialize(from)? {
        count @ 1..=8 => Ok(Some(count as u32)),
        count => Err(serde::de::Error::custom(format!(
            "`channels` is {count}, but must be 1 to 8"
        ))),
    }
}

fn retention_days<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    match i64::deserialize(from)? {
        days @ 1..=3650 => Ok(days as u32),
        days => Err(serde::de::Error::custom(format!(
            "`retention_days` is {days}, but must be 1 to 3650"
        ))),
    }
}

fn unmute_origins<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Origin>, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum MayUnmute {
        Cli,
        Hotkey,
        Desktop,
        App,
        Headset,
    }
    let mut origins = Vec::new();
    for origin in Vec::<MayUnmute>::deserialize(from)? {
        let origin = match origin {
            MayUnmute::Cli => Origin::Cli,
            MayUnmute::Hotkey => Origin::Hotkey,
            MayUnmute::Desktop => Origin::Desktop,
            MayUnmute::App => Origin::App,
            MayUnmute::Headset => Origin::Headset,
        };
        if !origins.contains(&origin) {
            origins.push(origin);
        }
    }
    Ok(origins)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../config.toml");

    /// The shipped file with every `#key = value` uncommented.
    fn uncommented() -> String {
        let key = |line: &str| {
            line.strip_prefix('#')
                .filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
                .map(str::to_owned)
        };
        SHIPPED
            .lines()
            .map(|line| key(line).unwrap_or_else(|| line.to_owned()) + "\n")
            .collect()
    }

    fn keys() -> Vec<String> {
        let config = serde_json::to_value(Config::default()).unwrap();
        config.as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn the_shipped_file_changes_nothing() {
        assert_eq!(Config::parse(SHIPPED).unwrap(), Config::default());
    }

    #[test]
    fn the_shipped_file_shows_every_key_and_its_default() {
        let shown = Config::parse(&uncommented()).unwrap();
        assert!(!shown.real_mic.is_empty() && shown.channels.is_some() && shown.hotkey.is_some());
        let without_optional = Config {
            real_mic: Vec::new(),
            channels: None,
            hotkey: None,
            ..shown
        };
        assert_eq!(without_optional, Config::default());
        for key in keys() {
            assert!(
                SHIPPED.contains(&format!("\n#{key} = ")),
                "{key} is not shown"
            );
        }
    }

    #[test]
    fn the_documentation_has_every_key() {
        let docs = include_str!("../../../docs/configuration.md");
        for key in keys().iter().map(String::as_str).chain(Policy::KEYS) {
            assert!(
                docs.contains(&format!("| `{key}` |")),
                "docs/configuration.md lacks a row for {key}"
            );
        }
    }

    #[test]
    fn real_mics_are_one_or_many() {
        for (text, wanted) in [
            ("real_mic = \"a*\"", &["a*"][..]),
            ("real_mic = [\"b\", \"a\"]", &["b", "a"]),
            ("real_mic = []", &[]),
        ] {
            assert_eq!(Config::parse(text).unwrap().real_mic, wanted);
        }
    }

    #[test]
    fn faults_say_the_line() {
        for (text, line, part) in [
            ("\nstart = \"loud\"", 2, "loud"),
            ("start = \"muted\"\nstrat = 1\n", 2, "strat"),
            ("retention_days = \"90\"", 1, "90"),
            ("\n\nretention_days = 0", 3, "1 to 3650"),
            ("channels = 9", 1, "1 to 8"),
            ("channels = -1", 1, "1 to 8"),
            ("real_mic = \"\"", 1, "1 to 256"),
            ("real_mic = [\"a\", \"\"]", 1, "1 to 256"),
            ("real_mic = 1", 1, "list of names"),
            ("guard = \"on\"", 1, "enforce"),
            ("trusted_processors = [\"\"]", 1, "1 to 256"),
            ("trusted_processors = \"x\"", 1, "x"),
            ("hold_device = \"yes\"", 1, "yes"),
            ("unmute_origins = [\"cli\", \"policy\"]", 1, "policy"),
            ("unmute_origins = \"cli\"", 1, "cli"),
            ("hotkey = \"ctrl+nonsense\"", 1, "nonsense"),
            ("start = \"muted\"\nstart = \"live\"", 2, "duplicate"),
            ("[start]\nx = 1", 2, "expected `muted` or `live`"),
            ("garbage", 1, ""),
            ("a = \u{0}", 1, ""),
        ] {
            let fault = Config::parse(text).unwrap_err();
            assert_eq!(fault.line, line, "{text:?}: {fault:?}");
            assert!(fault.message.contains(part), "{text:?}: {fault:?}");
            assert!(!fault.message.contains('\n'), "{fault:?}");
        }
    }

    #[test]
    fn what_is_no_small_text_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let missing = Config::read(&dir.path().join("none.toml")).unwrap_err();
        assert!(missing.to_string().contains("none.toml"), "{missing}");
        let huge = dir.path().join("huge.toml");
        std::fs::write(&huge, vec![b'#'; 10_000_000]).unwrap();
        let error = Config::read(&huge).unwrap_err();
        assert!(error.to_string().contains("64 KiB"), "{error}");
        std::fs::write(&huge, b"start = \"\xff\"").unwrap();
        let error = Config::read(&huge).unwrap_err();
        assert!(error.to_string().contains("UTF-8"), "{error}");
        let pipe = dir.path().join("pipe.toml");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).unwrap();
        let error = Config::read(&pipe).unwrap_err();
        assert!(error.to_string().contains("a pipe"), "{error}");
    }
}
