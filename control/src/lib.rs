//! The one program `truemute`, as a library: daemon, command line, API, store and reports.
//! `main.rs` only calls [`cli::main`]. Tests use the protocol and the private audio server from here.

pub mod api;
pub mod backend;
pub mod cli;
pub mod clock;
pub mod combo;
pub mod config;
pub mod daemon;
#[cfg(target_os = "linux")]
pub mod demo;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod hotkey;
pub mod install;
pub mod lock;
mod own_file;
#[cfg(test)]
mod picture;
pub mod protocol;
pub mod report;
pub mod stats;
pub mod store;
#[cfg(target_os = "linux")]
pub mod supervise;
mod system;
mod tool;
pub mod top;
pub mod trace;
