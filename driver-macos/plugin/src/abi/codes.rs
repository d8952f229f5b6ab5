//! The numbers of the plug-in interface: four-character codes, object classes, results. All are from Apple's public
//! headers, `AudioHardwareBase.h`, `AudioServerPlugIn.h` and `CFPlugInCOM.h`. What is answered with them is in
//! `properties.tsv`.

use std::fmt;

/// A four-character code, the first character in the highest byte: what selectors, scopes, classes and most results are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Code(pub u32);

impl Code {
    /// The code that is written `'text'` in the headers.
    pub const fn of(text: &[u8; 4]) -> Self {
        Self(u32::from_be_bytes(*text))
    }
}

impl fmt::Display for Code {
    /// `'text'` where all four characters are printable ASCII, and the number otherwise.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.to_be_bytes();
        match std::str::from_utf8(&bytes) {
            Ok(text) if bytes.iter().all(|byte| (b' '..=b'~').contains(byte)) => {
                write!(f, "'{text}'")
            }
            _ => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `kAudioObjectPropertyScopeGlobal`.
pub const SCOPE_GLOBAL: Code = Code::of(b"glob");
/// `kAudioObjectPropertyScopeInput`.
pub const SCOPE_INPUT: Code = Code::of(b"inpt");
/// `kAudioObjectPropertyScopeOutput`.
pub const SCOPE_OUTPUT: Code = Code::of(b"outp");
/// `kAudioObjectPropertyScopePlayThrough`.
pub const SCOPE_PLAY_THROUGH: Code = Code::of(b"ptru");
/// `kAudioObjectPropertyElementMain`: the object as a whole.
pub const ELEMENT_MAIN: u32 = 0;

/// `kAudioDevicePropertyNominalSampleRate`.
pub const NOMINAL_SAMPLE_RATE: Code = Code::of(b"nsrt");
/// `kAudioStreamPropertyVirtualFormat`.
pub const VIRTUAL_FORMAT: Code = Code::of(b"sfmt");
/// `kAudioStreamPropertyPhysicalFormat`.
pub const PHYSICAL_FORMAT: Code = Code::of(b"pft ");

/// `kAudioServerPlugInIOOperationReadInput`: the operation that carries sound to a client, the only one we do.
pub const READ_INPUT: Code = Code::of(b"read");

/// What an entry point returns: 0, or why it did not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Status(pub i32);

impl Status {
    const fn of(text: &[u8; 4]) -> Self {
        Self(i32::from_be_bytes(*text))
    }

    /// `kAudioHardwareNoError`.
    pub const OK: Self = Self(0);
    /// `kAudioHardwareBadObjectError`: no such object.
    pub const BAD_OBJECT: Self = Self::of(b"!obj");
    /// `kAudioHardwareUnknownPropertyError`: the object has no such property in this scope and element.
    pub const UNKNOWN_PROPERTY: Self = Self::of(b"who?");
    /// `kAudioHardwareBadPropertySizeError`: the size is wrong for the property, or for its qualifier.
    pub const BAD_SIZE: Self = Self::of(b"!siz");
    /// `kAudioHardwareIllegalOperationError`: a pointer that must be there is null, or the call makes no sense.
    pub const ILLEGAL: Self = Self::of(b"nope");
    /// `kAudioHardwareUnsupportedOperationError`: the property cannot be set, or there is no such operation here.
    pub const UNSUPPORTED: Self = Self::of(b"unop");
    /// `kAudioHardwareUnspecifiedError`: a failure of ours.
    pub const UNSPECIFIED: Self = Self::of(b"what");
    /// `kAudioDeviceUnsupportedFormatError`: any format but the one that we have.
    pub const UNSUPPORTED_FORMAT: Self = Self::of(b"!dat");
    /// `E_NOINTERFACE` of `CFPlugInCOM.h`, which is not the value of that name on Windows.
    pub const NO_INTERFACE: Self = Self(0x8000_0004_u32.cast_signed());
}

impl fmt::Display for Status {
    /// As a [`Code`], which most of them are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Code(self.0.cast_unsigned()).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_shown_as_the_headers_write_it() {
        assert_eq!(Code::of(b"uid ").to_string(), "'uid '");
        assert_eq!(Code(7).to_string(), "7");
        assert_eq!(Code(u32::MAX).to_string(), "4294967295");
    }
}
