//! What holds after the policy has overridden the configuration, and which values it forced.

use super::{Config, Guard, Policy, Start, WhileMuted};
use crate::protocol::Forced;

/// The values that the daemon works with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The user's values, overridden where the policy says so.
    pub config: Config,
    /// The only real mics that may be followed; any if absent.
    pub allowed_real_mics: Option<Vec<String>>,
    /// Whether the policy refuses every unmute.
    pub locked: bool,
    /// What the policy forces.
    pub forced: Vec<Forced>,
    /// What of the configuration could not be followed, as sentences.
    pub warnings: Vec<String>,
}

impl Settings {
    /// The configuration under the policy.
    pub fn new(mut config: Config, policy: Policy) -> Settings {
        let mut forced = Vec::new();
        let mut force = |key: &str, value: String| {
            forced.push(Forced {
                key: key.to_owned(),
                value,
            });
        };
        if let Some(start) = policy.start {
            config.start = start;
            let text = match start {
                Start::Muted => "\"muted\"",
                Start::Live => "\"live\"",
            };
            force("start", text.to_owned());
        }
        if let Some(while_muted) = policy.while_muted {
            config.while_muted = while_muted;
            let text = match while_muted {
                WhileMuted::Release => "\"release\"",
                WhileMuted::Hold => "\"hold\"",
            };
            force("while_muted", text.to_owned());
        }
        let mut warnings = Vec::new();
        if let Some(allowed) = &policy.allowed_real_mics {
            force("allowed_real_mics", as_toml(allowed));
            let may = |name: &String| allowed.iter().any(|pattern| may_allow(pattern, name));
            for name in config.real_mic.extract_if(.., |name| !may(name)) {
                warnings.push(format!(
                    "The policy does not allow the configured real_mic {name:?}; an allowed one is followed instead. Choose one of allowed_real_mics."
                ));
            }
        }
        if let Some(days) = policy.retention_days {
            config.retention_days = days;
            force("retention_days", days.to_string());
        }
        if let Some(guard) = policy.guard {
            config.guard = guard;
            let text = match guard {
                Guard::Off => "\"off\"",
                Guard::Report => "\"report\"",
                Guard::Enforce => "\"enforce\"",
            };
            force("guard", text.to_owned());
        }
        if let Some(trusted) = policy.trusted_processors {
            force("trusted_processors", as_toml(&trusted));
            config.trusted_processors = trusted;
        }
        let locked = policy.locked == Some(true);
        if locked {
            force("locked", "true".to_owned());
        }
        Settings {
            config,
            allowed_real_mics: policy.allowed_real_mics,
            locked,
            forced,
            warnings,
        }
    }
}

fn as_toml(names: &[String]) -> String {
    let list = names.iter().map(|name| toml::Value::from(name.as_str()));
    toml::Value::Array(list.collect()).to_string()
}

/// Whether `pattern` allows mics that `name` stands for; in both, a trailing `*` stands for any ending. The backend keeps to the
/// allowed mics in any case; this only finds a wish that it cannot follow.
fn may_allow(pattern: &str, name: &str) -> bool {
    match (pattern.strip_suffix('*'), name.strip_suffix('*')) {
        (None, None) => pattern == name,
        (Some(start), None) => name.starts_with(start),
        (None, Some(start)) => pattern.starts_with(start),
        (Some(one), Some(other)) => one.starts_with(other) || other.starts_with(one),
    }
}

impl Default for Settings {
    /// The defaults without a policy.
    fn default() -> Settings {
        Settings::new(Config::default(), Policy::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_wins_and_says_so() {
        let config = Config::parse(
            "start = \"live\"\nreal_mic = [\"theirs\", 'a\"b']\nretention_days = 3650",
        )
        .unwrap();
        let policy = Policy::parse(
            "start = \"muted\"\nallowed_real_mics = [\"a\\\"b\"]\nretention_days = 7\nwhile_muted = \"hold\"\nguard = \"enforce\"\ntrusted_processors = [\"/usr/bin/easyeffects\"]",
        )
        .unwrap();
        let settings = Settings::new(config, policy);
        assert_eq!(settings.config.start, Start::Muted);
        assert_eq!(settings.config.while_muted, WhileMuted::Hold);
        assert_eq!(settings.config.retention_days, 7);
        assert_eq!(settings.config.real_mic, ["a\"b"]);
        assert_eq!(settings.config.guard, Guard::Enforce);
        assert_eq!(settings.warnings.len(), 1);
        let text: String = settings
            .forced
            .iter()
            .map(|forced| format!("{} = {}\n", forced.key, forced.value))
            .collect();
        assert_eq!(
            Policy::parse(&text).unwrap(),
            Policy {
                start: Some(Start::Muted),
                while_muted: Some(WhileMuted::Hold),
                allowed_real_mics: Some(vec!["a\"b".to_owned()]),
                retention_days: Some(7),
                guard: Some(Guard::Enforce),
                locked: None,
                trusted_processors: Some(vec!["/usr/bin/easyeffects".to_owned()]),
            }
        );
    }

    #[test]
    fn a_pattern_allows_what_begins_like_it() {
        for (pattern, name, allows) in [
            ("usb-1", "usb-1", true),
            ("usb-1", "usb-2", false),
            ("usb-*", "usb-2", true),
            ("usb-*", "pci-1", false),
            ("usb-1", "usb-*", true),
            ("usb-*", "usb-1*", true),
            ("usb-*", "pci*", false),
        ] {
            assert_eq!(may_allow(pattern, name), allows, "{pattern} {name}");
        }
    }

    #[test]
    fn without_a_policy_nothing_is_forced() {
        let settings = Settings::default();
        assert!(settings.forced.is_empty() && settings.warnings.is_empty());
        assert_eq!(settings.allowed_real_mics, None);
    }
}
