//! What the daemon asks of whoever keeps the history of counts (`crate::store::Recorder`), and what a change of the gate
//! is to it. Nothing here stores anything.

use std::sync::Arc;

use jiff::Timestamp;
use truemute_core::observed::{Applied, Snapshot};

use crate::protocol::{ErrorObject, GateState, Stats};

/// The gate changed (or the daemon started: then `applied` is absent).
#[derive(Clone, Debug, PartialEq)]
pub struct GateChange {
    /// The state from now on.
    pub gate: GateState,
    /// Why, as in [`crate::protocol::Status::reason`].
    pub reason: String,
    /// When, in nanoseconds of the monotonic clock.
    pub monotonic_ns: u64,
    /// When, in nanoseconds of the wall clock since 1970.
    pub wall_ns: u64,
    /// How it took effect; absent where no backend runs.
    pub applied: Option<Applied>,
}

/// The keeper of the history. All calls are serialised by the daemon or safe side by side (`&self`); none of them waits
/// for a disk, but [`History::stats`] with a `since` before the daemon's start and [`History::close`].
pub trait History: Send + Sync {
    /// Takes over one look. When this returns, clients in it that are gone are kept here (in memory at least): the
    /// daemon then lets the backend forget them. Looks come each second while anybody is connected, after each change
    /// of clients, before each `stats`, and once at the end. A new `instance` means that counts begin anew; clients
    /// of the former instance are then gone.
    fn record(&self, look: &Arc<Snapshot>);

    /// The connection to the audio server was lost: the clients of the last look are gone.
    fn server_lost(&self);

    /// The gate changed. The first call is the state at the start.
    fn gate_changed(&self, change: &GateChange);

    /// Counts per client, gone ones included, since `since`, or since the daemon started.
    fn stats(&self, since: Option<Timestamp>) -> Result<Stats, ErrorObject>;

    /// Counts of the clients that are connected now, since they came.
    fn clients(&self) -> Stats;

    /// What is wrong and still is, as sentences for [`crate::protocol::Status::warnings`].
    fn warnings(&self) -> Vec<String>;

    /// The daemon ends: writes what is left and returns when it is on disk.
    fn close(&self);
}
