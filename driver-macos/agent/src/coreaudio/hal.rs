//! Properties of Core Audio's objects, as safe functions: read, write, listen. What they mean is the callers'.
//! Facts: AudioHardware.h and AudioHardwareBase.h, as bound by objc2-core-audio.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::mem::{MaybeUninit, size_of};
use std::ptr::{NonNull, null, without_provenance_mut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use objc2_core_audio::{
    AudioConvertHostTimeToNanos, AudioGetCurrentHostTime, AudioObjectAddPropertyListener,
    AudioObjectGetPropertyData, AudioObjectGetPropertyDataSize, AudioObjectID,
    AudioObjectPropertyAddress, AudioObjectPropertyScope, AudioObjectPropertySelector,
    AudioObjectRemovePropertyListener, AudioObjectSetPropertyData,
    kAudioHardwarePropertyTranslateUIDToDevice, kAudioObjectPropertyElementMain,
    kAudioObjectPropertyScopeGlobal, kAudioObjectPropertyScopeInput, kAudioObjectSystemObject,
};
use objc2_core_foundation::{
    CFArray, CFPropertyListCreateData, CFPropertyListFormat, CFRetained, CFString, CFType,
};
use truemute_agent::system::SystemError;

/// The object that stands for the whole system.
pub(super) const SYSTEM: AudioObjectID = kAudioObjectSystemObject as AudioObjectID;

/// A property's name.
#[derive(Clone, Copy)]
pub(super) struct Address(AudioObjectPropertyAddress);

impl Address {
    /// In the global scope.
    pub(super) fn global(selector: AudioObjectPropertySelector) -> Address {
        Address::scoped(selector, kAudioObjectPropertyScopeGlobal)
    }

    /// In the scope of inputs.
    pub(super) fn input(selector: AudioObjectPropertySelector) -> Address {
        Address::scoped(selector, kAudioObjectPropertyScopeInput)
    }

    /// In any scope; always of the main element.
    pub(super) fn scoped(
        selector: AudioObjectPropertySelector,
        scope: AudioObjectPropertyScope,
    ) -> Address {
        Address(AudioObjectPropertyAddress {
            mSelector: selector,
            mScope: scope,
            mElement: kAudioObjectPropertyElementMain,
        })
    }

    fn pointer(&self) -> NonNull<AudioObjectPropertyAddress> {
        NonNull::from(&self.0)
    }

    fn refused(&self, status: i32) -> SystemError {
        let code = self.0.mSelector.to_be_bytes();
        SystemError::Refused {
            what: format!("the property '{}'", String::from_utf8_lossy(&code)),
            status,
        }
    }
}

/// Types of which every bit pattern is a value.
///
/// # Safety
/// As it says, and the type has no padding.
pub(super) unsafe trait Plain: Copy {}

// SAFETY: numbers.
unsafe impl Plain for u32 {}
// SAFETY: numbers.
unsafe impl Plain for i32 {}
// SAFETY: numbers.
unsafe impl Plain for f64 {}

/// A property of one value.
pub(super) fn get<T: Plain>(object: AudioObjectID, address: Address) -> Result<T, SystemError> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut size = size_of::<T>() as u32;
    // SAFETY: `size` bytes are writable behind `value`; the call writes at most as many.
    let status = unsafe {
        AudioObjectGetPropertyData(
            object,
            address.pointer(),
            0,
            null(),
            NonNull::from(&mut size),
            NonNull::from(&mut value).cast(),
        )
    };
    match status {
        // SAFETY: zeros are a value, and so is whatever was written over them.
        0 => Ok(unsafe { value.assume_init() }),
        status => Err(address.refused(status)),
    }
}

/// A property that is a list of values.
pub(super) fn list<T: Plain>(
    object: AudioObjectID,
    address: Address,
) -> Result<Vec<T>, SystemError> {
    let bytes = size(object, address)? as usize;
    let mut values: Vec<T> = Vec::with_capacity(bytes / size_of::<T>());
    let mut size = (values.capacity() * size_of::<T>()) as u32;
    let Some(start) = NonNull::new(values.as_mut_ptr()) else {
        return Ok(values);
    };
    // SAFETY: the vector has room for `size` bytes. The list may have become shorter since, not longer than `size`.
    let status = unsafe {
        AudioObjectGetPropertyData(
            object,
            address.pointer(),
            0,
            null(),
            NonNull::from(&mut size),
            start.cast(),
        )
    };
    if status != 0 {
        return Err(address.refused(status));
    }
    let length = (size as usize / size_of::<T>()).min(values.capacity());
    // SAFETY: so many values were written.
    unsafe { values.set_len(length) };
    Ok(values)
}

/// How many bytes a property has.
pub(super) fn size(object: AudioObjectID, address: Address) -> Result<u32, SystemError> {
    let mut size = 0;
    // SAFETY: the pointers are valid for the call.
    let status = unsafe {
        AudioObjectGetPropertyDataSize(
            object,
            address.pointer(),
            0,
            null(),
            NonNull::from(&mut size),
        )
    };
    match status {
        0 => Ok(size),
        status => Err(address.refused(status)),
    }
}

/// A property in bytes, aligned for what `A` may hold: for structures of variable length.
pub(super) fn bytes(object: AudioObjectID, address: Address) -> Result<Vec<u64>, SystemError> {
    let room = size(object, address)?;
    let mut words = vec![0_u64; (room as usize).div_ceil(8)];
    let mut size = room;
    let Some(start) = NonNull::new(words.as_mut_ptr()) else {
        return Ok(words);
    };
    // SAFETY: there is room for `size` bytes; any bytes are words.
    let status = unsafe {
        AudioObjectGetPropertyData(
            object,
            address.pointer(),
            0,
            null(),
            NonNull::from(&mut size),
            start.cast(),
        )
    };
    match status {
        0 => Ok(words),
        status => Err(address.refused(status)),
    }
}

/// A property that is a text.
pub(super) fn text(object: AudioObjectID, address: Address) -> Result<String, SystemError> {
    let text = retained::<CFString>(object, address)?;
    Ok(text.map_or_else(String::new, |text| text.to_string()))
}

/// A property that is a list of texts.
pub(super) fn texts(object: AudioObjectID, address: Address) -> Result<Vec<String>, SystemError> {
    let Some(array) = retained::<CFArray>(object, address)? else {
        return Ok(Vec::new());
    };
    // SAFETY: the callers' properties are documented as arrays of CFString.
    let array: &CFArray<CFString> = unsafe { array.cast_unchecked() };
    Ok(array.iter().map(|text| text.to_string()).collect())
}

/// A property that is a property list, in bytes; empty if it has no value.
pub(super) fn property_list(
    object: AudioObjectID,
    address: Address,
) -> Result<Vec<u8>, SystemError> {
    let Some(list) = retained::<CFType>(object, address)? else {
        return Ok(Vec::new());
    };
    // SAFETY: the default allocator, a live object, no options, and nobody who wants an error's details.
    let data = unsafe {
        CFPropertyListCreateData(
            None,
            Some(&list),
            CFPropertyListFormat::XMLFormat_v1_0,
            0,
            std::ptr::null_mut(),
        )
    };
    Ok(data.map_or_else(Vec::new, |data| data.to_vec()))
}

/// A property that is a CoreFoundation object: "the caller is responsible for releasing the returned CFObject".
fn retained<T: objc2_core_foundation::Type>(
    object: AudioObjectID,
    address: Address,
) -> Result<Option<CFRetained<T>>, SystemError> {
    let mut value: *mut T = std::ptr::null_mut();
    let mut size = size_of::<*mut T>() as u32;
    // SAFETY: a pointer's room for a pointer.
    let status = unsafe {
        AudioObjectGetPropertyData(
            object,
            address.pointer(),
            0,
            null(),
            NonNull::from(&mut size),
            NonNull::from(&mut value).cast(),
        )
    };
    if status != 0 {
        return Err(address.refused(status));
    }
    // SAFETY: the reference is ours to release.
    Ok(NonNull::new(value).map(|value| unsafe { CFRetained::from_raw(value) }))
}

/// Writes a property of one value.
pub(super) fn set<T: Plain>(
    object: AudioObjectID,
    address: Address,
    value: T,
) -> Result<(), SystemError> {
    // SAFETY: the value is readable for its size.
    let status = unsafe {
        AudioObjectSetPropertyData(
            object,
            address.pointer(),
            0,
            null(),
            size_of::<T>() as u32,
            NonNull::from(&value).cast(),
        )
    };
    match status {
        0 => Ok(()),
        status => Err(address.refused(status)),
    }
}

/// The device with this UID.
pub(super) fn device(uid: &str) -> Result<AudioObjectID, SystemError> {
    let name = CFString::from_str(uid);
    let qualifier: *const CFString = &*name;
    let address = Address::global(kAudioHardwarePropertyTranslateUIDToDevice);
    let mut device: AudioObjectID = 0;
    let mut size = size_of::<AudioObjectID>() as u32;
    // SAFETY: the qualifier is a pointer to a CFString, as the property wants it, and lives over the call.
    let status = unsafe {
        AudioObjectGetPropertyData(
            SYSTEM,
            address.pointer(),
            size_of::<*const CFString>() as u32,
            (&raw const qualifier).cast(),
            NonNull::from(&mut size),
            NonNull::from(&mut device).cast(),
        )
    };
    match (status, device) {
        (0, 0) => Err(SystemError::NoDevice(uid.into())),
        (0, device) => Ok(device),
        (status, _) => Err(address.refused(status)),
    }
}

/// The host's clock, in nanoseconds.
pub(super) fn now_ns() -> u64 {
    // SAFETY: takes nothing, and reads a clock.
    nanoseconds(unsafe { AudioGetCurrentHostTime() })
}

/// A host time in nanoseconds.
pub(super) fn nanoseconds(host_time: u64) -> u64 {
    // SAFETY: a multiplication.
    unsafe { AudioConvertHostTimeToNanos(host_time) }
}

/// Calls a function, on a thread of Core Audio's, whenever a property changes. Until it is dropped; a call that is under way then
/// may still end afterwards.
pub(super) struct Listener {
    object: AudioObjectID,
    address: Address,
    number: usize,
}

type Changed = Arc<dyn Fn() + Send + Sync>;

/// The functions, by the numbers that Core Audio is given in their place: nothing says when the last call of a listener that was
/// removed has ended, so it may come at any time, and then finds nothing.
static LISTENERS: Mutex<BTreeMap<usize, Changed>> = Mutex::new(BTreeMap::new());

fn listeners() -> MutexGuard<'static, BTreeMap<usize, Changed>> {
    LISTENERS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Listener {
    /// Starts to listen.
    pub(super) fn new(
        object: AudioObjectID,
        address: Address,
        changed: impl Fn() + Send + Sync + 'static,
    ) -> Result<Listener, SystemError> {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        listeners().insert(number, Arc::new(changed));
        // From here on, dropping it takes all of it back.
        let listener = Listener {
            object,
            address,
            number,
        };
        // SAFETY: the function dereferences nothing but the address, which Core Audio gives it: the pointer is a number.
        let status = unsafe {
            AudioObjectAddPropertyListener(
                object,
                address.pointer(),
                Some(on_change),
                without_provenance_mut(number),
            )
        };
        match status {
            0 => Ok(listener),
            status => Err(address.refused(status)),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // SAFETY: as it was added; where it was not, there is nothing to remove, and a status says so.
        let _ = unsafe {
            AudioObjectRemovePropertyListener(
                self.object,
                self.address.pointer(),
                Some(on_change),
                without_provenance_mut(self.number),
            )
        };
        // Dropped outside of the lock: nobody knows what goes with it.
        let changed = listeners().remove(&self.number);
        drop(changed);
    }
}

unsafe extern "C-unwind" fn on_change(
    _object: AudioObjectID,
    _addresses: u32,
    _address: NonNull<AudioObjectPropertyAddress>,
    number: *mut c_void,
) -> i32 {
    // Called outside of the lock: it may start or end listeners.
    let changed = listeners().get(&number.addr()).cloned();
    if let Some(changed) = changed {
        changed();
    }
    0
}
