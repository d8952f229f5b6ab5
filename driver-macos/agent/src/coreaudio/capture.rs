//! An input captured through AUHAL, Core Audio's input and output unit, by coreaudio-rs: at the device's own rate, as
//! interleaved 32-bit floats. Its callback allocates when the device's period changes, and not otherwise.

use std::sync::Arc;

use coreaudio::Error;
use coreaudio::audio_unit::audio_format::LinearPcmFlags;
use coreaudio::audio_unit::macos_helpers::audio_unit_from_device_id_uninitialized;
use coreaudio::audio_unit::render_callback::{self, data};
use coreaudio::audio_unit::{AudioUnit, Element, SampleFormat, Scope, StreamFormat};
use objc2_core_audio::{
    AudioObjectID, kAudioDevicePropertyBufferFrameSize, kAudioDevicePropertyDeviceIsAlive,
    kAudioDevicePropertyLatency, kAudioDevicePropertyNominalSampleRate,
    kAudioDevicePropertySafetyOffset, kAudioDevicePropertyStreamConfiguration,
    kAudioObjectPropertyScopeInput,
};
use objc2_core_audio_types::AudioTimeStampFlags;
use truemute_agent::system::{
    Block, Capture, CaptureEvent, CaptureFormat, OnBlock, OnEvent, SystemError,
};

use super::devices;
use super::hal::{self, Address, Listener};

/// An input of Core Audio.
pub(super) struct HalCapture {
    device: AudioObjectID,
    format: CaptureFormat,
    running: Option<(AudioUnit, Vec<Listener>)>,
}

impl HalCapture {
    /// Looks the device up. Nothing runs, and no indicator goes on, before the start.
    pub(super) fn open(uid: &str) -> Result<HalCapture, SystemError> {
        let device = hal::device(uid)?;
        Ok(HalCapture {
            device,
            format: format(device)?,
            running: None,
        })
    }

    fn unit(&self, mut on_block: OnBlock) -> Result<AudioUnit, Error> {
        let mut unit = audio_unit_from_device_id_uninitialized(self.device, true)?;
        // Not the device's format, which may have integers: its rate and channels, as AUHAL converts everything else but the
        // rate for an input (Technical Note TN2091).
        let stream = StreamFormat {
            sample_rate: f64::from(self.format.rate),
            sample_format: SampleFormat::F32,
            flags: LinearPcmFlags::IS_FLOAT | LinearPcmFlags::IS_PACKED,
            channels: self.format.channels,
        };
        unit.set_stream_format(stream, Scope::Output, Element::Input)?;
        unit.set_input_callback(
            move |arguments: render_callback::Args<data::Interleaved<f32>>| {
                let time = &arguments.time_stamp;
                let timed = time.mFlags.contains(AudioTimeStampFlags::HostTimeValid);
                on_block(Block {
                    samples: arguments.data.buffer,
                    host_ns: match timed {
                        true => hal::nanoseconds(time.mHostTime),
                        false => hal::now_ns(),
                    },
                });
                Ok(())
            },
        )?;
        unit.initialize()?;
        unit.start()?;
        Ok(unit)
    }

    fn listen(&self, on_event: &OnEvent) -> Result<Vec<Listener>, SystemError> {
        let (device, opened) = (self.device, self.format);
        let check = {
            let on_event = on_event.clone();
            Arc::new(move || {
                let alive =
                    hal::get::<u32>(device, Address::global(kAudioDevicePropertyDeviceIsAlive));
                if !alive.is_ok_and(|alive| alive != 0) {
                    on_event(CaptureEvent::Gone);
                } else if format(device)
                    .is_ok_and(|now| (now.rate, now.channels) != (opened.rate, opened.channels))
                {
                    on_event(CaptureEvent::FormatChanged);
                }
            })
        };
        [
            Address::global(kAudioDevicePropertyDeviceIsAlive),
            Address::global(kAudioDevicePropertyNominalSampleRate),
            Address::input(kAudioDevicePropertyStreamConfiguration),
        ]
        .into_iter()
        .map(|address| {
            let check = check.clone();
            Listener::new(device, address, move || check())
        })
        .collect()
    }
}

impl Capture for HalCapture {
    fn format(&self) -> CaptureFormat {
        self.format
    }

    fn start(&mut self, on_block: OnBlock, on_event: OnEvent) -> Result<(), SystemError> {
        self.stop();
        let listeners = self.listen(&on_event)?;
        let unit = self.unit(on_block).map_err(|error| SystemError::Refused {
            what: format!("to capture ({error})"),
            status: error.as_os_status(),
        })?;
        self.running = Some((unit, listeners));
        Ok(())
    }

    fn stop(&mut self) {
        // Dropping the unit stops it, and waits for the callback to end.
        self.running = None;
    }
}

fn format(device: AudioObjectID) -> Result<CaptureFormat, SystemError> {
    let rate: f64 = hal::get(
        device,
        Address::global(kAudioDevicePropertyNominalSampleRate),
    )?;
    let frames = |selector| hal::get::<u32>(device, Address::input(selector)).unwrap_or(0);
    let period = hal::get::<u32>(device, Address::global(kAudioDevicePropertyBufferFrameSize))?;
    // AudioHardwareBase.h: what the device reports comes on top of its safety offset.
    let latency = frames(kAudioDevicePropertyLatency) + frames(kAudioDevicePropertySafetyOffset);
    Ok(CaptureFormat {
        rate: rate.round() as u32,
        channels: devices::channels(device, kAudioObjectPropertyScopeInput)?,
        largest_block: period,
        latency_ns: (f64::from(latency) * 1e9 / rate.max(1.0)) as u64,
    })
}
