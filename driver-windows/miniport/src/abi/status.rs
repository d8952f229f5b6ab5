//! `NTSTATUS`: what the system's calls return. Values from ntstatus.h ([MS-ERREF] 2.3.1).

/// `NTSTATUS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
#[must_use]
pub struct Status(pub i32);

impl Status {
    /// `NT_SUCCESS`: success, or mere information.
    pub const fn is_ok(self) -> bool {
        self.0 >= 0
    }

    /// For `?`.
    ///
    /// # Errors
    /// Itself, if it is no success.
    pub const fn ok(self) -> Result<(), Self> {
        if self.is_ok() { Ok(()) } else { Err(self) }
    }
}

impl From<Result<(), Status>> for Status {
    fn from(result: Result<(), Status>) -> Self {
        match result {
            Ok(()) => SUCCESS,
            Err(status) => status,
        }
    }
}

macro_rules! statuses {
    ($($(#[$meta:meta])* $name:ident = $value:literal;)*) => {
        $($(#[$meta])* pub const $name: Status = Status($value as u32 as i32);)*
    };
}

statuses! {
    /// Done.
    SUCCESS = 0;
    /// The buffer is for asking the size only.
    BUFFER_OVERFLOW = 0x8000_0005;
    /// Failed.
    UNSUCCESSFUL = 0xC000_0001;
    /// The miniport leaves it to the port.
    NOT_IMPLEMENTED = 0xC000_0002;
    /// A wrong argument.
    INVALID_PARAMETER = 0xC000_000D;
    /// There is no such request.
    INVALID_DEVICE_REQUEST = 0xC000_0010;
    /// May not.
    ACCESS_DENIED = 0xC000_0022;
    /// Too small.
    BUFFER_TOO_SMALL = 0xC000_0023;
    /// There is no such name.
    OBJECT_NAME_NOT_FOUND = 0xC000_0034;
    /// Somebody else has it.
    SHARING_VIOLATION = 0xC000_0043;
    /// Of another revision.
    REVISION_MISMATCH = 0xC000_0059;
    /// None left.
    INSUFFICIENT_RESOURCES = 0xC000_009A;
    /// The device is not there.
    DEVICE_NOT_CONNECTED = 0xC000_009D;
    /// Nothing new yet.
    DEVICE_NOT_READY = 0xC000_00A3;
    /// Not supported.
    NOT_SUPPORTED = 0xC000_00BB;
    /// A buffer has the wrong size.
    INFO_LENGTH_MISMATCH = 0xC000_0004;
    /// The system lacks a function.
    PROCEDURE_NOT_FOUND = 0xC000_007A;
    /// Not in this state.
    INVALID_DEVICE_STATE = 0xC000_0184;
    /// Not found.
    NOT_FOUND = 0xC000_0225;
    /// The formats have nothing in common.
    NO_MATCH = 0xC000_0272;
}
