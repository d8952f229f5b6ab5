//! The capture side: a filter with DSP input ports and nothing that anybody could record from. It takes the real mic's
//! block of this cycle, hands it to the [`Cycle`] and triggers the source stream, so that both run in one cycle. What its
//! ports hear of the mic's latency the source tells its clients.
//! Which mic is linked to it is none of its business (see [`crate::engine`]).

use std::{ffi::CString, ptr, sync::Arc};

use pipewire::{properties::PropertiesBox, spa::sys as spa_sys, sys as pw_sys};

use super::{
    Channel, MAX_CHANNELS,
    cycle::Cycle,
    latency::{self, SharedLatency},
    source::Source,
};
use crate::real_time::on_real_time_thread;

struct Shared {
    cycle: *mut Cycle,
    latency: Arc<SharedLatency>,
    source: *mut pw_sys::pw_stream,
    on_state: Box<dyn Fn()>,
}

/// The filter node. Main-loop thread only, except for its process callback.
pub(crate) struct Capture {
    filter: *mut pw_sys::pw_filter,
    // Boxed, for libpipewire keeps their addresses until the filter is destroyed.
    _hook: Box<spa_sys::spa_hook>,
    _events: Box<pw_sys::pw_filter_events>,
    _shared: Box<Shared>,
}

impl Capture {
    /// Makes and connects the filter. `cycle` and `source` must outlive the returned value. `on_state` is called on the
    /// main-loop thread when [`Self::is_streaming`] may have changed.
    pub(crate) fn connect(
        core: *mut pw_sys::pw_core,
        channels: &[Channel],
        group: &str,
        cycle: *mut Cycle,
        latency: Arc<SharedLatency>,
        source: &Source<Cycle>,
        on_state: impl Fn() + 'static,
    ) -> Result<Self, String> {
        let mut properties = PropertiesBox::new();
        properties.insert("node.name", "truemute.capture");
        properties.insert("node.description", "TrueMute capture");
        properties.insert("node.group", group);
        properties.insert("node.link-group", group);
        // Runs whenever the virtual mic has a running client, with or without a real mic: a driver is wanted, but no
        // always-process, which would keep the graph awake without clients.
        properties.insert("node.want-driver", "true");
        properties.insert("node.loop.name", super::DATA_LOOP);
        properties.insert("node.autoconnect", "false");
        properties.insert("node.dont-reconnect", "true");

        let name = CString::new("TrueMute capture").map_err(|e| e.to_string())?;
        // SAFETY: `core` is a live core of this thread; the properties' ownership passes to the filter.
        let filter = unsafe { pw_sys::pw_filter_new(core, name.as_ptr(), properties.into_raw()) };
        if filter.is_null() {
            return Err(format!(
                "pw_filter_new failed: {}",
                std::io::Error::last_os_error()
            ));
        }
        // SAFETY: zero is a valid value of both: null callbacks, an unlinked hook.
        let (mut events, mut hook): (Box<pw_sys::pw_filter_events>, Box<spa_sys::spa_hook>) =
            unsafe { (Box::new(std::mem::zeroed()), Box::new(std::mem::zeroed())) };
        events.version = pw_sys::PW_VERSION_FILTER_EVENTS;
        events.process = Some(on_process);
        events.state_changed = Some(on_state_changed);
        events.param_changed = Some(on_param_changed);
        let mut shared = Box::new(Shared {
            cycle,
            latency,
            source: source.as_raw_ptr(),
            on_state: Box::new(on_state),
        });
        // SAFETY: hook, events and shared stay at their addresses until Drop has destroyed the filter.
        unsafe {
            pw_sys::pw_filter_add_listener(
                filter,
                &mut *hook,
                &*events,
                ptr::from_mut(&mut *shared).cast(),
            );
        }
        let capture = Capture {
            filter,
            _hook: hook,
            _events: events,
            _shared: shared,
        };

        for (index, channel) in channels.iter().enumerate().take(MAX_CHANNELS) {
            let mut port = PropertiesBox::new();
            port.insert("format.dsp", "32 bit float mono audio");
            port.insert("port.name", format!("input_{}", channel.name()));
            port.insert("audio.channel", channel.name());
            // SAFETY: the filter is live and not yet connected; properties' ownership passes to the port.
            let data = unsafe {
                pw_sys::pw_filter_add_port(
                    filter,
                    spa_sys::SPA_DIRECTION_INPUT,
                    pw_sys::pw_filter_port_flags_PW_FILTER_PORT_FLAG_MAP_BUFFERS,
                    size_of::<usize>(),
                    port.into_raw(),
                    ptr::null_mut(),
                    0,
                )
            };
            if data.is_null() {
                return Err(format!(
                    "pw_filter_add_port failed: {}",
                    std::io::Error::last_os_error()
                ));
            }
            // SAFETY: `cycle` is not yet shared with the data loop, for the filter is not connected.
            unsafe { (*cycle).set_port(index, data) };
        }
        // Without the second flag the library keeps the latency of what is linked to itself (pipewire/filter.h).
        let flags = pw_sys::pw_filter_flags_PW_FILTER_FLAG_RT_PROCESS
            | pw_sys::pw_filter_flags_PW_FILTER_FLAG_CUSTOM_LATENCY;
        // SAFETY: the filter is live; no parameters are passed.
        let result = unsafe { pw_sys::pw_filter_connect(filter, flags, ptr::null_mut(), 0) };
        if result < 0 {
            return Err(format!(
                "pw_filter_connect failed: {}",
                std::io::Error::from_raw_os_error(-result)
            ));
        }
        Ok(capture)
    }

    /// The server's global id of this node; `None` until it is known.
    pub(crate) fn node_id(&self) -> Option<u32> {
        // SAFETY: the filter is live until Drop.
        let id = unsafe { pw_sys::pw_filter_get_node_id(self.filter) };
        (id != u32::MAX).then_some(id)
    }

    /// Whether the filter runs, as far as it knows.
    pub(crate) fn is_streaming(&self) -> bool {
        // SAFETY: the filter is live until Drop; no error text is asked for.
        let state = unsafe { pw_sys::pw_filter_get_state(self.filter, ptr::null_mut()) };
        state == pw_sys::pw_filter_state_PW_FILTER_STATE_STREAMING
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // SAFETY: made in `connect`, destroyed once; destroying removes the hook and ends the process callbacks.
        unsafe { pw_sys::pw_filter_destroy(self.filter) };
    }
}

/// Real-time thread.
unsafe extern "C" fn on_process(
    data: *mut std::ffi::c_void,
    position: *mut spa_sys::spa_io_position,
) {
    // SAFETY: `data` is the Shared given in `connect`. After connecting, only the data loop's thread touches the Cycle;
    // the borrow of it ends before the trigger, which on 0.3.65 runs the stream's process callback inside the call.
    // `position` is null or the driver's position, valid during this call.
    unsafe {
        let cycle = (*data.cast::<Shared>()).cycle;
        let stream = on_real_time_thread(|| {
            (*cycle).take_block(position.as_ref());
            (*cycle).triggerable()
        });
        if let Some(stream) = stream {
            pw_sys::pw_stream_trigger_process(stream);
        }
    }
}

/// Main-loop thread.
unsafe extern "C" fn on_state_changed(
    data: *mut std::ffi::c_void,
    _old: pw_sys::pw_filter_state,
    _new: pw_sys::pw_filter_state,
    _error: *const std::os::raw::c_char,
) {
    // SAFETY: `data` is the Shared given in `connect`.
    unsafe { ((*data.cast::<Shared>()).on_state)() }
}

/// Main-loop thread. The latency of what is linked to a port: the block's age here, and, as we add nothing, the source's latency.
/// When a mic is unlinked, PipeWire 1.4 tells nothing and 0.3.65 a latency of 0.
unsafe extern "C" fn on_param_changed(
    data: *mut std::ffi::c_void,
    port: *mut std::ffi::c_void,
    id: u32,
    param: *const spa_sys::spa_pod,
) {
    if port.is_null() || id != spa_sys::SPA_PARAM_Latency || param.is_null() {
        return;
    }
    // SAFETY: `data` is the Shared given in `connect`, whose stream lives as long as this filter; `param` is a complete pod of
    // the server's, valid during this call, and the stream copies it.
    unsafe {
        let shared = &*data.cast::<Shared>();
        if let Some(upstream) = latency::parse(param) {
            shared.latency.set(upstream);
            let told = pw_sys::pw_stream_update_params(shared.source, &mut param.cast(), 1);
            if told < 0 {
                let error = std::io::Error::from_raw_os_error(-told);
                tracing::debug!(%error, "clients were not told the mic's latency");
            }
        }
    }
}
