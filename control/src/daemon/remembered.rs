//! What the daemon remembers beyond its end, and what follows from it at the next start: a remembered mute holds, and nothing
//! that is remembered opens the gate by itself (P2). Pure; the file is [`super::memory`]'s matter.

use serde::{Deserialize, Serialize};
use truemute_core::observed::MutedApp;

use crate::config::Start;
use crate::protocol::GateState;

/// The only format so far.
const VERSION: u32 = 1;

/// What is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remembered {
    version: u32,
    /// What was commanded last.
    pub gate: GateState,
    /// Whether the daemon ended in order after that. While it runs: no.
    pub ended: bool,
    /// The machine's boot in which this was written (`system::boot`); empty if it could not be read.
    pub boot: String,
    /// The apps that are muted on their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub muted_apps: Vec<MutedApp>,
}

/// The version alone, so that a later format is told apart from garbage.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl Remembered {
    /// What a daemon of this program remembers.
    pub fn new(gate: GateState, ended: bool, boot: String, muted_apps: Vec<MutedApp>) -> Self {
        Self {
            version: VERSION,
            gate,
            ended,
            boot,
            muted_apps,
        }
    }

    /// Reads the content of the file.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let damaged = |_| "it is damaged".to_owned();
        let Versioned { version } = serde_json::from_slice(bytes).map_err(damaged)?;
        if version != VERSION {
            return Err(format!(
                "it has format {version}, and this program knows {VERSION}"
            ));
        }
        serde_json::from_slice(bytes).map_err(damaged)
    }

    /// The content of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Numbers, booleans and text always serialise.
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

/// Why nothing is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Forgotten {
    /// There is no file: a first start, or somebody removed it.
    Missing,
    /// There is one that cannot be believed, as the end of a sentence.
    Unusable(String),
}

/// The gate's first state, and what has to be said about it.
///
/// `start` is the configured state; it counts only where what is remembered allows it. `boot` is the machine's present boot.
pub(super) fn first_gate(
    remembered: &Result<Remembered, Forgotten>,
    start: Start,
    boot: &str,
) -> (GateState, Option<String>) {
    let configured = match start {
        Start::Muted => GateState::Muted,
        Start::Live => GateState::Live,
    };
    let unmute = "Unmute when you want to be heard.";
    match remembered {
        Err(Forgotten::Missing) if configured == GateState::Muted => (GateState::Muted, None),
        Err(Forgotten::Missing) => (
            GateState::Muted,
            Some(format!(
                "Nothing is remembered from before, so that TrueMute starts muted although `start` is live. {unmute}"
            )),
        ),
        Err(Forgotten::Unusable(why)) => (
            GateState::Muted,
            Some(format!(
                "Whether you were muted, and which apps on their own, cannot be read ({why}), so that TrueMute starts muted. {unmute}"
            )),
        ),
        Ok(before) if before.gate == GateState::Muted => (GateState::Muted, None),
        // Of another boot: the machine went down under it, which is no crash of the daemon.
        Ok(before) if !before.ended && (before.boot == boot || before.boot.is_empty()) => (
            GateState::Muted,
            Some(format!(
                "The daemon was killed or crashed while live, and is muted since. {unmute}"
            )),
        ),
        Ok(_) => (configured, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOOT: &str = "0b9d3a52-1c53-4c4e-9d2f-6b1c0a7e5d11";

    fn remembered() -> impl Strategy<Value = Remembered> {
        let boot = prop::sample::select(&[BOOT, "another", ""][..]);
        let app = (".*", prop::option::of("/.*")).prop_map(|(app, path)| MutedApp {
            app,
            executable: path.map(Into::into),
        });
        let apps = prop::collection::vec(app, 0..3);
        (any::<bool>(), any::<bool>(), boot, apps).prop_map(|(live, ended, boot, apps)| {
            let gate = if live {
                GateState::Live
            } else {
                GateState::Muted
            };
            Remembered::new(gate, ended, boot.to_owned(), apps)
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(state in remembered()) {
            prop_assert_eq!(Remembered::parse(&state.to_bytes()), Ok(state));
        }

        #[test]
        fn garbage_is_refused_in_words(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let why = Remembered::parse(&bytes).unwrap_err();
            prop_assert!(why.starts_with("it "), "{}", why);
        }

        /// A file that was cut off is never taken for a whole one.
        #[test]
        fn a_part_is_refused(state in remembered(), cut in 1usize..40) {
            let bytes = state.to_bytes();
            // Without its last byte, the end of the line, it is whole.
            let part = &bytes[..bytes.len().saturating_sub(1 + cut)];
            prop_assert!(Remembered::parse(part).is_err());
        }

        /// Live needs a configuration that says so, a memory that can be read and says live, and no crash since.
        #[test]
        fn the_memory_only_mutes(state in remembered(), start_live in any::<bool>()) {
            let start = if start_live { Start::Live } else { Start::Muted };
            let allows = start_live
                && state.gate == GateState::Live
                && (state.ended || state.boot == "another");
            let (gate, _) = first_gate(&Ok(state), start, BOOT);
            prop_assert_eq!(gate == GateState::Live, allows);
        }
    }

    #[test]
    fn nothing_remembered_is_muted() {
        for start in [Start::Muted, Start::Live] {
            for forgotten in [Forgotten::Missing, Forgotten::Unusable("it is odd".into())] {
                let silent = start == Start::Muted && forgotten == Forgotten::Missing;
                let (gate, warning) = first_gate(&Err(forgotten), start, BOOT);
                assert_eq!(gate, GateState::Muted);
                assert_eq!(warning.is_none(), silent, "{warning:?}");
            }
        }
    }

    #[test]
    fn other_formats_are_told_apart_from_garbage() {
        let later = br#"{"version":2,"gate":"live","mood":"fine"}"#;
        assert!(Remembered::parse(later).unwrap_err().contains("format 2"));
        for damaged in [
            &br#"{"version":1,"gate":"live","ended":true,"boot":"","mood":"fine"}"#[..],
            br#"{"version":1,"gate":"loud","ended":true,"boot":""}"#,
            br#"{"version":1,"gate":"live","gate":"live","ended":true,"boot":""}"#,
            br#"{"version":1,"gate":"live","ended":true}"#,
            b"{}",
            b"",
        ] {
            assert!(Remembered::parse(damaged).unwrap_err().contains("damaged"));
        }
    }
}
