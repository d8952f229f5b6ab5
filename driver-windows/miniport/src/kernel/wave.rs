//! The wave miniport, as PortCls calls it: the filter, the one format, the one stream. PASSIVE_LEVEL throughout. What it knows lies in
//! `filters.rs` and `device.rs`.

use crate::abi::com::{Object, PortStreamObject, SignalProcessing, Wave};
use crate::abi::guid::{self, Guid};
use crate::abi::ks::{ATTRIBUTES, DataFormat, DeviceDescription, PcFilter};
use crate::abi::status::{
    BUFFER_OVERFLOW, BUFFER_TOO_SMALL, INSUFFICIENT_RESOURCES, INVALID_PARAMETER, NO_MATCH,
    NOT_IMPLEMENTED, NOT_SUPPORTED, PROCEDURE_NOT_FOUND, SUCCESS, Status,
};
use crate::filters::{self, WAVE_BRIDGE, WAVE_HOST};
use crate::format::{self, FORMAT, Mode};
use crate::kernel::miniport::{self, init};
use crate::kernel::{spin, stream, timer};
use crate::object::{Interface, unknown};
use core::mem::size_of;
use core::slice;

static MINIPORT: Interface<Wave> = Interface(&Wave {
    query_interface,
    add_ref,
    release,
    get_description,
    data_range_intersection,
    init,
    new_stream,
    get_device_description,
});
static SIGNAL_PROCESSING: Interface<SignalProcessing> = Interface(&SignalProcessing {
    query_interface,
    add_ref,
    release,
    get_modes,
});

/// The miniport, with a reference for the caller.
pub fn miniport() -> *mut Object {
    REFERENCES.add();
    MINIPORT.pointer()
}

unknown!(
    [
        guid::IID_UNKNOWN => MINIPORT,
        guid::IID_MINIPORT => MINIPORT,
        guid::IID_MINIPORT_WAVE_RT => MINIPORT,
        guid::IID_MINIPORT_AUDIO_SIGNAL_PROCESSING => SIGNAL_PROCESSING,
    ],
    || {}
);

unsafe extern "system" fn get_description(
    _: *mut Object,
    description: *mut *const PcFilter,
) -> Status {
    // SAFETY: PortCls calls it.
    unsafe { miniport::describe(&filters::WAVE, description) }
}

/// The bytes of a format or of a range, as it says of its own size.
///
/// # Safety
/// It has at least a head, and kernel streaming has checked that it is as long as it says.
unsafe fn bytes_of<'f>(format: *const DataFormat) -> &'f [u8] {
    // SAFETY: the caller vouches for the head.
    let size = unsafe { (*format).format_size } as usize;
    // SAFETY: and for the size.
    unsafe { slice::from_raw_parts(format.cast(), size.max(size_of::<DataFormat>())) }
}

unsafe extern "system" fn data_range_intersection(
    _: *mut Object,
    pin: u32,
    client: *const DataFormat,
    _ours: *const DataFormat,
    room: u32,
    result: *mut u8,
    length: *mut u32,
) -> Status {
    // SAFETY: PortCls hands ranges that it has checked, and wants the length.
    let (client, length) = unsafe { (bytes_of(client), &mut *length) };
    if pin != WAVE_HOST {
        return NOT_IMPLEMENTED;
    }
    match format::is_within(client) {
        None => return NOT_IMPLEMENTED,
        Some(false) => return NO_MATCH,
        Some(true) => {}
    }
    let size = FORMAT.len() as u32;
    *length = size;
    if room == 0 {
        return BUFFER_OVERFLOW;
    }
    if room < size || result.is_null() {
        return BUFFER_TOO_SMALL;
    }
    // SAFETY: there is room for it.
    unsafe { result.copy_from_nonoverlapping(FORMAT.as_ptr(), FORMAT.len()) };
    SUCCESS
}

/// The mode that a format asks for. The attributes stand behind it, at a multiple of 8 bytes.
///
/// # Safety
/// As for [`bytes_of`]; kernel streaming has checked the attributes as well.
unsafe fn mode_of(format: *const DataFormat) -> Option<Mode> {
    // SAFETY: the caller vouches for it.
    let (flags, size) = unsafe { ((*format).flags, (*format).format_size as usize) };
    if flags & ATTRIBUTES == 0 {
        return Some(Mode::Default);
    }
    let behind = size.checked_next_multiple_of(8)?;
    // SAFETY: a list of attributes follows, which begins with its size.
    let list = unsafe { format.cast::<u8>().add(behind) };
    // SAFETY: as above.
    let bytes = unsafe { list.cast::<u32>().read() } as usize;
    // SAFETY: the list is as long as it says.
    format::mode_of(unsafe { slice::from_raw_parts(list, bytes) })
}

unsafe extern "system" fn new_stream(
    _: *mut Object,
    made: *mut *mut Object,
    port: *mut PortStreamObject,
    pin: u32,
    capture: u8,
    format: *const DataFormat,
) -> Status {
    // SAFETY: PortCls hands a place for the stream, and a format that it has checked.
    let (made, format, mode) = unsafe { (&mut *made, bytes_of(format), mode_of(format)) };
    *made = core::ptr::null_mut();
    let refuse = |status| {
        spin::with(|state, _| state.device.refuse_stream());
        status
    };
    if pin != WAVE_HOST || capture == 0 {
        return refuse(INVALID_PARAMETER);
    }
    match mode {
        Some(Mode::Raw | Mode::Default) => {}
        Some(Mode::Other) => return refuse(NOT_SUPPORTED),
        None => return refuse(INVALID_PARAMETER),
    }
    if !format::is_ours(format) {
        return refuse(NO_MATCH);
    }
    if !timer::is_there() {
        return refuse(PROCEDURE_NOT_FOUND);
    }
    match stream::open(port) {
        Some(stream) => {
            *made = stream;
            SUCCESS
        }
        None => INSUFFICIENT_RESOURCES,
    }
}

/// Of the DMA, which there is none of. As in the sample: it must say something that any machine can do.
unsafe extern "system" fn get_device_description(
    _: *mut Object,
    description: *mut DeviceDescription,
) -> Status {
    /// `PCIBus`.
    const PCI: u32 = 5;
    let told = DeviceDescription {
        version: 0,
        master: 1,
        scatter_gather: 1,
        modes: [0; 2],
        dma_32_bit: 1,
        others: [0; 3],
        numbers: [0; 2],
        interface_type: PCI,
        kinds: [0; 2],
        maximum_length: u32::MAX,
        port: 0,
    };
    // SAFETY: PortCls says where it wants it.
    unsafe { description.write(told) };
    SUCCESS
}

/// The host pin knows the raw mode, since nothing here processes sound.
unsafe extern "system" fn get_modes(
    _: *mut Object,
    pin: u32,
    modes: *mut Guid,
    count: *mut u32,
) -> Status {
    match pin {
        WAVE_HOST => {}
        WAVE_BRIDGE => return NOT_SUPPORTED,
        _ => return INVALID_PARAMETER,
    }
    // SAFETY: PortCls hands the number, of room before and of modes after.
    let count = unsafe { &mut *count };
    let room = core::mem::replace(count, 1);
    // SAFETY: the modes are optional, and there is room for one if the number says so.
    match unsafe { modes.as_mut() } {
        None => SUCCESS,
        Some(_) if room == 0 => BUFFER_TOO_SMALL,
        Some(mode) => {
            *mode = guid::MODE_RAW;
            SUCCESS
        }
    }
}
