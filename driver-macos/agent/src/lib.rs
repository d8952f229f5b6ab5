//! TrueMute's agent on macOS. The gate, the counts and the clock of the virtual mic live in the HAL plug-in, inside Core
//! Audio's own process; the agent captures the real mic, brings its frames to the plug-in's clock and writes them into the
//! ring that both share. When it dies, the plug-in writes zeros.
//!
//! What it needs of the operating system is [`system::System`]. `coreaudio` is the real one, on macOS only; [`simulated`]
//! stands in for it everywhere, so that all else here runs and is tested on Linux.

pub mod agent;
mod bypass;
pub mod choice;
mod clients;
#[cfg(target_os = "macos")]
pub mod coreaudio;
mod feed;
mod keeper;
mod make_default;
pub mod simulated;
pub mod system;

pub use make_default::make_default;
pub use truemute_bridge::client::TRUSTED as TRUSTED_USERS;
pub use truemute_bridge::place::FOLDER;
