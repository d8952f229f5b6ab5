//! The output side: the stream of class Audio/Source that apps know as "TrueMute Microphone". It runs only when the
//! capture filter triggers it; what it delivers is decided in [`Cycle`].

use std::{
    cell::Cell,
    ffi::{CStr, CString},
    rc::Rc,
};

use pipewire::{
    properties::PropertiesBox,
    spa::{
        pod::{Object, Pod, Property, Value, ValueArray, serialize::PodSerializer},
        sys as spa_sys,
        utils::Id,
    },
    sys as pw_sys,
};

use super::{Channel, cycle::Cycle};

/// `node.name` of the virtual mic.
pub(crate) const NODE_NAME: &str = "truemute.mic";

/// Session priority: above every real mic (WirePlumber gives ALSA sources about 2000, Bluetooth less), so that apps
/// which take the default get the virtual mic. The silent twin of the install lies between (2900).
const PRIORITY_SESSION: &str = "3000";

/// What the stream tells the main loop.
pub(crate) trait SourceEvents {
    /// The stream went to or from streaming, or failed.
    fn state(&self, streaming: bool, error: Option<String>);
    /// Somebody set or cleared the mute flag of the virtual mic.
    fn muted_by_desktop(&self, muted: bool);
}

struct Shared {
    events: Box<dyn SourceEvents>,
    cycle: *mut Cycle,
    data_loop: *mut pw_sys::pw_data_loop,
    /// The mute flag as it stands, so that our own change is not taken for the desktop's.
    flag: Cell<Option<bool>>,
}

/// The stream. Main-loop thread only, except for its process callback.
pub(crate) struct Source {
    stream: *mut pw_sys::pw_stream,
    shared: Rc<Shared>,
    _hook: Box<spa_sys::spa_hook>,
    _events: Box<pw_sys::pw_stream_events>,
}

impl Source {
    /// Makes the stream. `cycle` must outlive the returned value.
    pub(crate) fn create(
        core: *mut pw_sys::pw_core,
        channels: &[Channel],
        group: &str,
        cycle: *mut Cycle,
        events_to: Box<dyn SourceEvents>,
    ) -> Result<Self, String> {
        let positions = channels
            .iter()
            .map(|c| c.name())
            .collect::<Vec<_>>()
            .join(",");
        let mut properties = PropertiesBox::new();
        properties.insert("media.class", "Audio/Source");
        properties.insert("node.name", NODE_NAME);
        properties.insert("node.description", "TrueMute Microphone");
        properties.insert("node.nick", "TrueMute Microphone");
        properties.insert("media.name", "TrueMute Microphone");
        properties.insert("audio.channels", channels.len().to_string());
        properties.insert("audio.position", format!("[ {positions} ]"));
        properties.insert("node.group", group);
        properties.insert("node.link-group", group);
        properties.insert("node.want-driver", "true");
        properties.insert("node.loop.name", super::DATA_LOOP);
        properties.insert("node.autoconnect", "false");
        properties.insert("priority.session", PRIORITY_SESSION);
        // A client with rights on this node could otherwise load a filter graph behind the gate (measured: 0.25 in
        // every buffer of a muted source).
        properties.insert("audioconvert.filter-graph.disable", "true");
        properties.insert("dither.noise", "0");
        // WirePlumber would bring back a mute flag or volume of another day.
        properties.insert("state.restore-props", "false");
        properties.insert("state.restore-target", "false");

        let name = CString::new("TrueMute Microphone").map_err(|e| e.to_string())?;
        // SAFETY: `core` is a live core of this thread; the properties' ownership passes to the stream.
        let stream = unsafe { pw_sys::pw_stream_new(core, name.as_ptr(), properties.into_raw()) };
        if stream.is_null() {
            return Err(format!(
                "pw_stream_new failed: {}",
                std::io::Error::last_os_error()
            ));
        }
        // SAFETY: zero is a valid value of both: null callbacks, an unlinked hook.
        let (mut events, mut hook): (Box<pw_sys::pw_stream_events>, Box<spa_sys::spa_hook>) =
            unsafe { (Box::new(std::mem::zeroed()), Box::new(std::mem::zeroed())) };
        events.version = pw_sys::PW_VERSION_STREAM_EVENTS;
        events.process = Some(on_process);
        events.state_changed = Some(on_state_changed);
        events.control_info = Some(on_control_info);
        // SAFETY: `core` is live, and so is its context.
        let data_loop =
            unsafe { pw_sys::pw_context_get_data_loop(pw_sys::pw_core_get_context(core)) };
        let shared = Rc::new(Shared {
            events: events_to,
            cycle,
            data_loop,
            flag: Cell::new(None),
        });
        // SAFETY: hook, events and shared stay at their addresses until Drop has destroyed the stream.
        unsafe {
            pw_sys::pw_stream_add_listener(
                stream,
                &mut *hook,
                &*events,
                Rc::as_ptr(&shared) as *mut std::ffi::c_void,
            );
        }
        let source = Source {
            stream,
            shared,
            _hook: hook,
            _events: events,
        };
        // SAFETY: nothing runs yet: the stream is not connected.
        unsafe { (*cycle).set_stream(stream) };

        Ok(source)
    }

    /// Connects the stream, so that the server makes its node.
    pub(crate) fn connect(&self, channels: &[Channel]) -> Result<(), String> {
        let format = format_param(channels)?;
        let pod = Pod::from_bytes(&format).ok_or("the format could not be built")?;
        let mut params = [pod.as_raw_ptr().cast_const()];
        let flags = pw_sys::pw_stream_flags_PW_STREAM_FLAG_MAP_BUFFERS
            | pw_sys::pw_stream_flags_PW_STREAM_FLAG_RT_PROCESS
            | pw_sys::pw_stream_flags_PW_STREAM_FLAG_TRIGGER;
        // SAFETY: the stream is live; `params` holds one complete pod for the time of the call.
        let result = unsafe {
            pw_sys::pw_stream_connect(
                self.stream,
                spa_sys::SPA_DIRECTION_OUTPUT,
                u32::MAX,
                flags,
                params.as_mut_ptr(),
                1,
            )
        };
        if result < 0 {
            return Err(format!(
                "pw_stream_connect failed: {}",
                std::io::Error::from_raw_os_error(-result)
            ));
        }
        Ok(())
    }

    /// The server's global id of this node; `None` until it is known.
    pub(crate) fn node_id(&self) -> Option<u32> {
        // SAFETY: the stream is live until Drop.
        let id = unsafe { pw_sys::pw_stream_get_node_id(self.stream) };
        (id != u32::MAX).then_some(id)
    }

    /// Shows the gate's state in the mute flag that the desktop sees.
    pub(crate) fn show_muted(&self, muted: bool) {
        if self.shared.flag.replace(Some(muted)) == Some(muted) {
            return;
        }
        let mut value = if muted { 1.0f32 } else { 0.0 };
        // SAFETY: the stream is live; one value is passed and the list of controls ends with 0.
        unsafe {
            pw_sys::pw_stream_set_control(self.stream, spa_sys::SPA_PROP_mute, 1, &mut value, 0)
        };
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // SAFETY: made in `connect`, destroyed once; destroying removes the hook and ends the process callbacks.
        unsafe { pw_sys::pw_stream_destroy(self.stream) };
    }
}

/// F32 planar at the graph's rate: without a rate in it the format follows the graph, so that nothing resamples.
fn format_param(channels: &[Channel]) -> Result<Vec<u8>, String> {
    let id = |key, value| Property::new(key, Value::Id(Id(value)));
    let object = Object {
        type_: spa_sys::SPA_TYPE_OBJECT_Format,
        id: spa_sys::SPA_PARAM_EnumFormat,
        properties: vec![
            id(spa_sys::SPA_FORMAT_mediaType, spa_sys::SPA_MEDIA_TYPE_audio),
            id(
                spa_sys::SPA_FORMAT_mediaSubtype,
                spa_sys::SPA_MEDIA_SUBTYPE_raw,
            ),
            id(
                spa_sys::SPA_FORMAT_AUDIO_format,
                spa_sys::SPA_AUDIO_FORMAT_F32P,
            ),
            Property::new(
                spa_sys::SPA_FORMAT_AUDIO_channels,
                Value::Int(channels.len() as i32),
            ),
            Property::new(
                spa_sys::SPA_FORMAT_AUDIO_position,
                Value::ValueArray(ValueArray::Id(
                    channels.iter().map(|c| Id(c.position())).collect(),
                )),
            ),
        ],
    };
    let mut bytes = Vec::new();
    PodSerializer::serialize(std::io::Cursor::new(&mut bytes), &Value::Object(object))
        .map_err(|e| e.to_string())?;
    Ok(bytes)
}

/// Real-time thread.
unsafe extern "C" fn on_process(data: *mut std::ffi::c_void) {
    // SAFETY: `data` is the Shared given in `connect`, its cycle is touched by the data loop's thread only.
    unsafe { (*(*data.cast::<Shared>()).cycle).deliver() }
}

/// Main-loop thread.
unsafe extern "C" fn on_state_changed(
    data: *mut std::ffi::c_void,
    _old: pw_sys::pw_stream_state,
    state: pw_sys::pw_stream_state,
    error: *const std::os::raw::c_char,
) {
    // SAFETY: `data` is the Shared given in `connect`; `error` is null or a string valid during this call.
    let (shared, error) = unsafe {
        let error =
            (!error.is_null()).then(|| CStr::from_ptr(error).to_string_lossy().into_owned());
        (&*data.cast::<Shared>(), error)
    };
    let streaming = state == pw_sys::pw_stream_state_PW_STREAM_STATE_STREAMING;
    // SAFETY: the data loop lives as long as the core. A blocking invoke returns after the function has run there, so
    // after any trigger that is under way.
    unsafe {
        pw_sys::pw_data_loop_invoke(
            shared.data_loop,
            Some(set_streaming),
            0,
            (&raw const streaming).cast(),
            size_of::<bool>(),
            true,
            shared.cycle.cast(),
        );
    }
    shared.events.state(streaming, error);
}

/// Real-time thread, between two cycles.
unsafe extern "C" fn set_streaming(
    _loop: *mut spa_sys::spa_loop,
    _async: bool,
    _seq: u32,
    streaming: *const std::ffi::c_void,
    _size: usize,
    cycle: *mut std::ffi::c_void,
) -> std::ffi::c_int {
    // SAFETY: both come from `on_state_changed`: a bool, and the Cycle, which on this thread nothing else holds.
    unsafe { (*cycle.cast::<Cycle>()).set_streaming(*streaming.cast::<bool>()) };
    0
}

/// Main-loop thread. Comes for our own changes too.
unsafe extern "C" fn on_control_info(
    data: *mut std::ffi::c_void,
    id: u32,
    control: *const pw_sys::pw_stream_control,
) {
    if id != spa_sys::SPA_PROP_mute || control.is_null() {
        return;
    }
    // SAFETY: `data` is the Shared given in `connect`; the control and its values are valid during this call.
    let (shared, muted) = unsafe {
        let control = &*control;
        if control.n_values == 0 || control.values.is_null() {
            return;
        }
        (&*data.cast::<Shared>(), *control.values != 0.0)
    };
    // The first report is the flag's initial value.
    match shared.flag.replace(Some(muted)) {
        Some(before) if before != muted => shared.events.muted_by_desktop(muted),
        _ => {}
    }
}
