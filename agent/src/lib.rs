//! TrueMute's agent on systems where a driver holds the gate, the counts and the clock of the virtual mic: macOS and Windows. The
//! agent captures the real mic, brings its frames to the driver's clock and feeds them to it. When it dies, the driver writes
//! zeros.
//!
//! What it needs of the operating system is [`system::System`], and of the driver [`driver::Driver`]; `truemute-macos` and
//! `truemute-windows` have the real ones. [`simulated`] stands in for the system, so that all else here runs and is tested
//! on Linux.
#![forbid(unsafe_code)]

pub mod agent;
mod apps;
pub mod bypass;
pub mod choice;
pub mod driver;
mod feed;
mod keeper;
mod make_default;
#[cfg(unix)]
pub mod simulated;
pub mod system;

pub use make_default::make_default;
