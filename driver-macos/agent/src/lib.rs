//! TrueMute's agent on macOS. The gate, the counts and the clock of the virtual mic live in the HAL plug-in, inside Core
//! Audio's own process. What the agent does is `truemute-agent`'s; here are the two things that it needs: Core Audio
//! (`coreaudio`, on macOS only), and the plug-in behind its bridge ([`PlugIn`]), which runs and is tested on Linux too.

mod clients;
#[cfg(target_os = "macos")]
pub mod coreaudio;
pub mod diagnosis;
mod plug_in;

use truemute_agent::system::Names;
use truemute_core::observed::Api;

pub use plug_in::PlugIn;
pub use truemute_bridge::client::TRUSTED as TRUSTED_USERS;
pub use truemute_bridge::place::FOLDER;

/// The UID of TrueMute's own device, as the plug-in publishes it (`driver-macos/plugin/properties.tsv`).
pub const VIRTUAL_MIC: &str = "org.truemute.microphone";

/// What macOS and its places are called.
pub const NAMES: Names = Names {
    system: "macOS",
    microphone_settings: "System Settings, Privacy & Security, Microphone",
    sound_settings: "System Settings, Sound",
    virtual_mic: VIRTUAL_MIC,
    shown_as: "TrueMute Microphone",
    api: Api::CoreAudio,
};
