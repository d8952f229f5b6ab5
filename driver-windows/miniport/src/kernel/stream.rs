//! The stream, as PortCls calls it, and its timer's callback. Where it stands is in `capture.rs`, what it is given in `device.rs`; here are
//! pages, events and the timer. PASSIVE_LEVEL, but for [`tick`], `GetPosition` and `SetState`, which may come at DISPATCH_LEVEL.

use crate::abi::com::{CACHED, Event, InputStream, Mdl, Object, PortStreamObject, Stream};
use crate::abi::guid;
use crate::abi::ks::{AudioPosition, DataFormat, HardwareLatency};
use crate::abi::nt::LargeInteger;
use crate::abi::status::{
    DEVICE_NOT_READY, INSUFFICIENT_RESOURCES, INVALID_DEVICE_STATE, INVALID_PARAMETER, NOT_FOUND,
    NOT_IMPLEMENTED, NOT_SUPPORTED, SUCCESS, Status, UNSUCCESSFUL,
};
use crate::capture::State;
use crate::kernel::{spin, timer};
use crate::object::{Interface, unknown};
use core::ffi::c_void;
use core::ptr::{NonNull, null_mut};
use core::slice;
use core::sync::atomic::{AtomicPtr, Ordering};
use truemute_windows_interface::FRAME_BYTES;

static STREAM: Interface<Stream> = Interface(&Stream {
    query_interface,
    add_ref,
    release,
    set_format,
    set_state,
    get_position,
    allocate_buffer,
    free_buffer,
    get_latency,
    get_position_register: no_register,
    get_clock_register: no_register,
    allocate_buffer_with_notification,
    free_buffer_with_notification: free_buffer,
    register_event,
    unregister_event,
});
static INPUT: Interface<InputStream> = Interface(&InputStream {
    query_interface,
    add_ref,
    release,
    get_read_packet,
});

/// PortCls' side of the stream. It owns ours, so no reference is held to it.
static PORT: AtomicPtr<PortStreamObject> = AtomicPtr::new(null_mut());
/// Where the pages of the buffer are mapped.
static MAPPED: AtomicPtr<u8> = AtomicPtr::new(null_mut());

/// Opens the one stream, with a reference for the caller; nothing if it is open, or if the system has no timer left.
pub fn open(port: *mut PortStreamObject) -> Option<*mut Object> {
    if !spin::with(|state, _| state.device.open_stream()) {
        return None;
    }
    if !timer::make() {
        spin::with(|state, _| state.device.close_stream());
        return None;
    }
    PORT.store(port, Ordering::Release);
    REFERENCES.add();
    Some(STREAM.pointer())
}

/// What the timer does. DISPATCH_LEVEL.
pub fn tick() {
    let again_ns = spin::with(|state, now_ns| {
        let tick = state.device.tick(now_ns);
        if tick.complete {
            state.events.set();
        }
        tick.again_ns
    });
    if let Some(after_ns) = again_ns {
        timer::set(after_ns);
    }
}

unknown!(
    [
        guid::IID_UNKNOWN => STREAM,
        guid::IID_MINIPORT_WAVE_RT_STREAM => STREAM,
        guid::IID_MINIPORT_WAVE_RT_STREAM_NOTIFICATION => STREAM,
        guid::IID_MINIPORT_WAVE_RT_INPUT_STREAM => INPUT,
    ],
    close
);

/// After this the stream is gone: no timer fires, no callback is under way, and nothing is written into its buffer.
fn close() {
    timer::cancel();
    timer::delete();
    // Before the stream is closed, for from then on the next one may open and put its own there. PortCls frees the buffer
    // before; if not, its pages go with its own side of the stream, which has not ended yet.
    MAPPED.store(null_mut(), Ordering::Release);
    PORT.store(null_mut(), Ordering::Release);
    spin::with(|state, _| {
        state.device.close_stream();
        state.events.clear();
    });
}

/// There is one format, and a stream begins with it.
unsafe extern "system" fn set_format(_: *mut Object, _format: *const DataFormat) -> Status {
    NOT_SUPPORTED
}

unsafe extern "system" fn set_state(_: *mut Object, state: u32) -> Status {
    let Some(wanted) = State::of(state) else {
        return INVALID_PARAMETER;
    };
    if wanted != State::Run {
        timer::cancel();
    }
    let gone = spin::with(|state, now_ns| state.device.go(now_ns, wanted));
    if !gone {
        return INVALID_DEVICE_STATE;
    }
    if wanted == State::Run {
        tick();
    }
    SUCCESS
}

unsafe extern "system" fn get_position(_: *mut Object, position: *mut AudioPosition) -> Status {
    let offset = spin::with(|state, now_ns| {
        state.device.advance(now_ns);
        state.device.stream().map_or(0, |stream| stream.offset())
    });
    // SAFETY: PortCls says where it wants it.
    unsafe {
        position.write(AudioPosition {
            play_offset: offset,
            write_offset: offset,
        })
    };
    SUCCESS
}

/// What was allocated.
struct Allocated {
    pages: *mut Mdl,
    bytes: u32,
}

/// Pages for so many bytes, as so many packets, in use from now on.
fn allocate(requested: u32, packets: u32) -> Result<Allocated, Status> {
    const FRAME: u32 = FRAME_BYTES as u32;
    /// Below 4 GiB, as the description of the DMA says.
    const HIGHEST: LargeInteger = u32::MAX as LargeInteger;
    let bytes = requested.saturating_sub(requested.checked_rem(FRAME).unwrap_or(0));
    let port = PORT.load(Ordering::Acquire);
    if bytes == 0 || port.is_null() || !MAPPED.load(Ordering::Acquire).is_null() {
        return Err(INVALID_PARAMETER);
    }
    // SAFETY: PortCls' side of the stream lives as long as ours, and begins with its vtable.
    let vtable = unsafe { &*(*port).vtable };
    // SAFETY: as above.
    let pages = unsafe { (vtable.allocate_pages)(port.cast(), HIGHEST, bytes as usize) };
    if pages.is_null() {
        return Err(INSUFFICIENT_RESOURCES);
    }
    // SAFETY: the pages are those.
    let mapped = unsafe { (vtable.map_pages)(port.cast(), pages, CACHED) };
    if mapped.is_null() {
        // SAFETY: nobody uses them.
        unsafe { (vtable.free_pages)(port.cast(), pages) };
        return Err(INSUFFICIENT_RESOURCES);
    }
    // SAFETY: so many bytes are mapped there until `give_back`, before which the device has let go of them. The audio engine
    // reads them meanwhile, through another mapping; we only write.
    let buffer = unsafe { slice::from_raw_parts_mut(mapped, bytes as usize) };
    let taken = spin::with(|state, _| {
        state
            .device
            .stream()
            .is_some_and(|stream| stream.take_buffer(buffer, packets))
    });
    MAPPED.store(mapped, Ordering::Release);
    if taken {
        Ok(Allocated { pages, bytes })
    } else {
        give_back(pages);
        Err(INVALID_PARAMETER)
    }
}

/// Lets go of the buffer.
fn give_back(pages: *mut Mdl) {
    spin::with(|state, _| {
        if let Some(stream) = state.device.stream() {
            stream.leave_buffer();
        }
    });
    let mapped = MAPPED.swap(null_mut(), Ordering::AcqRel);
    let port = PORT.load(Ordering::Acquire);
    if port.is_null() || pages.is_null() {
        return;
    }
    // SAFETY: PortCls' side of the stream lives as long as ours, and begins with its vtable.
    let vtable = unsafe { &*(*port).vtable };
    if !mapped.is_null() {
        // SAFETY: the device has let go of it.
        unsafe { (vtable.unmap_pages)(port.cast(), mapped, pages) };
    }
    // SAFETY: they are not mapped any more.
    unsafe { (vtable.free_pages)(port.cast(), pages) };
}

unsafe extern "system" fn allocate_buffer(
    _: *mut Object,
    requested: u32,
    pages: *mut *mut Mdl,
    bytes: *mut u32,
    offset: *mut u32,
    caching: *mut u32,
) -> Status {
    match allocate(requested, 0) {
        // SAFETY: PortCls says where it wants them.
        Ok(allocated) => unsafe { tell(&allocated, pages, bytes, offset, caching) },
        Err(status) => status,
    }
}

unsafe extern "system" fn allocate_buffer_with_notification(
    _: *mut Object,
    packets: u32,
    requested: u32,
    pages: *mut *mut Mdl,
    bytes: *mut u32,
    offset: *mut u32,
    caching: *mut u32,
) -> Status {
    if packets == 0 {
        return INVALID_PARAMETER;
    }
    match allocate(requested, packets) {
        // SAFETY: PortCls says where it wants them.
        Ok(allocated) => unsafe { tell(&allocated, pages, bytes, offset, caching) },
        Err(status) => status,
    }
}

/// # Safety
/// All point to where the values go.
unsafe fn tell(
    allocated: &Allocated,
    pages: *mut *mut Mdl,
    bytes: *mut u32,
    offset: *mut u32,
    caching: *mut u32,
) -> Status {
    // SAFETY: the caller vouches for them.
    unsafe {
        pages.write(allocated.pages);
        bytes.write(allocated.bytes);
        offset.write(0);
        caching.write(CACHED);
    }
    SUCCESS
}

unsafe extern "system" fn free_buffer(_: *mut Object, pages: *mut Mdl, _bytes: u32) {
    give_back(pages);
}

/// None: what is in the buffer can be read at once.
unsafe extern "system" fn get_latency(_: *mut Object, latency: *mut HardwareLatency) {
    // SAFETY: PortCls says where it wants it.
    unsafe {
        latency.write(HardwareLatency {
            fifo_size: 0,
            chipset_delay: 0,
            codec_delay: 0,
        })
    };
}

/// There is no hardware.
unsafe extern "system" fn no_register(_: *mut Object, _register: *mut c_void) -> Status {
    NOT_IMPLEMENTED
}

unsafe extern "system" fn register_event(_: *mut Object, event: *mut Event) -> Status {
    let Some(event) = NonNull::new(event) else {
        return INVALID_PARAMETER;
    };
    // SAFETY: PortCls keeps the event until it takes it back, or gives up the stream.
    let added = spin::with(|state, _| unsafe { state.events.add(event) });
    if added { SUCCESS } else { UNSUCCESSFUL }
}

unsafe extern "system" fn unregister_event(_: *mut Object, event: *mut Event) -> Status {
    let removed =
        spin::with(|state, _| NonNull::new(event).is_some_and(|event| state.events.remove(event)));
    if removed { SUCCESS } else { NOT_FOUND }
}

unsafe extern "system" fn get_read_packet(
    _: *mut Object,
    number: *mut u32,
    flags: *mut u32,
    counter: *mut u64,
    more: *mut i32,
) -> Status {
    let fetched = spin::with(|state, now_ns| {
        let stream = state.device.stream().ok_or(INVALID_DEVICE_STATE)?;
        if !stream.has_packets() {
            return Err(NOT_SUPPORTED);
        }
        if stream.state() < State::Pause {
            return Err(INVALID_DEVICE_STATE);
        }
        let packet = state.device.fetch(now_ns).ok_or(DEVICE_NOT_READY)?;
        let clock = state.device.clock();
        Ok((packet, clock.ticks(clock.nanoseconds_at(packet.position))))
    });
    let (packet, began_ticks) = match fetched {
        Ok(fetched) => fetched,
        Err(status) => return status,
    };
    // SAFETY: PortCls says where it wants them.
    unsafe {
        // Numbers wrap, and so do PortCls'.
        number.write(packet.number as u32);
        flags.write(0);
        counter.write(began_ticks);
        more.write(i32::from(packet.more));
    }
    SUCCESS
}
