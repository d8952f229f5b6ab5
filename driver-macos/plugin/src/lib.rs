//! The macOS driver: a Core Audio server plug-in that publishes one input device, TrueMute Microphone. It decides live or
//! silent and counts every read, with `truemute-core`'s gate and ledger, in the process that coreaudiod gives it.
//!
//! From the interface inwards: [`entry`] takes the host's calls and pointers, [`properties`] answers out of the [`table`],
//! [`device`] is what the calls change, [`input`] is the way of a read, on the host's real-time threads. [`abi`] has the
//! host's layouts, [`cf`] the few CoreFoundation calls. Unsafe code is in `entry`, `abi`, `cf`, `host_clock` (the system's
//! clock) and `try_cell` only.
//!
//! It also compiles as an ordinary shared library elsewhere, for the tests: a host that exports CoreFoundation's functions
//! can load it. Nothing in it calls Core Audio, which the interface's header forbids.

pub mod abi;
mod atomic;
#[cfg(test)]
mod bundle;
pub mod cf;
pub mod clients;
pub mod clock;
mod departed;
pub mod device;
pub mod diag;
mod door;
mod entry;
#[cfg(all(any(test, fuzzing), not(target_vendor = "apple")))]
pub mod fuzzing;
pub mod host_clock;
pub mod input;
pub mod properties;
pub mod pull_log;
mod remembered;
pub mod seats;
pub mod sleep;
pub mod table;
mod try_cell;

pub use entry::TrueMute_Create;
