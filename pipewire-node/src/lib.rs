//! Linux backend.

#[allow(dead_code, reason = "the engine that counts with it is being built")]
pub(crate) mod count;
pub mod rehearsal;

/// Lets tests of the real-time path fail when it allocates.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: assert_no_alloc::AllocDisabler = assert_no_alloc::AllocDisabler;
