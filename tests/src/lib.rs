//! What the end-to-end tests and benchmarks share: recording clients that count and log ([`recorder`]), the servers
//! to run against ([`servers`]) and the real program ([`truemute`]). The private server itself is `truemute_pipewire::rehearsal`.

pub mod append;
pub mod recorder;
pub mod servers;
pub mod tape;
pub mod truemute;
