//! The lines of a trace (docs/trace.md). Who turns what the daemon saw into them is [`crate::trace`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use truemute_core::observed::{ClientState, CountedBy, Who};

use super::{Bypass, Figures, GateState};

/// A client in a trace, with its counts since it came. What it did while muted is left to the reader of the trace, who has
/// every pull.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TraceClient {
    /// Its number in the lines of this instance.
    pub id: u64,
    /// Who it is.
    #[serde(flatten)]
    pub who: Who,
    /// Running, corked or gone.
    pub state: ClientState,
    /// Whether its app is muted on its own.
    pub app_muted: bool,
    /// While live.
    pub live: Figures,
    /// While muted.
    pub muted: Figures,
    /// From what they were counted.
    pub counted_by: CountedBy,
    /// Cycles flagged with an xrun, discontinuity or late wake-up.
    pub xruns: u64,
    /// Pulls known to be lost.
    pub lost: u64,
    /// When the stream came (RFC 3339, UTC).
    pub first_seen: String,
}

/// A line of a trace. Times are given twice: the monotonic clock for intervals, the wall clock to find them in the world.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum TraceLine {
    /// First line, and again whenever the backend started anew.
    Start {
        /// Version of the contract.
        schema: u32,
        /// Monotonic clock, nanoseconds.
        monotonic_ns: u64,
        /// Wall clock (RFC 3339, UTC).
        time: String,
        /// Version of the daemon.
        version: String,
        /// The backend's instance; client numbers and positions hold within one.
        instance: u64,
    },
    /// A client came, changed, left, or was there at the start.
    Client {
        /// Monotonic clock, nanoseconds.
        monotonic_ns: u64,
        /// Wall clock (RFC 3339, UTC).
        time: String,
        /// Who it is, and its counts up to now.
        client: Box<TraceClient>,
    },
    /// A real mic's sound reaches a client past the gate: it came, changed, ended, or was there at the start.
    Bypass {
        /// Monotonic clock, nanoseconds.
        monotonic_ns: u64,
        /// Wall clock (RFC 3339, UTC).
        time: String,
        /// Who it is, by what way, and its figures up to now.
        bypass: Box<Bypass>,
    },
    /// The gate changed, or this is its state at the start.
    Gate {
        /// Monotonic clock, nanoseconds.
        monotonic_ns: u64,
        /// Wall clock (RFC 3339, UTC).
        time: String,
        /// The state now.
        gate: GateState,
        /// Why.
        reason: String,
        /// Clock of `position`, if it took effect in a cycle.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        clock: Option<String>,
        /// First frame in the new state.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        position: Option<u64>,
    },
    /// One pull.
    Pull {
        /// Monotonic clock, nanoseconds.
        monotonic_ns: u64,
        /// Wall clock (RFC 3339, UTC).
        time: String,
        /// `ClientStats::id`.
        client: u64,
        /// Clock position of its first frame.
        position: u64,
        /// Frames.
        frames: u32,
        /// Whether the gate was live for it.
        live: bool,
        /// Whether the cycle was flagged.
        flagged: bool,
    },
    /// Lines that did not fit into a bounded queue were dropped here.
    Lost {
        /// Lines.
        lines: u64,
    },
    /// Last line of a trace that ended in order.
    End {
        /// Monotonic clock, nanoseconds.
        monotonic_ns: u64,
        /// Wall clock (RFC 3339, UTC).
        time: String,
        /// Pull lines written.
        pulls: u64,
        /// Lines lost in all.
        lost: u64,
    },
}
