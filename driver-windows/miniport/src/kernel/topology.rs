//! The topology miniport, as PortCls calls it: a microphone, and nothing that could be turned. PASSIVE_LEVEL throughout.

use crate::abi::com::{Object, Topology};
use crate::abi::guid;
use crate::abi::ks::{DataFormat, PcFilter};
use crate::abi::status::{NOT_IMPLEMENTED, Status};
use crate::filters;
use crate::kernel::miniport::{self, init};
use crate::object::{Interface, unknown};

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

unknown!(
    [
        guid::IID_UNKNOWN => MINIPORT,
        guid::IID_MINIPORT => MINIPORT,
        guid::IID_MINIPORT_TOPOLOGY => MINIPORT,
    ],
    || {}
);

unsafe extern "system" fn get_description(
    _: *mut Object,
    description: *mut *const PcFilter,
) -> Status {
    // SAFETY: PortCls calls it.
    unsafe { miniport::describe(&filters::TOPOLOGY, description) }
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
