//! The service as Windows runs it: it listens to the events ([`crate::events`]) until it is told to stop. It holds nothing else
//! (`docs/decisions/0023-the-service-listens-and-no-more.md`).

use std::ffi::OsString;
use std::io;
use std::sync::mpsc::channel;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use windows_service::service::{
    ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_control_handler::{
    ServiceControlHandlerResult, ServiceStatusHandle, register,
};
use windows_service::{define_windows_service, service_dispatcher};

use crate::events::etw::Etw;
use crate::events::serve::{Accepts, serve};
use crate::installation::service::NAME;

/// Makes the pipe that readers come to.
pub type MakesPipe = fn() -> io::Result<Arc<dyn Accepts>>;

/// Windows calls the service's entry without anything of ours.
static PIPE: OnceLock<MakesPipe> = OnceLock::new();

define_windows_service!(entry, service_main);

/// Runs as the service, until Windows stops it.
///
/// # Errors
/// Windows did not start this program as the service.
pub fn run(pipe: MakesPipe) -> io::Result<()> {
    let _ = PIPE.set(pipe);
    service_dispatcher::start(NAME, entry).map_err(|error| match error {
        windows_service::Error::Winapi(error) => error,
        other => io::Error::other(other),
    })
}

fn service_main(_: Vec<OsString>) {
    let (stop, stopped) = channel();
    let handler = move |control| match control {
        ServiceControl::Stop | ServiceControl::Shutdown => {
            let _ = stop.send(());
            ServiceControlHandlerResult::NoError
        }
        ServiceControl::Interrogate => ServiceControlHandlerResult::NoError,
        _ => ServiceControlHandlerResult::NotImplemented,
    };
    let Ok(handle) = register(NAME, handler) else {
        // Windows ends a service that does not register.
        return;
    };
    let ended = match PIPE.get().map(|pipe| pipe()) {
        Some(Ok(pipe)) => {
            say(handle, ServiceState::Running, 0);
            serve(&Etw, pipe, &stopped);
            0
        }
        Some(Err(error)) => error.raw_os_error().unwrap_or(1).cast_unsigned(),
        None => 1,
    };
    say(handle, ServiceState::Stopped, ended);
}

fn say(handle: ServiceStatusHandle, state: ServiceState, code: u32) {
    let accepts = match state {
        ServiceState::Running => ServiceControlAccept::STOP | ServiceControlAccept::SHUTDOWN,
        _ => ServiceControlAccept::empty(),
    };
    // Who cannot be told cannot be told that either.
    let _ = handle.set_service_status(ServiceStatus {
        service_type: ServiceType::OWN_PROCESS,
        current_state: state,
        controls_accepted: accepts,
        exit_code: ServiceExitCode::Win32(code),
        checkpoint: 0,
        wait_hint: Duration::ZERO,
        process_id: None,
    });
}
