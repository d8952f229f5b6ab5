//! The counts: what `stats` and `clients` reply. What they are made of, and how, is [`crate::stats`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use truemute_core::observed::{ClientState, CountedBy, Offers, Who};

use super::Bypass;

/// Reply to `stats` and `clients`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stats {
    /// Version of the contract.
    pub schema: u32,
    /// Start of the time that the figures cover (RFC 3339, UTC).
    pub since: String,
    /// End of it.
    pub until: String,
    /// The clients, those with the most pulls while muted first.
    pub clients: Vec<ClientStats>,
    /// Pulls that could not be given to any client.
    pub unattributed: Unattributed,
    /// Who got a real mic's sound past the gate in that time, the latest first. Absent in what older versions wrote.
    #[serde(default)]
    pub bypasses: Vec<Bypass>,
}

/// Pulls without a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unattributed {
    /// Pulls.
    pub pulls: u64,
    /// Frames in those of them that could be read.
    pub frames: u64,
}

/// One client's figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClientStats {
    /// The daemon's number for this client; no other client of the same `instance` has it.
    pub id: u64,
    /// The backend's instance that counted it: a new one after each start, so that a history over restarts can tell
    /// two clients with the same `id` apart.
    pub instance: u64,
    /// Who it is.
    #[serde(flatten)]
    pub who: Who,
    /// Running, corked or gone.
    pub state: ClientState,
    /// Whether its app is muted on its own: it gets silence whatever the gate says. Of one that is gone: false.
    pub app_muted: bool,
    /// While live.
    pub live: Figures,
    /// While muted.
    pub muted: Figures,
    /// Whether the figures are exact: counted from activation records or by the driver, with no lost pull and no xrun.
    pub exact: bool,
    /// From what they were counted.
    pub counted_by: CountedBy,
    /// Cycles flagged with an xrun, discontinuity or late wake-up; each may hide or double a pull.
    pub xruns: u64,
    /// Pulls known to be lost.
    pub lost: u64,
    /// When the stream came (RFC 3339, UTC).
    pub first_seen: String,
    /// Its last pull.
    pub last_pull: Option<String>,
    /// Time between pulls.
    pub interval_us: IntervalUs,
    /// How long it was connected, corked or not; what `behaviour_while_muted` is judged by.
    pub connected: Connected,
    /// What it did while the gate was muted.
    pub behaviour_while_muted: Behaviour,
    /// How often the system offered sound to it, where it says so; not in the history (`stats --since`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offers: Option<Offers>,
}

/// How long a client was connected in each state of the gate. Time in which the machine slept does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Connected {
    /// Seconds while live.
    pub live_seconds: f64,
    /// Seconds while muted.
    pub muted_seconds: f64,
}

/// Pulls in one state of the gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Figures {
    /// Completed deliveries.
    pub pulls: u64,
    /// Frames in them.
    pub frames: u64,
    /// Seconds of sound that these frames span.
    pub seconds: f64,
}

/// Time between pulls, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IntervalUs {
    /// Median.
    pub p50: u64,
    /// 99th percentile.
    pub p99: u64,
    /// Longest.
    pub max: u64,
}

/// What a client did while the gate was muted: the study's question, as far as pulls tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Behaviour {
    /// Pulled all the time (at least 95 % of the muted time that it was connected).
    Continuous,
    /// Pulled some of the time.
    Intermittent,
    /// Was connected and pulled nothing.
    Paused,
    /// Was not connected while the gate was muted.
    None,
}
