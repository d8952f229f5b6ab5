//! The driver's real control device.

use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};

use truemute_windows_interface::{PATH, Request};
use windows::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_BAD_COMMAND, ERROR_FILE_NOT_FOUND, ERROR_PATH_NOT_FOUND,
    ERROR_REVISION_MISMATCH, ERROR_SHARING_VIOLATION, GENERIC_READ, GENERIC_WRITE, HANDLE,
    WIN32_ERROR,
};
use windows::Win32::Storage::FileSystem::{
    CreateFileW, FILE_FLAGS_AND_ATTRIBUTES, FILE_SHARE_READ, FILE_SHARE_WRITE, OPEN_EXISTING,
};
use windows::Win32::System::IO::DeviceIoControl;
use windows::core::HSTRING;

use crate::control_device::{AskError, ControlDevice, Opens};

/// Opens the control device of the driver that is installed.
#[derive(Clone, Copy, Debug, Default)]
pub struct DriverDevice;

impl Opens for DriverDevice {
    fn open(&self) -> Result<Box<dyn ControlDevice>, AskError> {
        // SAFETY: the name lives as long as the call. Others may open it too: one who asks for the status does.
        let handle = unsafe {
            CreateFileW(
                &HSTRING::from(PATH),
                (GENERIC_READ | GENERIC_WRITE).0,
                FILE_SHARE_READ | FILE_SHARE_WRITE,
                None,
                OPEN_EXISTING,
                FILE_FLAGS_AND_ATTRIBUTES(0),
                None,
            )
        };
        let handle = handle.map_err(|error| explain(&error))?;
        // SAFETY: it was opened just now, for us.
        Ok(Box::new(Open(unsafe {
            OwnedHandle::from_raw_handle(handle.0)
        })))
    }
}

struct Open(OwnedHandle);

impl ControlDevice for Open {
    fn ask(&self, request: Request, input: &[u8], output: &mut [u8]) -> Result<(), AskError> {
        let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let mut given = 0;
        // SAFETY: both buffers have so many bytes and live as long as the call, which returns when the driver has answered.
        unsafe {
            DeviceIoControl(
                HANDLE(self.0.as_raw_handle()),
                request.code(),
                Some(input.as_ptr().cast()),
                length(input.len()),
                Some(output.as_mut_ptr().cast()),
                length(output.len()),
                Some(&raw mut given),
                None,
            )
        }
        .map_err(|error| explain(&error))?;
        match given == length(output.len()) {
            true => Ok(()),
            false => Err(AskError::Version),
        }
    }
}

/// What the statuses of `Request`'s documentation become on their way through Windows (ntstatus.h to winerror.h:
/// STATUS_INVALID_DEVICE_STATE is ERROR_BAD_COMMAND).
fn explain(error: &windows::core::Error) -> AskError {
    match WIN32_ERROR::from_error(error) {
        Some(ERROR_FILE_NOT_FOUND | ERROR_PATH_NOT_FOUND) => AskError::NotThere,
        Some(ERROR_ACCESS_DENIED) => AskError::Denied,
        Some(ERROR_SHARING_VIOLATION) => AskError::Busy,
        Some(ERROR_REVISION_MISMATCH) => AskError::Version,
        Some(ERROR_BAD_COMMAND) => AskError::Closed,
        Some(WIN32_ERROR(number)) => AskError::Other(number.cast_signed()),
        None => AskError::Other(error.code().0),
    }
}
