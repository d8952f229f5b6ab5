//! Objects that PortCls holds references to. There is one of each kind, it lies in the image and is never freed: the driver stays loaded
//! as long as its device is there, and so references are only counted to know when a stream is given up.

use crate::abi::com::Object;
use crate::abi::guid::Guid;
use crate::abi::status::{INVALID_PARAMETER, SUCCESS, Status};
use core::sync::atomic::{AtomicU32, Ordering};

/// One interface of an object: what a pointer to it points to.
#[derive(Debug)]
#[repr(C)]
pub struct Interface<V: 'static>(pub &'static V);

impl<V> Interface<V> {
    /// As the system takes it. It is never written through.
    pub const fn pointer(&'static self) -> *mut Object {
        core::ptr::from_ref(self).cast_mut().cast()
    }
}

/// How many references there are.
#[derive(Debug)]
pub struct References(AtomicU32);

impl References {
    /// None.
    pub const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// One more. Says how many.
    pub fn add(&self) -> u32 {
        self.0.fetch_add(1, Ordering::AcqRel).wrapping_add(1)
    }

    /// One less. Says how many.
    pub fn release(&self) -> u32 {
        // One too many would be a mistake of the system's, and must not make it seem full of them.
        let less = |count: u32| Some(count.saturating_sub(1));
        let before = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
        before.unwrap_or(0).saturating_sub(1)
    }
}

impl Default for References {
    fn default() -> Self {
        Self::new()
    }
}

/// `IUnknown::QueryInterface` of an object with these interfaces.
///
/// # Safety
/// As for the method: `wanted` points to an identifier, `found` to where the pointer goes.
pub unsafe fn query(
    references: &References,
    interfaces: &[(&Guid, *mut Object)],
    wanted: *const Guid,
    found: *mut *mut Object,
) -> Status {
    // SAFETY: the caller vouches for both.
    let (wanted, found) = unsafe { (&*wanted, &mut *found) };
    match interfaces.iter().find(|(known, _)| *known == wanted) {
        Some((_, object)) => {
            references.add();
            *found = *object;
            SUCCESS
        }
        None => {
            *found = core::ptr::null_mut();
            INVALID_PARAMETER
        }
    }
}

/// `IUnknown` of a module's one object: its references, and the three methods by the names that vtables want. `gone` is called after
/// the last reference.
#[cfg(any(target_os = "windows", clippy))]
macro_rules! unknown {
    ([$($id:expr => $interface:expr),+ $(,)?], $gone:expr) => {
        static REFERENCES: $crate::object::References = $crate::object::References::new();

        unsafe extern "system" fn query_interface(
            _: *mut $crate::abi::com::Object,
            wanted: *const $crate::abi::guid::Guid,
            found: *mut *mut $crate::abi::com::Object,
        ) -> $crate::abi::status::Status {
            let interfaces = [$((&$id, $interface.pointer())),+];
            // SAFETY: PortCls calls it.
            unsafe { $crate::object::query(&REFERENCES, &interfaces, wanted, found) }
        }

        unsafe extern "system" fn add_ref(_: *mut $crate::abi::com::Object) -> u32 {
            REFERENCES.add()
        }

        unsafe extern "system" fn release(_: *mut $crate::abi::com::Object) -> u32 {
            let left = REFERENCES.release();
            if left == 0 {
                $gone();
            }
            left
        }
    };
}
#[cfg(any(target_os = "windows", clippy))]
pub(crate) use unknown;

/// Releases a reference to somebody else's object.
///
/// # Safety
/// It is an object, to which this reference is ours.
pub unsafe fn release(object: *mut Object) {
    if !object.is_null() {
        // SAFETY: every object begins with a pointer to a vtable, which begins with these three.
        unsafe { ((**object.cast::<*const crate::abi::com::Unknown>()).release)(object) };
    }
}
