//! The device as PnP and PortCls know it: its two subdevices, the connection between them, power and removal. PASSIVE_LEVEL.

use crate::abi::com::{Object, POWER_D0, PortObject, Power};
use crate::abi::guid::{self, Guid};
use crate::abi::nt::{
    DeviceObject, DriverObject, Irp, MN_REMOVE_DEVICE, MN_STOP_DEVICE, MN_SURPRISE_REMOVAL,
};
use crate::abi::status::{SUCCESS, Status};
use crate::filters::{TOPOLOGY_BRIDGE, TOPOLOGY_NAME, WAVE_BRIDGE, WAVE_NAME};
use crate::kernel::imports::{
    PcAddAdapterDevice, PcNewPort, PcRegisterAdapterPowerManagement, PcRegisterPhysicalConnection,
    PcRegisterSubdevice,
};
use crate::kernel::{control_device, spin, topology, wave};
use crate::object::{self, Interface, unknown};
use crate::text::utf16;
use core::ffi::c_void;
use core::ptr::null_mut;

static ADAPTER: Interface<Power> = Interface(&Power {
    query_interface,
    add_ref,
    release,
    power_change_state,
    query_power_change_state,
    query_device_capabilities,
});

/// A device node was found that this driver is for. There can be one: the control device's name is taken by the first.
///
/// # Safety
/// The system calls it.
pub unsafe extern "system" fn add_device(
    driver: *mut DriverObject,
    physical: *mut DeviceObject,
) -> Status {
    let created = control_device::create(driver);
    if !created.is_ok() {
        return created;
    }
    // Wave and topology.
    // SAFETY: both objects are those that the system handed us.
    let added = unsafe { PcAddAdapterDevice(driver, physical, start_device, 2, 0) };
    if !added.is_ok() {
        control_device::remove();
    }
    added
}

/// The device is started.
unsafe extern "system" fn start_device(
    device: *mut DeviceObject,
    irp: *mut Irp,
    resources: *mut c_void,
) -> Status {
    let started = start(device, irp, resources);
    if started.is_ok() {
        spin::with(|state, _| state.device.appear());
    }
    started.into()
}

fn start(device: *mut DeviceObject, irp: *mut Irp, resources: *mut c_void) -> Result<(), Status> {
    // SAFETY: the adapter is an object, and the device the one that PortCls has made.
    unsafe { PcRegisterAdapterPowerManagement(ADAPTER.pointer(), device.cast()) }.ok()?;
    let starting = Starting {
        device,
        irp,
        resources,
    };
    let topology = starting.install(
        &guid::CLSID_PORT_TOPOLOGY,
        topology::miniport(),
        utf16!(TOPOLOGY_NAME),
    )?;
    let wave = starting.install(
        &guid::CLSID_PORT_WAVE_RT,
        wave::miniport(),
        utf16!(WAVE_NAME),
    )?;
    // SAFETY: both are registered ports of this device.
    unsafe {
        PcRegisterPhysicalConnection(device, topology.0, TOPOLOGY_BRIDGE, wave.0, WAVE_BRIDGE)
    }
    .ok()
}

/// What a port is initialised with.
struct Starting {
    device: *mut DeviceObject,
    irp: *mut Irp,
    resources: *mut c_void,
}

/// A reference to an object that somebody else made.
struct Owned(*mut Object);

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: the reference is ours, and given up here.
        unsafe { object::release(self.0) };
    }
}

impl Starting {
    /// A port for the miniport, registered under a name. Once registered, it lives until the device is removed.
    fn install<const N: usize>(
        &self,
        class: &Guid,
        miniport: *mut Object,
        name: &'static [u16; N],
    ) -> Result<Owned, Status> {
        let miniport = Owned(miniport);
        let mut port = null_mut();
        // SAFETY: it gives an object of the class, with a reference for us.
        unsafe { PcNewPort(&raw mut port, class) }.ok()?;
        let port = Owned(port);
        // SAFETY: a port begins with this vtable.
        let init = unsafe { (*(*port.0.cast::<PortObject>()).vtable).init };
        // SAFETY: device, request and resources are those of the start; miniport and adapter are objects.
        unsafe {
            init(
                port.0,
                self.device,
                self.irp,
                miniport.0,
                ADAPTER.pointer(),
                self.resources,
            )
        }
        .ok()?;
        // SAFETY: the name is a constant with a 0 at its end.
        unsafe { PcRegisterSubdevice(self.device, name.as_ptr(), port.0) }.ok()?;
        Ok(port)
    }
}

/// A PnP request comes by, before PortCls gets it: whatever takes the device away is silence first, and its removal takes the control
/// device away, so that the driver can be unloaded.
pub fn before_pnp(minor: u8) {
    if matches!(
        minor,
        MN_REMOVE_DEVICE | MN_SURPRISE_REMOVAL | MN_STOP_DEVICE
    ) {
        spin::with(|state, _| state.device.vanish());
    }
    if minor == MN_REMOVE_DEVICE {
        control_device::remove();
    }
}

unknown!(
    [
        guid::IID_UNKNOWN => ADAPTER,
        guid::IID_ADAPTER_POWER_MANAGEMENT => ADAPTER,
    ],
    || {}
);

/// PortCls pauses streams before the device sleeps, and lets them run after. Who unmuted before a sleep may be gone after it.
unsafe extern "system" fn power_change_state(_: *mut Object, state: u32) {
    if state != POWER_D0 {
        spin::with(|state, _| state.device.sleep());
    }
}

unsafe extern "system" fn query_power_change_state(_: *mut Object, _state: u32) -> Status {
    SUCCESS
}

/// The capabilities stay as the bus says.
unsafe extern "system" fn query_device_capabilities(
    _: *mut Object,
    _capabilities: *mut c_void,
) -> Status {
    SUCCESS
}
