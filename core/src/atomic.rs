//! The atomics that gate and ledger stand on: those of `core`, or under `--cfg loom` those of the model checker loom,
//! which runs every interleaving (`tests/loom.rs`). Named for what it exchanges: nothing but atomics. No logic here.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};

/// A `const fn`, but for loom, whose atomics register themselves with the model and so cannot be made in constants.
macro_rules! const_unless_loom {
    ($(#[$meta:meta])* $vis:vis fn $($rest:tt)*) => {
        $(#[$meta])*
        #[cfg(not(loom))]
        $vis const fn $($rest)*
        $(#[$meta])*
        #[cfg(loom)]
        $vis fn $($rest)*
    };
}

/// An array of one expression, evaluated for each element (atomics are not `Copy`).
macro_rules! array_of {
    ($element:expr) => {{
        #[cfg(not(loom))]
        let array = [const { $element }; _];
        #[cfg(loom)]
        let array = core::array::from_fn(|_| $element);
        array
    }};
}

pub(crate) use {array_of, const_unless_loom};
