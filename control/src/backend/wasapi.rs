//! The Windows backend: the agent over the driver's control device and the audio session API.

use std::sync::Arc;

use truemute_windows::events::read::FromService;
use truemute_windows::events::{Events, Unheard};
use truemute_windows::link::Link;
use truemute_windows::wasapi::{DriverDevice, Wasapi};

use super::AgentFactory;
use crate::config::Settings;
use crate::store;
use crate::system::EventsService;

/// On this machine, in the session of this user.
pub(super) fn of_system(settings: &Settings) -> AgentFactory {
    let system = Arc::new(Wasapi::default());
    let events: Arc<dyn Events> = match FromService::start(Box::new(EventsService)) {
        Ok(events) => Arc::new(events),
        Err(error) => {
            tracing::warn!("Windows' events are not listened to: {error}");
            Arc::new(Unheard)
        }
    };
    let driver = Link {
        device: Arc::new(DriverDevice),
        sessions: system.clone(),
        events,
    };
    let last_default = store::state_directory().map(|state| state.join("last-default-input"));
    AgentFactory::new(
        super::OF_SYSTEM[0],
        settings,
        system,
        driver,
        last_default.as_deref(),
    )
}
