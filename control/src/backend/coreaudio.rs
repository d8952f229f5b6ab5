//! The macOS backend: the agent over TrueMute.driver inside Core Audio.

use std::sync::Arc;

use truemute_macos::PlugIn;
use truemute_macos::coreaudio::CoreAudio;

use super::AgentFactory;
use crate::config::Settings;
use crate::store;

/// On this Mac.
pub(super) fn of_system(settings: &Settings) -> AgentFactory {
    let driver = PlugIn {
        folder: truemute_macos::FOLDER.into(),
        users: truemute_macos::TRUSTED_USERS.into(),
        published: truemute_macos::coreaudio::socket,
    };
    let last_default = store::state_directory().map(|state| state.join("last-default-input"));
    AgentFactory::new(
        super::OF_SYSTEM[0],
        settings,
        Arc::new(CoreAudio),
        driver,
        last_default.as_deref(),
    )
}
