//! The LaunchAgent that starts the daemon in the user's session (launchd.plist(5)).

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What launchd knows it as.
pub(crate) const LABEL: &str = "org.truemute.daemon";

/// The application whose program it starts: the permission for the microphone is asked for and kept under its name.
const APPLICATION: &str = "org.truemute.app";

/// Its property list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct LaunchAgent {
    label: String,
    program_arguments: Vec<String>,
    associated_bundle_identifiers: Vec<String>,
    /// At login.
    run_at_load: bool,
    keep_alive: KeepAlive,
    /// Seconds between two starts. Until it runs again there is silence.
    throttle_interval: u32,
    /// Sound waits for it: no economy with timers or the processor.
    process_type: String,
    /// A session with a screen; only there are a hotkey and a microphone of a person.
    limit_load_to_session_type: String,
    standard_error_path: String,
}

/// When launchd starts it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct KeepAlive {
    /// After a crash, not after an end in order.
    successful_exit: bool,
}

/// What lies in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing.
    Nothing,
    /// It.
    Same,
    /// One of ours for another program, or of another version.
    Other,
    /// Somebody else's, or not readable as a property list.
    Foreign,
}

impl LaunchAgent {
    /// For the program at `executable`, with its log in the home directory `home`.
    pub(crate) fn new(executable: &Path, home: &Path) -> Self {
        Self {
            label: LABEL.to_owned(),
            program_arguments: vec![
                executable.to_string_lossy().into_owned(),
                "daemon".to_owned(),
            ],
            associated_bundle_identifiers: vec![APPLICATION.to_owned()],
            run_at_load: true,
            keep_alive: KeepAlive {
                successful_exit: false,
            },
            throttle_interval: 1,
            process_type: "Interactive".to_owned(),
            limit_load_to_session_type: "Aqua".to_owned(),
            standard_error_path: home
                .join("Library/Logs/TrueMute.log")
                .to_string_lossy()
                .into_owned(),
        }
    }

    /// Where it belongs.
    pub(crate) fn path(home: &Path) -> PathBuf {
        home.join(format!("Library/LaunchAgents/{LABEL}.plist"))
    }

    /// Looks what lies at `path`.
    pub(crate) fn look(&self, path: &Path) -> io::Result<Found> {
        let bytes = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            read => read?,
        };
        Ok(match plist::from_bytes::<plist::Dictionary>(&bytes) {
            Ok(there) if plist::from_bytes::<Self>(&bytes).is_ok_and(|it| it == *self) => {
                // A key that we never write counts as another version.
                match plist::to_value(self) {
                    Ok(plist::Value::Dictionary(ours)) if ours == there => Found::Same,
                    _ => Found::Other,
                }
            }
            Ok(there) if there.get("Label").and_then(|it| it.as_string()) == Some(LABEL) => {
                Found::Other
            }
            _ => Found::Foreign,
        })
    }

    /// Writes it to `path`, and the directory if that is not there.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        plist::to_file_xml(path, self).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_found_and_others_files_are_told_from_it() {
        let home = tempfile::tempdir().unwrap();
        let agent = LaunchAgent::new(Path::new("/Applications/A & <B>.app/truemute"), home.path());
        let path = LaunchAgent::path(home.path());
        assert_eq!(agent.look(&path).unwrap(), Found::Nothing);
        agent.write(&path).unwrap();
        assert_eq!(agent.look(&path).unwrap(), Found::Same);
        let moved = LaunchAgent::new(Path::new("/elsewhere/truemute"), home.path());
        assert_eq!(moved.look(&path).unwrap(), Found::Other);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("A &amp; &lt;B&gt;.app"), "{text}");
        let more = text.replacen("<dict>", "<dict><key>Nice</key><integer>5</integer>", 1);
        std::fs::write(&path, more).unwrap();
        assert_eq!(agent.look(&path).unwrap(), Found::Other);
        let foreign = text.replace(LABEL, "org.example.other");
        std::fs::write(&path, foreign).unwrap();
        assert_eq!(agent.look(&path).unwrap(), Found::Foreign);
        std::fs::write(&path, "not a property list").unwrap();
        assert_eq!(agent.look(&path).unwrap(), Found::Foreign);
    }

    #[test]
    fn launchd_gets_the_keys_that_it_knows() {
        let agent = LaunchAgent::new(Path::new("/p"), Path::new("/Users/me"));
        let plist::Value::Dictionary(keys) = plist::to_value(&agent).unwrap() else {
            panic!("no dictionary")
        };
        let names: Vec<&str> = keys.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "Label",
                "ProgramArguments",
                "AssociatedBundleIdentifiers",
                "RunAtLoad",
                "KeepAlive",
                "ThrottleInterval",
                "ProcessType",
                "LimitLoadToSessionType",
                "StandardErrorPath"
            ]
        );
    }
}
