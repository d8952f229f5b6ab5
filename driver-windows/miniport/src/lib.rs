//! The Windows driver: a PortCls WaveRT miniport that publishes one capture device, TrueMute. It decides live or silent and counts every
//! packet, with `truemute-core`'s gate and ledger, in the kernel, on the far side of the agent that could crash.
//!
//! `kernel` is what the system calls and what it is called by: loading and dispatch, the adapter with its two subdevices, the stream, the
//! control device. [`filters`] and [`properties`] is what PortCls reads of it. All of them change one [`device`] under one lock;
//! [`capture`], [`clock`], [`mod@format`], [`requests`] and [`security`] are its parts, without unsafe code. [`abi`] has the
//! system's layouts. It allocates nothing, has no floating point, and no way to panic: the release build does not link if one remains.
//!
//! `kernel` is compiled for Windows only, and for Clippy; all else is compiled and tested on any system.
#![cfg_attr(target_os = "windows", no_std)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::float_arithmetic
    )
)]

pub mod abi;
pub mod capture;
pub mod clock;
pub mod device;
pub mod filters;
pub mod format;
#[cfg(any(target_os = "windows", clippy))]
pub mod kernel;
pub mod object;
pub mod properties;
pub mod requests;
pub mod security;
pub mod text;

// The linker asks for this symbol wherever an object has floating point, as that of the compiler's own functions has, of which only
// those that copy memory are linked. As assembly, since what Rust does not mangle is exported. wdk-sys has one of its own.
#[cfg(all(target_os = "windows", feature = "raw"))]
core::arch::global_asm!(".globl _fltused", ".set _fltused, 0");

#[cfg(target_os = "windows")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        /// Nobody defines it: the driver links only if the optimiser has found that nothing here can panic.
        fn a_way_to_panic_remains() -> !;
    }
    // SAFETY: never runs, for the driver does not link if this call remains.
    unsafe { a_way_to_panic_remains() }
}
