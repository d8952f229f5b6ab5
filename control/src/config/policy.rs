//! The administrator's policy: a root-owned file whose values the user cannot change.

use std::path::Path;

use serde::Deserialize;

use crate::system;

use super::{ConfigError, Fault, Guard, Start, WhileMuted, file};

/// Where the policy is. No variable or flag changes that: a user could use one to escape the policy.
pub const POLICY_PATH: &str = system::POLICY_PATH;

/// The policy. Absent keys are left to the user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// State after the daemon's start.
    pub start: Option<Start>,
    /// What mute does with the real mic.
    pub while_muted: Option<WhileMuted>,
    /// The only real mics that may be followed, by `node.name`; a trailing `*` stands for any ending.
    /// An empty list allows none.
    #[serde(deserialize_with = "allowed_real_mics")]
    pub allowed_real_mics: Option<Vec<String>>,
    /// Days that the history is kept, 1 to 3650.
    #[serde(deserialize_with = "retention_days")]
    pub retention_days: Option<u32>,
    /// What is done about clients that get a real mic's sound past the gate.
    pub guard: Option<Guard>,
    /// `true`: every unmute is refused, and nobody can unlock.
    pub locked: Option<bool>,
    /// Who may read a real mic and is no bypass by itself, in place of the user's list.
    #[serde(deserialize_with = "trusted_processors")]
    pub trusted_processors: Option<Vec<String>>,
}

impl Policy {
    /// Every key.
    pub const KEYS: [&'static str; 7] = [
        "start",
        "while_muted",
        "allowed_real_mics",
        "retention_days",
        "guard",
        "locked",
        "trusted_processors",
    ];

    /// Reads the policy at `path`; an absent file is an empty policy. The file and its folder must belong to the user
    /// `owner` (0, but in tests) and be writable by nobody else; a policy that others could have changed is an error, and so is
    /// one that cannot be read or understood: a policy is never silently left out.
    pub fn read(path: &Path, owner: u32) -> Result<Policy, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let opened = match file::open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Policy::default());
            }
            opened => opened.map_err(unreadable)?,
        };
        check_trusted(&opened.metadata().map_err(unreadable)?, path, owner)?;
        if let Some(folder) = path.parent() {
            let metadata = std::fs::metadata(folder).map_err(unreadable)?;
            check_trusted(&metadata, folder, owner)?;
        }
        let text = file::read_from(opened, path)?;
        Policy::parse(&text).map_err(|fault| fault.in_file(path))
    }

    /// Reads the text of a policy.
    pub fn parse(text: &str) -> Result<Policy, Fault> {
        file::parse(text)
    }
}

fn check_trusted(metadata: &std::fs::Metadata, path: &Path, owner: u32) -> Result<(), ConfigError> {
    if !system::is_administrators(path, metadata, owner) {
        return Err(ConfigError::Untrusted {
            path: path.to_owned(),
        });
    }
    Ok(())
}

fn allowed_real_mics<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<Option<Vec<String>>, D::Error> {
    let names = Vec::<String>::deserialize(from)?;
    if names.iter().any(String::is_empty) {
        return Err(serde::de::Error::custom(
            "`allowed_real_mics` has an empty name",
        ));
    }
    Ok(Some(names))
}

fn trusted_processors<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<Option<Vec<String>>, D::Error> {
    super::names(from).map(Some)
}

fn retention_days<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    super::retention_days(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    fn me() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    #[test]
    fn a_policy_that_others_could_have_written_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy.toml");
        assert_eq!(Policy::read(&path, me()).unwrap(), Policy::default());

        fs::write(&path, "while_muted = \"hold\"\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let policy = Policy::read(&path, me()).unwrap();
        assert_eq!(policy.while_muted, Some(WhileMuted::Hold));

        let refused = |owner| {
            matches!(
                Policy::read(&path, owner),
                Err(ConfigError::Untrusted { .. })
            )
        };
        assert!(refused(me() + 1));
        fs::set_permissions(&path, Permissions::from_mode(0o664)).unwrap();
        assert!(refused(me()));
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(refused(me()));
    }

    #[test]
    fn unknown_keys_and_bad_values_are_faults() {
        for text in [
            "unmute_origins = []",
            "retention_days = 0",
            "start = 1",
            "allowed_real_mics = \"x\"",
            "allowed_real_mics = [\"\"]",
            "guard = \"none\"",
            "trusted_processors = [\"\"]",
        ] {
            assert_eq!(Policy::parse(text).unwrap_err().line, 1, "{text}");
        }
    }
}
