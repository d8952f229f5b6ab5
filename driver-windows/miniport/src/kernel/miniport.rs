//! What the wave and the topology miniport have in common, as PortCls calls it. PASSIVE_LEVEL.

use crate::abi::Table;
use crate::abi::com::Object;
use crate::abi::ks::PcFilter;
use crate::abi::status::{SUCCESS, Status};

/// `IMiniport::Init` of both: all is there from the beginning.
///
/// # Safety
/// PortCls calls it.
pub unsafe extern "system" fn init(
    _: *mut Object,
    _adapter: *mut Object,
    _resources: *mut Object,
    _port: *mut Object,
) -> Status {
    SUCCESS
}

/// Hands out a filter's description.
///
/// # Safety
/// `description` is where it goes.
pub unsafe fn describe(
    filter: &'static Table<PcFilter>,
    description: *mut *const PcFilter,
) -> Status {
    // SAFETY: the caller vouches for it.
    unsafe { description.write(&raw const filter.0) };
    SUCCESS
}
