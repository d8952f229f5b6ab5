//! Where the system enters the driver: `DriverEntry`, the dispatch table, unloading. PortCls owns the table; ours stands before it, keeps
//! what is for the control device, and hands on the rest.

use crate::abi::nt::{
    DeviceObject, Dispatch, DriverObject, Irp, LargeInteger, MAJOR_FUNCTIONS, MJ_PNP, UnicodeString,
};
use crate::abi::status::{INVALID_DEVICE_REQUEST, Status};
use crate::kernel::imports::{PcInitializeAdapterDriver, find};
use crate::kernel::{adapter, callers, control_device, spin, timer};
use crate::text::utf16;
use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::ptr::{NonNull, null_mut};

/// The dispatch table as PortCls has filled it.
struct Table(UnsafeCell<[Option<Dispatch>; MAJOR_FUNCTIONS]>);

// SAFETY: it is written in `DriverEntry` only, before any request can come.
unsafe impl Sync for Table {}

static PORTCLS: Table = Table(UnsafeCell::new([None; MAJOR_FUNCTIONS]));

/// The system loads the driver.
///
/// # Safety
/// The system calls it, once.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn DriverEntry(
    driver: *mut DriverObject,
    path: *mut UnicodeString,
) -> Status {
    let clock = spin::clock();
    let instance = instance();
    spin::with(|state, _| state.device.start(clock, instance));
    timer::load();
    callers::load();
    // SAFETY: both are those that the system hands us.
    let initialized = unsafe { PcInitializeAdapterDriver(driver, path, adapter::add_device) };
    if initialized.is_ok() {
        // SAFETY: the driver's object is ours to set up until this function returns.
        let driver = unsafe { &mut *driver };
        // SAFETY: nobody reads it yet.
        unsafe { *PORTCLS.0.get() = driver.major_function };
        driver.major_function = [Some(dispatch); MAJOR_FUNCTIONS];
        // The I/O manager tries this table of PortCls' for the control device, too, which it would take for an audio device.
        // Where there is none, a request comes.
        driver.fast_io_dispatch = null_mut();
    }
    initialized
}

/// Differs after each start: the time, in units of 100 ns. Where there is no such function (it came with Windows 8; Wine), the
/// performance counter, which may begin anew with the machine.
fn instance() -> u64 {
    /// `KeQuerySystemTimePrecise` of wdm.h. Any IRQL.
    type Time = unsafe extern "system" fn(*mut LargeInteger);
    let Some(function) = NonNull::new(find(utf16!("KeQuerySystemTimePrecise"))) else {
        return spin::ticks();
    };
    let mut time = 0;
    // SAFETY: it is the kernel's function of this name, with this signature.
    let function = unsafe { core::mem::transmute::<*mut c_void, Time>(function.as_ptr()) };
    // SAFETY: it writes the time.
    unsafe { function(&raw mut time) };
    time.cast_unsigned()
}

unsafe extern "system" fn dispatch(device: *mut DeviceObject, irp: *mut Irp) -> Status {
    // SAFETY: the I/O manager calls it, with a device of this driver and a request whose location is ours.
    let (control, major, minor) = unsafe {
        let location = &*(*irp).stack_location;
        (
            control_device::is_it(device),
            location.major_function,
            location.minor_function,
        )
    };
    if control {
        // SAFETY: it is one.
        return unsafe { control_device::dispatch(irp) };
    }
    if major == MJ_PNP {
        adapter::before_pnp(minor);
    }
    // SAFETY: the table is not written any more.
    let table = unsafe { &*PORTCLS.0.get() };
    match table.get(usize::from(major)).copied().flatten() {
        // SAFETY: PortCls gets what it would have got.
        Some(portcls) => unsafe { portcls(device, irp) },
        // The I/O manager fills every entry before `DriverEntry`, and PortCls empties none.
        None => INVALID_DEVICE_REQUEST,
    }
}
