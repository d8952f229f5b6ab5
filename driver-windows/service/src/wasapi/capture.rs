//! A microphone captured in shared mode, event-driven, in the format in which the audio engine mixes: 32-bit floats, at the device's
//! own rate. The thread that captures is ours, at the urgency that Windows gives to capturing (MMCSS).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use truemute_agent::system::{
    Block, Capture, CaptureEvent, CaptureFormat, OnBlock, OnEvent, SystemError,
};
use windows::Win32::Foundation::{CloseHandle, HANDLE, WAIT_FAILED};
use windows::Win32::Media::Audio::{
    AUDCLNT_BUFFERFLAGS_SILENT, AUDCLNT_BUFFERFLAGS_TIMESTAMP_ERROR, AUDCLNT_E_DEVICE_INVALIDATED,
    AUDCLNT_SHAREMODE_SHARED, AUDCLNT_STREAMFLAGS_EVENTCALLBACK, AUDCLNT_STREAMFLAGS_NOPERSIST,
    IAudioCaptureClient, IAudioClient, IMMDevice, WAVEFORMATEX, WAVEFORMATEXTENSIBLE,
};
use windows::Win32::Media::KernelStreaming::WAVE_FORMAT_EXTENSIBLE;
use windows::Win32::Media::Multimedia::{KSDATAFORMAT_SUBTYPE_IEEE_FLOAT, WAVE_FORMAT_IEEE_FLOAT};
use windows::Win32::System::Com::{CLSCTX_ALL, CoTaskMemFree};
use windows::Win32::System::Threading::{
    AvRevertMmThreadCharacteristics, AvSetMmThreadCharacteristicsW, CreateEventW,
    WaitForSingleObject,
};
use windows::core::w;

use super::com::{endpoint, refused};
use super::processes::now_ns;
use crate::stamp::earliest_ns;

/// Units of 100 ns in a second (`REFERENCE_TIME`).
const SECOND_HNS: u64 = 10_000_000;

/// The engine's buffer, at least: what it keeps if this thread is late.
const BUFFER_HNS: i64 = 1_000_000;

/// The longest wait for a block: then it is looked whether the capture is to end.
const WAIT_MS: u32 = 100;

/// How long the capture may take to start.
const PATIENCE: Duration = Duration::from_secs(5);

/// A microphone.
pub(super) struct WasapiCapture {
    uid: String,
    format: CaptureFormat,
    running: Option<Running>,
}

struct Running {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl WasapiCapture {
    /// Looks how it delivers. It does not run, and its indicator is off.
    pub(super) fn open(uid: &str) -> Result<Self, SystemError> {
        let endpoint = endpoint(uid)?;
        let mix = mix_format(&endpoint).ok_or_else(|| not_float(uid))?;
        let mut period_hns = 0;
        // SAFETY: the endpoint is there; the number can be written.
        let latency_hns = unsafe {
            let client = activate(&endpoint)?;
            client
                .GetDevicePeriod(Some(&raw mut period_hns), None)
                .map_err(|error| refused("the period of a microphone", &error))?;
            // Told once it is initialised only, which would open the stream: the period is what the engine adds at least.
            period_hns
        };
        let hns = |hns: i64| u64::try_from(hns).unwrap_or(0);
        let period = (hns(period_hns) * u64::from(mix.rate)).div_ceil(SECOND_HNS);
        Ok(Self {
            uid: uid.to_owned(),
            format: CaptureFormat {
                rate: mix.rate,
                channels: mix.channels,
                // Two periods come at once where the thread was late.
                largest_block: u32::try_from(2 * period).unwrap_or(u32::MAX),
                latency_ns: hns(latency_hns) * 100,
            },
            running: None,
        })
    }
}

impl Capture for WasapiCapture {
    fn format(&self) -> CaptureFormat {
        self.format
    }

    fn start(&mut self, on_block: OnBlock, on_event: OnEvent) -> Result<(), SystemError> {
        self.stop();
        let stop = Arc::<AtomicBool>::default();
        let (started, starting) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("truemute-wasapi".into())
            .spawn({
                let (uid, format, stop) = (self.uid.clone(), self.format, stop.clone());
                move || run(&uid, format, &stop, &started, on_block, &on_event)
            })
            .map_err(|error| SystemError::Refused {
                what: "a thread".into(),
                status: error.raw_os_error().unwrap_or(0),
            })?;
        self.running = Some(Running { stop, thread });
        match starting.recv_timeout(PATIENCE) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                self.stop();
                Err(error)
            }
            Err(_) => {
                // The audio service hangs. The thread ends when it answers.
                if let Some(running) = self.running.take() {
                    running.stop.store(true, Ordering::Relaxed);
                }
                Err(SystemError::Refused {
                    what: "to start a capture in time".into(),
                    status: 0,
                })
            }
        }
    }

    fn stop(&mut self) {
        if let Some(Running { stop, thread }) = self.running.take() {
            stop.store(true, Ordering::Relaxed);
            let _ = thread.join();
        }
    }
}

impl Drop for WasapiCapture {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The format of the engine's mixture, if it is what we can take.
#[derive(Clone, Copy)]
pub(super) struct MixFormat {
    pub(super) rate: u32,
    channels: u32,
}

/// How the engine delivers this endpoint; nothing if not in floats, which it always does (audioclient.h, `GetMixFormat`).
pub(super) fn mix_format(endpoint: &IMMDevice) -> Option<MixFormat> {
    let client = activate(endpoint).ok()?;
    // SAFETY: the client was made just now.
    let given = Given(unsafe { client.GetMixFormat() }.ok()?);
    given.float()
}

/// A format that COM gave.
struct Given(*mut WAVEFORMATEX);

impl Given {
    fn float(&self) -> Option<MixFormat> {
        // SAFETY: COM gave a format; the structure has no alignment, so it is copied.
        let format = unsafe { self.0.read_unaligned() };
        let tag = u32::from(format.wFormatTag);
        let float = match tag {
            WAVE_FORMAT_IEEE_FLOAT => true,
            WAVE_FORMAT_EXTENSIBLE => {
                // SAFETY: by its tag it is the longer structure.
                let long = unsafe { self.0.cast::<WAVEFORMATEXTENSIBLE>().read_unaligned() };
                let subtype = long.SubFormat;
                subtype == KSDATAFORMAT_SUBTYPE_IEEE_FLOAT
            }
            _ => false,
        };
        let (bits, channels) = (format.wBitsPerSample, format.nChannels);
        (float && bits == 32 && channels > 0).then_some(MixFormat {
            rate: format.nSamplesPerSec,
            channels: channels.into(),
        })
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        // SAFETY: COM gave it, and nobody else frees it.
        unsafe { CoTaskMemFree(Some(self.0.cast())) };
    }
}

fn not_float(uid: &str) -> SystemError {
    SystemError::Refused {
        what: format!("32-bit floats from {uid:?}"),
        status: 0,
    }
}

fn activate(endpoint: &IMMDevice) -> Result<IAudioClient, SystemError> {
    // SAFETY: whoever has an endpoint has entered COM.
    unsafe { endpoint.Activate(CLSCTX_ALL, None) }
        .map_err(|error| refused("to open a microphone", &error))
}

/// An event that a thread waits for.
struct Event(HANDLE);

impl Event {
    fn new() -> Result<Self, SystemError> {
        // SAFETY: no name, no attributes; it resets itself.
        let event = unsafe { CreateEventW(None, false, false, None) };
        event.map(Self).map_err(|error| refused("an event", &error))
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: made by us, closed once.
        let _ = unsafe { CloseHandle(self.0) };
    }
}

/// A stream that runs, until it is dropped.
struct Stream {
    client: IAudioClient,
    packets: IAudioCaptureClient,
    ready: Event,
    /// What the engine keeps at most.
    buffer: Duration,
}

impl Stream {
    fn start(uid: &str, format: CaptureFormat) -> Result<Self, SystemError> {
        let endpoint = endpoint(uid)?;
        let client = activate(&endpoint)?;
        let ready = Event::new()?;
        let failed = |error| refused("to capture a microphone", &error);
        // SAFETY: the format is COM's own and lives as long as the call; the event lives as long as the stream.
        unsafe {
            let mix = Given(client.GetMixFormat().map_err(failed)?);
            let now = mix.float().ok_or_else(|| not_float(uid))?;
            if (now.rate, now.channels) != (format.rate, format.channels) {
                return Err(SystemError::NoDevice(uid.to_owned()));
            }
            client
                .Initialize(
                    AUDCLNT_SHAREMODE_SHARED,
                    AUDCLNT_STREAMFLAGS_EVENTCALLBACK | AUDCLNT_STREAMFLAGS_NOPERSIST,
                    BUFFER_HNS,
                    0,
                    mix.0,
                    None,
                )
                .map_err(failed)?;
            client.SetEventHandle(ready.0).map_err(failed)?;
            let frames = client.GetBufferSize().map_err(failed)?;
            let buffer = Duration::from_secs(frames.into()) / format.rate.max(1);
            let packets = client.GetService().map_err(failed)?;
            client.Start().map_err(failed)?;
            Ok(Self {
                client,
                packets,
                ready,
                buffer,
            })
        }
    }

    /// Hands over all blocks that are there.
    fn take(
        &self,
        format: CaptureFormat,
        zeros: &mut Vec<f32>,
        on_block: &mut OnBlock,
    ) -> windows::core::Result<()> {
        // SAFETY: the stream runs; a buffer is used only between its two calls, as so many frames as the first one said.
        unsafe {
            while self.packets.GetNextPacketSize()? > 0 {
                let (mut data, mut frames, mut flags, mut hns) = (std::ptr::null_mut(), 0, 0, 0);
                self.packets.GetBuffer(
                    &raw mut data,
                    &raw mut frames,
                    &raw mut flags,
                    None,
                    Some(&raw mut hns),
                )?;
                let samples = frames as usize * format.channels as usize;
                let has = |flag: i32| flags & flag.cast_unsigned() != 0;
                let host_ns = match has(AUDCLNT_BUFFERFLAGS_TIMESTAMP_ERROR.0) {
                    // The counter's reading when the block's first frame was captured, in units of 100 ns.
                    false => hns * 100,
                    true => earliest_ns(now_ns(), frames, format.rate, self.buffer),
                };
                let samples = match has(AUDCLNT_BUFFERFLAGS_SILENT.0) || data.is_null() {
                    true => {
                        zeros.resize(samples.max(zeros.len()), 0.0);
                        &zeros[..samples]
                    }
                    false => std::slice::from_raw_parts(data.cast::<f32>(), samples),
                };
                on_block(Block { samples, host_ns });
                self.packets.ReleaseBuffer(frames)?;
            }
        }
        Ok(())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: it was started. The microphone's indicator goes off with the last who has it.
        let _ = unsafe { self.client.Stop() };
    }
}

/// The thread that captures.
fn run(
    uid: &str,
    format: CaptureFormat,
    stop: &AtomicBool,
    started: &SyncSender<Result<(), SystemError>>,
    mut on_block: OnBlock,
    on_event: &OnEvent,
) {
    let stream = match Stream::start(uid, format) {
        Ok(stream) => stream,
        Err(error) => return drop(started.send(Err(error))),
    };
    let _ = started.send(Ok(()));
    let mut task = 0;
    // SAFETY: the name is one of the system's; the number can be written. Without it the thread is as urgent as any.
    let urgent = unsafe { AvSetMmThreadCharacteristicsW(w!("Capture"), &raw mut task) };
    let mut zeros = vec![0.0; format.largest_block as usize * format.channels as usize];
    while !stop.load(Ordering::Relaxed) {
        // SAFETY: the event lives as long as the stream.
        if unsafe { WaitForSingleObject(stream.ready.0, WAIT_MS) } == WAIT_FAILED {
            on_event(CaptureEvent::Gone);
            break;
        }
        if let Err(error) = stream.take(format, &mut zeros, &mut on_block) {
            on_event(match error.code() {
                // Unplugged, disabled, or given another format (audioclient.h): opening it anew finds out.
                AUDCLNT_E_DEVICE_INVALIDATED => CaptureEvent::FormatChanged,
                _ => CaptureEvent::Gone,
            });
            break;
        }
    }
    if let Ok(urgent) = urgent {
        // SAFETY: given to this thread.
        let _ = unsafe { AvRevertMmThreadCharacteristics(urgent) };
    }
}
