//! A microphone for ourselves: an exclusive stream that is open and never started, so that nobody else can open one. Apps that
//! capture in shared mode are cut off.

use truemute_agent::system::SystemError;
use windows::Win32::Foundation::PROPERTYKEY;
use windows::Win32::Media::Audio::{
    AUDCLNT_E_DEVICE_IN_USE, AUDCLNT_E_EXCLUSIVE_MODE_NOT_ALLOWED, AUDCLNT_SHAREMODE_EXCLUSIVE,
    IAudioClient, PKEY_AudioEngine_DeviceFormat, WAVEFORMATEX,
};
use windows::Win32::System::Com::StructuredStorage::PropVariantClear;
use windows::Win32::System::Com::{CLSCTX_ALL, STGM_READ};

use super::com::{endpoint, refused};

/// The stream. Dropping it gives the microphone back.
pub(super) struct Exclusive {
    _client: IAudioClient,
}

// SAFETY: an object of the apartment that is free of threads (audioclient.h): any thread may call and release it.
unsafe impl Send for Exclusive {}

impl Exclusive {
    /// Takes it.
    pub(super) fn hold(uid: &str) -> Result<Self, SystemError> {
        const FORMAT: PROPERTYKEY = PKEY_AudioEngine_DeviceFormat;
        let endpoint = endpoint(uid)?;
        let failed = |error: windows::core::Error| match error.code() {
            AUDCLNT_E_DEVICE_IN_USE => SystemError::Taken(uid.to_owned(), 0),
            AUDCLNT_E_EXCLUSIVE_MODE_NOT_ALLOWED => SystemError::Refused {
                what: "exclusive use, which the microphone's properties forbid".into(),
                status: error.code().0,
            },
            _ => refused("exclusive use of a microphone", &error),
        };
        // SAFETY: `endpoint` has entered COM. The property is a blob that holds a format (mmdeviceapi.h), and lives until it is cleared,
        // after the last use of the format.
        unsafe {
            let client: IAudioClient = endpoint.Activate(CLSCTX_ALL, None).map_err(failed)?;
            let mut period_hns = 0;
            client
                .GetDevicePeriod(Some(&raw mut period_hns), None)
                .map_err(failed)?;
            let store = endpoint.OpenPropertyStore(STGM_READ).map_err(failed)?;
            let mut value = store.GetValue(&FORMAT).map_err(failed)?;
            let blob = value.Anonymous.Anonymous.Anonymous.blob;
            let held = match blob.cbSize as usize >= size_of::<WAVEFORMATEX>() {
                true => client
                    .Initialize(
                        AUDCLNT_SHAREMODE_EXCLUSIVE,
                        0,
                        period_hns,
                        0,
                        blob.pBlobData.cast(),
                        None,
                    )
                    .map_err(failed),
                false => Err(SystemError::NoDevice(uid.to_owned())),
            };
            let _ = PropVariantClear(&raw mut value);
            held?;
            Ok(Self { _client: client })
        }
    }
}
