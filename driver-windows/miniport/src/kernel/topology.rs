//! The topology miniport, as PortCls calls it: a microphone, and nothing that could be turned. PASSIVE_LEVEL throughout.

use crate::abi::com::{Object, Topology};
use crate::abi::guid::{self, Guid};
use crate::abi::ks::{DataFormat, PcFilter};
use crate::abi::status::{NOT_IMPLEMENTED, SUCCESS, Status};
use crate::filters;
use crate::object::{Interface, References, query};

static REFERENCES: References = References::new();
static MINIPORT: Interface<Topology> = Interface(&Topology {
    query_interface,
    add_ref,
    release,
    get_description,
    data_range_intersection,
    init,
});

/// The miniport, with a reference for the caller.
pub fn miniport() -> *mut Object {
    REFERENCES.add();
    MINIPORT.pointer()
}

unsafe extern "system" fn query_interface(
    _: *mut Object,
    wanted: *const Guid,
    found: *mut *mut Object,
) -> Status {
    let miniport = MINIPORT.pointer();
    let interfaces = [
        (&guid::IID_UNKNOWN, miniport),
        (&guid::IID_MINIPORT, miniport),
        (&guid::IID_MINIPORT_TOPOLOGY, miniport),
    ];
    // SAFETY: PortCls calls it.
    unsafe { query(&REFERENCES, &interfaces, wanted, found) }
}

unsafe extern "system" fn add_ref(_: *mut Object) -> u32 {
    REFERENCES.add()
}

unsafe extern "system" fn release(_: *mut Object) -> u32 {
    REFERENCES.release()
}

unsafe extern "system" fn get_description(
    _: *mut Object,
    description: *mut *const PcFilter,
) -> Status {
    // SAFETY: PortCls says where it wants it.
    unsafe { description.write(&raw const filters::TOPOLOGY.0) };
    SUCCESS
}

/// The port does it: both pins have one range.
unsafe extern "system" fn data_range_intersection(
    _: *mut Object,
    _pin: u32,
    _client: *const DataFormat,
    _ours: *const DataFormat,
    _room: u32,
    _result: *mut u8,
    _length: *mut u32,
) -> Status {
    NOT_IMPLEMENTED
}

unsafe extern "system" fn init(
    _: *mut Object,
    _adapter: *mut Object,
    _resources: *mut Object,
    _port: *mut Object,
) -> Status {
    SUCCESS
}
