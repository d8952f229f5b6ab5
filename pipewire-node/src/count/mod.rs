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
//! What one pull is, at the edges: each cycle that a client's node begins and completes while it is linked to us. So a
//! cycle in which the link did not carry anything yet counts (a client sees up to six empty buffers at the start with
//! 1.4.2), and so does one that runs while the client disconnects, though its callback is not called any more.

pub(crate) mod activation;
pub(crate) mod books;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
pub(crate) mod layout;
#[cfg(test)]
mod live;
pub(crate) mod peers_feed;
mod profile_pod;
pub(crate) mod profiler;
pub(crate) mod profiler_feed;
pub(crate) mod table;

/// The ledger of all clients.
pub(crate) type Clients = truemute_core::ledger::Ledger<{ table::PEERS }>;
