//! The bridge between the macOS driver and its agent: a Unix socket over which both say who they are and what they want,
//! and shared memory that only frames go through. It runs on Linux just the same, where it is tested.
//!
//! The plug-in serves ([`server`]) what it has ([`device`]); the agent is its client ([`client`]). Neither trusts the other:
//! what a hostile peer can reach is silence.
//!
//! - Only the user at the console gets in, one producer at a time, and the agent looks who serves ([`peer`]).
//! - Memory is made by the plug-in, anew for each producer, of a size that nobody can change ([`memory`]).
//! - Every message has a largest size, every wait an end ([`message`], `wire.rs`).
//! - A hang-up of the producer mutes at once, and so does a lease that is not renewed in [`LEASE_NS`].

pub mod client;
pub mod device;
mod listener;
pub mod memory;
pub mod message;
pub mod peer;
pub mod place;
mod producer;
pub mod server;
mod wire;

/// How long a lease lasts after each renewal, in nanoseconds: set by the plug-in, never by its peer.
pub const LEASE_NS: u64 = 250_000_000;

/// The driver's frames: left and right.
pub type Frame = [f32; 2];
