//! TrueMute's core: what decides between live and silent, what counts, and the records of both.
//! Nothing here knows an operating system, a clock, an allocator or a lock; time comes in as nanoseconds.
#![cfg_attr(not(any(test, feature = "std")), no_std)]

#[cfg(feature = "std")]
pub mod observed;
