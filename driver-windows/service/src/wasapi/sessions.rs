//! The sessions of all capture endpoints, as the audio service lists them to this user's programs.

use truemute_agent::system::SystemError;
use windows::Win32::Media::Audio::{
    AUDCLNT_E_DEVICE_INVALIDATED, AudioSessionStateActive, AudioSessionStateExpired,
    IAudioSessionControl2, IAudioSessionManager2, IMMDevice,
};
use windows::Win32::System::Com::CLSCTX_ALL;
use windows::core::{HRESULT, Interface as _};

use super::com::{refused, text};
use super::devices;
use crate::sessions::Session;

/// The session spans several processes (`AUDCLNT_SUCCESS(0x00D)` of audioclient.h, which the crate lacks).
const AUDCLNT_S_NO_SINGLE_PROCESS: HRESULT = HRESULT(0x0889_000D);

/// All that have not expired.
pub(super) fn sessions() -> Result<Vec<Session>, SystemError> {
    let mut all = Vec::new();
    for endpoint in devices::endpoints()? {
        let Some(uid) = devices::uid(&endpoint) else {
            continue;
        };
        match of_endpoint(&endpoint, &uid) {
            Ok(sessions) => all.extend(sessions),
            // It went while it was asked: then nobody records from it.
            Err(error) if error.code() == AUDCLNT_E_DEVICE_INVALIDATED => {}
            // A list without the endpoint's sessions would make its apps gone.
            Err(error) => return Err(refused("the list of who records", &error)),
        }
    }
    Ok(all)
}

fn of_endpoint(endpoint: &IMMDevice, uid: &str) -> windows::core::Result<Vec<Session>> {
    // SAFETY: whoever has an endpoint has entered COM.
    unsafe {
        let manager: IAudioSessionManager2 = endpoint.Activate(CLSCTX_ALL, None)?;
        let list = manager.GetSessionEnumerator()?;
        let mut sessions = Vec::new();
        for at in 0..list.GetCount()? {
            // A session can expire while it is asked.
            let Ok(control) = list.GetSession(at) else {
                continue;
            };
            let Ok(control) = control.cast::<IAudioSessionControl2>() else {
                continue;
            };
            let Ok(state) = control.GetState() else {
                continue;
            };
            if state == AudioSessionStateExpired {
                continue;
            }
            let Ok(id) = control.GetSessionInstanceIdentifier() else {
                continue;
            };
            sessions.push(Session {
                id: text(id),
                pid: process(&control),
                name: control.GetDisplayName().map(text).unwrap_or_default(),
                endpoint: uid.to_owned(),
                active: state == AudioSessionStateActive,
            });
        }
        Ok(sessions)
    }
}

/// Its process; nothing if it spans several, which is a success code that the crate's own method does not show.
fn process(control: &IAudioSessionControl2) -> Option<u32> {
    let mut pid = 0;
    // SAFETY: the method of the object's own table, with the object; the number can be written.
    let result = unsafe { (control.vtable().GetProcessId)(control.as_raw(), &raw mut pid) };
    (result.is_ok() && result != AUDCLNT_S_NO_SINGLE_PROCESS && pid != 0).then_some(pid)
}
