//! Layouts of the NT kernel: wdm.h and ntddk.h, as documented at learn.microsoft.com and laid out in mingw-w64's `ddk/wdm.h`. Only what
//! the driver touches has a name.

use super::status::Status;
use core::ffi::c_void;
use core::mem::{offset_of, size_of};

/// `UNICODE_STRING`.
#[derive(Debug)]
#[repr(C)]
pub struct UnicodeString {
    /// Bytes.
    pub length: u16,
    /// Bytes of room.
    pub maximum_length: u16,
    /// UTF-16, not necessarily with a 0 at the end.
    pub buffer: *const u16,
}

impl UnicodeString {
    /// Of a constant with a 0 at its end, which is not counted.
    pub const fn of<const N: usize>(text: &'static [u16; N]) -> Self {
        let bytes = N.saturating_sub(1).saturating_mul(2) as u16;
        Self {
            length: bytes,
            maximum_length: bytes,
            buffer: text.as_ptr(),
        }
    }
}

/// A routine of `DRIVER_OBJECT::MajorFunction`.
pub type Dispatch = unsafe extern "system" fn(*mut DeviceObject, *mut Irp) -> Status;
/// `DRIVER_ADD_DEVICE`.
pub type AddDevice = unsafe extern "system" fn(*mut DriverObject, *mut DeviceObject) -> Status;
/// `DRIVER_UNLOAD`.
pub type Unload = unsafe extern "system" fn(*mut DriverObject);

/// Entries of `MajorFunction`: `IRP_MJ_MAXIMUM_FUNCTION` + 1.
pub const MAJOR_FUNCTIONS: usize = 28;
/// `IRP_MJ_CREATE`.
pub const MJ_CREATE: u8 = 0x00;
/// `IRP_MJ_CLOSE`.
pub const MJ_CLOSE: u8 = 0x02;
/// `IRP_MJ_DEVICE_CONTROL`.
pub const MJ_DEVICE_CONTROL: u8 = 0x0e;
/// `IRP_MJ_CLEANUP`.
pub const MJ_CLEANUP: u8 = 0x12;
/// `IRP_MJ_PNP`.
pub const MJ_PNP: u8 = 0x1b;
/// `IRP_MN_REMOVE_DEVICE`.
pub const MN_REMOVE_DEVICE: u8 = 0x02;
/// `IRP_MN_STOP_DEVICE`.
pub const MN_STOP_DEVICE: u8 = 0x04;
/// `IRP_MN_SURPRISE_REMOVAL`.
pub const MN_SURPRISE_REMOVAL: u8 = 0x17;

/// `DRIVER_OBJECT`.
#[derive(Debug)]
#[repr(C)]
pub struct DriverObject {
    type_and_size: [i16; 2],
    device_object: *mut DeviceObject,
    flags: u32,
    driver_start: *mut c_void,
    driver_size: u32,
    driver_section: *mut c_void,
    driver_extension: *mut c_void,
    driver_name: UnicodeString,
    hardware_database: *mut UnicodeString,
    /// `FAST_IO_DISPATCH`: what the I/O manager tries before it sends a request, for every device of the driver. May be null.
    pub fast_io_dispatch: *mut c_void,
    driver_init: *mut c_void,
    driver_start_io: *mut c_void,
    /// Called before the driver's image goes.
    pub driver_unload: Option<Unload>,
    /// The I/O manager fills all entries before `DriverEntry`.
    pub major_function: [Option<Dispatch>; MAJOR_FUNCTIONS],
}

/// The beginning of `DEVICE_OBJECT`. The system makes it; there is more behind it.
#[derive(Debug)]
#[repr(C)]
pub struct DeviceObject {
    type_and_size: [i16; 2],
    reference_count: i32,
    driver_object: *mut DriverObject,
    next_device: *mut DeviceObject,
    attached_device: *mut DeviceObject,
    current_irp: *mut Irp,
    timer: *mut c_void,
    /// `DO_*`.
    pub flags: u32,
    characteristics: u32,
    vpb: *mut c_void,
    device_extension: *mut c_void,
    /// `FILE_DEVICE_*`, as it was created.
    pub device_type: u32,
}

/// `DO_DEVICE_INITIALIZING`: nobody can open it.
pub const DO_DEVICE_INITIALIZING: u32 = 0x80;
/// `FILE_DEVICE_SECURE_OPEN`: the descriptor also counts for names below the device's.
pub const FILE_DEVICE_SECURE_OPEN: u32 = 0x100;

/// `IO_STATUS_BLOCK`.
#[derive(Debug)]
#[repr(C)]
pub struct IoStatusBlock {
    /// What came of it.
    pub status: Status,
    /// For a request with an output: its bytes.
    pub information: usize,
}

/// The beginning of `IRP`.
#[derive(Debug)]
#[repr(C)]
pub struct Irp {
    type_and_size: [u16; 4],
    mdl_address: *mut c_void,
    flags: u32,
    /// `AssociatedIrp.SystemBuffer`: with `METHOD_BUFFERED`, as large as the larger one of both buffers.
    pub system_buffer: *mut u8,
    thread_list_entry: [*mut c_void; 2],
    /// The answer.
    pub io_status: IoStatusBlock,
    /// 0 from the kernel, 1 from a program.
    pub requestor_mode: u8,
    bytes: [u8; 7],
    user_iosb: *mut c_void,
    user_event: *mut c_void,
    overlay: [*mut c_void; 2],
    cancel_routine: *mut c_void,
    user_buffer: *mut c_void,
    driver_context: [*mut c_void; 4],
    thread: *mut c_void,
    auxiliary_buffer: *mut c_void,
    list_entry: [*mut c_void; 2],
    /// `Tail.Overlay.CurrentStackLocation`.
    pub stack_location: *mut StackLocation,
    original_file_object: *mut c_void,
    others: [*mut c_void; 1],
}

/// `IO_STACK_LOCATION`, with the parameters of `IRP_MJ_DEVICE_CONTROL`. The lengths are followed by gaps: the union's fields are
/// aligned to pointers.
#[derive(Debug)]
#[repr(C)]
pub struct StackLocation {
    /// `IRP_MJ_*`.
    pub major_function: u8,
    /// `IRP_MN_*`.
    pub minor_function: u8,
    flags_and_control: [u8; 2],
    /// `Parameters.DeviceIoControl.OutputBufferLength`.
    pub output_length: AlignedLong,
    /// `Parameters.DeviceIoControl.InputBufferLength`.
    pub input_length: AlignedLong,
    /// `Parameters.DeviceIoControl.IoControlCode`.
    pub code: AlignedLong,
    type3_input_buffer: *mut c_void,
    device_object: *mut DeviceObject,
    /// Who asks: one for each `CreateFile`.
    pub file_object: *mut FileObject,
    completion_routine: *mut c_void,
    context: *mut c_void,
}

/// `ULONG POINTER_ALIGNMENT`.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub struct AlignedLong(pub u32);

/// The beginning of `FILE_OBJECT`.
#[derive(Debug)]
#[repr(C)]
pub struct FileObject {
    before: [*mut c_void; 11],
    /// What follows the device's name in what was opened.
    pub file_name: UnicodeString,
}

/// `LARGE_INTEGER`, `PHYSICAL_ADDRESS`: 8 bytes, passed as a number.
pub type LargeInteger = i64;
/// `KIRQL`.
pub type Irql = u8;

const _: () = {
    assert!(size_of::<UnicodeString>() == 16 && offset_of!(UnicodeString, buffer) == 8);
    assert!(offset_of!(DriverObject, driver_name) == 0x38);
    assert!(offset_of!(DriverObject, fast_io_dispatch) == 0x50);
    assert!(offset_of!(DriverObject, driver_unload) == 0x68);
    assert!(offset_of!(DriverObject, major_function) == 0x70);
    assert!(size_of::<DriverObject>() == 0x150);
    assert!(offset_of!(DeviceObject, flags) == 0x30);
    assert!(offset_of!(DeviceObject, device_extension) == 0x40);
    assert!(offset_of!(DeviceObject, device_type) == 0x48);
    assert!(offset_of!(Irp, system_buffer) == 0x18);
    assert!(offset_of!(Irp, io_status) == 0x30);
    assert!(offset_of!(Irp, requestor_mode) == 0x40);
    assert!(offset_of!(Irp, user_buffer) == 0x70);
    assert!(offset_of!(Irp, stack_location) == 0xb8);
    assert!(size_of::<Irp>() == 0xd0);
    assert!(offset_of!(StackLocation, output_length) == 0x08);
    assert!(offset_of!(StackLocation, input_length) == 0x10);
    assert!(offset_of!(StackLocation, code) == 0x18);
    assert!(offset_of!(StackLocation, file_object) == 0x30);
    assert!(size_of::<StackLocation>() == 0x48);
    assert!(offset_of!(FileObject, file_name) == 0x58);
};
