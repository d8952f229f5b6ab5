//! Windows' service manager, by the crate `windows-service`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use windows::Win32::UI::Shell::{FOLDERID_ProgramFiles, KF_FLAG_DEFAULT, SHGetKnownFolderPath};
use windows_service::Error;
use windows_service::service::{
    Service, ServiceAccess, ServiceAction, ServiceActionType, ServiceErrorControl,
    ServiceFailureActions, ServiceFailureResetPeriod, ServiceInfo, ServiceStartType, ServiceState,
    ServiceType,
};
use windows_service::service_manager::{ServiceManager as Manager, ServiceManagerAccess};
use windows_sys::Win32::Foundation::{
    ERROR_SERVICE_DOES_NOT_EXIST, ERROR_SERVICE_REQUEST_TIMEOUT, ERROR_SERVICE_SPECIFIC_ERROR,
};

use super::service::{ACCOUNT, ARGUMENTS, DESCRIPTION, DISPLAY_NAME, NAME, ServiceManager, State};
use crate::wasapi::text;

/// How long a service may take to start or end: as long as Windows itself gives it.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long after it died it is started again.
const AGAIN: Duration = Duration::from_secs(5);

/// Windows' services.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServiceControl;

impl ServiceManager for ServiceControl {
    fn state(&self) -> Result<State, u32> {
        match open(ServiceAccess::QUERY_STATUS) {
            Ok(service) => Ok(match state(&service)? {
                ServiceState::Stopped => State::Stopped,
                _ => State::Running,
            }),
            Err(ERROR_SERVICE_DOES_NOT_EXIST) => Ok(State::Absent),
            Err(code) => Err(code),
        }
    }

    fn set(&self, program: &Path) -> Result<(), u32> {
        let info = ServiceInfo {
            name: NAME.into(),
            display_name: DISPLAY_NAME.into(),
            service_type: ServiceType::OWN_PROCESS,
            start_type: ServiceStartType::AutoStart,
            error_control: ServiceErrorControl::Normal,
            executable_path: program.to_owned(),
            launch_arguments: ARGUMENTS.map(OsString::from).to_vec(),
            dependencies: Vec::new(),
            account_name: Some(ACCOUNT.into()),
            account_password: None,
        };
        // Starting it again needs the right to start it.
        let access = ServiceAccess::CHANGE_CONFIG | ServiceAccess::START;
        let service = match open(access) {
            Ok(service) => {
                service.change_config(&info).map_err(code)?;
                service
            }
            Err(ERROR_SERVICE_DOES_NOT_EXIST) => manager(ServiceManagerAccess::CREATE_SERVICE)?
                .create_service(&info, access)
                .map_err(code)?,
            Err(code) => return Err(code),
        };
        service.set_description(DESCRIPTION).map_err(code)?;
        let restart = ServiceAction {
            action_type: ServiceActionType::Restart,
            delay: AGAIN,
        };
        service
            .update_failure_actions(ServiceFailureActions {
                reset_period: ServiceFailureResetPeriod::After(Duration::from_secs(3600)),
                reboot_msg: None,
                command: None,
                actions: Some(vec![restart; 3]),
            })
            .map_err(code)
    }

    fn start(&self) -> Result<(), u32> {
        let service = open(ServiceAccess::START | ServiceAccess::QUERY_STATUS)?;
        service.start::<OsString>(&[]).map_err(code)?;
        wait(&service, ServiceState::Running)
    }

    fn stop(&self) -> Result<(), u32> {
        let service = open(ServiceAccess::STOP | ServiceAccess::QUERY_STATUS)?;
        service.stop().map_err(code)?;
        wait(&service, ServiceState::Stopped)
    }

    fn delete(&self) -> Result<(), u32> {
        open(ServiceAccess::DELETE)?.delete().map_err(code)
    }

    /// Not by the variable `ProgramFiles`, which a user can set for what the administrator in him starts.
    fn folder(&self) -> Result<PathBuf, u32> {
        // SAFETY: the identifier lives as long as the call; what it gives is freed by `text`.
        let folder = unsafe { SHGetKnownFolderPath(&FOLDERID_ProgramFiles, KF_FLAG_DEFAULT, None) };
        let folder = folder.map_err(|error| error.code().0.cast_unsigned())?;
        Ok(PathBuf::from(text(folder)).join("TrueMute"))
    }
}

fn manager(access: ServiceManagerAccess) -> Result<Manager, u32> {
    let access = access | ServiceManagerAccess::CONNECT;
    Manager::local_computer(None::<&str>, access).map_err(code)
}

fn open(access: ServiceAccess) -> Result<Service, u32> {
    manager(ServiceManagerAccess::CONNECT)?
        .open_service(NAME, access)
        .map_err(code)
}

fn state(service: &Service) -> Result<ServiceState, u32> {
    service
        .query_status()
        .map(|status| status.current_state)
        .map_err(code)
}

fn wait(service: &Service, wanted: ServiceState) -> Result<(), u32> {
    let began = Instant::now();
    loop {
        match state(service)? {
            now if now == wanted => return Ok(()),
            // It ended by itself.
            ServiceState::Stopped => return Err(ERROR_SERVICE_SPECIFIC_ERROR),
            _ if began.elapsed() > PATIENCE => return Err(ERROR_SERVICE_REQUEST_TIMEOUT),
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn code(error: Error) -> u32 {
    match error {
        Error::Winapi(error) => error.raw_os_error().unwrap_or(0).cast_unsigned(),
        _ => 0,
    }
}
