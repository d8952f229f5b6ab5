//! What the end-to-end tests and benchmarks share: recording clients that count and log ([`recorder`], [`tape`]), what
//! their logs prove ([`evidence`]), a client that meddles with everything ([`meddler`]), the servers to run against ([`servers`]), the real program ([`truemute`]), the whole
//! set of a test ([`stage`]), and browsers ([`browser`]) with a page that records ([`page`]). The private server itself is `truemute_pipewire::rehearsal`.

pub mod append;
pub mod browser;
pub mod evidence;
pub mod meddler;
pub mod page;
pub mod recorder;
pub mod servers;
pub mod stage;
pub mod tape;
pub mod threads;
pub mod truemute;
