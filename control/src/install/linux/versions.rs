//! Which audio server and session manager a machine has: what to install depends on it.

use std::process::Command;
use std::time::Duration;

use super::parts::Wireplumber;
use crate::tool;

/// A program that takes longer to say its version does not work.
const LIMIT: Duration = Duration::from_secs(5);

impl Wireplumber {
    /// The one on the search path; nothing if there is none, or one of a series that is not known.
    pub fn installed() -> Option<Self> {
        let mut command = Command::new("wireplumber");
        command.arg("--version");
        Self::of_words(&tool::ask(command, LIMIT).ok()?.text())
    }

    /// For fuzzing: what a program said that is called wireplumber.
    #[cfg(fuzzing)]
    pub(crate) fn fuzz(words: &str) {
        let _ = Self::of_words(words);
    }

    /// From what `wireplumber --version` says: "Linked with libwireplumber 0.5.8" (src/main.c).
    fn of_words(words: &str) -> Option<Self> {
        let version = words
            .lines()
            .find_map(|line| line.strip_prefix("Linked with libwireplumber "))?;
        match version.trim().split('.').collect::<Vec<_>>()[..] {
            ["0", "4", ..] => Some(Self::V0_4),
            ["0", "5", ..] => Some(Self::V0_5),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_is_read_from_the_version() {
        let words = |version: &str| {
            let text = format!(
                "wireplumber\nCompiled with libwireplumber 0.3.9\nLinked with libwireplumber {version}\n"
            );
            Wireplumber::of_words(&text)
        };
        assert_eq!(words("0.4.13"), Some(Wireplumber::V0_4));
        assert_eq!(words("0.5.8"), Some(Wireplumber::V0_5));
        assert_eq!(words("0.5.18"), Some(Wireplumber::V0_5));
        assert_eq!(words("0.6.0"), None);
        assert_eq!(Wireplumber::of_words(""), None);
    }
}
