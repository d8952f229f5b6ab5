//! The default source that the user chose, in the session manager's metadata, and what the session manager writes down about it
//! and about single apps.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use truemute_pipewire::VIRTUAL_MIC;

use super::parts::SILENT_TWIN;
use crate::tool;

/// A session manager that takes longer does not work.
const LIMIT: Duration = Duration::from_secs(5);

const KEY: &str = "default.configured.audio.source";

/// Whether `name` is one of our sources.
pub(super) fn is_ours(name: &str) -> bool {
    [VIRTUAL_MIC, SILENT_TWIN].contains(&name)
}

/// The source that the user chose, if any.
///
/// # Errors
/// Why it cannot be known.
pub(super) fn chosen() -> Result<Option<String>, String> {
    let text = pw_metadata(&["0", KEY])?;
    // update: id:0 key:'KEY' value:'{ "name": "mic" }' type:'Spa:String:JSON'
    let value = text
        .lines()
        .find(|line| line.contains(&format!("key:'{KEY}'")))
        .and_then(|line| line.split_once(" value:'"))
        .and_then(|(_, rest)| rest.rsplit_once("' type:"))
        .map(|(value, _)| value);
    let parsed = value.and_then(|value| serde_json::from_str::<Value>(value).ok());
    Ok(parsed.and_then(|value| value["name"].as_str().map(str::to_owned)))
}

/// Chooses a source, or none.
///
/// # Errors
/// Why it cannot be chosen.
pub(super) fn choose(name: Option<&str>) -> Result<(), String> {
    match name {
        Some(name) => {
            let value = json!({ "name": name }).to_string();
            pw_metadata(&["0", KEY, &value, "Spa:String:JSON"])
        }
        None => pw_metadata(&["-d", "0", KEY]),
    }
    .map(drop)
}

/// Waits until WirePlumber has written down the choice, which it does a second later, and never if it is ended before. For
/// three seconds at most: another session manager does not write it there.
pub(super) fn wait_until_stored(state: &Path, name: Option<&str>) {
    let deadline = Instant::now() + Duration::from_secs(3);
    let is_stored = || {
        let text = fs::read_to_string(state.join("default-nodes")).unwrap_or_default();
        let stored = text
            .lines()
            .find_map(|line| line.strip_prefix(KEY)?.strip_prefix('='));
        stored == name
    };
    while !is_stored() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(50));
    }
}

fn pw_metadata(arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new("pw-metadata");
    command.args(arguments);
    let said = tool::ask(command, LIMIT)
        .map_err(|_| "there is no pw-metadata (Debian: pipewire-bin)".to_owned())?;
    // It ends well also when there is no session manager, and then finds no metadata.
    if said.is_good() && said.text().contains("Found \"default\" metadata") {
        Ok(said.text())
    } else if said.errors.is_empty() {
        Err("no session manager answers".to_owned())
    } else {
        Err(said.errors)
    }
}

/// The files in WirePlumber's directory `state` that name our sources, each with what it would be without them: the default
/// sources of the past, and where apps were moved to.
///
/// # Errors
/// A file cannot be read.
pub(super) fn remembered(state: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let mut files = Vec::new();
    // restore-stream is of WirePlumber 0.4, stream-properties of 0.5.
    for (file, without) in [
        ("default-nodes", without_defaults as fn(&str) -> String),
        ("restore-stream", without_targets),
        ("stream-properties", without_targets),
    ] {
        let path = state.join(file);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let rest = without(&text);
        if rest != text {
            files.push((path, rest));
        }
    }
    Ok(files)
}

/// The choices are KEY, KEY.0, KEY.1 and so on, newest first, without a gap.
fn without_defaults(text: &str) -> String {
    let mut kept = String::new();
    let mut number = 0;
    for line in text.lines() {
        let choice = line
            .strip_prefix(KEY)
            .filter(|rest| rest.starts_with(['=', '.']))
            .and_then(|rest| rest.split_once('='));
        match choice {
            None => kept.push_str(&format!("{line}\n")),
            Some((_, name)) if is_ours(name) => {}
            Some((_, name)) if number == 0 => {
                kept.push_str(&format!("{KEY}={name}\n"));
                number += 1;
            }
            Some((_, name)) => {
                kept.push_str(&format!("{KEY}.{}={name}\n", number - 1));
                number += 1;
            }
        }
    }
    kept
}

/// 0.4 has `KEY:target=NAME`, 0.5 `KEY={"target":"NAME", ...}`.
fn without_targets(text: &str) -> String {
    let line = |line: &str| match line.split_once('=') {
        // What WirePlumber knows of the nodes themselves, as their volume.
        Some((key, _)) if key.contains(":node.name:truemute.") => String::new(),
        Some((key, name)) if key.ends_with(":target") && is_ours(name) => String::new(),
        Some((key, value)) => match serde_json::from_str::<Value>(value) {
            Ok(Value::Object(mut values))
                if values
                    .get("target")
                    .and_then(Value::as_str)
                    .is_some_and(is_ours) =>
            {
                values.remove("target");
                format!("{key}={}\n", Value::Object(values))
            }
            _ => format!("{line}\n"),
        },
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_choices_stay_in_their_order() {
        let text = "[default-nodes]\ndefault.configured.audio.sink=speaker\ndefault.configured.audio.source=truemute.mic\n\
            default.configured.audio.source.0=truemute.silent\ndefault.configured.audio.source.1=a\n\
            default.configured.audio.source.2=b\n";
        let left = "[default-nodes]\ndefault.configured.audio.sink=speaker\ndefault.configured.audio.source=a\n\
            default.configured.audio.source.0=b\n";
        assert_eq!(without_defaults(text), left);
        assert_eq!(without_defaults(left), left);
    }

    #[test]
    fn only_our_targets_are_forgotten() {
        let text = "[restore-stream]\nAudio/Source:node.name:truemute.silent:volume=1\nInput/Audio:application.name:a:target=truemute.mic\n\
            Input/Audio:application.name:b:target=mic\nInput/Audio:application.name:a:volume=1\n\
            Input/Audio:application.name:c={\"target\":\"truemute.silent\", \"volume\":1.000000}\n\
            Input/Audio:application.name:d={\"target\":\"mic\", \"volume\":1.000000}\n";
        let left = "[restore-stream]\nInput/Audio:application.name:b:target=mic\n\
            Input/Audio:application.name:a:volume=1\nInput/Audio:application.name:c={\"volume\":1.0}\n\
            Input/Audio:application.name:d={\"target\":\"mic\", \"volume\":1.000000}\n";
        assert_eq!(without_targets(text), left);
    }
}
