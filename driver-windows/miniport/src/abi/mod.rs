//! The system's layouts, written by hand from its documentation and headers. For 64-bit Windows, where x64 and ARM64 agree; sizes and
//! offsets are asserted when it is compiled. No code that does anything.

pub mod com;
pub mod guid;
pub mod ks;
pub mod nt;
pub mod status;
#[cfg(test)]
mod tests;

/// A table of constants with pointers in it, which the system only reads.
#[derive(Debug)]
#[repr(transparent)]
pub struct Table<T>(pub T);

// SAFETY: nobody writes it, neither we nor the system: the interfaces take them as pointers to constants.
unsafe impl<T> Sync for Table<T> {}

/// Puts a part of a constant where it belongs; says where the next one does.
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "only evaluated when this is compiled"
)]
pub(crate) const fn put(bytes: &mut [u8], at: usize, part: &[u8]) -> usize {
    let mut n = 0;
    while n < part.len() {
        bytes[at + n] = part[n];
        n += 1;
    }
    at + n
}
