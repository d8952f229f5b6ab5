//! The sound of a simulated mic: a PipeWire filter with one DSP output port a channel, filled in the graph's own cycle
//! from the clock position. The crate `pipewire` does not wrap filters, hence the calls of its `sys` and the `unsafe`.

use std::ffi::{CString, c_void};
use std::io::Cursor;
use std::mem;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pipewire as pw;
use pw::core::Core;
use pw::properties::{PropertiesBox, properties};
use pw::spa::pod::{Object, Pod, Property, Value, serialize::PodSerializer};
use pw::spa::sys::{self as spa_sys, spa_io_position};
use pw::spa::utils::Id;
use pw::sys as pw_sys;

use super::RehearsalError;
use super::signal::Signal;

/// Owns the filter. Lives on the thread of its main loop; must go before its core does.
pub(super) struct Feeder<'core> {
    filter: NonNull<pw_sys::pw_filter>,
    _hook: Box<pw::spa::sys::spa_hook>,
    _events: Box<pw_sys::pw_filter_events>,
    /// Read by the real-time thread until the filter is destroyed.
    _playing: Box<Playing>,
    _core: &'core Core,
}

/// What the real-time thread reads.
struct Playing {
    signals: Vec<Signal>,
    /// Which of them is played.
    index: Arc<AtomicUsize>,
    /// `port_data` of each channel's port.
    ports: Vec<NonNull<c_void>>,
}

impl<'core> Feeder<'core> {
    /// Makes and connects a filter named `name` that plays `signals[index]` on `channels` ports, which tell `latency_ns`: the
    /// null sink behind them gives it on.
    pub(super) fn new(
        core: &'core Core,
        name: &str,
        channels: u32,
        latency_ns: u32,
        signals: Vec<Signal>,
        index: Arc<AtomicUsize>,
    ) -> Result<Self, RehearsalError> {
        let failed = |doing: &str, code: i32| RehearsalError::Pipewire {
            doing: doing.to_owned(),
            reason: std::io::Error::from_raw_os_error(-code).to_string(),
        };
        let title = CString::new(name).map_err(RehearsalError::pipewire("naming the feeder"))?;
        let properties = properties! {
            "node.name" => name,
            "node.description" => "what the simulated microphone hears",
            // Alone it must neither run nor keep the mic running.
            "node.passive" => "true",
        };
        // SAFETY: the core outlives the filter (lifetime); the properties' ownership is taken by the call.
        let filter = unsafe {
            pw_sys::pw_filter_new(core.as_raw_ptr(), title.as_ptr(), properties.into_raw())
        };
        let filter =
            NonNull::new(filter).ok_or_else(|| failed("making the feeder", -libc::ENOMEM))?;
        let mut playing = Box::new(Playing {
            signals,
            index,
            ports: Vec::with_capacity(channels as usize),
        });
        let mut events = Box::new(pw_sys::pw_filter_events {
            version: pw_sys::PW_VERSION_FILTER_EVENTS,
            process: Some(process),
            // SAFETY: a table of optional function pointers; all zero means none (filter.h).
            ..unsafe { mem::zeroed() }
        });
        // SAFETY: a list node that the call below fills.
        let mut hook: Box<pw::spa::sys::spa_hook> = Box::new(unsafe { mem::zeroed() });
        let latency = latency_param(latency_ns)?;
        for channel in 0..channels {
            let port = add_port(filter, channel, &latency)
                .ok_or_else(|| failed("adding a port to the feeder", -libc::ENOMEM));
            match port {
                Ok(port) => playing.ports.push(port),
                Err(error) => {
                    // SAFETY: made above, not shared yet.
                    unsafe { pw_sys::pw_filter_destroy(filter.as_ptr()) };
                    return Err(error);
                }
            }
        }
        // SAFETY: hook, events and playing are boxed, so they stay where they are, and are freed after the filter.
        let code = unsafe {
            pw_sys::pw_filter_add_listener(
                filter.as_ptr(),
                ptr::from_mut(&mut *hook),
                ptr::from_mut(&mut *events),
                ptr::from_mut(&mut *playing).cast(),
            );
            pw_sys::pw_filter_connect(
                filter.as_ptr(),
                pw_sys::pw_filter_flags_PW_FILTER_FLAG_RT_PROCESS,
                ptr::null_mut(),
                0,
            )
        };
        let feeder = Self {
            filter,
            _hook: hook,
            _events: events,
            _playing: playing,
            _core: core,
        };
        if code < 0 {
            return Err(failed("connecting the feeder", code));
        }
        Ok(feeder)
    }

    /// The filter's node id, once the server has given one.
    pub(super) fn node_id(&self) -> Option<u32> {
        // SAFETY: the filter is alive, and this is its main loop's thread.
        let id = unsafe { pw_sys::pw_filter_get_node_id(self.filter.as_ptr()) };
        (id != pw_sys::PW_ID_ANY).then_some(id)
    }
}

impl Drop for Feeder<'_> {
    fn drop(&mut self) {
        // SAFETY: made in `new`, destroyed once. The call waits for the real-time thread to let go of the node, so the
        // boxes that are freed next are not read any more.
        unsafe { pw_sys::pw_filter_destroy(self.filter.as_ptr()) }
    }
}

/// The latency of a port that adds `nanoseconds` (`SPA_PARAM_Latency`, spa/param/latency.h).
fn latency_param(nanoseconds: u32) -> Result<Vec<u8>, RehearsalError> {
    let long = |key| Property::new(key, Value::Long(nanoseconds.into()));
    let object = Object {
        type_: spa_sys::SPA_TYPE_OBJECT_ParamLatency,
        id: spa_sys::SPA_PARAM_Latency,
        properties: vec![
            Property::new(
                spa_sys::SPA_PARAM_LATENCY_direction,
                Value::Id(Id(spa_sys::SPA_DIRECTION_OUTPUT)),
            ),
            long(spa_sys::SPA_PARAM_LATENCY_minNs),
            long(spa_sys::SPA_PARAM_LATENCY_maxNs),
        ],
    };
    PodSerializer::serialize(Cursor::new(Vec::new()), &Value::Object(object))
        .map(|(cursor, _)| cursor.into_inner())
        .map_err(RehearsalError::pipewire("writing the feeder's latency"))
}

fn add_port(
    filter: NonNull<pw_sys::pw_filter>,
    channel: u32,
    latency: &[u8],
) -> Option<NonNull<c_void>> {
    let mut params = [Pod::from_bytes(latency)?.as_raw_ptr().cast_const()];
    let properties: PropertiesBox = properties! {
        "format.dsp" => "32 bit float mono audio",
        "port.name" => format!("output_{channel}"),
    };
    // SAFETY: the filter is alive; the properties' ownership is taken; the one param is copied; one byte of user data is asked for, for the
    // address alone names the port.
    NonNull::new(unsafe {
        pw_sys::pw_filter_add_port(
            filter.as_ptr(),
            pw::spa::sys::SPA_DIRECTION_OUTPUT,
            pw_sys::pw_filter_port_flags_PW_FILTER_PORT_FLAG_MAP_BUFFERS,
            1,
            properties.into_raw(),
            params.as_mut_ptr(),
            1,
        )
    })
}

/// Called by the real-time thread once a cycle.
unsafe extern "C" fn process(data: *mut c_void, position: *mut spa_io_position) {
    // SAFETY: `data` is the box given to add_listener, freed after the filter; only read while the filter lives.
    let playing = unsafe { &*data.cast::<Playing>() };
    // SAFETY: null or valid for this call (filter.h).
    let Some(position) = (unsafe { position.as_ref() }) else {
        return;
    };
    let clock = &position.clock;
    let Ok(frames) = u32::try_from(clock.duration) else {
        return;
    };
    let signal = playing
        .signals
        .get(playing.index.load(Ordering::Acquire))
        .unwrap_or(&Signal::Silence);
    for (channel, port) in (0..).zip(&playing.ports) {
        // SAFETY: the port belongs to the living filter; the answer is null or has room for `frames` floats (filter.h).
        let buffer = unsafe { pw_sys::pw_filter_get_dsp_buffer(port.as_ptr(), frames) };
        if buffer.is_null() {
            continue;
        }
        // SAFETY: as above; nobody else writes this buffer until the cycle goes on.
        let samples = unsafe { slice::from_raw_parts_mut(buffer.cast::<f32>(), frames as usize) };
        signal.fill(channel, clock.position, clock.rate.denom, samples);
    }
}
