//! The layouts of Core Audio's plug-in interface, as C sees them, with every size and offset asserted when this compiles.
//! Source: Apple's public headers `AudioServerPlugIn.h`, `CoreAudioBaseTypes.h`, `AudioHardwareBase.h`, `CFPlugInCOM.h`
//! for 64-bit targets. What the functions do is in `entry.rs`.

pub mod codes;

use codes::{Code, Status};
use std::ffi::c_void;
use std::mem::{offset_of, size_of};

/// `AudioObjectID`. 0 is no object, 1 the plug-in.
pub type ObjectId = u32;

/// `CFUUIDBytes`: a UUID by value, as `QueryInterface` takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct UuidBytes(pub [u8; 16]);

impl UuidBytes {
    /// `IUnknownUUID`.
    pub const UNKNOWN: Self = Self(0x00000000_0000_0000_C000_000000000046_u128.to_be_bytes());
    /// `kAudioServerPlugInTypeUUID`: what the factory is asked for.
    pub const PLUG_IN_TYPE: Self = Self(0x443ABAB8_E7B3_491A_B985_BEB9187030DB_u128.to_be_bytes());
    /// `kAudioServerPlugInDriverInterfaceUUID`.
    pub const DRIVER_INTERFACE: Self =
        Self(0xEEA5773D_CC43_49F1_8E00_8F96E7D23B17_u128.to_be_bytes());
}

/// `AudioObjectPropertyAddress`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Address {
    /// Which property.
    pub selector: Code,
    /// Of which side of the object.
    pub scope: Code,
    /// Of which channel; 0 for all.
    pub element: u32,
}

/// `SMPTETime`. Not used by us, but part of every time stamp.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct SmpteTime {
    subframes: i16,
    subframe_divisor: i16,
    counter: u32,
    kind: u32,
    flags: u32,
    hours: i16,
    minutes: i16,
    seconds: i16,
    frames: i16,
}

/// `AudioTimeStamp`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct TimeStamp {
    /// Position on the device's time line, in frames.
    pub sample_time: f64,
    /// Ticks of the host clock.
    pub host_time: u64,
    /// Real over nominal ticks a frame.
    pub rate_scalar: f64,
    /// Not used.
    pub word_clock_time: u64,
    /// Not used.
    pub smpte_time: SmpteTime,
    /// Which fields are valid; bit 0 is the sample time.
    pub flags: u32,
    /// Pads to 64 bytes.
    pub reserved: u32,
}

/// `AudioServerPlugInIOCycleInfo`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct CycleInfo {
    /// Counts from 1, and from 1 again when the IO thread resynchronizes.
    pub cycle: u64,
    /// Frames that a cycle nominally has.
    pub nominal_frames: u32,
    /// Now.
    pub current_time: TimeStamp,
    /// Where the input of this cycle begins on the device's time line.
    pub input_time: TimeStamp,
    /// Where its output begins.
    pub output_time: TimeStamp,
    /// Measured host ticks a frame of the main device (`mMainHostTicksPerFrame`, earlier `mMasterHostTicksPerFrame`).
    pub main_ticks_per_frame: f64,
    /// The same of this device.
    pub device_ticks_per_frame: f64,
}

/// `AudioServerPlugInClientInfo`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ClientInfo {
    /// Number of the client, also in IO.
    pub client_id: u32,
    /// Its process.
    pub process_id: i32,
    /// Whether its byte order is the server's.
    pub native_endian: u8,
    /// `CFStringRef` with the bundle id of its process; may be null. Not ours: retained by whoever keeps it.
    pub bundle_id: *const c_void,
}

/// `AudioServerPlugInDriverRef`: the address of a variable that holds the address of the interface.
pub type DriverRef = *mut *const DriverInterface;

/// `AudioServerPlugInDriverInterface`: the functions that the host calls, in the header's order.
#[derive(Debug)]
#[repr(C)]
#[expect(
    missing_docs,
    reason = "the header documents them; their names are its names"
)]
pub struct DriverInterface {
    pub reserved: *mut c_void,
    pub query_interface: unsafe extern "C" fn(*mut c_void, UuidBytes, *mut *mut c_void) -> Status,
    pub add_ref: unsafe extern "C" fn(*mut c_void) -> u32,
    pub release: unsafe extern "C" fn(*mut c_void) -> u32,
    pub initialize: unsafe extern "C" fn(DriverRef, *const c_void) -> Status,
    pub create_device:
        unsafe extern "C" fn(DriverRef, *const c_void, *const ClientInfo, *mut ObjectId) -> Status,
    pub destroy_device: unsafe extern "C" fn(DriverRef, ObjectId) -> Status,
    pub add_device_client: unsafe extern "C" fn(DriverRef, ObjectId, *const ClientInfo) -> Status,
    pub remove_device_client:
        unsafe extern "C" fn(DriverRef, ObjectId, *const ClientInfo) -> Status,
    pub perform_device_configuration_change:
        unsafe extern "C" fn(DriverRef, ObjectId, u64, *mut c_void) -> Status,
    pub abort_device_configuration_change:
        unsafe extern "C" fn(DriverRef, ObjectId, u64, *mut c_void) -> Status,
    pub has_property: unsafe extern "C" fn(DriverRef, ObjectId, i32, *const Address) -> u8,
    pub is_property_settable:
        unsafe extern "C" fn(DriverRef, ObjectId, i32, *const Address, *mut u8) -> Status,
    pub get_property_data_size: unsafe extern "C" fn(
        DriverRef,
        ObjectId,
        i32,
        *const Address,
        u32,
        *const c_void,
        *mut u32,
    ) -> Status,
    pub get_property_data: unsafe extern "C" fn(
        DriverRef,
        ObjectId,
        i32,
        *const Address,
        u32,
        *const c_void,
        u32,
        *mut u32,
        *mut c_void,
    ) -> Status,
    pub set_property_data: unsafe extern "C" fn(
        DriverRef,
        ObjectId,
        i32,
        *const Address,
        u32,
        *const c_void,
        u32,
        *const c_void,
    ) -> Status,
    pub start_io: unsafe extern "C" fn(DriverRef, ObjectId, u32) -> Status,
    pub stop_io: unsafe extern "C" fn(DriverRef, ObjectId, u32) -> Status,
    pub get_zero_time_stamp:
        unsafe extern "C" fn(DriverRef, ObjectId, u32, *mut f64, *mut u64, *mut u64) -> Status,
    pub will_do_io_operation:
        unsafe extern "C" fn(DriverRef, ObjectId, u32, Code, *mut u8, *mut u8) -> Status,
    pub begin_io_operation:
        unsafe extern "C" fn(DriverRef, ObjectId, u32, Code, u32, *const CycleInfo) -> Status,
    pub do_io_operation: unsafe extern "C" fn(
        DriverRef,
        ObjectId,
        ObjectId,
        u32,
        Code,
        u32,
        *const CycleInfo,
        *mut c_void,
        *mut c_void,
    ) -> Status,
    pub end_io_operation:
        unsafe extern "C" fn(DriverRef, ObjectId, u32, Code, u32, *const CycleInfo) -> Status,
}

macro_rules! layout {
    ($($type:ty: $size:literal { $($field:ident: $offset:literal),* })*) => {
        $(
            const _: () = assert!(size_of::<$type>() == $size);
            $(const _: () = assert!(offset_of!($type, $field) == $offset);)*
        )*
    };
}

layout! {
    UuidBytes: 16 {}
    Address: 12 { selector: 0, scope: 4, element: 8 }
    SmpteTime: 24 { subframes: 0, subframe_divisor: 2, counter: 4, kind: 8, flags: 12, hours: 16, minutes: 18, seconds: 20, frames: 22 }
    TimeStamp: 64 { sample_time: 0, host_time: 8, rate_scalar: 16, word_clock_time: 24, smpte_time: 32, flags: 56, reserved: 60 }
    CycleInfo: 224 { cycle: 0, nominal_frames: 8, current_time: 16, input_time: 80, output_time: 144, main_ticks_per_frame: 208, device_ticks_per_frame: 216 }
    ClientInfo: 24 { client_id: 0, process_id: 4, native_endian: 8, bundle_id: 16 }
    DriverInterface: 184 {
        reserved: 0, query_interface: 8, add_ref: 16, release: 24, initialize: 32, create_device: 40, destroy_device: 48,
        add_device_client: 56, remove_device_client: 64, perform_device_configuration_change: 72,
        abort_device_configuration_change: 80, has_property: 88, is_property_settable: 96, get_property_data_size: 104,
        get_property_data: 112, set_property_data: 120, start_io: 128, stop_io: 136, get_zero_time_stamp: 144,
        will_do_io_operation: 152, begin_io_operation: 160, do_io_operation: 168, end_io_operation: 176
    }
}
