//! Inputs: which there are, which is the default, and hog mode.

use std::mem::offset_of;

use objc2_core_audio::{
    AudioObjectID, kAudioAggregateDevicePropertyFullSubDeviceList, kAudioDevicePropertyDeviceUID,
    kAudioDevicePropertyHogMode, kAudioDevicePropertyNominalSampleRate,
    kAudioDevicePropertyStreamConfiguration, kAudioHardwarePropertyDefaultInputDevice,
    kAudioHardwarePropertyDevices, kAudioObjectPropertyName, kAudioObjectPropertyScopeInput,
    kAudioObjectPropertyScopeOutput,
};
use objc2_core_audio_types::{AudioBuffer, AudioBufferList};
use truemute_agent::system::{Input, Role, SystemError};

use super::hal::{self, Address, SYSTEM};
use crate::VIRTUAL_MIC;

/// All inputs.
pub(super) fn inputs() -> Result<Vec<Input>, SystemError> {
    let devices: Vec<AudioObjectID> =
        hal::list(SYSTEM, Address::global(kAudioHardwarePropertyDevices))?;
    // A device can go while it is asked: then it is no input.
    Ok(devices
        .into_iter()
        .filter_map(|device| input(device).ok().flatten())
        .collect())
}

fn input(device: AudioObjectID) -> Result<Option<Input>, SystemError> {
    if channels(device, kAudioObjectPropertyScopeInput)? == 0 {
        return Ok(None);
    }
    // Only aggregates have it.
    let parts = Address::global(kAudioAggregateDevicePropertyFullSubDeviceList);
    let parts = hal::texts(device, parts).unwrap_or_default();
    let uid = uid(device)?;
    let role = match uid.as_str() {
        VIRTUAL_MIC => Role::VirtualMic,
        _ if parts.iter().any(|part| part == VIRTUAL_MIC) => Role::HearsVirtualMic,
        _ => Role::RealMic,
    };
    Ok(Some(Input {
        uid,
        role,
        name: hal::text(device, Address::global(kAudioObjectPropertyName)).unwrap_or_default(),
        has_output: channels(device, kAudioObjectPropertyScopeOutput).unwrap_or(0) > 0,
        rate: hal::get::<f64>(
            device,
            Address::global(kAudioDevicePropertyNominalSampleRate),
        )
        .unwrap_or(0.0)
        .round() as u32,
    }))
}

/// A device's UID.
pub(super) fn uid(device: AudioObjectID) -> Result<String, SystemError> {
    hal::text(device, Address::global(kAudioDevicePropertyDeviceUID))
}

/// How many channels a device has in a scope.
pub(super) fn channels(device: AudioObjectID, scope: u32) -> Result<u32, SystemError> {
    let address = Address::scoped(kAudioDevicePropertyStreamConfiguration, scope);
    let words = hal::bytes(device, address)?;
    // An AudioBufferList: a number, then so many AudioBuffers, whose first member counts channels.
    let number = |offset: usize| {
        let word = words.get(offset / 8).copied().unwrap_or(0).to_ne_bytes();
        let at = offset % 8;
        u32::from_ne_bytes([word[at], word[at + 1], word[at + 2], word[at + 3]])
    };
    let buffers = number(offset_of!(AudioBufferList, mNumberBuffers)) as usize;
    let room = words.len() * 8 / size_of::<AudioBuffer>();
    let channels_of = |buffer: usize| {
        let start = offset_of!(AudioBufferList, mBuffers) + buffer * size_of::<AudioBuffer>();
        number(start + offset_of!(AudioBuffer, mNumberChannels))
    };
    Ok((0..buffers.min(room)).map(channels_of).sum())
}

/// The UID of the default input.
pub(super) fn default_input() -> Result<Option<String>, SystemError> {
    let address = Address::global(kAudioHardwarePropertyDefaultInputDevice);
    match hal::get::<AudioObjectID>(SYSTEM, address)? {
        0 => Ok(None),
        device => uid(device).map(Some),
    }
}

/// Makes an input the default.
pub(super) fn set_default_input(uid: &str) -> Result<(), SystemError> {
    let device = hal::device(uid)?;
    hal::set(
        SYSTEM,
        Address::global(kAudioHardwarePropertyDefaultInputDevice),
        device,
    )
}

/// Takes a device for this process alone, or gives it back. AudioHardware.h: the property is the owner's pid, -1 for nobody;
/// whatever is written, the system sets it to the writer's pid or to -1.
pub(super) fn set_hog(uid: &str, on: bool) -> Result<(), SystemError> {
    let device = hal::device(uid)?;
    let address = Address::global(kAudioDevicePropertyHogMode);
    let own = std::process::id().cast_signed();
    let owner: i32 = hal::get(device, address)?;
    match (on, owner) {
        (true, owner) if owner == own => Ok(()),
        (true, -1) => {
            hal::set(device, address, own)?;
            // Another process may have been quicker.
            match hal::get::<i32>(device, address)? {
                owner if owner == own => Ok(()),
                owner => Err(SystemError::Taken(uid.into(), owner)),
            }
        }
        (true, owner) => Err(SystemError::Taken(uid.into(), owner)),
        (false, owner) if owner == own => hal::set(device, address, -1),
        (false, _) => Ok(()),
    }
}
