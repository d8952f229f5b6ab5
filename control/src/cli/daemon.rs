//! `truemute daemon`: puts the parts of the service together.

use std::path::PathBuf;
use std::sync::Arc;

use super::Failure;
use crate::backend;
use crate::config::Settings;
use crate::daemon::History;
use crate::daemon::service::{self, Options, ServiceError};
use crate::store;

pub(super) fn run(config: Option<PathBuf>, socket: PathBuf) -> Result<(), Failure> {
    #[cfg(target_os = "linux")]
    truemute_pipewire::share_one_heap();
    log_to_stderr();
    #[cfg(target_os = "linux")]
    crate::supervise::follow_supervisor().map_err(|error| {
        Failure::new(format!(
            "The daemon ends at once: {error}. Start `truemute supervise` again."
        ))
    })?;
    let state = store::state_directory().ok_or(ServiceError::NoHome)?;
    let options = Options {
        config,
        socket,
        memory: state.join("gate.json"),
    };
    service::run(&options, backend::of_system, open_history)?;
    Ok(())
}

fn open_history(settings: &Settings) -> Result<Arc<dyn History>, ServiceError> {
    let path = store::default_path().ok_or(ServiceError::NoHome)?;
    let options = store::Options {
        retention_days: settings.config.retention_days,
    };
    let recorder = store::Recorder::start(&path, options).map_err(ServiceError::System)?;
    Ok(Arc::new(recorder))
}

/// systemd's journal adds time and unit by itself; a terminal gets the time.
pub(super) fn log_to_stderr() {
    use std::io::IsTerminal as _;
    let terminal = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(terminal)
        .with_target(false);
    if terminal {
        log.init();
    } else {
        log.without_time().init();
    }
}
