//! What combinations of keys can be the hotkey, and why others cannot. Who grabs them is [`crate::hotkey`].

use std::str::FromStr as _;

use global_hotkey::hotkey::{Code, HotKey, HotKeyParseError, Modifiers};

/// Not a combination of keys that could be a hotkey.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{combo}\" cannot be the hotkey: {why}. Use something like ctrl+alt+m, super+shift+F9 or Pause."
)]
pub struct Unusable {
    /// What was configured.
    pub combo: String,
    /// What is wrong with it.
    pub why: String,
}

/// Reads `combo` (`ctrl+alt+m`, `super+F9`, `Pause`): any of `ctrl`, `alt`, `shift`, `super`, then one key. A key that
/// types something needs `ctrl`, `alt` or `super` with it, because a global hotkey takes it away from all other programs.
pub(crate) fn parse(combo: &str) -> Result<HotKey, Unusable> {
    let unusable = |why: String| Unusable {
        combo: combo.into(),
        why,
    };
    let hotkey = HotKey::from_str(combo.trim()).map_err(|error| {
        unusable(match error {
            HotKeyParseError::UnsupportedKey(key) => {
                format!("\"{key}\" is not a key that can be used")
            }
            HotKeyParseError::EmptyToken(_) => "a key is missing beside a plus sign".into(),
            HotKeyParseError::InvalidFormat(_) => "it needs one key, after all modifiers".into(),
        })
    })?;
    let guarded = hotkey
        .mods
        .intersects(Modifiers::CONTROL | Modifiers::ALT | Modifiers::META);
    if !guarded && types_something(hotkey.key) {
        return Err(unusable(
            "no other program could use that key any more".into(),
        ));
    }
    Ok(hotkey)
}

/// For fuzzing: what the configuration names as a hotkey.
#[cfg(fuzzing)]
pub fn fuzz(combo: &str) {
    if let Err(error) = parse(combo) {
        assert!(!error.to_string().is_empty());
    }
}

/// Whether people need the key for typing or moving. Function and media keys, Pause and the like stand alone.
fn types_something(key: Code) -> bool {
    let name = key.to_string();
    let function_key = name
        .strip_prefix('F')
        .is_some_and(|number| number.parse::<u8>().is_ok());
    let stands_alone = [
        "Pause",
        "ScrollLock",
        "PrintScreen",
        "Media",
        "Audio",
        "Launch",
        "Browser",
    ];
    !function_key && !stands_alone.iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_combinations() {
        for combo in [
            "ctrl+alt+m",
            "Ctrl+Alt+M",
            "super+shift+F9",
            "Pause",
            "F13",
            "MediaPlay",
            " alt+Space ",
        ] {
            assert!(parse(combo).is_ok(), "{combo}: {:?}", parse(combo));
        }
    }

    #[test]
    fn others_say_why_and_give_examples() {
        for (combo, why) in [
            ("", "\"\" is not a key"),
            ("ctrl+alt+banana", "\"banana\" is not a key"),
            ("ctrl++m", "a key is missing"),
            ("ctrl+m+alt", "after all modifiers"),
            ("ctrl+alt", "needs one key"),
            ("m", "no other program"),
            ("shift+m", "no other program"),
            ("Enter", "no other program"),
        ] {
            let message = parse(combo).expect_err(combo).to_string();
            assert!(message.contains(why), "{combo}: {message}");
            assert!(
                message.contains("ctrl+alt+m"),
                "names an example: {message}"
            );
        }
    }
}
