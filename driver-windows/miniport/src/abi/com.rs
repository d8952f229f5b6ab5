//! Vtables of the interfaces between PortCls and a miniport, in the order of portcls.h. An object is a pointer to its vtable, and more
//! behind it that is its own. All methods use the system's calling convention, with the object first.

use super::guid::Guid;
use super::ks::{AudioPosition, DataFormat, DeviceDescription, HardwareLatency, PcFilter};
use super::nt::{DeviceObject, Irp, LargeInteger};
use super::status::Status;
use core::ffi::c_void;

/// Any object.
pub type Object = c_void;
/// `MDL`, of which nothing is known here.
pub type Mdl = c_void;
/// `KEVENT`, of which nothing is known here.
pub type Event = c_void;

/// A vtable: functions, each with the object as its first argument. The three of `IUnknown` come first.
macro_rules! vtable {
    ($(#[$meta:meta])* $name:ident { $($(#[$method_meta:meta])* $method:ident($($argument:ty),*) -> $result:ty;)* }) => {
        $(#[$meta])*
        #[derive(Debug)]
        #[repr(C)]
        pub struct $name {
            /// `IUnknown::QueryInterface`.
            pub query_interface: unsafe extern "system" fn(*mut Object, *const Guid, *mut *mut Object) -> Status,
            /// `IUnknown::AddRef`.
            pub add_ref: unsafe extern "system" fn(*mut Object) -> u32,
            /// `IUnknown::Release`.
            pub release: unsafe extern "system" fn(*mut Object) -> u32,
            $($(#[$method_meta])* pub $method: unsafe extern "system" fn(*mut Object, $($argument),*) -> $result,)*
        }
    };
}

vtable! {
    /// `IUnknown`.
    Unknown {}
}

vtable! {
    /// `IPort`: of PortCls.
    Port {
        /// Device, the IRP that starts it, miniport, adapter, resources.
        init(*mut DeviceObject, *mut Irp, *mut Object, *mut Object, *mut Object) -> Status;
    }
}

vtable! {
    /// `IPortWaveRTStream`: of PortCls.
    PortStream {
        /// Highest physical address, bytes.
        allocate_pages(LargeInteger, usize) -> *mut Mdl;
        /// Lowest and highest physical address, bytes.
        allocate_contiguous_pages(LargeInteger, LargeInteger, usize) -> *mut Mdl;
        /// Pages, `MEMORY_CACHING_TYPE`.
        map_pages(*mut Mdl, u32) -> *mut u8;
        /// Where they were mapped, pages.
        unmap_pages(*mut u8, *mut Mdl) -> ();
        /// Pages.
        free_pages(*mut Mdl) -> ();
    }
}

vtable! {
    /// `IMiniportTopology`.
    Topology {
        /// Gives the filter's descriptor.
        get_description(*mut *const PcFilter) -> Status;
        /// Pin, the client's range, the pin's, bytes of room, the format, its bytes.
        data_range_intersection(u32, *const DataFormat, *const DataFormat, u32, *mut u8, *mut u32) -> Status;
        /// Adapter, resources, port.
        init(*mut Object, *mut Object, *mut Object) -> Status;
    }
}

vtable! {
    /// `IMiniportWaveRT`.
    Wave {
        /// Gives the filter's descriptor.
        get_description(*mut *const PcFilter) -> Status;
        /// Pin, the client's range, the pin's, bytes of room, the format, its bytes.
        data_range_intersection(u32, *const DataFormat, *const DataFormat, u32, *mut u8, *mut u32) -> Status;
        /// Adapter, resources, port.
        init(*mut Object, *mut Object, *mut Object) -> Status;
        /// Gives the stream. The port's stream, pin, whether it captures, format.
        new_stream(*mut *mut Object, *mut PortStreamObject, u32, u8, *const DataFormat) -> Status;
        /// Gives the description of the DMA.
        get_device_description(*mut DeviceDescription) -> Status;
    }
}

vtable! {
    /// `IMiniportAudioSignalProcessing`, since Windows 8.1.
    SignalProcessing {
        /// Pin, modes, room for them and how many there are.
        get_modes(u32, *mut Guid, *mut u32) -> Status;
    }
}

vtable! {
    /// `IMiniportWaveRTStreamNotification`, which begins with all of `IMiniportWaveRTStream`.
    Stream {
        /// A format.
        set_format(*const DataFormat) -> Status;
        /// `KSSTATE`.
        set_state(u32) -> Status;
        /// Gives the position.
        get_position(*mut AudioPosition) -> Status;
        /// Bytes; gives pages, bytes, offset in the first page, `MEMORY_CACHING_TYPE`.
        allocate_buffer(u32, *mut *mut Mdl, *mut u32, *mut u32, *mut u32) -> Status;
        /// Pages, bytes.
        free_buffer(*mut Mdl, u32) -> ();
        /// Gives the latency.
        get_latency(*mut HardwareLatency) -> ();
        /// Would give a register.
        get_position_register(*mut c_void) -> Status;
        /// Would give a register.
        get_clock_register(*mut c_void) -> Status;
        /// Packets, bytes; gives as above.
        allocate_buffer_with_notification(u32, u32, *mut *mut Mdl, *mut u32, *mut u32, *mut u32) -> Status;
        /// Pages, bytes.
        free_buffer_with_notification(*mut Mdl, u32) -> ();
        /// To be set for each packet.
        register_event(*mut Event) -> Status;
        /// Not any more.
        unregister_event(*mut Event) -> Status;
    }
}

vtable! {
    /// `IMiniportWaveRTInputStream`, since Windows 10. Not in mingw-w64's headers: from the documentation of
    /// `IMiniportWaveRTInputStream::GetReadPacket`.
    InputStream {
        /// Gives number, flags, performance counter of the first frame, whether there is more.
        get_read_packet(*mut u32, *mut u32, *mut u64, *mut i32) -> Status;
    }
}

vtable! {
    /// `IAdapterPowerManagement`.
    Power {
        /// `POWER_STATE`, a union of numbers of 4 bytes: here `DEVICE_POWER_STATE`, of which 1 is D0.
        power_change_state(u32) -> ();
        /// As above.
        query_power_change_state(u32) -> Status;
        /// `DEVICE_CAPABILITIES`.
        query_device_capabilities(*mut c_void) -> Status;
    }
}

/// `PowerDeviceD0`: on.
pub const POWER_D0: u32 = 1;
/// `MmCached`.
pub const CACHED: u32 = 1;

/// An object of PortCls: a port.
#[derive(Debug)]
#[repr(C)]
pub struct PortObject {
    /// Its vtable.
    pub vtable: *const Port,
}

/// An object of PortCls: its side of the stream.
#[derive(Debug)]
#[repr(C)]
pub struct PortStreamObject {
    /// Its vtable.
    pub vtable: *const PortStream,
}
