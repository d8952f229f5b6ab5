//! TrueMute's Linux backend: the virtual microphone on PipeWire.
//!
//! The way of a sample is `sample/`, the way of a count is `count/`, who a client is `who/`, what the server's graph looks
//! like `graph/`, where muted apps go `aside/`; `engine/` is the thread that keeps them together, and [`VirtualMic`] the handle on it. `rehearsal` is a
//! private audio server with a simulated mic, for demo, tests and benchmarks. What is muted when is the daemon's to say.

mod arrival;
mod aside;
mod count;
mod engine;
mod graph;
mod guard;
mod heap;
mod monotonic;
mod real_time;
pub mod rehearsal;
mod sample;
pub mod who;

pub use arrival::on_arrival;
pub use engine::{
    Counting, Failure, GuardMode, Options, ServerFacts, VirtualMic, WhileMuted, give_mics_back,
};
pub use guard::checks::{LinkChecks, link_checks};
pub use heap::share_one_heap;

/// `node.name` of the virtual mic.
pub const VIRTUAL_MIC: &str = sample::NODE_NAME;

/// `node.name` of the source that apps record from while they are muted on their own. It is there only while any is.
pub const SILENT_SOURCE: &str = aside::NODE_NAME;

/// `node.name` of the silent twin, a source of the server's own that `truemute install` sets up: it stands in for the virtual mic,
/// and for the silent source, while they are not there.
pub const SILENT_TWIN: &str = "truemute.silent";

/// Doors for the programs in fuzz/ to the parsers of what other processes wrote.
#[cfg(fuzzing)]
pub mod fuzzing {
    pub use crate::count::fuzzing::{activation_record, layout_check, profile};
    pub use crate::sample::fuzzing::params;
    pub use crate::who::fuzzing::{proc_files, socket_list};
}
