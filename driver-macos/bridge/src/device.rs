//! What the bridge needs of the plug-in that it serves.

use crate::message::{Anchor, Aside, Pulls, Recorded, Snapshot};
use truemute_core::gate::Gate;

/// The virtual mic, as the plug-in has it in its own memory. Called on the bridge's thread, never on an audio thread;
/// while a call lasts, no request is answered.
pub trait Device: Send + Sync {
    /// The gate. The bridge is the only one to mute, to unmute and to renew the lease.
    fn gate(&self) -> &Gate;

    /// The host's monotonic clock in nanoseconds: the one that reads are given to the gate with.
    fn now_ns(&self) -> u64;

    /// Where the clock stands. Whenever it has a new seed, [`crate::server::Server::poke`].
    fn clock(&self) -> Anchor;

    /// How many clients run IO. Whenever it changes, [`crate::server::Server::poke`].
    fn running(&self) -> u32;

    /// The arrival of the client that came last. Whenever it changes, [`crate::server::Server::poke`].
    fn arrivals(&self) -> u64;

    /// A number that differs after each start of the plug-in.
    fn instance(&self) -> u64;

    /// Who reads, and how much. Those who left are in it until they are among the `recorded` ones.
    fn snapshot(&self, recorded: Option<&Recorded>) -> Snapshot;

    /// Mutes exactly these clients on their own.
    fn set_aside(&self, aside: &Aside);

    /// Whether no read is under way that began before its client was muted on its own.
    fn is_aside_settled(&self) -> bool;

    /// Keeps single reads from now on, or none.
    fn trace(&self, on: bool);

    /// The single reads that were kept since the last time, at most so many.
    fn pulls(&self, most: usize) -> Pulls;

    /// What the plug-in knows about itself, as text for people.
    fn diag(&self) -> String;
}
