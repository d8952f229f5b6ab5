//! The kernel's functions: as the headers have them, each takes as many arguments as ours, of the same sizes, and gives as many bytes.
//! That is all that a caller and a function have to agree on: in the calling convention of 64-bit Windows whole numbers, pointers and
//! structures of 8 bytes go the same way.

use core::mem::size_of;
use truemute_miniport::kernel::imports;
use wdk_sys::ntddk;

/// A type of functions.
trait Shape {
    /// Bytes of what it gives, and of each argument.
    const SIZES: &'static [usize];
}

macro_rules! shape {
    ($($argument:ident)*) => {
        impl<R, $($argument),*> Shape for unsafe extern "system" fn($($argument),*) -> R {
            const SIZES: &'static [usize] = &[size_of::<R>(), $(size_of::<$argument>()),*];
        }
        // bindgen's name for the same convention.
        impl<R, $($argument),*> Shape for unsafe extern "C" fn($($argument),*) -> R {
            const SIZES: &'static [usize] = &[size_of::<R>(), $(size_of::<$argument>()),*];
        }
    };
}

shape! {}
shape! { A }
shape! { A B }
shape! { A B C }
shape! { A B C D E F G }

const fn same<O: Shape + Copy, T: Shape + Copy>(_ours: O, _theirs: T) -> bool {
    let (ours, theirs) = (O::SIZES, T::SIZES);
    let mut n = 0;
    while n < ours.len() && n < theirs.len() && ours[n] == theirs[n] {
        n += 1;
    }
    n == ours.len() && n == theirs.len()
}

macro_rules! same_shapes {
    ($($name:ident($($argument:tt),*);)+) => {
        const _: () = {
            $(assert!(
                same(
                    imports::$name as unsafe extern "system" fn($($argument),*) -> _,
                    ntddk::$name as unsafe extern "C" fn($($argument),*) -> _,
                ),
                concat!(stringify!($name), " takes or gives other sizes in the headers")
            );)+
        };
    };
}

same_shapes! {
    KeAcquireSpinLockRaiseToDpc(_);
    KeReleaseSpinLock(_, _);
    KeSetEvent(_, _, _);
    KeFlushQueuedDpcs();
    KeQueryPerformanceCounter(_);
    MmGetSystemRoutineAddress(_);
    IoCreateDevice(_, _, _, _, _, _, _);
    IoDeleteDevice(_);
    IoCreateSymbolicLink(_, _);
    IoDeleteSymbolicLink(_);
    IofCompleteRequest(_, _);
    ObOpenObjectByPointer(_, _, _, _, _, _, _);
    ZwSetSecurityObject(_, _, _);
    ZwClose(_);
}
