//! The local API: one JSON object a line over a Unix socket. What the lines mean is in [`crate::protocol`]; what they
//! do is in [`crate::daemon`].
