//! The output side: a stream of class Audio/Source, as apps see it. What it delivers is its [`Delivery`]'s: that of
//! "TrueMute Microphone" is [`Cycle`](super::Cycle), that of the source for muted apps is in `aside/`.

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

use super::Channel;
use crate::{graph::mutes::flag_in_props, real_time::on_real_time_thread};

/// `node.name` of the virtual mic.
pub(crate) const NODE_NAME: &str = "truemute.mic";

/// Session priority of the virtual mic: above every real mic (WirePlumber gives ALSA sources about 2000, Bluetooth less), so that apps
/// which take the default get the virtual mic. The silent twin of the install lies between (2900).
pub(super) const PRIORITY_SESSION: &str = "3000";

/// How a source looks to everybody.
pub(crate) struct Appearance<'a> {
    /// `node.name`.
    pub(crate) name: &'a str,
    /// Name for people.
    pub(crate) description: &'a str,
    /// `priority.session`: who gets it without asking for it.
    pub(crate) priority: &'a str,
    /// `node.group`: runs with these other nodes, triggered by one of them. Without one the graph itself runs it.
    pub(crate) group: Option<&'a str>,
    /// Its channels.
    pub(crate) channels: &'a [Channel],
}

/// What delivers, on the real-time thread. All methods are called there, one at a time.
pub(crate) trait Delivery {
    /// Before anything runs: the stream to deliver to.
    fn set_stream(&mut self, stream: *mut pw_sys::pw_stream);
    /// The stream went to or from streaming.
    fn set_streaming(&mut self, streaming: bool);
    /// Where the driver's position can be read from now on; null for nowhere.
    fn set_position(&mut self, position: *const spa_sys::spa_io_position);
    /// A cycle: the stream wants a buffer.
    fn deliver(&mut self);
}

/// What the stream tells the main loop.
pub(crate) trait SourceEvents {
    /// The stream went to or from streaming, or failed.
    fn state(&self, streaming: bool, error: Option<String>);
    /// Somebody set or cleared the mute flag of the virtual mic.
    fn muted_by_desktop(&self, muted: bool);
}

struct Shared<D> {
    events: Box<dyn SourceEvents>,
    cycle: *mut D,
    data_loop: *mut pw_sys::pw_data_loop,
    /// The mute flag as it stands, so that our own change is not taken for the desktop's; nothing until ours was shown.
    flag: Cell<Option<bool>>,
    /// The library has told of the flag since it was last set.
    told: Cell<bool>,
}

/// The stream. Main-loop thread only, except for its process callback.
pub(crate) struct Source<D> {
    stream: *mut pw_sys::pw_stream,
    shared: Rc<Shared<D>>,
    _hook: Box<spa_sys::spa_hook>,
    _events: Box<pw_sys::pw_stream_events>,
}

impl<D: Delivery> Source<D> {
    /// Makes the stream. `cycle` must outlive the returned value.
    pub(crate) fn create(
        core: *mut pw_sys::pw_core,
        appearance: &Appearance<'_>,
        cycle: *mut D,
        events_to: Box<dyn SourceEvents>,
    ) -> Result<Self, String> {
        let channels = appearance.channels;
        let positions = channels
            .iter()
            .map(|c| c.name())
            .collect::<Vec<_>>()
            .join(",");
        let mut properties = PropertiesBox::new();
        properties.insert("media.class", "Audio/Source");
        properties.insert("node.name", appearance.name);
        properties.insert("node.description", appearance.description);
        properties.insert("node.nick", appearance.description);
        properties.insert("media.name", appearance.description);
        properties.insert("audio.channels", channels.len().to_string());
        properties.insert("audio.position", format!("[ {positions} ]"));
        if let Some(group) = appearance.group {
            properties.insert("node.group", group);
            properties.insert("node.link-group", group);
        }
        properties.insert("node.want-driver", "true");
        properties.insert("node.loop.name", super::DATA_LOOP);
        properties.insert("node.autoconnect", "false");
        properties.insert("priority.session", appearance.priority);
        // A client with rights on this node could otherwise load a filter graph behind the gate (measured: 0.25 in
        // every buffer of a muted source).
        properties.insert("audioconvert.filter-graph.disable", "true");
        properties.insert("dither.noise", "0");
        // WirePlumber would bring back a mute flag or volume of another day.
        properties.insert("state.restore-props", "false");
        properties.insert("state.restore-target", "false");

        let name = CString::new(appearance.description).map_err(|e| e.to_string())?;
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
        events.process = Some(on_process::<D>);
        events.state_changed = Some(on_state_changed::<D>);
        events.io_changed = Some(on_io_changed::<D>);
        events.control_info = Some(on_control_info::<D>);
        events.param_changed = Some(on_param_changed::<D>);
        // SAFETY: `core` is live, and so is its context.
        let data_loop =
            unsafe { pw_sys::pw_context_get_data_loop(pw_sys::pw_core_get_context(core)) };
        let shared = Rc::new(Shared {
            events: events_to,
            cycle,
            data_loop,
            flag: Cell::new(None),
            told: Cell::new(false),
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
    pub(crate) fn connect(&self, appearance: &Appearance<'_>) -> Result<(), String> {
        let format = format_param(appearance.channels)?;
        let pod = Pod::from_bytes(&format).ok_or("the format could not be built")?;
        let mut params = [pod.as_raw_ptr().cast_const()];
        let mut flags = pw_sys::pw_stream_flags_PW_STREAM_FLAG_MAP_BUFFERS
            | pw_sys::pw_stream_flags_PW_STREAM_FLAG_RT_PROCESS;
        if appearance.group.is_some() {
            flags |= pw_sys::pw_stream_flags_PW_STREAM_FLAG_TRIGGER;
        }
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

    /// Whether the stream delivers, as far as it knows.
    pub(crate) fn is_streaming(&self) -> bool {
        // SAFETY: the stream is live until Drop; no error text is asked for.
        let state = unsafe { pw_sys::pw_stream_get_state(self.stream, std::ptr::null_mut()) };
        state == pw_sys::pw_stream_state_PW_STREAM_STATE_STREAMING
    }

    /// The stream, alive as long as this. For calls on the main-loop thread.
    pub(super) fn as_raw_ptr(&self) -> *mut pw_sys::pw_stream {
        self.stream
    }

    /// Shows the gate's state in the mute flag that the desktop sees.
    pub(crate) fn show_muted(&self, muted: bool) {
        if self.shared.flag.replace(Some(muted)) == Some(muted) {
            return;
        }
        let mut value = if muted { 1.0f32 } else { 0.0 };
        self.shared.told.set(false);
        // SAFETY: the stream is live; one value is passed and the list of controls ends with 0.
        unsafe {
            pw_sys::pw_stream_set_control(self.stream, spa_sys::SPA_PROP_mute, 1, &mut value, 0)
        };
        self.tell_flag();
    }

    /// Tells the server how the mute flag stands, where the library has not. That of 1.4 does not before its converter mixes,
    /// which it does from the first client on (`set_volume` in spa/plugins/audioconvert/audioconvert.c). When a property of ours
    /// changes, it tells all of them.
    pub(crate) fn tell_flag(&self) {
        if self.shared.told.replace(true) {
            return;
        }
        let name = Value::String(NODE_NAME.to_owned());
        let ours = pod_bytes(Object {
            type_: spa_sys::SPA_TYPE_OBJECT_Props,
            id: spa_sys::SPA_PARAM_Props,
            properties: vec![Property::new(spa_sys::SPA_PROP_deviceName, name)],
        });
        let ours = ours.unwrap_or_default();
        let Some(ours) = Pod::from_bytes(&ours) else {
            return;
        };
        let mut params = [ours.as_raw_ptr().cast_const()];
        // SAFETY: the stream is live; `params` holds one complete pod for the time of the call, which copies it.
        unsafe { pw_sys::pw_stream_update_params(self.stream, params.as_mut_ptr(), 1) };
    }
}

impl<D> Drop for Source<D> {
    fn drop(&mut self) {
        // SAFETY: made in `connect`, destroyed once; destroying removes the hook and ends the process callbacks.
        unsafe { pw_sys::pw_stream_destroy(self.stream) };
    }
}

/// F32 planar at the graph's rate: without a rate in it the format follows the graph, so that nothing resamples.
fn format_param(channels: &[Channel]) -> Result<Vec<u8>, String> {
    let id = |key, value| Property::new(key, Value::Id(Id(value)));
    pod_bytes(Object {
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
    })
}

fn pod_bytes(object: Object) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    PodSerializer::serialize(std::io::Cursor::new(&mut bytes), &Value::Object(object))
        .map_err(|e| e.to_string())?;
    Ok(bytes)
}

/// Real-time thread.
unsafe extern "C" fn on_process<D: Delivery>(data: *mut std::ffi::c_void) {
    // SAFETY: `data` is the Shared given in `connect`, its cycle is touched by the data loop's thread only.
    unsafe { on_real_time_thread(|| (*(*data.cast::<Shared<D>>()).cycle).deliver()) }
}

/// Main-loop thread.
unsafe extern "C" fn on_state_changed<D: Delivery>(
    data: *mut std::ffi::c_void,
    _old: pw_sys::pw_stream_state,
    state: pw_sys::pw_stream_state,
    error: *const std::os::raw::c_char,
) {
    // SAFETY: `data` is the Shared given in `connect`; `error` is null or a string valid during this call.
    let (shared, error) = unsafe {
        let error =
            (!error.is_null()).then(|| CStr::from_ptr(error).to_string_lossy().into_owned());
        (&*data.cast::<Shared<D>>(), error)
    };
    let streaming = state == pw_sys::pw_stream_state_PW_STREAM_STATE_STREAMING;
    shared.tell(&streaming, set_streaming::<D>);
    shared.events.state(streaming, error);
}

/// Main-loop thread.
unsafe extern "C" fn on_io_changed<D: Delivery>(
    data: *mut std::ffi::c_void,
    id: u32,
    area: *mut std::ffi::c_void,
    size: u32,
) {
    if id != spa_sys::SPA_IO_Position {
        return;
    }
    let whole = size as usize >= size_of::<spa_sys::spa_io_position>();
    let position: *const spa_sys::spa_io_position = match whole {
        true => area.cast_const().cast(),
        false => std::ptr::null(),
    };
    // SAFETY: `data` is the Shared given in `connect`.
    let shared = unsafe { &*data.cast::<Shared<D>>() };
    shared.tell(&position, set_position::<D>);
}

type OnDataLoop = unsafe extern "C" fn(
    *mut spa_sys::spa_loop,
    bool,
    u32,
    *const std::ffi::c_void,
    usize,
    *mut std::ffi::c_void,
) -> std::ffi::c_int;

impl<D> Shared<D> {
    /// The mute flag is seen. Until ours was shown it is not the desktop's wish: WirePlumber 0.4 brings back that of another day.
    fn flag_is(&self, muted: bool) {
        if self.flag.get().is_some_and(|before| before != muted) {
            self.flag.set(Some(muted));
            self.events.muted_by_desktop(muted);
        }
    }

    /// Runs `what` with `value` on the real-time thread, and waits for it: so after any cycle that is under way. `what` must
    /// take a `T` and a `D`.
    fn tell<T>(&self, value: &T, what: OnDataLoop) {
        // SAFETY: the data loop lives as long as the core. A blocking invoke returns after the function has run there.
        unsafe {
            pw_sys::pw_data_loop_invoke(
                self.data_loop,
                Some(what),
                0,
                std::ptr::from_ref(value).cast(),
                size_of::<T>(),
                true,
                self.cycle.cast(),
            );
        }
    }
}

/// Real-time thread, between two cycles.
unsafe extern "C" fn set_streaming<D: Delivery>(
    _loop: *mut spa_sys::spa_loop,
    _async: bool,
    _seq: u32,
    streaming: *const std::ffi::c_void,
    _size: usize,
    cycle: *mut std::ffi::c_void,
) -> std::ffi::c_int {
    // SAFETY: both come from `on_state_changed`: a bool, and the state, which on this thread nothing else holds.
    unsafe {
        on_real_time_thread(|| (*cycle.cast::<D>()).set_streaming(*streaming.cast::<bool>()));
    }
    0
}

/// Real-time thread, between two cycles.
unsafe extern "C" fn set_position<D: Delivery>(
    _loop: *mut spa_sys::spa_loop,
    _async: bool,
    _seq: u32,
    position: *const std::ffi::c_void,
    _size: usize,
    cycle: *mut std::ffi::c_void,
) -> std::ffi::c_int {
    // SAFETY: both come from `on_io_changed`: a pointer, and the state, which on this thread nothing else holds.
    unsafe { on_real_time_thread(|| (*cycle.cast::<D>()).set_position(*position.cast())) };
    0
}

/// Main-loop thread. Comes for our own changes too.
unsafe extern "C" fn on_control_info<D>(
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
        (&*data.cast::<Shared<D>>(), *control.values != 0.0)
    };
    shared.told.set(true);
    shared.flag_is(muted);
}

/// Main-loop thread. Somebody else sets params of ours.
unsafe extern "C" fn on_param_changed<D>(
    data: *mut std::ffi::c_void,
    id: u32,
    param: *const spa_sys::spa_pod,
) {
    if id != spa_sys::SPA_PARAM_Props || param.is_null() {
        return;
    }
    // SAFETY: `data` is the Shared given in `connect`; the pod is whole and valid during this call.
    let (shared, param) = unsafe { (&*data.cast::<Shared<D>>(), Pod::from_raw(param)) };
    // The library of 0.3 has told of it by now, that of 1.4 may not tell at all.
    if let Some(muted) = flag_in_props(param)
        && shared.flag.get() != Some(muted)
    {
        shared.told.set(false);
        shared.flag_is(muted);
    }
}
