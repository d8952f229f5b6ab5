//! CoreFoundation, as far as the plug-in needs it: strings, numbers, arrays and dictionaries, owned by Rust values that
//! release them. Source: Apple's public CoreFoundation headers. Nothing here may be called on the IO path.

use crate::abi::UuidBytes;
use std::ffi::c_void;
use std::ptr::NonNull;

#[cfg(all(any(test, fuzzing), not(target_vendor = "apple")))]
pub(crate) mod double;

/// `CFTypeRef`.
type Ref = *const c_void;
/// `CFIndex`.
type Index = isize;

/// `kCFStringEncodingUTF8`.
const UTF_8: u32 = 0x0800_0100;
/// `kCFNumberSInt64Type`.
const SINT_64: Index = 4;

/// `CFDictionaryKeyCallBacks` and its like: only ever used by address.
#[repr(C)]
struct CallBacks {
    _opaque: [u8; 0],
}

#[cfg_attr(
    target_vendor = "apple",
    link(name = "CoreFoundation", kind = "framework")
)]
unsafe extern "C" {
    static kCFTypeArrayCallBacks: CallBacks;
    static kCFTypeDictionaryKeyCallBacks: CallBacks;
    static kCFTypeDictionaryValueCallBacks: CallBacks;

    fn CFRelease(object: Ref);
    fn CFGetTypeID(object: Ref) -> usize;

    fn CFStringGetTypeID() -> usize;
    fn CFStringCreateWithBytes(
        allocator: Ref,
        bytes: *const u8,
        length: Index,
        encoding: u32,
        external: u8,
    ) -> Ref;
    fn CFStringGetLength(string: Ref) -> Index;
    fn CFStringGetMaximumSizeForEncoding(length: Index, encoding: u32) -> Index;
    fn CFStringGetCString(string: Ref, buffer: *mut u8, size: Index, encoding: u32) -> u8;

    fn CFNumberCreate(allocator: Ref, kind: Index, value: *const c_void) -> Ref;

    fn CFArrayCreateMutable(allocator: Ref, capacity: Index, callbacks: *const CallBacks) -> Ref;
    fn CFArrayAppendValue(array: Ref, value: Ref);

    fn CFDictionaryCreateMutable(
        allocator: Ref,
        capacity: Index,
        keys: *const CallBacks,
        values: *const CallBacks,
    ) -> Ref;
    fn CFDictionarySetValue(dictionary: Ref, key: Ref, value: Ref);

    fn CFUUIDGetUUIDBytes(uuid: Ref) -> UuidBytes;
}

/// A CoreFoundation object that is ours; released when dropped.
#[derive(Debug)]
pub struct Owned(NonNull<c_void>);

impl Owned {
    /// Takes over what a function whose name has Create or Copy in it returned; nothing if it returned null.
    ///
    /// # Safety
    /// `object` is null, or an object with a reference that is the caller's to give.
    unsafe fn take(object: Ref) -> Option<Self> {
        NonNull::new(object.cast_mut()).map(Self)
    }

    fn get(&self) -> Ref {
        self.0.as_ptr()
    }

    /// Gives the reference away: whoever gets the address has to release it.
    pub fn into_raw(self) -> *const c_void {
        let object = self.get();
        std::mem::forget(self);
        object
    }

    /// A CFString with this text; nothing if CoreFoundation has no memory for it.
    pub fn string(text: &str) -> Option<Self> {
        let length = Index::try_from(text.len()).ok()?;
        // SAFETY: the bytes are there for the call, and are UTF-8; null is the default allocator.
        unsafe {
            let string = CFStringCreateWithBytes(std::ptr::null(), text.as_ptr(), length, UTF_8, 0);
            Self::take(string)
        }
    }

    /// A CFNumber.
    pub fn number(value: i64) -> Option<Self> {
        // SAFETY: the type that is named is that of the value.
        unsafe {
            let number = CFNumberCreate(std::ptr::null(), SINT_64, (&raw const value).cast());
            Self::take(number)
        }
    }

    /// A CFArray of these objects.
    pub fn array(values: impl IntoIterator<Item = Self>) -> Option<Self> {
        // SAFETY: the callbacks are CoreFoundation's own, for values that are CoreFoundation objects.
        let array = unsafe {
            let array = CFArrayCreateMutable(std::ptr::null(), 0, &raw const kCFTypeArrayCallBacks);
            Self::take(array)
        }?;
        for value in values {
            // SAFETY: both are live objects, the first a mutable array that only we have. The array retains the value.
            unsafe { CFArrayAppendValue(array.get(), value.get()) };
        }
        Some(array)
    }

    /// A CFDictionary with these entries; nothing if a key cannot be made.
    pub fn dictionary<'k>(entries: impl IntoIterator<Item = (&'k str, Self)>) -> Option<Self> {
        // SAFETY: the callbacks are CoreFoundation's own, for keys and values that are CoreFoundation objects.
        let dictionary = unsafe {
            let dictionary = CFDictionaryCreateMutable(
                std::ptr::null(),
                0,
                &raw const kCFTypeDictionaryKeyCallBacks,
                &raw const kCFTypeDictionaryValueCallBacks,
            );
            Self::take(dictionary)
        }?;
        for (key, value) in entries {
            let key = Self::string(key)?;
            // SAFETY: all three are live objects, the first a mutable dictionary that only we have. It retains the others.
            unsafe { CFDictionarySetValue(dictionary.get(), key.get(), value.get()) };
        }
        Some(dictionary)
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: the reference is ours, and given up once.
        unsafe { CFRelease(self.get()) }
    }
}

/// The text of a CFString that somebody else owns; nothing for null, for another type, or for what is no Unicode.
///
/// # Safety
/// `string` is null or the address of a live CoreFoundation object.
pub unsafe fn text(string: *const c_void) -> Option<String> {
    if string.is_null() {
        return None;
    }
    // SAFETY: the object is live; it is used as a string only if it is one; the buffer has the size that is named.
    unsafe {
        if CFGetTypeID(string) != CFStringGetTypeID() {
            return None;
        }
        let most = CFStringGetMaximumSizeForEncoding(CFStringGetLength(string), UTF_8);
        let size = most.checked_add(1)?;
        let mut buffer = vec![0; usize::try_from(size).ok()?];
        if CFStringGetCString(string, buffer.as_mut_ptr(), size, UTF_8) == 0 {
            return None;
        }
        let end = buffer.iter().position(|byte| *byte == 0)?;
        buffer.truncate(end);
        String::from_utf8(buffer).ok()
    }
}

/// The bytes of a CFUUID; nothing for null.
///
/// # Safety
/// `uuid` is null or the address of a live CFUUID.
pub unsafe fn uuid(uuid: *const c_void) -> Option<UuidBytes> {
    // SAFETY: it is live, and a CFUUID.
    (!uuid.is_null()).then(|| unsafe { CFUUIDGetUUIDBytes(uuid) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_comes_back_as_it_went_in() {
        for sent in ["", "TrueMute Microphone", "µ – 麦克风 🎤"] {
            let string = Owned::string(sent).expect("a string");
            // SAFETY: it is live.
            assert_eq!(unsafe { text(string.get()) }.as_deref(), Some(sent));
        }
    }

    #[test]
    fn what_is_no_string_has_no_text() {
        let number = Owned::number(7).expect("a number");
        // SAFETY: null is allowed, and the number is live.
        unsafe {
            assert_eq!(text(std::ptr::null()), None);
            assert_eq!(text(number.get()), None);
            assert_eq!(uuid(std::ptr::null()), None);
        }
    }
}
