//! The driver's control device, as requests and bytes. Windows has the real one (`DeviceIoControl`), tests the driver's own portable
//! parts; what is asked, and when, is in [`crate::link`].

use truemute_windows_interface::Request;

/// One open handle of the control device. Any thread may ask; requests take microseconds. Dropping it closes the handle, which mutes
/// if it was the feeder's.
pub trait ControlDevice: Send + Sync {
    /// Sends a request with exactly these bytes, and fills `output`, which has [`Request::output_bytes`].
    ///
    /// # Errors
    /// The driver refuses it, and did nothing.
    fn ask(&self, request: Request, input: &[u8], output: &mut [u8]) -> Result<(), AskError>;
}

/// Opens the control device.
pub trait Opens: Send + Sync {
    /// A handle of our own.
    ///
    /// # Errors
    /// There is none, or this user may not.
    fn open(&self) -> Result<Box<dyn ControlDevice>, AskError>;
}

/// Why the driver did not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// There is no control device: the driver is not installed, or not started.
    #[error(
        "The driver is not there. Install it with `truemute driver install`, as an administrator."
    )]
    NotThere,
    /// Neither the user at the console nor an administrator.
    #[error(
        "The driver is open to the user at the console only. Log in at this machine's own screen."
    )]
    Denied,
    /// Another handle is the feeder.
    #[error(
        "Another TrueMute feeds the driver. End it first (`truemute uninstall` in its session)."
    )]
    Busy,
    /// Driver and agent are of different versions.
    #[error(
        "The driver is of another version. Run `truemute driver install`, as an administrator."
    )]
    Version,
    /// The gate is not open in that epoch.
    #[error("The gate is closed. Unmute first.")]
    Closed,
    /// Something else, with Windows' error number.
    #[error("The driver refuses a request (error {0}). Install driver and program of one version.")]
    Other(i32),
}
