//! The one program `truemute`, as a library: daemon, command line, API, store and reports.
//! `main.rs` only calls [`cli::main`]. Tests use the protocol and the private audio server from here.

pub mod backend;
pub mod protocol;
