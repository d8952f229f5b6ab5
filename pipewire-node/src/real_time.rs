//! The door through which the data loop's callbacks, and the main thread's blocking calls there, enter our code. In this
//! crate's tests nothing behind it may allocate (P6). What PipeWire itself does on that thread has the C library's allocator and is
//! not watched.

/// Runs `work`, our part of a callback on the real-time thread. In tests, an allocation or a release there ends the process.
pub(crate) fn on_real_time_thread<T>(work: impl FnOnce() -> T) -> T {
    #[cfg(test)]
    return assert_no_alloc::assert_no_alloc(work);
    #[cfg(not(test))]
    work()
}

#[cfg(test)]
#[global_allocator]
static ALLOCATOR: assert_no_alloc::AllocDisabler = assert_no_alloc::AllocDisabler;

#[cfg(test)]
mod tests;
