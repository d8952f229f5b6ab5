//! The system's structures: as many bytes as Microsoft's, and each field that the driver touches where theirs is.

use core::mem::{offset_of, size_of};
use truemute_miniport::abi::nt;

/// Fields of ours, each with theirs.
macro_rules! same_offsets {
    ($ours:ty, $theirs:ty: $($field:ident = $($their:ident).+;)+) => {
        const _: () = {
            $(assert!(
                offset_of!($ours, $field) == offset_of!($theirs, $($their).+),
                concat!(stringify!($ours), "::", stringify!($field), " is not where the headers have it")
            );)+
        };
    };
}

/// Structures of ours that are whole.
macro_rules! same_sizes {
    ($($ours:ty, $theirs:ty;)+) => {
        const _: () = {
            $(assert!(
                size_of::<$ours>() == size_of::<$theirs>() && align_of::<$ours>() == align_of::<$theirs>(),
                concat!(stringify!($ours), " is not as large as in the headers, or not aligned so")
            );)+
        };
    };
}

same_sizes! {
    nt::UnicodeString, wdk_sys::UNICODE_STRING;
    nt::DriverObject, wdk_sys::DRIVER_OBJECT;
    nt::IoStatusBlock, wdk_sys::IO_STATUS_BLOCK;
    nt::Irp, wdk_sys::IRP;
    nt::StackLocation, wdk_sys::IO_STACK_LOCATION;
    nt::LargeInteger, wdk_sys::LARGE_INTEGER;
    nt::Irql, wdk_sys::KIRQL;
}

same_offsets! { nt::UnicodeString, wdk_sys::UNICODE_STRING:
    length = Length;
    maximum_length = MaximumLength;
    buffer = Buffer;
}
same_offsets! { nt::DriverObject, wdk_sys::DRIVER_OBJECT:
    fast_io_dispatch = FastIoDispatch;
    driver_unload = DriverUnload;
    major_function = MajorFunction;
}
same_offsets! { nt::IoStatusBlock, wdk_sys::IO_STATUS_BLOCK:
    status = __bindgen_anon_1.Status;
    information = Information;
}
same_offsets! { nt::Irp, wdk_sys::IRP:
    system_buffer = AssociatedIrp.SystemBuffer;
    io_status = IoStatus;
    requestor_mode = RequestorMode;
    stack_location = Tail.Overlay.__bindgen_anon_2.__bindgen_anon_1.CurrentStackLocation;
}
same_offsets! { nt::StackLocation, wdk_sys::IO_STACK_LOCATION:
    major_function = MajorFunction;
    minor_function = MinorFunction;
    output_length = Parameters.DeviceIoControl.OutputBufferLength;
    input_length = Parameters.DeviceIoControl.InputBufferLength;
    code = Parameters.DeviceIoControl.IoControlCode;
    file_object = FileObject;
}
same_offsets! { nt::FileObject, wdk_sys::FILE_OBJECT:
    file_name = FileName;
}

// Ours is the beginning, as of FILE_OBJECT. (mingw-w64's has another end than a WDK's.)
same_offsets! { nt::DeviceObject, wdk_sys::DEVICE_OBJECT:
    flags = Flags;
    device_type = DeviceType;
}

const _: () = assert!(
    nt::MAJOR_FUNCTIONS == wdk_sys::IRP_MJ_MAXIMUM_FUNCTION as usize + 1,
    "the dispatch table has another number of entries in the headers"
);
