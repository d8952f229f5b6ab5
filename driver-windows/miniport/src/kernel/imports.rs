//! What the driver calls of the system, each with what the documentation says of it at learn.microsoft.com: the header, and the highest
//! IRQL. All are exported from Windows 2000 or XP on. What newer functions there are is asked for by name ([`find`]). `imports.tsv`
//! lists both, and nothing else can be called.

use crate::abi::com::Event;
use crate::abi::nt::{
    AddDevice, DeviceObject, DriverObject, Irp, Irql, LargeInteger, UnicodeString,
};
use crate::abi::status::Status;
use core::ffi::c_void;

#[cfg_attr(
    all(target_os = "windows", feature = "raw"),
    link(name = "ntoskrnl.exe", kind = "raw-dylib", modifiers = "+verbatim")
)]
unsafe extern "system" {
    /// wdm.h, DISPATCH_LEVEL. Behind `KeAcquireSpinLock`.
    pub fn KeAcquireSpinLockRaiseToDpc(lock: *mut usize) -> Irql;
    /// wdm.h, DISPATCH_LEVEL.
    pub fn KeReleaseSpinLock(lock: *mut usize, irql: Irql);
    /// wdm.h, DISPATCH_LEVEL, when the caller does not wait.
    pub fn KeSetEvent(event: *mut Event, increment: i32, wait: u8) -> i32;
    /// wdm.h, PASSIVE_LEVEL.
    pub fn KeFlushQueuedDpcs();
    /// wdm.h, PASSIVE_LEVEL.
    pub fn MmGetSystemRoutineAddress(name: *const UnicodeString) -> *mut c_void;
    /// wdm.h, APC_LEVEL.
    pub fn IoCreateDevice(
        driver: *mut DriverObject,
        extension_bytes: u32,
        name: *const UnicodeString,
        device_type: u32,
        characteristics: u32,
        exclusive: u8,
        device: *mut *mut DeviceObject,
    ) -> Status;
    /// wdm.h, APC_LEVEL.
    pub fn IoDeleteDevice(device: *mut DeviceObject);
    /// wdm.h, PASSIVE_LEVEL.
    pub fn IoCreateSymbolicLink(link: *const UnicodeString, name: *const UnicodeString) -> Status;
    /// wdm.h, PASSIVE_LEVEL.
    pub fn IoDeleteSymbolicLink(link: *const UnicodeString) -> Status;
    /// wdm.h, DISPATCH_LEVEL. Behind `IoCompleteRequest`.
    pub fn IofCompleteRequest(irp: *mut Irp, boost: i8);
    /// ntifs.h, PASSIVE_LEVEL.
    pub fn ObOpenObjectByPointer(
        object: *mut c_void,
        attributes: u32,
        access_state: *mut c_void,
        access: u32,
        object_type: *mut c_void,
        mode: u8,
        handle: *mut *mut c_void,
    ) -> Status;
    /// ntifs.h, PASSIVE_LEVEL.
    pub fn ZwSetSecurityObject(handle: *mut c_void, what: u32, descriptor: *const c_void)
    -> Status;
    /// wdm.h, PASSIVE_LEVEL.
    pub fn ZwClose(handle: *mut c_void) -> Status;
}

// The documentation names Hal.dll for it; where the HAL is part of the kernel, Hal.dll still forwards.
#[cfg_attr(
    all(target_os = "windows", feature = "raw"),
    link(name = "hal.dll", kind = "raw-dylib", modifiers = "+verbatim")
)]
unsafe extern "system" {
    /// wdm.h, any IRQL.
    pub fn KeQueryPerformanceCounter(frequency: *mut LargeInteger) -> LargeInteger;
}

#[cfg_attr(
    target_os = "windows",
    link(name = "portcls.sys", kind = "raw-dylib", modifiers = "+verbatim")
)]
unsafe extern "system" {
    /// portcls.h, PASSIVE_LEVEL.
    pub fn PcInitializeAdapterDriver(
        driver: *mut DriverObject,
        path: *mut UnicodeString,
        add: AddDevice,
    ) -> Status;
    /// portcls.h, PASSIVE_LEVEL.
    pub fn PcAddAdapterDevice(
        driver: *mut DriverObject,
        physical_device: *mut DeviceObject,
        start: unsafe extern "system" fn(*mut DeviceObject, *mut Irp, *mut c_void) -> Status,
        most_objects: u32,
        extension_bytes: u32,
    ) -> Status;
    /// portcls.h, PASSIVE_LEVEL.
    pub fn PcNewPort(port: *mut *mut c_void, class: *const crate::abi::guid::Guid) -> Status;
    /// portcls.h, PASSIVE_LEVEL.
    pub fn PcRegisterSubdevice(
        device: *mut DeviceObject,
        name: *const u16,
        port: *mut c_void,
    ) -> Status;
    /// portcls.h, PASSIVE_LEVEL.
    pub fn PcRegisterPhysicalConnection(
        device: *mut DeviceObject,
        from: *mut c_void,
        from_pin: u32,
        to: *mut c_void,
        to_pin: u32,
    ) -> Status;
    /// portcls.h, PASSIVE_LEVEL.
    pub fn PcRegisterAdapterPowerManagement(adapter: *mut c_void, device: *mut c_void) -> Status;
}

/// A function of the kernel by its name, UTF-16 with a 0 at the end; null where there is none.
pub fn find<const N: usize>(name: &'static [u16; N]) -> *mut c_void {
    let name = UnicodeString::of(name);
    // SAFETY: the name is a constant.
    unsafe { MmGetSystemRoutineAddress(&raw const name) }
}
