//! Linux backend.

pub(crate) mod count;
pub mod rehearsal;
