//! Linux backend.

pub(crate) mod count;
