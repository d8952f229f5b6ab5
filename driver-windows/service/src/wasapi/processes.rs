//! What the kernel and the registry say: the performance counter, processes' executables, and whether desktop programs may hear
//! microphones.

use std::ffi::OsString;
use std::os::windows::ffi::OsStringExt as _;
use std::path::PathBuf;

use truemute_agent::system::Permission;
use windows::Win32::Foundation::{CloseHandle, ERROR_SUCCESS};
use windows::Win32::System::Performance::{QueryPerformanceCounter, QueryPerformanceFrequency};
use windows::Win32::System::Registry::{
    HKEY, HKEY_CURRENT_USER, HKEY_LOCAL_MACHINE, RRF_RT_REG_SZ, RegGetValueW,
};
use windows::Win32::System::Threading::{
    OpenProcess, PROCESS_NAME_WIN32, PROCESS_QUERY_LIMITED_INFORMATION, QueryFullProcessImageNameW,
};
use windows::core::{PCWSTR, PWSTR, w};

/// The performance counter in nanoseconds, as `truemute-windows-interface` defines it.
pub(super) fn now_ns() -> u64 {
    let (mut ticks, mut frequency) = (0, 0);
    // SAFETY: both numbers can be written. They cannot fail since Windows XP (profileapi.h).
    unsafe {
        let _ = QueryPerformanceCounter(&raw mut ticks);
        let _ = QueryPerformanceFrequency(&raw mut frequency);
    }
    let (ticks, frequency) = (ticks.unsigned_abs(), frequency.unsigned_abs().max(1));
    u64::try_from(u128::from(ticks) * 1_000_000_000 / u128::from(frequency)).unwrap_or(u64::MAX)
}

/// The executable of a process; nothing if it has gone, or is the system's own.
pub(super) fn executable(pid: u32) -> Option<PathBuf> {
    // The longest path that Windows has.
    let mut path = vec![0; 32_768];
    let mut length = u32::try_from(path.len()).ok()?;
    // SAFETY: the buffer has so many characters; the handle is closed once.
    let named = unsafe {
        let process = OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, false, pid).ok()?;
        let path = PWSTR(path.as_mut_ptr());
        let named = QueryFullProcessImageNameW(process, PROCESS_NAME_WIN32, path, &raw mut length);
        let _ = CloseHandle(process);
        named
    };
    named.ok()?;
    Some(OsString::from_wide(path.get(..length as usize)?).into())
}

/// What the privacy settings say of desktop programs and microphones. Windows has no function for it that a program without a package
/// could ask; these values are what its settings page writes (Windows 10 1903 and later).
pub(super) fn microphone_permission() -> Permission {
    const PLACE: PCWSTR = w!(
        r"Software\Microsoft\Windows\CurrentVersion\CapabilityAccessManager\ConsentStore\microphone"
    );
    const DESKTOP: PCWSTR = w!(
        r"Software\Microsoft\Windows\CurrentVersion\CapabilityAccessManager\ConsentStore\microphone\NonPackaged"
    );
    let denied = [
        (HKEY_LOCAL_MACHINE, PLACE),
        (HKEY_CURRENT_USER, PLACE),
        (HKEY_CURRENT_USER, DESKTOP),
    ]
    .into_iter()
    .any(|(root, place)| value(root, place).as_deref() == Some("Deny"));
    match denied {
        true => Permission::Denied,
        false => Permission::Granted,
    }
}

fn value(root: HKEY, place: PCWSTR) -> Option<String> {
    let mut text = [0_u16; 32];
    let mut bytes = u32::try_from(size_of_val(&text)).ok()?;
    // SAFETY: the buffer has so many bytes; the texts end with zeros.
    let status = unsafe {
        RegGetValueW(
            root,
            place,
            w!("Value"),
            RRF_RT_REG_SZ,
            None,
            Some(text.as_mut_ptr().cast()),
            Some(&raw mut bytes),
        )
    };
    let text = text.split(|unit| *unit == 0).next()?;
    (status == ERROR_SUCCESS).then(|| String::from_utf16_lossy(text))
}
