//! The events that the audio engine wants to be set for each packet. Under the lock of `spin.rs`, so that none is set after it was taken
//! back.

use crate::abi::com::Event;
use crate::kernel::imports::KeSetEvent;
use core::ptr::NonNull;

/// Events at most. The audio engine registers one.
const MOST: usize = 8;

/// The events.
#[derive(Debug)]
pub struct Events([Option<NonNull<Event>>; MOST]);

// SAFETY: events may be set from any thread.
unsafe impl Send for Events {}

impl Events {
    /// None.
    pub const NONE: Self = Self([None; MOST]);

    /// Registers one. False if it is there already, or one too many.
    ///
    /// # Safety
    /// It has to be an event until it is removed.
    pub unsafe fn add(&mut self, event: NonNull<Event>) -> bool {
        if self.0.contains(&Some(event)) {
            return false;
        }
        match self.0.iter_mut().find(|place| place.is_none()) {
            Some(place) => {
                *place = Some(event);
                true
            }
            None => false,
        }
    }

    /// Takes one back. False if it is not there.
    pub fn remove(&mut self, event: NonNull<Event>) -> bool {
        match self.0.iter_mut().find(|place| **place == Some(event)) {
            Some(place) => {
                *place = None;
                true
            }
            None => false,
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        *self = Self::NONE;
    }

    /// Sets all. At DISPATCH_LEVEL or below.
    pub fn set(&self) {
        for event in self.0.iter().flatten() {
            // SAFETY: it is an event until it is removed, and it is not waited.
            unsafe { KeSetEvent(event.as_ptr(), 0, 0) };
        }
    }
}
