//! What the server's graph looks like, and what follows from it for us.

#[allow(dead_code, reason = "the engine that asks it is being built")]
pub(crate) mod choose;
