//! Windows' own events about audio: that the audio engine offered sound to a process (160), and that a packet went from one process to
//! another (115), of the provider Microsoft-Windows-Audio. Only administrators and services may hear them, so the service does
//! ([`hub`], [`serve`], `etw`), and passes them on raw, as lines of JSON over a pipe that the user at the console may read ([`read`]).
//! What they mean is said here, on the agent's side alone ([`decode`], [`processes`]): Microsoft publishes their names and fields, and
//! nothing else about them.

pub(crate) mod decode;
#[cfg(windows)]
pub mod etw;
pub mod hub;
pub(crate) mod processes;
pub mod read;
pub mod serve;

use serde::{Deserialize, Serialize};

/// Microsoft-Windows-Audio, by its manifest.
pub const PROVIDER: u128 = 0xae4b_d3be_f36f_45b6_8d21_bdd6_fb83_2853;

/// "CrossProcesspacketadded", from Windows 10 1507 on.
pub const PACKET: u16 = 115;

/// "Signalpumppasscompletion", from Windows 10 2004 on.
pub const OFFER: u16 = 160;

/// The version of [`Line`].
pub const SCHEMA: u32 = 1;

/// The most bytes of an event's own data that are kept: the two above have 28 and 20.
pub const MOST_DATA: usize = 64;

/// One event as Windows gave it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawEvent {
    /// [`PACKET`] or [`OFFER`].
    pub id: u16,
    /// The version of its layout.
    pub version: u8,
    /// The process that logged it.
    pub pid: u32,
    /// When, in nanoseconds of the performance counter.
    pub at_ns: u64,
    /// How long pointers are in its data: 4 or 8 bytes.
    pub pointer_bytes: u8,
    /// Its own data, in hexadecimal digits.
    pub data: String,
}

impl RawEvent {
    /// The digits of these bytes, [`MOST_DATA`] of them at most.
    pub fn digits(data: &[u8]) -> String {
        let kept = data.iter().take(MOST_DATA);
        kept.map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What the service writes at a time, as a line: at least one a second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The events since the last line, each processor's in order.
    pub events: Vec<RawEvent>,
    /// Events lost since the last line: in Windows' trace, or because this reader was too slow.
    pub lost: u64,
    /// Whether the events are listened to now.
    pub listens: bool,
    /// Why they cannot be, and what to do, as two sentences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// What was heard since the last time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Whether events are listened to now.
    pub hears: bool,
    /// How often that began: from one time to the next, nobody knows how many events there were.
    pub beginnings: u64,
    /// The events.
    pub events: Vec<RawEvent>,
    /// Events that are known to be lost.
    pub lost: u64,
}

/// Where events come from. Any thread but an audio thread may ask; it does not wait.
pub trait Events: Send + Sync {
    /// What came since the last call.
    fn heard(&self) -> Heard;
}

/// Nobody listens.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unheard;

impl Events for Unheard {
    fn heard(&self) -> Heard {
        Heard::default()
    }
}
