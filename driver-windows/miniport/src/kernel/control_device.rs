//! The control device: how it is made and who may open it, and the requests on it as IRPs. What the requests do is in `requests.rs`.

use crate::abi::nt::{
    DO_DEVICE_INITIALIZING, DeviceObject, DriverObject, FILE_DEVICE_SECURE_OPEN, Irp, MJ_CLEANUP,
    MJ_CLOSE, MJ_CREATE, MJ_DEVICE_CONTROL, StackLocation, UnicodeString,
};
use crate::abi::status::{
    ACCESS_DENIED, DEVICE_NOT_CONNECTED, INFO_LENGTH_MISMATCH, INVALID_DEVICE_REQUEST,
    INVALID_DEVICE_STATE, INVALID_PARAMETER, OBJECT_NAME_NOT_FOUND, REVISION_MISMATCH,
    SHARING_VIOLATION, SUCCESS, Status,
};
use crate::device::{Caller, Refused};
use crate::kernel::imports::{
    IoCreateDevice, IoCreateSymbolicLink, IoDeleteDevice, IoDeleteSymbolicLink, IofCompleteRequest,
    ObOpenObjectByPointer, ZwClose, ZwSetSecurityObject,
};
use crate::kernel::{callers, spin};
use crate::requests;
use crate::security::DESCRIPTOR;
use crate::text::utf16;
use core::ptr::null_mut;
use core::slice;
use core::sync::atomic::{AtomicPtr, Ordering};
use truemute_windows_interface::{DEVICE_NAME, LINK_NAME};

/// A vendor's `FILE_DEVICE_*`. It marks the device: no other device of this driver has it, and it also tells apart a device that was
/// removed while somebody had it open.
const DEVICE_TYPE: u32 = 0x8000;

/// The device that is there, or null.
static DEVICE: AtomicPtr<DeviceObject> = AtomicPtr::new(null_mut());

/// Makes the device, so that nobody can open it before its descriptor is set. PASSIVE_LEVEL.
pub fn create(driver: *mut DriverObject) -> Status {
    make(driver).into()
}

fn make(driver: *mut DriverObject) -> Result<(), Status> {
    let name = UnicodeString::of(utf16!(DEVICE_NAME));
    let link = UnicodeString::of(utf16!(LINK_NAME));
    let mut device = null_mut();
    // SAFETY: the driver's object is the system's, the name a constant. Nobody can open the device before `DO_DEVICE_INITIALIZING` is off.
    unsafe {
        IoCreateDevice(
            driver,
            0,
            &raw const name,
            DEVICE_TYPE,
            FILE_DEVICE_SECURE_OPEN,
            0,
            &raw mut device,
        )
    }
    .ok()?;
    let done = secure(device).and_then(|()| {
        // SAFETY: both names are constants.
        unsafe { IoCreateSymbolicLink(&raw const link, &raw const name) }.ok()
    });
    if let Err(status) = done {
        // SAFETY: it was made above, and nobody has it.
        unsafe { IoDeleteDevice(device) };
        return Err(status);
    }
    DEVICE.store(device, Ordering::Release);
    // SAFETY: until the flag is off the device is ours alone.
    unsafe { (*device).flags &= !DO_DEVICE_INITIALIZING };
    Ok(())
}

/// Sets the descriptor, as `IoCreateDeviceSecure` does, which is no export of the kernel's but comes from a library of the WDK.
fn secure(device: *mut DeviceObject) -> Result<(), Status> {
    /// `OBJ_KERNEL_HANDLE`.
    const KERNEL_HANDLE: u32 = 0x200;
    /// `WRITE_DAC`.
    const WRITE_DAC: u32 = 0x0004_0000;
    /// `DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION`.
    const DACL: u32 = 0x8000_0004;
    /// `KernelMode`.
    const KERNEL: u8 = 0;
    let mut handle = null_mut();
    // SAFETY: the device is an object of the kernel's; in kernel mode its type need not be named.
    unsafe {
        ObOpenObjectByPointer(
            device.cast(),
            KERNEL_HANDLE,
            null_mut(),
            WRITE_DAC,
            null_mut(),
            KERNEL,
            &raw mut handle,
        )
    }
    .ok()?;
    // SAFETY: the descriptor is a constant that says how long its parts are.
    let set = unsafe { ZwSetSecurityObject(handle, DACL, (&raw const DESCRIPTOR).cast()) };
    // SAFETY: it was opened above.
    let _closed = unsafe { ZwClose(handle) };
    set.ok()
}

/// Takes the device away. Who has it open gets errors from then on. PASSIVE_LEVEL.
pub fn remove() {
    let device = DEVICE.swap(null_mut(), Ordering::AcqRel);
    if !device.is_null() {
        let link = UnicodeString::of(utf16!(LINK_NAME));
        // SAFETY: the link was made with the device.
        let _deleted = unsafe { IoDeleteSymbolicLink(&raw const link) };
        // SAFETY: whoever swaps it out deletes it, once.
        unsafe { IoDeleteDevice(device) };
    }
}

/// Whether a device is a control device of ours.
///
/// # Safety
/// It is a device of this driver.
pub unsafe fn is_it(device: *mut DeviceObject) -> bool {
    // SAFETY: the caller vouches for it.
    unsafe { (*device).device_type == DEVICE_TYPE }
}

/// Answers a request on the device, and completes it.
///
/// # Safety
/// It is a request of the I/O manager's on a control device.
pub unsafe fn dispatch(irp: *mut Irp) -> Status {
    let (status, bytes) = {
        // SAFETY: the caller vouches for it, and until it is completed it is ours alone.
        let irp = unsafe { &mut *irp };
        // SAFETY: the I/O manager has set up our location.
        let location = unsafe { &*irp.stack_location };
        match location.major_function {
            MJ_CREATE => (open(irp, location), 0),
            MJ_CLEANUP => {
                spin::with(|state, _| state.device.detach(location.file_object.addr()));
                (SUCCESS, 0)
            }
            MJ_CLOSE => (SUCCESS, 0),
            MJ_DEVICE_CONTROL => control(irp, location),
            _ => (INVALID_DEVICE_REQUEST, 0),
        }
    };
    // SAFETY: as above.
    unsafe {
        (*irp).io_status.status = status;
        (*irp).io_status.information = bytes;
        // Without a boost: nothing here was waited for.
        IofCompleteRequest(irp, 0);
    }
    status
}

fn open(irp: &mut Irp, location: &StackLocation) -> Status {
    // SAFETY: the I/O manager has made the file object for this request.
    let name = unsafe { location.file_object.as_ref() }.map(|file| file.file_name.length);
    match name {
        // The device has nothing below it.
        Some(1..) => OBJECT_NAME_NOT_FOUND,
        None => INVALID_PARAMETER,
        Some(0) if callers::may_speak(irp) => SUCCESS,
        Some(0) => ACCESS_DENIED,
    }
}

fn control(irp: &mut Irp, location: &StackLocation) -> (Status, usize) {
    let caller = Caller {
        handle: location.file_object.addr(),
        may_feed: callers::may_speak(irp),
    };
    let (input, output) = (
        location.input_length.0 as usize,
        location.output_length.0 as usize,
    );
    let buffer: &mut [u8] = if irp.system_buffer.is_null() {
        &mut []
    } else {
        // SAFETY: our codes are `METHOD_BUFFERED`, for which the I/O manager makes a buffer as large as the larger one of both.
        unsafe { slice::from_raw_parts_mut(irp.system_buffer, input.max(output)) }
    };
    let code = location.code.0;
    // Other methods have no such buffer.
    let buffer = if code & 3 == 0 { buffer } else { &mut [] };
    let answer = spin::with(|state, now_ns| {
        requests::answer(
            &mut state.device,
            now_ns,
            caller,
            code,
            buffer,
            input,
            output,
        )
    });
    match answer {
        Ok(bytes) => (SUCCESS, bytes),
        Err(refused) => (status_of(refused), 0),
    }
}

fn status_of(refused: Refused) -> Status {
    match refused {
        Refused::Gone => DEVICE_NOT_CONNECTED,
        Refused::Unknown => INVALID_DEVICE_REQUEST,
        Refused::Malformed => INFO_LENGTH_MISMATCH,
        Refused::Version => REVISION_MISMATCH,
        Refused::Busy => SHARING_VIOLATION,
        Refused::NotFeeder => ACCESS_DENIED,
        Refused::Closed => INVALID_DEVICE_STATE,
        Refused::OutOfReach => INVALID_PARAMETER,
    }
}
