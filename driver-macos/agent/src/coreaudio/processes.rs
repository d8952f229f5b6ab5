//! Who records: the process objects that Core Audio has since macOS 14.2 (AudioHardware.h). They need no permission.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use objc2_core_audio::{
    AudioObjectID, kAudioHardwarePropertyProcessObjectList, kAudioProcessPropertyBundleID,
    kAudioProcessPropertyDevices, kAudioProcessPropertyIsRunningInput, kAudioProcessPropertyPID,
};
use truemute_agent::system::{Recorder, SystemError};

use super::devices;
use super::hal::{self, Address, SYSTEM};

/// All processes that record.
pub(super) fn recorders() -> Result<Vec<Recorder>, SystemError> {
    let address = Address::global(kAudioHardwarePropertyProcessObjectList);
    let Ok(processes) = hal::list::<AudioObjectID>(SYSTEM, address) else {
        return Err(SystemError::TooOld("To see who records", "macOS 14.2"));
    };
    // A process can go while it is asked: then it does not record.
    Ok(processes
        .into_iter()
        .filter_map(|process| recorder(process).ok().flatten())
        .collect())
}

fn recorder(process: AudioObjectID) -> Result<Option<Recorder>, SystemError> {
    if hal::get::<u32>(
        process,
        Address::global(kAudioProcessPropertyIsRunningInput),
    )? == 0
    {
        return Ok(None);
    }
    let pid: i32 = hal::get(process, Address::global(kAudioProcessPropertyPID))?;
    let Ok(pid) = u32::try_from(pid) else {
        return Ok(None);
    };
    // In the scope of inputs: the devices that it uses as such.
    let devices: Vec<AudioObjectID> =
        hal::list(process, Address::input(kAudioProcessPropertyDevices))?;
    let bundle = hal::text(process, Address::global(kAudioProcessPropertyBundleID));
    Ok(Some(Recorder {
        pid,
        label: bundle.ok().filter(|bundle| !bundle.is_empty()),
        inputs: devices
            .into_iter()
            .filter_map(|device| devices::uid(device).ok())
            .collect(),
    }))
}

/// The executable of a process of this user.
pub(super) fn executable(pid: u32) -> Option<PathBuf> {
    let mut path = [0_u8; libc::PROC_PIDPATHINFO_MAXSIZE as usize];
    let pid = i32::try_from(pid).ok()?;
    // SAFETY: the buffer has the size that is given.
    let length = unsafe { libc::proc_pidpath(pid, path.as_mut_ptr().cast(), path.len() as u32) };
    let length = usize::try_from(length).ok().filter(|length| *length > 0)?;
    Some(PathBuf::from(OsStr::from_bytes(path.get(..length)?)))
}
