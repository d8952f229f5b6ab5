//! How every pull of every client is counted. Not who a client is (`who/`), and not what the gate decided.
//!
//! ```text
//!   server: "node 57 is linked to you, its record is memory 9"          main thread
//!      |
//!   peers_feed.rs --- PeerChange::Joined, Left, Own ---> engine
//!      | maps (activation.rs)                              | by invoke
//!      v                                                   v
//!   client's record                                     table.rs            real-time thread
//!   [signal|awake|finish] <-- looks once a cycle ----- scan, remove
//!      ^                                                   | finish changed: one pull of the last delivery
//!      | written by the client, each cycle                 v
//!   layout.rs: is our own record what we saw?           books.rs: ledger slot, trace
//! ```
//!
//! A client that completes a cycle writes the time into its record. Our output's callback of the next cycle sees that
//! the time changed, and counts one pull of what the last cycle delivered, live or muted as the gate had it then.
//!
//! Where the records cannot be believed, `profiler.rs` estimates the same from the server's profiler
//! (`profiler_feed.rs`, `profile_pod.rs`), on the main thread.
//!
//! What one pull is, at the edges: each cycle that a client's node begins and completes while we know that it is linked to
//! us. A cycle that runs while the client disconnects counts, though its callback is not called any more. At the start the
//! server may run a client before it tells us of the link: for up to six cycles its own converter fills the buffers, and
//! marks them as empty (SPA_CHUNK_FLAG_EMPTY; seen with 0.3.65 and 1.4.2). They count from when we know of the link.

pub(crate) mod activation;
pub(crate) mod books;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
pub(crate) mod layout;
mod listener;
#[cfg(test)]
mod live;
pub(crate) mod peers_feed;
mod profile_pod;
pub(crate) mod profiler;
pub(crate) mod profiler_feed;
pub(crate) mod table;

/// Clients whose counts are kept apart, at once. The pulls of further ones are unattributed.
const SLOTS: usize = 512;

/// The ledger of all clients.
pub(crate) type Clients = truemute_core::ledger::Ledger<SLOTS>;
