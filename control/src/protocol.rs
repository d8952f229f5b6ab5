//! The one contract of `--json` and the API: requests, replies and records, versioned, with JSON Schemas generated from
//! these types into docs/schema. Nothing here talks to a socket ([`crate::api`]) or prints for people ([`crate::report`]).
//!
//! One JSON object a line each way. A request has `id` (any string or number, given back), `method` and `params`; the reply
//! has the same `id` and either `result` or `error`. `watch` and `trace` reply once and then send lines with `event`.

mod schemas;
mod stats;
mod trace;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use truemute_core::observed::{ClientState, Countermeasure, MicState, MutedApp, VirtualMic, Who};

pub use schemas::schemas;
pub use stats::{Behaviour, ClientStats, Connected, Figures, IntervalUs, Stats, Unattributed};
pub use trace::{TraceClient, TraceLine};

/// Version of everything in this module. It grows when a reader of the former version could misunderstand a line;
/// new fields alone do not change it.
pub const SCHEMA: u32 = 1;

/// A request: one line from a client of the API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Given back in the reply.
    pub id: RequestId,
    /// What to do.
    #[serde(flatten)]
    pub call: Call,
}

/// A request's own name for itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "the `id` is neither a whole number nor a text")]
pub enum RequestId {
    /// A whole number.
    Number(u64),
    /// A text of at most 64 bytes.
    Text(String),
}

/// What the API can do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "method", content = "params", rename_all = "snake_case")]
pub enum Call {
    /// The state: [`Status`].
    Status,
    /// Mute: [`Switched`].
    Mute(By),
    /// Unmute: [`Switched`].
    Unmute(By),
    /// The other of the two: [`Switched`].
    Toggle(By),
    /// Mute one app on its own, whatever the gate says: [`AppSwitched`].
    MuteClient(OfClient),
    /// Take that back: [`AppSwitched`].
    UnmuteClient(OfClient),
    /// Mute, and refuse every unmute until `unlock`: [`Locked`].
    Lock,
    /// Take that back, if polkit's authority lets the asking process: [`Locked`]. Waits while the user is asked.
    Unlock,
    /// Who is connected now: [`Stats`] of connected clients only, since they came.
    Clients,
    /// Counts per client: [`Stats`].
    Stats(StatsParams),
    /// The full [`WatchEvent::State`], then changes.
    Watch(WatchParams),
    /// Every pull and state change as [`crate::protocol::TraceLine`]s, until the connection ends.
    Trace,
}

/// Who asks for a change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct By {
    /// The origin; `cli` unless said.
    #[serde(default)]
    pub origin: Origin,
}

/// Which app, and who asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OfClient {
    /// `ClientStats::id` of a connected client, the name of its app in whatever case, or the path of its executable. Meant is
    /// always the whole app, with all its streams.
    pub client: String,
    /// The origin; `cli` unless said.
    #[serde(default)]
    pub origin: Origin,
}

/// Where a command comes from. Any origin may mute; only those that the configuration names may unmute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The command line, or a program that speaks the API.
    #[default]
    Cli,
    /// The global hotkey.
    Hotkey,
    /// The desktop's own mute flag of the virtual mic.
    Desktop,
    /// A conferencing app's own mute button.
    App,
    /// A headset's button.
    Headset,
    /// The administrator's policy.
    Policy,
    /// The lease ran out.
    Lease,
    /// The daemon's start.
    Start,
}

/// Parameters of `stats`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatsParams {
    /// Only what happened at or after this time (RFC 3339). Absent: since the daemon started. Minutes are the store's grain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// Parameters of `watch`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WatchParams {
    /// Milliseconds between two `counts` events, 100 to 60000; 1000 unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u32>,
}

/// A reply: one line to a client of the API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reply {
    /// The request's `id`; absent if the request could not be read that far.
    pub id: Option<RequestId>,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// Success or failure of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// What was asked for.
    Result(Box<Answer>),
    /// Why not.
    Error(ErrorObject),
}

/// The results of the methods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Answer {
    /// Of `mute`, `unmute`, `toggle`.
    Switched(Switched),
    /// Of `mute_client` and `unmute_client`.
    AppSwitched(AppSwitched),
    /// Of `lock` and `unlock`.
    Locked(Locked),
    /// Of `clients` and `stats`.
    Stats(Stats),
    /// Of `status`.
    Status(Status),
    /// Of `watch` and `trace`: lines follow.
    Following(Following),
}

/// Reply to `lock` and `unlock`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Locked {
    /// Version of the contract.
    pub schema: u32,
    /// Whether every unmute is refused now.
    pub locked: bool,
    /// Whether that was otherwise before.
    pub changed: bool,
}

/// Lines with `event` follow on this connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Following {
    /// Version of the contract.
    pub schema: u32,
    /// `watch` or `trace`.
    pub following: String,
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorObject {
    /// For programs.
    pub code: ErrorCode,
    /// What went wrong: one sentence.
    pub message: String,
    /// What to do: one sentence.
    pub remedy: String,
}

/// Kinds of failure that a program can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The line is not a JSON object of the contract (includes unknown keys and methods).
    BadRequest,
    /// The line is longer than 64 KiB.
    TooLong,
    /// Too many requests or connections.
    TooMany,
    /// The peer has another uid.
    Forbidden,
    /// The configuration or the policy does not let this origin unmute.
    Refused,
    /// `lock` holds.
    Locked,
    /// No such client is connected, or no such app is muted on its own.
    UnknownClient,
    /// There is no audio server now.
    NoServer,
    /// The store cannot be read.
    Store,
    /// Anything else; the message says what.
    Failed,
}

/// The gate, for people and programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateState {
    /// Sound may pass.
    Live,
    /// Clients get exact zeros.
    Muted,
}

/// Reply to `status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Version of the contract.
    pub schema: u32,
    /// Live or muted.
    pub gate: GateState,
    /// Why: the origin of the last change, or what keeps the gate silent (`source_missing`, `permission_denied`, `source_all_zero`, `no_server`, `server_lost`, ...).
    pub reason: String,
    /// Since when (RFC 3339, UTC).
    pub since: String,
    /// `pipewire`, and its version as the server tells it.
    pub backend: String,
    /// Whether the audio server is connected.
    pub connected: bool,
    /// The real mic.
    pub real_mic: RealMic,
    /// The virtual mic.
    pub virtual_mic: VirtualMic,
    /// Clients connected now, corked ones included.
    pub clients: u32,
    /// Whether every unmute is refused until `unlock`.
    pub locked: bool,
    /// Apps that are muted on their own, connected or not.
    pub muted_apps: Vec<MutedApp>,
    /// Clients that a real mic's sound reaches now by another way than through the gate.
    pub bypasses: Vec<Bypass>,
    /// Configuration keys that the administrator's policy forces, with their values as text.
    pub forced: Vec<Forced>,
    /// What went wrong and still is: a full disk, counting in memory only, a hotkey that could not be had.
    pub warnings: Vec<String>,
    /// Process id of the daemon.
    pub daemon_pid: u32,
    /// Version of the daemon.
    pub version: String,
}

/// The real mic in [`Status`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RealMic {
    /// The system's own name of it; empty while missing.
    pub name: String,
    /// Name for people.
    pub description: String,
    /// Capturing, released or missing.
    pub state: MicState,
}

/// A client that a real mic's sound reaches by another way than through the gate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bypass {
    /// The daemon's number for this bypass; no other bypass of the same `instance` has it.
    pub id: u64,
    /// The backend's instance that saw it.
    pub instance: u64,
    /// Who it is.
    #[serde(flatten)]
    pub who: Who,
    /// Running, corked or gone.
    pub state: ClientState,
    /// The real mic's name.
    pub real_mic: String,
    /// Whether it is linked to the real mic itself.
    pub path: BypassPath,
    /// The nodes between the real mic and the client, in the order of the sound's way; empty if `path` is `direct`.
    pub through: Vec<String>,
    /// When it was first seen (RFC 3339, UTC).
    pub since: String,
    /// When it ended; absent while it is there.
    pub until: Option<String>,
    /// Seconds in which sound could flow: linked and running.
    pub seconds: f64,
    /// Frames that it got.
    pub frames: u64,
    /// Whether `frames` was counted; otherwise it is estimated from the time and the sample rate.
    pub frames_exact: bool,
    /// What was done about it.
    pub done: Countermeasure,
    /// How often it was cut off; it may have been linked again each time.
    pub cuts: u64,
}

/// How a real mic's sound gets to a client past the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BypassPath {
    /// The client is linked to the real mic.
    Direct,
    /// Other nodes are between: a loopback, a filter, a sink whose monitor it records.
    Indirect,
}

/// A value that the administrator's policy forces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Forced {
    /// Key as it stands in the configuration.
    pub key: String,
    /// Value as TOML.
    pub value: String,
}

/// Reply to `mute`, `unmute` and `toggle`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Switched {
    /// Version of the contract.
    pub schema: u32,
    /// The state now.
    pub gate: GateState,
    /// Whether this command changed it.
    pub changed: bool,
    /// How it took effect: `cycle` or `idle`.
    pub applied: AppliedHow,
    /// Only with `cycle`: the clock that `position` counts in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<String>,
    /// Only with `cycle`: no sample at or after this frame of the clock is in the wrong state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// From the daemon's receipt of the command to its effect, in microseconds.
    pub took_us: u64,
}

/// Reply to `mute_client` and `unmute_client`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AppSwitched {
    /// Version of the contract.
    pub schema: u32,
    /// The app; several where one name stands for several executables.
    pub apps: Vec<MutedApp>,
    /// Whether it is muted on its own now.
    pub app_muted: bool,
    /// Whether this command changed it.
    pub changed: bool,
    /// `moved`: none of its streams is linked any more to the source that it had before. After a mute, no cycle that begins
    /// from now on gives it sound.
    pub applied: AppliedToApp,
    /// The streams that were moved (`ClientStats::id`).
    pub clients: Vec<u64>,
    /// From the daemon's receipt of the command to its effect, in microseconds.
    pub took_us: u64,
}

/// How a change for one app took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AppliedToApp {
    /// Its streams were moved to another source.
    Moved,
}

/// How a change of the gate took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AppliedHow {
    /// In a cycle of the graph.
    Cycle,
    /// Nothing was running, or the real mic has not delivered since the unmute; what comes next comes in the new state.
    Idle,
}

/// A line of `watch`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum WatchEvent {
    /// The full state: first, and after every change of it.
    State(Status),
    /// Counts of the connected clients: first, and then at each interval.
    Counts(Stats),
    /// The reader was too slow: this many lines were dropped before this one.
    Lost {
        /// Lines.
        lines: u64,
    },
}
