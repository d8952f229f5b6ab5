//! The Windows driver: a PortCls WaveRT miniport that publishes one capture device, TrueMute. It decides live or silent and counts every
//! packet, with `truemute-core`'s gate and ledger, in the kernel, on the far side of the agent that could crash.
//!
//! From the system inwards: [`entry`] is loaded and dispatches, [`adapter`] starts the device and its two subdevices, [`wave`],
//! [`topology`] and [`stream`] are what PortCls calls, [`filters`] and [`properties`] what it reads, [`control_device`] what the agent
//! opens. All of them change one [`device`] under one lock ([`spin`]); [`capture`], [`clock`], [`format`], [`requests`] and [`security`]
//! are its portable parts, which have no unsafe code and are tested on any system. [`abi`] has the system's layouts and
//! [`imports`] its functions. It allocates nothing, has no floating point, and no way to panic: the release build does
//! not link if one remains.
//!
//! Elsewhere than on Windows only the portable parts are compiled.
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
#[cfg(target_os = "windows")]
pub mod adapter;
#[cfg(target_os = "windows")]
pub mod callers;
pub mod capture;
pub mod clock;
#[cfg(target_os = "windows")]
pub mod control_device;
pub mod device;
#[cfg(target_os = "windows")]
pub mod entry;
#[cfg(target_os = "windows")]
pub mod events;
#[cfg(target_os = "windows")]
pub mod filters;
pub mod format;
#[cfg(target_os = "windows")]
pub mod imports;
#[cfg(target_os = "windows")]
pub mod object;
#[cfg(target_os = "windows")]
pub mod properties;
pub mod requests;
pub mod security;
#[cfg(target_os = "windows")]
pub mod spin;
#[cfg(target_os = "windows")]
pub mod stream;
pub mod text;
#[cfg(target_os = "windows")]
pub mod timer;
#[cfg(target_os = "windows")]
pub mod topology;
#[cfg(target_os = "windows")]
pub mod wave;

// The linker asks for this symbol wherever an object has floating point, as that of the compiler's own functions has, of which only
// those that copy memory are linked. As assembly, since what Rust does not mangle is exported.
#[cfg(target_os = "windows")]
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
