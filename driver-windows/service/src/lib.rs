//! TrueMute on Windows, in user mode. The gate, the exact counts and the clock of the virtual mic live in the driver; what the agent
//! does is `truemute-agent`'s. Here is what it needs for it: the driver behind its control device ([`link`]), who records by
//! the audio sessions ([`sessions`]) and Windows' events ([`events`]), what installs driver and service ([`installation`]), and Windows itself (`wasapi`, on Windows only). All but the last is decided without
//! Windows, and runs and is tested on Linux.

mod adapter;
mod clients;
pub mod control_device;
pub mod events;
pub mod installation;
pub mod link;
mod ring;
#[cfg(windows)]
pub mod service;
pub mod sessions;
mod stamp;
#[cfg(windows)]
pub mod wasapi;

use truemute_agent::system::Names;
use truemute_core::observed::Api;

/// TrueMute's endpoint, as Windows shows it: what the INF calls the pin and the device.
pub const VIRTUAL_MIC: &str = "Microphone (TrueMute)";

/// What Windows and its places are called.
pub const NAMES: Names = Names {
    system: "Windows",
    microphone_settings: "Settings, Privacy & security, Microphone (desktop apps)",
    sound_settings: "Settings, System, Sound, Input",
    virtual_mic: VIRTUAL_MIC,
    shown_as: VIRTUAL_MIC,
    api: Api::Wasapi,
};
