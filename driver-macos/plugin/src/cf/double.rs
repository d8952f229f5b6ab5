//! A stand-in for CoreFoundation, for the unit tests on systems that have none: the functions that `cf.rs` declares, over
//! counted boxes. It holds what is put in and gives it back; nothing else. The C host has another one, written without this.

use super::{CallBacks, Index, Ref};
use crate::abi::UuidBytes;
use std::ffi::c_void;
use std::sync::{Arc, Mutex};

/// What an object is. A reference to it is an [`Arc`].
#[derive(Debug)]
pub(crate) enum Object {
    String(String),
    Number(i64),
    Array(Mutex<Vec<Arc<Object>>>),
    Dictionary(Mutex<Vec<(String, Arc<Object>)>>),
    Uuid(UuidBytes),
}

#[cfg(test)]
impl Object {
    /// What a dictionary has under a key.
    pub(crate) fn entry(&self, key: &str) -> Option<Arc<Self>> {
        let Self::Dictionary(entries) = self else {
            return None;
        };
        let entries = entries.lock().expect("nobody panicked");
        let entry = entries.iter().find(|entry| entry.0 == key)?;
        Some(entry.1.clone())
    }
}

/// Takes over a reference that was given away.
///
/// # Safety
/// `object` is the address of a live object, with a reference that is the caller's to give.
pub(crate) unsafe fn take(object: Ref) -> Arc<Object> {
    // SAFETY: every address that leaves this module is one of `give`.
    unsafe { Arc::from_raw(object.cast()) }
}

/// The address of an object, with a reference that the caller has to give back.
pub(crate) fn give(object: Object) -> Ref {
    Arc::into_raw(Arc::new(object)).cast()
}

unsafe fn look<'o>(object: Ref) -> &'o Object {
    // SAFETY: called with live objects only.
    unsafe { &*object.cast::<Object>() }
}

unsafe fn retain(object: Ref) -> Arc<Object> {
    // SAFETY: called with live objects only.
    unsafe {
        Arc::increment_strong_count(object.cast::<Object>());
        take(object)
    }
}

#[unsafe(no_mangle)]
static kCFTypeArrayCallBacks: CallBacks = CallBacks { _opaque: [] };
#[unsafe(no_mangle)]
static kCFTypeDictionaryKeyCallBacks: CallBacks = CallBacks { _opaque: [] };
#[unsafe(no_mangle)]
static kCFTypeDictionaryValueCallBacks: CallBacks = CallBacks { _opaque: [] };

#[unsafe(no_mangle)]
unsafe extern "C" fn CFRelease(object: Ref) {
    // SAFETY: the caller gives up a reference.
    drop(unsafe { take(object) });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn CFGetTypeID(object: Ref) -> usize {
    // SAFETY: it is live.
    match unsafe { look(object) } {
        Object::String(_) => CFStringGetTypeID(),
        _ => 0,
    }
}

#[unsafe(no_mangle)]
extern "C" fn CFStringGetTypeID() -> usize {
    7
}

#[unsafe(no_mangle)]
unsafe extern "C" fn CFStringCreateWithBytes(
    _allocator: Ref,
    bytes: *const u8,
    length: Index,
    _encoding: u32,
    _external: u8,
) -> Ref {
    // SAFETY: the caller says how many bytes there are.
    let bytes = unsafe { std::slice::from_raw_parts(bytes, length.cast_unsigned()) };
    match std::str::from_utf8(bytes) {
        Ok(text) => give(Object::String(text.to_owned())),
        Err(_) => std::ptr::null(),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn CFStringGetLength(string: Ref) -> Index {
    // SAFETY: it is live.
    match unsafe { look(string) } {
        Object::String(text) => text.encode_utf16().count().cast_signed(),
        _ => 0,
    }
}

#[unsafe(no_mangle)]
extern "C" fn CFStringGetMaximumSizeForEncoding(length: Index, _encoding: u32) -> Index {
    length * 3
}

#[unsafe(no_mangle)]
unsafe extern "C" fn CFStringGetCString(
    string: Ref,
    buffer: *mut u8,
    size: Index,
    _encoding: u32,
) -> u8 {
    // SAFETY: it is live.
    let Object::String(text) = (unsafe { look(string) }) else {
        return 0;
    };
    if text.len() >= size.cast_unsigned() {
        return 0;
    }
    // SAFETY: there is room for the text and the zero.
    unsafe {
        buffer.copy_from_nonoverlapping(text.as_ptr(), text.len());
        buffer.add(text.len()).write(0);
    }
    1
}

#[unsafe(no_mangle)]
unsafe extern "C" fn CFNumberCreate(_allocator: Ref, _kind: Index, value: *const c_void) -> Ref {
    // SAFETY: we only make numbers of 64 bits.
    give(Object::Number(unsafe { value.cast::<i64>().read() }))
}

#[unsafe(no_mangle)]
extern "C" fn CFArrayCreateMutable(_: Ref, _: Index, _: *const CallBacks) -> Ref {
    give(Object::Array(Mutex::default()))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn CFArrayAppendValue(array: Ref, value: Ref) {
    // SAFETY: both are live.
    if let (Object::Array(values), value) = unsafe { (look(array), retain(value)) } {
        values.lock().expect("nobody panicked").push(value);
    }
}

#[unsafe(no_mangle)]
extern "C" fn CFDictionaryCreateMutable(
    _: Ref,
    _: Index,
    _: *const CallBacks,
    _: *const CallBacks,
) -> Ref {
    give(Object::Dictionary(Mutex::default()))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn CFDictionarySetValue(dictionary: Ref, key: Ref, value: Ref) {
    // SAFETY: all are live.
    let (dictionary, key, value) = unsafe { (look(dictionary), look(key), retain(value)) };
    if let (Object::Dictionary(entries), Object::String(key)) = (dictionary, key) {
        let mut entries = entries.lock().expect("nobody panicked");
        entries.retain(|entry| entry.0 != *key);
        entries.push((key.clone(), value));
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn CFUUIDGetUUIDBytes(uuid: Ref) -> UuidBytes {
    // SAFETY: it is live.
    match unsafe { look(uuid) } {
        Object::Uuid(bytes) => *bytes,
        _ => UuidBytes([0; 16]),
    }
}
