//! Linux backend.

#[allow(dead_code, reason = "the engine that counts with it is being built")]
pub(crate) mod count;
pub(crate) mod graph;
pub mod rehearsal;
#[allow(dead_code, reason = "the engine that asks it is being built")]
pub mod who;

/// Lets tests of the real-time path fail when it allocates.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: assert_no_alloc::AllocDisabler = assert_no_alloc::AllocDisabler;
