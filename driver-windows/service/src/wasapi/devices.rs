//! Capture endpoints: which there are, which is the default, and when that changes.

use std::sync::Arc;

use truemute_agent::system::{Input, SystemError};
use windows::Win32::Devices::FunctionDiscovery::{
    PKEY_Device_FriendlyName, PKEY_DeviceInterface_FriendlyName,
};
use windows::Win32::Foundation::{ERROR_NOT_FOUND, PROPERTYKEY};
use windows::Win32::Media::Audio::{
    DEVICE_STATE, DEVICE_STATE_ACTIVE, EDataFlow, ERole, IMMDevice, IMMDeviceEnumerator,
    IMMNotificationClient, IMMNotificationClient_Impl, eCapture, eConsole,
};
use windows::Win32::System::Com::STGM_READ;
use windows::Win32::System::Com::StructuredStorage::{PropVariantClear, PropVariantToStringAlloc};
use windows::core::{PCWSTR, implement};

use super::com::{enumerator, refused, text};
use crate::adapter::role;

/// All active capture endpoints.
pub(super) fn inputs() -> Result<Vec<Input>, SystemError> {
    let endpoints = endpoints()?;
    // An endpoint can go while it is asked: then it is no input.
    Ok(endpoints.iter().filter_map(input).collect())
}

/// All active capture endpoints.
pub(super) fn endpoints() -> Result<Vec<IMMDevice>, SystemError> {
    let failed = |error| refused("the list of microphones", &error);
    // SAFETY: `enumerator` has entered COM.
    unsafe {
        let list = enumerator()?
            .EnumAudioEndpoints(eCapture, DEVICE_STATE_ACTIVE)
            .map_err(failed)?;
        let count = list.GetCount().map_err(failed)?;
        Ok((0..count).filter_map(|at| list.Item(at).ok()).collect())
    }
}

fn input(endpoint: &IMMDevice) -> Option<Input> {
    let adapter = property(endpoint, &PKEY_DeviceInterface_FriendlyName).unwrap_or_default();
    Some(Input {
        uid: uid(endpoint)?,
        name: property(endpoint, &PKEY_Device_FriendlyName)?,
        role: role(&adapter),
        // Playing is another endpoint's.
        has_output: false,
        rate: super::capture::mix_format(endpoint).map_or(0, |format| format.rate),
    })
}

/// The endpoint's id.
pub(super) fn uid(endpoint: &IMMDevice) -> Option<String> {
    // SAFETY: whoever has an endpoint has entered COM.
    Some(text(unsafe { endpoint.GetId() }.ok()?))
}

fn property(endpoint: &IMMDevice, key: &PROPERTYKEY) -> Option<String> {
    // SAFETY: whoever has an endpoint has entered COM; the value is cleared once, after its last use.
    unsafe {
        let store = endpoint.OpenPropertyStore(STGM_READ).ok()?;
        let mut value = store.GetValue(key).ok()?;
        let found = PropVariantToStringAlloc(&raw const value).ok().map(text);
        let _ = PropVariantClear(&raw mut value);
        found
    }
}

/// The id of the default capture endpoint.
pub(super) fn default_input() -> Result<Option<String>, SystemError> {
    // SAFETY: `enumerator` has entered COM.
    match unsafe { enumerator()?.GetDefaultAudioEndpoint(eCapture, eConsole) } {
        Ok(endpoint) => Ok(uid(&endpoint)),
        Err(error) if error.code() == ERROR_NOT_FOUND.to_hresult() => Ok(None),
        Err(error) => Err(refused("the default microphone", &error)),
    }
}

/// Tells of changes until it is dropped.
pub(super) struct Watching {
    enumerator: IMMDeviceEnumerator,
    client: IMMNotificationClient,
}

// SAFETY: both are objects of the apartment that is free of threads (mmdeviceapi.h): any thread may call them.
unsafe impl Send for Watching {}
// SAFETY: as above.
unsafe impl Sync for Watching {}

impl Watching {
    pub(super) fn start(changed: Arc<dyn Fn() + Send + Sync>) -> Result<Self, SystemError> {
        let enumerator = enumerator()?;
        let client: IMMNotificationClient = Notified { changed }.into();
        // SAFETY: it stays registered until `drop`, and lives as long.
        unsafe { enumerator.RegisterEndpointNotificationCallback(&client) }
            .map_err(|error| refused("notices of devices", &error))?;
        Ok(Self { enumerator, client })
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // SAFETY: it was registered there.
        let _ = unsafe {
            self.enumerator
                .UnregisterEndpointNotificationCallback(&self.client)
        };
    }
}

#[implement(IMMNotificationClient)]
struct Notified {
    changed: Arc<dyn Fn() + Send + Sync>,
}

impl IMMNotificationClient_Impl for Notified_Impl {
    fn OnDeviceStateChanged(&self, _: &PCWSTR, _: DEVICE_STATE) -> windows::core::Result<()> {
        (self.changed)();
        Ok(())
    }

    fn OnDeviceAdded(&self, _: &PCWSTR) -> windows::core::Result<()> {
        (self.changed)();
        Ok(())
    }

    fn OnDeviceRemoved(&self, _: &PCWSTR) -> windows::core::Result<()> {
        (self.changed)();
        Ok(())
    }

    fn OnDefaultDeviceChanged(
        &self,
        _: EDataFlow,
        _: ERole,
        _: &PCWSTR,
    ) -> windows::core::Result<()> {
        (self.changed)();
        Ok(())
    }

    /// Volumes and the like, many times a second while somebody moves a slider.
    fn OnPropertyValueChanged(&self, _: &PCWSTR, _: &PROPERTYKEY) -> windows::core::Result<()> {
        Ok(())
    }
}
