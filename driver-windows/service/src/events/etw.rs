//! Windows' event trace itself (ETW): a session of our own, in real time, with the two events of [`super`] and nothing else. Whoever asks
//! has to be an administrator or a service (evntrace.h, `StartTrace`). It is compiled on Linux for Windows; Wine has no traces.

use std::ffi::c_void;
use std::thread::JoinHandle;

use windows::Win32::Foundation::{ERROR_ACCESS_DENIED, ERROR_ALREADY_EXISTS, WIN32_ERROR};
use windows::Win32::System::Diagnostics::Etw::{
    CONTROLTRACE_HANDLE, CloseTrace, ControlTraceW, ENABLE_TRACE_PARAMETERS,
    ENABLE_TRACE_PARAMETERS_VERSION_2, EVENT_CONTROL_CODE_ENABLE_PROVIDER, EVENT_FILTER_DESCRIPTOR,
    EVENT_FILTER_TYPE_EVENT_ID, EVENT_HEADER_FLAG_32_BIT_HEADER, EVENT_RECORD, EVENT_TRACE_CONTROL,
    EVENT_TRACE_CONTROL_QUERY, EVENT_TRACE_CONTROL_STOP, EVENT_TRACE_LOGFILEW,
    EVENT_TRACE_PROPERTIES, EVENT_TRACE_REAL_TIME_MODE, EnableTraceEx2, OpenTraceW,
    PROCESS_TRACE_MODE_EVENT_RECORD, PROCESS_TRACE_MODE_RAW_TIMESTAMP,
    PROCESS_TRACE_MODE_REAL_TIME, PROCESSTRACE_HANDLE, ProcessTrace, StartTraceW,
    TRACE_LEVEL_VERBOSE, WNODE_FLAG_TRACED_GUID,
};
use windows::Win32::System::Performance::QueryPerformanceFrequency;
use windows::core::{GUID, PCWSTR, PWSTR, w};

use super::hub::Hub;
use super::serve::{Trace, Traces};
use super::{MOST_DATA, OFFER, PACKET, PROVIDER, RawEvent};

/// What the session is called: there is one on a machine.
const NAME: PCWSTR = w!("TrueMute-Audio");

/// Buffers of this many KiB; forty apps fill one in a second.
const BUFFER_KIB: u32 = 64;

/// Room for the session's name behind its properties, in characters, and for a file's, which there is none of.
const NAMES: usize = 64;

/// Bit of a processing handle that says that there is none (`INVALID_PROCESSTRACE_HANDLE`), for a 64-bit program.
const NO_TRACE: u64 = u64::MAX;

/// Windows' traces.
#[derive(Clone, Copy, Debug, Default)]
pub struct Etw;

impl Traces for Etw {
    fn start(&self, hub: Hub) -> Result<Box<dyn Trace>, String> {
        Session::start(hub)
            .map(|session| Box::new(session) as Box<dyn Trace>)
            .map_err(|code| explain(code.0))
    }
}

fn explain(code: u32) -> String {
    match WIN32_ERROR(code) {
        ERROR_ACCESS_DENIED => "Windows does not let this program listen to its events (error 5). Run it as the service that `truemute driver install` makes, or as an administrator.".into(),
        _ => format!("Windows does not begin a trace of its events (error {code}). End other traces (`logman query -ets` lists them), or restart the machine."),
    }
}

/// A session, and the thread that takes its events.
struct Session {
    control: CONTROLTRACE_HANDLE,
    processing: PROCESSTRACE_HANDLE,
    thread: Option<JoinHandle<()>>,
    /// Told to the callback, which ends before this.
    listener: *mut Listener,
}

struct Listener {
    hub: Hub,
    frequency: u64,
}

/// The session's properties, with the room for names that the system writes behind them (evntrace.h).
#[repr(C)]
struct Properties {
    fixed: EVENT_TRACE_PROPERTIES,
    names: [[u16; NAMES]; 2],
}

impl Properties {
    fn new() -> Self {
        let bytes = |of: usize| u32::try_from(of).unwrap_or(0);
        let mut fixed = EVENT_TRACE_PROPERTIES::default();
        fixed.Wnode.BufferSize = bytes(size_of::<Self>());
        fixed.Wnode.Flags = WNODE_FLAG_TRACED_GUID;
        // Time stamps by the performance counter.
        fixed.Wnode.ClientContext = 1;
        fixed.BufferSize = BUFFER_KIB;
        fixed.LogFileMode = EVENT_TRACE_REAL_TIME_MODE;
        // In seconds: the shortest.
        fixed.FlushTimer = 1;
        fixed.LoggerNameOffset = bytes(std::mem::offset_of!(Self, names));
        fixed.LogFileNameOffset = fixed.LoggerNameOffset + bytes(size_of::<[u16; NAMES]>());
        Self {
            fixed,
            names: [[0; NAMES]; 2],
        }
    }

    /// All of it, as Windows takes it: it writes behind the fixed part too.
    fn whole(&mut self) -> *mut EVENT_TRACE_PROPERTIES {
        (&raw mut *self).cast()
    }

    /// Asks something of the session of our name.
    fn control(&mut self, what: EVENT_TRACE_CONTROL) -> Result<(), WIN32_ERROR> {
        let none = CONTROLTRACE_HANDLE::default();
        // SAFETY: the properties say how long they are, and can be written.
        done(unsafe { ControlTraceW(none, NAME, self.whole(), what) })
    }
}

fn done(code: WIN32_ERROR) -> Result<(), WIN32_ERROR> {
    match code {
        WIN32_ERROR(0) => Ok(()),
        code => Err(code),
    }
}

impl Session {
    fn start(hub: Hub) -> Result<Self, WIN32_ERROR> {
        let mut control = CONTROLTRACE_HANDLE::default();
        let mut begin = || {
            let mut properties = Properties::new();
            // SAFETY: both can be written; the properties say how long they are.
            done(unsafe { StartTraceW(&raw mut control, NAME, properties.whole()) })
        };
        if let Err(code) = begin() {
            if code != ERROR_ALREADY_EXISTS {
                return Err(code);
            }
            // One that a service left behind which was killed.
            Properties::new().control(EVENT_TRACE_CONTROL_STOP)?;
            begin()?;
        }
        // From here on, dropping it ends the session.
        let mut session = Self {
            control,
            processing: PROCESSTRACE_HANDLE { Value: NO_TRACE },
            thread: None,
            listener: Box::into_raw(Box::new(Listener {
                hub,
                frequency: frequency(),
            })),
        };
        session.enable()?;
        session.listen()?;
        Ok(session)
    }

    /// Has the provider log these two events, and no others.
    fn enable(&self) -> Result<(), WIN32_ERROR> {
        /// `EVENT_FILTER_EVENT_ID` (evntprov.h) with two numbers.
        #[repr(C)]
        struct Ids {
            filter_in: u8,
            reserved: u8,
            count: u16,
            ids: [u16; 2],
        }
        let ids = Ids {
            filter_in: 1,
            reserved: 0,
            count: 2,
            ids: [PACKET, OFFER],
        };
        let mut filter = EVENT_FILTER_DESCRIPTOR {
            Ptr: (&raw const ids).addr() as u64,
            Size: u32::try_from(size_of::<Ids>()).unwrap_or(0),
            Type: EVENT_FILTER_TYPE_EVENT_ID,
        };
        let parameters = ENABLE_TRACE_PARAMETERS {
            Version: ENABLE_TRACE_PARAMETERS_VERSION_2,
            EnableFilterDesc: &raw mut filter,
            FilterDescCount: 1,
            ..ENABLE_TRACE_PARAMETERS::default()
        };
        let provider = GUID::from_u128(PROVIDER);
        // SAFETY: provider, parameters, filter and numbers live as long as the call. All keywords; verbose, as these events are.
        done(unsafe {
            EnableTraceEx2(
                self.control,
                &raw const provider,
                EVENT_CONTROL_CODE_ENABLE_PROVIDER.0,
                u8::try_from(TRACE_LEVEL_VERBOSE).unwrap_or(u8::MAX),
                0,
                0,
                0,
                Some(&raw const parameters),
            )
        })
    }

    fn listen(&mut self) -> Result<(), WIN32_ERROR> {
        let mut name = [0; NAMES];
        // SAFETY: the name is a text that ends with a zero.
        let text = unsafe { NAME.as_wide() };
        let (kept, _) = name.split_at_mut(text.len().min(NAMES - 1));
        kept.copy_from_slice(&text[..kept.len()]);
        let mut file = EVENT_TRACE_LOGFILEW {
            LoggerName: PWSTR(name.as_mut_ptr()),
            Context: self.listener.cast::<c_void>(),
            ..EVENT_TRACE_LOGFILEW::default()
        };
        file.Anonymous1.ProcessTraceMode = PROCESS_TRACE_MODE_REAL_TIME
            | PROCESS_TRACE_MODE_EVENT_RECORD
            | PROCESS_TRACE_MODE_RAW_TIMESTAMP;
        file.Anonymous2.EventRecordCallback = Some(heard);
        // SAFETY: the structure and the name live as long as the call; the listener lives until the processing has ended.
        let processing = unsafe { OpenTraceW(&raw mut file) };
        if processing.Value == NO_TRACE {
            return Err(last_error());
        }
        self.processing = processing;
        let thread = std::thread::Builder::new()
            .name("truemute-trace".into())
            .spawn(move || {
                // SAFETY: the handle is open until `drop` closes it, upon which this returns.
                let ended = unsafe { ProcessTrace(&[processing], None, None) };
                tracing::debug!("the trace ended: {}", ended.0);
            });
        self.thread = Some(thread.map_err(|_| last_error())?);
        Ok(())
    }
}

impl Trace for Session {
    fn lost(&mut self) -> Result<u64, String> {
        if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            return Err("Windows ended the trace of its events. It is begun anew soon.".into());
        }
        let mut properties = Properties::new();
        let asked = properties.control(EVENT_TRACE_CONTROL_QUERY);
        asked.map_err(|code| explain(code.0))?;
        // How many events a lost buffer had, nobody knows: one at least.
        let lost = properties.fixed.EventsLost;
        Ok(u64::from(lost) + u64::from(properties.fixed.RealTimeBuffersLost))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Ends the session, upon which the processing ends too.
        if let Err(code) = Properties::new().control(EVENT_TRACE_CONTROL_STOP) {
            tracing::debug!("the trace could not be ended: {}", code.0);
        }
        if self.processing.Value != NO_TRACE {
            // SAFETY: it was opened, and is closed once. A pending end is no error (evntrace.h, ERROR_CTX_CLOSE_PENDING).
            let _ = unsafe { CloseTrace(self.processing) };
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        // SAFETY: it came from a box, and the thread that used it has ended.
        drop(unsafe { Box::from_raw(self.listener) });
    }
}

/// An event came, on the thread of `ProcessTrace`.
unsafe extern "system" fn heard(record: *mut EVENT_RECORD) {
    // SAFETY: Windows gives a record that is valid during this call, with the context of `listen`, which lives until the thread has ended.
    let (record, listener) = unsafe {
        let record = &*record;
        (record, &*record.UserContext.cast_const().cast::<Listener>())
    };
    let header = &record.EventHeader;
    let id = header.EventDescriptor.Id;
    // The session's own events come too.
    if header.ProviderId != GUID::from_u128(PROVIDER) || ![PACKET, OFFER].contains(&id) {
        return;
    }
    let length = usize::from(record.UserDataLength);
    let data = match record.UserData.is_null() {
        true => &[],
        // SAFETY: so many bytes of data lie there.
        false => unsafe { std::slice::from_raw_parts(record.UserData.cast::<u8>(), length) },
    };
    let ticks = u128::from(header.TimeStamp.unsigned_abs());
    let at_ns = ticks * 1_000_000_000 / u128::from(listener.frequency);
    let is_short = u32::from(header.Flags) & EVENT_HEADER_FLAG_32_BIT_HEADER != 0;
    listener.hub.tell(&RawEvent {
        id,
        version: header.EventDescriptor.Version,
        pid: header.ProcessId,
        at_ns: u64::try_from(at_ns).unwrap_or(u64::MAX),
        pointer_bytes: if is_short { 4 } else { 8 },
        data: RawEvent::digits(&data[..length.min(data.len()).min(MOST_DATA)]),
    });
}

fn frequency() -> u64 {
    let mut frequency = 0;
    // SAFETY: it can be written, and cannot fail since Windows XP (profileapi.h).
    let _ = unsafe { QueryPerformanceFrequency(&raw mut frequency) };
    frequency.unsigned_abs().max(1)
}

fn last_error() -> WIN32_ERROR {
    let code = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
    WIN32_ERROR(code.cast_unsigned())
}
