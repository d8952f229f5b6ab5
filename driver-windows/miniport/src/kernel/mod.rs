//! Where the driver meets the system: what it is called by, and what it calls. Unsafe code that needs a kernel around it is here; what it
//! decides is not.
//!
//! From outside inwards: [`entry`] is loaded and dispatches, [`adapter`] starts the device, [`wave`], [`topology`] (both by [`miniport`]) and
//! [`stream`] are what PortCls calls, [`control_device`] and [`callers`] what the agent opens. [`spin`] keeps the device, [`events`] and [`timer`] move the
//! stream, [`imports`] are the system's functions.

pub mod adapter;
pub mod callers;
pub mod control_device;
pub mod entry;
pub mod events;
pub mod imports;
pub mod miniport;
pub mod spin;
pub mod stream;
pub mod timer;
pub mod topology;
pub mod wave;
